"""The engine's training as the window uses it. Everything heavy is imported in the job's thread.

The window's tests put another object in its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...engine.events import Event, Progress
from ...engine.training.control import Control
from ..layers import LayerImage
from ..segmenting.backend import telling_device

LOADING = "loading PyTorch…"


@dataclass(frozen=True)
class Plan:
    """What a person chose for a training, besides the paintings."""

    model: str | None
    """Name of the model to start from, None to start from scratch."""
    settings: Any
    """A :class:`~napari_sa2net.engine.training.settings.FineTuneSettings`."""
    name: str
    """Of the new model, until the person gives another."""
    classes: tuple[Any, ...] | None = None
    """New classes, background first; None keeps those of the model."""
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class View:
    """What the canvas shows of an image, noted on the main thread; also its own token."""

    image: LayerImage
    """The crop."""
    channels: tuple[int, ...] | None
    diameter: float | None


LookAt = Callable[[], View | None]
"""Returns what the canvas shows now; may be called from any thread."""


class TrainBackend:
    """Calls the engine. The generators are made and run in a worker thread."""

    def settings(self) -> Any:
        """Return the default settings; quick, and without torch."""
        from ...engine.training.settings import FineTuneSettings

        return FineTuneSettings()

    def states(self) -> list[Any]:
        """List trainings whose state is kept: unfinished ones, and finished ones not yet kept."""
        from ...engine.folders import trainings_folder
        from ...engine.training.states import list_states

        return list(list_states(trainings_folder()))

    def new_state(self, name: str) -> Path:
        """Return a folder for the state of a training; it need not exist."""
        from ...engine.training import states

        return states.new_state(name)

    def discard(self, state: Path) -> None:
        """Forget a training.

        Raises
        ------
        TrainingError
            If its folder cannot be deleted.
        """
        from ...engine.training.states import PLAN, delete_state

        if (state / PLAN).is_file():
            delete_state(state)
        elif state.is_dir():  # it ended before there was anything to keep
            shutil.rmtree(state, ignore_errors=True)

    def load(self) -> Generator[Event, None, None]:
        """Import what a training needs."""
        yield Progress(0, 1, "step", LOADING)
        _load()

    def suggest(self, pairs: Sequence[Any], device: str) -> Generator[Event, None, Any]:
        """Try the models that are here; returns a ``Suggestion`` of the engine."""
        yield Progress(0, 1, "model", LOADING)
        from ...engine.training.ranking import suggest_start

        return (yield from telling_device(suggest_start(pairs, device=device)))

    def train(
        self,
        pairs: Sequence[Any],
        plan: Plan,
        state: Path,
        control: Control,
        look: LookAt,
    ) -> Generator[Event, None, Any]:
        """Fine-tune; returns a :class:`~napari_sa2net.engine.training.fine_tuning.FineTuned`."""
        yield Progress(0, 1, "step", "loading the model…")
        fine_tuning = _load()
        if plan.model is not None:
            yield from self._fetch(plan.model)
        events = fine_tuning.fine_tune(
            pairs,
            plan.model,
            plan.settings,
            name=plan.name,
            classes=plan.classes,
            device=plan.device,
            state=state,
            control=control,
            preview=_previewing(look),
        )
        return (yield from telling_device(events))

    def resume(
        self, state: Path, device: str, control: Control, look: LookAt
    ) -> Generator[Event, None, Any]:
        """Go on with a training from its state alone."""
        yield Progress(0, 1, "step", LOADING)
        events = _load().resume(state, device=device, control=control, preview=_previewing(look))
        return (yield from telling_device(events))

    def keep(self, model: Any, name: str) -> Generator[Event, None, Any]:
        """Add a model to the person's own; returns its entry in the list."""
        from ...engine import weights

        yield Progress(0, 1, "file", f"saving “{name}”")
        return weights.add_model(_named(model, name))

    def save_to(self, model: Any, name: str, path: Path) -> Generator[Event, None, Path]:
        """Save a model as a file anywhere."""
        from ...engine import weights

        yield Progress(0, 1, "file", f"saving {path.name}")
        weights.save_model(_named(model, name), path)
        return path

    def _fetch(self, name: str) -> Generator[Event, None, None]:
        from ...engine import weights

        if weights.find_model(name).path is None:
            yield from weights.fetch(name)


def _load() -> Any:
    """Import what a training and its plot need: seconds, the first time."""
    # No object of Qt is made by importing it, so this need not be the main thread.
    import pyqtgraph  # noqa: F401

    from ...engine.training import fine_tuning

    return fine_tuning


def _named(model: Any, name: str) -> Any:
    return replace(model, card=replace(model.card, name=name))


def _previewing(look: LookAt) -> Callable[[], Any]:
    """Return the engine's preview hook, which is called in the job's thread."""

    def preview() -> Any:
        from ...engine.training.fine_tuning import Preview

        view = look()
        if view is None:
            return None
        image = view.image
        return Preview(
            image.data,
            axes=image.axes,
            rgb=image.rgb,
            channels=None if image.rgb else view.channels,
            diameter=view.diameter,
            pixel_size=image.pixel_size_yx,
            token=view,
        )

    return preview
