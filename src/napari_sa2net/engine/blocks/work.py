"""What each phase does with one block. Everything is read from the store and written there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..parts import Labels
from ..tiling import Box
from .joining import Joined, join
from .labelling import BorderParts, Rules, border_numbers, border_parts, pixels_of
from .plan import Block, BlockGrid, box_slices, overlap
from .probabilities import only_foreground
from .store import Store


@dataclass(frozen=True)
class Work:
    """The phases after the network, block by block."""

    store: Store
    grid: BlockGrid
    rules: Rules
    largest: int
    """Most pixels of a bounding box that is labelled at once."""

    # --- Probabilities ------------------------------------------------------------------------

    def keep(self, block: Block, probabilities: NDArray[np.float16]) -> Labels:
        """Keep a block's probabilities, and which parts touch its sides.

        Returns what can be said of the block before the others are known: its parts, or where
        classes are wanted, their classes.

        They are kept as float16, all classes of them, because labels in memory are made from
        just that: fewer bits would move thresholds, and the seeds that split objects.
        """
        only_foreground(probabilities, self.rules.settings)
        array = self.store.working("probabilities")
        array[(block.layer, slice(None), *block.slices)] = probabilities
        parts, kinds = self.rules.parts(probabilities)
        found = border_parts(parts, kinds, block, self.grid)
        self.store.write_arrays(f"borders/{block.number}", **found.to_arrays())
        return kinds[parts] if self.rules.settings.result == "classes" else parts

    def probabilities(self, layer: int, box: Box) -> NDArray[np.float16]:
        """Return the kept probabilities (K, h, w) of a box."""
        array = self.store.working("probabilities")
        found: NDArray[np.float16] = array[(layer, slice(None), *box_slices(box))]
        return found

    # --- Joining ------------------------------------------------------------------------------

    def join(self) -> Joined:
        """Join the parts of all blocks, or return what was joined before."""
        arrays = self.store.read_arrays("joined")
        if arrays is None:
            arrays = join(self.grid, self._borders, self.largest).to_arrays()
            self.store.write_arrays("joined", **arrays)
        return Joined(**arrays)

    def _borders(self, number: int) -> BorderParts:
        return BorderParts.from_arrays(self.store.need_arrays(f"borders/{number}"))

    def huge_text(self, count: int) -> str:
        """Tell that some parts are too large to be labelled at once."""
        pieces = (
            "Holes in them are filled only where they lie in one block."
            if self.rules.settings.result == "classes"
            else "Objects in them are cut at the blocks' borders."
        )
        return (
            f"{count} connected part(s) of the foreground cover more than "
            f"{self.largest / 1e6:.1f} megapixels and were labelled block by block. {pieces} A "
            "higher threshold takes them apart; larger blocks take more memory."
        )

    def measure(self, block: Block, joined: Joined) -> NDArray[np.float32]:
        """Return the radii of the objects of a block's own parts."""
        window = self.grid.with_margin(block.box, 1)
        probabilities = self.probabilities(block.layer, window)
        wanted, _ = self._own(block, joined, probabilities, window)
        radii = [self.rules.radii(probabilities, wanted)]
        for number in joined.owned(block.number):
            window = self.grid.with_margin(joined.box(number), 1)
            probabilities = self.probabilities(block.layer, window)
            wanted = self._joined_part(joined, number, probabilities, window)
            radii.append(self.rules.radii(probabilities, wanted))
        return np.concatenate(radii)

    # --- Labels -------------------------------------------------------------------------------

    def label(self, block: Block, joined: Joined) -> tuple[int, int]:
        """Label a block's own parts and the joined parts that are its to label.

        Returns
        -------
        tuple of int
            Objects in the block, and objects of the joined parts; numbers start at 1 in both.
        """
        window = self.grid.with_margin(block.box, self.rules.margin)
        probabilities = self.probabilities(block.layer, window)
        wanted, huge = self._own(block, joined, probabilities, window)
        # A piece of something huge is no speck, however little of it lies in this block.
        keep = huge if self.rules.settings.result == "classes" else None
        labels = self.rules.labels(probabilities, wanted, keep)
        labels = labels[box_slices(block.box, window[:2])]
        self.store.working("labels")[(block.layer, *block.slices)] = labels
        patches = [self._patch(block, joined, number) for number in joined.owned(block.number)]
        count = 0
        for patch in patches:
            highest = int(patch.max(initial=0))
            if self.rules.settings.result == "instances":
                patch[patch > 0] += count
                count += highest
        boxes = [joined.box(number) for number in joined.owned(block.number)]
        self.store.write_arrays(
            f"patches/{block.number}",
            boxes=np.array(boxes, np.int64).reshape(-1, 4),
            labels=np.concatenate([np.zeros(0, np.int32), *(p.ravel() for p in patches)]),
        )
        return int(labels.max(initial=0)), count

    def result(self, block: Block, joined: Joined, starts: dict[int, tuple[int, int]]) -> Labels:
        """Return the final labels of a block.

        Parameters
        ----------
        starts
            What is added to the numbers of each block's own objects, and to those of its
            joined parts.
        """
        labels: Labels = self.store.working("labels")[(block.layer, *block.slices)]
        labels = _moved(labels, starts[block.number][0])
        for owner in joined.reaching(self.grid, block.number):
            arrays = self.store.need_arrays(f"patches/{owner}")
            at = 0
            for y0, x0, y1, x1 in arrays["boxes"].tolist():
                size = (y1 - y0) * (x1 - x0)
                common = overlap(block.box, (y0, x0, y1, x1))
                if common is not None:
                    patch = arrays["labels"][at : at + size].reshape(y1 - y0, x1 - x0)
                    part = _moved(patch[box_slices(common, (y0, x0))], starts[owner][1])
                    target = labels[box_slices(common, block.box[:2])]
                    np.copyto(target, part, where=part > 0)
                at += size
        return labels

    # --- Parts --------------------------------------------------------------------------------

    def _own(
        self, block: Block, joined: Joined, probabilities: NDArray[np.float16], window: Box
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return where, in a window, a block's own parts lie, and which of it is huge parts.

        Its own are those that touch no other block, and its pieces of what is too large to be
        labelled at once.
        """
        inside = box_slices(block.box, window[:2])
        parts, _ = self.rules.parts(probabilities[(slice(None), *inside)])
        border = border_numbers(parts, block, self.grid)
        huge = np.zeros(probabilities.shape[1:], bool)
        huge[inside] = pixels_of(parts, border[joined.huge[joined.of_block(block.number)]])
        wanted = np.zeros_like(huge)
        wanted[inside] = (parts > 0) & ~pixels_of(parts, border)
        return wanted | huge, huge

    def _joined_part(
        self, joined: Joined, number: int, probabilities: NDArray[np.float16], window: Box
    ) -> NDArray[np.bool_]:
        """Return where, in a window around its bounding box, a joined part lies."""
        parts, _ = self.rules.parts(probabilities)
        y, x = joined.pixels[number] - window[:2]
        return np.asarray(parts == parts[y, x])

    def _patch(self, block: Block, joined: Joined, number: int) -> Labels:
        """Label a joined part on its bounding box."""
        box = joined.box(number)
        window = self.grid.with_margin(box, self.rules.margin)
        probabilities = self.probabilities(block.layer, window)
        wanted = self._joined_part(joined, number, probabilities, window)
        labels = self.rules.labels(probabilities, wanted)
        return labels[box_slices(box, window[:2])].copy()


def _moved(labels: Labels, by: int) -> Labels:
    """Add to all labels but the background."""
    return np.where(labels > 0, labels + np.int32(by), 0).astype(np.int32) if by else labels
