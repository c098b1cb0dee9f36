"""The engine as the window uses it. Everything heavy is imported when first called.

The window's tests put another object in its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from ...engine.errors import InputError
from ...engine.events import Event, Message, Progress
from ...engine.folders import expanded

RUNNING_ON = "Running on "
"""How the engine's message of the device begins."""


@dataclass(frozen=True)
class DeviceChosen(Message):
    """The device a job runs on, and why."""


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
    """A :class:`~napari_sa2net.engine.instances.LabelSettings`; None for the model's own."""
    keep: frozenset[str] = frozenset()
    """Maps wanted besides the labels."""
    plane: tuple[int, ...] | None = None
    """Place over T and Z of the plane whose maps are kept; None for all planes."""


@dataclass(frozen=True)
class LargeRequest:
    """A run of the network block by block, into a folder on the disk."""

    request: Request
    folder: Path
    """Where results are; each has a folder of its own in it, by what it is made from."""
    order: Any
    """Returns which of the remaining blocks comes next."""
    sizes: dict[str, float]
    """Size of a step along Z, Y and X in µm, where it is known."""
    names: tuple[str, ...] = ()
    """Of the image's channels, where they are layers."""
    shown: frozenset[Path] = frozenset()
    """Results that layers show; others are removed to make room."""


@dataclass(frozen=True)
class StoreChosen(Event):
    """Where a large result is made."""

    path: Path


@dataclass(frozen=True)
class Stored:
    """What a large run gives: labels on the disk, and what made them."""

    result: Any
    """A :class:`~napari_sa2net.engine.blocks.job.ZarrResult`."""
    large: LargeRequest
    """What was asked for."""
    card: Any
    options: Any
    """The options of the run, with ``labelling``."""
    device: str
    version: str


@dataclass(frozen=True)
class FolderRequest:
    """A folder of images to be segmented, checked and complete."""

    images: Path
    output: Path
    save: tuple[str, ...]
    """What is written besides the labels, of
    :data:`~napari_sa2net.engine.batch.kinds.MEASURES`."""
    replace: bool
    """Make results again that are there; else what is done is skipped."""
    model: str
    options: dict[str, Any]
    """See :func:`~napari_sa2net.engine.options.resolve_options`."""


@dataclass(frozen=True)
class Ran:
    """What a run gives."""

    segmentation: Any
    maps: dict[str, Any]


def plane_slices(axes: str, index: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of one plane, T and Z kept with length 1."""
    places = iter(index)
    found = []
    for axis in axes:
        place = next(places) if axis in "TZ" else None
        found.append(slice(None) if place is None else slice(place, place + 1))
    return tuple(found)


def plane_number(shape: tuple[int, ...], axes: str, index: tuple[int, ...]) -> int:
    """Return the number of a plane, counted over T, then Z."""
    lengths = dict(zip(axes, shape, strict=True))
    places = dict(zip((axis for axis in axes if axis in "TZ"), index, strict=True))
    return places.get("T", 0) * lengths.get("Z", 1) + places.get("Z", 0)


def forget_maps(segmentation: Any) -> Any:
    """Return the segmentation without the maps that the layers hold from now on."""
    return replace(segmentation, stages=None, attention=None, disagreement=None)


def telling_device(events: Generator[Event, None, Any]) -> Generator[Event, None, Any]:
    """Mark the engine's own message of the device, which has its place in the window already."""
    try:
        while True:
            event = next(events)
            if isinstance(event, Message) and event.text.startswith(RUNNING_ON):
                event = DeviceChosen(event.text, event.warning)
            yield event
    except StopIteration as stop:
        return stop.value
    finally:
        events.close()


class Backend:
    """Calls the engine. The generators are made and run in a worker thread."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple[str, str, int], Any] | None = None

    def models(self) -> list[Any]:
        """List the models; quick, and without torch."""
        from ...engine import weights

        return weights.available_models()

    def fetch(self, name: str) -> Generator[Event, None, Any]:
        """Download a model."""
        from ...engine import weights

        return (yield from weights.fetch(name))

    def import_model(self, path: Path) -> Generator[Event, None, Any]:
        """Copy a model file into the user's folder; returns its entry."""
        from ...engine import weights

        yield Progress(0, 1, "file", f"reading {path.name}")
        return weights.import_model(path)

    def segment(self, request: Request) -> Generator[Event, None, Ran]:
        """Load (and if need be download) the model, then run it."""
        yield Progress(0, 1, "step", "loading PyTorch and the model…")  # seconds, the first time
        from ...engine import devices, inference

        choice = devices.choose_device(request.options.get("device", "auto"))
        yield DeviceChosen(RUNNING_ON + choice.reason)
        model = yield from self._load(request.model)
        number = None
        if request.plane is not None:
            number = (plane_number(request.data.shape, request.options["axes"], request.plane),)
        options = inference.SegmentOptions(
            **request.options, labelling=request.labelling, keep=request.keep, map_planes=number
        )
        segmentation = yield from telling_device(inference.segment(request.data, model, options))
        maps = {}
        for name in request.keep:
            values = getattr(segmentation, name)
            if request.plane is not None:
                values = values[(..., *plane_slices(segmentation.axes, request.plane))]
            maps[name] = values
        return Ran(forget_maps(segmentation), maps)

    def segment_large(self, large: LargeRequest) -> Generator[Event, None, Stored]:
        """Load the model, then run it block by block into a folder, or go on with that."""
        yield Progress(0, 1, "step", "loading PyTorch and the model…")
        from ... import __version__
        from ...engine import devices, inference
        from ...engine.blocks import job, plan, setup

        request = large.request
        choice = devices.choose_device(request.options.get("device", "auto"))
        yield DeviceChosen(RUNNING_ON + choice.reason)
        model = yield from self._load(request.model)
        options = inference.SegmentOptions(**request.options, labelling=request.labelling)
        name = setup.Setup(request.data, large.folder, model, options, plan.BlockOptions()).name
        for number in count():
            path = large.folder / f"{name}-{number}.ome.zarr"
            _make_room(large, path)
            yield StoreChosen(path)
            work = job.segment_to_zarr(
                request.data, path, model, options, resume=True, order=large.order, show=True
            )
            try:
                result = yield from telling_device(work)
            except setup.ImageChanged:
                continue  # it is of another image that looks alike, or of this one before an edit
            break
        return Stored(result, large, model.card, options, choice.device, __version__)

    def measure_large(self, stored: Stored, kind: str, path: Path) -> Generator[Event, None, Path]:
        """Write a table or outlines of a result on the disk, block by block, or go on with it.

        Parameters
        ----------
        stored
            The result.
        kind
            Of :data:`~napari_sa2net.engine.batch.kinds.MEASURES`.
        path
            The file, which is replaced.

        Raises
        ------
        InputError
            If too little was kept of the result.
        """
        yield Progress(0, 1, "step", "loading the model…")
        from ...engine.blocks import job
        from ...engine.files import replacing
        from ...engine.instances import object_classes
        from ...engine.segmentation import derived_classes

        large, card = stored.large, stored.card
        classes = object_classes(max(2, card.num_classes), derived_classes(card))
        if stored.options.labelling.result == "instances" and len(classes) > 1:
            raise InputError(
                "For a result this large the class of each object is not kept. To measure the "
                "objects, segment a part of the image (Where)."
            )
        model = yield from self._load(large.request.model)
        work = job.segment_to_zarr(
            large.request.data,
            stored.result.path,
            model,
            stored.options,
            sizes=large.sizes,
            channel_names=large.names,
            save=(kind,),
            resume=True,
        )
        result = yield from telling_device(work)
        path = expanded(path)
        with replacing(path) as partial:
            shutil.move(result.saved[kind], partial)
        return path

    def segment_folder(self, request: FolderRequest) -> Generator[Event, None, Any]:
        """Segment a folder of images into files; returns a ``BatchResult``."""
        yield Progress(0, 1, "step", "loading PyTorch and the model…")
        from ...engine.batch.files import Batch, segment_files

        model = yield from self._load(request.model)
        batch = Batch(
            request.output,
            request.save,
            "replace" if request.replace else "resume",
            request.options,
        )
        return (yield from telling_device(segment_files([request.images], model, batch)))

    def relabel(
        self, segmentation: Any, settings: Any, index: tuple[int, ...] | None
    ) -> Generator[Event, None, Any]:
        """Label again from probabilities, without the network.

        Returns the labels (H, W) of the plane at ``index`` over T and Z, or without one a
        whole new Segmentation.
        """
        from ...engine import inference

        if index is None:
            return (yield from inference.relabel_steps(segmentation, settings))
        return inference.relabel(segmentation, settings, index)

    def _load(self, name: str) -> Generator[Event, None, Any]:
        from ...engine import weights

        entry = weights.find_model(name)
        path = entry.path
        if path is None:
            path = yield from weights.fetch(name)
        key = (name, str(path), Path(path).stat().st_mtime_ns)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # let go of the old one before reading the new
            # By its name: a file does not know its own hash, nor the figures it was given later.
            self._loaded = (key, weights.load_model(name))
        return self._loaded[1]


def _make_room(large: LargeRequest, path: Path) -> None:
    """Remove results that no layer shows, but the one to be made or gone on with."""
    for other in set(large.folder.iterdir()) - large.shown - {path}:
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:  # measurements that could not be moved to where they were wanted
            other.unlink(missing_ok=True)
