"""Background work: nothing is lost, everything is closed."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Generator
from typing import Any

import pytest
from qtpy.QtCore import QEvent

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Event, Message, Progress
from napari_sa2net.gui.jobs import worker
from napari_sa2net.gui.jobs.worker import Outcome, Task, describe_error


class Work:
    """A generator that tells whether it was closed."""

    def __init__(self, events: list[Event], error: Exception | None = None) -> None:
        self.events, self.error = events, error
        self.closed = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.thread: Any = None

    def __call__(self) -> Generator[Event, None, str]:
        self.thread = threading.current_thread()
        try:
            for event in self.events:
                yield event
                self.go.wait(10)
            if self.error is not None:
                raise self.error
            return "result"
        finally:
            self.closed.set()


def ended(qtbot: Any, task: Task) -> Outcome:
    """Run a task to its end."""
    with qtbot.waitSignal(task.ended, timeout=10_000) as signal:
        task.start()
    outcome: Outcome = signal.args[0]
    return outcome


def test_result_comes_back_from_another_thread(qtbot: Any) -> None:
    work = Work([Progress(1, 1)])
    assert ended(qtbot, Task(work)) == Outcome("done", "result")
    assert work.thread is not threading.main_thread()


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), InputError("Do this.")])
def test_no_error_is_swallowed(qtbot: Any, error: Exception) -> None:
    """superqt's worker drops a RuntimeError, and then nothing ever ends."""
    work = Work([Progress(1, 2)], error)
    outcome = ended(qtbot, Task(work))
    assert outcome.status == "failed"
    assert str(error) in outcome.error
    assert work.closed.is_set()


def test_error_before_the_first_event(qtbot: Any) -> None:
    def work() -> Generator[Event, None, None]:
        raise RuntimeError("no torch")

    assert ended(qtbot, Task(work)).status == "failed"


def test_cancel_closes_the_generator(qtbot: Any) -> None:
    work = Work([Progress(i, 100) for i in range(100)])
    work.go.clear()
    task = Task(work, "a job")
    with qtbot.waitSignal(task.happened, timeout=10_000):
        task.start()
    task.cancel()
    with qtbot.waitSignal(task.ended, timeout=10_000) as signal:
        work.go.set()
    assert signal.args[0].status == "cancelled"
    assert work.closed.is_set()
    assert task.wait(1)


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
def test_what_the_work_held_is_freed(qtbot: Any, how: str) -> None:
    """napari's task list keeps the worker, and a notification the error: not their images."""

    class Image:
        pass

    image = Image()
    alive = weakref.ref(image)

    def make(image: Image) -> Task:
        def work() -> Generator[Event, None, None]:
            held = [image]
            for tile in range(100):
                yield Progress(tile, 100)
                if how == "cancelled":
                    time.sleep(0.01)
            if how == "failed":
                raise RuntimeError("failed")
            held.clear()

        return Task(work)

    task = make(image)
    del image
    if how == "cancelled":
        task.happened.connect(lambda _: task.cancel())
    assert ended(qtbot, task).status == how
    gc.collect()
    assert alive() is None


def test_progress_is_thinned_but_messages_and_the_end_are_not(qtbot: Any) -> None:
    """At most four updates a second reach the window, whatever the network's speed."""
    events: list[Event] = [Progress(i, 1000) for i in range(1, 1001)]
    events[500:500] = [Message("one"), Message("two")]
    task = Task(Work(events))
    seen: list[Event] = []
    task.happened.connect(seen.append)
    ended(qtbot, task)
    assert [event.text for event in seen if isinstance(event, Message)] == ["one", "two"]
    progress = [event for event in seen if isinstance(event, Progress)]
    assert progress[-1] == Progress(1000, 1000)
    assert len(progress) < 100


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (InputError("Give 3 channels."), "Give 3 channels."),
        (MemoryError(), "Out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory, out of memory"), "cpu"),
        (OSError("[WinError 1114] A dynamic link library (DLL) failed"), "sa2net doctor"),
        (ImportError("No module named torch"), "sa2net doctor"),
        (PermissionError("x.tif"), "another folder"),
        (OSError(28, "No space left on device"), "free disk space"),
        (ZeroDivisionError(), "report"),
    ],
)
def test_every_error_says_what_to_do(error: Exception, wanted: str) -> None:
    assert wanted in describe_error(error)


def test_the_first_step_of_each_part_is_told(qtbot: Any) -> None:
    task = Task(Work([Progress(0, 1, "step"), *(Progress(n, 9, "tile") for n in range(5))]))
    seen: list[Event] = []
    task.happened.connect(seen.append)
    ended(qtbot, task)
    # Else the window goes on saying what it said before, as long as the next step takes.
    assert seen[:2] == [Progress(0, 1, "step"), Progress(0, 9, "tile")]
    assert len(seen) < 6


def test_only_what_takes_long_is_shown_in_the_activity_dock(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[dict[str, Any]] = []

    class Bar:
        n = 0

        def __init__(self, **given: Any) -> None:
            self.total = given["total"]
            bars.append(given)

        def update(self, steps: int) -> None:
            self.n += steps

        def close(self) -> None:
            pass

    monkeypatch.setattr(worker, "activity_bar", Bar)
    events = [Progress(n, 3) for n in range(4)]
    ended(qtbot, Task(Work(list(events)), "segmenting"))
    assert not bars
    monkeypatch.setattr(worker, "ACTIVITY_AFTER", 0)
    ended(qtbot, Task(Work(list(events))))
    assert not bars  # of a task without a description there is nothing to show
    ended(qtbot, Task(Work(list(events)), "segmenting"))
    assert bars == [{"total": 3, "desc": "segmenting"}]


def test_a_task_gets_the_events_of_qt(qtbot: Any) -> None:
    """A signal called ``event`` would take the place of what Qt calls."""
    assert isinstance(Task(lambda: iter(())).event(QEvent(QEvent.Type.User)), bool)
