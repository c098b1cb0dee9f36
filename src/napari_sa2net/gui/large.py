"""Images too large to be segmented in memory: which they are, and at which level they are read."""

from __future__ import annotations

import math
from typing import Any

from ..engine.scaling import choose_zoom
from ..engine.segmentation import SegmentOptions
from .layers import LayerImage

PIXELS = 4096 * 4096
"""Pixels of a plane, or of a region of it, above which it is segmented block by block.

In memory a pixel takes about 120 bytes while it is segmented and labelled, so that this many
take 2 GB; and to label them again, as a slider wants it, takes most of a second.
"""

ONLY_LABELS = (
    "Of an image this large only labels are made, and they are kept on the disk. For maps, segment "
    "a part (Where)."
)


def is_large(image: LayerImage, region: Any = None) -> bool:
    """Return whether a plane of ``image``, or a region of it, is segmented block by block."""
    return pixels(image, region) > PIXELS


def pixels(image: LayerImage, region: Any = None) -> int:
    """Return the pixels of a plane, or of a region (y0, x0, y1, x1) of it."""
    if region is not None:
        return int((region[2] - region[0]) * (region[3] - region[1]))
    return math.prod(plane_shape(image))


def plane_shape(image: LayerImage) -> tuple[int, int]:
    """Return height and width of a plane."""
    letters, shape = image.layer_axes, image.layer_shape
    return shape[letters.index("Y")], shape[letters.index("X")]


def level_for(image: LayerImage, card: Any, diameter: float | None) -> int:
    """Return the level of a multiscale image that suits a model, 0 for full resolution.

    The coarsest that is still not coarser than what the network sees, after the image is brought
    to the model's scale.
    """
    options = SegmentOptions(diameter=diameter, pixel_size=image.pixel_size_yx)
    zoom, _ = choose_zoom(plane_shape(image), card, options)
    found, sides = 0, [image.layer_axes.index(letter) for letter in "YX"]
    shape = image.layer_shape
    for number, data in enumerate(image.levels, start=1):
        level = tuple(int(n) for n in data.shape[: len(shape)])
        kept = all(level[i] == n for i, n in enumerate(shape) if i not in sides)
        factors = [shape[side] / level[side] for side in sides]
        if kept and all(z * f < 1.01 for z, f in zip(zoom, factors, strict=True)):
            found = number
    return found
