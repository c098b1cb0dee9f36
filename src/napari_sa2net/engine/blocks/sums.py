"""What is known of objects by what adds up: the pixels of several blocks give that of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measuring.table import Table

_GATHER = {
    "owners": np.minimum,
    "areas": np.add,
    "places": np.add,
    "starts": np.minimum,
    "ends": np.maximum,
    "totals": np.add,
    "least": np.minimum,
    "most": np.maximum,
    "likely": np.add,
}
"""How the values of one object in several blocks become one."""


@dataclass(frozen=True)
class Sums:
    """Some objects (n), or as much of them as lies in a block."""

    numbers: NDArray[np.int64]
    """(n,), rising."""
    owners: NDArray[np.int64]
    """(n,), the first block that an object lies in."""
    areas: NDArray[np.int64]
    """(n,), pixels."""
    places: NDArray[np.int64]
    """(n, 2), sums of the rows and of the columns of all pixels, in the plane."""
    starts: NDArray[np.int64]
    """(n, 2), where the bounding box begins."""
    ends: NDArray[np.int64]
    """(n, 2), where it ends; not included."""
    totals: NDArray[np.float64]
    """(n, C), sums of the intensities of each channel."""
    least: NDArray[np.float64]
    """(n, C)."""
    most: NDArray[np.float64]
    """(n, C)."""
    likely: NDArray[np.float64]
    """(n, K), sums of the probabilities of the classes that an object can have; of no class
    where that is not needed to know its own."""

    def chosen(self, which: Any) -> Sums:
        """Return some of the objects, by an index or a slice."""
        return Sums(**{name: values[which] for name, values in vars(self).items()})

    def table(self, origin: tuple[int, int]) -> Table:
        """Return the measurements in pixels, as of one plane in memory.

        Parameters
        ----------
        origin
            Row and column in the image of the plane's first pixel.
        """
        table: Table = {"index": self.numbers, "area": self.areas}
        for axis, (letter, start) in enumerate(zip("yx", origin, strict=True)):
            table[f"c{letter}"] = self.places[:, axis] / self.areas + start
            table[f"{letter}0"] = self.starts[:, axis] + start
            table[f"{letter}1"] = self.ends[:, axis] + start
        means = self.totals / self.areas[:, None]
        return {**table, "mean": means, "min": self.least, "max": self.most}


def sums_of(
    labels: NDArray[Any],
    origin: tuple[int, int],
    owner: int,
    values: NDArray[Any],
    probabilities: NDArray[Any],
) -> Sums:
    """Add up what is known of the objects of a block.

    Parameters
    ----------
    labels
        (h, w), 0 background.
    origin
        Where its first pixel lies in the plane.
    owner
        The block's number.
    values
        (C, h, w), the channels.
    probabilities
        (K, h, w), of the classes that objects can have; K is 0 where there is one such class.
    """
    inside = labels > 0
    numbers, which = np.unique(labels[inside], return_inverse=True)
    count = len(numbers)
    areas = np.bincount(which, minlength=count)
    places = np.zeros((count, 2), np.int64)
    starts, ends = np.zeros((2, count, 2), np.int64)
    for axis, positions in enumerate(np.nonzero(inside)):
        added = np.bincount(which, positions, count).astype(np.int64)  # whole, far below 2**53
        places[:, axis] = added + areas * origin[axis]
        starts[:, axis] = _extremes(np.minimum, which, positions, count) + origin[axis]
        ends[:, axis] = _extremes(np.maximum, which, positions, count) + origin[axis] + 1
    totals, least, most = np.zeros((3, count, len(values)))
    for channel, plane in enumerate(values):
        known = plane[inside].astype(np.float64)
        totals[:, channel] = np.bincount(which, known, count)
        least[:, channel] = _extremes(np.minimum, which, known, count)
        most[:, channel] = _extremes(np.maximum, which, known, count)
    likely = np.zeros((count, len(probabilities)))
    for number, plane in enumerate(probabilities):
        likely[:, number] = np.bincount(which, plane[inside], count)
    owners = np.full(count, owner, np.int64)
    return Sums(
        numbers.astype(np.int64), owners, areas, places, starts, ends, totals, least, most, likely
    )


def merged(parts: Sequence[Sums]) -> Sums:
    """Put together what is known of the objects of several blocks."""
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))

    def gather(name: str, how: np.ufunc) -> NDArray[Any]:
        values = np.concatenate([getattr(part, name) for part in parts])[order]
        found: NDArray[Any] = how.reduceat(values, firsts, axis=0)
        return found

    return Sums(numbers[firsts], **{name: gather(name, how) for name, how in _GATHER.items()})


def _extremes(
    which_is_more: np.ufunc, which: NDArray[Any], values: NDArray[Any], count: int
) -> NDArray[Any]:
    """Return the lowest or highest value of each of ``count`` groups, none of them empty."""
    found = np.zeros(count, values.dtype)
    found[which] = values  # any one of its own
    which_is_more.at(found, which, values)
    return found
