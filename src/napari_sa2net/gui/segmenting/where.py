"""Where to segment: the whole image, what the canvas shows, or what a Shapes layer marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QSizePolicy, QWidget

from ...engine.errors import InputError
from ...engine.tiling import Box
from .. import regions
from ..compat import set_row_visible
from ..layers import LayerImage, note_of
from ..regions import MEASURE
from ..watching import watch

Kind = Literal["whole", "canvas", "shapes"]

KINDS: dict[Kind, str] = {
    "whole": "Whole image",
    "canvas": "What the canvas shows",
    "shapes": "Selected shapes",
}


@dataclass(frozen=True, eq=False)
class Where:
    """The part of the image that a person chose."""

    kind: Kind = "whole"
    shapes: Any = None
    """The Shapes layer, if that is the kind; None if there is none."""


def region_of(viewer: Any, where: Where, layer: Any, image: LayerImage) -> Box | None:
    """Return the chosen rows and columns of the planes of ``image``; None for all of them.

    Parameters
    ----------
    viewer
        With the layers in it.
    where
        What was chosen.
    layer, image
        The image layer, and what was read from it.

    Returns
    -------
    tuple of int
        First row, first column, last row + 1, last column + 1.

    Raises
    ------
    InputError
        If there is nothing there.
    """
    if where.kind == "whole":
        return None
    if where.kind == "shapes":
        return _around_shapes(viewer, where.shapes, layer, image)
    part = regions.visible_region(viewer, layer, image.axes)
    rows, columns = (part[image.layer_axes.index(letter)] for letter in "YX")
    return rows.start, columns.start, rows.stop, columns.stop


def _around_shapes(viewer: Any, shapes: Any, layer: Any, image: LayerImage) -> Box:
    """Return what the selected shapes cover, or without a selection all shapes of a layer."""
    if shapes is None or shapes not in viewer.layers:
        raise InputError(
            "There is no Shapes layer: add one (the button “New shapes layer” above the layer "
            "list), draw a rectangle over the image, and press again."
        )
    numbers = sorted(shapes.selected_data) or range(len(shapes.data))
    corners = [corner for number in numbers for corner in shapes.data[number]]
    if not corners:
        raise InputError(
            f"There is nothing in “{shapes.name}”: draw a rectangle over the image, or choose "
            "another Shapes layer."
        )
    # The corners go through world coordinates: the layers may have any transforms.
    points = regions.onto_layer(viewer, shapes, layer, np.array(corners, dtype=float))
    sides = [image.layer_axes.index(letter) for letter in "YX"]
    lengths = [image.layer_shape[side] for side in sides]
    # A corner on the middle of a pixel takes that pixel, however it was rounded on its way.
    low = np.ceil(points[:, sides].min(axis=0) - 1e-6).astype(int)
    high = np.floor(points[:, sides].max(axis=0) + 1e-6).astype(int) + 1
    if (high <= 0).any() or (low >= lengths).any():
        raise InputError(
            f"The shapes in “{shapes.name}” lie outside of {image.name}: draw a rectangle over "
            "the image, or select another one."
        )
    y0, x0 = (int(value) for value in np.maximum(low, 0))
    y1, x1 = (int(value) for value in np.minimum(high, lengths))
    if y1 - y0 < 2 or x1 - x0 < 2:
        raise InputError(
            f"The selected shapes in “{shapes.name}” cover no area of {image.name}: draw a "
            "rectangle, or select one."
        )
    return y0, x0, y1, x1


class WherePanel(QWidget):  # type: ignore[misc]
    """Chooses the part of the image. ``changed`` is emitted when it does."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.combo, self.shapes = QComboBox(), QComboBox()
        for kind, text in KINDS.items():
            self.combo.addItem(text, kind)
        self.combo.setToolTip(
            "<qt>Segment all of the image, only what the canvas shows of it, or the box around "
            "the selected shapes of a Shapes layer. A part has a layer of its own and comes out "
            "as it would in the whole image.</qt>"
        )
        self.shapes.setToolTip("The Shapes layer. It follows the one you select.")
        self.shapes.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        for box in (self.combo, self.shapes):
            box.setMinimumContentsLength(8)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.addRow("Wh&ere", self.combo)
        self.form.addRow("Shapes", self.shapes)
        self.combo.currentIndexChanged.connect(self._on_kind)
        self._named: set[int] = set()
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed):
            watch(self, emitter, self._refill)
        watch(self, viewer.layers.selection.events.active, self._follow)
        self._refill()
        self._follow()
        self._on_kind()

    def value(self) -> Where:
        """Return what is chosen."""
        return Where(self.combo.currentData(), self.shapes.currentData())

    def set_value(self, where: Where) -> None:
        """Show ``where``."""
        self.combo.setCurrentIndex(self.combo.findData(where.kind))
        self._choose(where.shapes)

    def _on_kind(self, _: Any = None) -> None:
        set_row_visible(self.form, self.shapes, self.combo.currentData() == "shapes")
        self.changed.emit()

    def _refill(self, _: Any = None) -> None:
        before = self.shapes.currentData()
        found = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Shapes) and (note_of(layer) or {}).get("kind") != MEASURE
        ]
        self.shapes.clear()
        for layer in found:
            self.shapes.addItem(layer.name, layer)
            if id(layer.events) not in self._named:
                self._named.add(id(layer.events))
                watch(self, layer.events.name, self._refill)
        self.shapes.setCurrentIndex(len(found) - 1)
        self._choose(before)

    def _follow(self, _: Any = None) -> None:
        self._choose(self._viewer.layers.selection.active)

    def _choose(self, layer: Any) -> None:
        for row in range(self.shapes.count()):
            if layer is not None and self.shapes.itemData(row) == layer:
                self.shapes.setCurrentIndex(row)
