"""Random crops and augmentation that fits microscopy; images and labels together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """What is varied at random when a crop is drawn, and how much."""

    zoom: float = 1.5
    """Zoom between 1 / zoom and zoom, uniform in its logarithm."""
    rotate: bool = True
    """Any angle and flips."""
    gamma: float = 1.5
    """Gamma between 1 / gamma and gamma."""
    gain: float = 0.2
    """Contrast between 1 - gain and 1 + gain, brightness shifted by up to half of it."""
    noise: float = 0.06
    """Largest standard deviation of Gaussian noise, in units of the normalised range."""
    blur: float = 1.0
    """Largest Gaussian blur in pixels."""
    stain: float = 0.08
    """Mixing between the channels of colour images."""
    invert: float = 0.0
    """Probability of turning dark into bright."""
    objects: float = 0.0
    """Probability of placing a crop so that its centre lies near an object."""
    one_channel: float = 0.0
    """Probability of keeping one channel of a grey image and emptying the others."""


def crop(
    image: NDArray[np.float32],
    labels: NDArray[np.int32],
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    centre_zoom: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Draw a random crop, moved, turned and zoomed.

    Parameters
    ----------
    image, labels
        (C, H, W) normalised image and (H, W) labels.
    size
        Height and width of the crop in pixels.
    augmentation
        What to vary.
    rng
        Source of randomness.
    centre_zoom
        Zoom around which the random zoom is drawn.

    Returns
    -------
    tuple of Tensor
        Image (C, size, size) interpolated linearly and labels (size, size) taken from the
        nearest pixel; beyond the image's border both are mirrored.
    """
    spread = math.log(augmentation.zoom)
    zoom = centre_zoom * math.exp(rng.uniform(-spread, spread))
    angle = rng.uniform(0, 2 * math.pi) if augmentation.rotate else 0.0
    flip = -1.0 if augmentation.rotate and rng.random() < 0.5 else 1.0
    height, width = labels.shape
    margin_y, margin_x = (min(size / zoom / 2, side / 2) for side in (height, width))
    cy = rng.uniform(margin_y, height - margin_y)
    cx = rng.uniform(margin_x, width - margin_x)
    if rng.random() < augmentation.objects:
        tries = rng.uniform(0, (height, width), (50, 2))
        hits = tries[labels[tries[:, 0].astype(int), tries[:, 1].astype(int)] > 0]
        if len(hits):
            near = hits[0] + rng.uniform(-0.35, 0.35, 2) * size / zoom
            cy = float(np.clip(near[0], margin_y, height - margin_y))
            cx = float(np.clip(near[1], margin_x, width - margin_x))
    # Only the part of the image that the turned crop can reach is handed to the resampler.
    reach = math.ceil(size / zoom * math.sqrt(0.5)) + 2
    y0, x0 = max(0, int(cy) - reach), max(0, int(cx) - reach)
    window = (slice(y0, int(cy) + reach + 1), slice(x0, int(cx) + reach + 1))
    part = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *window)]))
    part_labels = torch.from_numpy(np.ascontiguousarray(labels[window])).float()
    h, w = part_labels.shape
    steps = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2) / zoom
    dy, dx = torch.meshgrid(steps, steps * flip, indexing="ij")
    cos, sin = math.cos(angle), math.sin(angle)
    y = cy - y0 + cos * dy - sin * dx
    x = cx - x0 + sin * dy + cos * dx
    grid = torch.stack([2 * x / w - 1, 2 * y / h - 1], -1)[None]

    def sample(x: Tensor, mode: str) -> Tensor:
        return F.grid_sample(x, grid, mode, padding_mode="reflection", align_corners=False)

    return sample(part[None], "bilinear")[0], sample(part_labels[None, None], "nearest")[0, 0]


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
    if rng.random() < 0.7:
        gamma = math.exp(rng.uniform(-1, 1) * math.log(a.gamma))
        x = x.sign() * x.abs().clamp(min=1e-6) ** gamma
    x = (x - 0.5) * (1 + rng.uniform(-a.gain, a.gain)) + 0.5 + rng.uniform(-a.gain, a.gain) / 2
    if rng.random() < 0.25:
        x = _gaussian_blur(x, rng.uniform(0.3, max(a.blur, 0.31)))
    if rng.random() < 0.4:
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
