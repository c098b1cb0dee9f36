"""What was found, in words: how many objects or which classes, and on how many planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .axes import Stack
from .instances import LabelSettings

_PLANES = {"T": ("time point", "time points"), "Z": ("plane", "planes")}
_THROUGH = {"T": "time", "Z": "Z"}

_FOUND = {"instances": ("object", "objects"), "classes": ("class", "classes")}

COUNTED_TWICE = "An object that several planes show has a number, and is counted, in each."
"""What unlinked objects of a stack mean."""


def count_text(count: int, result: str) -> str:
    """Say how many objects, or classes, there are; ``result`` as in the label settings."""
    return _count(count, _FOUND[result])


def objects_text(
    count: int,
    lengths: Mapping[str, int],
    settings: LabelSettings,
    kinds: Mapping[str, int] | None = None,
) -> str:
    """Say how many objects were found, and of a stack whether its planes are linked.

    Parameters
    ----------
    count
        Of numbers.
    lengths
        How many planes there are along ``T`` and ``Z``, as far as there are these axes.
    settings
        Which made the labels.
    kinds
        The number of objects of each class, if there are several.
    """
    text = count_text(count, "instances")
    if kinds and len(kinds) > 1:
        text += f" ({', '.join(f'{n} {name}' for name, n in kinds.items())})"
    text += _where(lengths)
    linked, unlinked = linked_through(lengths, settings), unlinked_axes(lengths, settings)
    if not linked and not unlinked:
        return text
    through = " or ".join(_THROUGH[letter] for letter in linked or unlinked)
    return f"{text}, {'not ' * bool(unlinked)}linked through {through}"


def classes_text(names: Sequence[str], lengths: Mapping[str, int]) -> str:
    """Say which classes were found, and on how many planes."""
    listed = f" ({', '.join(names)})" if names else ""
    return f"{count_text(len(names), 'classes')}{listed}{_where(lengths)}"


def plane_lengths(stack: Stack, numbers: Sequence[int]) -> dict[str, int]:
    """Return how many of the planes of these numbers differ along ``T`` and along ``Z``."""
    along = zip(*(stack.index(number) for number in numbers), strict=True)
    return dict(zip(stack.plane_axes, (len(set(places)) for places in along), strict=False))


def linked_through(lengths: Mapping[str, int], settings: LabelSettings) -> str:
    """Return the axis through which objects of several planes are one; empty if they are not."""
    letter = settings.link.upper()
    return letter if settings.result == "instances" and lengths.get(letter, 1) > 1 else ""


def unlinked_axes(lengths: Mapping[str, int], settings: LabelSettings) -> str:
    """Return through which axes objects could be linked and are not; empty if they are."""
    if settings.result == "classes" or linked_through(lengths, settings):
        return ""
    return "".join(letter for letter, n in lengths.items() if n > 1)


def _where(lengths: Mapping[str, int]) -> str:
    stacked = [_count(n, _PLANES[letter]) for letter, n in lengths.items() if n > 1]
    return f" in {' of '.join(stacked)}" if stacked else ""


def _count(number: int, words: tuple[str, str]) -> str:
    return f"{number} {words[number != 1]}"
