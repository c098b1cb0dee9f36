"""What a training starts from: a model and its classes, or new ones."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...engine.cards import BOUNDARY, ClassInfo, ModelCard, check_trainable, default_classes
from ...engine.errors import InputError
from ...engine.registry import free_name
from ..forms import small_combo
from ..segmenting.model_manager import ManageButton
from ..segmenting.model_panel import worth_and_licence
from ..wrapping import WrappedLabel

SCRATCH = "From scratch (a new network)"
SCRATCH_CARD = ModelCard(
    name="new",
    num_classes=3,
    classes=(*default_classes(2), BOUNDARY),
)
"""What a network from scratch is for, until the person says otherwise."""


UNTELLING = re.compile(r"(thing|object|foreground|class \d+)s?", re.IGNORECASE)
"""Names of classes that tell nothing of what a model is for."""


class ClassRow(QWidget):  # type: ignore[misc]
    """Name and colour of a class. ``changed`` and ``removed`` are emitted by a person."""

    changed = Signal()
    removed = Signal(object)

    def __init__(self, info: ClassInfo, *, fixed: bool) -> None:
        super().__init__()
        self._color = info.color
        self.color = QToolButton()
        self.color.setToolTip("The colour of this class.")
        self.name = QLineEdit(info.name)
        self.name.setAccessibleName("Name of the class")
        self.remove = QToolButton()
        self.remove.setText("✕")
        self.remove.setAutoRaise(True)
        self.remove.setToolTip("Remove this class.")
        self.remove.setEnabled(not fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.color)
        row.addWidget(self.name, 1)
        row.addWidget(self.remove)
        self._show()
        self._name()
        self.name.textChanged.connect(lambda _: self._name())
        self.color.clicked.connect(lambda _: self._choose())
        self.name.editingFinished.connect(self.changed)
        self.remove.clicked.connect(lambda _: self.removed.emit(self))

    def info(self) -> ClassInfo:
        """Return the class."""
        return ClassInfo(self.name.text().strip(), self._color)

    def set_color(self, color: str) -> None:
        """Take another colour, "#rrggbb"."""
        self._color = color
        self._show()
        self.changed.emit()

    def _name(self) -> None:
        name = self.name.text()
        self.color.setAccessibleName(f"Colour of {name}")
        self.remove.setAccessibleName(f"Remove {name}")

    def _choose(self) -> None:
        color = QColorDialog.getColor(QColor(self._color), self, "Colour of the class")
        if color.isValid():
            self.set_color(color.name())

    def _show(self) -> None:
        self.color.setStyleSheet(f"background-color: {self._color}; border: 1px solid #888;")
        self.color.setFixedSize(22, 22)


class StartPanel(QWidget):  # type: ignore[misc]
    """Chooses what to start from, and which classes there are; ``changed`` when they do.

    ``button`` asks for a suggestion, which :meth:`take` chooses; ``used`` carries the name of a
    model that needs no training.

    What a person named stays: classes that were defined, or in whose names something is painted,
    keep these names under another model.

    Parameters
    ----------
    controller
        The viewer's SegmentController; with it there is a button that opens the window "Models".
    painted
        Returns whether something is painted.
    """

    changed = Signal()
    used = Signal(str)

    def __init__(self, controller: Any = None, painted: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._painted = painted
        self._before = (SCRATCH_CARD.classes, SCRATCH_CARD.classes)
        """The classes of the model chosen last, and those that were painted for it."""
        self._entries: list[Any] = []
        self.combo = small_combo(
            "<qt>The model to start from. Take one made for images like yours; what it knows is "
            "kept, and adapted to your painting.</qt>"
        )
        self.button = QPushButton("Suggest a start")
        self.button.setToolTip(
            "<qt>Tries every model that is here on what you painted, and chooses the one that "
            "tells it apart best. It takes a few seconds for each model.</qt>"
        )
        self.as_is = QPushButton("Use it as it is")
        self.as_is.setToolTip(
            "<qt>It tells apart what you painted already: take it in the tab Segment, without "
            "training.</qt>"
        )
        self.as_is.hide()
        self.about = WrappedLabel(rich=True)
        self.define = QCheckBox("Define other classes")
        self.define.setToolTip(
            "<qt>Give the classes you want to tell apart. The model gets a new output for them; "
            "classes of the same name and all the rest are kept.</qt>"
        )
        self.rows: list[ClassRow] = []
        self.editor = QWidget()
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self.add = QPushButton("Add a class")
        self.split = QCheckBox("Tell touching objects apart")
        self.split.setToolTip(
            "<qt>The model then learns the boundaries between objects too. You never paint "
            "them: they are made from full masks of single objects.</qt>"
        )
        column = QVBoxLayout(self.editor)
        column.setContentsMargins(12, 0, 0, 0)
        column.addLayout(self._column)
        column.addWidget(self.add)
        column.addWidget(self.split)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        choice = QHBoxLayout()
        choice.addWidget(self.combo, 1)
        if controller is not None:
            self.manage_button = ManageButton(controller, lambda: self.model or "")
            choice.addWidget(self.manage_button)
        form.addRow("Start from", choice)
        form.addRow("", self.button)
        form.addRow("", self.as_is)
        form.addRow(self.about)
        form.addRow(self.define)
        form.addRow(self.editor)
        self.editor.hide()
        self.combo.currentIndexChanged.connect(self._on_model)
        self.define.toggled.connect(self._on_define)
        self.as_is.clicked.connect(lambda _: self.used.emit(self.model or ""))
        self.add.clicked.connect(lambda _: self._add_class())
        self.split.toggled.connect(lambda _: self._changed())

    # --- what is chosen --------------------------------------------------------------------

    @property
    def entry(self) -> Any:
        """The model to start from (a ModelEntry), None for a new network."""
        row = self.combo.currentIndex()
        return self._entries[row] if 0 <= row < len(self._entries) else None

    @property
    def model(self) -> str | None:
        """The name of the model to start from, None for a new network."""
        return None if self.entry is None else self.entry.card.name

    def check(self) -> None:
        """Raise an InputError if the model cannot be trained."""
        if self.entry is not None:
            check_trainable(self.entry.card)

    def classes(self) -> tuple[ClassInfo, ...] | None:
        """Return the new classes, None where those of the model are kept.

        Raises
        ------
        InputError
            If a name is missing or given twice.
        """
        if not self.define.isChecked():
            return None if self.entry is not None else SCRATCH_CARD.classes
        infos = [row.info() for row in self.rows]
        names = [info.name.lower() for info in infos]
        if not all(names):
            raise InputError("A class has no name: give it one, or remove it.")
        if len(set(names)) < len(names) or BOUNDARY.name in names:
            raise InputError(
                "Two classes have the same name (“boundary” is taken too): give each its own."
            )
        return (*infos, BOUNDARY) if self.split.isChecked() else tuple(infos)

    def new_name(self, image: str) -> str:
        """Propose a name for the new model, free and a file's: its classes, and the image."""
        names = [info.name for info in _painted(self.card().classes)[1:]]
        telling = [name for name in names if not UNTELLING.fullmatch(name)]
        taken = {entry.card.name.lower() for entry in self._entries}
        # Nobody reads a longer one in a list.
        return free_name(f"{' '.join(telling)[:40]} {image[:40]}", taken)

    def card(self) -> ModelCard:
        """Return the card that the paintings are for: of the model, with the classes chosen."""
        card = SCRATCH_CARD if self.entry is None else self.entry.card
        try:
            classes = self.classes()
        except InputError:
            classes = None
        if classes is None:
            return card
        return replace(card, classes=classes, num_classes=len(classes))

    # --- showing ---------------------------------------------------------------------------

    def set_entries(self, entries: list[Any], name: str = "") -> None:
        """Show these models, and choose the one called ``name``, else keep the choice.

        The choice does not follow to an ensemble, which cannot be trained.
        """
        before = self.model if self._entries else ""
        trainable = [entry.card.name for entry in entries if not entry.card.members]
        wanted = name if name in trainable else before
        self._entries = list(entries)
        self.combo.blockSignals(True)
        self.combo.clear()
        for entry in self._entries:
            away = " (to download)" if entry.status == "remote" else ""
            self.combo.addItem(f"{entry.card.name}{away}")
        self.combo.addItem(SCRATCH)
        names = [entry.card.name for entry in self._entries]
        if wanted is None:
            self.combo.setCurrentIndex(len(names))
        else:
            self.combo.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self.combo.blockSignals(False)
        if self.model != before or name:
            self._on_model()

    def choose(self, name: str | None) -> None:
        """Choose the model called ``name``, None for a new network."""
        names = [entry.card.name for entry in self._entries]
        if name is None or name in names:
            self.combo.setCurrentIndex(len(names) if name is None else names.index(name))

    def take(self, name: str, *, as_is: bool = False) -> None:
        """Choose the model called ``name``; ``as_is``: offer it without training too."""
        self.choose(name)
        self.as_is.setVisible(as_is)

    def set_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Define these classes."""
        self._list(classes)
        self.define.setChecked(True)

    def _on_model(self, _: int = 0) -> None:
        kept = self._kept()
        self.as_is.hide()
        self.define.blockSignals(True)
        self.define.setChecked(kept is not None)
        self.define.blockSignals(False)
        self._list(kept or ())
        self.editor.setVisible(kept is not None)
        self._changed()

    def _own(self) -> tuple[ClassInfo, ...]:
        """Return the classes of the model chosen."""
        return (SCRATCH_CARD if self.entry is None else self.entry.card).classes

    def _kept(self) -> tuple[ClassInfo, ...] | None:
        """Return the classes that a person named before another model was chosen, if any."""
        own, (of_model, named) = self._own(), self._before
        defined = self.define.isChecked() and named != of_model
        if not defined and not self._painted():
            return None
        if not defined:  # whether objects come apart is the new model's own
            named = (*_painted(named), *(info for info in own if info.derived))
        same = [info.name for info in named] == [info.name for info in own]
        return None if named == own or (same and not defined) else named

    def _on_define(self, on: bool) -> None:
        if on and not self.rows:
            self._list(self._own())
        if not on:
            self._list(())
        self.editor.setVisible(on)
        self._changed()

    def _list(self, classes: tuple[ClassInfo, ...]) -> None:
        for row in self.rows:
            self._column.removeWidget(row)
            row.deleteLater()
        self.rows = []
        for info in classes:
            if not info.derived:
                self._append(info)
        self.split.blockSignals(True)
        self.split.setChecked(any(info.derived for info in classes))
        self.split.blockSignals(False)

    def _append(self, info: ClassInfo) -> None:
        row = ClassRow(info, fixed=len(self.rows) < 2)
        row.changed.connect(self._changed)
        row.removed.connect(self._remove)
        self._column.addWidget(row)
        self.rows.append(row)

    def _add_class(self) -> None:
        number = len(self.rows)
        color = default_classes(number + 1)[number].color
        self._append(ClassInfo(f"class {number}", color))
        self._changed()

    def _remove(self, row: ClassRow) -> None:
        self.rows.remove(row)
        self._column.removeWidget(row)
        row.deleteLater()
        self._changed()

    def _changed(self) -> None:
        card = self.card()
        self._before = (self._own(), card.classes)
        names = ", ".join(info.name for info in card.classes if not info.derived)
        start = "It learns only from your painting. " if self.entry is None else ""
        try:
            self.check()
        except InputError as error:
            start = f"{error} "
        known = worth_and_licence(card) if self.entry is not None else []
        lines = [*known, html.escape(f"{start}You paint: {names}.")]
        self.about.setText("<br>".join(lines))
        self.changed.emit()


def _painted(classes: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
    return tuple(info for info in classes if not info.derived)
