"""Which image, which of its axes, which channels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
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
from .channel_chooser import ChannelChooser, channel_titles
from .compat import set_row_visible
from .image_values import Key, Said, image_values_of
from .look import Refitted
from .plain import tooltip
from .watching import watch
from .wrapping import WrappedLabel


def same_grid(one: Any, other: Any) -> bool:
    """Whether two layers have equal shapes and lie on each other."""
    if one.data.shape != other.data.shape or one.rgb or other.rgb:
        return False
    corners = [[0] * one.ndim, [n - 1 for n in one.data.shape]]
    return all(
        tuple(one.data_to_world(corner)) == tuple(other.data_to_world(corner)) for corner in corners
    )


class ImagePanel(QWidget):  # type: ignore[misc]
    """Chooses the image. ``changed`` is emitted when anything about it does.

    What a person says of an image is that of it in every panel of the viewer, and comes back with
    it.

    Parameters
    ----------
    viewer
        With the images in it.
    any_channels
        Whether any number of channels will do, as for a model that is still to learn.
    """

    changed = Signal()

    def __init__(self, viewer: Any, *, any_channels: bool = False) -> None:
        super().__init__()
        self._viewer = viewer
        self._values = image_values_of(viewer)
        self._shown = Said()
        """What was said of the image, as far as it is shown."""
        self._following: tuple[Any, Any] | None = None
        self.image: layers.LayerImage | None = None
        """What is chosen, with the axes shown; None if nothing usable is."""
        self.problem = ""
        """Why :attr:`image` is None."""
        self._read_from: list[str] = []
        """Ids of the layers that it was read from."""
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
        Refitted(self.others, self._fit_others)
        self.axes = QLineEdit()
        self.axes.setMaxLength(8)
        self.axes.setToolTip(
            "<qt>What each axis of the image is, in the order of its shape: T time, Z depth, C "
            "channels, Y rows, X columns. Change it if the guess is wrong; clear it to guess "
            "again.</qt>"
        )
        self.shape = WrappedLabel(rich=True)
        self.channels = ChannelChooser(any_number=any_channels)
        form = self.form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("&Image", self.combo)
        form.addRow(self.several)
        form.addRow("With", self.others)
        form.addRow("&Axes", self.axes)
        form.addRow(self.shape)
        form.addRow("Channels", self.channels)
        self.combo.currentIndexChanged.connect(self._on_layer)
        self.others.itemChanged.connect(self._on_other)
        self.axes.textEdited.connect(lambda _: self._on_axes())
        self.axes.editingFinished.connect(self._on_axes_left)
        self.channels.changed.connect(self._on_channels)
        # A bound method of a QObject: Qt disconnects it when this widget goes.
        self._values.changed.connect(self._on_said)
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
        chosen = self.chosen_first()
        return [layer for layer in self._images() if layer in chosen]

    def chosen_first(self) -> list[Any]:
        """Return the same layers, the one chosen before its further channels."""
        return [] if self.layer is None else [self.layer, *self._ticked_others()]

    def _ticked_others(self) -> list[Any]:
        return [
            self.others.item(row).data(Qt.ItemDataRole.UserRole)
            for row in range(self.others.count())
            if self.others.item(row).checkState() == Qt.CheckState.Checked
        ]

    def choose(self, layer: Any) -> None:
        """Show ``layer``."""
        for row in range(self.combo.count()):
            if self.combo.itemData(row) == layer:
                self.combo.setCurrentIndex(row)

    def correct(self, axes: str, channels: Sequence[int] | None) -> None:
        """Take axes, and the numbers of channels, as those that a person gave."""
        if axes != self.axes.text():
            self.axes.setText(axes)
            self._on_axes()
        keys = self._channel_keys()
        wanted = tuple(keys[n] for n in channels or () if n < len(keys)) or None
        self.channels.set_chosen(wanted)
        self._say(channels=wanted)

    def _say(self, **values: Any) -> None:
        """Take note of what a person says of the image."""
        self._shown = replace(self._shown, **values)
        if self.layer is not None:
            self._values.set([self.layer], **values)

    def _on_said(self) -> None:
        """Show what was said of the image in another panel."""
        said = self._values.of(self.layer)
        if self.layer is not None and _about_image(said) != _about_image(self._shown):
            self._show_said()

    def _show_said(self) -> None:
        """Show the image as a person said that it is, or as it is guessed."""
        self._shown = self._values.of(self.layer)
        self._list_others(self._shown.others)
        self.channels.set_chosen(self._shown.channels)
        self.axes.setText(self._shown.axes)
        self._read(guess=not self._shown.axes)
        if self.image is None and self._shown.axes:  # of data that is no more
            self._read(guess=True)

    def _on_axes(self) -> None:
        self._read(guess=False, quiet=True)
        if self.image is not None:
            self._say(axes=self.axes.text().strip().upper())
        self.changed.emit()

    def _on_channels(self) -> None:
        self._say(channels=self.channels.chosen())
        self.changed.emit()

    def _on_other(self, item: QListWidgetItem) -> None:
        """Take a further layer as a channel, or no longer: the axes are guessed again."""
        others = tuple(map(layers.layer_id, self._ticked_others()))
        chosen = self.channels.chosen()
        on = item.checkState() == Qt.CheckState.Checked
        if on and chosen is not None and len(chosen) > 1:  # one alone stays so
            chosen = (*chosen, layers.layer_id(item.data(Qt.ItemDataRole.UserRole)))
            self.channels.set_chosen(chosen)
        self._read(guess=True, quiet=True)
        self._say(others=others, axes="", channels=chosen)
        self.changed.emit()

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
            channels = list(map(layers.layer_id, self.layers()))
            if channels != self._read_from:  # one is gone, or they lie in another order
                self._read(guess=len(channels) != len(self._read_from))
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
        self._show_said()
        self._on_selected()

    def _on_data(self, _: Any = None) -> None:
        self._list_others()
        self._read(guess=False)

    def _list_others(self, wanted: Sequence[str] | None = None) -> None:
        """List the layers that can be channels, and tick those of these ids, or as before."""
        before = self._ticked_others() if self.others.count() else []
        ids = list(map(layers.layer_id, before)) if wanted is None else wanted
        self.others.blockSignals(True)
        self.others.clear()
        for layer in self._images():
            if layer == self.layer or self.layer is None or not same_grid(self.layer, layer):
                continue
            item = QListWidgetItem(layer.name)
            item.setData(Qt.ItemDataRole.UserRole, layer)
            item.setToolTip(tooltip(layer.name))  # it may be longer than the list is wide
            here = layers.layer_id(layer) in ids
            state = Qt.CheckState.Checked if here else Qt.CheckState.Unchecked
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(state)
            self.others.addItem(item)
        self.others.blockSignals(False)
        self._fit_others()
        set_row_visible(self.form, self.others, self.others.count() > 0)

    def _fit_others(self) -> None:
        rows = min(4, self.others.count())
        self.others.setFixedHeight(8 + rows * max(18, self.others.sizeHintForRow(0)))

    def _on_axes_left(self) -> None:
        if not self.axes.text().strip():
            self._read(guess=True, quiet=True)
            self._say(axes="")
            self.changed.emit()

    def _read(self, *, guess: bool, quiet: bool = False) -> None:
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
        keys = self._channel_keys()
        if self.image is not None:
            titles = channel_titles(self.image.channel_names, len(keys))
            colours = self.image.axes.endswith("C") and len(keys) in (3, 4)
            self.channels.set_image(keys, titles, colours=colours)
        set_row_visible(self.form, self.channels, len(keys) > 1)
        if not quiet:
            self.changed.emit()

    def _channel_keys(self) -> list[Key]:
        """Return what each channel is known by: its layer, or its number."""
        image = self.image
        if image is None or image.rgb or "C" not in image.axes:
            return []
        if image.stacked:
            return [layers.layer_id(layer) for layer in self.layers()]
        return list(range(int(image.data.shape[image.axes.index("C")])))

    def _read_layers(self, guess: bool) -> None:
        chosen = self.layers()
        self._read_from = list(map(layers.layer_id, chosen))
        image = layers.read_image(chosen)
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
        image.check_axes()
        self.image = image


def _about_image(said: Said) -> tuple[Any, ...]:
    return said.axes, said.others, said.channels


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
