"""Which layer the button "Save result…" writes, in a line that follows what is selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...engine.errors import InputError
from ...engine.found import count_text
from .. import classes
from ..object_watch import ObjectWatch
from ..wrapping import WrappedLabel
from .stored import found_in, store_of


class SavesWhat(WrappedLabel):
    """Names the layer that is saved, and how many objects it has; hidden if there is none.

    Parameters
    ----------
    objects
        What follows the layers.
    to_save
        Returns the layer and a name for its file, or raises an InputError.
    """

    def __init__(self, objects: ObjectWatch, to_save: Callable[[], tuple[Any, str]]) -> None:
        super().__init__()
        self._objects, self._to_save = objects, to_save
        objects.changed.connect(self.refresh)

    def refresh(self) -> None:
        """Say it again."""
        try:
            layer, _ = self._to_save()
        except InputError:  # of which the button tells
            self.setVisible(False)
            return
        self.setText(f"To be saved: {self._describe(layer)}.")
        self.setVisible(True)

    def _describe(self, layer: Any) -> str:
        if store_of(layer) is not None:
            found = found_in(layer)
        else:
            count = self._objects.count(layer)
            kind = "classes" if classes.shows(layer) == "classes" else "instances"
            found = "" if count is None else count_text(count, kind)
        return f"“{layer.name}”, {found}" if found else f"“{layer.name}”"
