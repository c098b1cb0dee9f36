"""What must be known of a whole plane before its blocks can be computed each on its own."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images import Normalization, Planes, value_limits
from ..measuring.objects import all_channels
from .plan import Block, box_slices

SAMPLES = 2**22
"""Pixels of a plane from which percentiles are taken, as in ``value_limits``."""

_TOLD_APART = 2**16
"""Times the range of values that they may lie from 0: float32 has 256 steps of it then."""

Pairs = list[tuple[float, float]]

UNKNOWN = (math.nan, math.inf)
"""What values that are not finite become until the ends of the whole plane are known."""


@dataclass(frozen=True)
class Statistics:
    """The values of a plane, channel by channel."""

    limits: Pairs
    """What becomes 0 and 1."""
    extremes: Pairs
    """The lowest and the highest."""
    digest: str = ""
    """By which all of the values are known again."""

    @property
    def too_far(self) -> bool:
        """Whether float32 tells few of the values between the limits of a channel apart."""
        return any(
            0 < high - low < max(abs(low), abs(high)) / _TOLD_APART for low, high in self.limits
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as lists."""
        return {"limits": self.limits, "extremes": self.extremes, "digest": self.digest}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Statistics:
        """Return what :meth:`to_json` gave."""
        limits, extremes = (
            [(float(low), float(high)) for low, high in content[name]]
            for name in ("limits", "extremes")
        )
        return cls(limits, extremes, content["digest"])


@dataclass(frozen=True)
class Seen:
    """What is kept of a block's values."""

    block: int
    digest: bytes
    samples: NDArray[np.float32]
    """(C, n) values on a regular grid of pixels of the plane; none if they are not needed."""
    extremes: NDArray[np.float32]
    """(2, C): the lowest and the highest."""


class Collector:
    """Gathers a plane's statistics block by block: the very ones of the whole plane.

    Percentiles are taken from the same regular grid of pixels as for a plane in memory, so
    memory does not grow with the plane.
    """

    def __init__(self, shape: tuple[int, int], normalization: Normalization) -> None:
        self._normalization = normalization
        self._step = max(1, math.ceil(math.sqrt(math.prod(shape) / SAMPLES)))
        self._samples: list[NDArray[np.float32]] = []
        self._extremes: NDArray[np.float32] | None = None
        self._digests: dict[int, bytes] = {}

    def see(self, planes: Planes, block: Block) -> Seen:
        """Look at the values of a block."""
        values = planes.read(block.plane, block.slices, [UNKNOWN] * planes.in_channels)
        kept = values[:, :0, :0]
        if self._normalization.method == "percentile":
            first, second = (-block.box[i] % self._step for i in (0, 1))
            kept = values[:, first :: self._step, second :: self._step]
            outside = planes.outside(block.plane, block.slices)
            if outside is not None:
                kept = kept[:, ~outside[first :: self._step, second :: self._step]]
        extremes = np.stack([values.min(axis=(1, 2)), values.max(axis=(1, 2))])
        if not np.isfinite(extremes).all():
            finite = np.where(np.isfinite(values), values, np.float32(np.nan))
            extremes = np.stack([f.reduce(finite, axis=(1, 2)) for f in (np.fmin, np.fmax)])
        return Seen(block.number, digest_of(values), kept.reshape(len(values), -1), extremes)

    def add(self, seen: Seen) -> None:
        """Take what was seen of a block; in any order."""
        self._samples.append(seen.samples)
        self._digests[seen.block] = seen.digest
        found = seen.extremes.copy()
        if self._extremes is not None:
            found[0] = np.fmin(found[0], self._extremes[0])
            found[1] = np.fmax(found[1], self._extremes[1])
        self._extremes = found

    def result(self) -> Statistics:
        """Return the statistics of all that was added.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if self._extremes is None:
            raise ValueError("There are no values.")
        # Where no value at all is finite, they count as 0.
        extremes = [(float(low), float(high)) for low, high in np.nan_to_num(self._extremes.T)]
        limits = extremes
        if self._normalization.method == "percentile":
            samples = np.concatenate(self._samples, axis=1)
            for channel, (low, high) in zip(samples, extremes, strict=True):
                np.nan_to_num(channel, copy=False, nan=low, posinf=high)
            limits = value_limits(samples[:, None, :], self._normalization, max(1, samples.size))
        elif self._normalization.joint or self._normalization.method == "scale":
            widest = (min(low for low, _ in extremes), max(high for _, high in extremes))
            limits = [widest] * len(extremes)
        return Statistics(limits, extremes, together(self._digests))


def digest_of(values: NDArray[np.float32]) -> bytes:
    """Return a hash of the values (C, h, w) of a block."""
    one = values[:1] if values.strides[0] == 0 else values  # one channel, repeated
    return hashlib.sha256(np.ascontiguousarray(one).data).digest()


def together(digests: Mapping[int, bytes]) -> str:
    """Return a hash of a plane from those of its blocks, by their numbers."""
    return hashlib.sha256(b"".join(digests[number] for number in sorted(digests))).hexdigest()


def fingerprint(planes: Planes, numbers: Iterable[int]) -> str:
    """Return a hash of small windows all over the image, by which it is known again.

    Of all its channels: those that the network does not see are measured.
    """
    everything = all_channels(planes).planes
    digest = hashlib.sha256(f"{planes.shape} {planes.arrays[0].dtype}".encode())
    chosen = list(numbers)
    chosen = chosen[:: max(1, len(chosen) // 4)]
    for number in chosen:
        starts = [
            np.unique(np.linspace(0, max(0, side - 64), 4).astype(int))
            for side in planes.stack.plane_shape
        ]
        for y in map(int, starts[0]):
            for x in map(int, starts[1]):
                window = box_slices((y, x, y + 64, x + 64))
                digest.update(everything.values(number, window).tobytes())
    return digest.hexdigest()
