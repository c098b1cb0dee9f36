"""Which layer the button "Save result…" writes, in a line that follows what is selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...engine.errors import InputError
from .. import classes
from ..jobs.state import count_text
from ..object_watch import ObjectWatch
from ..wrapping import WrappedLabel
from .stored import store_of


class SavesWhat(WrappedLabel):
    """Names the layer that is saved, and how many objects it has; hidden if there is none.

    Parameters
    ----------
    controller
        Of the tab.
    objects
        What follows the layers.
    to_save
        Returns the layer and a name for its file, or raises an InputError.
    """

    def __init__(
        self, controller: Any, objects: ObjectWatch, to_save: Callable[[], tuple[Any, str]]
    ) -> None:
        super().__init__()
        self._controller, self._objects, self._to_save = controller, objects, to_save
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
        title, shown = f"“{layer.name}”", self._controller.shown
        if store_of(layer) is not None:
            on_disk = shown is not None and shown.on_disk and shown.layer == layer
            return f"{title}, {shown.segmentation.result.text}" if on_disk else title
        count = self._objects.count(layer)
        if count is None:
            return title
        kind = "classes" if classes.shows(layer) == "classes" else "instances"
        return f"{title}, {count_text(count, kind)}"
