"""The probabilities of one block, from the plane's one grid of tiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ..events import Event, Message
from ..execution.maps import half
from ..execution.pipeline import in_order
from ..instances import LabelSettings, foreground
from ..prediction import Predictor
from ..scaling import resample_part
from ..segmentation import TileDone
from ..tiling import Stitcher
from .plan import Block
from .source import TileLayout, is_empty
from .store import Store


@dataclass(frozen=True)
class TileReady(Event):
    """A tile that a block needs has been computed, or was there."""

    block: Block
    number: int
    """Among the tiles of its plane."""


@dataclass
class TileCount:
    """How far the tiles of all planes are, for the progress bar."""

    total: int
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Layer and number of the tiles that have been computed."""

    def add(self, block: Block, numbers: Iterable[int]) -> TileDone:
        """Count tiles of a block, each once; return where things stand."""
        self.seen.update((block.layer, number) for number in numbers)
        return TileDone(len(self.seen), self.total, plane=block.plane)

    def add_block(self, block: Block, layouts: Sequence[TileLayout]) -> TileDone:
        """Count all tiles of a block."""
        layout = layouts[block.layer]
        return self.add(block, layout.within(layout.needed(block.box)))


class BlockPredictor:
    """Computes the probabilities of blocks.

    A tile on the border between blocks is computed once: it waits in a file until all blocks
    that need it are done. If that file is missing, it is computed again, with the same result.

    Parameters
    ----------
    predictor
        The network.
    store
        Where tiles wait.
    side
        Of the blocks.
    skip_empty
        Leave out tiles with nothing in them: they are background.
    """

    def __init__(
        self, predictor: Predictor, store: Store, side: int, skip_empty: bool = False
    ) -> None:
        self._predictor = predictor
        self._store = store
        self._side = side
        self._skip_empty = skip_empty
        self.skipped: set[int] = set()
        """Tiles of the last block that had nothing in them."""

    @property
    def device(self) -> str:
        """Where the network runs, see :attr:`Predictor.where`.

        The CPU once the memory of another device has run out.
        """
        return self._predictor.where

    def close(self) -> None:
        """Free the network and the device's memory."""
        self._predictor.close()

    def block(
        self, block: Block, layout: TileLayout
    ) -> Generator[Event, None, NDArray[np.float16]]:
        """Return the probabilities (K, h, w) of a block; an event a tile."""
        self.skipped = set()
        need = layout.needed(block.box)
        stitcher = Stitcher(self._predictor.classes, need)
        tiles = layout.tiles
        # Row by row: what the image's size decides, how far tiles reach beyond the block, then
        # hardly counts for memory.
        for _, row in groupby(layout.within(need), key=lambda number: tiles[number].y):
            todo = deque(row)
            start, end = tiles[todo[0]], tiles[todo[-1]]
            x = layout.source.window((start.y[0], start.x[0], end.y[1], end.x[1]))
            begin = partial(self._begin, x, (start.y[0], start.x[0]), layout, block.layer)
            for chunk, values in in_order(todo, begin, self._predictor):
                if values is None:
                    text = self._predictor.make_room([tiles[number] for number in chunk])
                    yield Message(text, warning=True)
                    continue
                for number, value in zip(chunk, values, strict=True):
                    stitcher.add(tiles[number], value)
                    yield TileReady(block, number)
        maps = stitcher.result()
        source = layout.source
        return half(
            resample_part(
                maps,
                (need[0], need[1]),
                layout.spans(block.box),
                source.working_shape,
                source.shape,
            )
        )

    def _begin(
        self,
        x: NDArray[np.float32],
        corner: tuple[int, int],
        layout: TileLayout,
        layer: int,
        numbers: Sequence[int],
    ) -> Callable[[], list[NDArray[np.float32]] | None]:
        """Return what waits for what the network, or a file, says of each tile."""
        found: dict[int, NDArray[np.float32]] = {}
        for number in numbers:
            values = self._known(x, corner, number, layout, layer)
            if values is not None:
                found[number] = values
        missing = [number for number in numbers if number not in found]
        tiles = [layout.tiles[number] for number in missing]
        maps = self._predictor.start(x, corner, tiles) if tiles else None

        def finish() -> list[NDArray[np.float32]] | None:
            if maps is not None:
                computed = maps()
                if computed is None:
                    return None
                for number, values in zip(missing, computed, strict=True):
                    found[number] = values
                    if len(layout.touched(number, self._side)) > 1:
                        self._store.write_arrays(_name(layer, number), values=values)
            return [found[number] for number in numbers]

        return finish

    def _known(
        self,
        x: NDArray[np.float32],
        corner: tuple[int, int],
        number: int,
        layout: TileLayout,
        layer: int,
    ) -> NDArray[np.float32] | None:
        """Return the maps of a tile that need not be computed."""
        if self._skip_empty:
            rows, columns = layout.tiles[number].seen_from(*corner).slices
            tile = x[:, rows, columns]
            if is_empty(tile, layout.source.spread()):
                self.skipped.add(number)
                nothing = np.zeros((self._predictor.classes, *tile.shape[1:]), np.float32)
                nothing[0] = 1
                return nothing
        if len(layout.touched(number, self._side)) > 1:
            kept = self._store.read_arrays(_name(layer, number))
            if kept is not None:
                return kept["values"]
        return None


def forget_tiles(
    store: Store, side: int, block: Block, layout: TileLayout, done: Iterable[tuple[int, int]]
) -> None:
    """Remove the tiles of a block that wait for others, and that none needs any more.

    Parameters
    ----------
    side
        Of the blocks.
    done
        Row and column of the blocks of the plane that are done.
    """
    finished = set(done)
    for number in layout.within(layout.needed(block.box)):
        places = layout.touched(number, side)
        if len(places) > 1 and finished.issuperset(places):
            store.remove_arrays(_name(block.layer, number))


def first_block(layout: TileLayout, number: int, side: int) -> tuple[int, int]:
    """Return row and column of the block that counts a tile as its own."""
    return layout.touched(number, side)[0]


def only_foreground(
    probabilities: NDArray[np.float16], settings: LabelSettings
) -> NDArray[np.float16]:
    """Set what is background to certain background, in place.

    Labelling looks at nothing else there, and a uniform background takes no room on disk.
    """
    outside = ~foreground(probabilities, settings)
    probabilities[1:, outside] = 0
    probabilities[0, outside] = 1
    return probabilities


def _name(layer: int, number: int) -> str:
    return f"tiles/{layer}_{number}"
