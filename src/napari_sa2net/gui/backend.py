"""The engine as the window uses it. Everything heavy is imported when first called.

The window's tests put another object in its place.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.events import Event, Progress


@dataclass(frozen=True)
class DeviceChosen(Event):
    """The device a job runs on, and why."""

    device: str
    reason: str


@dataclass(frozen=True)
class Request:
    """One run of the network, checked and complete."""

    data: Any
    """The array."""
    model: str
    """Name of the model; it is downloaded first if need be."""
    options: dict[str, Any]
    """Fields of :class:`~napari_sa2net.engine.inference.SegmentOptions`."""
    labelling: Any
    keep: frozenset[str] = frozenset()
    """Maps wanted besides the labels."""
    plane: int | None = None
    """The plane whose maps are kept; None for all."""


@dataclass(frozen=True)
class Ran:
    """What a run gives."""

    segmentation: Any
    maps: dict[str, Any]


class Backend:
    """Calls the engine. The generators are made and run in a worker thread."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple[str, str, int], Any] | None = None

    def models(self) -> list[Any]:
        """List the models; quick, and without torch."""
        from ..engine import weights

        return weights.available_models()

    def fetch(self, name: str) -> Generator[Event, None, Any]:
        """Download a model."""
        from ..engine import weights

        return (yield from weights.fetch(name))

    def import_model(self, path: Path) -> Generator[Event, None, Any]:
        """Copy a model file into the user's folder; returns its entry."""
        from ..engine import weights

        yield Progress(0, 1, "file", f"reading {path.name}")
        return weights.import_model(path)

    def segment(self, request: Request) -> Generator[Event, None, Ran]:
        """Load (and if need be download) the model, then run it."""
        from ..engine import devices, inference

        choice = devices.choose_device(request.options.get("device", "auto"))
        yield DeviceChosen(choice.device, choice.reason)
        model = yield from self._load(request.model)
        options = inference.SegmentOptions(
            **request.options, labelling=request.labelling, keep=request.keep
        )
        segmentation = yield from inference.segment(request.data, model, options)
        return Ran(segmentation, {name: getattr(segmentation, name) for name in request.keep})

    def relabel(
        self, segmentation: Any, settings: Any, index: tuple[int, ...] | None
    ) -> Generator[Event, None, Any]:
        """Make labels again from probabilities, of one plane or of all, without the network."""
        from ..engine import inference

        yield Progress(0, 1, "plane")
        return inference.relabel(segmentation, settings, index)

    def _load(self, name: str) -> Generator[Event, None, Any]:
        from ..engine import weights

        entry = weights.find_model(name)
        path = entry.path
        if path is None:
            path = yield from weights.fetch(name)
        key = (name, str(path), Path(path).stat().st_mtime_ns)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # let go of the old one before reading the new
            self._loaded = (key, weights.load_model(Path(path)))
        return self._loaded[1]
