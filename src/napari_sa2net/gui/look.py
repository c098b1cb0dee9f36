"""What napari's style sheet leaves out: where the focus is, and the font of line edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

STYLE = """
QCheckBox::indicator:focus {{ border: 2px solid {text}; width: 14px; height: 14px; padding: 0px; }}
QCheckBox:focus {{ text-decoration: underline; }}
QPushButton:focus {{ border: 1px solid {text}; padding: 3px; }}
QPushButton:checked {{ border: 2px solid {text}; padding: 2px; }}
QToolButton:focus {{ border: 1px solid {text}; }}
QComboBox:focus {{ border: 1px solid {text}; padding: 2px 9px 2px 7px; }}
QAbstractSpinBox:focus {{ border: 1px solid {text}; padding: 0px 9px; }}
QLineEdit:focus {{ border: 1px solid {text}; padding: 1px; }}
QListWidget:focus, QSlider:focus {{ border: 1px solid {text}; }}
SizeSpin {{ min-width: 7.5em; }}
QLineEdit {{ font-size: {size}pt; min-height: 1.5em; }}
QAbstractSpinBox QLineEdit {{ font-size: {small}pt; min-height: 0px; }}
"""


def keep_style(widget: QWidget) -> None:
    """Style a widget and all in it by napari's theme and font size, also when these change."""
    from .watching import watch

    def apply(_: Any = None) -> None:
        look = get_settings().appearance
        text = get_theme(look.theme).text.as_hex()
        small = int(look.font_size)
        widget.setStyleSheet(STYLE.format(text=text, size=small + 1, small=small))

    events = get_settings().appearance.events
    for emitter in (events.theme, events.font_size):
        watch(widget, emitter, apply)
    apply()


class Refitted(QObject):  # type: ignore[misc]
    """Has what depends on the height of text fitted again when the font of a widget changes."""

    def __init__(self, widget: QWidget, fit: Callable[[], None]) -> None:
        super().__init__(widget)
        self._fit = fit
        widget.installEventFilter(self)

    def eventFilter(self, _: Any, event: Any) -> bool:
        """Wait until what is in the widget has the new font too."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            QTimer.singleShot(0, self._refit)
        return False

    def _refit(self) -> None:
        self._fit()
