"""What runs jobs for a viewer: their state, what is said of them, and their end."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from ...engine.errors import SA2NetError
from ...engine.events import Event, Message, Progress
from ..layers import layer_id
from ..segmenting.backend import DeviceChosen
from . import heavy
from .lifetime import disown, unwrap, when_closed, window_of
from .state import (
    Clock,
    JobState,
    Kind,
    Note,
    progress_text,
)
from .worker import Outcome, Task, Work, describe_error

log = logging.getLogger(__name__)

Finish = Callable[[Any], None]


class JobHost(QObject):  # type: ignore[misc]
    """Runs one job at a time; ``changed`` is emitted when :attr:`state` or :attr:`notes` do.

    Parameters
    ----------
    viewer
        The viewer the jobs belong to.
    name
        Under which the viewer owns this (see :mod:`~napari_sa2net.gui.jobs.lifetime`).
    """

    changed = Signal()

    def __init__(self, viewer: Any, name: str) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self._owned_as = name
        self.state = JobState()
        self.notes: list[Note] = []
        self.chosen = ""
        """Id of the image's layer that is chosen in the window."""
        self._chosen_name = ""
        self._about = ("", "")
        """Id and name of the image's layer that the last job is about."""
        self.device = ""
        """What the last job ran on and why; empty before the first."""
        self._task: Task | None = None
        self._clock = Clock()
        self._windows: list[Any] = []
        self._closed = False

    def note(self, text: str, level: Any = "info") -> None:
        """Add a line to the message area, unless it is there already."""
        self._tell_note(Note(text, level, *self._about, beside=self.chosen))

    def fail(self, error: BaseException) -> None:
        """Show why something could not even start, beside the image that is chosen."""
        if not self.state.busy:
            self.notes = []
        about = (self.chosen, self._chosen_name)
        self._tell_note(Note(describe_error(error), "error", *about, beside=self.chosen))

    def choose_image(self, layer: Any) -> None:
        """Tell which image is chosen: what was said of another one is not to be read there."""
        chosen = "" if layer is None else layer_id(layer)
        self._chosen_name = "" if layer is None else str(layer.name)
        if chosen != self.chosen:
            self.chosen = chosen
            self.changed.emit()

    def told(self) -> list[Note]:
        """Return the notes to be read beside the image that is chosen."""
        return [n.told_beside(self.chosen) for n in self.notes if n.is_for(self.chosen)]

    def _tell_note(self, note: Note) -> None:
        if note not in self.notes:
            self.notes.append(note)
        self.changed.emit()

    def _run(
        self, kind: Kind, work: Work, finish: Finish, description: str = "", *, then: bool = False
    ) -> None:
        """Start a task; ``then`` says that ``finish`` goes on with the same job."""
        self._clock = Clock()
        task = Task(work, description)
        self._task = task

        def ended(outcome: Outcome) -> None:
            self._task = None
            if then and outcome.status == "done" and not self._closed:
                finish(outcome.result)
            else:
                self._ended(kind, outcome, finish)

        task.happened.connect(self._on_event)
        task.ended.connect(ended)
        self._set_state(JobState(kind, "starting…"))
        task.start()

    def _ended(self, kind: Kind, outcome: Outcome, finish: Finish) -> None:
        """Take note of a job's end, and show what it gave."""
        self.state = JobState()
        heavy.end(self._viewer(), kind)
        if self._closed:
            return
        if outcome.status == "done":
            try:
                finish(outcome.result)
            except Exception as error:
                self._could_not_show(error)
        elif outcome.status == "failed":
            self.note(outcome.error, "error")
        self.changed.emit()

    def _could_not_show(self, error: Exception) -> None:
        if not isinstance(error, SA2NetError):
            log.exception("what a job gave could not be shown", exc_info=error)
        self.note(describe_error(error), "error")

    def _on_event(self, event: Event) -> None:
        if self._closed or self._task is None:
            return
        if isinstance(event, DeviceChosen):
            self.device = event.text
            self.changed.emit()
        elif isinstance(event, Message):
            self.note(event.text, "warning" if event.warning else "info")
        elif isinstance(event, Progress):
            self._show(progress_text(event, self._clock.left(event)), event.done, event.total)
        else:
            self._on_other(event)

    def _on_other(self, event: Event) -> None:
        """Take an event of a kind that not all jobs have."""

    def _show(self, text: str, done: int, total: int) -> None:
        if self.state.cancelling:
            text = "stopping…"
        self._set_state(replace(self.state, text=text, done=done, total=total))

    def _set_state(self, state: JobState) -> None:
        self.state = state
        self.changed.emit()

    # --- the end ---------------------------------------------------------------------------

    def watch_window_of(self, widget: QWidget) -> None:
        """End everything when the main window that ``widget`` is in closes."""
        window = window_of(widget)
        if window is not None and window not in self._windows:
            self._windows.append(window)
            when_closed(window, self.shut_down)

    def shut_down(self) -> None:
        """Stop the job, and show nothing any more."""
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._let_go()
        self._windows = []
        viewer = self._viewer()
        if viewer is not None:
            disown(viewer, self._owned_as)

    def _let_go(self) -> None:
        """Let go of layers and results, as the viewer is gone."""
