"""A large result while it is made: what is in view comes first, and what is done is shown."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer

from ...engine import disk
from ...engine.errors import InputError
from .. import regions
from ..writer import Target
from .backend import plane_number

REFRESH = 400
"""Milliseconds between two looks at what is in view and what is done."""


class View:
    """What a person looks at, in pixels of a result.

    It is noted on the main thread and asked by the thread of the run.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, tuple[int, int, int, int]] | None = None

    def look(self, viewer: Any, target: Target) -> None:
        """Note what ``viewer`` shows of the image; what cannot be told stays as it was."""
        image = target.image
        if target.source not in viewer.layers:
            return
        try:
            part = regions.visible_region(viewer, target.source, image.axes)
        except InputError:  # nothing of it is in view
            return
        index = regions.plane_index(viewer, image, target.source)
        number = plane_number(image.data.shape, image.axes, index)
        box: list[int] = []
        for side, letter in enumerate("YX"):
            axis = image.layer_axes.index(letter)
            factor = image.factors[axis] if image.factors else 1
            start = target.region[side] if target.region is not None else 0
            box += [int(part[axis].start / factor) - start, int(part[axis].stop / factor) - start]
        self._seen = number, (box[0], box[2], box[1], box[3])

    def first(self, blocks: Sequence[Any]) -> Any:
        """Return the block nearest to what is in view: its plane, then the middle of the view."""
        if self._seen is None:
            return blocks[0]
        plane, (y0, x0, y1, x1) = self._seen

        def distance(block: Any) -> tuple[int, bool, float]:
            top, left, bottom, right = block.box
            outside = top >= y1 or bottom <= y0 or left >= x1 or right <= x0
            y, x = (top + bottom - y0 - y1) / 2, (left + right - x0 - x1) / 2
            return abs(block.plane - plane), outside, y * y + x * x

        return min(blocks, key=distance)


class Live:
    """Shows a result while it is made, a few times a second at most.

    Parameters
    ----------
    viewer
        Where it is shown.
    target
        Of the run.
    show
        Adds the layer that shows a folder, or finds it.
    """

    def __init__(self, viewer: Any, target: Target, show: Callable[[Path], Any]) -> None:
        self.view = View()
        self._viewer, self._target, self._show = weakref.ref(viewer), target, show
        self._store: Path | None = None
        self._layer: Any = None
        self._changed = False
        self._timer = QTimer()
        self._timer.setInterval(REFRESH)
        self._timer.timeout.connect(self.tick)
        self.view.look(viewer, target)
        self._timer.start()

    def begin(self, store: Path) -> None:
        """Note which folder is written to."""
        self._store = store

    def written(self) -> None:
        """Note that there is something new in the folder."""
        self._changed = True

    def tick(self) -> None:
        """Note what is in view, and show what is new."""
        viewer = self._viewer()
        if viewer is None:
            self.stop()
            return
        self.view.look(viewer, self._target)
        if not self._changed or self._store is None:
            return
        self._changed = False
        if self._layer is None:
            self._layer = self._show(self._store)
        elif self._layer in viewer.layers:  # a person may have removed it
            self._layer.refresh()

    def stop(self) -> None:
        """Show nothing more."""
        self._timer.stop()


class Stores:
    """The folder of the large results of a session; it goes with the window."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._removal: Callable[[], object] = lambda: None

    @property
    def parent(self) -> Path:
        """Where the folder is, or will be."""
        return Path(tempfile.gettempdir())

    @property
    def folder(self) -> Path:
        """The folder, made when it is first asked for, and removed at the latest on exit.

        What napari left that was killed goes now: it may be many gigabytes.
        """
        if self._folder is None:
            disk.sweep(self.parent)
            self._folder = disk.temporary(self.parent / "results")
            self._folder.mkdir(mode=0o700)
            self._removal = weakref.finalize(self, disk.remove, self._folder)
        return self._folder

    def free_bytes(self) -> int:
        """Return how much room there is."""
        return shutil.disk_usage(self.parent).free

    def remove(self) -> None:
        """Remove all of it."""
        self._removal()
        self._folder = None
