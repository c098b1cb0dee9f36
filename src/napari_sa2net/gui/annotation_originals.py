"""Labels as they were before a person corrected them, so that the corrections can be found.

napari tells of undo and of ``layer.data[...] =`` by no event, so corrections are found by
comparing. What is compared with is kept compressed, block by block: labels of nuclei take a few
hundredths of their size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Side of a block in pixels."""

ORIGINAL = "napari-sa2net-original"
"""Key of ``layer.metadata`` under which the :class:`Original` of a correction stands."""

Key = tuple[tuple[int, ...], int, int]
"""A plane's index over the axes other than Y and X, and where in it a block begins."""


def blocks_of(shape: tuple[int, int], side: int = BLOCK) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks of a plane, row by row."""
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            yield slice(y, min(y + side, shape[0])), slice(x, min(x + side, shape[1]))


@dataclass(frozen=True, eq=False)
class Original:
    """Labels, compressed. Nothing in it changes, so copies of a layer share it."""

    shape: tuple[int, ...]
    dtype: str
    sides: tuple[int, int]
    """Which axes are Y and X."""
    blocks: dict[Key, tuple[int, bytes]]
    """Checksum and compressed pixels. A block of a single value holds that value only."""

    @classmethod
    def of(cls, data: NDArray[Any], sides: tuple[int, int]) -> Original:
        """Compress ``data``; ``sides`` are its axes Y and X."""
        planes = np.moveaxis(data, sides, (-2, -1))
        blocks: dict[Key, tuple[int, bytes]] = {}
        for index in np.ndindex(planes.shape[:-2]):
            plane = planes[index]
            for rows, columns in blocks_of(plane.shape):
                block = np.ascontiguousarray(plane[rows, columns])
                blocks[index, rows.start, columns.start] = _pack(block)
        return cls(data.shape, str(data.dtype), sides, blocks)

    def __deepcopy__(self, memo: dict[int, Any]) -> Original:
        return self

    def edited(
        self, plane: NDArray[Any], index: tuple[int, ...], rows: slice, columns: slice
    ) -> NDArray[np.bool_] | None:
        """Return where a block of ``plane`` differs from what it was, None if nowhere.

        Parameters
        ----------
        plane
            (H, W) as it is now.
        index
            Of the plane over the axes other than Y and X.
        rows, columns
            A block as :func:`blocks_of` gives them.
        """
        block = np.ascontiguousarray(plane[rows, columns])
        checksum, packed = self.blocks[index, rows.start, columns.start]
        if _checksum(block) == checksum and str(block.dtype) == self.dtype:
            return None
        before = np.frombuffer(zlib.decompress(packed), dtype=self.dtype)
        # A block of one value holds it once: it is spread over the block here.
        differs: NDArray[np.bool_] = block != np.resize(before, block.shape)
        return differs if differs.any() else None


def remember_original(layer: Any, data: NDArray[Any], sides: tuple[int, int]) -> None:
    """Keep ``data`` as what ``layer`` was before it is corrected."""
    layer.metadata[ORIGINAL] = Original.of(data, sides)


def original_of(layer: Any) -> Original | None:
    """Return what ``layer`` was before it was corrected; None if it is no correction.

    Neither is it one any more when its pixels were replaced by an array of another shape.
    """
    found = getattr(layer, "metadata", {}).get(ORIGINAL)
    if isinstance(found, Original) and found.shape == tuple(layer.data.shape):
        return found
    return None


def _pack(block: NDArray[Any]) -> tuple[int, bytes]:
    first = block.flat[0]
    pixels = block if (block != first).any() else np.array(first)
    return _checksum(block), zlib.compress(pixels.tobytes(), 1)


def _checksum(block: NDArray[Any]) -> int:
    pixels: Any = block  # mypy does not know that it is a buffer
    return zlib.crc32(memoryview(pixels))
