"""Bringing an image to the scale a model was trained at, and the results back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .calibration import sizes_yx
from .errors import InputError
from .events import Message
from .instances import LARGEST_MIN_SIZE, LabelSettings
from .segmentation import SegmentOptions, tile_for

if TYPE_CHECKING:
    from .cards import ModelCard

ZOOM_LIMITS = (1 / 100, 10.0)
"""Least and largest factor of a side. Beyond, a size was surely mistyped."""

WINDOW_LIMIT = 2**28
"""Pixels of the image that are read for a tile at most: they take 1 GB, and a minute to shrink."""

SIDE_LIMIT = 100_000
"""Longest side in pixels that an image is enlarged to."""

NEAR_ONE = 0.02
"""A zoom this near to 1 changes nothing the network notices, and is left out."""


def choose_zoom(
    shape: tuple[int, int], card: ModelCard, options: SegmentOptions
) -> tuple[tuple[float, float], Message | None]:
    """Return by what an image is resampled (height, width), and what is to be said of it.

    Parameters
    ----------
    shape
        Height and width of the image.
    card
        Card of the model, which may have a working diameter or pixel size.
    options
        With the ``diameter`` of objects or the ``pixel_size`` of the image. The diameter goes
        first. If neither is given, there is nothing to say, or a warning where the model goes by
        the pixel size.

    Raises
    ------
    InputError
        If the zoom is beyond what makes sense.
    """
    zoom, why = _working_zoom(card, options)
    if zoom != (1.0, 1.0):
        _check_zoom(shape, zoom, why, tile_for(options, card.base_channels))
        return zoom, Message(f"The image is resampled by {_text(zoom)} for the network: {why}.")
    if options.pixel_size is None and card.pixel_size is not None and card.diameter is None:
        text = (
            f"The model works at {card.pixel_size:g} µm a pixel, and the size of the image's "
            "pixels is not known: the image is used as it is, which may give poor results. Give "
            "the size of a pixel (--pixel-size, pixel_size=…)."
        )
        return zoom, Message(text, warning=True)
    return zoom, Message(why) if why else None


def default_labelling(card: ModelCard, options: SegmentOptions) -> LabelSettings:
    """Return a model's own settings for the labels of an image.

    The card's ``min_size`` is in pixels at the model's working scale. Labels have the scale of the
    image: where objects are smaller, those that are kept may have fewer pixels.
    """
    (height, width), _ = _working_zoom(card, options)
    size = round(min(card.labelling.min_size / (height * width), LARGEST_MIN_SIZE))
    return replace(card.labelling, min_size=size)


def _working_zoom(card: ModelCard, options: SegmentOptions) -> tuple[tuple[float, float], str]:
    """Return by what an image is to be resampled, and why, or why not if that is to be told."""
    if options.diameter is not None and card.diameter is not None:
        zoom = (card.diameter / options.diameter,) * 2
        why = f"objects of {options.diameter:g} pixels become {card.diameter:g} pixels"
    elif options.pixel_size is not None and card.pixel_size is not None:
        sizes = sizes_yx(options.pixel_size)
        zoom = (sizes["Y"] / card.pixel_size, sizes["X"] / card.pixel_size)
        text = " × ".join(dict.fromkeys(f"{size:g}" for size in sizes.values()))
        why = f"pixels of {text} µm become {card.pixel_size:g} µm"
    elif options.diameter is not None:
        return (1.0, 1.0), "The model has no working diameter: the image is used as it is."
    else:
        return (1.0, 1.0), ""  # most images have a pixel size; nothing was asked for
    if all(abs(z - 1) <= NEAR_ONE for z in zoom):
        return (1.0, 1.0), ""
    return zoom, why


def zoomed_shape(shape: tuple[int, int], zoom: tuple[float, float]) -> tuple[int, int]:
    """Return height and width after resampling, at least 1."""
    return max(1, round(shape[0] * zoom[0])), max(1, round(shape[1] * zoom[1]))


def resample(planes: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return (C, H, W) resampled to ``shape``: linear, smoothed first where it shrinks."""
    if tuple(planes.shape[-2:]) == tuple(shape):
        return np.asarray(planes, dtype=np.float32)
    from skimage.transform import resize  # slow to import, and seldom needed

    shrinks = shape[0] < planes.shape[-2] or shape[1] < planes.shape[-1]
    out = np.empty((len(planes), *shape), np.float32)
    for source, target in zip(planes, out, strict=True):
        target[...] = resize(
            np.asarray(source, dtype=np.float32),
            shape,
            order=1,
            mode="edge",
            anti_aliasing=shrinks,
            preserve_range=True,
        )
    return out


def _check_zoom(shape: tuple[int, int], zoom: tuple[float, float], why: str, tile: int) -> None:
    low, high = ZOOM_LIMITS
    rounding = 1e-6  # 0.01 / 0.2 is less than 1 / 20
    if not all(low * (1 - rounding) <= z <= high * (1 + rounding) for z in zoom):
        raise InputError(
            f"The image would be resampled by {_text(zoom)} ({why}), which is beyond {low:g} to "
            f"{high:g}: check the diameter or the pixel size and its unit."
        )
    sides = zoomed_shape(shape, zoom)
    if max(zoom) > 1 and max(sides) > SIDE_LIMIT:
        raise InputError(
            f"The image would be enlarged to {sides[0]} × {sides[1]} pixels ({why}): crop it, or "
            "check the diameter or the pixel size."
        )

    window = [min(side, tile / z) for side, z in zip(shape, zoom, strict=True)]
    if min(zoom) < 1 and math.prod(window) > WINDOW_LIMIT:
        raise InputError(
            f"The image would be shrunk by {_text(zoom)} ({why}), and {math.prod(window):.0e} "
            "pixels of it would be read at once: save it at a lower resolution, crop it, or check "
            "the diameter or the pixel size."
        )


def _text(zoom: tuple[float, float]) -> str:
    return f"{zoom[0]:.3g}" if zoom[0] == zoom[1] else f"{zoom[0]:.3g} × {zoom[1]:.3g}"


def needed_span(span: tuple[int, int], side: int, new_side: int) -> tuple[int, int]:
    """Return which pixels along a side are needed for some of those after resampling.

    Parameters
    ----------
    span
        Half-open range of pixels after resampling.
    side, new_side
        Length before and after.
    """
    if side == new_side:
        return span
    factor = side / new_side
    reach = int(4 * _blur(factor) + 0.5)  # where SciPy cuts its Gaussian off
    low = math.floor((span[0] + 0.5) * factor - 0.5) - reach
    high = math.ceil((span[1] - 0.5) * factor - 0.5) + 1 + reach
    return max(0, low), min(side, high)


def resample_part(
    part: NDArray[Any],
    starts: tuple[int, int],
    spans: tuple[tuple[int, int], tuple[int, int]],
    shape: tuple[int, int],
    new_shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Return a part of what :func:`resample` gives, from the pixels that are needed for it.

    Parameters
    ----------
    part
        (C, h, w), the pixels of :func:`needed_span`.
    starts
        Where ``part`` starts in the plane.
    spans
        Rows and columns after resampling that are wanted.
    shape, new_shape
        Height and width of the plane before and after.
    """
    if shape == new_shape:
        where = (slice(s[0] - at, s[1] - at) for s, at in zip(spans, starts, strict=True))
        return np.asarray(part[(slice(None), *where)], dtype=np.float32)
    from scipy import ndimage

    factors = np.divide(shape, new_shape)
    offset = [(s[0] + 0.5) * f - 0.5 - at for s, f, at in zip(spans, factors, starts, strict=True)]
    sides = tuple(s[1] - s[0] for s in spans)
    out = np.empty((len(part), *sides), np.float32)
    for source, target in zip(part, out, strict=True):
        smooth = ndimage.gaussian_filter(
            np.asarray(source, dtype=np.float32), [_blur(f) for f in factors], mode="nearest"
        )
        ndimage.affine_transform(
            smooth, factors, offset, sides, output=target, order=1, mode="nearest"
        )
    return out


def _blur(factor: float) -> float:
    """Return the standard deviation by which skimage smooths what shrinks by a factor."""
    return max(0.0, (factor - 1) / 2)
