"""Looking at all values of an image: before the network runs, and to know the image again."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

from ..events import Event, Message
from ..region import plane_statistics
from .phases import Finished, Normalise, Runner
from .plan import box_slices
from .result import BlockDone
from .setup import ImageChanged, Setup
from .source import Source, TileLayout
from .statistics import Collector, Statistics, digest_of, together
from .store import ATTRIBUTE
from .work import Work

FAR = (
    "The values of the image lie so far from 0 that little is left of what they differ by: "
    "subtract their lowest value from the image first."
)


@dataclass(frozen=True)
class PlaneSeen(Event):
    """All values of a plane were looked at."""

    layer: int
    statistics: Statistics


class Looking:
    """Looks at the planes of a run; what is known of one is kept with the result."""

    def __init__(self, setup: Setup, runner: Runner, work: Work) -> None:
        self.setup, self.runner, self.work = setup, runner, work
        self.store, self.grid = setup.store, setup.grid

    def normalise(self) -> Generator[Event, None, list[TileLayout]]:
        """Look at all values of each plane; return the planes' tiles."""
        missing = [
            n for n in range(len(self.setup.numbers)) if self.store.read_json(_seen(n)) is None
        ]
        for event in self._see(missing):
            if isinstance(event, PlaneSeen):
                self.store.write_json(_seen(event.layer), event.statistics.to_json())
            else:
                yield event
        layouts: list[TileLayout] = []
        for layer, plane in enumerate(self.setup.numbers):
            known = Statistics.from_json(self.store.read_json(_seen(layer)) or {})
            if known.too_far:
                yield Message(FAR, warning=True)
            source = Source(self.setup.preparation, plane, known)
            # All planes have the same tiles.
            layouts.append(self.setup.layout(source, layouts[0].tiles if layouts else None))
        return layouts

    def check_image(self) -> Generator[Event, None, None]:
        """See that the values of the image are those that a result was begun with.

        Raises
        ------
        ImageChanged
            If they are not.
        """
        known: dict[int, str] = {}
        if self.store.finished():
            made = self.store.attributes()[ATTRIBUTE]["normalisation"]
            known = {layer: plane["digest"] for layer, plane in enumerate(made)}
        else:
            for layer in range(len(self.setup.numbers)):
                found = self.store.read_json(_seen(layer))
                if found is not None:
                    known[layer] = found["digest"]
        for event in self._see(list(known)):
            if not isinstance(event, PlaneSeen):
                yield event
            elif event.statistics.digest != known[event.layer]:
                plane = self.setup.numbers[event.layer]
                raise ImageChanged(
                    f"{self.store.path} was begun with another image (the values of plane "
                    f"{plane + 1} are others): go on with the same one, or replace the result "
                    "with --overwrite (overwrite=True)."
                )

    def _see(self, layers: list[int]) -> Generator[Event, None, None]:
        """Look at all values of some planes; a :class:`PlaneSeen` each."""
        if self.setup.options.region is not None:
            for layer in layers:
                plane = self.setup.numbers[layer]
                found = yield from plane_statistics(self.setup.preparation, plane)
                yield PlaneSeen(layer, replace(found, digest=self._digest(layer)))
            return
        phase = Normalise(self.work, self.setup.preparation)
        blocks = [block for layer in layers for block in self.grid.of_layer(layer)]
        left = {layer: len(self.grid.of_layer(layer)) for layer in layers}
        collectors: dict[int, Collector] = {}
        done = 0
        with closing(self.runner.each(phase, blocks)) as events:
            for event in events:
                if not isinstance(event, Finished):
                    yield event
                    continue
                layer = event.block.layer
                collectors.setdefault(layer, phase.collector()).add(event.noted["seen"])
                left[layer] -= 1
                if not left[layer]:
                    yield PlaneSeen(layer, collectors.pop(layer).result())
                done += 1
                yield BlockDone(done, len(blocks), "block", phase=phase.name)

    def _digest(self, layer: int) -> str:
        """Return by which the values of a plane's region are known again."""
        planes, (top, left) = self.setup.planes, self.setup.region[:2]
        digests = {}
        for block in self.grid.of_layer(layer):
            y0, x0, y1, x1 = block.box
            window = box_slices((y0 + top, x0 + left, y1 + top, x1 + left))
            digests[block.number] = digest_of(planes.read(block.plane, window))
        return together(digests)


def _seen(layer: int) -> str:
    """Return the name of the file of a plane's statistics."""
    return f"statistics/{layer}.json"
