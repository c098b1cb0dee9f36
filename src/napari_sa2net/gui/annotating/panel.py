"""Making the layers to paint in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from ...engine.errors import InputError
from ..image_panel import ImagePanel
from ..layers import (
    comes_from,
    is_result,
    layer_id,
    note_of,
)
from ..scale_field import ScaleField
from ..watching import watch
from . import layers as annotation_layers
from .class_picker import ClassPicker
from .pairs import PairList

HOW = (
    "Paint a few strokes on objects, and a few on the background between them. What stays "
    "unpainted is ignored."
)


class AnnotatePanel(QWidget):  # type: ignore[misc]
    """The buttons "New annotation layer" and "Correct the prediction", and the classes to paint.

    ``failed`` carries what a person should read instead; ``made`` the layer.
    """

    made = Signal(object)
    failed = Signal(object)

    def __init__(
        self,
        viewer: Any,
        image: ImagePanel,
        scale: ScaleField,
        pairs: PairList,
        card: Callable[[], Any],
        shown: Callable[[], Any],
    ) -> None:
        super().__init__()
        self._viewer, self._image, self._scale = viewer, image, scale
        self._pairs, self._card, self._shown = pairs, card, shown
        self.how = QLabel(HOW)
        self.how.setWordWrap(True)
        self.new = QPushButton("New annotation layer")
        self.new.setToolTip(
            "<qt>Adds a layer over the image to paint in, with a brush that fits your objects.</qt>"
        )
        self.correct = QPushButton("Correct the prediction")
        self.correct.setToolTip(
            "<qt>Copies the predicted labels to a layer in which you can mend them. The model "
            "learns where you change something.</qt>"
        )
        self.picker = ClassPicker(viewer)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.new)
        column.addWidget(self.correct)
        column.addWidget(self.how)
        column.addWidget(self.picker)
        watch(self, viewer.layers.selection.events.active, self.offer_classes)
        self.new.clicked.connect(lambda _: self._try(self._make_new))
        self.correct.clicked.connect(lambda _: self._try(self._make_copy))

    def _try(self, make: Callable[[], Any]) -> None:
        try:
            painting = make()
            self.pair(painting)
        except Exception as error:
            self.failed.emit(error)
            return
        self.made.emit(painting)

    def _make_new(self) -> Any:
        image = self._image.image
        if image is None:
            raise InputError(self._image.problem or "Open an image first.")
        return annotation_layers.new_annotation(
            self._viewer, self._image.layer, image, self._card(), self._scale.diameter()
        )

    def _make_copy(self) -> Any:
        prediction = self._prediction()
        shown, original, card = self._shown(), None, None
        if shown is not None and shown.layer == prediction:
            card = shown.segmentation.card
            if shown.labelling is not None and not shown.on_disk:
                original = shown.segmentation.labels
        return annotation_layers.correct_prediction(
            self._viewer, prediction, card=card, original=original
        )

    def pair(self, painting: Any) -> Any:
        """Put a Labels layer on the list, for the image chosen."""
        image = self._image.image
        if image is None:
            raise InputError(self._image.problem or "Open an image first.")
        channels = self._image.channels.value()
        return self._pairs.add(painting, image, self._image.layers(), channels)

    def offer_classes(self, _: Any = None) -> None:
        """Show the classes of the painting at work: the one selected, else the last of the list."""
        active = self._viewer.layers.selection.active
        pair = None if active is None else self._pairs.of(active)
        here = [one for one in self._pairs.pairs if one.sources == self._image.layers()]
        pair = pair or (here[-1] if here else None)
        self.picker.set_layer(None if pair is None else pair.painting, self._card())

    def colour(self) -> None:
        """Give the paintings made here the colours of the classes chosen now."""
        for pair in self._pairs.pairs:
            known = annotation_layers.meaning_of(pair.painting)
            if known is not None and known[1] == "classes":
                annotation_layers.recolour(pair.painting, known[0], self._card())

    def _prediction(self) -> Any:
        """Return the predicted labels: those selected, else the newest of the image chosen."""
        active = self._viewer.layers.selection.active
        if isinstance(active, Labels) and is_result(active):
            return active
        image = self._image.layer
        for layer in reversed(list(self._viewer.layers)):
            note = note_of(layer) or {}
            if not isinstance(layer, Labels) or note.get("kind") != "labels" or image is None:
                continue
            if not note.get("preview") and comes_from(note, layer_id(image), str(image.name)):
                return layer
        return None
