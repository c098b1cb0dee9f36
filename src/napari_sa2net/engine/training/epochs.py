"""Training in passes over all images, ended by the images of a fold that is held out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import layout_for
from ..events import Evaluated, Event
from ..execution.maps import probabilities
from ..metrics import dice, iou
from ..network import SA2Net
from ..tiling import pad
from .augment import Augmentation
from .loop import RecipeTraining
from .ranks import Ranks
from .samples import Batch, Sample, cut_batch
from .settings import TrainingSettings

Score = tuple[float, float]
"""Dice and IoU of an image's foreground."""


@dataclass(frozen=True)
class EpochDone(Evaluated):
    """A pass over all images is done, and the network was scored on those held out."""

    epoch: int = 0
    """From 1 on."""
    scores: tuple[Score, ...] = ()
    """One an image."""


def foreground(network: SA2Net, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability (H, W) of not being background, of the finest stage.

    Parameters
    ----------
    network
        In evaluation mode.
    image
        (C, H, W) normalised; a single channel is shown in all of the network's.
    """
    height, width = image.shape[1:]
    x = torch.from_numpy(np.ascontiguousarray(pad(image)))[None]
    device = next(network.parameters()).device
    x = x.expand(-1, network.in_channels, -1, -1).to(device)
    with torch.inference_mode():
        p = 1 - probabilities(network(x.contiguous(memory_format=layout_for(str(device))))[0])[0, 0]
    found: NDArray[np.float32] = p[:height, :width].float().cpu().numpy()
    return found


def score(probability: NDArray[np.float32], labels: NDArray[Any]) -> Score:
    """Return Dice and IoU of what is more probable than not, against labels above 0."""
    found = probability > 0.5
    return dice(found, labels), iou(found, labels)


def cycle_factor(epoch: int, settings: TrainingSettings) -> float:
    """Return the rate in a pass (from 0 on) as a share of the highest: a cosine, over and over."""
    done = (epoch % settings.cycle) / settings.cycle
    lowest = settings.lowest_rate
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done))


class EpochTraining(RecipeTraining):
    """A training on whole masks in passes over all images."""

    def __init__(
        self,
        network: SA2Net,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        settings: TrainingSettings,
        augmentation: Augmentation,
        checkpoint: Path | None,
        identity: str,
        ranks: Ranks | None = None,
    ) -> None:
        self.per_epoch = math.ceil(len(samples) / settings.batch)
        steps = dataclasses.replace(settings, steps=settings.epochs * self.per_epoch)
        super().__init__(network, samples, steps, augmentation, checkpoint, identity, ranks)
        self.validation = validation
        self.order: list[int] = []
        self.history: list[list[list[float]]] = []
        """Dice and IoU of each held-out image after each pass."""
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}

    def finished(self) -> bool:
        """Tell whether all passes are done, or it has not got better for too long."""
        patience = self.settings.patience
        return super().finished() or 0 < patience <= len(self.history) - self.best_epoch

    def rate(self) -> float:
        """Follow the recipe's schedule."""
        if self.settings.cycle:
            return cycle_factor(self.step // self.per_epoch, self.settings)
        return super().rate()

    def draw(self) -> Batch:
        """Take the next images of the pass."""
        settings = self.settings
        place = self.step % self.per_epoch
        if place == 0:
            order: list[int] = self.rng.permutation(len(self.samples)).tolist()
            self.order = self.ranks.shared(lambda: order)
        chosen = self.order[place * settings.batch : (place + 1) * settings.batch]
        return cut_batch(
            self.samples,
            [(i, None) for i in self.ranks.own(chosen)],
            self.network.in_channels,
            settings,
            self.augmentation,
            self.rng,
        )

    def after_step(self) -> Generator[Event, None, None]:
        """Score the held-out images at the end of a pass; write the state when it is time."""
        if self.validation and self.step % self.per_epoch == 0:
            self._score()
            yield self._told(len(self.history))
        yield from super().after_step()

    def _score(self) -> None:
        self.network.eval()
        self.history.append(self.ranks.shared(self._scores))
        self.train_mode()
        if _best(self.history) == len(self.history):
            self.best_epoch = len(self.history)
            self.best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def _scores(self) -> list[list[float]]:
        return [
            list(score(foreground(self.network, sample.image), sample.labels))
            for sample in self.validation
        ]

    def _told(self, epoch: int) -> EpochDone:
        """Return what the scores after a pass were, for whoever listens."""
        scores = self.history[epoch - 1]
        means = np.mean(scores, axis=0)
        return EpochDone(
            step=epoch * self.per_epoch,
            figures={"validation Dice": float(means[0]), "validation IoU": float(means[1])},
            best=_best(self.history[:epoch]) == epoch,
            epoch=epoch,
            scores=tuple((d, i) for d, i in scores),
        )

    def begin(self) -> Generator[Event, None, None]:
        """Go on, and tell again of the passes that were done before."""
        yield from super().begin()
        for epoch in range(1, len(self.history) + 1):
            yield self._told(epoch)

    def keep_best(self) -> None:
        """Give the network the weights of the best pass, if any was scored."""
        if self.best:
            self.network.load_state_dict(self.best)

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {
            **super().state(),
            "order": self.order,
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from a state that was written."""
        super().go_on(state)
        self.order, self.history = state["order"], state["history"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]


def _best(history: Sequence[Sequence[Sequence[float]]]) -> int:
    """Return the number, from 1 on, of the pass with the highest mean Dice; the first of equals."""
    return 1 + int(np.array(history)[:, :, 0].mean(axis=1).argmax())


def fit_epochs(
    network: SA2Net,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingSettings,
    augmentation: Augmentation,
    checkpoint: Path | None = None,
    identity: str = "",
    ranks: Ranks | None = None,
) -> Generator[Event, None, tuple[SA2Net, int]]:
    """Fit ``network`` to ``samples`` in passes, on the device it is on.

    Parameters
    ----------
    validation
        Held-out images with true masks. The weights of the pass with the highest mean Dice on
        them are kept. Without any the last ones are.
    checkpoint, identity, ranks
        See :func:`~napari_sa2net.engine.training.loop.fit`.

    Yields
    ------
    Event
        A :class:`StepDone` after every step and an :class:`EpochDone` after every pass, also
        after those of a training that is gone on with.

    Returns
    -------
    tuple
        The network, and the number of the pass whose weights it has, from 1 on.

    Raises
    ------
    TrainingError
        If the checkpoint belongs to something else, or the loss is no longer finite.
    DeviceError
        If memory ran out.
    """
    training = EpochTraining(
        network, samples, validation, settings, augmentation, checkpoint, identity, ranks
    )
    yield from training.begin()
    yield from training.run()
    training.keep_best()
    return training.network, training.best_epoch or settings.epochs
