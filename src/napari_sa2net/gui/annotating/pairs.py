"""Which paintings belong to which images, and what they mean; without the window."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from ...engine.errors import InputError
from ..jobs.lifetime import unwrap
from ..layers import (
    LayerImage,
    comes_from,
    is_result,
    layer_id,
    note_of,
    read_image,
)

NOTHING = (
    "There is no painting to learn from: press “New annotation layer”, paint a few strokes of "
    "each class, and try again."
)


@dataclass(eq=False)
class Pair:
    """An image and a Labels layer painted over it."""

    painting: Any
    """The Labels layer."""
    sources: list[Any]
    """The image's layers."""
    axes: str
    """Of the image, as a person corrected them."""
    channels: tuple[int, ...] | None = None
    on: bool = True
    """Whether it is trained on."""
    region: Any = None
    """A Shapes layer outside which nothing counts, or None."""
    accepted: float = 0.0
    """How much a corrected prediction counts where it was not edited."""

    def image(self) -> LayerImage:
        """Read the image as it is now.

        Raises
        ------
        InputError
            If its layers have changed so that they do not fit any more.
        """
        return read_image(self.sources).with_axes(self.axes)


class PairList(QObject):  # type: ignore[misc]
    """The pairs of one viewer.

    ``changed`` is emitted when there are others, ``lost`` with the name of a painting whose
    layer, or that of its image, was removed, and ``told`` with what a person should know.
    """

    changed = Signal()
    lost = Signal(str)
    told = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        viewer = unwrap(viewer)
        self._viewer = weakref.ref(viewer)
        self.pairs: list[Pair] = []
        viewer.layers.events.removed.connect(self._on_removed)

    def of(self, painting: Any) -> Pair | None:
        """Return the pair of a Labels layer, None if it is in none."""
        return next((pair for pair in self.pairs if pair.painting == painting), None)

    def add(
        self, painting: Any, image: LayerImage, sources: list[Any], channels: Any = None
    ) -> Pair:
        """Add a pair, or return the one there is of this painting."""
        pair = self.of(painting)
        if pair is None:
            pair = Pair(painting, list(sources), image.axes, channels)
            self.pairs.append(pair)
            self.changed.emit()
        return pair

    def adopt(self, painting: Any) -> Pair | None:
        """Add a painting that knows its own image, as one that was made or restored here does."""
        viewer = self._viewer()
        known = (note_of(painting) or {}).get("annotation")
        if viewer is None or not isinstance(known, dict):
            return None
        mark = {"source": known.get("image"), "source_id": known.get("image_id")}
        for layer in viewer.layers:
            own = not isinstance(layer, Image) or is_result(layer)
            if not own and comes_from(mark, layer_id(layer), str(layer.name)):
                return self.add(painting, read_image(layer), [layer])
        return None

    def remove(self, pair: Pair) -> None:
        """Take a pair off the list; its layers stay."""
        if pair in self.pairs:
            self.pairs.remove(pair)
            self.changed.emit()

    def clear(self) -> None:
        """Let go of all layers."""
        self.pairs = []
        viewer = self._viewer()
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)

    def wanted(self) -> list[Pair]:
        """Return the pairs that are ticked.

        Raises
        ------
        InputError
            If there is none.
        """
        wanted = [pair for pair in self.pairs if pair.on]
        if not wanted:
            raise InputError("Tick at least one painting in the list." if self.pairs else NOTHING)
        return wanted

    def read(self, viewer: Any, diameter: float | None) -> Generator[None, None, list[Any]]:
        """Copy what is painted, for a training; on the main thread, in short pieces.

        Returns
        -------
        list of TrainingPair
            Of the pairs that are ticked.

        Raises
        ------
        InputError
            If there is none, or one cannot be used; the message names it.
        """
        from . import layers as annotation_layers
        from . import reading as annotation_reading

        read = []
        for pair in self.wanted():
            known = annotation_layers.guess(pair.painting, None)
            image = pair.image()
            steps = annotation_reading.read_pair_steps(
                viewer,
                image,
                pair.painting,
                known.meaning,
                known.of,
                region=pair.region,
                accepted=pair.accepted,
                channels=None if image.rgb else pair.channels,
                diameter=diameter,
            )
            read.append((yield from steps))
        return read

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        gone = [p for p in self.pairs if p.painting == layer or layer in p.sources]
        for pair in self.pairs:
            if pair.region is not None and pair.region == layer:
                pair.region = None
                self.told.emit(
                    f"“{layer.name}” was removed: “{pair.painting.name}” now counts everywhere."
                )
                self.changed.emit()
        for pair in gone:
            self.pairs.remove(pair)
            self.lost.emit(str(pair.painting.name))
        if gone:
            self.changed.emit()
