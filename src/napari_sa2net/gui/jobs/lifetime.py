"""Which controller belongs to which viewer, and when it must stop.

The dock's ✕ only hides a widget, and opening it again makes a new one, so a widget cannot own
a job. A viewer does, through the weak table here.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

Owned = TypeVar("Owned")

_owned: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


def unwrap(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari gives to plugins.

    Every widget gets a proxy of its own, so proxies cannot be keys.
    """
    return inspect.unwrap(viewer)


def owned_by(viewer: Any, name: str, make: Callable[[], Owned]) -> Owned:
    """Return what ``viewer`` owns under ``name``, made on first use."""
    table = _owned.setdefault(unwrap(viewer), {})
    if name not in table:
        table[name] = make()
    found: Owned = table[name]
    return found


def disown(viewer: Any, name: str) -> None:
    """Forget what ``viewer`` owns under ``name``."""
    _owned.get(unwrap(viewer), {}).pop(name, None)


def window_of(widget: QWidget) -> QMainWindow | None:
    """Return the main window that ``widget`` is in, also from a floating dock."""
    parent = widget
    while parent is not None:
        if isinstance(parent, QMainWindow):
            return parent
        parent = parent.parentWidget()
    return None


class _CloseWatcher(QObject):  # type: ignore[misc]
    """Notices that a window was closed, also where it is kept and not destroyed."""

    def __init__(self, window: QMainWindow, stop: Callable[[], None]) -> None:
        super().__init__(window)
        self._window = window
        self._stop = stop
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._window and event.type() == QEvent.Type.Close:
            # Whether the window agrees to close is known only after the event.
            QTimer.singleShot(0, self._check)
        return False

    def _check(self) -> None:
        if not self._window.isVisible():
            self._stop()


def when_closed(window: QMainWindow, stop: Callable[[], None]) -> None:
    """Call ``stop`` once ``window`` is closed, or the application quits before that."""
    _CloseWatcher(window, stop)
    window.destroyed.connect(lambda *_: stop())
    application = QApplication.instance()
    if application is not None:
        application.aboutToQuit.connect(stop)
