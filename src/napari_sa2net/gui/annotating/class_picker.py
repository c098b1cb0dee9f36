"""Choosing what to paint by name and colour, instead of by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QSizePolicy, QWidget

from ..plain import no_mnemonic, tooltip
from ..watching import watch
from .layers import class_colours, meaning_of, painted_classes

if TYPE_CHECKING:
    from ...engine.weights import ModelCard

ERASER = 0
"""The value of what is not painted, for which the eraser stands."""

NEW_OBJECT = -1
"""Stands for the next number that no object has yet."""

COLUMNS = 3
SWATCH = 14


class ClassPicker(QWidget):  # type: ignore[misc]
    """A button for each class, and an eraser; sets a Labels layer's label and tool."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Any = None
        self._stop: list[Any] = []
        self.buttons: dict[int, QPushButton] = {}
        """By the value they paint; :data:`ERASER` and :data:`NEW_OBJECT` have one too."""
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        watch(self, viewer.layers.events.removed, self._on_removed)
        self.setVisible(False)

    def set_layer(self, layer: Any, card: ModelCard | None) -> None:
        """Offer the values of ``layer``, as its meaning and the model's classes name them."""
        self._let_go()
        self._layer = layer
        known = None if layer is None else meaning_of(layer)
        if known is None or card is None:
            self._fill({})
            return
        meaning, of = known
        names = [info.name for info in painted_classes(card)]
        colours = class_colours(meaning, card)
        first = int(meaning == "strokes")
        entries: dict[int, tuple[str, str, str]] = {}
        if of == "instances":
            if first:
                entries[1] = (names[0], colours[1], "Paint what is no object.")
            tip = "Paint an object of its own, with the next free number (key M)."
            entries[NEW_OBJECT] = (f"new {names[1]}", colours[first + 1], tip)
        else:
            for value, colour in colours.items():
                name = names[value - first]
                entries[value] = (name, colour, f"Paint “{name}”, the value {value}.")
        what = "not painted" if first else names[0]
        entries[ERASER] = ("erase", "", f"Rub out: back to “{what}”, the value 0 (key 1).")
        self._fill(entries)
        for emitter in (layer.events.selected_label, layer.events.mode):
            self._stop.append((emitter, watch(self, emitter, self._follow)))
        self._follow()

    def pick(self, value: int) -> None:
        """Take up the brush with ``value``, or the eraser."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            return
        self._viewer.layers.selection.active = layer
        layer.visible = True
        if value == ERASER:
            layer.mode = "erase"
            return
        if value == NEW_OBJECT:
            value = max(int(np.max(layer.data, initial=0)), 1) + 1
        layer.selected_label = value
        if str(layer.mode) not in ("paint", "fill", "polygon"):
            layer.mode = "paint"

    def _fill(self, entries: dict[int, tuple[str, str, str]]) -> None:
        for button in self.buttons.values():
            self._group.removeButton(button)
            self._grid.removeWidget(button)
            button.hide()  # it is gone only when the event loop runs again
            button.deleteLater()
        self.buttons = {}
        for place, (value, (name, colour, tip)) in enumerate(entries.items()):
            button = QPushButton()
            button.setText(no_mnemonic(name))
            button.setCheckable(True)
            button.setToolTip(tooltip(tip))
            button.setAccessibleName(name)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            if colour:
                button.setIcon(_swatch(colour))
            button.clicked.connect(lambda _=False, value=value: self.pick(value))
            self._group.addButton(button)
            self._grid.addWidget(button, place // COLUMNS, place % COLUMNS)
            self.buttons[value] = button
        self.setVisible(bool(entries))

    def _follow(self, _: Any = None) -> None:
        """Show what the layer's own controls say."""
        layer = self._layer
        if layer is None:
            return
        value = ERASER if str(layer.mode) == "erase" else int(layer.selected_label)
        if value not in self.buttons:
            value = NEW_OBJECT
        button = self.buttons.get(value)
        if button is not None:
            button.setChecked(True)

    def _on_removed(self, _: Any = None) -> None:
        if self._layer is not None and self._layer not in self._viewer.layers:
            self.set_layer(None, None)

    def _let_go(self) -> None:
        for emitter, listener in self._stop:
            emitter.disconnect(listener)
        self._stop = []


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(colour))
    painter = QPainter(pixmap)
    painter.setPen(QColor("#808080"))
    painter.drawRect(0, 0, SWATCH - 1, SWATCH - 1)
    painter.end()
    return QIcon(pixmap)
