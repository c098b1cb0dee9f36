"""How well a network does on what was held out, region by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..ensemble import Network
from ..execution.maps import probabilities
from ..tiling import pad
from .losses import IGNORE, StageLoss, Target, deep_supervision
from .samples import Sample

Counts = NDArray[np.float64]
"""(blocks, 3): weight of true positive, false positive and false negative pixels."""


@dataclass(frozen=True)
class Scores:
    """What a network got right and wrong."""

    foreground: Counts
    """Of everything that is not background."""
    classes: dict[int, Counts]
    """Of each painted class but the background."""
    pixels: int
    loss: float

    @property
    def dice(self) -> float:
        """Foreground Dice over all regions."""
        return dice_of(self.foreground.sum(0))

    @property
    def mean_dice(self) -> float:
        """Mean over the classes, by which the best weights are chosen."""
        found = [c.sum(0) for c in self.classes.values() if c.sum() > 0]
        return float(np.mean([dice_of(c) for c in found])) if found else self.dice


def dice_of(counts: NDArray[np.float64]) -> float:
    """Return the Dice of (3,) counts; 1 if there was nothing to find and nothing was found."""
    true, false, missed = (float(c) for c in counts)
    total = 2 * true + false + missed
    return 2 * true / total if total > 0 else 1.0


def score(
    network: Network,
    samples: Sequence[Sample],
    derived: tuple[int, ...],
    loss: StageLoss | None = None,
    threshold: float = 0.5,
) -> Scores:
    """Score a network, which is left in evaluation mode, on its device.

    Parameters
    ----------
    samples
        One a held-out block, see :func:`~.validation.split`.
    derived
        Numbers of the network's derived classes: they count as foreground, and as the painted
        class that is most probable besides.
    loss
        Also return this loss, if the network's classes are those of the samples.
    """
    network.eval()
    foreground: list[list[float]] = []
    by_class: dict[int, list[list[float]]] = {}
    total, pixels = 0.0, 0
    objects = [k for k in range(1, max(2, network.num_classes)) if k not in derived]
    for sample in samples:
        true = sample.painted_classes
        counted = true != IGNORE
        weights = np.ones(true.shape) if sample.pixel_weights is None else sample.pixel_weights
        stages = _run(network, sample.image)
        p = probabilities(stages[0])[0].cpu().numpy()
        inside = 1 - p[0] > threshold
        w = np.where(counted, weights, 0.0)
        foreground.append(_count(inside, true > 0, w))
        best = np.array(objects)[p[objects].argmax(0)]
        for k in objects:
            by_class.setdefault(k, []).append(_count(inside & (best == k), true == k, w))
        pixels += int(counted.sum())
        if loss is not None:
            total += _loss(stages, sample, true, derived, loss)
    return Scores(
        np.array(foreground).reshape(-1, 3),
        {k: np.array(c) for k, c in by_class.items()},
        pixels,
        total / max(1, len(samples)),
    )


def _run(network: Network, image: NDArray[np.float32]) -> list[torch.Tensor]:
    """Return all stages' logits of a (C, H, W) image, (1, K, H, W) each."""
    height, width = image.shape[-2:]
    x = torch.from_numpy(np.ascontiguousarray(pad(image)))[None]
    x = x.expand(-1, network.in_channels, -1, -1) if x.shape[1] == 1 else x
    device = next(network.parameters()).device
    with torch.inference_mode():
        stages = network(x.contiguous().to(device))
    return [stage[..., :height, :width].float() for stage in stages]


def _count(
    found: NDArray[np.bool_], true: NDArray[np.bool_], weights: NDArray[np.float64]
) -> list[float]:
    pairs = (found & true, found & ~true, ~found & true)
    return [float(weights[where].sum()) for where in pairs]


def _loss(
    stages: Sequence[torch.Tensor],
    sample: Sample,
    classes: NDArray[np.int64],
    derived: tuple[int, ...],
    loss: StageLoss,
) -> float:
    weights = sample.pixel_weights
    target = Target(
        torch.from_numpy(classes)[None],
        None if weights is None else torch.from_numpy(weights)[None],
        torch.tensor([True]),  # the samples say nothing of boundaries here
        derived,
    ).to(stages[0].device)
    return float(deep_supervision(stages, target, loss))
