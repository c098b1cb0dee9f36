"""How weights are fitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are fitted."""

    steps: int = 4000
    batch: int = 8
    crop: int = 160
    """Height and width of a crop in pixels, a multiple of 16."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.03
    """Share of the first cycle's steps over which the learning rate rises."""
    hold: float = 0.0
    """Share of the first cycle's steps at the highest rate; afterwards it falls as a cosine."""
    restart_steps: tuple[int, ...] = ()
    """Steps at which a further cycle begins: the rate jumps up and falls again."""
    restart_rate: float = 0.5
    """Where a further cycle's rate begins, as a share of where the one before began."""
    hard_from: int = 0
    """Step from which badly fitted images are drawn more often, 0 for never: they are scored
    once at that step, and each data set keeps its share."""
    clip_norm: float = 2.0
    class_weights: tuple[float, ...] = ()
    """Weight of each class in the cross-entropy; none: all the same."""
    stage_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """Weight of each stage's loss, finest first."""
    diameter: float = 0.0
    """Object diameter in pixels towards which images are zoomed; 0: not at all."""
    diameter_pull: float = 0.25
    """How far: 0 not at all, 1 fully."""
    seed: int = 0
    checkpoint_every: int = 100
