"""The phases of a run: what each does with a block, in this process or in another one.

A phase is plain data that can be sent. Its blocks are done in any order by whoever has it; the
markers tell what is done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from ..axes import Stack
from ..devices import choose_device
from ..disk import patiently
from ..events import Event
from ..execution.precision import note
from ..model_files import Model, model_bytes, model_from_bytes
from ..parts import Labels
from ..prediction import Plan, Predictor
from ..preparation import Preparation
from ..segmentation import SegmentOptions
from .joining import Joined
from .measuring import Measuring
from .plan import Block
from .probabilities import BlockPredictor, first_block
from .pyramid import Pyramid, shrink
from .source import TileLayout
from .statistics import Collector
from .store import Store
from .work import Work


@dataclass(frozen=True)
class Finished(Event):
    """A phase is done with a block."""

    block: Block
    noted: dict[str, Any]
    """What there is to say of it."""


@dataclass(frozen=True)
class Phase:
    """What is done with each of some blocks, none of which needs another one."""

    work: Work

    @property
    def name(self) -> str:
        """Its name, for markers and events."""
        return type(self).__name__.lower()

    @property
    def store(self) -> Store:
        """Where all is read and written."""
        return self.work.store

    def steps(self, block: Block) -> Generator[Event, None, dict[str, Any]]:
        """Do a block, with events, and return what there is to say of it."""
        yield from ()
        return self.do(block)

    def do(self, block: Block) -> dict[str, Any]:
        """Do a block, where that takes a single step."""
        raise NotImplementedError

    def steps_of(self, run: str, block: Block) -> Generator[Event, None, dict[str, Any]]:
        """Do :meth:`steps` as long as a run may write, see :meth:`Store.begin_run`."""
        with closing(self.steps(block)) as steps:
            while True:
                self.store.check_run(run)
                try:
                    event = next(steps)
                except StopIteration as end:
                    self.store.check_run(run)
                    noted: dict[str, Any] = end.value
                    return noted
                yield event

    def mark(self, block: Block, noted: dict[str, Any]) -> None:
        """Note that a block is done, after all else."""
        self.store.mark(self.name, block.number, **noted)

    def sharing(self, turn: int) -> Phase:
        """Return the phase for one of several processes that share a computer's GPUs."""
        return self

    def close(self) -> None:
        """Free what was kept from block to block."""


class Runner(Protocol):
    """Does the blocks of phases."""

    device: str
    """Where networks run, as options name it."""

    def begin(self, preparation: Preparation, store: Store, run: str) -> str:
        """Make ready for a run (see :meth:`Store.begin_run`), and tell where it runs."""

    def each(self, phase: Phase, blocks: Iterable[Block]) -> Generator[Event, None, None]:
        """Do blocks and mark them: a :class:`Finished` each, between events of their own."""

    def close(self) -> None:
        """End; what is under way is given up."""


class Here:
    """Does all blocks in this process, one after the other.

    Raises
    ------
    DeviceError
        If the device is not there.
    """

    def __init__(self, options: SegmentOptions) -> None:
        choice = choose_device(options.device)
        self.device = choice.device
        self._where = choice.reason + note(choice.device, options.precision)
        self._run = ""

    def begin(self, preparation: Preparation, store: Store, run: str) -> str:
        """Tell where it runs."""
        self._run = run
        return self._where

    def each(self, phase: Phase, blocks: Iterable[Block]) -> Generator[Event, None, None]:
        """Do blocks, see :class:`Runner`."""
        try:
            for block in blocks:
                noted = yield from phase.steps_of(self._run, block)
                phase.mark(block, noted)
                yield Finished(block, noted)
        finally:
            phase.close()

    def close(self) -> None:
        """There is nothing to end."""


@dataclass(frozen=True)
class Shown:
    """Where labels of a block are written."""

    stack: Stack
    pyramid: Pyramid
    every_level: bool
    """For a person who looks on; the coarser levels are made again in the end."""

    def write(self, store: Store, block: Block, labels: Labels) -> None:
        """Write the labels (h, w) of a block."""
        for number in range(self.pyramid.count if self.every_level else 1):
            part, place = self.pyramid.part(labels, block.box, number)
            if not part.size:
                continue
            where = (*self.stack.index(block.plane), *place)
            # On Windows a chunk that someone looks at cannot be replaced.
            with suppress(PermissionError) if number else nullcontext():
                patiently(store.level(number).__setitem__, where, part)


@dataclass(frozen=True)
class Normalise(Phase):
    """Look at the values of a block. There are no markers: whole planes are kept."""

    preparation: Preparation

    def collector(self) -> Collector:
        """Return what puts the blocks of a plane together."""
        shape = self.preparation.planes.stack.plane_shape
        return Collector(shape, self.preparation.card.normalization)

    def do(self, block: Block) -> dict[str, Any]:
        """Return what is kept of the values."""
        return {"seen": self.collector().see(self.preparation.planes, block)}

    def mark(self, block: Block, noted: dict[str, Any]) -> None:
        """Leave it to whoever has the whole plane."""


@dataclass(frozen=True)
class Predict(Phase):
    """Run the network over a block, and keep its probabilities."""

    layouts: list[TileLayout]
    """Of each plane."""
    model: Model | bytes
    """Also as the content of a model file: so it is sent."""
    options: SegmentOptions
    skip_empty: bool
    device: str
    shown: Shown
    turn: int = 0
    """See :func:`~napari_sa2net.engine.devices.choose_device`."""

    @cached_property
    def _computing(self) -> BlockPredictor:
        model = self.model
        if isinstance(model, bytes):
            model = model_from_bytes(model, self.layouts[0].source.preparation.card)
        device = choose_device(self.device, self.turn).device
        plan = Plan.of(self.options, device, model.card.base_channels, fixed=True)
        predictor = Predictor(model.network, plan)
        return BlockPredictor(predictor, self.store, self.work.grid.side, self.skip_empty)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_computing"}
        if isinstance(self.model, Model):
            state["model"] = model_bytes(self.model)
        return state

    def sharing(self, turn: int) -> Phase:
        """Return the phase with a GPU of its own, if there are several."""
        return replace(self, turn=turn)

    def steps(self, block: Block) -> Generator[Event, None, dict[str, Any]]:
        """Do a block; an event a tile."""
        layout = self.layouts[block.layer]
        known = self.work.keep(block, (yield from self._computing.block(block, layout)))
        if self.shown.every_level:
            self.shown.write(self.store, block, known)
        own = [
            number
            for number in self._computing.skipped
            if first_block(layout, number, self.work.grid.side) == block.place
        ]
        return {"skipped": len(own), "device": self._computing.device}

    def close(self) -> None:
        """Free the network."""
        if "_computing" in vars(self):
            self._computing.close()


@dataclass(frozen=True)
class _OnParts(Phase):
    """A phase that knows which parts lie in several blocks."""

    joined: Joined


@dataclass(frozen=True)
class Measure(_OnParts):
    """Measure the radii of a block's objects."""

    def do(self, block: Block) -> dict[str, Any]:
        """Write them into a file."""
        radii = self.work.measure(block, self.joined)
        self.store.write_arrays(f"radii/{block.number}", radii=radii)
        return {}


@dataclass(frozen=True)
class Label(_OnParts):
    """Label a block."""

    def do(self, block: Block) -> dict[str, Any]:
        """Return how many objects there are."""
        own, across = self.work.label(block, self.joined)
        return {"own": own, "joined": across}


@dataclass(frozen=True)
class Relabel(_OnParts):
    """Write a block's labels with numbers that are unique in the image."""

    starts: dict[int, tuple[int, int]]
    """What is added to the numbers of each block, see :meth:`Work.result`."""
    shown: Shown

    def do(self, block: Block) -> dict[str, Any]:
        """Write the full resolution, and all levels if they are looked at."""
        self.shown.write(self.store, block, self.work.result(block, self.joined, self.starts))
        return {}


@dataclass(frozen=True)
class Shrink(Phase):
    """Make a block of a coarser level from the level before."""

    stack: Stack
    level: int

    @property
    def name(self) -> str:
        """Its name, with the level."""
        return f"pyramid-{self.level}"

    def do(self, block: Block) -> dict[str, Any]:
        """Write the level."""
        source, target = (self.store.level(level) for level in (self.level - 1, self.level))
        shrink(source, target, block, self.stack.index(block.plane))
        return {}


@dataclass(frozen=True)
class _OfObjects(Phase):
    """A phase that tells of the finished labels' objects."""

    measuring: Measuring


@dataclass(frozen=True)
class Sum(_OfObjects):
    """Add up the pixels of a block's objects."""

    def do(self, block: Block) -> dict[str, Any]:
        """Write the sums into a file."""
        self.measuring.add_up(block)
        return {}


@dataclass(frozen=True)
class Trace(_OfObjects):
    """Outline the objects that a block was given."""

    def do(self, block: Block) -> dict[str, Any]:
        """Write the outlines into a file."""
        self.measuring.trace(block)
        return {}
