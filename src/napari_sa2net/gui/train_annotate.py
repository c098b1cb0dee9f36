"""Making the layers to paint in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..engine.errors import InputError
from . import annotation_layers
from .image_panel import ImagePanel, parse_channels
from .layers import comes_from, is_result, layer_id, note_of
from .pairs import PairList
from .scale_field import ScaleField

HOW = (
    "Paint a few strokes on some objects and on the background between them. What you leave "
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
        row = QHBoxLayout()
        row.addWidget(self.new, 1)
        row.addWidget(self.correct, 1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(self.how)
        self.column.addLayout(row)
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
        shown, original = self._shown(), None
        if shown is not None and shown.layer == prediction and shown.labelling is not None:
            original = shown.segmentation.labels
        return annotation_layers.correct_prediction(self._viewer, prediction, original=original)

    def pair(self, painting: Any) -> Any:
        """Put a Labels layer on the list, for the image chosen."""
        image = self._image.image
        if image is None:
            raise InputError(self._image.problem or "Open an image first.")
        channels = None if image.rgb else parse_channels(self._image.channels.text())
        return self._pairs.add(painting, image, self._image.layers(), channels)

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
