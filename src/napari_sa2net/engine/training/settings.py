"""How weights are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import InputError
from ..fields import check_fields


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are fitted."""

    steps: int = field(default=4000, metadata={"min": 0, "max": 10**8})
    epochs: int = field(default=0, metadata={"min": 0, "max": 10**6})
    """Passes over all images, each once a pass in random order, whatever its share; in place of
    ``steps``, which draw at random. 0: steps."""
    patience: int = field(default=0, metadata={"min": 0, "max": 10**6})
    """Passes without a better mean Dice on the images of the fold that is held out, after which
    training ends; the weights of the best pass are kept. 0: all passes, and the last weights."""
    batch: int = field(default=8, metadata={"min": 1, "max": 4096})
    crop: int = field(default=160, metadata={"min": 16, "max": 8192})
    """Height and width of a crop in pixels, a multiple of 16."""
    learning_rate: float = field(default=2e-3, metadata={"above": 0, "max": 10})
    weight_decay: float = field(default=0.01, metadata={"min": 0, "max": 10})
    warmup: float = field(default=0.03, metadata={"min": 0, "max": 1})
    """Share of the first cycle's steps over which the learning rate rises."""
    hold: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Share of the first cycle's steps at the highest rate; afterwards it falls as a cosine."""
    restart_steps: tuple[int, ...] = field(default=(), metadata={"min": 1, "max": 10**8})
    """Steps at which a further cycle begins: the rate jumps up and falls again."""
    restart_rate: float = field(default=0.5, metadata={"min": 0, "max": 10})
    """Where a further cycle's rate begins, as a share of where the one before began."""
    cycle: int = field(default=0, metadata={"min": 0, "max": 10**6})
    """Passes in which the rate falls as a cosine, over and over; in place of ``warmup``,
    ``hold`` and ``restart_steps``. 0: those."""
    lowest_rate: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Where such a cycle's rate ends, as a share of the highest."""
    hard_from: int = field(default=0, metadata={"min": 0, "max": 10**8})
    """Step from which badly fitted images are drawn more often, 0 for never: they are scored
    once at that step, and each data set keeps its share."""
    clip_norm: float = field(default=2.0, metadata={"min": 0, "max": 1e6})
    """Largest norm of the gradient, 0 for any."""
    loss: Literal["cross-entropy", "product", "authors", "paper"] = "cross-entropy"
    """Of each stage: cross-entropy and Dice, or one of those for painted labels."""
    class_weights: tuple[float, ...] = field(default=(), metadata={"min": 0, "max": 1e6})
    """Weight of each class in the cross-entropy; none: all the same."""
    stage_weights: tuple[float, float, float, float] = field(
        default=(1.0, 1.0, 1.0, 1.0), metadata={"min": 0, "max": 1e6}
    )
    """Weight of each stage's loss, finest first."""
    diameter: float = field(default=0.0, metadata={"min": 0, "max": 1e5})
    """Object diameter in pixels towards which images are zoomed; 0: not at all."""
    diameter_pull: float = field(default=0.25, metadata={"min": 0, "max": 1})
    """How far: 0 not at all, 1 fully."""
    seed: int = field(default=0, metadata={"min": 0, "max": 2**32 - 1})
    checkpoint_every: int = field(default=100, metadata={"min": 1, "max": 10**8})

    def __post_init__(self) -> None:
        check_fields(self)
        if self.crop % 16:
            raise InputError(f"crop is {self.crop}: give a multiple of 16, as 160.")
        if self.class_weights and self.loss in ("authors", "paper"):
            raise InputError(
                f"The loss {self.loss!r} compares each class with the rest: leave out "
                "class_weights."
            )
        if (self.cycle or self.patience) and not self.epochs:
            raise InputError("cycle and patience count epochs: set epochs, too.")
        if self.lowest_rate and not self.cycle:
            raise InputError("lowest_rate is where a cycle ends: set cycle, too.")
        if self.cycle and (self.hold or self.restart_steps):
            raise InputError("cycle goes in place of hold and restart_steps: leave them out.")
        if self.epochs and self.hard_from:
            raise InputError("hard_from goes with steps: in epochs every image is seen alike.")


def _about(text: str, low: float, high: float, step: float = 1) -> dict[str, Any]:
    return {"help": text, "min": low, "max": high, "step": step}


@dataclass(frozen=True)
class FineTuneSettings:
    """How a model is adapted to painted labels. Everything is checked when it is made."""

    budget: Literal["minutes", "epochs", "steps"] = field(
        default="minutes",
        metadata={
            "help": "What ends the training. With steps or epochs the same seed gives the same "
            "model on the same computer."
        },
    )
    minutes: float = field(
        default=2.0,
        metadata=_about(
            "How long to train. Only the training itself counts: not loading, previews, "
            "validation or pauses.",
            0.05,
            1440.0,
            0.5,
        ),
    )
    epochs: int = field(
        default=20,
        metadata=_about(
            "How often as many patches are drawn as cover the painted regions; at least 8 steps "
            "each.",
            1,
            10_000,
        ),
    )
    steps: int = field(
        default=300, metadata=_about("How often the weights are changed.", 1, 1_000_000)
    )
    learning_rate: float = field(
        default=2e-3,
        metadata=_about(
            "How far a step goes. It rises at first and falls to nought at the end of the budget.",
            1e-5,
            0.1,
            1e-4,
        ),
    )
    batch: int = field(default=4, metadata=_about("Patches that are seen in a step.", 1, 64))
    patch: int = field(
        default=128, metadata=_about("Side of a patch in pixels; a multiple of 16.", 32, 1024, 16)
    )
    frozen: Literal["nothing", "encoder", "all but the heads"] = field(
        default="nothing",
        metadata={
            "help": "Parts of the start model that stay as they are. A step takes less time then, "
            "but what was frozen does not adapt to the images."
        },
    )
    augmentation: Literal["none", "light", "full"] = field(
        default="full",
        metadata={
            "help": "How much patches are varied. Light: flips and right angles, some brightness. "
            "Full: also any angle, scale, blur and noise."
        },
    )
    loss: Literal["product", "authors", "paper"] = field(
        default="product",
        metadata={
            "help": "Product: class-balanced cross-entropy and Dice. Authors and paper: the "
            "weighted forms of SA2-Net's program and text."
        },
    )
    validation: float = field(
        default=0.2,
        metadata=_about(
            "Share of what is painted that is held out, in whole regions, to see whether the "
            "model gets better. 0: none.",
            0.0,
            0.5,
            0.05,
        ),
    )
    patience: int = field(
        default=0,
        metadata=_about(
            "Training ends after this many evaluations (of twenty) without improvement. "
            "0: it uses the whole budget.",
            0,
            20,
        ),
    )
    seed: int = field(
        default=0, metadata=_about("Start of all that is drawn at random.", 0, 1_000_000)
    )
    weight_decay: float = field(
        default=0.01, metadata=_about("How far weights are pulled to nought.", 0.0, 1.0, 0.01)
    )
    warmup: float = field(
        default=0.05,
        metadata=_about("Share of the budget over which the rate rises.", 0.0, 0.5, 0.01),
    )
    average: float = field(
        default=0.95,
        metadata=_about(
            "The model is a running average of the weights; the share that stays at a step. "
            "0: the last weights alone.",
            0.0,
            0.999,
            0.01,
        ),
    )
    half_way: bool = field(
        default=True,
        metadata={
            "help": "Keep the mean of the weights before and after, where what is held out allows "
            "it. Strokes are mostly where a model fails: this keeps what it did well elsewhere."
        },
    )
    statistics: Literal["auto", "batch", "model"] = field(
        default="auto",
        metadata={
            "help": "What brightness and contrast inside the network are measured on. Batch: each "
            "batch of patches. Model: all patches, measured beforehand. Auto: each batch at "
            "first, then all; all from the start where a batch is smaller than four."
        },
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.patch % 16:
            raise InputError(f"patch is {self.patch}: give a multiple of 16, as 128.")
