"""Labels as they were before a person corrected them, so that the corrections can be found.

napari tells of undo and of ``layer.data[...] =`` by no event, so corrections are found by
comparing. What is compared with is kept compressed, block by block, as runs of equal pixels:
labels of nuclei take a few hundredths of their size.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.events import Progress
from ..jobs.worker import Task

BLOCK = 512
"""Side of a block in pixels."""

AT_ONCE = 2**25
"""Bytes that are compressed before the window goes on."""

ORIGINAL = "napari-sa2net-original"
"""Key of ``layer.metadata`` under which the :class:`Original` of a correction stands."""

Key = tuple[tuple[int, ...], int, int]
"""A plane's index over the axes other than Y and X, and where in it a block begins."""

_running: set[Task] = set()
"""Kept until they end."""


def blocks_of(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks of a plane, row by row."""
    for y in range(0, shape[0], BLOCK):
        for x in range(0, shape[1], BLOCK):
            yield slice(y, min(y + BLOCK, shape[0])), slice(x, min(x + BLOCK, shape[1]))


class Original:
    """Labels, compressed. Its content never changes, so copies of a layer share it.

    Parameters
    ----------
    data
        The labels; copied.
    sides
        Which axes of them are Y and X.
    """

    def __init__(self, data: NDArray[Any], sides: tuple[int, int]) -> None:
        self.shape = tuple(data.shape)
        self.dtype = str(data.dtype)
        self.sides = sides
        self._blocks: dict[Key, tuple[int, bytes]] = {}
        """Checksum and compressed runs of each block."""
        self._plain: NDArray[Any] | None = np.moveaxis(np.array(data), sides, (-2, -1))
        """All pixels, as long as not all blocks are compressed."""

    def pack(self) -> Generator[Progress, None, None]:
        """Compress, in any thread; :meth:`edited` may be used meanwhile."""
        planes = self._plain
        if planes is None:
            return
        indices = list(np.ndindex(planes.shape[:-2]))
        for done, index in enumerate(indices):
            plane = planes[index]
            for rows, columns in blocks_of((plane.shape[0], plane.shape[1])):
                block = np.ascontiguousarray(plane[rows, columns])
                self._blocks[index, rows.start, columns.start] = _pack(block)
                yield Progress(done, len(indices), "plane")
        self._plain = None

    def packed(self) -> dict[Key, tuple[int, bytes]] | None:
        """Return checksum and compressed runs of each block; None until all are compressed."""
        return self._blocks if self._plain is None else None

    @classmethod
    def from_packed(
        cls,
        shape: tuple[int, ...],
        dtype: str,
        sides: tuple[int, int],
        blocks: dict[Key, tuple[int, bytes]],
    ) -> Original:
        """Make one from what :meth:`packed` returned."""
        found = cls(np.zeros((0,) * len(shape), dtype), sides)
        found.shape, found._blocks, found._plain = shape, blocks, None
        return found

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
        plain = self._plain  # before the block is looked up, as it goes when all are compressed
        packed = self._blocks.get((index, rows.start, columns.start))
        if packed is None and plain is not None:
            differs: NDArray[np.bool_] = block != plain[index][rows, columns]
        elif packed is None or _checksum(block) == packed[0]:
            return None
        else:
            differs = block != _unpack(packed[1], self.dtype, block.shape)
        return differs if differs.any() else None


def remember_original(layer: Any, data: NDArray[Any], sides: tuple[int, int]) -> None:
    """Keep ``data`` as what ``layer`` was before it is corrected.

    Large labels are compressed in the background.
    """
    original = Original(data, sides)
    layer.metadata[ORIGINAL] = original
    if data.nbytes <= AT_ONCE:
        for _ in original.pack():
            pass
        return
    task = Task(original.pack)
    _running.add(task)
    task.ended.connect(lambda _: _running.discard(task))
    task.start()


def original_of(layer: Any) -> Original | None:
    """Return what ``layer`` was before it was corrected; None if it is no correction.

    Neither is it one any more when its pixels were replaced by an array of another shape.
    """
    found = getattr(layer, "metadata", {}).get(ORIGINAL)
    if isinstance(found, Original) and found.shape == tuple(layer.data.shape):
        return found
    return None


def _pack(block: NDArray[Any]) -> tuple[int, bytes]:
    pixels = block.ravel()
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]), len(pixels) - 1)
    # Lengths of runs compress better than where they end.
    lengths = np.diff(ends, prepend=-1).astype(np.uint32)
    return _checksum(block), zlib.compress(lengths.tobytes() + pixels[ends].tobytes(), 1)


def _unpack(packed: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    buffer = zlib.decompress(packed)
    count = len(buffer) // (4 + np.dtype(dtype).itemsize)
    lengths = np.frombuffer(buffer, np.uint32, count)
    values = np.frombuffer(buffer, dtype, count, offset=4 * count)
    return np.repeat(values, lengths).reshape(shape)


def _checksum(block: NDArray[Any]) -> int:
    pixels: Any = block  # mypy does not know that it is a buffer
    return zlib.crc32(memoryview(pixels))
