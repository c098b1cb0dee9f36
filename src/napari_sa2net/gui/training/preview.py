"""The preview of a training: what the canvas shows, and what the model sees there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ...engine.errors import SA2NetError
from .. import regions
from ..layers import (
    NOTE,
    LayerImage,
    Slices,
    note_of,
)
from .backend import View

KIND = "training preview"

LARGEST = 512
"""Side in the model's pixels above which only the middle of the view is previewed: a larger one
would take its time from the training."""


@dataclass(frozen=True, eq=False)
class Shown:
    """The image whose view is previewed, as a person chose it."""

    layer: Any
    image: LayerImage
    channels: tuple[int, ...] | None
    diameter: float | None
    zoom: float = 1.0
    """Pixels of the model for one of the image."""


class TrainingPreview:
    """Notes on the main thread what is in view; any thread may ask for it.

    The layer is this package's own and is found again by its note. Removing it ends the
    previews of the training at work.
    """

    def __init__(self) -> None:
        self.on = True
        """Whether previews are wanted."""
        self._shown: Shown | None = None
        self._view: View | None = None
        self._layer: Any = None

    def show_image(self, shown: Shown | None) -> None:
        """Tell which image to look at."""
        self._shown = shown

    def look(self) -> View | None:
        """Return what was in view when :meth:`update` was called last. For any thread."""
        return self._view

    def begin(self) -> None:
        """Begin with a training."""
        self._layer = None

    def forget(self) -> None:
        """End with it: nothing of the image is held any more."""
        self._view = None

    def remove(self, viewer: Any) -> None:
        """Take the layer away: the person has decided, and Segment shows more."""
        if self._layer is not None and self._layer in viewer.layers:
            viewer.layers.remove(self._layer)
        self._layer = None

    def update(self, viewer: Any) -> None:
        """Note what the canvas shows."""
        shown = self._shown
        if self._layer is not None and self._layer not in viewer.layers:
            self.on = False
            self._layer = None
        if not self.on or shown is None or shown.layer not in viewer.layers:
            self._view = None
            return
        try:
            part = regions.visible_region(viewer, shown.layer, shown.image.axes)
        except SA2NetError:  # nothing of it is in view, or it is seen from the side
            self._view = None
            return
        part = _middle(part, shown.image.layer_axes, LARGEST / max(shown.zoom, 1e-3))
        if self._view is None or self._view.image.region != part or _how(self._view) != _how(shown):
            self._view = View(shown.image.crop(part), shown.channels, shown.diameter)

    def write(self, viewer: Any, view: View, foreground: NDArray[Any]) -> None:
        """Show the foreground's probability (H, W) of a view."""
        if not self.on or (self._shown is not None and self._shown.layer not in viewer.layers):
            return
        image = view.image
        data = np.asarray(image.expand(foreground), dtype=np.float32)
        transform = image.result_transform()
        layer = self._find(viewer, image, data.ndim)
        if layer is not None:
            layer.data = data
            transform.apply(layer)
        else:
            layer = Image(
                data,
                name=f"{image.name} training preview",
                colormap="magenta",
                blending="additive",
                opacity=0.6,
                contrast_limits=(0, 1),
                metadata={NOTE: _note(image)},
                **transform.kwargs(),
            )
            _add_below(viewer, layer, self._shown)
        self._layer = layer

    def _find(self, viewer: Any, image: LayerImage, ndim: int) -> Any:
        for layer in viewer.layers:
            note = note_of(layer) or {}
            if note.get("kind") == KIND and layer.ndim == ndim:
                if note.get("source_id") != image.source_id:
                    layer.name = f"{image.name} training preview"
                    layer.metadata[NOTE] = _note(image)
                return layer
        return None


def _how(seen: Shown | View) -> tuple[Any, ...]:
    """Return how an image is given to the network."""
    return seen.channels, seen.diameter, seen.image.pixel_size_yx


def _note(image: LayerImage) -> dict[str, Any]:
    return {
        "kind": KIND,
        "source": image.name,
        "source_id": image.source_id,
        "axes": image.layer_axes,
    }


def _middle(part: Slices, letters: str, most: float) -> Slices:
    """Return the middle of ``part`` with at most ``most`` pixels along Y and X."""
    limit, found = max(16, int(most)), []
    for letter, side in zip(letters, part, strict=True):
        spare = side.stop - side.start - limit
        if letter in "YX" and spare > 0:
            start = side.start + spare // 2
            side = slice(start, start + limit)
        found.append(side)
    return tuple(found)


def _add_below(viewer: Any, layer: Any, shown: Shown | None) -> None:
    """Add ``layer`` right above its image, and leave what a person has selected selected."""
    selected = set(viewer.layers.selection)
    active = viewer.layers.selection.active
    place = len(viewer.layers)
    if shown is not None and shown.layer in viewer.layers:
        place = viewer.layers.index(shown.layer) + 1
    viewer.layers.insert(place, layer)
    viewer.layers.selection = selected
    viewer.layers.selection.active = active
