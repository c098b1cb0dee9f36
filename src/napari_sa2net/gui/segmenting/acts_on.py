"""Which labels the settings change, in a line that follows whether those can be seen."""

from __future__ import annotations

from typing import Any

from ..jobs.state import acts_on_text
from ..watching import watch
from ..wrapping import WrappedLabel


class ActsOn(WrappedLabel):
    """Says which result the label settings change."""

    def __init__(self) -> None:
        super().__init__()
        self._told: tuple[Any, bool, str] = (None, False, "")
        self._following: list[tuple[Any, Any]] = []

    def show_result(self, shown: Any, present: bool, model: str) -> None:
        """Speak of ``shown``; see :func:`~napari_sa2net.gui.jobs.state.acts_on_text`."""
        self._told = (shown, present, model)
        events = shown.layer.events if present else None
        self._follow([] if events is None else [events.visible, events.name])
        self._say()

    def _follow(self, emitters: list[Any]) -> None:
        if [before for before, _ in self._following] == emitters:
            return
        for before, listener in self._following:
            before.disconnect(listener)
        self._following = [(emitter, watch(self, emitter, self._say)) for emitter in emitters]

    def _say(self, _: Any = None) -> None:
        self.setText(acts_on_text(*self._told))
