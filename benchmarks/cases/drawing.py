"""What a case is made of, drawn at random: the same part and number always draw the same."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Draw(random.Random):
    """Everything of a case that is left to chance, and a description of what came out."""

    def __init__(self, part: str, number: int) -> None:
        super().__init__(f"{part} {number}")
        self.number = number
        self.numpy = np.random.default_rng([zlib.crc32(part.encode()), number])
        self.said: list[str] = []

    def say(self, text: object, most: int = 300) -> None:
        """Add to the description."""
        told = str(text).encode("unicode_escape", "replace").decode("ascii")
        self.said.append(told if len(told) <= most else f"{told[:most]}…")

    def chance(self, share: float) -> bool:
        """Return True in a share of the cases."""
        return self.random() < share

    def among(self, *values: T) -> T:
        """Return one of the values."""
        return values[self.randrange(len(values))]

    def weighted(self, shares: Mapping[T, float]) -> T:
        """Return one of the keys, as often as its share says."""
        return self.choices(list(shares), list(shares.values()))[0]

    def subset(self, values: Any) -> tuple[Any, ...]:
        """Return some of the values, in their order; perhaps none."""
        return tuple(value for value in values if self.chance(0.5))

    def logarithmic(self, low: float, high: float) -> float:
        """Return a number whose logarithm is spread evenly."""
        return math.exp(self.uniform(math.log(low), math.log(high)))


NAMES: tuple[str, ...] = (
    "",
    " ",
    ".",
    "..",
    "a b",
    " leading",
    "trailing.",
    "Ünïcødé-µ",
    "日本語",
    "e\u0301",  # two characters that look like é
    "\u202eright-to-left",
    "emoji🔬",
    "con",
    "nul",
    "a/b",
    "../up",
    "/absolute",
    "~",
    "~nouser/x",
    "$HOME",
    "%s%n{}",
    "a:b*c?",
    "[0-9]*",
    "-x",
    "--help",
    "tab\there",
    "line\nbreak",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "<b>bold</b>",
    "nu\x00l",
    "\udcff",  # a byte that is no text, as Python reads it from a file's name
    "x" * 200,
    "x" * 240,
    "x" * 255,
    "µ" * 130,
    "x" * 5000,
    "nuclei",
    "NUCLEI",
)
"""Names for files, models, classes and channels that some program may trip over."""

NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, 255, 256, -7, 2**31, 2**63, 10**30, -(10**30),
    0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e-30, 1e30, 1e300, 5e-324,
    math.nan, math.inf, -math.inf,
)  # fmt: skip


def odd_json(draw: Draw, depth: int = 0) -> Any:
    """Return a value that JSON can hold, and that hardly anybody expects."""
    kind = draw.weighted({"number": 5, "text": 4, "plain": 3, "list": 1, "table": 1, "deep": 0.3})
    if kind == "number":
        return draw.among(*NUMBERS)
    if kind == "text":
        return draw.among(*(name for name in NAMES if "\udcff" not in name), "1", "nan", "1e5")
    if kind == "list" and depth < 3:
        return [odd_json(draw, depth + 1) for _ in range(draw.randrange(5))]
    if kind == "table" and depth < 3:
        keys = ("name", "value", "0", "scale", "")
        return {draw.among(*keys): odd_json(draw, depth + 1) for _ in range(draw.randrange(4))}
    if kind == "deep":
        value: Any = 1
        for _ in range(draw.among(10, 200)):
            value = [value] if draw.chance(0.5) else {"a": value}
        return value
    return draw.among(None, True, False, [], {}, [[]], [1, 2], [None], ["a", 1])


def odd_value(draw: Draw) -> Any:
    """Return a value that somebody may give for an option in Python."""
    return draw.weighted(
        {
            lambda: odd_json(draw): 6,
            lambda: draw.among(*NUMBERS): 4,
            lambda: draw.among(*(make() for make in OBJECTS)): 3,
        }
    )()


OBJECTS: tuple[Callable[[], Any], ...] = (
    object,
    lambda: b"bytes",
    lambda: 1 + 2j,
    lambda: Decimal("0.5"),
    lambda: Fraction(1, 3),
    lambda: np.float32(0.5),
    lambda: np.float64("nan"),
    lambda: np.int64(3),
    lambda: np.uint8(3),
    lambda: np.bool_(True),
    lambda: np.array([1, 2]),
    lambda: np.array(2.5),
    lambda: np.arange(3),
    lambda: np.array([], int),
    lambda: np.ma.masked,
    lambda: {1, 2},
    lambda: range(2),
    lambda: (n for n in (0, 1)),
    lambda: print,
    lambda: slice(0, 2),
    lambda: (0, 1),
    lambda: (0, 0, 8, 8),
    lambda: (1.5, 2.5),
    lambda: np.datetime64("2020-01-01"),
)


def mutated(draw: Draw, tree: Any, times: int | None = None) -> Any:
    """Return a copy of plain lists and tables in which something is not as it should be."""
    import copy

    tree = copy.deepcopy(tree)
    for _ in range(times or draw.among(1, 1, 1, 2, 3, 6)):
        places = list(_places(tree))
        if not places:
            return odd_json(draw)
        holder, key = places[draw.randrange(len(places))]
        told = f"{key!r}"
        how = draw.weighted({"replaced": 6, "removed": 2, "another's": 2, "twice": 1, "renamed": 1})
        if how == "replaced":
            holder[key] = odd_json(draw)
            told += f" = {holder[key]!r}"
        elif how == "removed":
            del holder[key]
        elif how == "another's":
            other, of = places[draw.randrange(len(places))]
            holder[key] = copy.deepcopy(other[of]) if _has(other, of) else None
            told += f" as {of!r}"
        elif how == "twice":
            if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            else:
                holder[f"{key}2"] = copy.deepcopy(holder[key])
        elif isinstance(holder, dict):
            new = draw.among(*NAMES[:20])
            holder[new] = holder.pop(key)
            told += f" -> {new!r}"
        draw.say(f"{told} {how}", 120)
    return tree


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(tree: Any) -> Any:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


def damaged(draw: Draw, data: bytes) -> bytes:
    """Return a file's bytes cut, or with some of them changed."""
    if not data:
        return data
    how = draw.weighted({"cut": 4, "bits": 4, "zeros": 2, "junk": 1, "joined": 1, "empty": 0.5})
    content = bytearray(data)
    # Where a format says what it holds is mostly at one of its ends.
    near = draw.among(64, 512, len(data))
    start = draw.among(0, max(0, len(data) - near))
    place = start + draw.randrange(min(near, len(data) - start))
    if how == "cut":
        content = content[:place]
    elif how == "bits":
        for _ in range(draw.among(1, 1, 2, 8, 64)):
            at = min(len(data) - 1, start + draw.randrange(min(near, len(data) - start)))
            content[at] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        length = draw.among(1, 4, 16, 1000)
        content[place : place + length] = bytes(len(content[place : place + length]))
    elif how == "junk":
        content[place:place] = draw.randbytes(draw.among(1, 4, 100))
    elif how == "joined":
        content += content[: draw.randrange(len(data))]
    else:
        content = content[: draw.among(0, 1, 4, 8)]
    draw.say(f"damaged: {how} at {place} of {len(data)} bytes")
    return bytes(content)
