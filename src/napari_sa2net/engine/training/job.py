"""A fine-tuning under way: the training, its state on disk, previews, and how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..devices import choose_device
from ..errors import SA2NetError, TrainingError
from ..events import Compared, Evaluated, Event, Message, Previewed, StepDone, run
from ..inference import segment
from ..instances import LabelSettings
from ..network import SA2Net
from ..segmentation import SegmentOptions, derived_classes
from ..weights import Model, save_model
from . import states
from .checkpoints import write_checkpoint
from .comparison import Comparison, compare
from .control import Control
from .painted import Painted
from .samples import Sample
from .scoring import score
from .settings import FineTuneSettings
from .targets import new_card
from .validation import Split, split

logger = logging.getLogger(__name__)

SAVE_EVERY = 20.0
"""Seconds between two savings of the state."""

IDENTITY = "fine-tuning 1"
"""Of the file in which a fine-tuning keeps its weights."""


@dataclass(frozen=True, eq=False)
class Preview:
    """An image on which a person wants to see what the model has learnt so far."""

    image: Any
    """Two axes and channels, as :func:`segment` takes it; best no more than a canvas shows."""
    axes: str | None = None
    rgb: bool = False
    channels: Sequence[int] | None = None
    diameter: float | None = None
    pixel_size: float | tuple[float, float] | None = None
    token: Any = None
    """Comes back with the result."""


LookAt = Callable[[], Preview | None]


@dataclass(frozen=True)
class FineTuned(Model):
    """The better of start model and trained one, with what is known of both."""

    trained: Model
    """The trained model, also where it is worse."""
    comparison: Comparison
    history: tuple[Evaluated, ...] = ()
    """How training went."""


def choose_result(
    start: Model | None,
    trained: Model,
    comparison: Comparison,
    history: tuple[Evaluated, ...],
    keep_worse: bool,
) -> FineTuned:
    """Return the trained model, or the start model where it was found better."""
    kept = trained
    if comparison.verdict == "worse" and start is not None and not keep_worse:
        kept = start
    return FineTuned(kept.network, kept.card, trained, comparison, history)


class Job:
    """One fine-tuning: the training, and what is done beside it."""

    def __init__(
        self,
        made: Model,
        start: Model | None,
        samples: list[Sample],
        settings: FineTuneSettings,
        plan: dict[str, Any],
        folder: Path | None,
    ) -> None:
        self.made, self.start, self.samples = made, start, samples
        self.settings, self.plan, self.folder = settings, plan, folder
        self.control: Control | None = None
        self.look: LookAt | None = None
        self.look_every = 5.0
        self.saved: dict[str, Any] | None = None
        self.derived = derived_classes(made.card)
        self._full = False  # it was said already that the state cannot be saved
        self._save_at = self._look_at = 0.0

    def begin(self) -> Generator[Event, None, None]:
        """Write what does not change while training goes on."""
        if self.folder is None:
            return
        try:
            if self.start is not None:
                save_model(self.start, self.folder / states.START)
            states.write_samples(self.folder, self.samples)
            self._write_plan(0, 0)
        except (SA2NetError, OSError) as error:
            for part in (states.START, states.SAMPLES, states.PLAN):  # of no use alone
                (self.folder / part).unlink(missing_ok=True)
            self.folder = None
            yield Message(
                f"The training cannot be kept on disk, and goes on without: {error}", warning=True
            )

    def run(self, device: str) -> Generator[Event, None, FineTuned]:
        """Train, compare, and make the new model."""
        choice = choose_device(device)
        yield Message(f"Running on {choice.reason}")
        parts = split(self.samples, self.settings.validation, seed=self.settings.seed)
        if parts.reason:
            yield Message(parts.reason)
        network = cast(SA2Net, self.made.network)  # never an ensemble: see fine_tune
        training = Painted(
            network.to(choice.device),
            parts.train,
            parts.validation,
            self.settings,
            self.derived,
            self.start is not None,
            self.start is not None and _same_parts(self.start, self.made),
        )
        if self.control is not None:
            control = self.control
            training.stopping = lambda: control.stopping
        if self.saved is not None:
            training.go_on(self.saved)
            yield training.say_where()
            yield from training.history
        yield from self._train(training)
        return (yield from self._finish(training, parts))

    def _train(self, training: Painted) -> Generator[Event, None, None]:
        """Drive the loop; whatever ends it, its state is saved."""
        events = training.run()
        self._save_at = time.monotonic() + SAVE_EVERY
        try:
            for event in events:
                yield event
                if isinstance(event, StepDone):
                    yield from self._between(training)
        finally:
            events.close()
            try:
                self._save(training)
            except (SA2NetError, OSError):
                logger.warning("The state of the training was not saved", exc_info=True)

    def _between(self, training: Painted) -> Generator[Event, None, None]:
        if time.monotonic() >= self._save_at:
            try:
                self._save(training)
            except (SA2NetError, OSError) as error:
                if not self._full:
                    text = f"The state of the training is not saved, training goes on: {error}"
                    yield Message(text, warning=True)
                self._full = True
            self._save_at = time.monotonic() + SAVE_EVERY
        if self.look is not None and time.monotonic() >= self._look_at:
            began = time.monotonic()
            yield from self._preview(training, self.look())
            # Never more than a tenth of the time, however large the preview.
            now = time.monotonic()
            self._look_at = now + max(self.look_every, 9 * (now - began))

    def _preview(self, training: Painted, asked: Preview | None) -> Generator[Event, None, None]:
        if asked is None:
            return
        model = Model(training.averaged, self.made.card)
        try:
            foreground = _foreground(asked, model, str(training.device))
        except SA2NetError as error:  # a preview must not end a training
            logger.info("No preview: %s", error)
            return
        yield Previewed(training.step, asked.token, foreground)

    def _save(self, training: Painted) -> None:
        if self.folder is None:
            return
        write_checkpoint(self.folder / states.STATE, IDENTITY, training.state())
        self._write_plan(training.step, training.total)

    def _write_plan(self, step: int, total: int, finished: bool = False) -> None:
        if self.folder is not None:
            now = {"step": step, "total": total, "finished": finished}
            images = self.plan["facts"]["images"]
            self.plan = {**self.plan, **now, "images": images}
            states.write_plan(self.folder, self.plan)

    def _finish(self, training: Painted, parts: Split) -> Generator[Event, None, FineTuned]:
        """Compare, and make the new model's card."""
        if not training.step:
            raise TrainingError("Training was stopped before its first step: nothing was learnt.")
        network, step = training.result()
        comparison = self._compare(Model(network, self.made.card), parts)
        facts = {**self.plan["facts"], "used": parts.pixels}
        history = tuple(training.history)
        card = new_card(
            self.made.card,
            self.plan["name"],
            self.start,
            facts,
            self.settings,
            comparison,
            {
                "steps": training.step,
                "seconds": round(training.seconds, 1),
                "best_step": step,
                "batch": training.batch,
                "patch": training.patch,
                "device": str(training.device),
                "history": [[e.step, e.figures, e.best] for e in history],
            },
        )
        trained = Model(network, card)
        yield Compared(comparison)
        result = choose_result(self.start, trained, comparison, history, self.plan["keep_worse"])
        try:
            if self.folder is not None:
                save_model(trained, self.folder / states.TRAINED)
                self._write_plan(training.step, training.step, finished=True)
        except SA2NetError as error:
            yield Message(
                f"The new model is there, but was not kept on disk: {error} Save it elsewhere.",
                warning=True,
            )
        return result

    def _compare(self, trained: Model, parts: Split) -> Comparison:
        card = trained.card
        names = {k: c.name for k, c in enumerate(card.classes) if k and not c.derived}
        if not parts.validation:
            return compare(None, None, names, parts.reason)
        after = score(trained.network, parts.validation, self.derived)
        if self.start is None:
            return compare(None, after, names)
        if self.start.network.in_channels != card.in_channels:
            reason = "The start model takes other channels: it cannot be compared."
            return compare(None, after, names, reason)
        before = score(self.start.network.cpu(), parts.validation, derived_classes(self.start.card))
        return compare(before, after, names)


def _same_parts(start: Model, made: Model) -> bool:
    """Return whether no part of the network was made anew for other classes or channels."""
    names = [[info.name for info in model.card.classes] for model in (start, made)]
    return names[0] == names[1] and start.network.in_channels == made.network.in_channels


def _foreground(asked: Preview, model: Model, device: str) -> NDArray[np.float32]:
    """Return the probability (H, W) of not being background."""
    options = SegmentOptions(
        axes=asked.axes,
        rgb=asked.rgb,
        channels=None if asked.channels is None else tuple(asked.channels),
        device=device,
        diameter=asked.diameter,
        pixel_size=asked.pixel_size,
        # Nobody looks at the labels: make them in the quickest way.
        labelling=LabelSettings(min_size=0, split=False, fill_holes=False, result="classes"),
    )
    found = run(segment(asked.image, model, options))
    if found.probabilities is None:
        raise SA2NetError("The preview gave no probabilities.")
    background = found.stack.view(found.probabilities[:1], 0)[0]
    foreground: NDArray[np.float32] = 1 - background.astype(np.float32)
    return foreground.clip(0, 1)
