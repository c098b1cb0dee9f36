"""Losses on the logits of all stages (deep supervision)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -1
"""Target value of pixels that count in no loss (not painted)."""

StageLoss = Callable[[Tensor, Tensor], Tensor]


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
    return (1 - dice).mean() if present.any() else logits.sum() * 0


def cross_entropy_dice(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Return cross-entropy plus soft Dice loss; shapes as in :func:`soft_dice`."""
    if not (target != IGNORE).any():
        return logits.sum() * 0
    entropy = F.cross_entropy(logits, target, weight=class_weights, ignore_index=IGNORE)
    return entropy + soft_dice(logits, target)


def deep_supervision(
    stages: Sequence[Tensor],
    target: Tensor,
    loss: StageLoss = cross_entropy_dice,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """Return the weighted mean of ``loss`` over the stages' logits, finest first."""
    total = torch.stack(
        [w * loss(logits, target) for w, logits in zip(weights, stages, strict=True)]
    )
    return total.sum() / sum(weights)
