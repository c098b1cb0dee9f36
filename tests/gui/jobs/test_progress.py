"""The bar and the line of a running job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_sa2net.gui.jobs.progress_bar import JobProgress
from napari_sa2net.gui.jobs.state import JobState


class Requests(QObject):  # type: ignore[misc]
    """Counts how often the window is laid out and drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[QEvent.Type] = []

    def eventFilter(self, _: Any, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Paint):
            self.seen.append(event.type())
        return False


@pytest.fixture
def progress(qtbot: Any) -> Iterator[JobProgress]:
    window, progress = QWidget(), JobProgress()
    layout = QVBoxLayout(window)
    layout.addWidget(progress)
    layout.addStretch(1)
    qtbot.addWidget(window)
    window.resize(400, 200)
    window.show()
    qtbot.waitExposed(window)
    yield progress
    window.close()


def test_it_shows_what_runs_and_nothing_else(progress: JobProgress) -> None:
    progress.show_state(JobState("segment", "tile 3 of 9", 3, 9), "Segmenting")
    assert progress.isVisible()
    assert progress.text() == "Segmenting: tile 3 of 9"
    assert (progress.bar.value(), progress.bar.maximum()) == (3, 9)
    progress.show_state(JobState(), "")
    assert not progress.isVisible()


def test_how_far_it_is_is_not_known_at_first(progress: JobProgress) -> None:
    progress.show_state(JobState("segment", "starting…"), "Segmenting")
    assert progress.bar.maximum() == 0  # Qt's way to say so


def test_the_window_is_drawn_once_and_never_laid_out_again(
    qtbot: Any, progress: JobProgress
) -> None:
    window = progress.window()
    progress.show_state(JobState("segment", "tile 1 of 9", 1, 9), "Segmenting")
    qtbot.wait(50)
    requests = Requests()
    window.installEventFilter(requests)
    progress.show_state(JobState("segment", "tile 2 of 9", 2, 9), "Segmenting")
    for _ in range(3):
        QApplication.processEvents()
    window.removeEventFilter(requests)
    assert requests.seen.count(QEvent.Type.LayoutRequest) == 0
    assert requests.seen.count(QEvent.Type.Paint) <= 1


def test_a_long_text_is_wrapped_and_shown_whole(qtbot: Any, progress: JobProgress) -> None:
    progress.window().resize(150, 200)
    progress.show_state(JobState("segment", "short", 1, 9), "A")
    qtbot.wait(20)
    low = progress.height()
    progress.show_state(JobState("segment", "a much longer text " * 5, 2, 9), "A")
    qtbot.waitUntil(lambda: progress.height() > low, timeout=1000)
