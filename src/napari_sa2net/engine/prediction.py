"""The network on one plane, tile by tile, with what to do when memory runs out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .devices import free_memory, is_out_of_memory
from .ensemble import Network, members_of
from .errors import DeviceError, SA2NetError
from .events import Event, Message, Progress
from .execution.backends import make_backend
from .execution.base import Backend
from .execution.pipeline import in_order
from .network import STAGES
from .segmentation import SegmentOptions, TileDone, tile_for
from .tiling import GRID, Box, Stitcher, Tile, tile_grid

SMALLEST_TILE = 64
"""Tiles are not halved below this."""

BATCHES = {"cpu": 1, "mps": 4, "cuda": 8}
"""Tiles of 512² pixels computed at a time, by kind of device; of larger ones fewer."""


FLIPS = ((), (-1,), (-2,), (-2, -1))
"""Axes along which a tile is mirrored, when its results are averaged over that."""

Result = TypeVar("Result")

Started = Callable[[], NDArray[np.float32] | None]
"""Waits for the maps of tiles; None if memory ran out."""


@dataclass
class Plan:
    """Where the network runs and how the plane is cut; changes when memory runs out."""

    device: str
    batch: int
    tile: int
    discard: int
    blend: int
    flips: bool = False
    """Average over mirror images."""
    fixed: bool = False
    """Keep the tiles' size even when memory runs out: other planes or blocks have it too."""
    backend: str = "auto"
    """What runs the network, see :data:`.segmentation.BACKENDS`."""
    precision: str = "auto"
    """See :data:`.segmentation.PRECISIONS`."""
    asked_tile: int = field(init=False)

    def __post_init__(self) -> None:
        self.asked_tile = self.tile

    @classmethod
    def of(
        cls, options: SegmentOptions, device: str, base_channels: int, *, fixed: bool = False
    ) -> Plan:
        """Return how a segmentation with a network of a width starts on a device."""
        tile = tile_for(options, base_channels)
        batch = options.batch or _batch(device, tile)
        return cls(
            device,
            batch,
            tile,
            options.discard,
            options.blend,
            flips=options.flips,
            fixed=fixed,
            backend=options.backend,
            precision=options.precision,
        )

    def grid(self, shape: tuple[int, int], need: Box | None = None) -> list[Tile]:
        """Return the tiles of a padded plane, or those whose cores touch a part of it."""
        # A small tile cannot give away as much of itself.
        discard = min(self.discard, self.tile // 4 // GRID * GRID)
        blend = min(self.blend, self.tile - 2 * discard - GRID)
        tiles = tile_grid(shape, self.tile, discard, blend)
        if need is None:
            return tiles
        return [
            tile
            for tile in tiles
            if tile.core_y[0] < need[2] and need[0] < tile.core_y[1]
            and tile.core_x[0] < need[3] and need[1] < tile.core_x[1]
        ]  # fmt: skip

    def shrink(self, used: int, side: int) -> str:
        """Take less memory: halve the batch, then the tile, then go to the CPU.

        Parameters
        ----------
        used
            Tiles that were computed together when memory ran out.
        side
            Longest side of the tiles.

        Returns
        -------
        str
            What was done, for a person.

        Raises
        ------
        DeviceError
            If nothing is left to do.
        """
        where = f"The memory of {self.device} ran out"
        if used > 1:
            self.batch = used // 2
            return f"{where}: going on with {self.batch} tile(s) at a time."
        # Of the longest that is allowed, unless the tiles are that short already.
        half = (self.tile if self.tile // 2 < side else side) // 2 // GRID * GRID
        if half >= SMALLEST_TILE and not self.fixed:
            self.tile = half
            return f"{where}: going on with tiles of {half} pixels."
        if self.device != "cpu":
            # In steps of the asked size: what the GPU had too little of, the CPU may have.
            self.device, self.batch, self.tile = "cpu", BATCHES["cpu"], self.asked_tile
            small = "a single tile" if self.fixed else "small tiles"
            return f"{where} even for {small}: going on with the CPU, which is slower."
        raise DeviceError(
            "The computer's memory ran out even for a single "
            + ("tile. Give smaller tiles, close" if self.fixed else "small tile. Close")
            + " other programs, crop the image, or use a smaller model."
        )


class Predictor:
    """Runs a copy of the network on planes. Close it to free the device's memory.

    Parameters
    ----------
    network
        It is copied: the caller's keeps its mode, device and memory layout.
    plan
        Device, batch and tiles.
    """

    def __init__(self, network: Network, plan: Plan) -> None:
        self.plan = plan
        self.classes = max(2, network.num_classes)
        self.in_channels = network.in_channels
        self.stages = False
        """Whether the next plane's stages are wanted."""
        self.attention = False
        """Whether the next plane's attention maps are wanted."""
        self.done = 0
        """Tiles done so far."""
        self.messages: list[str] = []
        """What was said about memory."""
        self._source = network
        self._backends: dict[bool, list[Backend]] = {}

    @property
    def maps(self) -> int:
        """The number of maps a plane gives."""
        return self.classes + STAGES * (self.stages + self.attention)

    def close(self) -> None:
        """Free the copies of the network and the device's memory."""
        for made in self._backends.values():
            for backend in made:
                backend.rest()
        self._backends.clear()
        free_memory(self.plan.device)

    def plane(
        self, x: NDArray[np.float32], number: int, later: int = 0
    ) -> Generator[Event, None, NDArray[np.float32]]:
        """Run the network over a padded plane; an event a tile.

        Parameters
        ----------
        x
            (C, H, W), sides multiples of 16.
        number
            The plane's number, for the events.
        later
            Planes still to come, for the events.

        Returns
        -------
        ndarray
            (maps, H, W): probability of each class, then the stages, then the attention maps.
        """
        shape = (x.shape[1], x.shape[2])
        return (yield from self.part(lambda _: x, shape, (0, 0, *shape), number, later))

    def part(
        self,
        read: Callable[[Box], NDArray[np.float32]],
        shape: tuple[int, int],
        need: Box,
        number: int,
        later: int = 0,
    ) -> Generator[Event, None, NDArray[np.float32]]:
        """Run the network over a part of a padded plane, in the plane's own tiles.

        Parameters
        ----------
        read
            Returns a box (C, h, w) of the padded plane.
        shape
            Of the padded plane.
        need
            The part. Only the tiles that say something of it are read and computed.
        number, later
            As for :meth:`plane`.

        Returns
        -------
        ndarray
            (maps, h, w) of the part.
        """
        stitcher = Stitcher(self.maps, need)
        grid = self.plan.grid(shape, need)
        todo = deque(grid)
        if not self.done:  # how many there are is known before the first one is done
            yield Progress(0, len(grid) * (1 + later), "tile")
        while todo:
            x, corner = _read(read, grid)
            start = partial(self.start, x, corner)
            total = self.done + len(todo) + later * len(grid)
            for chunk, values in in_order(todo, start, self):
                if values is None:
                    self.messages.append(f"{self.make_room(chunk)} Finished tiles are kept.")
                    yield Message(self.messages[-1], warning=True)
                    grid = self.plan.grid(shape, need)
                    todo = deque(tile for tile in grid if not stitcher.covers(tile))
                    break
                for tile, value in zip(chunk, values, strict=True):
                    stitcher.add(tile, value)
                    self.done += 1
                    yield TileDone(self.done, total, plane=number)
        return stitcher.result()

    @property
    def batch(self) -> int:
        """Tiles that are computed together."""
        return self.plan.batch

    @property
    def ahead(self) -> int:
        """Batches that are begun before the maps of an earlier one are fetched."""
        # Not known, and of no account, before the first batch has been begun.
        made = self._backends.get(self._everything, [])
        return max((backend.ahead for backend in made), default=0)

    @property
    def where(self) -> str:
        """The device, and the precision where it is not single."""
        half = any(backend.half for made in self._backends.values() for backend in made)
        return f"{self.plan.device} in half precision" if half else self.plan.device

    def start(
        self, x: NDArray[np.float32], corner: tuple[int, int], tiles: Sequence[Tile]
    ) -> Started:
        """Begin with some tiles of a padded plane.

        Parameters
        ----------
        x
            (C, h, w), a part of the plane. It is not needed any more afterwards.
        corner
            The place of its first pixel in the plane.
        tiles
            All of one size.

        Returns
        -------
        callable
            Waits for the maps (B, maps, h, w) of the tiles, and returns None if memory ran out.
        """
        batch = np.stack(
            [x[:, rows, columns] for rows, columns in (t.seen_from(*corner).slices for t in tiles)]
        )
        begun = self._unless_full(partial(self._begin, batch))
        return lambda: None if begun is None else self._unless_full(begun)

    def _unless_full(self, work: Callable[[], Result]) -> Result | None:
        """Return the work's result, or None if memory ran out."""
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise _explained(error, self.plan.device) from error
        # The error, and with it the frames that hold tensors, is gone by now.
        return None

    def _begin(self, batch: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
        if self._everything not in self._backends:
            plan = self.plan
            self._backends[self._everything] = [
                make_backend(member, plan.device, self._everything, plan.backend, plan.precision)
                for member in members_of(self._source)
            ]
        passes = [
            (backend, axes)
            for backend in self._backends[self._everything]
            for axes in (FLIPS if self.plan.flips else FLIPS[:1])
        ]

        def begin(number: int) -> Callable[[], NDArray[np.float32]]:
            backend, axes = passes[number]
            return backend.start(np.flip(batch, axes))

        first = begin(0)
        wanted = [True] * self.classes
        if self._everything:
            wanted += [self.stages] * STAGES + [self.attention] * STAGES

        def finish() -> NDArray[np.float32]:
            begun = first
            total: NDArray[np.float32] = np.zeros(1, np.float32)
            for number, (_, axes) in enumerate(passes):
                # One ahead keeps a card busy; all of them at once would fill memory.
                following = begin(number + 1) if number + 1 < len(passes) else begun
                found = np.flip(begun(), axes)
                total = total + found if number else found
                begun = following
            mean = total if len(passes) == 1 else total / np.float32(len(passes))
            if not np.isfinite(mean.sum()):
                raise SA2NetError(NOT_NUMBERS)
            return mean if all(wanted) else mean[:, wanted]

        return finish

    @property
    def _everything(self) -> bool:
        """Whether the network has more to give than the probabilities."""
        return self.stages or self.attention

    def make_room(self, tiles: Sequence[Tile]) -> str:
        """Shrink the plan after memory ran out, and free what can be freed."""
        before = self.plan.device
        tile = tiles[0]
        side = max(tile.y[1] - tile.y[0], tile.x[1] - tile.x[0])
        text = self.plan.shrink(len(tiles), side)
        if self.plan.device != before:
            self._backends.clear()
        free_memory(before)
        return text


NOT_NUMBERS = (
    "The network gives values that are no numbers: its weights are damaged, or they do not go with "
    "the normalisation that the model's card names. Choose another model, or get it again."
)


def _batch(device: str, tile: int) -> int:
    return max(1, BATCHES.get(device.split(":")[0], 1) * 512**2 // max(tile, 512) ** 2)


def _read(
    read: Callable[[Box], NDArray[np.float32]], tiles: Sequence[Tile]
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Read what some tiles cover, which lie in rows; return it and its first pixel's place."""
    first, last = tiles[0], tiles[-1]
    corner = first.y[0], first.x[0]
    return read((*corner, last.y[1], last.x[1])), corner


def _explained(error: BaseException, device: str) -> SA2NetError:
    """Turn an error of torch into one for a person (never a RuntimeError: see events)."""
    if isinstance(error, SA2NetError):
        return error
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    if device == "cpu":
        return SA2NetError(f"The network failed: {text}. Please report this with the model used.")
    return DeviceError(
        f"The network failed on {device}: {text}. Choose the device cpu, or update the driver."
    )
