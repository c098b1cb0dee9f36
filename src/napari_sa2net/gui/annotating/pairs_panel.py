"""The list of paintings: which image each belongs to, and what its values mean."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..forms import small_combo
from ..layers import note_of
from ..regions import MEASURE
from ..watching import watch
from ..wrapping import WrappedLabel
from . import layers as annotation_layers
from .originals import original_of
from .pairs import Pair, PairList

MEANINGS = {"strokes": "Strokes", "mask": "Full mask"}
OFS = {"classes": "classes", "instances": "objects"}
MEANING_TIP = (
    "<qt><b>Strokes</b>: what you did not paint (0) is not looked at; 1 is background, 2… are the "
    "classes. <b>Full mask</b>: every pixel counts; 0 is background, 1… are the classes.</qt>"
)
OF_TIP = (
    "<qt><b>Classes</b>: a number is a kind of thing. <b>Objects</b>: each number is an "
    "object of its own, so that touching ones can be told apart.</qt>"
)


class PairRow(QFrame):  # type: ignore[misc]
    """One painting. ``changed`` is emitted when a person says something else of it."""

    changed = Signal()
    removed = Signal(object)

    def __init__(self, pair: Pair, viewer: Any, card: Any) -> None:
        super().__init__()
        self.pair = pair
        self._viewer, self._card = viewer, card
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.on = QCheckBox()
        self.on.setChecked(pair.on)
        self.on.setToolTip("Whether the model learns from this painting.")
        self.on.setAccessibleName(f"Learn from {pair.painting.name}")
        self.title = WrappedLabel(rich=True)
        self.remove = QToolButton()
        self.remove.setText("✕")
        self.remove.setAutoRaise(True)
        self.remove.setToolTip("Take it off this list. The layer stays.")
        self.remove.setAccessibleName(f"Take {pair.painting.name} off the list")
        self.meaning, self.of = small_combo(MEANING_TIP), small_combo(OF_TIP)
        self.meaning.setAccessibleName("It is")
        self.of.setAccessibleName("of")
        for name, text in MEANINGS.items():
            self.meaning.addItem(text, name)
        for name, text in OFS.items():
            self.of.addItem(text, name)
        self.values = WrappedLabel()
        self.values.setMinimumWidth(1)
        self.region = small_combo(
            "<qt>A Shapes layer can limit what counts: outside its shapes nothing is learned "
            "from.</qt>"
        )
        self.region.setAccessibleName("Counts")
        self._lay_out()
        self._show_meaning()
        self.meaning.activated.connect(self._on_meaning)
        self.of.activated.connect(self._on_meaning)
        self.region.activated.connect(self._on_region)
        self.on.toggled.connect(self._on_ticked)
        self.remove.clicked.connect(lambda _: self.removed.emit(self.pair))

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.on)
        head.addWidget(self.title, 1)
        head.addWidget(self.remove)
        means = QHBoxLayout()
        means.setContentsMargins(0, 0, 0, 0)
        means.addWidget(QLabel("It is"))
        means.addWidget(self.meaning, 1)
        means.addWidget(QLabel("of"))
        means.addWidget(self.of, 1)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow(means)
        form.addRow(self.values)
        form.addRow("Counts", self.region)
        if original_of(self.pair.painting) is not None:
            form.addRow(self._accepted())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addLayout(form)
        images = ", ".join(html.escape(str(layer.name)) for layer in self.pair.sources)
        name = html.escape(str(self.pair.painting.name))
        self.title.setText(f"<b>{name}</b><br>on {images}")

    def _accepted(self) -> QWidget:
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        check = QCheckBox("The rest is right:")
        check.setToolTip(
            "<qt>This is a corrected prediction: the model learns where you changed it, and a "
            "little around that. Tick this if you looked at the rest and accept it: then it "
            "counts too, at this lower weight.</qt>"
        )
        weight = QDoubleSpinBox()
        weight.setAccessibleName("Weight of the rest")
        weight.setPrefix("× ")
        weight.setRange(0.05, 1.0)
        weight.setSingleStep(0.05)
        weight.setValue(self.pair.accepted or 0.3)
        check.setChecked(self.pair.accepted > 0)
        weight.setEnabled(check.isChecked())

        def apply(_: Any = None) -> None:
            weight.setEnabled(check.isChecked())
            self.pair.accepted = weight.value() if check.isChecked() else 0.0
            self.changed.emit()

        check.toggled.connect(apply)
        weight.valueChanged.connect(apply)
        row.addWidget(check, 1)
        row.addWidget(weight)
        return box

    def list_regions(self) -> None:
        """Offer the Shapes layers there are."""
        self.region.clear()
        self.region.addItem("everywhere", None)
        for layer in self._viewer.layers:
            if isinstance(layer, Shapes) and (note_of(layer) or {}).get("kind") != MEASURE:
                self.region.addItem(f"inside {layer.name}", layer)
                if self.pair.region is not None and layer == self.pair.region:
                    self.region.setCurrentIndex(self.region.count() - 1)

    def _show_meaning(self) -> None:
        known = annotation_layers.guess(self.pair.painting, self._card)
        self.meaning.setCurrentIndex(self.meaning.findData(known.meaning))
        self.of.setCurrentIndex(self.of.findData(known.of))
        lines = [annotation_layers.describe(known.meaning, known.of, self._card)]
        why = annotation_layers.guessed(self.pair.painting)
        if why:
            lines.append(f"A guess: {why} Change it if it is wrong.")
        self.values.setText("\n".join(lines))

    def _on_meaning(self, _: Any = None) -> None:
        annotation_layers.set_meaning(
            self.pair.painting, self.meaning.currentData(), self.of.currentData(), self._card
        )
        self._show_meaning()
        self.changed.emit()

    def _on_region(self, _: Any = None) -> None:
        self.pair.region = self.region.currentData()
        self.changed.emit()

    def _on_ticked(self, on: bool) -> None:
        self.pair.on = on
        self.changed.emit()


class PairsPanel(QWidget):  # type: ignore[misc]
    """Shows a viewer's pairs, and adds Labels layers to them.

    Parameters
    ----------
    viewer
        The viewer.
    pairs
        Its pairs.
    card
        Returns the card of what is to be trained: its classes are what the values mean.
    add
        Called with a Labels layer to add it for the image chosen.
    """

    changed = Signal()

    def __init__(
        self, viewer: Any, pairs: PairList, card: Callable[[], Any], add: Callable[[Any], None]
    ) -> None:
        super().__init__()
        self._viewer, self._pairs, self._card = viewer, pairs, card
        self.rows: list[PairRow] = []
        self.empty = QLabel("No painting yet: make one above, or add a Labels layer.")
        self.empty.setWordWrap(True)
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self.other = small_combo("A Labels layer made elsewhere, painted over the image above.")
        self.other.setAccessibleName("Labels layer to add")
        self.add = QPushButton("Add")
        self.add.setToolTip("Learn from this layer too, as a painting of the image chosen above.")
        self._adding = QWidget()
        row = QHBoxLayout(self._adding)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.other, 1)
        row.addWidget(self.add)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.empty)
        layout.addLayout(self._column)
        layout.addWidget(self._adding)
        self.add.clicked.connect(lambda _: add(self.other.currentData()))
        pairs.changed.connect(self.refresh)
        for emitter in (viewer.layers.events.inserted, viewer.layers.events.removed):
            watch(self, emitter, self._on_layers)
        self._named: set[int] = set()
        self.refresh()

    def refresh(self) -> None:
        """Show the pairs there are."""
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = []
        for pair in self._pairs.pairs:
            row = PairRow(pair, self._viewer, self._card())
            row.changed.connect(self.changed)
            row.removed.connect(self._pairs.remove)
            self._column.addWidget(row)
            self.rows.append(row)
        self.empty.setVisible(not self.rows)
        self._on_layers()
        self.changed.emit()

    def _on_layers(self, _: Any = None) -> None:
        for row in self.rows:
            row.list_regions()
        before = self.other.currentData()
        self.other.clear()
        for layer in self._viewer.layers:
            if isinstance(layer, Labels):
                self._follow_name(layer)
                if self._pairs.of(layer) is None and "source" not in (note_of(layer) or {}):
                    self.other.addItem(str(layer.name), layer)
                    if before is not None and before == layer:
                        self.other.setCurrentIndex(self.other.count() - 1)
        self._adding.setVisible(self.other.count() > 0)

    def _follow_name(self, layer: Any) -> None:
        if id(layer.events) not in self._named:
            self._named.add(id(layer.events))
            watch(self, layer.events.name, lambda _: self.refresh())
