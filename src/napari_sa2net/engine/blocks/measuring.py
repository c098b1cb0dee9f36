"""Measuring and outlining the objects of a result, block by block.

Of the labels and the image only one block is in memory at a time, or the bounding box of one
object; of the objects, what adds up (:mod:`~napari_sa2net.engine.blocks.sums`), for the
objects of one plane at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Stack
from ..calibration import Calibration
from ..cards import ClassInfo
from ..events import Event
from ..measuring.geojson import write_geojson
from ..measuring.objects import Channels, Objects
from ..measuring.outlines import Outline, Part, polygons_of
from ..measuring.rois import write_rois
from ..measuring.table import Table, columns, placed, write_tables
from ..tiling import Box
from .plan import Block, BlockGrid, box_slices
from .store import Store
from .sums import Sums, merged, sums_of


class ClassOf(Mapping[int, int]):
    """The class of each object by its number, in a byte an object."""

    def __init__(self, classes: NDArray[np.uint8]) -> None:
        self._classes = classes

    def __getitem__(self, number: int) -> int:
        if not 0 < number < len(self._classes):
            raise KeyError(number)
        return int(self._classes[number])

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, len(self._classes)))

    def __len__(self) -> int:
        return max(0, len(self._classes) - 1)


@dataclass(frozen=True)
class Measuring:
    """What is to be known of the objects of a result. Plain data, that can be sent."""

    store: Store
    grid: BlockGrid
    stack: Stack
    """The planes; the labels are the full resolution in the store."""
    channels: Channels
    """Of the whole image."""
    classes: tuple[ClassInfo, ...]
    """The classes there are, background first."""
    paintable: tuple[int, ...]
    """The classes that objects can have."""
    regions: bool
    """Whether the labels are classes, not objects."""
    origin: tuple[int, int]
    """Row and column in the image of the labels' first pixel; places are told in the image."""

    @property
    def needs_probabilities(self) -> bool:
        """Whether an object's class is only known from the kept probabilities."""
        return not self.regions and len(self.paintable) > 1

    @property
    def cut(self) -> bool:
        """Whether outlines are cut at the sides of blocks, as those of classes in several are."""
        return self.regions and len(self.grid) > len(self.grid.planes)

    # --- Sums ---------------------------------------------------------------------------------

    def add_up(self, block: Block) -> None:
        """Add up the pixels of the objects of a block."""
        likely: Any = ()
        if self.needs_probabilities:
            # What is background was not kept, so holes that were filled have no say in this.
            kept = self.store.working("probabilities")
            likely = [kept[(block.layer, k, *block.slices)] for k in self.paintable]
        (top, left), (y0, x0, y1, x1) = self.origin, block.box
        window = slice(y0 + top, y1 + top), slice(x0 + left, x1 + left)
        values = self.channels.planes.values(block.plane, window)
        labels = self._labels(block, block.box)
        found = sums_of(labels, (y0, x0), block.number, values, np.asarray(likely))
        self.store.write_arrays(f"sums/{block.number}", **vars(found))

    def sums(self, layer: int) -> Sums:
        """Return the sums of the whole objects of a plane."""
        return merged([self._kept(block) for block in self.grid.of_layer(layer)])

    def _kept(self, block: Block) -> Sums:
        return Sums(**self.store.need_arrays(f"sums/{block.number}"))

    def _labels(self, block: Block, box: Box) -> NDArray[np.int32]:
        index = self.stack.index(block.plane)
        found: NDArray[np.int32] = self.store.level(0)[(*index, *box_slices(box))]
        return found

    # --- Outlines -----------------------------------------------------------------------------

    def share_out(self, layer: int) -> None:
        """Note for each block of a plane what is outlined with it.

        These are the objects, whole, of which it is the first block. Regions of classes have no
        bounds, so they are outlined as far as they lie in a block.
        """
        blocks = self.grid.of_layer(layer)
        if self.regions:
            shares = [self._kept(block) for block in blocks]
        else:
            whole = self.sums(layer)
            whole = whole.chosen(np.argsort(whole.owners, kind="stable"))
            ends = [0, *np.searchsorted(whole.owners, [b.number for b in blocks], "right").tolist()]
            shares = [whole.chosen(slice(*both)) for both in pairwise(ends)]
        for block, share in zip(blocks, shares, strict=True):
            boxes = np.concatenate([share.starts, share.ends], axis=1)
            self.store.write_arrays(f"shares/{block.number}", numbers=share.numbers, boxes=boxes)

    def trace(self, block: Block) -> None:
        """Outline what :meth:`share_out` gave a block."""
        share = self.store.need_arrays(f"shares/{block.number}")
        boxes: list[Box] = [(y0, x0, y1, x1) for y0, x0, y1, x1 in share["boxes"].tolist()]
        # Most reach over the block's sides by a little and are read with it, others alone.
        window = block.box
        for box in boxes:
            larger = _around(window, box)
            if _pixels(larger) <= 2 * self.grid.side**2:
                window = larger
        labels = self._labels(block, window)
        top, left = self.origin
        traced = []
        for number, box in zip(share["numbers"].tolist(), boxes, strict=True):
            near = _around(window, box) == window
            part = labels[box_slices(box, window[:2])] if near else self._labels(block, box)
            traced.append([number, polygons_of(part == number, (box[1] + left, box[0] + top))])
        self.store.write_json(f"outlines/{block.number}", {"outlines": traced})

    def _parts(self) -> list[Part]:
        """Return the outlines, a part a block, read only as they are taken."""
        return [
            Part(block.plane, self._traced(block), f"_block{block.number}" if self.cut else "")
            for block in self.grid
        ]

    def _traced(self, block: Block) -> Iterator[Outline]:
        for number, polygons in self.store.need_json(f"outlines/{block.number}")["outlines"]:
            rings = [[[(x, y) for x, y in ring] for ring in polygon] for polygon in polygons]
            yield Outline(number, rings)

    # --- Files --------------------------------------------------------------------------------

    def write(
        self, targets: Mapping[str, Path], sizes: Calibration
    ) -> Generator[Event, None, None]:
        """Write the files, from what the blocks gave.

        Parameters
        ----------
        targets
            The file of each kind, of :data:`~napari_sa2net.engine.batch.kinds.MEASURES`.
        sizes
            Size of a step along ``Z``, ``Y`` and ``X`` in µm, where it is known.
        """
        axes = "".join(letter for letter in "TZYX" if letter in self.stack.axes)
        labels, classes = self.store.level(0), self._class_of()
        objects = Objects(
            labels,
            axes,
            self.classes,
            classes,
            regions=self.regions,
            origin=self.origin,
            channels=self.channels.in_imagej,
        )
        for kind, path in targets.items():
            if kind == "table":
                yield from write_tables(path, self._tables(objects, sizes), len(self.grid.planes))
            elif kind == "geojson":
                yield from write_geojson(path, objects, self._parts())
            elif kind == "rois":
                yield from write_rois(path, objects, self._parts())

    def _tables(self, objects: Objects, sizes: Calibration) -> Iterator[Table]:
        for layer, plane in enumerate(self.grid.planes):
            table = placed(self.sums(layer).table(self.origin), objects, plane)
            yield columns(table, objects, self.channels.names, sizes)

    def _class_of(self) -> Mapping[int, int]:
        """Return the class of each object."""
        if self.regions:
            return {number: number for number in range(1, len(self.classes))}
        paintable = np.array(self.paintable, np.uint8)
        numbers, classes = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
        for layer in range(len(self.grid.planes)):
            sums = self.sums(layer)
            best = np.zeros(len(sums.numbers), np.intp)
            if self.needs_probabilities:
                best = sums.likely.argmax(axis=1)
            numbers.append(sums.numbers)
            classes.append(paintable[best])
        found = np.concatenate(numbers)
        table = np.zeros(int(found.max(initial=0)) + 1, np.uint8)
        table[found] = np.concatenate(classes)
        return ClassOf(table)


def _around(one: Box, other: Box) -> Box:
    """Return the box around two boxes."""
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _pixels(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
