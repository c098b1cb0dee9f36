"""Parts that lie in several blocks: put together by union-find over the blocks' sides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tiling import Box
from .labelling import BorderParts
from .plan import BlockGrid


class Union:
    """Sets of numbers that are joined in pairs."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def find(self, number: int) -> int:
        """Return the lowest number of the set."""
        parent = self._parent
        root = number
        while parent[root] != root:
            root = int(parent[root])
        while parent[number] != root:
            parent[number], number = root, int(parent[number])
        return root

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        a, b = self.find(one), self.find(other)
        self._parent[max(a, b)] = min(a, b)

    def roots(self) -> NDArray[np.int64]:
        """Return the lowest number of each number's set."""
        return np.array([self.find(i) for i in range(len(self._parent))], np.int64)


@dataclass(frozen=True)
class Joined:
    """The parts that touch sides of blocks, joined across them."""

    starts: NDArray[np.int64]
    """Where the parts of each block begin in ``member``; one more at the end."""
    member: NDArray[np.int64]
    """Which joined part each block's part belongs to."""
    owners: NDArray[np.int64]
    """The block that labels each joined part."""
    boxes: NDArray[np.int64]
    """(n, 4), in the plane."""
    pixels: NDArray[np.int64]
    """(n, 2), a pixel of each."""
    huge: NDArray[np.bool_]
    """Whether its bounding box is too large to be labelled at once."""

    def of_block(self, number: int) -> NDArray[np.int64]:
        """Return the joined part of each border part of a block, in their order."""
        return self.member[self.starts[number] : self.starts[number + 1]]

    def owned(self, number: int) -> list[int]:
        """Return the joined parts that a block labels on their bounding boxes."""
        return [int(i) for i in np.flatnonzero((self.owners == number) & ~self.huge)]

    def box(self, number: int) -> Box:
        """Return a joined part's bounding box."""
        y0, x0, y1, x1 = (int(n) for n in self.boxes[number])
        return y0, x0, y1, x1

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as named arrays."""
        return dict(vars(self))

    def reaching(self, grid: BlockGrid, number: int) -> list[int]:
        """Return the blocks whose joined parts' bounding boxes reach into a block."""
        block = grid[number]
        y0, x0, y1, x1 = block.box
        hit = (
            (self.owners // math.prod(grid.counts) == block.layer)
            & ~self.huge
            & (self.boxes[:, 0] < y1)
            & (self.boxes[:, 2] > y0)
            & (self.boxes[:, 1] < x1)
            & (self.boxes[:, 3] > x0)
        )
        return [int(owner) for owner in np.unique(self.owners[hit])]


def join(grid: BlockGrid, read: Callable[[int], BorderParts], largest: int) -> Joined:
    """Join the parts of neighbouring blocks that touch.

    Parameters
    ----------
    grid
        The blocks.
    read
        Gives those of a block by its number; the sides of a few blocks only are in memory.
    largest
        Most pixels of a bounding box that is labelled at once.
    """
    boxes = [np.zeros((0, 4), np.int64)]
    pixels = [np.zeros((0, 2), np.int64)]
    for block in grid:
        found = read(block.number)
        boxes.append(found.boxes)
        pixels.append(found.pixels)
    starts = np.cumsum([len(part) for part in boxes], dtype=np.int64)
    union = Union(int(starts[-1]))
    for block in grid:
        row, column = block.place
        mine = read(block.number)
        for side, opposite, place in (
            ("bottom", "top", (row + 1, column)),
            ("right", "left", (row, column + 1)),
        ):
            other = grid.at(block.layer, *place)
            if other is not None:
                for a, b in _touching(mine, side, read(other.number), opposite):
                    union.join(int(starts[block.number]) + a, int(starts[other.number]) + b)
    roots, first, member = np.unique(union.roots(), return_index=True, return_inverse=True)
    around = _boxes(np.concatenate(boxes), member, len(roots))
    sizes = (around[:, 2] - around[:, 0]) * (around[:, 3] - around[:, 1])
    return Joined(
        starts=starts,
        member=member.astype(np.int64),
        owners=np.searchsorted(starts, first, side="right").astype(np.int64) - 1,
        boxes=around,
        pixels=np.concatenate(pixels)[first],
        huge=sizes > largest,
    )


def _touching(
    mine: BorderParts, side: str, theirs: BorderParts, opposite: str
) -> list[tuple[int, int]]:
    """Return pairs of parts, from 0 on, that touch over a side and are of one class."""
    a, b = mine.sides[side], theirs.sides[opposite]
    both = (a > 0) & (b > 0)
    pairs = np.unique(np.stack([a[both], b[both]], axis=1), axis=0) - 1
    same = mine.kinds[pairs[:, 0]] == theirs.kinds[pairs[:, 1]]
    return [(int(one), int(other)) for one, other in pairs[same]]


def _boxes(boxes: NDArray[np.int64], member: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the box around all boxes of each joined part."""
    out = np.zeros((count, 4), np.int64)
    out[:, :2] = np.iinfo(np.int64).max
    for axis, gather in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
        gather.at(out[:, axis], member, boxes[:, axis])
    return out
