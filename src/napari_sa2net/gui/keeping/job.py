"""What the saving thread knows of one painting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.painting_blocks import Grid
from ...engine.paintings import PaintingSet
from ..annotating.originals import Original


@dataclass(eq=False)
class Job:
    """A painting being watched. The main thread hands it to the saver's methods only."""

    array: NDArray[Any]
    grid: Grid
    about: dict[str, Any]
    original: Original | None
    """What it was before it was corrected."""
    kept: PaintingSet | None
    """The set on disk; made when something is painted."""
    sums: NDArray[np.uint32]
    """Of each block as saved; 0 where it is all zero, which needs no file."""
    near: dict[int, None] = field(default_factory=dict)
    """Blocks to compare first, in this order."""
    lately: dict[int, None] = field(default_factory=dict)
    wanted: bool = True
    """Whether a sweep is to begin."""
    over: bool = False
    described: dict[str, Any] | None = None
    """What of ``about`` is saved."""
    attached: bool = False
    """Whether ``original`` is saved."""
    sweep: Iterator[int] | None = None
    spent: float = 0.0
    """Seconds of the processor that the running or last sweep took."""
    next_sweep: float = 0.0
    """Not to begin before this time."""
    last_sweep: float = 0.0
    unsaved: bool = False
    """Whether the index is behind the blocks."""
    committed: float = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether what is kept beside the blocks is not what it should be."""
        lacks_original = self.original is not None and not self.attached
        return self.kept is not None and (self.about is not self.described or lacks_original)

    @property
    def is_pending(self) -> bool:
        """Whether there is something to look at or to save."""
        to_look = self.near or self.wanted or self.sweep is not None or self.over
        return bool(to_look) or self.unsaved or self.is_behind
