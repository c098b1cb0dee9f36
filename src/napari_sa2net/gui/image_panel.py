"""Which image, which of its axes, which channels."""

from __future__ import annotations

import html
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QWidget,
)

from ..engine.errors import InputError, SA2NetError
from . import layers
from .compat import set_row_visible
from .plain import tooltip
from .watching import watch
from .wrapping import WrappedLabel


def parse_channels(text: str) -> tuple[int, ...] | None:
    """Read channel numbers, "0, 2" for example; None for an empty text (guess).

    Raises
    ------
    InputError
        If it is anything else.
    """
    parts = text.replace(",", " ").split()
    if not all(part.isdigit() for part in parts):
        raise InputError(
            f"Channels “{text}”: give numbers counted from 0, separated by commas, such as "
            "“0, 2”, or leave the field empty."
        )
    return tuple(int(part) for part in parts) or None


def same_grid(one: Any, other: Any) -> bool:
    """Whether two layers have equal shapes and lie on each other."""
    if one.data.shape != other.data.shape or one.rgb or other.rgb:
        return False
    corners = [[0] * one.ndim, [n - 1 for n in one.data.shape]]
    return all(
        tuple(one.data_to_world(corner)) == tuple(other.data_to_world(corner)) for corner in corners
    )


class ImagePanel(QWidget):  # type: ignore[misc]
    """Chooses the image. ``changed`` is emitted when anything about it does."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._following: tuple[Any, Any] | None = None
        self.image: layers.LayerImage | None = None
        """What is chosen, with the axes shown; None if nothing usable is."""
        self.problem = ""
        """Why :attr:`image` is None."""
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setMinimumContentsLength(8)
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.combo.setToolTip("The image to segment. It follows the layer you select.")
        self.several = WrappedLabel()
        self.others = QListWidget()
        self.others.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.others.setToolTip(
            "<qt>Tick other layers of the same size and place to use them as further channels of "
            "one image.</qt>"
        )
        self.axes = QLineEdit()
        self.axes.setMaxLength(8)
        self.axes.setToolTip(
            "<qt>What each axis of the image is, in the order of its shape: T time, Z depth, C "
            "channels, Y rows, X columns. Change it if the guess is wrong; clear it to guess "
            "again.</qt>"
        )
        self.shape = WrappedLabel(rich=True)
        self.channels = QLineEdit()
        self.channels.setToolTip(
            "<qt>Which channels the network gets, counted from 0 and in its order, such as "
            "“0, 2”. Leave empty to use what fits the model.</qt>"
        )
        form = self.form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("&Image", self.combo)
        form.addRow(self.several)
        form.addRow("With", self.others)
        form.addRow("&Axes", self.axes)
        form.addRow(self.shape)
        form.addRow("Channels", self.channels)
        self.combo.currentIndexChanged.connect(self._on_layer)
        self.others.itemChanged.connect(lambda _: self._read(guess=True))
        self.axes.textEdited.connect(lambda _: self._read(guess=False))
        self.axes.editingFinished.connect(self._on_axes_left)
        self.channels.textEdited.connect(lambda _: self.changed.emit())
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            watch(self, emitter, self._refill)
        watch(self, viewer.layers.selection.events.active, self._follow)
        watch(self, viewer.layers.selection.events.changed, self._on_selected)
        self._named: set[int] = set()
        self._refill()
        self._follow()
        self._on_selected()

    @property
    def layer(self) -> Any:
        """The (first) layer chosen, or None."""
        return self.combo.currentData()

    def layers(self) -> list[Any]:
        """Return the layer chosen and those that are further channels of it, in list order."""
        chosen = [self.layer] + [
            self.others.item(row).data(Qt.ItemDataRole.UserRole)
            for row in range(self.others.count())
            if self.others.item(row).checkState() == Qt.CheckState.Checked
        ]
        return [layer for layer in self._images() if layer in chosen]

    def choose(self, layer: Any) -> None:
        """Show ``layer``."""
        for row in range(self.combo.count()):
            if self.combo.itemData(row) == layer:
                self.combo.setCurrentIndex(row)

    def correct(self, axes: str, channels: str) -> None:
        """Show axes and channels as a person gave them."""
        if axes != self.axes.text():
            self.axes.setText(axes)
            self._read(guess=False)
        self.channels.setText(channels)

    def _images(self) -> list[Any]:
        from napari.layers import Image

        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not layers.is_result(layer)
        ]

    def _refill(self, _: Any = None) -> None:
        before, images = self.layer, self._images()
        for layer in images:
            if id(layer.events) not in self._named:
                self._named.add(id(layer.events))
                watch(self, layer.events.name, self._on_renamed)
        self.combo.blockSignals(True)
        self.combo.clear()
        for layer in images:
            self.combo.addItem(layer.name, layer)
        # The newest if the one before is gone: it is what a person has just opened.
        wanted = [row for row, layer in enumerate(images) if before is not None and layer == before]
        self.combo.setCurrentIndex(wanted[0] if wanted else len(images) - 1)
        self.combo.blockSignals(False)
        if wanted:
            self._list_others()
        else:
            self._on_layer()

    def _on_renamed(self, _: Any = None) -> None:
        self._refill()
        self._on_selected()
        self._read(guess=False)  # results are named after the image

    def _follow(self, _: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and active != self.layer:
            self.choose(active)

    def _on_selected(self, _: Any = None) -> None:
        """Say which one is used where several images are selected."""
        selected = [layer for layer in self._images() if layer in self._viewer.layers.selection]
        if len(selected) > 1:
            if self.layer not in selected:
                self.choose(selected[-1])
            self.several.setText(
                f"{len(selected)} images are selected; “{self.layer.name}” is the one used here. "
                "Choose another in the list, or tick those that are further channels of it."
            )
        set_row_visible(self.form, self.several, len(selected) > 1)

    def _on_layer(self, _: Any = None) -> None:
        if self._following is not None:
            emitter, listener = self._following
            emitter.disconnect(listener)
            self._following = None
        if self.layer is not None:
            emitter = self.layer.events.data
            self._following = (emitter, watch(self, emitter, self._on_data))
        self.channels.clear()
        self._list_others()
        self._read(guess=True)
        self._on_selected()

    def _on_data(self, _: Any = None) -> None:
        self._list_others()
        self._read(guess=False)

    def _list_others(self) -> None:
        ticked = self.layers() if self.others.count() else []
        self.others.blockSignals(True)
        self.others.clear()
        for layer in self._images():
            if layer == self.layer or self.layer is None or not same_grid(self.layer, layer):
                continue
            item = QListWidgetItem(layer.name)
            item.setData(Qt.ItemDataRole.UserRole, layer)
            item.setToolTip(tooltip(layer.name))  # it may be longer than the list is wide
            state = Qt.CheckState.Checked if layer in ticked else Qt.CheckState.Unchecked
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(state)
            self.others.addItem(item)
        self.others.blockSignals(False)
        count = self.others.count()
        self.others.setFixedHeight(8 + min(4, count) * max(18, self.others.sizeHintForRow(0)))
        set_row_visible(self.form, self.others, count > 0)

    def _on_axes_left(self) -> None:
        if not self.axes.text().strip():
            self._read(guess=True)

    def _read(self, *, guess: bool) -> None:
        self.image, self.problem = None, ""
        if self.layer is None:
            self.problem = "Open an image first: drop a file on the canvas, or File ▸ Open Sample."
            self.axes.clear()
        else:
            try:
                self._read_layers(guess)
            except (SA2NetError, ValueError, TypeError) as error:
                self.problem = str(error)
        if self.image is None:
            problem = html.escape(self.problem, quote=False)
            self.shape.setText(f'<span style="color: #e07b53">{problem}</span>')
        else:
            self.shape.setText(describe(self.image))
        many = self.image is not None and "C" in self.image.axes and not self.image.rgb
        set_row_visible(self.form, self.channels, many)
        self.changed.emit()

    def _read_layers(self, guess: bool) -> None:
        image = layers.read_image(self.layers())
        typed = self.axes.text().strip().upper()
        if guess or not typed:
            if guess:
                self.axes.setText(image.axes)
        else:
            try:
                image = image.with_axes(typed)
            except SA2NetError as error:
                guess_text = f"Clear the field to take the guess, {image.axes}."
                raise InputError(f"{error} {guess_text}") from error
        self.image = image
        count = image.data.shape[image.axes.index("C")] if "C" in image.axes else 1
        self.channels.setPlaceholderText(f"as the model wants (0 … {count - 1})")


def describe(image: layers.LayerImage) -> str:
    """Return one line about an image: what its axes are, and its pixel size."""
    names = {"T": "time points", "Z": "planes", "C": "channels"}
    parts = [
        f"{n} {names[axis]}"
        for n, axis in zip(image.data.shape, image.axes, strict=True)
        if axis in names and not (axis == "C" and image.rgb)
    ]
    size = dict(zip(image.axes, image.data.shape, strict=True))
    parts.append(f"{size.get('Y', 1)} × {size.get('X', 1)} pixels")
    if image.rgb:
        parts.append("colour")
    if image.pixel_size is not None:
        source = ", as its file says" if image.told else ""
        parts.append(f"{image.pixel_size:.3g} µm a pixel{source}")
    return "<br>".join([", ".join(parts), *map(html.escape, image.notes)])
