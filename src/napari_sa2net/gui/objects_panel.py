"""What a person should know of the labels at hand, and can do: classes, and pieces of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..engine.errors import InputError
from . import classes
from .object_watch import ObjectWatch
from .objects import is_counted, pieces_text
from .watching import watch
from .wrapping import WrappedLabel


class ObjectsPanel(QWidget):  # type: ignore[misc]
    """Shows the class of the object at hand and what is in several pieces; hidden without either.

    ``failed`` carries what a person should read instead.

    Parameters
    ----------
    viewer
        The viewer, or napari's proxy of it.
    objects
        What follows its layers.
    choose
        Returns the labels to speak of; None if there are none.
    """

    failed = Signal(object)

    def __init__(self, viewer: Any, objects: ObjectWatch, choose: Callable[[], Any]) -> None:
        super().__init__()
        self._objects, self._choose = objects, choose
        self._layer: Any = None
        self._stop: list[tuple[Any, Any]] = []
        self.number = QLabel()
        self.classes = QComboBox()
        self.classes.setAccessibleName("Class of the object")
        self.classes.setToolTip(
            "<qt>The class of the object whose label is taken up (pick one with key 5), and of "
            "those you paint next.</qt>"
        )
        self.pieces = WrappedLabel()
        self.separate = QPushButton("Separate the pieces")
        self.separate.setToolTip(
            "<qt>Gives each piece a number of its own, so that it is an object of its own. The "
            "largest keeps the number. Ctrl+Z takes it back.</qt>"
        )
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.number)
        row.addWidget(self.classes, 1)
        self.number.setBuddy(self.classes)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self._row, self.pieces, self.separate):
            column.addWidget(widget)
        self.classes.activated.connect(lambda _: self._on_class())
        self.separate.clicked.connect(lambda _: self._on_separate())
        objects.changed.connect(self.refresh)
        watch(self, viewer.layers.selection.events.changed, self.refresh)
        watch(self, viewer.layers.events.removed, self.refresh)
        self.refresh()

    def refresh(self, _: Any = None) -> None:
        """Speak of the layer that is at hand now."""
        layer = self._choose()
        if layer is not None and not is_counted(layer):
            layer = None
        if layer != self._layer:
            self._follow(layer)
        pieces = {} if layer is None else self._objects.pieces(layer)
        self.pieces.setText("" if layer is None else f"“{layer.name}”: {pieces_text(pieces)}")
        for widget in (self.pieces, self.separate):
            widget.setVisible(bool(pieces))
        self._show_class()
        self.setVisible(bool(pieces) or not self._row.isHidden())

    def _follow(self, layer: Any) -> None:
        for emitter, listener in self._stop:
            emitter.disconnect(listener)
        self._layer, self._stop = layer, []
        if layer is not None:
            emitter = layer.events.selected_label
            self._stop = [(emitter, watch(self, emitter, self._show_class))]

    def _show_class(self, _: Any = None) -> None:
        layer = self._layer
        several = layer is not None and classes.shows(layer) == "objects"
        numbers = classes.choices(layer) if several else []
        number = int(layer.selected_label) if several else 0
        self._row.setVisible(len(numbers) > 1 and number > 0)
        if self._row.isHidden():
            return
        infos = classes.classes_of(layer)
        self.classes.clear()
        for kind in numbers:
            self.classes.addItem(infos[kind].name, kind)
        self.number.setText(f"Object {number} is a")
        self.classes.setCurrentIndex(self.classes.findData(classes.class_of(layer, number)))

    def _on_class(self) -> None:
        layer = self._layer
        if layer is not None and self.classes.currentData() is not None:
            number = int(layer.selected_label)
            self._objects.give_class(layer, number, int(self.classes.currentData()))

    def _on_separate(self) -> None:
        if self._layer is None:
            return
        try:
            self._objects.separate(self._layer)
        except InputError as error:
            self.failed.emit(error)
