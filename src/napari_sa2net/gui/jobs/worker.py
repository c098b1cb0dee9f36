"""Running the engine's generators beside the window: the only code that knows of threads.

Why a thread of napari's own and not superqt's or a bare one: these show in napari's activity
dock and task list, and napari asks them to stop when it quits. What they lack is mended here:
they swallow a ``RuntimeError`` (running out of GPU memory is one) and leave the window busy,
they never close a generator that was stopped, and they hand on every single event.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress as activity_bar
from qtpy.QtCore import QObject, Signal

from ...engine.errors import SA2NetError
from ...engine.events import Event, Progress, StepDone
from ..plain import not_html

log = logging.getLogger(__name__)

Work = Callable[[], Generator[Event, None, Any]]
"""Starts the work; called in the thread, so that heavy imports happen there."""

UPDATE_INTERVAL = 0.25
"""Seconds between two progress events handed to the window: at most four a second."""

ACTIVITY_AFTER = 5.0
"""Seconds after which a task is shown in napari's activity dock as well. That makes a run of three
seconds some hundredths longer, and of one so short nobody reads it there."""

LOOK = 0.1
"""Seconds between two looks of a paused job at whether it was cancelled."""


class JobError(SA2NetError):
    """An error that ended a job, in words for a person."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    status: Literal["done", "cancelled", "failed"]
    result: Any = None
    error: str = ""
    """What went wrong and what to do (``failed`` only)."""


def describe_error(error: BaseException) -> str:
    """Say what ``error`` means and what to do, for the window."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, SA2NetError):
        return text
    lowered = text.lower()
    if isinstance(error, MemoryError) or "out of memory" in lowered:
        return (
            f"Out of memory ({text}). Close other layers and programs, keep fewer results, "
            "segment only the current plane, or choose the device “cpu”; then try again."
        )
    if isinstance(error, ImportError) or "dll" in lowered:
        return (
            f"A library could not be loaded ({text}). Run “sa2net doctor” in the terminal "
            "that starts napari: it says what is missing and how to mend it."
        )
    if isinstance(error, PermissionError):
        return f"Not allowed: {text}. Choose another folder, or change its permissions."
    if isinstance(error, OSError):
        return f"Reading or writing failed: {text}. Check the path and the free disk space."
    return (
        f"Unexpected {type(error).__name__}: {text}. Try again; if it comes back, please report "
        "it with the traceback that is in the terminal napari was started from."
    )


def _log_warning(message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
    """Send a library's warning to the log: as a pop-up it would tell a person nothing."""
    log.info("%s:%s: %s: %s", filename, lineno, category.__name__, message)


class _EngineWorker(GeneratorWorker):
    """A napari worker that always closes its generator and loses no error."""

    def __init__(self, function: Callable[..., Any], box: list[Work]) -> None:
        super().__init__(function, box)
        self._box = box
        self.ended = threading.Event()
        self.going = threading.Event()
        """Cleared while the work is paused."""
        self.going.set()

    def work(self) -> Any:
        """Drive the generator until it ends or someone calls ``quit``."""
        # superqt turns warnings into pop-ups, and restores this attribute by itself.
        warnings.showwarning = _log_warning  # type: ignore[assignment]
        generator = None
        try:
            # Taken out, as napari's task list keeps this worker, and that would keep the image.
            generator = self._box.pop()()
            return self._drive(generator)
        except Exception as error:
            problem = describe_error(error)
            if not isinstance(error, SA2NetError):
                log.error("A job failed.\n%s", traceback.format_exc())
        finally:
            try:
                if generator is not None:
                    generator.close()
            finally:
                self.ended.set()
        # Not from the error: its traceback holds images and tensors, and napari's notification,
        # which shows this one, would keep them as long as it runs. The log has it as text.
        raise JobError(problem)

    def _drive(self, generator: Generator[Event, None, Any]) -> Any:
        shown = 0.0
        while not self.abort_requested:
            if not self.going.wait(LOOK):
                continue
            try:
                event = next(generator)
            except StopIteration as stop:
                return stop.value
            now = time.monotonic()
            # Only what comes often may be left out: a message or a score comes once.
            if not _is_frequent(event):
                self.yielded.emit(event)
            elif now - shown >= UPDATE_INTERVAL:
                shown = now
                self.yielded.emit(event)
        self.aborted.emit()
        return None


def _is_frequent(event: Event) -> bool:
    """Whether ``event`` is one of many alike, and neither the first nor the last of them."""
    if isinstance(event, Progress):
        return 0 < event.done < event.total
    return isinstance(event, StepDone) and event.step < event.total


def _sa2net(box: list[Work]) -> Generator[Event, None, Any]:
    """Give napari's task list a name; :class:`_EngineWorker` calls the work itself."""
    return (yield from box.pop()())


class Task(QObject):  # type: ignore[misc]
    """One piece of work in the background.

    Parameters
    ----------
    work
        Returns the generator to run; called in the thread.
    description
        Shown in napari's activity dock if it takes longer than :data:`ACTIVITY_AFTER`; empty
        for work that is never to be shown there.

    Notes
    -----
    ``happened`` carries an :class:`~napari_sa2net.engine.events.Event`, ``ended`` the
    :class:`Outcome`; both arrive on the main thread. ``ended`` is emitted exactly once.
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, work: Work, description: str = "") -> None:
        super().__init__()
        self.description = description
        self._bar: Any = None
        self._started = math.inf
        self._drawing = False
        self._outcome: Outcome | None = None
        self._cancelled = False
        self._over = False
        self._worker = create_worker(
            _sa2net,
            [work],
            _start_thread=False,
            _worker_class=_EngineWorker,
            _connect={
                "yielded": self._on_event,
                "returned": self._on_returned,
                "errored": self._on_errored,
                "finished": self._on_finished,
            },
        )

    def start(self) -> None:
        """Start the thread."""
        self._started = time.monotonic()
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to stop at its next event; returns at once."""
        self._cancelled = True
        self._worker.quit()

    def pause(self) -> None:
        """Let the work rest after its next event, with all it holds; returns at once."""
        self._worker.going.clear()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._worker.going.set()

    @property
    def paused(self) -> bool:
        """Whether :meth:`pause` was called last."""
        return not self._worker.going.is_set()

    @property
    def cancelling(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    def wait(self, seconds: float) -> bool:
        """Wait until the thread has let go of everything; False if it took longer."""
        return bool(self._worker.ended.wait(seconds))

    def _on_event(self, event: Event) -> None:
        if self._over:
            return
        self.happened.emit(event)
        # napari's bar lets other events in while it draws: those of this task must not draw too,
        # or each would wait for the next.
        if not self.description or self._drawing or self._over:
            return
        if time.monotonic() - self._started < ACTIVITY_AFTER:
            return
        self._drawing = True
        try:
            if isinstance(event, Progress):
                self._show_in_activity(event)
            elif isinstance(event, StepDone):
                # In hundredths, as a training with a budget of time does not know its steps.
                part = round(100 * event.step / max(1, event.total))
                self._show_in_activity(Progress(part, 100, "%"))
        finally:
            self._drawing = False
        if self._over:
            self._close_bar()

    def _show_in_activity(self, event: Progress) -> None:
        if self._bar is not None and self._bar.total != event.total:
            self._bar.close()  # a job of two parts, such as a download and a run
            self._bar = None
        if self._bar is None:
            self._bar = activity_bar(total=event.total, desc=not_html(self.description))
        if event.done > self._bar.n:
            self._bar.update(event.done - self._bar.n)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _on_returned(self, result: Any) -> None:
        self._outcome = Outcome("done", result)

    def _on_errored(self, error: Exception) -> None:
        self._outcome = Outcome("failed", error=str(error))

    def _on_finished(self) -> None:
        if self._over:
            return
        self._over = True
        if not self._drawing:
            self._close_bar()
        outcome = self._outcome or Outcome("cancelled")
        if self._cancelled and outcome.status == "done":
            outcome = Outcome("cancelled")
        self._outcome = None  # the result belongs to whoever listens
        self.ended.emit(outcome)
