"""Images made worse, as microscopes, cameras and files make them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[np.uint8]
"""(H, W), or (H, W, 3) in colour."""


@dataclass(frozen=True)
class Damage:
    """One kind, with its strengths from weak to strong."""

    what: str
    """What a strength is."""
    levels: tuple[float, ...]
    apply: Callable[[Picture, float, np.random.Generator], Picture]


def noise(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Add Gaussian noise; its deviation is a share of the range of most of the values."""
    low, high = np.percentile(image, (1, 99.8))
    return _bytes(image + rng.normal(0, level * max(1.0, high - low), image.shape))


def blur(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Blur with a Gaussian of so many pixels."""
    return _bytes(ndimage.gaussian_filter(image.astype(float), level, axes=(0, 1)))


def jpeg(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Store as JPEG of that quality, and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(level))
    return np.asarray(Image.open(file))


def low_contrast(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Keep that share of the contrast around the mean, in whole grey values."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return _bytes(mean + level * (image - mean))


def _bytes(values: NDArray[np.floating]) -> Picture:
    return values.round().clip(0, 255).astype(np.uint8)


DAMAGES: Mapping[str, Damage] = {
    "noise": Damage("deviation, share of the image's range", (0.05, 0.1, 0.2, 0.4), noise),
    "blur": Damage("deviation in pixels", (1.0, 2.0, 3.0, 4.0), blur),
    "JPEG": Damage("quality", (50, 20, 10, 5), jpeg),
    "low contrast": Damage("share of the contrast kept", (0.5, 0.25, 0.1, 0.05), low_contrast),
}
