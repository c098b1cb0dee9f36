"""Which labels the settings change, and what the colours of classes mean."""

from __future__ import annotations

import html
from typing import Any

from ..classes import classes_of, shows
from ..jobs.state import acts_on_text
from ..layers import is_result
from ..object_watch import ObjectWatch
from ..watching import watch
from ..wrapping import WrappedLabel


class Legend(WrappedLabel):
    """Says which class each colour is: of the result selected, else of the last one."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(rich=True)
        self._viewer = viewer
        self._last: Any = None
        self.setAccessibleName("Classes")
        watch(self, viewer.layers.selection.events.active, self._say)
        self._say()

    def show_result(self, layer: Any) -> None:
        """Speak of the last result; None if there is none."""
        self._last = layer
        self._say()

    def _say(self, _: Any = None) -> None:
        selected = self._viewer.layers.selection.active
        layer = selected if _shows_classes(selected) else self._last
        infos = enumerate(classes_of(layer)) if _shows_classes(layer) else ()
        entries = [
            f'<span style="color: {info.color}">■</span> {html.escape(info.name)} ({number})'
            for number, info in infos
            if number and not info.derived
        ]
        self.setText("&nbsp; ".join(entries))
        self.setVisible(bool(entries))


def _shows_classes(layer: Any) -> bool:
    return is_result(layer) and shows(layer) == "classes"


class ActsOn(WrappedLabel):
    """Says which result the label settings change, and follows whether that can be seen."""

    def __init__(self, objects: ObjectWatch) -> None:
        super().__init__()
        self._objects = objects
        self._told: tuple[Any, bool, str] = (None, False, "")
        objects.changed.connect(self._say)  # shown, hidden, renamed or edited

    def show_result(self, shown: Any, present: bool, model: str) -> None:
        """Speak of ``shown``; see :func:`~napari_sa2net.gui.jobs.state.acts_on_text`."""
        self._told = (shown, present, model)
        self._say()

    def _say(self) -> None:
        shown, present, model = self._told
        edited = present and self._objects.is_edited(shown.layer)
        self.setText(acts_on_text(shown, present, model, edited=edited))
