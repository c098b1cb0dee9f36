"""A part of each plane, segmented as it would be in the whole plane.

The tiles are those of the plane's one grid, and values are normalised by the whole plane, so
that a region comes out as it would in the whole image, but for objects that it cuts.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from .blocks.plan import BlockGrid
from .blocks.source import Source
from .blocks.statistics import Collector, Statistics
from .errors import InputError
from .events import Event, Progress
from .prediction import Predictor
from .preparation import Preparation
from .scaling import resample_part
from .tiling import Box

WHOLE = 2**24
"""Pixels of a plane up to which a lazy array is read in whole to normalise a region of it."""

SIDE = 2048
"""Side in pixels of what is read at once of a plane that is only looked at."""

SAMPLED = (
    "The region is normalised by samples of about 2 megapixels from all over the plane, as the "
    "plane is too large to be read in whole: the result may differ a little from that of the "
    "whole image."
)


def check_region(region: Box | None, shape: tuple[int, int]) -> Box:
    """Return the region, or without one the whole plane.

    Raises
    ------
    InputError
        If it does not lie in the plane.
    """
    if region is None:
        return (0, 0, *shape)
    if region[2] > shape[0] or region[3] > shape[1]:
        raise InputError(
            f"The region {region} does not lie in the image, which has {shape[0]} rows and "
            f"{shape[1]} columns: give first row, first column, last row + 1, last column + 1."
        )
    return region


def is_sampled(preparation: Preparation) -> bool:
    """Tell whether the values of a plane are only looked at in places."""
    array = preparation.planes.arrays[0]
    height, width = preparation.planes.stack.plane_shape
    lazy = not isinstance(array, np.ndarray) or isinstance(array, np.memmap)
    return lazy and height * width > WHOLE and preparation.card.normalization.method != "none"


def plane_statistics(preparation: Preparation, number: int) -> Generator[Event, None, Statistics]:
    """Return by what a plane is normalised of which only a region is segmented."""
    planes = preparation.planes
    nothing = [(0.0, 1.0)] * planes.in_channels
    if preparation.card.normalization.method == "none":
        return Statistics(nothing, nothing)
    if is_sampled(preparation):
        limits = preparation.limits(number)
        return Statistics(limits, limits)
    shape = planes.stack.plane_shape
    collector = Collector(shape, preparation.card.normalization)
    grid = BlockGrid(shape, SIDE, (number,))
    for block in grid:
        collector.add(collector.see(planes, block))
        if len(grid) > 1:
            yield Progress(block.number + 1, len(grid), "block", "looking at the values")
    return collector.result()


def region_maps(
    preparation: Preparation, predictor: Predictor, region: Box, number: int, later: int
) -> Generator[Event, None, NDArray[np.float32]]:
    """Return the maps (maps, h, w) of a region of a plane, at the image's scale."""
    source = Source(preparation, number, (yield from plane_statistics(preparation, number)))
    need = source.needed(region)
    maps = yield from predictor.part(source.window, source.padded_shape, need, number, later)
    spans = (region[0], region[2]), (region[1], region[3])
    return resample_part(maps, need[:2], spans, source.working_shape, source.shape)
