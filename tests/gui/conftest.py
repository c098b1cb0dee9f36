"""The window with a fake engine: quick, without torch, and stoppable at will."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.engine.batch.events import BatchResult, FileEnded, FileStarted
from napari_sa2net.engine.blocks.plan import Block, BlockGrid, BlockWritten
from napari_sa2net.engine.blocks.pyramid import Pyramid
from napari_sa2net.engine.blocks.store import Store
from napari_sa2net.engine.cards import ClassInfo, Figure, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Downloaded, Event, Progress, run
from napari_sa2net.engine.instances import features
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.engine.relabelling import relabel, relabel_steps
from napari_sa2net.engine.segmentation import Segmentation, SegmentOptions
from napari_sa2net.gui.segmenting.backend import (
    DeviceChosen,
    FolderRequest,
    LargeRequest,
    Ran,
    Request,
    StoreChosen,
    Stored,
)

CARD = ModelCard(
    name="fake",
    description="Bright things",
    modality="tests",
    bytes=5_000_000,
    num_classes=2,
    classes=(ClassInfo("background", "#000000"), ClassInfo("thing", "#ff0000")),
    diameter=20.0,
    figures=(Figure("Dice", 0.9123, "sa2net evaluate"),),
)
REMOTE = ModelCard(
    name="far",
    description="Elsewhere",
    bytes=80_000_000,
    licence="For research only",
    restricted=True,
    num_classes=1,
)


class FakeBackend:
    """Segments by brightness: a pixel's value / 255 is its probability."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        """A run waits for this after its first tile."""
        self.gate.set()
        self.error: Exception | None = None
        self.requests: list[Request] = []
        self.folders: list[FolderRequest] = []
        self.relabelled: list[tuple[Any, Any]] = []
        self.larges: list[LargeRequest] = []
        self.measured: list[tuple[Path, str]] = []
        self.written: list[tuple[int, int, int, int]] = []
        """Boxes of the blocks that large runs have made, in their order."""
        self.paused = threading.Event()
        """Set when a large run waits at the gate."""
        self.running = 0
        self.fetched: list[str] = []

    def models(self) -> list[ModelEntry]:
        """List one model that is here and one that is not."""
        here = "downloaded" if "far" in self.fetched else "remote"
        return [ModelEntry(CARD, "bundled", Path("fake")), ModelEntry(REMOTE, here, None)]

    def fetch(self, name: str) -> Generator[Event, None, None]:
        """Pretend to download."""
        yield Progress(0, 100, "byte")
        self.gate.wait(10)
        yield Progress(50, 100, "byte")
        if self.error is not None:
            raise self.error
        self.fetched.append(name)
        yield Downloaded(name)

    def import_model(self, path: Path) -> Generator[Event, None, ModelEntry]:
        """Pretend to import."""
        yield Progress(0, 1, "file")
        if self.error is not None:
            raise self.error
        return ModelEntry(CARD, "imported", path)

    def segment(self, request: Request) -> Generator[Event, None, Ran]:
        """Run four "tiles"."""
        self.requests.append(request)
        self.running += 1
        try:
            if request.model == "far" and "far" not in self.fetched:
                yield from self.fetch("far")
            yield DeviceChosen("Running on a fake: it is the only one.")
            for tile in range(1, 5):
                yield Progress(tile, 4, "tile")
                self.gate.wait(10)
            if self.error is not None:
                raise self.error
            return self._result(request)
        finally:
            self.running -= 1

    def _result(self, request: Request) -> Ran:
        bright = np.asarray(request.data, dtype=np.float32) / 255
        axes = request.options["axes"]
        if "C" in axes:
            bright = bright.mean(axis=axes.index("C"))
            axes = axes.replace("C", "")
        if request.options["region"] is not None:
            y0, x0, y1, x1 = request.options["region"]
            sides = {"Y": slice(y0, y1), "X": slice(x0, x1)}
            bright = bright[tuple(sides.get(letter, slice(None)) for letter in axes)]
        probabilities = np.stack([1 - bright, bright]).astype(np.float16)
        planes = tuple(range(int(np.prod(bright.shape[:-2]))))
        blank = Segmentation(
            labels=np.zeros(bright.shape, np.int32),
            probabilities=probabilities,
            stages=None,
            attention=None,
            disagreement=None,
            features={},
            axes=axes,
            card=CARD,
            options=SegmentOptions(axes=axes, labelling=request.labelling),
            device="fake",
            planes=planes,
            zoom=(1.0, 1.0),
            version="0",
        )
        done = run(relabel_steps(blank, request.labelling))
        assert set(features(done.labels)) == set(done.features)
        maps: dict[str, Any] = {}
        part = bright
        if request.plane is not None:
            part = bright[tuple(slice(i, i + 1) for i in request.plane)]
        for name in request.keep:
            count = {"probabilities": 2, "disagreement": 0}.get(name, 4)
            maps[name] = np.stack([part] * count) if count else part
        return Ran(done, maps)

    def segment_large(self, large: LargeRequest) -> Generator[Event, None, Stored]:
        """Write a block at a time into a folder by the request's options, or go on with it."""
        request = large.request
        self.requests.append(request)
        self.larges.append(large)
        self.running += 1
        try:
            axes, region = request.options["axes"], request.options["region"]
            shape = dict(zip(axes, request.data.shape, strict=True))
            height, width = shape["Y"], shape["X"]
            y0, x0, y1, x1 = region or (0, 0, height, width)
            count = shape.get("Z", 1)
            key = f"{request.options} {request.labelling}"
            store = Store(large.folder / f"{zlib.crc32(key.encode())}.ome.zarr")
            yield StoreChosen(store.path)
            yield DeviceChosen("Running on a fake: it is the only one.")
            if not store.exists():
                store.begin({"fake": True})
            store.create_result()
            levels = "ZYX" if "Z" in axes else "YX"
            for level in range(3):
                sides = (-(-(y1 - y0) // 2**level), -(-(x1 - x0) // 2**level))
                store.create_level(level, (count,) * ("Z" in axes) + sides, 16, levels)
            blocks = list(BlockGrid((y1 - y0, x1 - x0), 16, tuple(range(count))))
            for done in range(1, len(blocks) + 1):
                block = large.order(blocks)
                blocks.remove(block)
                if not store.marked("predict", block.number):
                    self.written.append(block.box)
                    self._write(request, store, block, (y0, x0), levels)
                    store.mark("predict", block.number)
                yield BlockWritten(block.plane, block.box)
                yield Progress(done, done + len(blocks), "tile")
                if not self.gate.is_set():
                    self.paused.set()
                self.gate.wait(10)
                if self.error is not None:
                    raise self.error
            store.finish({"made": "by a fake"})
            result = SimpleNamespace(path=store.path, text="7 objects", unlinked="")
            return Stored(result, large, CARD, SegmentOptions(axes=axes), "fake", "0")
        finally:
            self.running -= 1

    def measure_large(self, stored: Stored, kind: str, path: Path) -> Generator[Event, None, Path]:
        """Write a file."""
        self.measured.append((stored.result.path, kind))
        for done in range(3):
            yield Progress(done, 3, "block")
            if not self.gate.is_set():
                self.paused.set()
            self.gate.wait(10)
        path.write_text(kind)
        return path

    def _write(
        self, request: Request, store: Store, block: Block, origin: tuple[int, int], levels: str
    ) -> None:
        """Write which pixels of a block are bright, into all levels."""
        rows, columns = (
            slice(s.start + at, s.stop + at) for s, at in zip(block.slices, origin, strict=True)
        )
        where = {"Y": rows, "X": columns, "Z": block.plane}
        axes = request.options["axes"]
        found = np.asarray(request.data[tuple(where.get(a, slice(None)) for a in axes)])
        if "C" in axes:
            found = found.mean(axis=axes.replace("Z", "").index("C"))
        found = np.where(found / 255 > request.labelling.threshold, block.number + 1, 0)
        pyramid = Pyramid(levels, store.level(0).shape, 16)
        for level in range(3):
            part, place = pyramid.part(found.astype(np.int32), block.box, level)
            index = (block.plane,) if "Z" in levels else ()
            store.level(level)[(*index, *place)] = part

    def segment_folder(self, request: FolderRequest) -> Generator[Event, None, BatchResult]:
        """Pretend to segment the files of a folder; those called "bad…" fail."""
        self.folders.append(request)
        self.running += 1
        try:
            paths = sorted(request.images.iterdir())
            for number, path in enumerate(paths, start=1):
                yield FileStarted(path, number, len(paths))
                for tile in (1, 2):
                    yield Progress(tile, 2, "tile")
                    self.gate.wait(10)
                if self.error is not None:
                    raise self.error
                ended = FileEnded(path, number, len(paths), "done", request.output, 3, "3 objects")
                if path.name.startswith("bad"):
                    error = InputError(f"{path.name} is no image.")
                    ended = replace(ended, status="failed", error=error)
                yield ended
            return BatchResult()
        finally:
            self.running -= 1

    def relabel(self, segmentation: Any, settings: Any, index: Any) -> Generator[Event, None, Any]:
        """Label again, with the engine's own functions."""
        self.relabelled.append((settings, index))
        yield Progress(0, 1, "plane")
        if index is None:
            return run(relabel_steps(segmentation, settings))
        return relabel(segmentation, settings, index)


@pytest.fixture
def backend() -> FakeBackend:
    """Return an engine that does as it is told."""
    return FakeBackend()


@pytest.fixture
def things() -> NDArray[np.uint8]:
    """Return an image (64, 64) of two bright squares and a dimmer one."""
    image = np.zeros((64, 64), np.uint8)
    image[5:15, 5:15] = 240
    image[30:40, 30:40] = 230
    image[50:60, 10:20] = 150
    return image


@pytest.fixture
def open_widget(
    make_napari_viewer_proxy: Callable[..., Any], backend: FakeBackend
) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the widget in a viewer (a new one if none is given)."""
    from napari_sa2net.gui.main_widget import MainWidget
    from napari_sa2net.gui.segmenting.job import controller_of

    def open_in(viewer: Any = None) -> tuple[Any, Any]:
        viewer = viewer if viewer is not None else make_napari_viewer_proxy()
        controller_of(viewer, backend=backend)
        widget = MainWidget(viewer)
        viewer.window.add_dock_widget(widget, name="SA2-Net")
        return viewer, widget

    yield open_in
    backend.gate.set()
