"""Fitting a network to painted labels: the budget, the average, the best, what is kept on disk."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DeviceError, InputError
from ..events import Evaluated, Event, Message
from ..execution.maps import probabilities
from ..network import SA2Net
from .adapt import freeze, train_mode
from .augment import Augmentation
from .comparison import FEWEST_BLOCKS
from .loop import Training
from .losses import LOSSES, deep_supervision
from .samples import Batch, Sample, draw_batch
from .scoring import Counts, dice_of, score
from .selection import KNOWS, Selection, clearly_worse, half_way
from .settings import FineTuneSettings, TrainingSettings

EVALUATIONS = 20
"""How often the network is scored in a training."""

MOST_BLOCKS = 32
"""Held-out regions that are scored while training goes on; at its end all are."""

FIXED_FROM = 0.7
"""Share of the budget from which the statistics of normalisation are the model's own."""

SMALL_BATCH = 4
"""Statistics of a smaller batch say too little of the images."""

PATCHES_FOR_STATISTICS = 32

SMALLEST_PATCH = 64
"""Patches are not halved below this when memory runs out."""


class Painted(Training):
    """A training on painted samples.

    Parameters
    ----------
    network
        Adapted to the classes; it is trained in place.
    train, validation
        Samples, see :func:`~.validation.split`.
    settings
        How.
    derived
        Numbers of the network's derived classes.
    started
        Whether the network has learnt something already, or is random.
    kept
        Whether all of it has, so that its weights are worth staying near to.
    """

    def __init__(
        self,
        network: SA2Net,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        settings: FineTuneSettings,
        derived: tuple[int, ...],
        started: bool,
        kept: bool = False,
    ) -> None:
        freeze(network, settings.frozen)
        super().__init__(network, settings.learning_rate, settings.weight_decay, mixed=True)
        self.samples, self.settings = list(train), settings
        self.validation = list(validation)[:MOST_BLOCKS]
        self.derived, self.started = derived, started
        self.augmentation = Augmentation.named(settings.augmentation)
        self.stage_loss = LOSSES[settings.loss]
        self.rng = np.random.default_rng(settings.seed)
        self.often = np.array([sample.weight for sample in train])
        self.batch, self.patch = settings.batch, settings.patch
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.start = copy.deepcopy(self.averaged) if kept and settings.half_way else None
        self.selection = Selection()
        self.history: list[Evaluated] = []
        self.evaluated = 0
        """Evaluations done, not counting that of the start."""
        self.fixed = False
        self._sums = [0.0, 0.0]
        self._counts: Counts = np.zeros(3)
        self.stopping: Callable[[], bool] = lambda: False
        """Asked before every step."""

    # -- budget

    @property
    def share(self) -> float:
        """How much of the budget is used up."""
        if self.settings.budget == "minutes":
            return min(1.0, self.seconds / (60 * self.settings.minutes))
        return min(1.0, self.step / self.total)

    @property
    def total(self) -> int:
        """Steps in all; of a budget in minutes as they went so far."""
        settings = self.settings
        if settings.budget == "steps":
            return settings.steps
        if settings.budget == "epochs":
            pixels = sum(sample.labels.size for sample in self.samples)
            return settings.epochs * max(8, math.ceil(pixels / settings.patch**2 / settings.batch))
        if not self.step:
            return 0
        return self.step if self.share >= 1 else max(self.step + 1, round(self.step / self.share))

    @property
    def left(self) -> float | None:
        """Seconds of training to come."""
        if self.settings.budget == "minutes":
            return max(0.0, 60 * self.settings.minutes - self.seconds)
        return self.seconds / self.step * (self.total - self.step) if self.step else None

    def finished(self) -> bool:
        """Tell whether the budget or the patience is used up, or somebody asked to stop."""
        patience, waited = self.settings.patience, self.selection.waited
        return self.stopping() or self.share >= 1 or (patience > 0 and waited >= patience)

    def rate(self) -> float:
        """Rise over the warm-up, then fall to nought as a cosine over the rest of the budget."""
        share, warmup = self.share, self.settings.warmup
        if share < warmup:
            return max(0.05, share / warmup)
        return max(0.01, 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))))

    # -- a step

    def draw(self) -> Batch:
        """Draw patches around painted pixels."""
        return self._draw(self.rng, self.augmentation)

    def _draw(self, rng: np.random.Generator, augmentation: Augmentation) -> Batch:
        how = TrainingSettings(batch=self.batch, crop=self.patch)
        return draw_batch(
            self.samples, self.often, self.network.in_channels, how, augmentation, rng
        )

    def loss(self, stages: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the loss of all stages, and note how the finest does."""
        target = batch.target(self.derived).to(self.device)
        with torch.no_grad():
            inside = probabilities(stages[0].detach())[:, 0] < 0.5
            true, counted = target.classes > 0, target.counted
            pairs = (inside & true, inside & ~true, ~inside & true)
            found = torch.stack([(pair & counted).sum() for pair in pairs])
        loss = deep_supervision(stages, target, self.stage_loss)
        self._counts += found.cpu().numpy()
        self._sums[0] += float(loss.detach())
        self._sums[1] += 1
        return loss

    def train_mode(self) -> None:
        """Train with the statistics of the batch, or with the model's own."""
        train_mode(self.network, fixed=self.fixed)

    def make_room(self) -> str:
        """Halve the batch, then the patch."""
        where = f"The memory of {self.device} ran out"
        if self.batch > 1:
            self.batch //= 2
            return f"{where}: going on with {self.batch} patch(es) at a time."
        half = self.patch // 2 // 16 * 16
        if half >= SMALLEST_PATCH:
            self.patch = half
            return f"{where}: going on with patches of {half} pixels."
        raise DeviceError(
            f"{where} even for a single small patch. Close other programs, use a smaller model, or "
            "train on another device."
        )

    def before_step(self) -> Generator[Event, None, None]:
        """Score the start, and fix the statistics when it is time."""
        if self.step == 0 and self.validation and not self.history:
            yield self._evaluate()
        if not self.fixed and self._fix_now():
            self.fixed = True
            self._measure_statistics()
            self.train_mode()

    def after_step(self) -> Generator[Event, None, None]:
        """Follow with the average, and evaluate when it is time."""
        self._follow()
        due = int(self.share * EVALUATIONS + 1e-9)
        if due > self.evaluated:
            self.evaluated = due
            if self.fixed and self.share < 1:
                self._measure_statistics()
            yield self._evaluate()
            self.train_mode()

    # -- statistics

    @property
    def _fixed_early(self) -> float:
        # What a random network measures says nothing of what it will be.
        return 0.0 if self.started else 0.3

    def _fix_now(self) -> bool:
        how = self.settings.statistics
        if how == "auto":
            small = self.batch < SMALL_BATCH
            return self.share >= (self._fixed_early if small else FIXED_FROM)
        return how == "model" and self.share >= self._fixed_early

    def _measure_statistics(self) -> None:
        """Measure means and variances anew, over many patches, with the weights as they are.

        Trained on with these, a network does in training what it does afterwards, however
        small the batch. Frozen parts keep theirs.
        """
        began = time.perf_counter()
        norms = [
            part
            for part in self.network.modules()
            if isinstance(part, nn.BatchNorm2d) and part.weight.requires_grad
        ]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        self.network.eval()
        for norm in norms:
            norm.train()
            norm.momentum = None  # a plain mean over all batches
            norm.reset_running_stats()
        # Random numbers of their own, so that the training's go on as they were.
        rng = np.random.default_rng([self.settings.seed, self.step])
        with torch.no_grad():
            for _ in range(max(1, PATCHES_FOR_STATISTICS // self.batch)):
                self.network(self.on_device(self._draw(rng, self.augmentation)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.seconds += time.perf_counter() - began

    # -- average and best

    def _follow(self) -> None:
        """Move the average towards the weights and statistics."""
        kept = min(self.settings.average, (1 + self.step) / (10 + self.step))
        kept = kept if self.settings.average else 0.0
        new = self.network.state_dict()
        with torch.no_grad():
            for name, value in self.averaged.state_dict().items():
                if value.dtype.is_floating_point:
                    value.lerp_(new[name], 1 - kept)
                else:
                    value.copy_(new[name])

    def _evaluate(self) -> Evaluated:
        """Score the average."""
        figures: dict[str, float] = {}
        if self._sums[1]:
            figures["training loss"] = self._sums[0] / self._sums[1]
            figures["training Dice"] = dice_of(self._counts)
        self._sums, self._counts = [0.0, 0.0], np.zeros(3)
        best = False
        if self.validation:
            found = score(self.averaged, self.validation, self.derived, self.stage_loss)
            figures |= {"validation loss": found.loss, "validation Dice": found.dice}
            if self.step:
                best = self.selection.note(self.step, found, self.averaged.state_dict())
        event = Evaluated(self.step, figures, best)
        self.history.append(event)
        return event

    def result(self) -> tuple[SA2Net, int]:
        """Return the network to keep, in evaluation mode on the CPU, and the step it is of.

        That is the average as it is now, or an earlier one that was clearly better; and half
        way from the start to it where the held-out regions allow that.
        """
        network, step = copy.deepcopy(self.averaged), self.step
        if self.selection.clearly_better() and self.selection.weights is not None:
            network.load_state_dict(self.selection.weights)
            step = self.selection.step
        if self.start is not None and len(self.validation) >= FEWEST_BLOCKS:
            network = self._half_way(self.start, network)
        return network.cpu().requires_grad_(True).eval(), step

    def _half_way(self, start: SA2Net, trained: SA2Net) -> SA2Net:
        """Return the network between two, or the trained one if that is the better choice."""
        half = half_way(start, trained)
        before, after, between = (
            score(n, self.validation, self.derived) for n in (start, trained, half)
        )
        if before.dice < KNOWS * after.dice or clearly_worse(after, between):
            return trained
        return half

    # -- state

    def state(self) -> dict[str, Any]:
        """Return all that going on needs, besides samples and settings."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.state_dict(),
            "rng": self.rng.bit_generator.state,
            "selection": self.selection.state(),
            "history": [[e.step, e.figures, e.best] for e in self.history],
            "sums": self._sums,
            "counts": self._counts.tolist(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned.

        Raises
        ------
        InputError
            If the state is not one of this training.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.averaged.load_state_dict(state["averaged"])
            self.rng.bit_generator.state = state["rng"]
            self.selection.go_on(state["selection"])
            self.history = [Evaluated(*entry) for entry in state["history"]]
            self._sums, self._counts = state["sums"], np.array(state["counts"])
            for name in _PLAIN:
                setattr(self, name, state[name])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(
                f"The state of the training does not fit ({error}): it was made by another "
                "version. Train anew."
            ) from error

    def say_where(self) -> Message:
        """Tell where the training goes on."""
        return Message(f"Going on after step {self.step}.")


_PLAIN = ("step", "seconds", "batch", "patch", "evaluated", "fixed")
