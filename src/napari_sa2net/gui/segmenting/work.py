"""A person's work on an image: where a new result goes, so that it neither hides nor covers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from ..classes import shows
from ..layers import KIND, LayerImage, lies_on, made_by, note_of
from .edits import is_edited

if TYPE_CHECKING:
    from napari.components import ViewerModel

Region = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Work:
    """The layers over an image that a person has painted in, the lowest first."""

    layers: list[Any]

    def cover(self) -> Any:
        """Return labels among them that are seen, which a result in sight would mix with.

        Strokes are meant to be painted over a result. None if there are no such labels.
        """
        seen = [one for one in self.layers if one.visible and shows(one) != "strokes"]
        return seen[-1] if seen else None

    def add_beneath(self, viewer: ViewerModel, layer: Any, place: int | None = None) -> None:
        """Add a result under them, or on top (at ``place``) where there is no such work.

        What a person has selected stays selected if it lies on top.
        """
        active = viewer.layers.selection.active
        places = [viewer.layers.index(one) for one in self.layers]
        viewer.layers.insert(min([len(viewer.layers) if place is None else place, *places]), layer)
        if places and active is not None and active in viewer.layers:
            viewer.layers.selection.active = active


def work_on(viewer: ViewerModel, image: LayerImage, region: Region | None) -> Work:
    """Return a person's work on an image, as far as it lies where a new result does.

    Parameters
    ----------
    viewer
        With the layers.
    image
        What is segmented.
    region
        First row, first column, last row + 1 and last column + 1 of the result; None for all.
    """
    found = []
    for layer in viewer.layers:
        if not isinstance(layer, Labels) or not lies_on(layer, image.source_ids, image.name):
            continue
        painted = isinstance((note_of(layer) or {}).get(KIND), dict)
        # Nobody can paint in labels on the disk.
        if not painted and (layer.multiscale or not is_edited(layer)):
            continue
        if _overlap(made_by(layer).get("region"), region):
            found.append(layer)
    return Work(found)


def _overlap(one: Region | None, other: Region | None) -> bool:
    if one is None or other is None:
        return True
    starts, ends = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    return bool((starts < ends).all())
