"""How large things in the image are: one field, the same in every tab.

It holds what the chosen model goes by: the diameter of objects in pixels, or the size of a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from ..engine.errors import SA2NetError
from . import regions
from .forms import Number
from .image_values import Said, Size, image_values_of
from .layers import LayerImage
from .watching import watch
from .wrapping import WrappedLabel

AUTO = "automatic"

DIAMETER_TIP = (
    "<qt>How wide a typical object is in your image. The image is resampled so that objects have "
    "the size the model knows, and the results are brought back. At 0 the pixel size "
    "decides, if the layer's units or its file tell it.</qt>"
)
PIXEL_SIZE_TIP = (
    "<qt>How wide a pixel of your image is. The image is resampled so that its pixels have the "
    "size the model knows, and the results are brought back. At 0 counts what the "
    "layer's units tell, or its file.</qt>"
)

SHORTEST = 1.5
"""Pixels below which a line is a click that drew nothing."""


@dataclass(frozen=True)
class Scale:
    """How large things in an image are, as a person gave it: one of the two, or neither."""

    diameter: float | None = None
    """Of objects, in pixels."""
    pixel_size: float | None = None
    """In µm."""

    def on(self, image: LayerImage) -> LayerImage:
        """Return ``image`` with the pixel size given, if one was, in place of its layer's."""
        return image if self.pixel_size is None else image.with_pixel_size(self.pixel_size)


def by_pixel_size(card: Any) -> bool:
    """Whether a model goes by the size of pixels, and has no size of objects."""
    return getattr(card, "pixel_size", None) is not None and getattr(card, "diameter", None) is None


def scale_text(
    diameter: float | None,
    pixel_size: float | None,
    card_diameter: float | None,
    card_pixel_size: float | None,
    given: float | None = None,
) -> str:
    """Say by how much an image will be resampled for a model, and why.

    Diameters are in pixels, pixel sizes in µm: ``pixel_size`` is the layer's, ``given`` what a
    person said instead.
    """
    if given is not None and card_pixel_size is not None:
        return (
            f"The model works at {card_pixel_size:g} µm a pixel: "
            f"the image is scaled × {given / card_pixel_size:.2g}."
        )
    if diameter is not None and card_diameter is not None:
        return (
            f"The model works at {card_diameter:g} px objects: "
            f"the image is scaled × {card_diameter / diameter:.2g}."
        )
    if diameter is not None:
        return "This model has no object size of its own: the diameter is not used."
    if pixel_size is not None and card_pixel_size is not None:
        return (
            f"The image has {pixel_size:.3g} µm pixels, the model works at "
            f"{card_pixel_size:.3g} µm: the image is scaled × {pixel_size / card_pixel_size:.2g}."
        )
    if card_pixel_size is not None:
        give = "its pixel size" if card_diameter is None else "a diameter"
        return (
            f"Neither layer nor file tells a size, and the model works at {card_pixel_size:g} µm a "
            f"pixel: the image is used as it is. Give {give} to scale it."
        )
    if card_diameter is not None:
        return (
            f"The model works at objects of about {card_diameter:g} px: the image is used as it "
            "is. Give a diameter if yours differ."
        )
    return "The image is used as it is."


class SizeSpin(Number):
    """A size that may be tiny: steps follow its own magnitude, and no zeros are shown at its end.

    From “automatic” a step up leads to :attr:`usual`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.usual = 0.0
        """What a step from 0 leads to; 0 if nothing is known."""
        self.least = 1.0
        """The least step."""
        self.setRange(0, 100_000)
        self.setSpecialValueText(AUTO)
        self.setKeyboardTracking(False)

    def textFromValue(self, value: float) -> str:
        """Show a number with the digits it has."""
        text = str(super().textFromValue(value))
        point = self.locale().decimalPoint()
        return text.rstrip("0").removesuffix(point) if point in text else text

    def stepBy(self, steps: int) -> None:
        """Go on by one unit of the second digit, as 0.0041 after 0.004."""
        value = self.value()
        for _ in range(abs(steps)):
            if value < self.least / 2:
                value = max(self.least, self.usual) if steps > 0 else 0.0
                continue
            # Downwards from 0.01 by what leads up to it: to 0.0099.
            digits = math.log10(value) + math.copysign(1e-6, steps)
            step = max(10.0 ** (math.floor(digits) - 1), self.least)
            value = max(0.0, value + math.copysign(step, steps))
        self.setValue(value)


class ScaleField(QWidget):  # type: ignore[misc]
    """Object diameter in pixels, typed or measured by drawing a line; or the size of a pixel.

    Which of the two goes by the model. What is given belongs to the image: all fields of a viewer
    that are about it show the same, also those opened later, and another image has its own.
    ``changed`` is emitted when a person changes it, in whichever field.
    """

    changed = Signal()
    failed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers: list[Any] = []
        self._axes = ""
        self._pixel_size: float | None = None
        self._card: Any = None
        self._shapes: Any = None
        self._measured = False
        self._values = image_values_of(viewer)
        self._shown = Said()
        self.label = QLabel()
        self.spin = SizeSpin()
        self.measure = QPushButton("Measure")
        self.measure.setCheckable(True)
        self.measure.setEnabled(False)
        self.measure.setToolTip(
            "<qt>Draw a line across a typical object: press, drag, let go. Its length becomes the "
            "diameter. Press again to give up. Only for models that go by the size of "
            "objects.</qt>"
        )
        self.hint = WrappedLabel()
        self.same = QPushButton("Use it here too")
        self.same.setToolTip("Take for this image what was given for the other one.")
        self.same.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.spin, 1)
        row.addWidget(self.measure)
        self.setFocusProxy(self.spin)
        self.label.setBuddy(self.spin)
        self.spin.valueChanged.connect(self._on_typed)
        self.measure.toggled.connect(self._on_measure)
        self.same.clicked.connect(lambda _: self._on_same())
        watch(self, viewer.layers.events.removed, self._on_removed)
        watch(self, viewer.layers.selection.events.active, self._on_active)
        # A bound method of a QObject: Qt disconnects it when this widget goes.
        self._values.changed.connect(self._on_said)
        self._show_kind()

    def add_to(self, form: QFormLayout) -> None:
        """Add the field with its label, and a line that explains it, to a form."""
        form.addRow(self.label, self)
        form.addRow(self.hint)
        form.addRow(self.same)

    def value(self) -> Scale:
        """Return what is shown: a diameter or a pixel size, neither if it is left to the layer."""
        return Scale(**{self._name: self.spin.value() or None})

    def diameter(self) -> float | None:
        """Return the diameter in pixels of the image, None if there is none."""
        return self.value().diameter

    def set_diameter(self, value: float | None) -> None:
        """Take a diameter as that of the image."""
        self._values.set(self._layers, diameter=value or None)

    def set_image(self, layers: list[Any], axes: str, pixel_size: float | None) -> None:
        """Tell which image is measured.

        Parameters
        ----------
        layers
            Of the image, the one chosen first; none if there is no image.
        axes
            Its axes; empty if they are not known.
        pixel_size
            The size of its pixels in µm, if known.
        """
        if not axes or layers[:1] != self._layers[:1]:
            self.measure.setChecked(False)
        self._layers, self._axes, self._pixel_size = list(layers), axes, pixel_size
        if layers:
            self._values.begin(layers)
        self._show_kind()

    @property
    def _layer(self) -> Any:
        return self._layers[0] if self._layers else None

    def set_card(self, card: Any) -> None:
        """Tell which model the image is for."""
        self._card = card
        self._show_kind()

    @property
    def _name(self) -> str:
        """Which of the two sizes is shown."""
        return "pixel_size" if by_pixel_size(self._card) else "diameter"

    def _show_kind(self) -> None:
        """Ask for what the model goes by."""
        pixels = by_pixel_size(self._card)
        if pixels:
            self.measure.setChecked(False)
        self.measure.setEnabled(bool(self._axes) and not pixels)
        self.label.setText("Pixel size" if pixels else "Object size")
        self.spin.blockSignals(True)
        self.spin.setDecimals(6 if pixels else 1)
        card = self._card
        usual = getattr(card, "pixel_size" if pixels else "diameter", None)
        self.spin.least = 1e-6 if pixels else 1.0
        self.spin.usual = (self._pixel_size if pixels else None) or usual or 0.0
        self.spin.setSuffix(" µm" if pixels else " px")
        self.spin.blockSignals(False)
        name = "Size of a pixel in µm" if pixels else "Object diameter in pixels"
        self.spin.setAccessibleName(name)
        self.spin.setToolTip(PIXEL_SIZE_TIP if pixels else DIAMETER_TIP)
        self._show_size()

    def _explain(self) -> None:
        card, scale = self._card, self.value()
        text = scale_text(
            scale.diameter,
            self._pixel_size,
            getattr(card, "diameter", None),
            getattr(card, "pixel_size", None),
            scale.pixel_size,
        )
        other = self._elsewhere()
        if other is not None:
            size = self.spin.textFromValue(other.value) + self.spin.suffix()
            text += f" The {size} given for “{other.name}” are of that image alone."
            self.same.setText(f"Use {size} here too")
        self.same.setVisible(other is not None)
        self.hint.setText(text)

    def _elsewhere(self) -> Size | None:
        """Return what was given for another image, where nothing was for this one."""
        if self._layer is None or self.spin.value():
            return None
        return self._values.elsewhere(self._name, self._layers)

    def _on_same(self) -> None:
        other = self._elsewhere()
        if other is not None:
            self.spin.setValue(other.value)
            self.spin.setFocus()  # the button goes

    def _on_typed(self) -> None:
        self._values.set(self._layers, **{self._name: self.spin.value() or None})

    def _on_said(self) -> None:
        said, before = self._values.of(self._layer), self._shown
        self._show_size()
        if (said.diameter, said.pixel_size) != (before.diameter, before.pixel_size):
            self.changed.emit()

    def _show_size(self) -> None:
        self._shown = self._values.of(self._layer)
        self.spin.blockSignals(True)
        self.spin.setValue(getattr(self._shown, self._name) or 0)
        self.spin.blockSignals(False)
        self._explain()

    def _on_measure(self, on: bool) -> None:
        self.measure.setText("Stop" if on else "Measure")
        if on:
            self._measured = False
            self._shapes = regions.add_measure_layer(self._viewer, self._layer)
            watch(self, self._shapes.events.data, self._on_drawn)
            self.hint.setText("Draw a line across a typical object in the image.")
            return
        shapes, self._shapes = self._shapes, None
        if shapes is not None and shapes in self._viewer.layers:
            # A person may have gone on to another layer.
            here = self._viewer.layers.selection.active in (shapes, None)
            if self._measured:
                self._viewer.layers.remove(shapes)
            else:
                # napari 0.9.2 crashes when the plane changes after a Shapes layer without a
                # real shape was removed. Hidden, it is found again by the next measurement.
                shapes.mode = "pan_zoom"
                shapes.visible = False
            if here and self._layer in self._viewer.layers:
                self._viewer.layers.selection.active = self._layer
        self._explain()

    def _stop_measuring(self) -> None:
        self.measure.setChecked(False)

    def _on_active(self, _: Any = None) -> None:
        """Stop when a person goes on to another layer."""
        active = self._viewer.layers.selection.active
        if self._shapes is not None and active is not None and active != self._shapes:
            self._stop_measuring()

    def hideEvent(self, event: Any) -> None:
        """Stop when a person goes on to another tab, or closes the dock."""
        super().hideEvent(event)
        if not event.spontaneous():  # a window that is minimised comes back
            self._stop_measuring()

    def _on_drawn(self, _: Any = None) -> None:
        if self._shapes is None or not len(self._shapes.data):
            return
        try:
            length = regions.measured_length(self._viewer, self._shapes, self._layer, self._axes)
        except SA2NetError as error:
            self.failed.emit(str(error))
            return
        if length >= SHORTEST:
            self._measured = True
            self.spin.setValue(round(length, 1))
            # Once napari has done with the line: the layer goes.
            QTimer.singleShot(0, self._stop_measuring)

    def _on_removed(self, _: Any = None) -> None:
        if self._shapes is not None and self._shapes not in self._viewer.layers:
            self._shapes = None
            self.measure.setChecked(False)
