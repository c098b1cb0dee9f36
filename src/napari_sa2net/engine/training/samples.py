"""Training images, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..network import SA2Net
from .augment import Augmentation, crop, vary_intensity
from .boundaries import boundary_classes
from .settings import TrainingSettings


@dataclass(frozen=True)
class Sample:
    """A normalised training image with its instance mask."""

    image: NDArray[np.float32]
    """(C, H, W); one channel is shown to the network in all of its channels."""
    labels: NDArray[np.int32]
    """(H, W) instance numbers, 0 background."""
    weight: float = 1.0
    """Relative probability of being drawn."""
    diameter: float = 0.0
    """Median object diameter in pixels, 0 if there is none."""
    invert: float = 0.0
    dataset: str = ""


def hard_weights(
    network: SA2Net, samples: Sequence[Sample], least: float = 0.03
) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that what is fitted badly is seen more.

    Within a data set the weights are in proportion to one minus the Dice of the finest
    stage's foreground, plus ``least``; each data set's sum stays what it was. The network is
    left in evaluation mode.
    """
    network.eval()
    device = next(network.parameters()).device
    error = np.empty(len(samples))
    for i, sample in enumerate(samples):
        height, width = (min(side, 512) // 16 * 16 for side in sample.labels.shape)
        x = torch.from_numpy(sample.image[None, :, :height, :width]).to(device)
        x = x.expand(-1, network.in_channels, -1, -1) if x.shape[1] == 1 else x
        with torch.inference_mode():
            found = network(x.contiguous(memory_format=torch.channels_last))[0].softmax(1)[0, 0]
        mask, true = found.cpu().numpy() < 0.5, sample.labels[:height, :width] > 0
        size = int(mask.sum()) + int(true.sum())
        error[i] = least + (1 - 2 * int((mask & true).sum()) / size if size else 0.0)
    before = np.array([sample.weight for sample in samples])
    names = np.array([sample.dataset for sample in samples])
    after = before * error
    for name in np.unique(names):
        of = names == name
        after[of] *= before[of].sum() / after[of].sum()
    return after


def draw_batch(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    in_channels: int,
    settings: TrainingSettings,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw augmented crops: images (B, C, H, W) and classes (B, H, W)."""
    images, labels = [], []
    for index in rng.choice(len(samples), settings.batch, p=weights / weights.sum()):
        sample = samples[index]
        zoom = 1.0
        if settings.diameter > 0 and sample.diameter > 0:
            zoom = (settings.diameter / sample.diameter) ** settings.diameter_pull
        image, mask = crop(sample.image, sample.labels, settings.crop, augmentation, rng, zoom)
        image = image.expand(in_channels, -1, -1) if image.shape[0] == 1 else image
        image = 1 - image if rng.random() < sample.invert else image
        images.append(vary_intensity(image, augmentation, rng))
        labels.append(mask)
    x = torch.stack(images).contiguous(memory_format=torch.channels_last)
    return x, boundary_classes(torch.stack(labels))
