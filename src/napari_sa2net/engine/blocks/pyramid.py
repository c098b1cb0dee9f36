"""The coarser levels of the result, and the description that makes it an OME-Zarr image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..disk import patiently
from ..parts import Labels
from ..tiling import Box
from .plan import Block, BlockGrid

_KINDS = {"T": "time", "Z": "space", "Y": "space", "X": "space"}


@dataclass(frozen=True)
class Pyramid:
    """Levels of half the size each, until one fits into a chunk."""

    axes: str
    """Letters of ``TZYX``, in this order."""
    shape: tuple[int, ...]
    chunk: int
    origin: tuple[int, int] = (0, 0)
    """Row and column in the image of the first pixel; another one of a region."""

    @property
    def count(self) -> int:
        """The number of levels, the full resolution included."""
        longest = max(self.shape[-2:])
        return 1 + max(0, math.ceil(math.log2(longest / self.chunk)))

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level: every second pixel of the one before."""
        height, width = (-(-n // 2**level) for n in self.shape[-2:])
        return (*self.shape[:-2], height, width)

    def grid(self, level: int, side: int, planes: tuple[int, ...]) -> BlockGrid:
        """Return the blocks of a level, of half the side: four times as many pixels are read.

        They are whole chunks, so that no two blocks write into one.
        """
        height, width = self.level_shape(level)[-2:]
        half = max(self.chunk, side // 2 // self.chunk * self.chunk)
        return BlockGrid((height, width), half, planes)

    def part(self, labels: Labels, box: Box, level: int) -> tuple[Labels, tuple[slice, slice]]:
        """Return what a level has of a box of the full resolution, and where.

        Parameters
        ----------
        labels
            (h, w) of the box.
        box
            In the full resolution.
        level
            0 is the full resolution.
        """
        step = 2**level
        y, x = (-(-start // step) for start in box[:2])
        found = labels[y * step - box[0] :: step, x * step - box[1] :: step]
        return found, (slice(y, y + found.shape[0]), slice(x, x + found.shape[1]))

    def attributes(
        self, sizes: Mapping[str, float], colors: Mapping[int, str] | None = None, name: str = ""
    ) -> dict[str, Any]:
        """Return the metadata of OME-Zarr 0.5.

        Parameters
        ----------
        sizes
            Size of a step along ``Z``, ``Y``, ``X`` in µm, where known.
        colors
            ``#rrggbb`` of each number, if the numbers are classes.
        name
            Of the image.
        """
        axes = [
            {"name": letter.lower(), "type": _KINDS[letter]}
            | ({"unit": "micrometer"} if letter in sizes else {})
            for letter in self.axes
        ]
        datasets = [
            {"path": str(level), "coordinateTransformations": self._place(level, sizes)}
            for level in range(self.count)
        ]
        multiscale: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
        label: dict[str, Any] = {}
        if colors:
            label["colors"] = [
                {"label-value": value, "rgba": [*bytes.fromhex(color[1:]), 255]}
                for value, color in colors.items()
            ]
        return {"ome": {"version": "0.5", "multiscales": [multiscale], "image-label": label}}

    def _place(self, level: int, sizes: Mapping[str, float]) -> list[dict[str, Any]]:
        # A pixel is the first of those it stands for, so its place is theirs: no translation.
        factors = [2**level if letter in "YX" else 1 for letter in self.axes]
        scale = [f * sizes.get(a, 1.0) for f, a in zip(factors, self.axes, strict=True)]
        place: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(self.origin):
            starts = dict(zip("YX", self.origin, strict=True))
            moved = [starts.get(a, 0) * sizes.get(a, 1.0) for a in self.axes]
            place.append({"type": "translation", "translation": moved})
        return place


def shrink(source: Any, target: Any, block: Block, index: tuple[int, ...]) -> None:
    """Write a block of a level: every second pixel of the level before.

    Parameters
    ----------
    source, target
        Arrays of the two levels.
    block
        Of the target.
    index
        The plane's place along T and Z.
    """
    y0, x0, y1, x1 = block.box
    found = source[(*index, slice(2 * y0, 2 * y1), slice(2 * x0, 2 * x1))]
    patiently(target.__setitem__, (*index, *block.slices), found[::2, ::2])
