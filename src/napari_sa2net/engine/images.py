"""Images as the network wants them: planes, channels, normalised values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Normalization:
    """How pixel values are brought to about 0 … 1, channel by channel."""

    method: Literal["percentile", "minmax", "scale", "none"] = "percentile"
    low: float = 1.0
    """Percentile that becomes 0 (``percentile`` only)."""
    high: float = 99.8
    """Percentile that becomes 1 (``percentile`` only)."""
    eps: float = 1e-6
    """Added to the range, so that a constant image gives 0."""
    clip: tuple[float, float] = (-1.0, 3.0)
    """Normalised values are limited to this range."""
    divisor: float = 255.0
    """By what values are divided (``scale`` only)."""


def normalize(planes: NDArray[Any], normalization: Normalization) -> NDArray[np.float32]:
    """Return ``planes`` (C, H, W) as float32, each channel normalised by its own range.

    NaN counts as the lowest finite value, infinities as the lowest and highest.
    """
    x = np.asarray(planes, dtype=np.float32)
    if normalization.method == "none":
        return x
    if normalization.method == "scale":
        return x / np.float32(normalization.divisor)
    out = np.empty_like(x)
    for channel, target in zip(x, out, strict=True):
        if normalization.method == "minmax":
            low, high = float(channel.min()), float(channel.max())
        else:
            low, high = np.percentile(channel, (normalization.low, normalization.high))
        np.subtract(channel, np.float32(low), out=target)
        target /= np.float32(high - low + normalization.eps)
        np.clip(target, *normalization.clip, out=target)
    return out
