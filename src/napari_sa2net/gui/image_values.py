"""What a person said of each image: it belongs to that image, and no other is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import QObject, Signal

from .jobs.lifetime import owned_by
from .layers import layer_id

Key = int | str
"""Of a channel: its number, or the id of the layer that it is."""


@dataclass(frozen=True)
class Said:
    """What a person said of an image; all of it empty if that is nothing."""

    axes: str = ""
    """Empty for the guess."""
    others: tuple[str, ...] = ()
    """Ids of the layers that are further channels of it."""
    channels: tuple[Key, ...] | None = None
    """Those to use, in the model's order; None for what the model wants."""
    diameter: float | None = None
    """Of objects, in pixels."""
    pixel_size: float | None = None
    """In µm."""


@dataclass(frozen=True)
class Size:
    """A size that was given, and for which image."""

    value: float
    layer: str
    """Id of the image's layer."""
    name: str
    """Of that layer."""


class ImageValues(QObject):  # type: ignore[misc]
    """What was said of the images of one viewer; ``changed`` when something is."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, Said] = {}
        """By the id of the layer; what was said without an image is under an empty one."""
        self._given: dict[str, Size] = {}
        """By "diameter" or "pixel_size", what was given last."""

    def of(self, layer: Any) -> Said:
        """Return what was said of the image of ``layer``; None for what was said without one."""
        return self._said.get(_id(layer), Said())

    def set(self, layers: Sequence[Any], **values: Any) -> None:
        """Take note of what was said of an image, given by its layers; of no image if empty."""
        changed = False
        for layer in layers or [None]:
            said = replace(self.of(layer), **values)
            changed = changed or said != self.of(layer)
            self._said[_id(layer)] = said
        for name in ("diameter", "pixel_size"):
            if layers and values.get(name):
                first = layers[0]
                self._given[name] = Size(values[name], _id(first), str(first.name))
        if changed:
            self.changed.emit()

    def elsewhere(self, name: str, layers: Sequence[Any]) -> Size | None:
        """Return the ``diameter`` or ``pixel_size`` that was given last, for another image."""
        given = self._given.get(name)
        return None if given is None or given.layer in map(_id, layers) else given

    def begin(self, layers: Sequence[Any]) -> None:
        """Take what was said before there was an image as said of the first one."""
        before = self._said.pop("", None)
        if before is not None and layers and _id(layers[0]) not in self._said:
            self.set(layers, diameter=before.diameter, pixel_size=before.pixel_size)


def image_values_of(viewer: Any) -> ImageValues:
    """Return what was said of the images of ``viewer``."""
    return owned_by(viewer, "image values", ImageValues)


def _id(layer: Any) -> str:
    return "" if layer is None else layer_id(layer)
