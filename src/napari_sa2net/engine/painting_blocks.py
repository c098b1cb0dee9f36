"""How a painting is cut into blocks, and a block's bytes on disk."""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Side of a block in pixels."""

HEADER = struct.Struct("<4s2sQI")
"""Mark, NumPy type, pixels that are not zero, CRC-32 of the pixels; then those, compressed."""
MARK = b"SA2b"
LEVEL = 1
"""Of zlib: labels shrink a hundredfold even so, and it is the quickest."""


@dataclass(frozen=True)
class Grid:
    """How an array is cut into blocks: 512² along two of its axes, one plane along the others."""

    shape: tuple[int, ...]
    sides: tuple[int, int]
    """The two axes, of any order."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Pixels of a block along each axis."""
        return tuple(BLOCK if axis in self.sides else 1 for axis in range(len(self.shape)))

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(math.ceil(n / step) for n, step in zip(self.shape, self.steps, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def slices(self, number: int) -> tuple[slice, ...]:
        """Return where block ``number`` lies in the array."""
        places = np.unravel_index(number, self.counts)
        return tuple(
            slice(int(place) * step, min((int(place) + 1) * step, n))
            for place, step, n in zip(places, self.steps, self.shape, strict=True)
        )

    def within(self, bounds: Sequence[tuple[int, int]]) -> list[int]:
        """Return the numbers of the blocks that a box touches.

        Parameters
        ----------
        bounds
            First pixel and the one after the last along each axis; clipped to the array.
        """
        parts: list[range] = []
        stride = 1
        triples = list(zip(bounds, self.shape, self.steps, strict=True))
        for (start, stop), n, step in reversed(triples):  # plain numbers: a stroke asks often
            start, stop = max(0, int(start)), min(int(stop), n)
            if start >= stop:
                return []
            parts.insert(
                0, range(start // step * stride, ((stop - 1) // step + 1) * stride, stride)
            )
            stride *= -(-n // step)
        return [sum(places) for places in itertools.product(*parts)]


def pack(pixels: NDArray[Any], painted: int) -> bytes:
    """Return the file of a block, of whose pixels ``painted`` are not zero."""
    pixels = np.ascontiguousarray(pixels, dtype=_smallest(pixels))
    raw = pixels.tobytes()
    kind = pixels.dtype.str[1:].encode()
    return HEADER.pack(MARK, kind, painted, zlib.crc32(raw)) + zlib.compress(raw, LEVEL)


def unpack(packed: bytes) -> NDArray[Any]:
    """Return the pixels of a block's file, flat.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        mark, kind, _, checksum = HEADER.unpack_from(packed)
        raw = zlib.decompress(packed[HEADER.size :])
        if mark == MARK and zlib.crc32(raw) == checksum:
            return np.frombuffer(raw, dtype=np.dtype("<" + kind.decode("ascii")))
    except (struct.error, zlib.error, TypeError) as error:
        raise ValueError(f"not a block: {error}") from error
    raise ValueError("the checksum does not fit")


def facts(path: Path) -> tuple[int, int]:
    """Return how many pixels of a block are painted, and the size of its file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
        return int(HEADER.unpack(head)[2]), path.stat().st_size
    except (OSError, struct.error):
        return 0, 0  # reading it says that it is damaged


def _smallest(pixels: NDArray[Any]) -> np.dtype[Any]:
    """Return the smallest type that holds the values: eight times fewer bytes to compress."""
    kind = pixels.dtype if int(pixels.min()) < 0 else np.min_scalar_type(int(pixels.max()))
    return kind.newbyteorder("<")
