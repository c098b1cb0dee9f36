"""Segmenting an image block by block: :func:`segment_to_zarr`, a generator of events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SA2NetError
from ..events import Event, Message
from ..found import plane_lengths
from ..model_files import Model
from ..region import SAMPLED, is_sampled
from ..segmentation import SegmentOptions
from .joining import Joined
from .looking import Looking
from .phases import (
    Finished,
    Here,
    Label,
    Measure,
    Phase,
    Predict,
    Relabel,
    Runner,
    Shown,
    Shrink,
)
from .plan import Block, BlockOptions, BlockWritten
from .probabilities import TileCount, TileReady, forget_tiles
from .result import BlockDone, ZarrResult, finished_result
from .saving import Saving
from .setup import Begun, Setup, explained
from .source import TileLayout
from .store import ATTRIBUTE, Store
from .work import Work

Order = Callable[[Sequence[Block]], Block]
"""Returns which of the remaining blocks comes next."""


def segment_to_zarr(
    image: Any,
    output: str | Path,
    model: Model,
    options: SegmentOptions | None = None,
    blocks: BlockOptions | None = None,
    *,
    sizes: Mapping[str, float] | None = None,
    channel_names: Sequence[str] = (),
    save: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
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
        Size of a step along ``Z``, ``Y``, ``X`` in µm, for the result's description and
        the table.
    channel_names
        Names of the image's channels, for the table.
    save
        Of :data:`~napari_sa2net.engine.batch.kinds.MEASURES`, what to write beside the result.
        The outlines of classes are cut at the blocks' borders.
    resume
        Go on with an unfinished result, if there is one, or measure a finished one.
    overwrite
        Replace a result that exists.
    scheduler
        Address of a dask scheduler, as ``"tcp://10.0.0.1:8786"``, whose workers do the blocks;
        without, this process does. They must see image and output under the same paths.
    order
        Asked before each block which one comes next; the result does not depend on it. The
        workers of a scheduler are told the order at the beginning.
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
        model or settings, or the workers cannot do it.
    DeviceError
        If the device is not there, fails, or has too little memory.
    SA2NetError
        If the output cannot be written, or a package is missing for what is wanted.
    """
    setup = Setup(image, output, model, options or SegmentOptions(), blocks or BlockOptions())
    saving = Saving(setup, save, dict(sizes or {}), channel_names)
    with explained(setup.store.path), closing(_runner(setup, scheduler)) as runner:
        known = saving.check(overwrite)
        begun = setup.begin(resume, overwrite)
        run = setup.store.begin_run()
        try:
            where = _where(setup, runner, run, begun)
            with _explained_by_others(setup.store, run):
                if overwrite:
                    yield from saving.replace(known)
                job = _Job(setup, runner, saving, order, show)
                if not begun.fresh:
                    yield from job.looking.check_image()
                yield from _made(job, saving, f"Running on {where}")
        finally:
            setup.store.end_run(run)
        return finished_result(setup.store)


def _runner(setup: Setup, scheduler: str | None) -> Runner:
    """Return what does the blocks."""
    if scheduler is None:
        return Here(setup.options)
    from .cluster import Cluster  # needs another package

    return Cluster(scheduler, setup.options.device)


def _where(setup: Setup, runner: Runner, run: str, begun: Begun) -> str:
    """Make the runner ready; where it cannot be, leave all as it was before."""
    try:
        where = runner.begin(setup.preparation, setup.store, run)
    except BaseException:
        begun.undo()
        raise
    begun.keep()
    return where


@contextmanager
def _explained_by_others(store: Store, run: str) -> Iterator[None]:
    """Tell of another run, where what it wrote or removed in the meantime is what went wrong."""
    try:
        yield
    except (SA2NetError, OSError):
        store.check_run(run)
        raise


def _made(job: _Job, saving: Saving, running: str) -> Generator[Event, None, None]:
    """Make what is not there yet."""
    store = job.store
    if not store.finished():
        yield job.say(running)
        saving.claim()
        yield from job.run()
        return
    saving.only_missing()
    if not saving.targets:
        yield Message(f"{store.path} is complete already.")
        store.tidy()
        return
    yield Message(running)
    saving.claim()
    yield from job.measure()


class _Job:
    """One run: what was resolved, and the phases one after the other."""

    def __init__(
        self, setup: Setup, runner: Runner, saving: Saving, order: Order | None, show: bool
    ) -> None:
        self.setup, self.store, self.runner = setup, setup.store, runner
        self.saving, self.order = saving, order
        self.grid, self.pyramid, self.stack = setup.grid, setup.pyramid, setup.stack
        self.shown = Shown(self.stack, self.pyramid, every_level=show)
        self.work = Work(setup.store, setup.grid, setup.rules, setup.blocks.largest)
        self.looking = Looking(setup, runner, self.work)
        self.messages: list[str] = []
        self.done = 0

    def run(self) -> Generator[Event, None, None]:
        """Do all that is not done yet."""
        scale = self.setup.about_scale
        if scale is not None:
            yield self.say(scale.text, warning=scale.warning)
        if self.setup.planes.remark:
            yield self.say(self.setup.planes.remark, warning=True)
        if self.setup.options.region is not None and is_sampled(self.setup.preparation):
            yield self.say(SAMPLED)
        self.setup.create()
        layouts = yield from self.looking.normalise()
        yield from self._predict(layouts)
        joined = self.work.join()
        if joined.huge.any():
            yield self.say(self.work.huge_text(int(joined.huge.sum())), warning=True)
        if self.setup.rules.by_distance:
            yield from self._measure(joined)
        yield from self._label(joined)
        yield from self._shrink()
        yield from self._save()
        yield from self._finish(layouts)

    def measure(self) -> Generator[Event, None, None]:
        """Measure a finished result."""
        self.done = self._total - self.saving.steps
        yield from self._save()
        made = self.store.attributes()[ATTRIBUTE]
        told = list(dict.fromkeys([*made["messages"], *self.messages]))
        made |= {"saved": self.saving.saved(), "messages": told}
        self.store.finish({ATTRIBUTE: made})

    def _save(self) -> Generator[Event, None, None]:
        """Write what is wanted beside the result."""
        yield from self.saving.run(self.work, self._each, self.say)

    def _each(
        self, phase: Phase, blocks: Iterable[Block], *, ordered: bool = True
    ) -> Generator[Event, None, None]:
        """Do what is not done yet of a phase, as given or in the order that is asked for."""
        todo = []
        for block in blocks:
            if self.store.marked(phase.name, block.number):
                yield self._block_done(phase)
            else:
                todo.append(block)
        with closing(self.runner.each(phase, todo if ordered else self._in_order(todo))) as events:
            for event in events:
                yield self._block_done(phase) if isinstance(event, Finished) else event
                if isinstance(event, Finished) and isinstance(phase, Relabel):
                    yield from self._written(event.block)

    def _block_done(self, phase: Phase) -> BlockDone:
        self.done += 1
        return BlockDone(self.done, self._total, "block", phase=phase.name)

    def _written(self, block: Block) -> Iterator[BlockWritten]:
        if self.shown.every_level:
            yield BlockWritten(block.plane, block.box)

    def _in_order(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Go through blocks, those first that are asked for."""
        remaining = {block.number: block for block in blocks}
        while remaining:
            left = list(remaining.values())
            block = left[0] if self.order is None else self.order(left)
            yield remaining.pop(block.number)

    @cached_property
    def _total(self) -> int:
        """Steps of the phases after the network."""
        side, chosen = self.grid.side, self.setup.numbers
        coarser = sum(
            len(self.pyramid.grid(level, side, chosen)) for level in range(1, self.pyramid.count)
        )
        labelling = (2 + self.work.rules.by_distance) * len(self.grid)
        return labelling + coarser + self.saving.steps

    def _predict(self, layouts: list[TileLayout]) -> Generator[Event, None, None]:
        """Run the network over all blocks that are not done."""
        phase = Predict(
            self.work,
            layouts,
            self.setup.model,
            self.setup.options,
            self.setup.blocks.skip_empty,
            self.runner.device,
            self.shown,
        )
        finished = set(self.store.marks(phase.name))
        count = TileCount(sum(len(layout.of_region()) for layout in layouts))
        for number in finished:
            count.add_block(self.grid[number], layouts)
        todo = [block for block in self.grid if block.number not in finished]
        with closing(self.runner.each(phase, self._in_order(todo))) as events:
            for event in events:
                if isinstance(event, TileReady):
                    yield count.add(event.block, [event.number])
                elif isinstance(event, Finished):
                    block = event.block
                    yield from self._written(block)
                    finished.add(block.number)
                    yield count.add_block(block, layouts)
                    same = self.grid.of_layer(block.layer)
                    done = (other.place for other in same if other.number in finished)
                    forget_tiles(self.store, self.grid.side, block, layouts[block.layer], done)
                else:
                    if isinstance(event, Message):
                        self.messages.append(event.text)
                    yield event

    def _measure(self, joined: Joined) -> Generator[Event, None, None]:
        """Measure the objects' usual radius, which splitting by distance needs."""
        yield from self._each(Measure(self.work, joined), self.grid)
        found = [self.store.need_arrays(f"radii/{block.number}")["radii"] for block in self.grid]
        radii = np.concatenate(found)
        radius = float(np.median(radii)) if len(radii) else 1.0
        self.work = replace(self.work, rules=replace(self.work.rules, radius=radius))

    def _label(self, joined: Joined) -> Generator[Event, None, None]:
        """Label all blocks, then write them with numbers that are unique in the image."""
        yield from self._each(Label(self.work, joined), self.grid)
        starts, _ = self._starts()
        yield from self._each(
            Relabel(self.work, joined, starts, self.shown), self.grid, ordered=False
        )

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
            grid = self.pyramid.grid(level, self.grid.side, self.setup.numbers)
            yield from self._each(Shrink(self.work, self.stack, level), grid)

    def _finish(self, layouts: list[TileLayout]) -> Generator[Event, None, None]:
        """Describe the result, and remove the working files."""
        from ... import __version__

        tiles = sum(len(layout.of_region()) for layout in layouts)
        marks = self.store.marks("predict").values()
        skipped = sum(mark["skipped"] for mark in marks)
        if self.setup.blocks.skip_empty:
            yield self.say(f"{skipped} of {tiles} tiles have nothing in them and were skipped.")
        colors = None
        if self.work.rules.settings.result == "classes":
            classes = self.setup.card.classes
            colors = {i: info.color for i, info in enumerate(classes) if i and not info.derived}
        made = {
            "identity": self.setup.identity,
            "version": __version__,
            "device": ", ".join(sorted({mark["device"] for mark in marks})),
            "normalisation": [layout.source.statistics.to_json() for layout in layouts],
            "objects": self._starts()[1],
            "planes": plane_lengths(self.stack, self.setup.numbers),
            "classes": [info.name for info in self.setup.card.classes[1:] if not info.derived],
            "tiles": tiles,
            "skipped_tiles": skipped,
            "messages": self.messages,
            "saved": self.saving.saved(),
        }
        sizes = self.saving.sizes.items()
        known = {letter: size for letter, size in sizes if letter in self.pyramid.axes}
        self.store.finish({**self.pyramid.attributes(known, colors, "labels"), ATTRIBUTE: made})

    def say(self, text: str, warning: bool = False) -> Message:
        self.messages.append(text)
        return Message(text, warning)
