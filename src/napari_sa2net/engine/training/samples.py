"""Training images, and the batches drawn from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import layout_for
from ..network import SA2Net
from .augment import Augmentation, crop, vary_intensity
from .boundaries import BACKGROUND, BOUNDARY, boundary_classes
from .losses import IGNORE, Target, of_two_classes
from .settings import TrainingSettings
from .synthetic import draw_scene

LEAST_ERROR = 0.03
"""Added to the error by which samples are drawn, so that those that fit stay among them."""


@dataclass(frozen=True)
class Sample:
    """A normalised image at the model's working scale, or a piece of one, with its labels."""

    image: NDArray[np.float32]
    """(C, H, W); one channel is shown to the network in all of its channels."""
    labels: NDArray[np.int32]
    """(H, W) instance numbers, 0 background, or class numbers; IGNORE where nothing is known."""
    weight: float = 1.0
    """Relative probability of being drawn."""
    diameter: float = 0.0
    """Median object diameter in pixels, 0 if there is none."""
    invert: float = 0.0
    dataset: str = ""
    kind: Literal["instances", "classes"] = "instances"
    """Whether ``labels`` are instance numbers, of which boundaries are made, or classes."""
    pixel_weights: NDArray[np.float32] | None = None
    """(H, W): how much a pixel counts, 0 not at all. None: all alike."""
    merged: bool = False
    """Painted with strokes: derived classes are merged in the loss."""
    painted: bool = False
    """Crops are drawn around labelled pixels, classes balanced, and not anywhere."""
    lookup: NDArray[np.int64] | None = None
    """Class number of each instance number; None: 1. Of instances only."""
    boundary: int = BOUNDARY
    """Class number of the boundary. Of instances only."""
    pair: int = 0
    """Number of the image it comes from."""
    origin: tuple[int, int, int] = (0, 0, 0)
    """Number of the plane, and row and column of the first pixel in it, at working scale."""
    name: str = ""
    drawn: bool = False
    """Drawn anew for each crop: image and labels are an example."""

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(H, W): the pixels that count."""
        known: NDArray[np.bool_] = self.labels != IGNORE
        return known if self.pixel_weights is None else known & (self.pixel_weights > 0)

    @property
    def painted_classes(self) -> NDArray[np.int64]:
        """(H, W) numbers of the painted classes, IGNORE where nothing counts; no boundaries."""
        if self.kind == "classes":
            classes = self.labels.astype(np.int64)
        elif self.lookup is None:
            classes = (self.labels > 0).astype(np.int64)
        else:
            classes = self.lookup[np.maximum(self.labels, 0)]
        classes[~self.counted] = IGNORE
        return classes

    @cached_property
    def places(self) -> dict[int, NDArray[np.int32]]:
        """Where each painted class is: flat numbers of its pixels, thinned out where many."""
        found = self.painted_classes.ravel()
        at = np.flatnonzero(found != IGNORE).astype(np.int32)
        classes = found[at]
        out = {}
        for k in np.unique(classes):
            of = at[classes == k]
            out[int(k)] = of[:: max(1, len(of) // _MOST_PLACES)]
        return out


_MOST_PLACES = 50_000
"""About as many pixels of a class and sample are kept to draw crops around."""


@dataclass(frozen=True)
class Batch:
    """Crops and what they show."""

    images: Tensor
    """(B, C, H, W)"""
    classes: Tensor
    """(B, H, W) int64, IGNORE where nothing counts."""
    weights: Tensor | None
    """(B, H, W), None: all alike."""
    merged: Tensor
    """(B,) bool: derived classes are merged."""

    def target(self, derived: tuple[int, ...] = (), class_weights: Tensor | None = None) -> Target:
        """Return what the losses want to know; ``derived`` are the model's derived classes."""
        return Target(self.classes, self.weights, self.merged, derived, class_weights)


def hard_weights(network: SA2Net, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that what is fitted badly is seen more.

    Within a data set the weights are in proportion to one minus the Dice of the finest
    stage's foreground, plus :data:`LEAST_ERROR`; each data set's sum stays what it was. The
    network is left in evaluation mode.
    """
    network.eval()
    device = next(network.parameters()).device
    error = np.empty(len(samples))
    for i, sample in enumerate(samples):
        height, width = (min(side, 512) // 16 * 16 for side in sample.labels.shape)
        x = torch.from_numpy(sample.image[None, :, :height, :width]).to(device)
        x = x.expand(-1, network.in_channels, -1, -1) if x.shape[1] == 1 else x
        with torch.inference_mode():
            logits = network(x.contiguous(memory_format=layout_for(str(device))))[0]
        found = of_two_classes(logits).softmax(1)[0, 0]
        mask, true = found.cpu().numpy() < 0.5, sample.labels[:height, :width] > 0
        size = int(mask.sum()) + int(true.sum())
        error[i] = LEAST_ERROR + (1 - 2 * int((mask & true).sum()) / size if size else 0.0)
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
) -> Batch:
    """Draw augmented crops.

    Of painted samples, first a class is drawn, all alike, then a sample with it and a pixel of
    it, then a place for the crop that holds this pixel. Of others, a sample and any place.

    Parameters
    ----------
    weights
        How often to draw each sample, beside what its painted pixels ask for.
    in_channels
        Of the network.
    settings
        ``batch``, ``crop`` and the diameter to zoom towards.
    """
    chosen = _choose(samples, weights, settings.batch, rng)
    return cut_batch(samples, chosen, in_channels, settings, augmentation, rng)


def cut_batch(
    samples: Sequence[Sample],
    chosen: Sequence[tuple[int, tuple[float, float] | None]],
    in_channels: int,
    settings: TrainingSettings,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Batch:
    """Cut an augmented crop out of each chosen sample; see :func:`draw_batch`.

    Parameters
    ----------
    chosen
        Numbers of the samples, each with a pixel (row, column) that the crop is to hold, None
        for anywhere.
    """
    crops = []
    for index, place in chosen:
        sample = samples[index]
        if sample.drawn:
            sample = redrawn(sample, settings.crop, settings.diameter, rng)
        zoom = 1.0
        if settings.diameter > 0 and sample.diameter > 0:
            zoom = (settings.diameter / sample.diameter) ** settings.diameter_pull
        planes: list[NDArray[Any]] = [sample.labels]
        if sample.pixel_weights is not None:
            planes.append(sample.pixel_weights)
        image, known = crop(sample.image, planes, settings.crop, augmentation, rng, zoom, place)
        image = image.expand(in_channels, -1, -1) if image.shape[0] == 1 else image
        image = 1 - image if rng.random() < sample.invert else image
        crops.append((sample, vary_intensity(image, augmentation, rng), known))
    drawn = [sample for sample, _, _ in crops]
    x = torch.stack([image for _, image, _ in crops])
    weighted = any(sample.pixel_weights is not None for sample in drawn)
    ones = torch.ones_like(crops[0][2][0])
    return Batch(
        x,
        _classes(drawn, torch.stack([known[0] for _, _, known in crops])),
        torch.stack([k[1] if len(k) > 1 else ones for _, _, k in crops]) if weighted else None,
        torch.tensor([sample.merged for sample in drawn]),
    )


def redrawn(sample: Sample, crop: int, diameter: float, rng: np.random.Generator) -> Sample:
    """Return a drawn sample with another image, as large as a turned crop of it needs.

    Parameters
    ----------
    diameter
        Of the usual object in pixels; those of the image are up to 2.5 times smaller or larger.
    """
    size = (diameter or 22.0) * math.exp(rng.uniform(-1, 1) * math.log(2.5))
    image, labels = draw_scene(rng, math.ceil(1.4 * crop), size)
    return dataclasses.replace(sample, image=image, labels=labels)


def _choose(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    batch: int,
    rng: np.random.Generator,
) -> list[tuple[int, tuple[float, float] | None]]:
    """Draw samples, and for painted ones the pixel (row, column) to crop around."""
    if not any(sample.painted for sample in samples):
        return [(int(i), None) for i in rng.choice(len(samples), batch, p=weights / weights.sum())]
    classes = sorted({k for sample in samples for k in sample.places})
    # In turn from a random start: every class is in the batch if there is room for it.
    order = rng.permutation(classes)
    chosen: list[tuple[int, tuple[float, float] | None]] = []
    for i in range(batch):
        k = int(order[i % len(order)])
        # With the root a few large strokes do not crowd out small ones elsewhere.
        often = np.array([math.sqrt(len(sample.places.get(k, ()))) for sample in samples])
        often *= weights
        index = int(rng.choice(len(samples), p=often / often.sum()))
        chosen.append((index, _pixel(samples[index], k, rng)))
    return chosen


def _pixel(sample: Sample, k: int, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a pixel of class ``k``; one that counts less is drawn less often."""
    places = sample.places[k]
    at = places[rng.integers(len(places), size=16)]
    if sample.pixel_weights is None:
        best = 0
    else:
        often = sample.pixel_weights.ravel()[at].astype(np.float64)
        best = int(rng.choice(len(at), p=often / often.sum()))
    row, column = divmod(int(at[best]), sample.labels.shape[1])
    return row + 0.5, column + 0.5


def _classes(drawn: Sequence[Sample], labels: Tensor) -> Tensor:
    """Return (B, H, W) class numbers of cropped labels; boundaries are made here."""
    classes = labels.long()
    of = [i for i, sample in enumerate(drawn) if sample.kind == "instances"]
    for rim in (True, False):
        at = [i for i in of if drawn[i].merged is not rim]
        if not at:
            continue
        found = boundary_classes(labels[at], rim=rim)
        for i, made in zip(at, found, strict=True):
            classes[i] = _own_numbers(drawn[i], labels[i].long(), made)
    return classes


def _own_numbers(sample: Sample, instances: Tensor, made: Tensor) -> Tensor:
    """Bring background, object and boundary to the numbers that the model has for them."""
    if sample.lookup is None and sample.boundary == BOUNDARY:
        return made
    out = instances.clamp(min=0, max=1)
    if sample.lookup is not None:
        out = torch.from_numpy(sample.lookup)[instances.clamp(min=0)]
    out = torch.where(made == BOUNDARY, sample.boundary, out)
    out = torch.where(made == BACKGROUND, BACKGROUND, out)
    return torch.where(made == IGNORE, IGNORE, out)
