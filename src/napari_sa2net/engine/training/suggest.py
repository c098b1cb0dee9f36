"""Where the next stroke would teach a model most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

_CELLS = 16
"""A window is that many cells wide; everything is computed by cell."""


def next_place(
    disagreement: NDArray[np.floating[Any]],
    painted: NDArray[np.bool_],
    visited: Sequence[tuple[float, float]] = (),
    window: int = 128,
) -> tuple[int, int] | None:
    """Return the centre of the unpainted window where the stages disagree most.

    Parameters
    ----------
    disagreement
        (H, W), as of a segmentation; what is not finite counts as 0.
    painted
        (H, W): what is painted already.
    visited
        Centres (row, column) of earlier windows.
    window
        Height and width of the window in pixels.

    Returns
    -------
    tuple of int or None
        Row and column of the centre; None if everything was painted or visited. Windows may
        overlap earlier ones by a quarter, and are seldom near painted pixels.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    shape = tuple(disagreement.shape)
    if len(shape) != 2 or tuple(painted.shape) != shape or 0 in shape:
        raise InputError(
            f"The painting has the shape {tuple(painted.shape)} and the disagreement {shape}: "
            "both must be those of one plane."
        )
    cell = max(1, round(window / _CELLS))
    sums, areas = _by_cell(_finite(disagreement), cell)
    touched, _ = _by_cell(painted, cell)
    width = max(1, round(window / cell))
    sides = (min(width, sums.shape[0]), min(width, sums.shape[1]))
    total, area = _windows(sums, sides), _windows(areas, sides)
    # A stroke is thin, but what lies right beside it has been looked at.
    used = _windows(_grown(touched > 0, width // 8).astype(np.float64), sides)
    free = used <= 0.25 * sides[0] * sides[1]
    rows = (np.arange(total.shape[0]) + sides[0] / 2) * cell
    columns = (np.arange(total.shape[1]) + sides[1] / 2) * cell
    tall, wide = sides[0] * cell, sides[1] * cell
    for y, x in visited:
        over_y = np.clip(1 - np.abs(rows - y) / tall, 0, 1)
        over_x = np.clip(1 - np.abs(columns - x) / wide, 0, 1)
        free &= over_y[:, None] * over_x <= 0.25
    if not free.any():
        return None
    score = np.where(free, total / area, -np.inf)
    at = np.unravel_index(int(np.argmax(score)), score.shape)
    centre = (rows[at[0]], columns[at[1]])
    return min(int(centre[0]), shape[0] - 1), min(int(centre[1]), shape[1] - 1)


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    out: NDArray[Any] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return out


def _by_cell(values: NDArray[Any], cell: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of ``values`` in each cell, and the pixels each cell has."""
    starts = [np.arange(0, length, cell) for length in values.shape]
    by_row = np.add.reduceat(values, starts[0], axis=0, dtype=np.float64)
    sums = np.add.reduceat(by_row, starts[1], axis=1)
    tall, wide = (
        np.diff(np.append(start, length))
        for start, length in zip(starts, values.shape, strict=True)
    )
    return sums, np.outer(tall, wide).astype(np.float64)


def _windows(cells: NDArray[np.float64], sides: tuple[int, int]) -> NDArray[np.float64]:
    """Return the sum over every window of ``sides`` cells."""
    table = np.pad(cells, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    h, w = sides
    out: NDArray[np.float64] = table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w]
    return out


def _grown(cells: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Return the cells within ``by`` of one that is set."""
    padded = np.pad(cells.astype(np.float64), by)
    return _windows(padded, (2 * by + 1, 2 * by + 1)) > 0.5
