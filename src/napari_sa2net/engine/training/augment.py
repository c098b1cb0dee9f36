"""Random crops and augmentation that fits microscopy; images and labels together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..fields import check_fields


@dataclass(frozen=True)
class Augmentation:
    """What is varied at random when a crop is drawn, and how much."""

    zoom: float = field(default=1.5, metadata={"min": 1, "max": 10})
    """Zoom between 1 / zoom and zoom, uniform in its logarithm."""
    rotate: bool = True
    """Any angle and flips."""
    right_angles: bool = False
    """Quarter turns and flips, which need no interpolation; used if ``rotate`` is not."""
    authors: bool = False
    """As the authors' program: half of the time a quarter turn and a flip, a quarter of the time
    up to 20° either way; used if ``rotate`` and ``right_angles`` are not."""
    gamma: float = field(default=1.5, metadata={"min": 1, "max": 10})
    """Gamma between 1 / gamma and gamma."""
    gain: float = field(default=0.2, metadata={"min": 0, "max": 1})
    """Contrast between 1 - gain and 1 + gain, brightness shifted by up to half of it."""
    noise: float = field(default=0.06, metadata={"min": 0, "max": 10})
    """Largest standard deviation of Gaussian noise, in units of the normalised range."""
    blur: float = field(default=1.0, metadata={"min": 0, "max": 100})
    """Largest Gaussian blur in pixels."""
    stain: float = field(default=0.08, metadata={"min": 0, "max": 1})
    """Mixing between the channels of colour images."""
    invert: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Probability of turning dark into bright."""
    objects: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Probability of placing a crop so that its centre lies near an object."""
    one_channel: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Probability of keeping one channel of a grey image and emptying the others."""

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def named(cls, name: str) -> Augmentation:
        """Return a preset for painted labels: ``none``, ``light`` or ``full``.

        Raises
        ------
        InputError
            If there is no such preset.
        """
        try:
            return _PRESETS[name]
        except KeyError:
            raise InputError(
                f"There is no augmentation {name!r}: choose from {', '.join(_PRESETS)}."
            ) from None


_PRESETS = {
    "none": Augmentation(
        zoom=1.0, rotate=False, gamma=1.0, gain=0.0, noise=0.0, blur=0.0, stain=0.0
    ),
    "light": Augmentation(
        zoom=1.0, rotate=False, right_angles=True, gamma=1.2, gain=0.1, noise=0.03, blur=0.0,
        stain=0.04,
    ),
    "full": Augmentation(zoom=1.25),
}  # fmt: skip


def crop(
    image: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    centre_zoom: float = 1.0,
    place: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a random crop, moved, turned and zoomed.

    Parameters
    ----------
    image
        (C, H, W) normalised image.
    labels
        Labels, and other values that belong to pixels, each (H, W).
    size
        Height and width of the crop in pixels.
    augmentation
        What to vary.
    rng
        Source of randomness.
    centre_zoom
        Zoom around which the random zoom is drawn.
    place
        A point (row, column) that the crop holds; anywhere if not given.

    Returns
    -------
    tuple of Tensor
        Image (C, size, size) interpolated linearly and labels (len(labels), size, size) as
        floats, taken from the nearest pixel; beyond the image's border both are mirrored.
    """
    spread = math.log(augmentation.zoom)
    zoom = centre_zoom * math.exp(rng.uniform(-spread, spread))
    angle, turns, flip = _orientation(augmentation, rng)
    cy, cx = _centre(labels[0], size / zoom, augmentation, rng, place)
    if zoom == 1 and angle == 0:
        return _cut(image, labels, (round(cy), round(cx)), size, turns, flip)
    # Only the part of the image that the turned crop can reach is handed to the resampler.
    reach = math.ceil(size / zoom * math.sqrt(0.5)) + 2
    y0, x0 = max(0, int(cy) - reach), max(0, int(cx) - reach)
    window = (slice(y0, int(cy) + reach + 1), slice(x0, int(cx) + reach + 1))
    part = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *window)]))
    part_labels = torch.from_numpy(np.stack([x[window] for x in labels]).astype(np.float32))
    h, w = part_labels.shape[1:]
    steps = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2) / zoom
    dy, dx = torch.meshgrid(steps, steps * flip, indexing="ij")
    angle += turns * math.pi / 2
    cos, sin = math.cos(angle), math.sin(angle)
    y = cy - y0 + cos * dy - sin * dx
    x = cx - x0 + sin * dy + cos * dx
    grid = torch.stack([2 * x / w - 1, 2 * y / h - 1], -1)[None]

    def sample(x: Tensor, mode: str) -> Tensor:
        return F.grid_sample(x, grid, mode, padding_mode="reflection", align_corners=False)

    return sample(part[None], "bilinear")[0], sample(part_labels[None], "nearest")[0]


def _orientation(augmentation: Augmentation, rng: np.random.Generator) -> tuple[float, int, float]:
    """Draw an angle, a number of quarter turns, and -1 for a flip or 1 for none."""
    if augmentation.rotate:
        angle = rng.uniform(0, 2 * math.pi)
        return angle, 0, -1.0 if rng.random() < 0.5 else 1.0
    if augmentation.right_angles:
        return 0.0, int(rng.integers(4)), float(rng.choice((-1.0, 1.0)))
    chance = rng.random() if augmentation.authors else 1.0
    if chance < 0.5:
        return 0.0, int(rng.integers(4)), -1.0
    return (math.radians(rng.uniform(-20, 20)) if chance < 0.75 else 0.0), 0, 1.0


def _centre(
    labels: NDArray[Any],
    side: float,
    augmentation: Augmentation,
    rng: np.random.Generator,
    place: tuple[float, float] | None,
) -> tuple[float, float]:
    """Draw the centre of a crop that covers ``side`` pixels, inside the image where it can."""
    height, width = labels.shape
    low = np.array([min(side / 2, length / 2) for length in (height, width)])
    high = np.array((height, width)) - low
    if place is not None:
        away = np.clip(place + rng.uniform(-0.35, 0.35, 2) * side, low, high) - place
        # However the crop is turned, it holds what is nearer to its centre than half a side.
        away *= min(1.0, 0.48 * side / max(float(np.hypot(*away)), 1e-9))
        return float(place[0] + away[0]), float(place[1] + away[1])
    cy = rng.uniform(low[0], high[0])
    cx = rng.uniform(low[1], high[1])
    if rng.random() < augmentation.objects:
        tries = rng.uniform(0, (height, width), (50, 2))
        hits = tries[labels[tries[:, 0].astype(int), tries[:, 1].astype(int)] > 0]
        if len(hits):
            cy, cx = np.clip(hits[0] + rng.uniform(-0.35, 0.35, 2) * side, low, high)
    return float(cy), float(cx)


def _cut(
    image: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    centre: tuple[int, int],
    size: int,
    turns: int,
    flip: float,
) -> tuple[Tensor, Tensor]:
    """Cut a crop out as it is, turned by quarters: no value changes."""
    rows, columns = (
        _mirrored(middle - size // 2, size, length)
        for middle, length in zip(centre, image.shape[1:], strict=True)
    )

    def turned(x: NDArray[Any]) -> Tensor:
        x = np.rot90(x[..., rows[:, None], columns], turns, (-2, -1))
        x = x[..., ::-1] if flip < 0 else x
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))

    return turned(image), torch.stack([turned(x) for x in labels])


def _mirrored(start: int, size: int, length: int) -> NDArray[np.intp]:
    """Return ``size`` indices from ``start`` on, mirrored at both ends of ``length``."""
    at = np.arange(start, start + size) % (2 * length)
    return np.where(at < length, at, 2 * length - 1 - at)


def vary_intensity(x: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """Vary brightness, contrast, gamma, stain, blur and noise of one (C, H, W) image."""
    a = augmentation
    if x.shape[0] == 3 and not torch.equal(x[0], x[1]):
        mix = np.eye(3) + rng.normal(0, a.stain, (3, 3))
        x = torch.einsum("ij,jhw->ihw", torch.tensor(mix, dtype=x.dtype), x)
        x = x + torch.tensor(rng.normal(0, a.stain, (3, 1, 1)), dtype=x.dtype)
    elif x.shape[0] == 3 and rng.random() < a.one_channel:
        kept = int(rng.integers(3))
        x = torch.stack([x[k] if k == kept else torch.zeros_like(x[k]) for k in range(3)])
    if rng.random() < a.invert:
        x = 1 - x
    if a.gamma != 1 and rng.random() < 0.7:
        gamma = math.exp(rng.uniform(-1, 1) * math.log(a.gamma))
        x = x.sign() * x.abs().clamp(min=1e-6) ** gamma
    x = (x - 0.5) * (1 + rng.uniform(-a.gain, a.gain)) + 0.5 + rng.uniform(-a.gain, a.gain) / 2
    if a.blur > 0 and rng.random() < 0.25:
        x = _gaussian_blur(x, rng.uniform(0.3, max(a.blur, 0.31)))
    if a.noise > 0 and rng.random() < 0.4:
        noise = rng.standard_normal(tuple(x.shape), dtype=np.float32) * rng.uniform(0, a.noise)
        x = x + torch.from_numpy(noise.astype(np.float32))
    return x


def _gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    taps = torch.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = x.shape[0]
    x = F.pad(x[None], (radius,) * 4, mode="replicate")
    x = F.conv2d(x, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(x, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)[0]
