"""Segmenting an image block by block: :func:`segment_to_zarr`, a generator of events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import choose_device
from ..events import Event, Message, Progress
from ..model_files import Model
from ..parts import Labels
from ..prediction import Predictor
from ..region import SAMPLED, is_sampled, plane_statistics
from ..segmentation import SegmentOptions
from .joining import Joined
from .plan import Block, BlockOptions, BlockWritten
from .probabilities import BlockPredictor, TileCount, first_block
from .pyramid import shrink
from .setup import Setup, explained
from .source import Source, TileLayout
from .statistics import Collector, Statistics
from .store import ATTRIBUTE, Store, import_zarr
from .work import Work


@dataclass(frozen=True)
class BlockDone(Progress):
    """A block has gone through a phase."""

    phase: str = ""
    """``normalise``, ``measure``, ``label``, ``relabel``, or ``pyramid-1`` and so on."""


Order = Callable[[Sequence[Block]], Block]
"""Returns which of the remaining blocks comes next."""


@dataclass(frozen=True)
class ZarrResult:
    """A finished result on disk."""

    path: Path
    """The OME-Zarr folder: int32 labels, full resolution first."""
    count: int
    """Objects; 0 if the labels are classes."""
    result: str
    """``instances`` or ``classes``."""
    tiles: int
    """Tiles of all planes."""
    skipped: int
    """Tiles that were left out because there is nothing in them."""
    messages: tuple[str, ...] = ()
    """What a person should know: choices, fallbacks, warnings."""

    @property
    def text(self) -> str:
        """What was found, in words."""
        if self.result == "classes":
            return "classes"
        return f"{self.count} object{'s' if self.count != 1 else ''}"

    @property
    def labels(self) -> Any:
        """The full resolution, a zarr array that is read when indexed."""
        return import_zarr().open_array(str(self.path / "0"), mode="r")


def segment_to_zarr(
    image: Any,
    output: str | Path,
    model: Model,
    options: SegmentOptions | None = None,
    blocks: BlockOptions | None = None,
    *,
    sizes: Mapping[str, float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    order: Order | None = None,
    show: bool = False,
) -> Generator[Event, None, ZarrResult]:
    """Segment an image of any size, in memory that does not grow with it.

    Every plane is normalised by its own statistics, goes through the network in one grid of
    tiles, and is labelled as a whole: blocks leave no traces in the labels, but in parts that
    are too large to be labelled at once, of which a message tells.

    Parameters
    ----------
    image
        As for :func:`~napari_sa2net.engine.inference.segment`; only windows of it are read.
    output
        The OME-Zarr folder to write.
    model
        Network and card.
    options
        ``keep``, ``link``, ``map_planes`` and ``relabel`` have no meaning here.
    blocks
        How the work is cut up.
    sizes
        Size of a step along ``Z``, ``Y``, ``X`` in µm, for the result's description.
    resume
        Go on with an unfinished result, if there is one.
    overwrite
        Replace a result that exists.
    order
        Asked before each block which one comes next; the result does not depend on it.
    show
        Write into all levels of the result what is known of each block as soon as it is: the
        connected foreground, later the labels. The result is the same in the end.

    Yields
    ------
    Event
        :class:`Message`, :class:`TileDone`, :class:`BlockDone`, and with ``show``
        :class:`BlockWritten`. Closing the generator stops
        the work; what is done stays, for ``resume``.

    Raises
    ------
    InputError
        If image and options do not fit, or the output exists, or belongs to another image,
        model or settings.
    DeviceError
        If the device is not there, fails, or has too little memory.
    SA2NetError
        If the output cannot be written.
    """
    setup = Setup(image, output, model, options or SegmentOptions(), blocks or BlockOptions())
    with explained(setup.store.path):
        choice = choose_device(setup.options.device)
        setup.begin(resume, overwrite)
        if setup.store.finished():
            yield Message(f"{setup.store.path} is complete already.")
        else:
            job = _Job(setup, choice.device, order, show)
            yield job.say(f"Running on {choice.reason}")
            yield from job.run(dict(sizes or {}))
        return finished_result(setup.store)


def finished_result(store: Store) -> ZarrResult:
    """Return what a finished result says of itself."""
    made = store.attributes()[ATTRIBUTE]
    return ZarrResult(
        store.path,
        made["objects"],
        made["identity"]["settings"]["result"],
        made["tiles"],
        made["skipped_tiles"],
        tuple(made["messages"]),
    )


class _Job:
    """One run: what was resolved, and the phases one after the other."""

    def __init__(self, setup: Setup, device: str, order: Order | None, show: bool) -> None:
        self.setup, self.store, self.device = setup, setup.store, device
        self.order, self.show = order, show
        self.grid, self.pyramid = setup.grid, setup.pyramid
        self.work = Work(setup.store, setup.grid, setup.rules, setup.blocks.largest)
        self.messages: list[str] = []
        self.done = 0

    def run(self, sizes: dict[str, float]) -> Generator[Event, None, None]:
        if self.setup.zoom_text:
            yield self.say(self.setup.zoom_text)
        if self.setup.options.region is not None and is_sampled(self.setup.preparation):
            yield self.say(SAMPLED)
        self.setup.create()
        layouts = yield from self._normalise()
        yield from self._predict(layouts)
        joined = self.work.join()
        if joined.huge.any():
            yield self.say(self._huge_text(int(joined.huge.sum())), warning=True)
        if self.setup.rules.by_distance:
            yield from self._measure(joined)
        yield from self._label(joined)
        yield from self._shrink()
        yield from self._finish(sizes, layouts)

    def _each(
        self, phase: str, blocks: Iterable[Block], do: Callable[[Block], dict[str, Any] | None]
    ) -> Generator[Event, None, None]:
        """Do what is not done yet of a phase; the marker comes last."""
        for block in blocks:
            if not self.store.marked(phase, block.number):
                noted = do(block)
                self.store.mark(phase, block.number, **(noted or {}))
            self.done += 1
            yield BlockDone(self.done, self._total, "block", phase=phase)
            if self.show and phase == "relabel":
                yield BlockWritten(block.plane, block.box)

    def _in_order(self) -> Iterator[Block]:
        """Go through all blocks, those first that are asked for."""
        remaining = {block.number: block for block in self.grid}
        while remaining:
            blocks = list(remaining.values())
            block = blocks[0] if self.order is None else self.order(blocks)
            yield remaining.pop(block.number)

    def _write(self, block: Block, labels: Labels) -> None:
        """Write the labels of a block into the levels that are looked at."""
        for number in range(self.pyramid.count if self.show else 1):
            part, place = self.pyramid.part(labels, block.box, number)
            if part.size:
                self.store.level(number)[(*self._index(block), *place)] = part

    @cached_property
    def _total(self) -> int:
        """Steps of the phases after the network."""
        side, chosen = self.grid.side, self.setup.numbers
        coarser = sum(
            len(self.pyramid.grid(level, side, chosen)) for level in range(1, self.pyramid.count)
        )
        return (2 + self.work.rules.by_distance) * len(self.grid) + coarser

    def _normalise(self) -> Generator[Event, None, list[TileLayout]]:
        """Look at all values of each plane; return the planes' tiles."""
        layouts: list[TileLayout] = []
        for layer, plane in enumerate(self.setup.numbers):
            name = f"statistics/{layer}.json"
            known = self.store.read_json(name)
            if known is None:
                if self.setup.options.region is not None:
                    found = yield from plane_statistics(self.setup.preparation, plane)
                else:
                    found = yield from self._statistics(layer)
                known = found.to_json()
                self.store.write_json(name, known)
            source = Source(self.setup.preparation, plane, Statistics.from_json(known))
            layouts.append(self.setup.layout(source, layouts[0].tiles if layouts else None))
        return layouts

    def _statistics(self, layer: int) -> Generator[Event, None, Statistics]:
        """Look at all values of a plane that is segmented in whole."""
        collector = Collector(self.grid.shape, self.setup.card.normalization)
        for block in self.grid.of_layer(layer):
            collector.add(block, self.setup.planes.read(block.plane, block.slices))
            yield BlockDone(block.number + 1, len(self.grid), "block", phase="normalise")
        return collector.result()

    def _predict(self, layouts: list[TileLayout]) -> Generator[Event, None, None]:
        """Run the network over all blocks that are not done."""
        finished = set(self.store.marks("predict"))
        count = TileCount(sum(len(layout.of_region()) for layout in layouts))
        for number in finished:
            block = self.grid[number]
            layout = layouts[block.layer]
            count.add(block.layer, layout.within(layout.needed(block.box)))
        predictor = Predictor(self.setup.model.network, self.setup.plan(self.device))
        side = self.grid.side
        computing = BlockPredictor(predictor, self.store, side, self.setup.blocks.skip_empty)
        try:
            for block in self._in_order():
                layout = layouts[block.layer]
                if block.number not in finished:
                    found = yield from computing.block(block, layout, count)
                    known = self.work.keep(block, found)
                    if self.show:
                        self._write(block, known)
                        yield BlockWritten(block.plane, block.box)
                    own = [
                        number
                        for number in computing.skipped
                        if first_block(layout, number, side) == block.place
                    ]
                    self.store.mark("predict", block.number, skipped=len(own))
                    finished.add(block.number)
                done = (b.place for b in self.grid.of_layer(block.layer) if b.number in finished)
                computing.forget(block, layout, done)
        finally:
            predictor.close()
        self.device = predictor.plan.device
        self.messages += predictor.messages

    def _measure(self, joined: Joined) -> Generator[Event, None, None]:
        """Measure the objects' usual radius, which splitting by distance needs."""

        def measure(block: Block) -> None:
            radii = self.work.measure(block, joined)
            self.store.write_arrays(f"radii/{block.number}", radii=radii)

        yield from self._each("measure", self.grid, measure)
        found = [self.store.need_arrays(f"radii/{block.number}")["radii"] for block in self.grid]
        radii = np.concatenate(found)
        radius = float(np.median(radii)) if len(radii) else 1.0
        self.work = replace(self.work, rules=replace(self.work.rules, radius=radius))

    def _label(self, joined: Joined) -> Generator[Event, None, None]:
        """Label all blocks, then write them with numbers that are unique in the image."""

        def label(block: Block) -> dict[str, int]:
            own, across = self.work.label(block, joined)
            return {"own": own, "joined": across}

        yield from self._each("label", self.grid, label)
        starts, _ = self._starts()

        def relabel(block: Block) -> None:
            self._write(block, self.work.result(block, joined, starts))

        yield from self._each("relabel", self._in_order(), relabel)

    def _starts(self) -> tuple[dict[int, tuple[int, int]], int]:
        """Return what is added to the numbers of each block, and the count of all objects."""
        marks = self.store.marks("label")
        if self.work.rules.settings.result == "classes":
            return dict.fromkeys(marks, (0, 0)), 0
        starts, count = {}, 0
        for number in sorted(marks):
            own, joined = marks[number]["own"], marks[number]["joined"]
            starts[number] = (count, count + own)
            count += own + joined
        return starts, count

    def _shrink(self) -> Generator[Event, None, None]:
        """Make the coarser levels."""
        for level in range(1, self.pyramid.count):
            source, target = self.store.level(level - 1), self.store.level(level)

            def do(block: Block, source: Any = source, target: Any = target) -> None:
                shrink(source, target, block, self._index(block))

            grid = self.pyramid.grid(level, self.grid.side, self.setup.numbers)
            yield from self._each(f"pyramid-{level}", grid, do)

    def _finish(
        self, sizes: dict[str, float], layouts: list[TileLayout]
    ) -> Generator[Event, None, None]:
        """Describe the result, and remove the working files."""
        from ... import __version__

        tiles = sum(len(layout.of_region()) for layout in layouts)
        skipped = sum(mark["skipped"] for mark in self.store.marks("predict").values())
        if self.setup.blocks.skip_empty:
            yield self.say(f"{skipped} of {tiles} tiles have nothing in them and were skipped.")
        colors = None
        if self.work.rules.settings.result == "classes":
            classes = self.setup.card.classes
            colors = {i: info.color for i, info in enumerate(classes) if i and not info.derived}
        made = {
            "identity": self.setup.identity,
            "version": __version__,
            "device": self.device,
            "normalisation": [layout.source.statistics.to_json() for layout in layouts],
            "objects": self._starts()[1],
            "tiles": tiles,
            "skipped_tiles": skipped,
            "messages": self.messages,
        }
        known = {letter: size for letter, size in sizes.items() if letter in self.pyramid.axes}
        self.store.finish({**self.pyramid.attributes(known, colors, "labels"), ATTRIBUTE: made})

    def _index(self, block: Block) -> tuple[int, ...]:
        return self.setup.stack.index(block.plane)

    def _huge_text(self, count: int) -> str:
        pieces = (
            "Holes in them are filled only where they lie in one block."
            if self.work.rules.settings.result == "classes"
            else "Objects in them are cut at the blocks' borders."
        )
        return (
            f"{count} connected part(s) of the foreground cover more than "
            f"{self.setup.blocks.largest / 1e6:.1f} megapixels and were labelled block by block. "
            f"{pieces} A higher threshold takes them apart; larger blocks take more memory."
        )

    def say(self, text: str, warning: bool = False) -> Message:
        self.messages.append(text)
        return Message(text, warning)
