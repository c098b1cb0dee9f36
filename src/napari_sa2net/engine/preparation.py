"""Planes as the network wants them: read, normalised and brought to its working scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .events import Message
from .images import Normalization, Planes, normalize, to_planes, value_limits
from .scaling import choose_zoom, resample, zoomed_shape
from .segmentation import SegmentOptions

if TYPE_CHECKING:
    from .cards import ModelCard

_SIDE, _ACROSS = 128, 12
"""Side of the windows from which a huge plane's values are judged, and how many go across it."""


def needs_exact_values(normalization: Normalization) -> bool:
    """Return whether the channels must be read as they are, see :class:`Planes`."""
    # Channels of one common range must keep their values too.
    return normalization.method in ("none", "scale") or normalization.joint


@dataclass(frozen=True)
class Preparation:
    """Prepares the planes of an image, the same for segmenting and for training."""

    planes: Planes
    card: ModelCard
    zoom: tuple[float, float] = (1.0, 1.0)
    """By what height and width are resampled."""

    def plane(self, number: int) -> NDArray[np.float32]:
        """Read, normalise and resample a plane: (C, H, W) at working scale."""
        shape = zoomed_shape(self.planes.stack.plane_shape, self.zoom)
        return resample(self.normalised(number), shape)

    def normalised(self, number: int) -> NDArray[np.float32]:
        """Read and normalise a plane: (C, H, W) at the image's scale."""
        raw, outside = self.planes.read(number), self.planes.outside(number)
        if outside is None or self.card.normalization.method != "percentile":
            return self.normalise(raw)  # by its ends, which what is masked has no part in
        return self.normalise(raw, value_limits(raw, self.card.normalization, outside=outside))

    def window(
        self,
        number: int,
        window: tuple[slice, slice],
        limits: list[tuple[float, float]],
        ends: list[tuple[float, float]] | None = None,
    ) -> NDArray[np.float32]:
        """Read and normalise a part of a plane by given :meth:`limits`.

        ``ends`` are the lowest and highest value of each channel of the plane, if known.
        """
        return self.normalise(self.planes.read(number, window, ends), limits)

    def limits(self, number: int) -> list[tuple[float, float]]:
        """Estimate the range of each channel's values from windows all over a huge plane."""
        sides = self.planes.stack.plane_shape
        starts = [
            np.unique(np.linspace(0, max(0, side - _SIDE), _ACROSS).astype(int)) for side in sides
        ]
        windows = [
            (slice(y, y + _SIDE), slice(x, x + _SIDE))
            for y in map(int, starts[0])
            for x in map(int, starts[1])
        ]
        parts = [inside(self.planes, number, window) for window in windows]
        seen = np.concatenate(parts, axis=1)[:, None]
        if not seen.size:  # all of it is masked
            return [(0.0, 0.0)] * len(seen)
        if self.card.normalization.method == "scale":
            return [(float(seen.min()), float(seen.max()))] * len(seen)
        return value_limits(seen, self.card.normalization)

    def normalise(
        self, raw: NDArray[np.float32], limits: list[tuple[float, float]] | None = None
    ) -> NDArray[np.float32]:
        """Normalise values that were read, by their own range if no limits are given."""
        normalization = self.card.normalization
        if normalization.method == "scale":
            dtype = np.dtype(self.planes.arrays[0].dtype)
            raw = _as_bytes(raw, dtype, normalization.divisor, limits[0] if limits else None)
        return normalize(raw, normalization, limits)


def inside(planes: Planes, number: int, window: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return the values (C, n) of a part of a plane, but for those that are not image."""
    values, outside = planes.read(number, window), planes.outside(number, window)
    return values.reshape(len(values), -1) if outside is None else values[:, ~outside]


def prepare(
    image: Any, card: ModelCard, options: SegmentOptions
) -> tuple[Preparation, Message | None]:
    """Return what reads an image's planes for a model, and what is to be said of the scale.

    Raises
    ------
    InputError
        If image, options and model do not fit together.
    """
    planes = to_planes(
        image,
        options.axes,
        options.channels,
        card.in_channels,
        rgb=options.rgb,
        colour_order=card.colour_order,
        exact=needs_exact_values(card.normalization),
        position=options.position,
    )
    zoom, message = choose_zoom(planes.stack.plane_shape, card, options)
    return Preparation(planes, card, zoom), message


def _as_bytes(
    raw: NDArray[np.float32],
    dtype: np.dtype[Any],
    divisor: float,
    limits: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Bring values to 0 … ``divisor``, for models that were fed the bytes of 8-bit images."""
    if dtype == np.uint8:
        return raw
    low, high = limits or (float(raw.min()), float(raw.max()))
    if low >= 0 and high <= 1 and dtype.kind in "fb":
        return raw * np.float32(divisor)
    if low >= 0 and high <= divisor:
        return raw
    return (raw - np.float32(low)) * np.float32(divisor / max(high - low, 1e-6))
