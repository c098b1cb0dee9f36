"""Fine-tuning without the window: the job, its history, its result.

As with :class:`~napari_sa2net.gui.segmenting.job.SegmentController`, a job belongs to the viewer:
the dock can be closed and opened again, and closing the viewer's window ends the job within a
step, with its state saved.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal

from ...engine.errors import InputError, SA2NetError
from ...engine.events import (
    Downloaded,
    Evaluated,
    Event,
    Previewed,
    StepDone,
)
from ...engine.training.control import Control
from ..annotating.pairs import PairList
from ..annotating.where_next import Query, WhereNext
from ..jobs import heavy
from ..jobs.host import Finish, JobHost
from ..jobs.lifetime import owned_by, unwrap
from ..jobs.state import (
    History,
    JobState,
    Kind,
    step_text,
)
from ..jobs.stepwise import Stepwise
from ..jobs.worker import Outcome, Work, describe_error
from ..segmenting.job import SegmentController, controller_of
from .backend import Plan, TrainBackend
from .preview import TrainingPreview

log = logging.getLogger(__name__)

_at_work: set[Path] = set()
"""Folders of the trainings that run now, in whichever viewer."""

STOPPABLE = ("train", "rank")
"""Kinds of jobs that a person may end."""

DISCARDED = "Stopped before the first step: there is nothing to keep."


@dataclass
class Finished:
    """A training that is over, and what the person decided."""

    tuned: Any
    """A :class:`~napari_sa2net.engine.training.fine_tuning.FineTuned`."""
    state: Path
    """Folder of its state, which is kept until the decision."""
    name: str
    """Proposed for the new model."""
    decision: str = ""
    """Empty, "new" or "start"."""
    save_failed: bool = False


class TrainController(JobHost):
    """Runs the fine-tuning of one viewer.

    ``changed`` is emitted whenever :attr:`state`, :attr:`notes` or :attr:`result` change,
    ``progressed`` when :attr:`history` does, ``offers_changed`` when there may be another
    list of trainings to go on with, and ``suggested`` with a ``Suggestion`` of the engine.
    """

    progressed = Signal()
    offers_changed = Signal()
    suggested = Signal(object)

    def __init__(self, viewer: Any, segment: SegmentController, backend: Any = None) -> None:
        super().__init__(viewer, "train")
        self.segment = segment
        self.backend = backend or TrainBackend()
        self.pairs = PairList(viewer)
        self.preview = TrainingPreview()
        self.where = WhereNext(weakref.proxy(unwrap(viewer)), segment.backend.segment)
        self.history = History()
        self.result: Finished | None = None
        self.form: dict[str, Any] = {}
        """What the window showed last, for when it is opened again."""
        self._reading: Stepwise | None = None
        self._stop: Control | None = None
        self._folder: Path | None = None
        self._stepped = False
        self.pairs.lost.connect(self._on_lost)
        self.pairs.told.connect(lambda text: self.note(text, "warning"))

    # --- a training ------------------------------------------------------------------------

    def train(self, plan: Plan) -> None:
        """Read the paintings and train on them."""
        if self.state.busy or self._closed:
            return
        try:
            self.pairs.wanted()
        except InputError as error:
            self.fail(error)
            return
        state, control, look = self.backend.new_state(plan.name), Control(), self.preview.look

        def learn(pairs: list[Any]) -> None:
            self._run(
                "train",
                lambda: self.backend.train(pairs, plan, state, control, look),
                shown,
                f"SA2-Net: {plan.name}",
            )

        def shown(tuned: Any) -> None:
            self.result = Finished(tuned, state, plan.name)

        if self._begin(state, control):
            self._read("train", learn)

    def _read(self, kind: Kind, go_on: Callable[[list[Any]], None]) -> None:
        """Copy what is painted, as the first part of a job, and hand it to ``go_on``."""

        def read(_: Any) -> None:
            self._set_state(JobState(kind, "reading what is painted…"))
            self._reading = Stepwise(self.pairs.read(self._viewer()), done, refused)
            self._reading.start()

        def done(pairs: list[Any]) -> None:
            self._reading = None
            go_on(pairs)

        def refused(error: Exception) -> None:
            self._reading = None
            if not isinstance(error, SA2NetError):
                log.exception("a painting could not be read", exc_info=error)
            self._ended(kind, Outcome("failed", error=describe_error(error)), lambda _: None)

        # PyTorch first, in the thread: reading needs it too, and must be on this one.
        self._run(kind, self.backend.load, read, then=True)

    def resume(self, saved: Any, device: str = "auto") -> None:
        """Go on with a training whose state was kept."""
        if self.state.busy or self._closed:
            return
        control, look = Control(), self.preview.look

        def shown(tuned: Any) -> None:
            self.result = Finished(tuned, saved.path, saved.name)

        if self._begin(saved.path, control):
            self._stepped = True  # stopping it loses nothing, at any time
            self._run(
                "train",
                lambda: self.backend.resume(saved.path, device, control, look),
                shown,
                f"SA2-Net: {saved.name}",
            )

    def _begin(self, state: Path, control: Control) -> bool:
        try:
            heavy.begin(self._viewer(), "train")
        except InputError as error:
            self.fail(error)
            return False
        _at_work.add(state)
        self.result, self.history, self._stepped = None, History(), False
        self._folder, self._stop, self.device = state, control, ""
        self.notes = []
        self.preview.begin()
        self.preview.update(self._viewer())
        self.progressed.emit()
        self.offers_changed.emit()
        return True

    def stop(self) -> None:
        """End a training early with the best so far; without a step done, or else, at once."""
        if self.state.kind not in STOPPABLE:
            return
        if self._stop is not None:
            self._stop.stop()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
            self._ended(self.state.kind, Outcome("cancelled"), lambda _: None)
            return
        if self._task is not None:
            self._task.resume()
            if self.state.kind != "train" or not self._stepped:
                self._task.cancel()
        self._set_state(replace(self.state, cancelling=True, paused=False, text="stopping…"))

    def pause(self, on: bool) -> None:
        """Rest after the step at work, or go on."""
        if self._task is None or self.state.kind != "train" or self.state.cancelling:
            return
        if on:
            self._task.pause()
        else:
            self._task.resume()
        self._set_state(replace(self.state, paused=on))

    # --- what to start from ----------------------------------------------------------------

    def suggest(self, device: str) -> None:
        """Try the models that are here on what is painted, and say which to start from."""
        if self.state.busy or self._closed:
            return
        try:
            self.pairs.wanted()
            heavy.begin(self._viewer(), "rank")
        except InputError as error:
            self.fail(error)
            return

        def rank(pairs: list[Any]) -> None:
            self._run(
                "rank",
                lambda: self.backend.suggest(pairs, device),
                shown,
                "SA2-Net: what to start from",
            )

        def shown(suggestion: Any) -> None:
            self.note(suggestion.text, "info" if suggestion.known else "warning")
            if suggestion.known:
                self.suggested.emit(suggestion)

        self.notes = []
        self._read("rank", rank)

    # --- its result ------------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Add the new model to the person's own under ``name``, and choose it everywhere."""
        result = self.result
        if result is None or self.state.busy:
            return
        if not name.strip():
            self.fail(InputError("Give the new model a name first."))
            return

        def finish(entry: Any) -> None:
            self._decide(result, "new")
            self.note(f"“{entry.card.name}” is saved, and chosen in the list of models.")
            self.segment.models_changed.emit(entry.card.name)

        self.notes = []
        self._run("keep", lambda: self.backend.keep(result.tuned.trained, name.strip()), finish)

    def save_to(self, path: Path) -> None:
        """Save the new model to a file of the person's choice, where the usual place failed."""
        result = self.result
        if result is None or self.state.busy:
            return

        def finish(saved: Path) -> None:
            self._decide(result, "new")
            self.note(f"Saved {saved}. “Import a model file…” brings it into the list of models.")

        self.notes = []
        self._run(
            "keep", lambda: self.backend.save_to(result.tuned.trained, path.stem, path), finish
        )

    def keep_start(self) -> None:
        """Go on with the model from before; the new one is not kept."""
        if self.result is not None and not self.state.busy:
            self._decide(self.result, "start")

    def _decide(self, result: Finished, decision: str) -> None:
        result.decision, result.save_failed = decision, False
        self._forget(result.state)
        self.preview.remove(self._viewer())
        self.changed.emit()

    def _forget(self, state: Path) -> None:
        try:
            self.backend.discard(state)
        except SA2NetError as error:
            self.note(str(error), "warning")
        self.offers_changed.emit()

    # --- where next ------------------------------------------------------------------------

    def where_next(self, query: Query) -> None:
        """Go to the place where the next stroke teaches most; may run the network first."""

        def run(work: Work, finish: Callable[[Any], None]) -> None:
            if self.state.busy or self._closed:
                raise InputError(heavy.WHAT["train"])
            heavy.begin(self._viewer(), "look")
            self._run("look", work, finish, "SA2-Net: where next?")

        self.notes = [] if not self.state.busy else self.notes
        try:
            self.where.press(query, run, self.note)
        except Exception as error:
            self.fail(error)

    # --- trainings left over ---------------------------------------------------------------

    def offers(self) -> list[Any]:
        """Return the trainings that a person may go on with: not the one at work or shown."""
        mine = set(_at_work)
        if self.result is not None:
            mine.add(self.result.state)
        try:
            return [saved for saved in self.backend.states() if saved.path not in mine]
        except Exception as error:
            log.warning("The list of trainings cannot be read: %s", error)
            return []

    def discard(self, saved: Any) -> None:
        """Forget a training."""
        self._forget(saved.path)

    # --- running ---------------------------------------------------------------------------

    def _ended(self, kind: Kind, outcome: Outcome, finish: Finish) -> None:
        stop, self._stop = self._stop, None
        if kind == "train" and self._folder is not None:
            _at_work.discard(self._folder)
        self.preview.forget()
        if outcome.status == "failed" and kind == "keep" and self.result is not None:
            self.result.save_failed = True
        given_up = outcome.status == "cancelled" and not self._closed
        if given_up and stop is not None and stop.stopping and self._folder is not None:
            self._forget(self._folder)
            self.note(DISCARDED)
        super()._ended(kind, outcome, finish)
        if not self._closed:
            self.offers_changed.emit()

    def _on_other(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self._stepped = True
            self._add(event)
            self._show(step_text(event), event.step, event.total)
            self.preview.update(self._viewer())
        elif isinstance(event, Evaluated):
            self._add(event)
        elif isinstance(event, Previewed):
            self._show_preview(event)
        elif isinstance(event, Downloaded):
            self.segment.models_changed.emit("")

    def _add(self, event: StepDone | Evaluated) -> None:
        self.history.add(event)
        self.progressed.emit()

    def _show_preview(self, event: Previewed) -> None:
        try:
            self.preview.write(self._viewer(), event.token, event.foreground)
        except Exception as error:  # a preview must not end a training
            log.warning("The preview could not be shown: %s", error)

    def _on_lost(self, name: str) -> None:
        if self.state.kind == "train":
            self.note(
                f"“{name}” was removed. The training goes on: it has a copy of what was painted.",
                "warning",
            )

    def _let_go(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self.preview.forget()
        self.preview.show_image(None)
        self.pairs.clear()
        self.result = None


def trainer_of(viewer: Any, **parts: Any) -> TrainController:
    """Return the trainer of ``viewer``; ``parts`` (backend) only when it is made."""
    return owned_by(
        viewer, "train", lambda: TrainController(viewer, controller_of(viewer), **parts)
    )
