"""Which labels the settings change, in a line that follows whether those can be seen."""

from __future__ import annotations

from typing import Any

from ..jobs.state import acts_on_text
from ..object_watch import ObjectWatch
from ..watching import watch
from ..wrapping import WrappedLabel


class ActsOn(WrappedLabel):
    """Says which result the label settings change."""

    def __init__(self, objects: ObjectWatch) -> None:
        super().__init__()
        self._objects = objects
        self._told: tuple[Any, bool, str] = (None, False, "")
        self._following: tuple[Any, Any] | None = None
        objects.changed.connect(self._say)

    def show_result(self, shown: Any, present: bool, model: str) -> None:
        """Speak of ``shown``; see :func:`~napari_sa2net.gui.jobs.state.acts_on_text`."""
        self._told = (shown, present, model)
        self._follow(shown.layer.events.visible if present else None)
        self._say()

    def _follow(self, emitter: Any) -> None:
        if self._following is not None:
            before, listener = self._following
            if before is emitter:
                return
            before.disconnect(listener)
        self._following = None if emitter is None else (emitter, watch(self, emitter, self._say))

    def _say(self, _: Any = None) -> None:
        shown, present, model = self._told
        edited = present and self._objects.is_edited(shown.layer)
        self.setText(acts_on_text(shown, present, model, edited=edited))
