"""The tab "Correct & fine-tune" with a training that needs no torch, pausable and stoppable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.events import Evaluated, Event, Message, Previewed, Progress, StepDone
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.engine.training.comparison import Comparison
from napari_sa2net.engine.training.control import Control
from napari_sa2net.engine.training.ranking import Ranked, Suggestion
from napari_sa2net.engine.training.settings import FineTuneSettings
from napari_sa2net.gui.training.backend import LookAt, Plan

CARD = ModelCard(
    name="own",
    num_classes=3,
    classes=(
        ClassInfo("background", "#000000"),
        ClassInfo("thing", "#ff0000"),
        ClassInfo("boundary", "#0000ff", derived=True),
    ),
)


@dataclass(frozen=True)
class Tuned:
    """Stands in for a FineTuned."""

    card: Any
    trained: Any
    comparison: Comparison


@dataclass(frozen=True)
class Saved:
    """Stands in for a SavedState."""

    path: Path
    name: str
    step: int = 12
    total: int = 30
    when: float = 0.0
    finished: bool = False


class FakeTraining:
    """Trains nothing, step by step."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        """Each step waits for this."""
        self.gate.set()
        self.steps = 30
        self.pace = 0.0
        self.verdict = "better"
        self.error: Exception | None = None
        self.save_error: Exception | None = None
        self.trained: list[tuple[list[Any], Plan]] = []
        self.resumed: list[Path] = []
        self.kept: list[str] = []
        self.saved: list[Path] = []
        self.discarded: list[Path] = []
        self.left: list[Saved] = []
        self.views: list[Any] = []
        self.step = 0
        self.running = 0
        self.suggestion = Suggestion(
            (Ranked("own", 0.93, 0.9, 0.95, 20, 0.5), Ranked("fake", 0.61, 0.5, 0.7, 20, 0.5))
        )
        self.asked: list[tuple[list[Any], str]] = []
        """What was to be scored, and where."""

    def settings(self) -> FineTuneSettings:
        """Return the engine's defaults."""
        return FineTuneSettings()

    def states(self) -> list[Saved]:
        """List what was left."""
        return [saved for saved in self.left if saved.path not in self.discarded]

    def new_state(self, name: str) -> Path:
        """Return a folder that is never made."""
        return Path(f"state of {name}")

    def discard(self, state: Path) -> None:
        """Note it."""
        self.discarded.append(state)

    def load(self) -> Generator[Event, None, None]:
        """Load nothing."""
        yield Progress(0, 1, "step", "loading…")

    def suggest(self, pairs: Any, device: str) -> Generator[Event, None, Suggestion]:
        """Pretend to try ten models."""
        self.asked.append((list(pairs), device))
        self.running += 1
        try:
            for number in range(1, 11):
                self.gate.wait(10)
                yield Progress(number, 10, "region")
            if self.error is not None:
                raise self.error
            return self.suggestion
        finally:
            self.running -= 1

    def train(
        self, pairs: Any, plan: Plan, state: Path, control: Control, look: LookAt
    ) -> Generator[Event, None, Any]:
        """Pretend to learn."""
        self.trained.append((list(pairs), plan))
        return (yield from self._steps(0, plan.name, control, look))

    def resume(
        self, state: Path, device: str, control: Control, look: LookAt
    ) -> Generator[Event, None, Any]:
        """Pretend to go on."""
        self.resumed.append(state)
        return (yield from self._steps(12, state.name, control, look))

    def _steps(
        self, first: int, name: str, control: Control, look: LookAt
    ) -> Generator[Event, None, Any]:
        self.running += 1
        try:
            yield Message("Split: 6 blocks are held out.")
            yield Evaluated(first, {"validation loss": 0.9, "validation Dice": 0.61})
            for step in range(first + 1, self.steps + 1):
                self.gate.wait(10)
                time.sleep(self.pace)
                self.step = step
                yield StepDone(step, self.steps, 1 / step, 1e-3, self.pace)
                if control.stopping:
                    break
                if step % 10 == 0:
                    part = step / self.steps
                    yield Evaluated(
                        step,
                        {
                            "validation loss": 0.9 - 0.5 * part,
                            "validation Dice": 0.61 + 0.2 * part,
                            "training Dice": 0.6 + 0.3 * part,
                        },
                    )
                    view = look()
                    if view is not None:
                        self.views.append(view)
                        shape = view.image.result_shape()[-2:]
                        yield Previewed(step, view, np.full(shape, part, np.float32))
            if self.error is not None:
                raise self.error
            text = f"Dice 0.61 before and 0.78 after, on 3412 held-out pixels: {self.verdict}."
            comparison = Comparison(0.61, 0.78, self.verdict, text, {}, 3412, 6, 0.05, 0.22)
            return Tuned("start", f"new {name}", comparison)
        finally:
            self.running -= 1

    def keep(self, model: Any, name: str) -> Generator[Event, None, Any]:
        """Note it; the list of models has it from then on."""
        yield Progress(0, 1, "file")
        if self.save_error is not None:
            raise self.save_error
        self.kept.append(name)
        return self.entry(name)

    def entry(self, name: str) -> Any:
        """Return the entry of a kept model."""
        return ModelEntry(replace(CARD, name=name), "trained", Path(name))

    def save_to(self, model: Any, name: str, path: Path) -> Generator[Event, None, Path]:
        """Note it."""
        yield Progress(0, 1, "file")
        self.saved.append(path)
        return path


@pytest.fixture
def training() -> FakeTraining:
    """Return a training that does as it is told."""
    return FakeTraining()


@pytest.fixture
def left_over(training: FakeTraining) -> list[Saved]:
    """Return two trainings that were left."""
    training.left = [Saved(Path("one"), "cells"), Saved(Path("two"), "spores", finished=True)]
    return training.left


@pytest.fixture
def open_tab(
    make_napari_viewer_proxy: Callable[..., Any], backend: Any, training: FakeTraining
) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the tab in a viewer (a new one if none is given)."""
    from napari_sa2net.gui.main_widget import MainWidget
    from napari_sa2net.gui.segmenting.job import controller_of
    from napari_sa2net.gui.training.job import trainer_of

    models = backend.models
    backend.models = lambda: models() + [training.entry(name) for name in training.kept]

    def open_in(viewer: Any = None) -> tuple[Any, Any]:
        viewer = viewer if viewer is not None else make_napari_viewer_proxy()
        controller_of(viewer, backend=backend)
        trainer_of(viewer, backend=training)
        widget = MainWidget(viewer)
        viewer.window.add_dock_widget(widget, name="SA2-Net")
        widget.tabs.setCurrentWidget(widget.train)
        return viewer, widget

    yield open_in
    training.gate.set()
    backend.gate.set()


def paint(viewer: Any, widget: Any, image: Any, name: str = "cells", **options: Any) -> Any:
    """Open an image, make an annotation layer and paint a few strokes."""
    viewer.add_image(image, name=name, **options)
    widget.train.annotate.new.click()
    layer = viewer.layers[f"{name} annotation"]
    layer.data[..., 7:12, 7:12] = 2
    layer.data[..., 20:24, 2:40] = 1
    return layer


@pytest.fixture
def painted(open_tab: Callable[..., Any], things: Any) -> tuple[Any, Any, Any]:
    """Return a viewer, the widget and an annotation layer with strokes."""
    viewer, widget = open_tab()
    return viewer, widget, paint(viewer, widget, things)
