"""Losses on the logits of all stages (deep supervision), of the pixels that count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -1
"""Target value of pixels that count in no loss (not painted)."""

_NEVER = -1e4
"""Logarithm of a probability that is nought, without the infinities that gradients dislike."""


@dataclass(frozen=True)
class Target:
    """What the logits of a batch should have been, and how much each pixel counts."""

    classes: Tensor
    """(B, H, W) int64 class numbers; :data:`IGNORE` where nothing counts."""
    weights: Tensor | None = None
    """(B, H, W), at least 0: how much a pixel counts, 0 not at all. None: all alike."""
    merged: Tensor | None = None
    """(B,) bool: images painted with strokes, where nobody said what is a derived class, so that
    the probability of derived classes counts as that of the painted object. None: no image."""
    derived: tuple[int, ...] = ()
    """The numbers of the model's derived classes."""
    class_weights: Tensor | None = None
    """(C,) weight of each class in the cross-entropy."""

    def to(self, device: str | torch.device) -> Target:
        """Return the target on another device."""
        moved = {
            name: value.to(device)
            for name in ("classes", "weights", "merged", "class_weights")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    @cached_property
    def counted(self) -> Tensor:
        """(B, H, W) bool: the pixels that count."""
        known = self.classes != IGNORE
        return known if self.weights is None else known & (self.weights > 0)

    @cached_property
    def _index(self) -> Tensor:
        return self.counted.flatten().nonzero()[:, 0]

    @cached_property
    def pixels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Class number, weight and whether it is merged, of each of the N pixels that count."""
        index = self._index
        classes = self.classes.flatten()[index]
        weights = torch.ones(len(index), device=index.device)
        if self.weights is not None:
            weights = self.weights.flatten()[index]
        merged = torch.zeros_like(classes, dtype=torch.bool)
        if self.merged is not None and self.derived:
            merged = self.merged[:, None, None].expand_as(self.classes).flatten()[index]
        return classes, weights, merged

    def pick(self, x: Tensor) -> Tensor:
        """Return (N, C): what (B, C, H, W) holds at the pixels that count.

        No other pixel enters a loss, so that its gradient is exactly zero.
        """
        return x.movedim(1, -1).reshape(-1, x.shape[1])[self._index]


StageLoss = Callable[[Tensor, Target], Tensor]


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return one minus the soft Dice coefficient, averaged over the classes present.

    Parameters
    ----------
    logits
        (B, C, H, W), C ≥ 2.
    target
        (B, H, W) class numbers; :data:`IGNORE` where nothing counts.
    """
    counted = target != IGNORE
    one_hot = F.one_hot(target.clamp(min=0), logits.shape[1]).movedim(-1, 1)
    one_hot = one_hot.to(logits.dtype) * counted[:, None]
    p = logits.softmax(1) * counted[:, None]
    axes = (0, 2, 3)
    overlap = (p * one_hot).sum(axes)
    size = p.sum(axes) + one_hot.sum(axes)
    present = one_hot.sum(axes) > 0
    dice = (2 * overlap[present] + 1) / (size[present] + 1)
    return (1 - dice).mean() if present.any() else _nothing(logits)


def cross_entropy_dice(logits: Tensor, target: Target) -> Tensor:
    """Return cross-entropy plus soft Dice loss of whole masks: what recipes train with.

    Pixels count alike and nothing is merged; the target's ``class_weights`` are used.
    """
    if not (target.classes != IGNORE).any():
        return _nothing(logits)
    logits = of_two_classes(logits)
    entropy = F.cross_entropy(
        logits, target.classes, weight=target.class_weights, ignore_index=IGNORE
    )
    return entropy + soft_dice(logits, target.classes)


def product_loss(logits: Tensor, target: Target) -> Tensor:
    """Return class-balanced cross-entropy plus soft Dice loss.

    A class that is painted in the batch counts by the square root of its pixels in the
    cross-entropy. Counting them all alike would make rare classes, the boundary above all,
    grow into the others. The Dice is averaged over the classes painted.

    Parameters
    ----------
    logits
        (B, C, H, W); a single channel is that of the only object class.
    target
        See :class:`Target`.
    """
    if not target.counted.any():
        return _nothing(logits)
    classes, weights, _ = target.pixels
    log_q = painted_log_probabilities(logits, target)
    weights = weights.to(log_q.dtype)
    one_hot = F.one_hot(classes, log_q.shape[1]).to(log_q.dtype) * weights[:, None]
    counts = one_hot.sum(0)
    present = counts > 0
    entropy = -(log_q * one_hot).sum(0)[present] / counts[present]
    shares = counts[present].sqrt()
    if target.class_weights is not None:
        shares = shares * target.class_weights.to(log_q.dtype)[present]
    q = log_q.exp()
    overlap = (q * one_hot).sum(0)[present]
    size = (q * weights[:, None]).sum(0)[present] + counts[present]
    dice = (2 * overlap + 1) / (size + 1)
    return (entropy * shares).sum() / shares.sum() + (1 - dice).mean()


def authors_loss(logits: Tensor, target: Target) -> Tensor:
    """Return the loss of the authors' program: half Dice, half balanced binary cross-entropy.

    The Dice has squares in its denominator. Half of the cross-entropy is the mean over the
    object's pixels and half that over the others. With several object classes it is the mean
    over each against the rest. Shapes as in :func:`product_loss`.
    """
    if not target.counted.any():
        return _nothing(logits)
    classes, weights, _ = target.pixels
    log_q = painted_log_probabilities(logits, target)
    weights = weights.to(log_q.dtype)
    losses = []
    for k in _objects(target, log_q.shape[1]):
        true = (classes == k).to(log_q.dtype)
        p = log_q[:, k].exp()
        overlap = (weights * p * true).sum()
        size = (weights * (p.square() + true)).sum()
        dice = 1 - (2 * overlap + 1e-5) / (size + 1e-5)
        halves = [
            -(side * log).sum() / side.sum().clamp(min=1e-12)
            for side, log in (
                (weights * true, log_q[:, k]),
                (weights * (1 - true), _log_others(log_q, k)),
            )
        ]
        losses.append(0.5 * dice + 0.5 * (0.5 * halves[0] + 0.5 * halves[1]))
    return torch.stack(losses).mean()


def paper_loss(logits: Tensor, target: Target) -> Tensor:
    """Return the loss of the paper's text: weighted IoU plus weighted binary cross-entropy.

    A pixel counts up to six times where its painted surroundings (31 × 31) are of another
    class than itself. Several object classes and shapes as in :func:`authors_loss`.
    """
    if not target.counted.any():
        return _nothing(logits)
    classes, weights, _ = target.pixels
    log_q = painted_log_probabilities(logits, target)
    losses = []
    for k in _objects(target, log_q.shape[1]):
        true = (classes == k).to(log_q.dtype)
        w = (weights * (1 + 5 * _contrast(target, k))).to(log_q.dtype)
        p = log_q[:, k].exp()
        log = torch.where(true > 0, log_q[:, k], _log_others(log_q, k))
        overlap, union = (w * p * true).sum(), (w * (p + true - p * true)).sum()
        losses.append(1 - (overlap + 1) / (union + 1) - (w * log).sum() / w.sum())
    return torch.stack(losses).mean()


LOSSES: Mapping[str, StageLoss] = MappingProxyType(
    {"product": product_loss, "authors": authors_loss, "paper": paper_loss}
)
"""The losses for painted labels, by name."""

RECIPE_LOSSES: Mapping[str, StageLoss] = MappingProxyType(
    {"cross-entropy": cross_entropy_dice, **LOSSES}
)
"""The losses that a recipe can name."""


def of_two_classes(logits: Tensor) -> Tensor:
    """Return the logits of background and object for the only logit of a binary model.

    Other logits (B, C, H, W) stay as they are. The softmax of the two is the sigmoid of the one.
    """
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def deep_supervision(
    stages: Sequence[Tensor],
    target: Target,
    loss: StageLoss = cross_entropy_dice,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """Return the weighted mean of ``loss`` over the stages' logits, finest first."""
    total = torch.stack(
        [w * loss(logits, target) for w, logits in zip(weights, stages, strict=True)]
    )
    return total.sum() / sum(weights)


def painted_log_probabilities(logits: Tensor, target: Target) -> Tensor:
    """Return (N, C) log probabilities at the pixels that count, derived classes merged.

    Where strokes were painted, the probability of the derived classes is added to that of the
    object class painted there: the network stays free to call a part of an object a boundary.
    On painted background it is divided among the object classes, where all of it is wrong.
    """
    log_p = target.pick(of_two_classes(logits)).float().log_softmax(1)
    classes, _, merged = target.pixels
    count = log_p.shape[1]
    derived = torch.zeros(count, dtype=torch.bool, device=log_p.device)
    derived[list(target.derived)] = True
    # A pixel that was said to be of a derived class is taken at its word.
    merging = (merged & ~derived[classes])[:, None]
    if not bool(merging.any()):
        return log_p
    objects = ~derived
    objects[0] = False
    shares = torch.where(
        classes[:, None] > 0,
        F.one_hot(classes, count).to(log_p.dtype),
        objects.to(log_p.dtype) / objects.sum(),
    )
    extra = torch.logsumexp(log_p[:, derived], 1, keepdim=True)
    extra = torch.where(merging & (shares > 0), extra + shares.clamp(min=1e-12).log(), _NEVER)
    own = torch.where(merging & derived, _NEVER, log_p)
    return torch.logaddexp(own, extra)


def _objects(target: Target, count: int) -> list[int]:
    """Return the classes that are compared with the rest: a derived one only if it is known."""
    known = set(target.pixels[0].unique().tolist())
    return [k for k in range(1, count) if k not in target.derived or k in known]


def _log_others(log_q: Tensor, k: int) -> Tensor:
    others = [i for i in range(log_q.shape[1]) if i != k]
    return torch.logsumexp(log_q[:, others], 1)


def _contrast(target: Target, k: int) -> Tensor:
    """Return (N,), 0 to 1: how much the painted pixels around differ from class ``k`` or not."""
    counted = target.counted.float()[:, None]
    true = (target.classes == k).float()[:, None] * counted

    def mean(x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, (31, 1), 1, (15, 0))
        return F.avg_pool2d(x, (1, 31), 1, (0, 15))

    around = mean(true) / mean(counted).clamp(min=1e-6)
    return target.pick((around - true).abs())[:, 0]


def _nothing(logits: Tensor) -> Tensor:
    """Return a loss of nought whose gradient is nought, whatever the logits are."""
    return logits.flatten()[:0].sum()
