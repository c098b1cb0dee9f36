"""How much each pixel of a painting counts: regions, covered parts, and edits of a prediction."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from .areas import Areas, Corners, inside
from .grids import Box
from .originals import blocks_of

Weights = NDArray[np.float16]


def fill(
    weights: Weights,
    number: int,
    value: float,
    *,
    areas: Areas | None = None,
    outline: Corners | None = None,
) -> Generator[None, None, None]:
    """Give ``value`` to a plane (H, W): to what lies in the region and in the painting.

    Parameters
    ----------
    weights
        The plane, written in place.
    number
        Of the plane.
    value
        The weight.
    areas
        The region; None: everything.
    outline
        (4, 2), corners of the painting, if it does not cover the plane.

    Yields
    ------
    None
        After each block.
    """
    shape = (weights.shape[0], weights.shape[1])
    boxes = [_whole(shape)] if areas is None else areas.boxes(number, shape)
    for outer in boxes:
        sides = (outer[0].stop - outer[0].start, outer[1].stop - outer[1].start)
        for rows, columns in blocks_of(sides):
            box = (_moved(rows, outer[0].start), _moved(columns, outer[1].start))
            part = weights[box]
            mask = np.ones(part.shape, dtype=bool)
            if outline is not None:
                mask &= inside((outline,), *box)
            if areas is not None:
                mask &= areas.mask(number, *box)
            part[mask] = value
            yield


def grow(
    weights: Weights, number: int, box: Box, edited: NDArray[Any], margin: int, areas: Areas | None
) -> None:
    """Give 1 to the edited pixels of a block of a plane, and to ``margin`` pixels around them."""
    padded = np.pad(edited, margin)
    grown = maximum_filter(padded, size=2 * margin + 1, mode="constant")
    target, inner = [], []
    for part, n, whole in zip(box, grown.shape, weights.shape, strict=True):
        begin = part.start - margin
        low, high = max(begin, 0), min(begin + n, whole)
        target.append(slice(low, high))
        inner.append(slice(low - begin, high - begin))
    mask = grown[tuple(inner)]
    if areas is not None:
        mask = mask & areas.mask(number, *target)
    weights[tuple(target)][mask] = 1


def near(box: Box, others: Sequence[Box], by: int) -> bool:
    """Return whether ``box`` lies within ``by`` pixels of any of ``others``."""
    return any(
        all(
            a.start < b.stop + by and b.start < a.stop + by for a, b in zip(box, other, strict=True)
        )
        for other in others
    )


def tight(box: Box, mask: NDArray[Any]) -> tuple[Box, NDArray[Any]]:
    """Return the part of ``box`` that holds all that is set in ``mask``, and that part of it."""
    found = []
    for axis in (0, 1):
        along = np.flatnonzero(mask.any(axis=1 - axis))
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    rows, columns = found
    return (_moved(rows, box[0].start), _moved(columns, box[1].start)), mask[rows, columns]


def _whole(shape: tuple[int, int]) -> Box:
    return slice(0, shape[0]), slice(0, shape[1])


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
