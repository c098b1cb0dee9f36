"""The training loop: draw, forward, loss on all stages, backward, update; an event a step.

:class:`Training` is the loop. What is trained on, how long, and what happens between two
steps is said by those who extend it: recipes here, fine-tuning in ``painted``.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..devices import free_memory, has_bfloat16, is_out_of_memory, layout_for
from ..errors import DeviceError, SA2NetError, TrainingError
from ..events import Event, Message, StepDone
from ..network import SA2Net
from .augment import Augmentation
from .checkpoints import read_checkpoint, write_checkpoint
from .losses import RECIPE_LOSSES, deep_supervision
from .ranks import Ranks
from .samples import Batch, Sample, draw_batch, hard_weights
from .settings import TrainingSettings


class Training:
    """One training of a network on the device it is on.

    Parameters
    ----------
    network
        Parameters that need no gradient stay as they are.
    learning_rate, weight_decay
        Of AdamW.
    clip_norm
        Largest norm of the gradient, 0 for any.
    mixed
        Compute in bfloat16 where a CUDA device can.
    ranks
        The processes that train it together.
    """

    def __init__(
        self,
        network: SA2Net,
        learning_rate: float,
        weight_decay: float,
        clip_norm: float = 2.0,
        mixed: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        self.device = next(network.parameters()).device
        self.layout = layout_for(str(self.device))
        self.network: SA2Net = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.mixed = mixed and has_bfloat16(str(self.device))
        self.trained = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=learning_rate, weight_decay=weight_decay
        )
        self.step = 0
        """Steps done."""
        self.seconds = 0.0
        """What they took."""

    @property
    def total(self) -> int:
        """Steps that the whole training will have, as far as known."""
        raise NotImplementedError

    @property
    def left(self) -> float | None:
        """Seconds of training to come, if known."""
        return None

    def finished(self) -> bool:
        """Tell whether no further step is wanted."""
        return self.step >= self.total

    def rate(self) -> float:
        """Return the next step's learning rate as a share of the highest."""
        raise NotImplementedError

    def draw(self) -> Batch:
        """Draw what the next step is trained on."""
        raise NotImplementedError

    def on_device(self, batch: Batch) -> Tensor:
        """Return the images of a batch as the device computes them quickest."""
        return batch.images.to(self.device, memory_format=self.layout)

    def loss(self, stages: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the loss of all stages' logits, finest first."""
        raise NotImplementedError

    def train_mode(self) -> None:
        """Put the network into the mode for a step."""
        self.network.train()

    def before_step(self) -> Generator[Event, None, None]:
        """Do what is due before a step."""
        yield from ()

    def after_step(self) -> Generator[Event, None, None]:
        """Do what is due after a step."""
        yield from ()

    def make_room(self) -> str:
        """Need less memory from now on, and say how.

        Raises
        ------
        DeviceError
            If nothing is left to do.
        """
        raise DeviceError(
            f"The memory of {self.device} ran out. Train with a smaller batch or smaller crops, "
            "or on another device."
        )

    def run(self) -> Generator[Event, None, None]:
        """Train to the end; a :class:`StepDone` after every step.

        Closing the generator leaves the training as it was after the last step.

        Raises
        ------
        TrainingError
            If the loss is no longer finite.
        DeviceError
            If memory ran out for good.
        """
        self.train_mode()
        while not self.finished():
            yield from self.before_step()
            done = yield from self._one_step()
            yield from self.after_step()
            yield done
        self.network.eval()

    def _one_step(self) -> Generator[Event, None, StepDone]:
        while True:
            began = time.perf_counter()
            rate = self.learning_rate * self.rate()
            loss = self._try(rate)
            if loss is not None:
                break
            # The error, and with it the frames that hold tensors, is gone by now.
            self.optimizer.zero_grad(set_to_none=True)
            free_memory(str(self.device))
            yield Message(self.make_room(), warning=True)
        seconds = time.perf_counter() - began
        self.step += 1
        self.seconds += seconds
        return StepDone(self.step, self.total, loss, rate, seconds, self.left)

    def _try(self, rate: float) -> float | None:
        """Return the loss of a step, or None if memory ran out."""
        try:
            return self._update(rate)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            # Never a RuntimeError, which a window's worker would swallow.
            raise SA2NetError(f"Training failed on {self.device}: {error}") from error

    def _update(self, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.draw()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16) if self.mixed else nullcontext():
            stages = self.network(self.on_device(batch))
        loss = self.loss(stages, batch)
        crops = len(batch.images)
        value = self.ranks.mean(float(loss.detach()), crops, self.device)
        if not math.isfinite(value):
            raise self._not_finite("loss")
        if loss.requires_grad:  # not if nothing in the batch counts
            loss.backward()
        self.ranks.average_gradients(self.trained, crops)
        if any(p.grad is not None for p in self.trained):
            norm = torch.nn.utils.clip_grad_norm_(
                self.network.parameters(), self.clip_norm or math.inf
            )
            if not torch.isfinite(norm):
                raise self._not_finite("gradient")
            self.optimizer.step()
        self.ranks.average_buffers(self.network, crops)
        return value

    def _not_finite(self, what: str) -> TrainingError:
        return TrainingError(
            f"The {what} is no longer finite at step {self.step}: lower the learning rate "
            f"({self.learning_rate:g})."
        )


def learning_rate_factor(step: int, settings: TrainingSettings) -> float:
    """Return the learning rate at ``step`` as a share of the highest: up, held, cosine down.

    Further cycles are a cosine alone.
    """
    begun = [restart for restart in settings.restart_steps if restart <= step]
    end = ([r for r in settings.restart_steps if r > step] or [settings.steps])[0]
    if begun:
        done = (step - begun[-1]) / max(1, end - begun[-1])
        return settings.restart_rate ** len(begun) * 0.5 * (1 + math.cos(math.pi * done))
    warmup = max(1.0, settings.warmup * end)
    if step < warmup:
        return (step + 1) / warmup
    falls_from = warmup + settings.hold * end
    left = max(1.0, end - falls_from)
    return 0.5 * (1 + math.cos(math.pi * max(0.0, step - falls_from) / left))


class RecipeTraining(Training):
    """A training on whole masks for a number of steps, as a recipe says."""

    def __init__(
        self,
        network: SA2Net,
        samples: Sequence[Sample],
        settings: TrainingSettings,
        augmentation: Augmentation,
        checkpoint: Path | None,
        identity: str,
        ranks: Ranks | None = None,
    ) -> None:
        ranks = ranks or Ranks()
        super().__init__(
            ranks.prepared(network),
            settings.learning_rate,
            settings.weight_decay,
            settings.clip_norm,
            ranks=ranks,
        )
        self.samples, self.settings, self.augmentation = samples, settings, augmentation
        self.checkpoint, self.identity = checkpoint, identity
        self.own = dataclasses.replace(settings, batch=ranks.part(settings.batch))
        """The settings with this process's part of the batch."""
        seed = settings.seed if ranks.count == 1 else [settings.seed, ranks.rank]
        self.rng = np.random.default_rng(seed)
        self.weights = np.array([sample.weight for sample in samples])
        self.class_weights: Tensor | None = None
        if settings.class_weights:
            self.class_weights = torch.tensor(settings.class_weights, device=self.device)

    @property
    def total(self) -> int:
        """The recipe's steps."""
        return self.settings.steps

    def rate(self) -> float:
        """Follow the recipe's schedule."""
        return learning_rate_factor(self.step, self.settings)

    def draw(self) -> Batch:
        """Draw crops of whole masks."""
        channels = self.network.in_channels
        return draw_batch(
            self.samples, self.weights, channels, self.own, self.augmentation, self.rng
        )

    def loss(self, stages: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the recipe's loss of all stages."""
        target = batch.target(class_weights=self.class_weights).to(self.device)
        loss = RECIPE_LOSSES[self.settings.loss]
        return deep_supervision(stages, target, loss, self.settings.stage_weights)

    def before_step(self) -> Generator[Event, None, None]:
        """Score the images when it is time."""
        if self.settings.hard_from and self.step == self.settings.hard_from:
            yield Message("Scoring the training images, to draw the badly fitted more often.")
            self.weights = self.ranks.shared(lambda: hard_weights(self.network, self.samples))
            self.train_mode()

    def after_step(self) -> Generator[Event, None, None]:
        """Write the state when it is time."""
        due = self.step % self.settings.checkpoint_every == 0 or self.finished()
        if self.checkpoint is not None and due:
            state = self.state()
            if self.ranks.first:
                write_checkpoint(self.checkpoint, self.identity, state)
        yield from ()

    def begin(self) -> Generator[Event, None, None]:
        """Go on from the state on disk, if there is one: all processes from the first one's."""

        def read() -> dict[str, Any] | None:
            if self.checkpoint is None or not self.checkpoint.exists():
                return None
            return read_checkpoint(self.checkpoint, self.identity)

        state = self.ranks.shared(read)
        if state is not None:
            self.go_on(state)
            yield Message(f"Going on at step {self.step} of {self.total}.")

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on, in all processes."""
        drawing = self.ranks.all(self.rng.bit_generator.state)
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": drawing[0] if len(drawing) == 1 else drawing,
            "weights": self.weights.tolist(),
            "step": self.step,
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from a state that was written.

        Raises
        ------
        TrainingError
            If another number of processes wrote it.
        """
        drawing = state["rng"] if isinstance(state["rng"], list) else [state["rng"]]
        if len(drawing) != self.ranks.count:
            raise TrainingError(
                f"The training state {self.checkpoint} was made by {len(drawing)} process(es) "
                f"and not by {self.ranks.count}: go on with as many, or delete it to begin anew."
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = drawing[self.ranks.rank]
        self.step = state["step"]
        self.weights = np.array(state.get("weights", self.weights))


def fit(
    network: SA2Net,
    samples: Sequence[Sample],
    settings: TrainingSettings,
    augmentation: Augmentation,
    checkpoint: Path | None = None,
    identity: str = "",
    ranks: Ranks | None = None,
) -> Generator[Event, None, SA2Net]:
    """Fit ``network`` to ``samples`` with whole masks on the device it is on.

    Parameters
    ----------
    checkpoint
        File in which the state is kept as training goes on. If it exists and carries the
        same ``identity``, training goes on from it.
    identity
        Tells what the checkpoint belongs to, for instance a recipe's hash.
    ranks
        The processes that do this together; all of them call it.

    Yields
    ------
    Event
        A :class:`StepDone` after every step.

    Raises
    ------
    TrainingError
        If the checkpoint belongs to something else, or the loss is no longer finite.
    DeviceError
        If memory ran out.
    """
    training = RecipeTraining(network, samples, settings, augmentation, checkpoint, identity, ranks)
    yield from training.begin()
    yield from training.run()
    return training.network
