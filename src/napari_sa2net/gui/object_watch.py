"""Keeps the tables of Labels layers as their pixels are, whatever a person does to them."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from . import classes
from .jobs.lifetime import owned_by, unwrap
from .jobs.stepwise import Stepwise
from .layers import is_ours
from .objects import Census, is_counted, separate_pieces, write_table
from .segmenting.edits import differences
from .watching import watch

REST = 150
"""Milliseconds without an event after which a layer is looked at."""

EVENTS = ("paint", "set_data", "data")
"""After which the pixels may be others; undo and ``layer.data[...] =`` tell only of ``set_data``,
as does a change of the view."""


class ObjectWatch(QObject):  # type: ignore[misc]
    """Follows the Labels layers of a viewer that this package made.

    ``changed`` is emitted when there are others, one is shown, hidden or renamed, or its table or
    what is known of its objects has changed.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self._found: weakref.WeakKeyDictionary[Any, Census] = weakref.WeakKeyDictionary()
        """Of the layers that were edited, though they may be as they were again."""
        self._edited: weakref.WeakSet[Any] = weakref.WeakSet()
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()
        self._waiting: list[Any] = []
        self._work: Stepwise | None = None
        self._at_work: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST)
        self._timer.timeout.connect(self._next)
        watch(self, viewer.layers.events.inserted, self._look_for_layers)
        watch(self, viewer.layers.events.removed, self._look_for_layers)
        watch(self, viewer.layers.selection.events.changed, self._look_for_layers)
        self._look_for_layers()

    # --- what is known ---------------------------------------------------------------------

    def count(self, layer: Any) -> int | None:
        """Return how many objects, or classes, a layer has; None where nobody has counted."""
        return len(layer.features) if is_counted(layer) else None

    def pieces(self, layer: Any) -> dict[int, int]:
        """Return how many pieces an object is in, of those in several."""
        census = self._found.get(unwrap(layer))
        return census.pieces if census is not None else {}

    def is_edited(self, layer: Any) -> bool:
        """Return whether a person has changed a layer, as it was when looked at last."""
        return unwrap(layer) in self._edited

    # --- what a person says ----------------------------------------------------------------

    def give_class(self, layer: Any, number: int, kind: int) -> None:
        """Give an object a class; the next ones painted get it too."""
        classes.give(layer, number, kind)
        self.look(layer)

    def separate(self, layer: Any) -> int:
        """Make every piece an object of its own; return how many are new."""
        self.look(layer)
        census = self._found.get(unwrap(layer))
        new = 0 if census is None else separate_pieces(layer, census)
        self.look(layer)
        return new

    def look(self, layer: Any) -> None:
        """Bring the table of a layer up to date at once."""
        layer = unwrap(layer)
        if layer is self._at_work:
            self._stop()
        for _ in self._steps(layer):
            pass
        self.changed.emit()

    # --- following -------------------------------------------------------------------------

    def _look_for_layers(self, _: Any = None) -> None:
        viewer = self._viewer()
        for layer in () if viewer is None else viewer.layers:
            if layer in self._watched or not is_ours(layer):
                continue
            self._watched.add(layer)
            for emitter in (layer.events.name, layer.events.visible):
                watch(self, emitter, lambda _: self.changed.emit())
            if isinstance(layer, Labels):
                known = weakref.ref(layer)
                for name in EVENTS:
                    watch(self, getattr(layer.events, name), lambda _, of=known: self._wait(of()))
                self._wait(layer)
        self.changed.emit()

    def _wait(self, layer: Any) -> None:
        """Look at a layer when nothing has happened to it for a moment."""
        if layer is None:
            return
        if layer is self._at_work:
            self._stop()
        if layer not in self._waiting:
            self._waiting.append(layer)
        self._timer.start()

    def _next(self) -> None:
        viewer = self._viewer()
        while self._waiting and self._work is None and viewer is not None:
            layer = self._waiting.pop(0)
            if layer in viewer.layers and is_counted(layer):
                self._at_work = layer
                self._work = Stepwise(self._steps(layer), self._done, self._failed)
                self._work.start()

    def _steps(self, layer: Any) -> Generator[None, None, None]:
        self._edited.discard(layer)
        for differs in differences(layer):
            yield
            if differs:
                self._edited.add(layer)
                break
        census = self._found.get(layer)
        if census is None:
            if layer not in self._edited:
                return
            census = self._found[layer] = Census(layer)
        yield from census.steps()
        write_table(layer, census)

    def _done(self, _: Any) -> None:
        self._stop()
        self.changed.emit()
        self._next()

    def _failed(self, error: Exception) -> None:
        self._done(None)
        raise error

    def _stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work.deleteLater()
        self._work = self._at_work = None


def objects_of(viewer: Any) -> ObjectWatch:
    """Return what follows the Labels layers of ``viewer``."""
    return owned_by(viewer, "objects", lambda: ObjectWatch(viewer))
