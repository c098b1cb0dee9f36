"""How a training goes: sensible as it is, everything folded away."""

from __future__ import annotations

import dataclasses
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QToolButton, QVBoxLayout, QWidget

from ..forms import DataclassForm, small_combo
from ..jobs.state import time_text
from ..segmenting.model_panel import DEVICES
from ..wrapping import WrappedLabel

BUDGETS = ("minutes", "epochs", "steps")
"""Fields of which only the one that the budget names counts."""


LABELS = {
    "budget": "Ends after",
    "patch": "Patch size",
    "frozen": "Keep as it is",
    "validation": "Held out",
    "patience": "Stop early after",
    "warmup": "Warm-up",
    "average": "Averaging",
    "half_way": "Stay near the start",
    "statistics": "Normalisation",
}
"""Where a field's own name would not do."""


def labels_of(settings: Any) -> dict[str, str]:
    """Return the label of each setting that has a control."""
    found = {}
    for field in dataclasses.fields(settings):
        if isinstance(getattr(settings, field.name), bool | int | float | str):
            plain = field.name.replace("_", " ").capitalize()
            found[field.name] = LABELS.get(field.name, plain)
    return found


def budget_text(settings: Any) -> str:
    """Say how long a training with ``settings`` takes."""
    if settings.budget == "minutes":
        return f"about {time_text(60 * settings.minutes)}"
    if settings.budget == "epochs":
        return f"{settings.epochs} rounds over your painting"
    return f"{settings.steps} steps"


class Folded(QWidget):  # type: ignore[misc]
    """A widget under a title that opens and closes it; closed at first."""

    def __init__(self, title: str, inside: QWidget) -> None:
        super().__init__()
        self.inside = inside
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(inside)
        self.button.toggled.connect(self._fold)
        self._fold(False)

    def _fold(self, on: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow
        self.button.setArrowType(arrow)
        self.inside.setVisible(on)


class SettingsPanel(QWidget):  # type: ignore[misc]
    """Says in a line what is going to happen, and folds the settings under "Advanced"."""

    changed = Signal()

    def __init__(self, default: Any) -> None:
        super().__init__()
        self.summary = WrappedLabel()
        self.form = DataclassForm(default, labels_of(default))
        self.device = small_combo("Where the network learns. A GPU is many times faster.")
        for name, text in DEVICES.items():
            self.device.addItem(text, name)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        row = QFormLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addRow("Device", self.device)
        column.addLayout(row)
        column.addWidget(self.form)
        self.advanced = Folded("Advanced", inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(self.advanced)
        self.form.changed.connect(lambda _: self._on_changed())
        self._on_changed()

    def value(self) -> Any:
        """Return the settings."""
        return self.form.value()

    def set_value(self, value: Any) -> None:
        """Show these settings."""
        self.form.set_value(value)
        self._on_changed()

    def device_name(self) -> str:
        """Return "auto", "cuda", "mps" or "cpu"."""
        return str(self.device.currentData())

    def _on_changed(self) -> None:
        settings = self.form.value()
        for name in BUDGETS:
            control = self.form.controls.get(name)
            if control is not None:
                control.setEnabled(settings.budget == name)
        self.changed.emit()
