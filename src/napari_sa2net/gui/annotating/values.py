"""Which values a painting holds, and how much of it is painted, found quickly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .originals import blocks_of

LOOKED_AT = 64
"""How many painted blocks are looked at."""

LAZY_PLANES = 16
"""How many planes of an array that is not in memory."""


def values_in(data: Any, letters: str) -> tuple[NDArray[np.int64], float]:
    """Return the values other than 0, and about which share of the pixels has one.

    Parameters
    ----------
    data
        Whole numbers; all of an array in memory are looked at for anything painted, and then
        some of the painted blocks for their values.
    letters
        A letter for each axis.
    """
    others = [axis for axis, letter in enumerate(letters) if letter not in "YX"]
    indices = list(np.ndindex(*(data.shape[axis] for axis in others)))
    if not isinstance(data, np.ndarray):  # each plane may have to be computed or read
        indices = _spread(indices, LAZY_PLANES)
    painted, size = [], 0
    for index in indices:
        places = iter(index)
        plane = np.asarray(data[tuple(slice(None) if a in "YX" else next(places) for a in letters)])
        size += plane.size
        for rows, columns in blocks_of((plane.shape[0], plane.shape[1])):
            if columns.start == 0:  # the largest value is found many times quicker than others
                empty = not plane[rows].max()
            if not empty and plane[rows, columns].max():
                painted.append(plane[rows, columns])
    seen = _spread(painted, LOOKED_AT)
    values = {int(value) for block in seen for value in np.unique(block)} - {0}
    share = sum(np.count_nonzero(block) for block in seen) / max(1, sum(b.size for b in seen))
    share *= sum(block.size for block in painted) / max(1, size)
    return np.array(sorted(values), dtype=np.int64), float(share)


def _spread(things: list[Any], most: int) -> list[Any]:
    """Return up to ``most`` of some things, evenly spread."""
    if len(things) <= most:
        return things
    return [things[round(i)] for i in np.linspace(0, len(things) - 1, most)]
