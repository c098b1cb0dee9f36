"""Windows of a plane as the network wants them, the same as if the whole plane was prepared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..preparation import Preparation
from ..scaling import needed_span, resample_part, zoomed_shape
from ..tiling import Box, Tile, padded_side
from .plan import box_slices
from .statistics import Statistics

EMPTY_RANGE = 0.1
"""A tile is empty if its values vary by less than this share of the image's usual range …"""
EMPTY_MEAN = 8
"""… after averaging over squares of this many pixels, which takes the noise out."""


STRIP_PIXELS = 2**24
"""Pixels of the image that are read at once."""


@dataclass(frozen=True)
class Source:
    """One plane of an image, read window by window."""

    preparation: Preparation
    plane: int
    statistics: Statistics

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the plane."""
        return self.preparation.planes.stack.plane_shape

    @property
    def working_shape(self) -> tuple[int, int]:
        """Height and width at the network's scale."""
        return zoomed_shape(self.shape, self.preparation.zoom)

    @property
    def padded_shape(self) -> tuple[int, int]:
        """The same, grown to multiples of 16."""
        height, width = self.working_shape
        return padded_side(height), padded_side(width)

    def window(self, box: Box) -> NDArray[np.float32]:
        """Read a part (C, h, w) of the padded plane at the network's scale.

        Where the image is made much smaller, this is done in strips.
        """
        zoom = self.preparation.zoom
        across = (box[3] - box[1]) / zoom[1]
        rows = max(16, int(STRIP_PIXELS / across * zoom[0]))
        strips = [
            self._window((top, box[1], min(top + rows, box[2]), box[3]))
            for top in range(box[0], min(box[2], self.working_shape[0]), rows)
        ]
        part = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=1)
        grow = box[2] - box[0] - part.shape[1], box[3] - box[1] - part.shape[2]
        if not any(grow):
            return part
        return np.pad(part, ((0, 0), (0, grow[0]), (0, grow[1])), mode="reflect")

    def _window(self, box: Box) -> NDArray[np.float32]:
        """Read a part of the padded plane, as far as it lies in the plane."""
        height, width = self.working_shape
        spans = (box[0], min(box[2], height)), (box[1], min(box[3], width))
        (y0, y1), (x0, x1) = (
            needed_span(span, side, new)
            for span, side, new in zip(spans, self.shape, self.working_shape, strict=True)
        )
        values = self.preparation.window(
            self.plane,
            box_slices((y0, x0, y1, x1)),
            self.statistics.limits,
            self.statistics.extremes,
        )
        return resample_part(values, (y0, x0), spans, self.shape, self.working_shape)

    def needed(self, box: Box) -> Box:
        """Return the part of the working plane from which a box of the plane comes."""
        (height, width), (rows, columns) = self.shape, self.working_shape
        y0, y1 = needed_span((box[0], box[2]), rows, height)
        x0, x1 = needed_span((box[1], box[3]), columns, width)
        return y0, x0, y1, x1

    def spread(self) -> NDArray[np.float32]:
        """Return the usual range of each channel's normalised values."""
        method = self.preparation.card.normalization.method
        if method in ("percentile", "minmax"):
            return np.ones(len(self.statistics.extremes), np.float32)
        pair = np.array(self.statistics.extremes, np.float32)[:, None, :]
        values = self.preparation.normalise(pair, self.statistics.limits)
        return np.asarray(np.ptp(values, axis=(1, 2)))


def is_empty(values: NDArray[np.float32], spread: NDArray[np.float32]) -> bool:
    """Tell whether there is nothing in a tile (C, h, w): its values hardly vary."""
    height, width = (n // EMPTY_MEAN * EMPTY_MEAN for n in values.shape[1:])
    squares = values[:, :height, :width].reshape(
        len(values), height // EMPTY_MEAN, EMPTY_MEAN, width // EMPTY_MEAN, EMPTY_MEAN
    )
    means = squares.mean(axis=(2, 4))
    return bool((np.ptp(means, axis=(1, 2)) < EMPTY_RANGE * spread).all())


@dataclass(frozen=True)
class TileLayout:
    """The one grid of tiles of a plane, and which of them a block needs.

    A pixel's result is the weighted mean of the tiles whose cores hold it, added up row by
    row; whatever block it lies in, these are the same tiles in the same order.
    """

    source: Source
    tiles: list[Tile]
    """All of the plane, row by row."""
    region: Box
    """The part of the plane that is segmented; blocks are counted from its corner."""

    def spans(self, box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and columns of the plane that a box of the region covers."""
        y, x = self.region[:2]
        return (box[0] + y, box[2] + y), (box[1] + x, box[3] + x)

    def needed(self, box: Box) -> Box:
        """Return the part of the working plane from which a box of the region comes."""
        (y0, y1), (x0, x1) = self.spans(box)
        return self.source.needed((y0, x0, y1, x1))

    def of_region(self) -> list[int]:
        """Return the numbers of the tiles that the region needs."""
        return self.within(self.source.needed(self.region))

    def within(self, box: Box) -> list[int]:
        """Return the numbers of the tiles whose cores touch a box of the working plane."""
        y0, y1, x0, x1 = self._cores
        hit = (y0 < box[2]) & (box[0] < y1) & (x0 < box[3]) & (box[1] < x1)
        return [int(number) for number in np.flatnonzero(hit)]

    def touched(self, number: int, side: int) -> list[tuple[int, int]]:
        """Return rows and columns of the blocks of ``side`` pixels that need a tile."""
        tile = self.tiles[number]
        y0, x0, y1, x1 = self.region
        spans = [
            _blocks_touching(core, side, within, length, working)
            for core, within, length, working in zip(
                (tile.core_y, tile.core_x),
                ((y0, y1), (x0, x1)),
                self.source.shape,
                self.source.working_shape,
                strict=True,
            )
        ]
        return [(row, column) for row in spans[0] for column in spans[1]]

    @cached_property
    def _cores(self) -> NDArray[np.int64]:
        cores = [(*tile.core_y, *tile.core_x) for tile in self.tiles]
        return np.array(cores, np.int64).T


def _blocks_touching(
    core: tuple[int, int], side: int, within: tuple[int, int], length: int, working: int
) -> list[int]:
    """Return which blocks of a region along one axis need the pixels of a core."""
    start, end = within
    found = []
    for block in range(math.ceil((end - start) / side)):
        first = start + block * side
        span = needed_span((first, min(first + side, end)), working, length)
        if span[0] < core[1] and core[0] < span[1]:
            found.append(block)
    return found
