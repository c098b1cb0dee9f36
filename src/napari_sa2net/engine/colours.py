"""Numbers of image files that are no grey values and no red, green and blue, as what they show."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_SAMPLES = {"CMYK": 4, "YCbCr": 3, "CIELab": 3, "ICCLab": 3}


@dataclass(frozen=True, eq=False)
class Colours:
    """What the numbers of a file mean, and the image they show."""

    kind: Literal["palette", "white is zero", "grey and alpha", "CMYK", "YCbCr", "CIELab", "ICCLab"]
    table: NDArray[Any] | None = None
    """(n, 3) red, green and blue of each number of a palette, or (n,) where it is grey."""
    bits: int = 0
    """How many bits a number has, where it is fewer than its type."""

    @property
    def adds_axis(self) -> bool:
        """Whether the image has a last axis of samples that the numbers have not."""
        return self.table is not None and self.table.ndim == 2

    @property
    def of_samples(self) -> bool:
        """Whether the numbers have an axis of samples."""
        return self.kind in _SAMPLES or self.kind == "grey and alpha"

    def image(self, numbers: Any, samples: int = -1) -> NDArray[Any]:
        """Return the image: red, green and blue, or grey values.

        Parameters
        ----------
        numbers
            As the file holds them.
        samples
            Which axis is that of samples, if there is one. It has length 3 then, or 1 of grey
            values and opacity.
        """
        values = np.asarray(numbers)
        if self.table is not None:
            return np.asarray(self.table[values.astype(np.intp)])
        if self.kind == "white is zero":
            return self._inverted(values)
        if self.kind == "grey and alpha":
            return np.take(values, [0], axis=samples)
        parts = np.moveaxis(values, samples, -1)[..., : _SAMPLES[self.kind]]
        convert = {"CMYK": _cmyk, "YCbCr": _ycbcr, "CIELab": _cielab, "ICCLab": _icclab}[self.kind]
        return np.moveaxis(convert(parts, self._top(values.dtype)), -1, samples)

    def _top(self, dtype: np.dtype[Any]) -> float:
        if dtype.kind not in "ui":
            return 1.0
        return float((1 << self.bits) - 1 if self.bits else np.iinfo(dtype).max)

    def _inverted(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind == "b":
            return ~values
        if values.dtype.kind != "u":
            return values
        return np.asarray(values.dtype.type(self._top(values.dtype)) - values)


def _cmyk(values: NDArray[Any], top: float) -> NDArray[Any]:
    ink = values.astype(np.float32) / top
    return _whole((1 - ink[..., :3]) * (1 - ink[..., 3:]) * top, values.dtype, top)


def _ycbcr(values: NDArray[Any], top: float) -> NDArray[Any]:
    middle = (top + 1) / 2 if top > 1 else 0.5
    y = values[..., 0].astype(np.float32)
    blue, red = (values[..., i].astype(np.float32) - middle for i in (1, 2))
    green = y - 0.344136 * blue - 0.714136 * red
    colours = np.stack([y + 1.402 * red, green, y + 1.772 * blue], axis=-1)
    return _whole(colours, values.dtype, top)


def _cielab(values: NDArray[Any], top: float) -> NDArray[Any]:
    """Convert from L from 0 to ``top``, and a and b signed."""
    signed = values[..., 1:]
    if values.dtype.kind == "u":
        signed = np.ascontiguousarray(signed).view(values.dtype.str.replace("u", "i"))
    unit = 1 if values.dtype.itemsize == 1 or values.dtype.kind == "f" else 256
    light = values[..., 0].astype(np.float32)
    scale = 1.0 if values.dtype.kind == "f" else 100 / top
    return _from_lab(light * scale, signed / unit, values.dtype, top)


def _icclab(values: NDArray[Any], top: float) -> NDArray[Any]:
    """Convert from L from 0 to ``top``, and a and b with 128 for 0."""
    unit = 1 if values.dtype.itemsize == 1 else 256
    chroma = values[..., 1:].astype(np.float32) / unit - 128
    light = values[..., 0].astype(np.float32)
    scale = 100 / 65280 if unit == 256 else 100 / top
    return _from_lab(light * scale, chroma, values.dtype, top)


def _from_lab(
    light: NDArray[Any], chroma: NDArray[Any], dtype: np.dtype[Any], top: float
) -> NDArray[Any]:
    from skimage.color import lab2rgb

    lab = np.concatenate([light[..., None], chroma.astype(np.float32)], axis=-1)
    with warnings.catch_warnings():  # of colours that a screen cannot show
        warnings.simplefilter("ignore")
        colours = lab2rgb(lab)
    return _whole(colours * top, dtype, top)


def _whole(values: NDArray[Any], dtype: np.dtype[Any], top: float) -> NDArray[Any]:
    """Return values between 0 and ``top`` in a type."""
    limited = np.clip(values, 0, top)
    whole: NDArray[Any] = np.rint(limited) if dtype.kind in "ui" else limited
    return whole.astype(dtype)


def of_palette(colormap: NDArray[Any]) -> Colours | None:
    """Return the colours of a palette (3, n) of 16 bits, as TIFF has them.

    Returns
    -------
    Colours or None
        In 8 bits where it has no more than these; of grey values where all are grey, and None
        where these are the numbers themselves.
    """
    for step in (257, 256):
        if not (colormap % step).any():
            colormap = (colormap // step).astype(np.uint8)
            break
    if (colormap == colormap[0]).all():
        grey = colormap[0]
        return None if np.array_equal(grey, np.arange(len(grey))) else Colours("palette", grey)
    return Colours("palette", np.ascontiguousarray(np.moveaxis(colormap, 0, -1)))
