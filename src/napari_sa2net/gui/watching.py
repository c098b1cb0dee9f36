"""Listening to napari from a widget that may be gone before the viewer is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtWidgets import QWidget


def watch(widget: QWidget, emitter: Any, call: Callable[..., None]) -> Callable[..., None]:
    """Call ``call(event)`` at each event of ``emitter`` for as long as ``widget`` exists.

    Returns what was connected, to disconnect it earlier.
    """

    def listener(event: Any = None) -> None:
        call(event)

    def stop(*_: Any) -> None:
        with suppress(AttributeError):  # where both go at once, it may be in pieces already
            emitter.disconnect(listener)

    emitter.connect(listener)
    widget.destroyed.connect(stop)
    return listener
