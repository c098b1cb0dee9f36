"""How an image is cut into blocks, and what segmenting it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import InputError
from ..events import Event
from ..fields import check_fields
from ..tiling import Box


@dataclass(frozen=True)
class BlockOptions:
    """How the work is cut up. The size of blocks and chunks does not change the labels."""

    side: int = field(default=2048, metadata={"min": 16, "max": 65536})
    """Side of a block in pixels, a multiple of ``chunk``. Memory goes with its square. Blocks
    are smaller where the image is enlarged for the network."""
    chunk: int = field(default=512, metadata={"min": 16, "max": 65536})
    """Side of the output's chunks in pixels."""
    largest: int = field(default=2**23, metadata={"min": 1, "max": 2**40})
    """Most pixels of a bounding box on which a connected part is labelled as a whole. Memory
    goes with it, about 60 bytes a pixel."""
    skip_empty: bool = False
    """Leave out tiles whose values hardly vary: there is nothing in them."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.side % self.chunk:
            raise InputError(
                f"Blocks of {self.side} pixels do not fit chunks of {self.chunk}: the side of a "
                "block must be a multiple of a chunk's."
            )

    def side_for(self, zoom: tuple[float, float]) -> int:
        """Return the side of the blocks of an image that is resampled by ``zoom``."""
        enlarged = max(1.0, *zoom)
        return max(self.chunk, int(self.side / enlarged) // self.chunk * self.chunk)


@dataclass(frozen=True)
class Block:
    """A rectangle of a plane that is read, computed and written at once."""

    number: int
    """Over all planes."""
    layer: int
    """Which of the segmented planes it lies in, from 0 on."""
    plane: int
    """The plane's number in the image."""
    place: tuple[int, int]
    """Row and column among the blocks of its plane."""
    box: Box

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the block lies in its plane."""
        return box_slices(self.box)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of some planes, row by row."""

    shape: tuple[int, int]
    """Height and width of a plane."""
    side: int
    planes: tuple[int, ...]
    """Numbers of the planes."""

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of blocks in a plane."""
        return math.ceil(self.shape[0] / self.side), math.ceil(self.shape[1] / self.side)

    def __len__(self) -> int:
        return len(self.planes) * math.prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    def __getitem__(self, number: int) -> Block:
        return self._blocks[number]

    def at(self, layer: int, row: int, column: int) -> Block | None:
        """Return the block at a place, or None outside of the plane."""
        rows, columns = self.counts
        if not (0 <= row < rows and 0 <= column < columns):
            return None
        return self._blocks[(layer * rows + row) * columns + column]

    def of_layer(self, layer: int) -> Sequence[Block]:
        """Return the blocks of one of the planes."""
        count = math.prod(self.counts)
        return self._blocks[layer * count : (layer + 1) * count]

    def with_margin(self, box: Box, margin: int) -> Box:
        """Return a box grown on all sides as far as the plane reaches."""
        return (
            max(0, box[0] - margin),
            max(0, box[1] - margin),
            min(self.shape[0], box[2] + margin),
            min(self.shape[1], box[3] + margin),
        )

    @cached_property
    def _blocks(self) -> tuple[Block, ...]:
        rows, columns = self.counts
        (height, width), side = self.shape, self.side
        places = [
            (layer, plane, row, column)
            for layer, plane in enumerate(self.planes)
            for row in range(rows)
            for column in range(columns)
        ]
        return tuple(
            Block(
                number,
                layer,
                plane,
                (row, column),
                (
                    row * side,
                    column * side,
                    min((row + 1) * side, height),
                    min((column + 1) * side, width),
                ),
            )
            for number, (layer, plane, row, column) in enumerate(places)
        )


@dataclass(frozen=True)
class BlockWritten(Event):
    """Labels of a block can be seen in the result, perhaps not yet the final ones."""

    plane: int
    """The plane's number."""
    box: Box
    """Where the block lies in the result's plane."""


def disk_bytes(pixels: int, classes: int) -> tuple[int, int]:
    """Return the most bytes of the working files and of the result, uncompressed.

    The working files hold float16 probabilities and int32 labels; the result int32 labels
    and, in the coarser levels, a third more.
    """
    return pixels * (2 * classes + 4), pixels * 4 * 4 // 3


def box_slices(box: Box, origin: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
    """Return the slices of a box, in an array that starts at ``origin``."""
    y, x = origin
    return slice(box[0] - y, box[2] - y), slice(box[1] - x, box[3] - x)


def overlap(one: Box, other: Box) -> Box | None:
    """Return where two boxes overlap."""
    box = (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )
    return box if box[0] < box[2] and box[1] < box[3] else None
