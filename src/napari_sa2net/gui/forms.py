"""Controls made from the engine's option dataclasses: names, ranges and help are written once.

A field's help is ``metadata["help"]`` or the string below it in the class; ``metadata`` may
also hold ``label``, ``step`` and a range, see :mod:`~napari_sa2net.engine.fields`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import textwrap
import typing
from functools import cache
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from .jobs.state import CHOICES

SLIDER_STEPS = 200
BESIDE = 74
"""Pixels of napari's buttons at both sides of a spin box, and of what is between."""
LIMITS = {float: (0.0, 1.0), int: (0, 1000)}
"""Range of a number whose field names none; also the most that a slider spans."""


@cache
def field_help(cls: Any) -> dict[str, str]:
    """Return the help of each field of a dataclass."""
    found: dict[str, str] = {}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # no source, as in a frozen application
        tree = ast.Module([], [])
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    for line, below in itertools.pairwise(body):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[line.target.id] = " ".join(below.value.value.split()).replace("``", "")
    for field in dataclasses.fields(cls):
        if "help" in field.metadata:
            found[field.name] = str(field.metadata["help"])
    return found


def small_combo(tip: str) -> QComboBox:
    """Return a combo box that fits a narrow dock."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(4)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    combo.setToolTip(tip)
    return combo


class Number(QDoubleSpinBox):  # type: ignore[misc]
    """A spin box as wide as its numbers need in the font there is, all about alike."""

    def sizeHint(self) -> QSize:
        """Return the room for the digits, and for the buttons at both sides."""
        digits = "0" * max(5, 2 + self.decimals())
        words = (digits, self.specialValueText())
        width = max(map(self.fontMetrics().horizontalAdvance, words)) + BESIDE
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Return the same."""
        return self.sizeHint()


class NumberSlider(QWidget):  # type: ignore[misc]
    """A slider with a spin box.

    ``changed(value, settled)`` is emitted at each change; ``settled`` is False while the
    slider is held down.
    """

    changed = Signal(float, bool)

    def __init__(
        self, low: float, high: float, step: float, *, whole: bool, span: float | None = None
    ) -> None:
        super().__init__()
        self._low, self._high, self._whole = low, high if span is None else min(high, span), whole
        self._step = step
        # Small numbers of pixels matter most: give them more of the slider.
        self._power = 2.0 if whole and self._high - low > SLIDER_STEPS else 1.0
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, SLIDER_STEPS)
        self._slider.setMinimumWidth(60)
        self._slider.setPageStep(SLIDER_STEPS // 20)
        self._spin = Number()
        finest = min(step, low) if low > 0 else step
        self._spin.setDecimals(0 if whole else max(0, math.ceil(-math.log10(finest))))
        self._spin.setRange(low, high)
        self._spin.setSingleStep(step)
        self._spin.setKeyboardTracking(False)
        self._spin.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        # A slider of two minutes in a day would be of no use.
        self._slider.setVisible(whole or high <= LIMITS[float][1])
        if self._slider.isHidden():
            layout.addStretch(1)
        self.setFocusProxy(self._spin if self._slider.isHidden() else self._slider)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # else its label's mnemonic is dead
        self._slider.valueChanged.connect(self._on_slider)
        self._slider.sliderReleased.connect(lambda: self.changed.emit(self.value(), True))
        self._spin.valueChanged.connect(self._on_spin)

    def value(self) -> float:
        """Return the number shown."""
        value = self._spin.value()
        return round(value) if self._whole else value

    def set_value(self, value: float) -> None:
        """Show ``value`` without emitting ``changed``."""
        self._spin.blockSignals(True)
        self._spin.setValue(value)
        self._spin.blockSignals(False)
        self._follow()

    def setToolTip(self, text: str) -> None:
        """Show ``text`` over both parts."""
        self._slider.setToolTip(text)
        self._spin.setToolTip(text)

    def setAccessibleName(self, text: str) -> None:
        """Name both parts for a screen reader."""
        self._slider.setAccessibleName(text)
        self._spin.setAccessibleName(text)

    def _follow(self) -> None:
        part = (self.value() - self._low) / (self._high - self._low)
        self._slider.blockSignals(True)
        self._slider.setValue(round(SLIDER_STEPS * min(1.0, max(0.0, part)) ** (1 / self._power)))
        self._slider.blockSignals(False)

    def _near(self, value: float) -> float:
        """Return the nearest value there is, such as a multiple of 16."""
        if not self._whole:
            return value
        return self._low + round((value - self._low) / self._step) * self._step

    def _on_slider(self, position: int) -> None:
        part = (position / SLIDER_STEPS) ** self._power
        self._spin.blockSignals(True)
        self._spin.setValue(self._near(self._low + part * (self._high - self._low)))
        self._spin.blockSignals(False)
        self.changed.emit(self.value(), not self._slider.isSliderDown())

    def _on_spin(self, value: float) -> None:
        self.set_value(self._near(value))
        self.changed.emit(self.value(), True)


class DataclassForm(QWidget):  # type: ignore[misc]
    """Rows of controls for fields of a frozen dataclass.

    Parameters
    ----------
    default
        An instance: its class gives the fields, its values are shown first.
    fields
        Names of the fields to show, in this order, with their labels.

    Notes
    -----
    Fields not shown keep the values last given to :meth:`set_value`. ``changed(settled)`` is
    emitted after each change by a person.
    """

    changed = Signal(bool)

    def __init__(self, default: Any, fields: dict[str, str]) -> None:
        super().__init__()
        self._value = default
        self.controls: dict[str, QWidget] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        kind: Any = type(default)
        hints = typing.get_type_hints(kind)
        described = {field.name: field for field in dataclasses.fields(default)}
        for name, label in fields.items():
            control = self._make(hints[name], described[name], label)
            text = field_help(kind).get(name, "")
            control.setToolTip(f"<qt>{text}</qt>" if text else "")
            control.setAccessibleName(label.replace("&", ""))
            self.controls[name] = control
            if isinstance(control, QCheckBox):
                layout.addRow(control)
            else:
                layout.addRow(label, control)
        self.set_value(default)

    def value(self) -> Any:
        """Return an instance with what is shown."""
        return self._value

    def set_value(self, value: Any) -> None:
        """Show ``value`` without emitting ``changed``."""
        self._value = value
        for name, control in self.controls.items():
            shown = getattr(value, name)
            if isinstance(control, NumberSlider):
                control.set_value(shown)
                continue
            control.blockSignals(True)
            if isinstance(control, QCheckBox):
                control.setChecked(bool(shown))
            elif isinstance(control, QComboBox):
                control.setCurrentIndex(max(0, control.findData(shown)))
            control.blockSignals(False)

    def _make(self, hint: Any, field: dataclasses.Field[Any], label: str) -> QWidget:
        name, meta = field.name, field.metadata
        if typing.get_origin(hint) is typing.Literal:
            box = small_combo("")
            for choice in typing.get_args(hint):
                box.addItem(CHOICES.get(choice, str(choice).capitalize()), choice)
            box.currentIndexChanged.connect(lambda _: self._set(name, box.currentData(), True))
            return box
        if hint is bool:
            check = QCheckBox(label)
            check.toggled.connect(lambda on: self._set(name, on, True))
            return check
        if hint in (int, float):
            step = meta.get("step", 1 if hint is int else 0.01)
            low = meta["above"] + step if "above" in meta else meta.get("min", LIMITS[hint][0])
            high = meta["below"] - step if "below" in meta else meta.get("max", LIMITS[hint][1])
            number = NumberSlider(low, high, step, whole=hint is int, span=LIMITS[hint][1])
            number.changed.connect(lambda value, settled: self._set(name, hint(value), settled))
            return number
        raise TypeError(f"no control for field {name!r} of type {hint}")

    def _set(self, name: str, value: Any, settled: bool) -> None:
        self._value = dataclasses.replace(self._value, **{name: value})
        self.changed.emit(settled)


class WheelGuard(QObject):
    """Lets the wheel scroll the page, and change a value only in a control that has the focus."""

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        for kind in (QComboBox, QAbstractSpinBox, QSlider):
            for control in page.findChildren(kind):
                control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hand the wheel on to the page."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


class Page(QScrollArea):  # type: ignore[misc]
    """Scrolls down only: it is never narrower than what is in it, whatever the font."""

    def minimumSizeHint(self) -> QSize:
        """Return the width of the page and its scroll bar."""
        least, page = super().minimumSizeHint(), self.widget()
        if page is None:
            return least
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(page.minimumSizeHint().width() + bar, least.height())

    def sizeHint(self) -> QSize:
        """Return at least the same width."""
        return super().sizeHint().expandedTo(self.minimumSizeHint())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask for another width when the page does."""
        if event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def name_fields(page: QWidget) -> None:
    """Give each field of the forms of a page the name that stands beside it.

    Screen readers read it out; not all of them look for the label.
    """
    for form in page.findChildren(QFormLayout):
        for row in range(form.rowCount()):
            label = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
            field = form.itemAt(row, QFormLayout.ItemRole.FieldRole)
            if label is None or field is None or not isinstance(label.widget(), QLabel):
                continue
            # Of several widgets in a row the first one is the field.
            first = field.itemAt(0) if isinstance(field, QLayout) else field
            inside = None if first is None else first.widget()
            if inside is not None and not inside.accessibleName():
                inside.setAccessibleName(label.widget().text().replace("&", ""))


def tab_page(title: str, *widgets: QWidget) -> QScrollArea:
    """Put widgets below each other on a page that scrolls; ``title`` is what it is called."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(2, 2, 6, 2)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    WheelGuard(page)
    name_fields(page)
    scroll = Page()
    scroll.setAccessibleName(title)
    scroll.setWidget(page)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    return scroll


def group(title: str, *widgets: QWidget) -> QGroupBox:
    """Put widgets below each other in a box with a title."""
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    column.setContentsMargins(6, 6, 6, 6)
    for widget in widgets:
        column.addWidget(widget)
    return box
