"""Axes of images: what they are, and how planes are counted over T and Z."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .tiling import Box

AXES = "TZCYX"
"""The letters of axes that an image has: time, depth, channel, row, column."""

COLOURS = "S"
"""The letter of an axis of red, green, blue samples, where it is told from channels."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_KINDS = {"R": "position", "P": "phase", "A": "angle", "H": "lifetime", "E": "wavelength",
          "L": "exposure", "V": "event", "M": "mosaic tile", "I": "sequence"}  # fmt: skip
"""What further letters stand for, as tifffile uses them."""

_NAMES = {"t": "T", "time": "T", "times": "T", "frame": "T", "frames": "T", "timepoint": "T",
          "z": "Z", "depth": "Z", "plane": "Z", "slice": "Z", "slices": "Z",
          "c": "C", "ch": "C", "channel": "C", "channels": "C", "rgb": "C",
          "y": "Y", "row": "Y", "rows": "Y", "height": "Y",
          "x": "X", "column": "X", "columns": "X", "col": "X", "width": "X",
          "position": "R", "positions": "R", "pos": "R", "scene": "R", "series": "R",
          "field": "R", "fov": "R", "tile": "M", "phase": "P", "angle": "A", "lifetime": "H",
          "wavelength": "E", "lambda": "E", "exposure": "L", "event": "V"}  # fmt: skip

MOST_LAST = 16
"""More entries than this of a last axis are never taken for channels."""


def guess_axes(
    shape: Sequence[int], *, rgb: bool = False, axis_labels: Sequence[str] | None = None
) -> str:
    """Guess what the axes of an image are.

    Parameters
    ----------
    shape
        The image's shape; two to five axes.
    rgb
        Whether the last axis holds colours, as napari knows it of a layer.
    axis_labels
        Names of the axes, as of a layer; used if they are understood and fit. An RGB layer's
        labels may leave out the colours. Names of other axes than an image has, as
        ``position``, are other letters than these.

    Returns
    -------
    str
        A letter of ``"TZCYX"`` for each axis. A last axis far shorter than the two before it
        is the channels. One axis before Y and X is a channel if it has 2 to 4 entries and Z
        otherwise.

    Raises
    ------
    InputError
        If the shape cannot be that of an image.
    """
    shape = tuple(int(n) for n in shape)
    named = _axes_from_labels(shape, rgb, axis_labels)
    if named:
        return named
    colours = rgb or _ends_in_colours(shape)
    rest = shape[:-1] if colours else shape
    end = "YXC" if colours else "YX"
    stack = len(rest) - 2
    if stack == 0:
        return end
    if colours or stack == 1:
        before = {1: "Z", 2: "TZ"}.get(stack)
        if not colours and 2 <= rest[0] <= 4:
            before = "C"
    else:
        before = _stack_with_channels(rest[:stack])
    if before is None or stack < 0:
        raise InputError(
            f"An image of shape {shape} is not understood: it needs rows and columns, and at most "
            "time, depth and channels besides. Name its axes, for example TZCYX."
        )
    return before + end


def _axes_from_labels(
    shape: tuple[int, ...], rgb: bool, labels: Sequence[str] | None
) -> str | None:
    if not labels:
        return None
    axes = axes_from_names(labels)
    if rgb and len(axes) == len(shape) - 1:
        axes += "C"
    try:
        check_axes(axes, shape)
    except InputError:
        return None
    return None if rgb and axes[-1] not in ("C", COLOURS) else as_image_axes(axes, shape)


def axes_from_names(names: Sequence[object]) -> str:
    """Return a letter for each axis that is called something.

    A name that is not known has a letter that no other has, and is none of ``"TZCYX"``.
    """
    known = [_NAMES.get(str(name).strip().lower(), "") for name in names]
    for place, name in enumerate(names):
        letter = str(name).strip().upper()
        if known[place]:
            continue
        if len(letter) != 1 or letter not in _LETTERS or letter in known:
            letter = spare_letter("".join(known))
        known[place] = letter
    return "".join(known)


def axes_of_file(axes: str, shape: Sequence[int]) -> str:
    """Return the axes of an array from tifffile's letters.

    ``I`` and ``Q`` are axes of which the file says nothing: where no other stack is known, they
    are guessed as those of an array without a file are.

    Raises
    ------
    InputError
        If they are too many to be guessed.
    """
    if set("IQ") & set(axes) and set(axes) <= set("IQYXS"):
        plain = [n for a, n in zip(axes, shape, strict=True) if a != COLOURS]
        if COLOURS not in axes:
            return guess_axes(plain)
        stack = {1: "", 2: "Z", 3: "TZ"}.get(len(plain) - 1)
        if stack is None:
            return guess_axes(shape)
        inner = f"{stack}YX"
        at = axes.index(COLOURS)
        return inner[:at] + COLOURS + inner[at:]
    letters = ""
    for letter in axes:  # tifffile may use Q twice
        letters += spare_letter(letters + axes) if letter in letters else letter
    return letters


def spare_letter(axes: str) -> str:
    """Return a letter, none of ``"TZCYX"``, that ``axes`` does not have."""
    return next(a for a in "Q" + _LETTERS if a not in axes and a not in AXES + COLOURS)


def describe_axis(letter: str) -> str:
    """Return how a person calls an axis that is none of ``"TZCYX"``."""
    return f"{letter} ({_KINDS[letter]})" if letter in _KINDS else letter


def further_axes(axes: str) -> str:
    """Return the letters of ``axes`` that an image does not have."""
    return "".join(letter for letter in axes if letter not in AXES)


def as_image_axes(axes: str, shape: Sequence[int]) -> str:
    """Return axes with the colours ``S`` as the channels of an image.

    Of channels that have colours of their own each is a picture: they are counted as planes.
    """
    if COLOURS not in axes:
        return axes
    if "C" in axes:
        alone = shape[axes.index("C")] == 1
        free = "" if alone else next((letter for letter in "ZT" if letter not in axes), "")
        axes = axes.replace("C", free or spare_letter(axes))
    return axes.replace(COLOURS, "C")


def _ends_in_colours(shape: tuple[int, ...]) -> bool:
    """Tell whether the last axis holds channels: planes are not a few pixels wide."""
    if len(shape) < 3:
        return False
    last, side = shape[-1], min(shape[-3:-1])
    if last == 1:
        return side > 1
    return side > 8 and (last in (3, 4) or (last <= MOST_LAST and side >= 4 * last))


def _stack_with_channels(lengths: tuple[int, ...]) -> str | None:
    """Name two or three axes before Y and X; the shortest of 2 to 8 entries is the channels."""
    if len(lengths) > 3:
        return None
    few = [n for n in lengths if 2 <= n <= (8 if len(lengths) == 3 else 4)]
    if len(lengths) == 2 and not few:
        return "TZ"
    # Of equal lengths the later axis: TZCYX is ImageJ's order.
    at = max(i for i, n in enumerate(lengths) if n == min(few)) if few else 1
    others = "TZ" if len(lengths) == 3 else "Z"
    return others[:at] + "C" + others[at:]


def check_axes(axes: str, shape: Sequence[int]) -> None:
    """Check that ``axes`` can be the axes of an array of this shape.

    Besides ``"TZCYX"`` these may be ``S``, colours, and any other letter for an axis of which
    one entry is used, as ``R`` for positions.

    Raises
    ------
    InputError
        If it holds something else than letters, or one twice, Y or X is missing, the number of
        letters is not that of axes, or an axis is empty.
    """
    shape = tuple(int(n) for n in shape)
    problem = problem_of(axes)
    if not problem and len(axes) != len(shape):
        problem = f"the image has {len(shape)} axes, of lengths {shape}"
    if problem:
        raise InputError(f"The axes {axes!r} do not fit: {problem}. Write for example TYX.")
    if 0 in shape:
        raise InputError(f"The image is empty: its shape is {shape}.")


def problem_of(axes: str) -> str:
    """Return why ``axes`` cannot be those of any image; empty if they can."""
    if set(axes) - set(_LETTERS):
        return (
            "it may only hold the letters T, Z, C, Y and X, S for colours, and others for axes "
            "of which one entry is used, as R for positions"
        )
    if len(set(axes)) != len(axes):
        return "each letter may be used once"
    return "" if {"Y", "X"} <= set(axes) else "it must hold Y and X"


@dataclass(frozen=True)
class Stack:
    """The shape of an image without its channels, and its planes: over T, then Z.

    Results have this shape. Plane ``i`` of them is a view that can be written to.
    """

    axes: str
    """Letters without C, in the image's own order."""
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.lengths)

    @property
    def plane_axes(self) -> str:
        """The letters of the axes that planes are counted over, of ``"TZ"``."""
        return "".join(letter for letter in "TZ" if letter in self.axes)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of :attr:`plane_axes`."""
        return tuple(self.shape[self.axes.index(letter)] for letter in self.plane_axes)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[self.axes.index("Y")], self.shape[self.axes.index("X")]

    def part(self, box: Box) -> Stack:
        """Return the stack of a part of each plane."""
        sides = {"Y": box[2] - box[0], "X": box[3] - box[1]}
        shape = zip(self.axes, self.shape, strict=True)
        return replace(self, shape=tuple(sides.get(letter, n) for letter, n in shape))

    def index(self, i: int) -> tuple[int, ...]:
        """Return where plane ``i`` lies along :attr:`plane_axes`."""
        return tuple(int(n) for n in np.unravel_index(i, self.lengths)) if self.lengths else ()

    def numbers(self, wanted: Sequence[int] | None) -> tuple[int, ...]:
        """Check numbers of planes; all of them if not given.

        Raises
        ------
        InputError
            If there is no such plane.
        """
        count = len(self)
        if wanted is None:
            return tuple(range(count))
        outside = [number for number in wanted if not 0 <= number < count]
        if outside or not wanted:
            problem = f"There is no plane {outside[0]}" if outside else "No plane is named"
            raise InputError(
                f"{problem}: the image has {count} plane(s), numbered 0 to {count - 1}."
            )
        return tuple(sorted(set(wanted)))

    def view(self, array: NDArray[Any], i: int) -> NDArray[Any]:
        """Return plane ``i`` (…, H, W) of an array (…, *shape), sharing its memory."""
        where = dict(zip(self.plane_axes, self.index(i), strict=True))
        plane = array[(..., *(where.get(letter, slice(None)) for letter in self.axes))]
        return plane if self.axes.index("Y") < self.axes.index("X") else plane.swapaxes(-1, -2)

    def ordered(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of this shape as (T, Z, Y, X), sharing its memory; T and Z may be 1."""
        order = [self.axes.index(letter) for letter in "TZYX" if letter in self.axes]
        out = array.transpose(order)
        for position, letter in enumerate("TZ"):
            if letter not in self.axes:
                out = np.expand_dims(out, position)
        return out
