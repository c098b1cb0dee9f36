"""Labels of one block, and of the parts that lie in several blocks.

A *part* is a set of connected foreground pixels within which labelling decides everything. A
part that touches no other block is labelled with its block. All others are labelled once, on
their whole bounding box, whatever blocks it covers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..instances import LabelSettings, class_parts, clean, foreground, split_parts
from ..parts import Labels, label, part_radii, sequential, split_reach
from .plan import Block, BlockGrid

SIDES = ("top", "bottom", "left", "right")
_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_EDGES: tuple[tuple[Any, ...], ...] = (
    (0, slice(None)),
    (-1, slice(None)),
    (slice(None), 0),
    (slice(None), -1),
)


@dataclass(frozen=True)
class Rules:
    """How probabilities become labels, in whatever part of a plane."""

    settings: LabelSettings
    derived: tuple[int, ...] = ()
    """Numbers of the classes that only separate objects."""
    radius: float | None = None
    """Usual radius of the image's objects, where they are split by distance."""

    @property
    def by_distance(self) -> bool:
        """Whether objects are split at their necks, for which the radius is needed."""
        settings = self.settings
        return settings.result == "instances" and settings.split and not self.derived

    @property
    def margin(self) -> int:
        """Pixels around a part that decide on its labels."""
        if not self.by_distance or self.radius is None:
            return 0
        # Peaks within reach, from distances smoothed over 4 pixels, from the background
        # between them and the part.
        return math.ceil((split_reach(self.radius) + 4) * (1 + math.sqrt(2))) + 1

    def parts(self, probabilities: NDArray[np.floating[Any]]) -> tuple[Labels, Labels]:
        """Return the parts, numbered from 1 on, and the class of each number, 0 for any."""
        if self.settings.result == "classes" or not (self.settings.split or self.derived):
            return class_parts(probabilities, self.settings, self.derived)
        labels = label(foreground(probabilities, self.settings))
        return labels, np.zeros(int(labels.max(initial=0)) + 1, np.int32)

    def labels(
        self,
        probabilities: NDArray[np.floating[Any]],
        wanted: NDArray[np.bool_],
        whole: NDArray[np.bool_] | None = None,
    ) -> Labels:
        """Label the wanted parts.

        Parameters
        ----------
        probabilities
            (K, h, w), with everything that decides on these parts, see :attr:`margin`.
        wanted
            Their pixels.
        whole
            Those of them that belong to something larger, and are not dropped as specks.

        Returns
        -------
        ndarray of int32
            (h, w), instances 1 … n, or classes.
        """
        if not wanted.any():
            return np.zeros(wanted.shape, np.int32)
        found, owners = split_parts(
            probabilities, self.settings, derived=self.derived, radius=self.radius
        )
        mine = np.zeros(int(found.max(initial=0)) + 1, bool)
        mine[found[wanted]] = True
        mine[0] = False
        cleaned = clean(found, self.settings, whole)
        labels = np.where(mine[cleaned], cleaned, 0)
        return owners[labels] if self.settings.result == "classes" else sequential(labels)

    def radii(
        self, probabilities: NDArray[np.floating[Any]], wanted: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the radius of each object within the wanted parts, before they are split.

        ``probabilities`` must reach one pixel beyond them.
        """
        labels, _ = class_parts(probabilities, self.settings, self.derived)
        numbers = np.unique(labels[wanted & (labels > 0)])
        return part_radii(labels)[numbers - 1]


@dataclass(frozen=True)
class BorderParts:
    """The parts of a block that touch other blocks, numbered from 1 on."""

    sides: dict[str, NDArray[np.int32]]
    """The number at each pixel of a side; nowhere where there is no other block."""
    kinds: NDArray[np.int32]
    """The class of each, 0 for any."""
    boxes: NDArray[np.int64]
    """(n, 4), in the plane."""
    pixels: NDArray[np.int64]
    """(n, 2), a pixel of each, in the plane."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as named arrays."""
        return {**self.sides, "kinds": self.kinds, "boxes": self.boxes, "pixels": self.pixels}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> BorderParts:
        """Return what :meth:`to_arrays` gave."""
        return cls(
            {side: arrays[side] for side in SIDES},
            arrays["kinds"],
            arrays["boxes"],
            arrays["pixels"],
        )


def border_numbers(parts: Labels, block: Block, grid: BlockGrid) -> NDArray[np.int32]:
    """Return, in order, the numbers of the parts that touch another block."""
    edges = [parts[edge] for edge, _ in _inner_edges(block, grid)]
    numbers = np.unique(np.concatenate(edges)) if edges else np.zeros(0, np.int32)
    return numbers[numbers > 0].astype(np.int32)


def border_parts(
    parts: Labels, kinds: NDArray[np.int32], block: Block, grid: BlockGrid
) -> BorderParts:
    """Describe the parts of a block that touch other blocks."""
    numbers = border_numbers(parts, block, grid)
    order = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
    order[numbers] = np.arange(1, len(numbers) + 1)
    inner = {side for _, side in _inner_edges(block, grid)}
    sides = {
        side: order[parts[edge]] if side in inner else np.zeros(parts[edge].shape, np.int32)
        for edge, side in zip(_EDGES, SIDES, strict=True)
    }
    y0, x0 = block.box[:2]
    boxes = np.zeros((len(numbers), 4), np.int64)
    pixels = np.zeros((len(numbers), 2), np.int64)
    found = ndimage.find_objects(order[parts])
    for i, (rows, columns) in enumerate(found):
        boxes[i] = rows.start + y0, columns.start + x0, rows.stop + y0, columns.stop + x0
        first = np.flatnonzero(parts[rows.start, columns] == numbers[i])[0]
        pixels[i] = rows.start + y0, columns.start + first + x0
    return BorderParts(sides, kinds[numbers], boxes, pixels)


def pixels_of(parts: Labels, numbers: Sequence[int] | NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the parts of some numbers lie."""
    chosen = np.zeros(int(parts.max(initial=0)) + 1, bool)
    chosen[numbers] = True
    chosen[0] = False
    return chosen[parts]


def _inner_edges(block: Block, grid: BlockGrid) -> list[tuple[tuple[Any, ...], str]]:
    row, column = block.place
    return [
        (edge, side)
        for edge, side, (dy, dx) in zip(_EDGES, SIDES, _STEPS, strict=True)
        if grid.at(block.layer, row + dy, column + dx) is not None
    ]
