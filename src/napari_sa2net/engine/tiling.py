"""Cutting a plane into tiles and putting the tiles' results together again.

All of it is arithmetic on sizes and arrays: nothing here knows the network. Tiles start on
multiples of 16 pixels, the network's stride, so that a tile's pixels fall on the same pooling
grid as in the whole plane. At the inner border of a tile the network misses what lies beyond:
``discard`` pixels are thrown away there, and over the next ``blend`` pixels the tile fades
into its neighbour. The border of the plane itself is never discarded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

GRID = 16
"""Tiles start on multiples of this, and padded planes have sides that are multiples of it."""

Box = tuple[int, int, int, int]
"""Half-open: first row, first column, last row + 1, last column + 1."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of the padded plane, and the part of it whose results are used.

    All are half-open ranges in pixels of the plane.
    """

    y: tuple[int, int]
    x: tuple[int, int]
    core_y: tuple[int, int]
    core_x: tuple[int, int]
    fade_y: tuple[int, int]
    """Pixels over which the core fades in at its first and fades out at its last row."""
    fade_x: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the tile lies in the plane."""
        return slice(*self.y), slice(*self.x)

    def seen_from(self, y: int, x: int) -> Tile:
        """Return the tile in pixels of a part of the plane that starts at (y, x)."""
        return replace(
            self,
            y=(self.y[0] - y, self.y[1] - y),
            x=(self.x[0] - x, self.x[1] - x),
            core_y=(self.core_y[0] - y, self.core_y[1] - y),
            core_x=(self.core_x[0] - x, self.core_x[1] - x),
        )


def padded_side(side: int) -> int:
    """Return the least multiple of 16 that is at least ``side``, and 16 at least."""
    return max(1, -(-side // GRID)) * GRID


def pad(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad (C, H, W) at the bottom and right by reflection, to multiples of 16.

    A side shorter than the padding is reflected again and again; one of a single pixel is
    repeated.
    """
    height, width = planes.shape[-2:]
    grow = (padded_side(height) - height, padded_side(width) - width)
    if not any(grow):
        return planes
    return np.pad(planes, ((0, 0), (0, grow[0]), (0, grow[1])), mode="reflect")


def check_tiling(tile: int, discard: int, blend: int) -> None:
    """Check the three lengths.

    Raises
    ------
    InputError
        If they are negative, or the tile is too small for what is discarded and blended.
    """
    if discard < 0 or blend < 0:
        raise InputError("discard and blend are numbers of pixels: give 0 or more.")
    least = padded_side(2 * discard + blend + GRID)
    if tile < least:
        raise InputError(
            f"A tile of {tile} pixels is too small when {discard} pixels are discarded at each "
            f"side and {blend} are blended: use a tile of at least {least}."
        )


def tile_starts(side: int, tile: int, step: int) -> list[int]:
    """Return where tiles start along one side, evenly spread, the last one ending with it.

    Parameters
    ----------
    side, tile
        Lengths in pixels, multiples of 16.
    step
        The largest distance between two starts.
    """
    if tile >= side:
        return [0]
    room = (side - tile) // GRID
    gaps = -(-room // max(1, step // GRID))
    # Whole steps of 16 that differ by one at most are never longer than `step`.
    return [(i * room) // gaps * GRID for i in range(gaps + 1)]


def fitted_tile(side: int, tile: int, overlap: int) -> int:
    """Return the length of tiles, up to ``tile``, with which least is computed along a side.

    What two tiles share is computed twice, so that a few pixels less in each are worth more than
    a tile less, or the other way round, as it falls. Of equals, the longest and fewest.

    Parameters
    ----------
    side, tile
        Lengths in pixels, multiples of 16.
    overlap
        Pixels that two neighbours share at least.

    Returns
    -------
    int
        A multiple of 16, at most ``tile`` and ``side``.
    """
    if tile >= side:
        return side
    lengths = range(tile, padded_side(overlap + GRID) - 1, -GRID)
    return min(lengths, key=lambda n: n * len(tile_starts(side, n, n - overlap)))


def tile_grid(
    shape: tuple[int, int], tile: int = 512, discard: int = 16, blend: int = 48
) -> list[Tile]:
    """Return the tiles of a padded plane, row by row.

    Parameters
    ----------
    shape
        Height and width of the plane, multiples of 16 (see :func:`pad`).
    tile
        Longest side of a tile in pixels, rounded down to a multiple of 16. Tiles are made
        shorter where that computes less in all. All tiles have one size.
    discard
        Pixels thrown away at each side of a tile that does not lie on the plane's border.
    blend
        Pixels over which two neighbours fade into each other.

    Raises
    ------
    InputError
        If the sides are no multiples of 16, or the lengths do not fit together.
    """
    check_tiling(tile, discard, blend)
    if any(side % GRID or side < GRID for side in shape):
        raise InputError(f"Tiles need sides that are multiples of {GRID}, got {shape}: pad first.")
    rows, columns = (_spans(side, tile // GRID * GRID, discard, blend) for side in shape)
    return [
        Tile(y, x, core_y, core_x, fade_y, fade_x)
        for y, core_y, fade_y in rows
        for x, core_x, fade_x in columns
    ]


_Span = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def _spans(side: int, tile: int, discard: int, blend: int) -> list[_Span]:
    """Return (tile, core, fades) of the tiles along one side."""
    overlap = 2 * discard + blend
    tile = fitted_tile(side, tile, overlap)
    starts = tile_starts(side, tile, tile - overlap)
    cores = [
        (
            start + (discard if start else 0),
            start + tile - (discard if start + tile < side else 0),
        )
        for start in starts
    ]
    spans = []
    for i, (start, core) in enumerate(zip(starts, cores, strict=True)):
        # The fade covers the whole overlap of two cores, which may be wider than asked.
        before = cores[i - 1][1] - core[0] if i else 0
        after = core[1] - cores[i + 1][0] if i + 1 < len(cores) else 0
        spans.append(((start, start + tile), core, (before, after)))
    return spans


def blend_window(length: int, fade: tuple[int, int]) -> NDArray[np.float32]:
    """Return weights along one side: rising over ``fade[0]``, falling over ``fade[1]`` pixels.

    The weights are above 0, 1 outside of the fades, and those of two neighbours add up to 1.
    """
    window = np.ones(length, np.float32)
    for pixels, part in ((fade[0], window), (fade[1], window[::-1])):
        if pixels > 0:
            ramp = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
            part[:pixels] *= (np.sin(ramp * (np.pi / 2)) ** 2)[:length]
    return window


class Stitcher:
    """Adds the results of tiles up to the result of the plane, or of a part of it.

    Tiles of different grids may be mixed: each pixel is the weighted mean of all that was
    added there.

    Parameters
    ----------
    channels
        Number of maps.
    box
        The part of the padded plane; what tiles say beyond it is left out.
    """

    def __init__(self, channels: int, box: Box) -> None:
        self._box = box
        shape = box[2] - box[0], box[3] - box[1]
        self._sum = np.zeros((channels, *shape), np.float32)
        self._weight = np.zeros(shape, np.float32)

    def add(self, tile: Tile, values: NDArray[np.float32]) -> None:
        """Add the result (channels, height, width) of a tile."""
        rows, columns = self._common(tile)
        window = np.outer(
            _part(tile.core_y, tile.fade_y, rows), _part(tile.core_x, tile.fade_x, columns)
        )
        target = self._within(rows, columns)
        inner = (
            slice(rows[0] - tile.y[0], rows[1] - tile.y[0]),
            slice(columns[0] - tile.x[0], columns[1] - tile.x[0]),
        )
        self._sum[:, target[0], target[1]] += values[:, inner[0], inner[1]] * window
        self._weight[target] += window

    def covers(self, tile: Tile) -> bool:
        """Tell whether every pixel of the tile's core, here, already has a result."""
        return bool((self._weight[self._within(*self._common(tile))] > 0).all())

    def result(self) -> NDArray[np.float32]:
        """Return the maps (channels, height, width) of the part.

        The stitcher's own memory is used for it: add nothing afterwards.
        """
        np.divide(self._sum, self._weight, out=self._sum, where=self._weight > 0)
        return self._sum

    def _common(self, tile: Tile) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and columns of the plane that a core and the part share."""
        y0, x0, y1, x1 = self._box
        rows = max(tile.core_y[0], y0), min(tile.core_y[1], y1)
        columns = max(tile.core_x[0], x0), min(tile.core_x[1], x1)
        return (rows[0], max(rows)), (columns[0], max(columns))

    def _within(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice]:
        y, x = self._box[:2]
        return slice(rows[0] - y, rows[1] - y), slice(columns[0] - x, columns[1] - x)


def _part(core: tuple[int, int], fade: tuple[int, int], span: tuple[int, int]) -> NDArray[Any]:
    """Return the weights of a part of a core along one side."""
    return blend_window(core[1] - core[0], fade)[span[0] - core[0] : span[1] - core[0]]
