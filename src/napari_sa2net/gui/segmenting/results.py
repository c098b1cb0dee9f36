"""Writing labels into napari's layers, and updating them without overwriting a person's work.

Every result carries the source layer's whole transform, units and axis labels, and a note of
what made it, by which a second run finds the layers of the first and updates them. Maps are
written by :mod:`napari_sa2net.gui.segmenting.maps`, whose functions are to be had here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from .. import colours
from ..classes import as_notes
from ..layers import NOTE, LayerImage, note_of
from ..notes import (
    Note,
    Written,
    claim,
    earlier,
    make_note,
)
from .edits import is_edited, remember, set_data, set_plane
from .maps import describe_bytes, estimate_map_bytes, remove_others, too_large, write_maps
from .work import work_on

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.weights import ClassInfo

__all__ = [
    "Note",
    "Written",
    "describe_bytes",
    "estimate_map_bytes",
    "is_edited",
    "left_alone",
    "remove_others",
    "too_large",
    "write_labels",
    "write_maps",
    "write_plane",
]


def write_labels(
    viewer: ViewerModel,
    image: LayerImage,
    labels: NDArray[Any],
    *,
    note: Note,
    result: Literal["instances", "classes"] = "instances",
    classes: Sequence[ClassInfo] = (),
    features: Mapping[str, Any] | None = None,
    preview: bool = False,
) -> Written:
    """Show ``labels`` as a Labels layer: the one written before, or a new one.

    Parameters
    ----------
    viewer
        Where to show them.
    image
        What was segmented; of a region, the cropped image.
    labels
        Over the axes of ``image`` without the channels. Copied.
    note
        What made them.
    result
        Whether the numbers are objects or classes. Classes get the colours of the model.
    classes
        Of the model, background first.
    features
        Columns ``index, class, area``; the names of the classes are added.
    preview
        Whether this is a preview: it has a layer of its own.

    Returns
    -------
    Written
        If a person has edited the layer written before, it is left alone and a new layer is
        made beneath it.
    """
    data = np.array(image.expand(labels))
    letters = image.layer_axes
    sides = (letters.index("Y"), letters.index("X"))
    table = class_table(features, classes, result)
    colormap = (
        colours.class_colormap(classes)
        if result == "classes" and classes
        else colours.instance_colormap()
    )
    name = f"{image.name} preview" if preview else f"{image.name} labels{note.place}"
    mark = make_note(
        note, image, "labels", name, preview=preview, result=result, classes=as_notes(classes)
    )
    work, kept = work_on(viewer, image, note.region), None
    for layer in earlier(viewer, image, mark, Labels):
        if layer.ndim != data.ndim or layer.multiscale:  # one on the disk is replaced by hand
            continue
        if is_edited(layer):
            kept = layer
            continue
        objects = (note_of(layer) or {}).get("result") == result == "instances"
        claim(layer, mark)
        layer.features = table
        set_data(layer, data, sides)
        image.result_transform().apply(layer)
        if not objects:
            layer.colormap = colormap
        return Written(layer, created=False, beneath=work.cover())
    layer = Labels(
        data,
        name=name,
        features=table,
        colormap=colormap,
        metadata={NOTE: mark},
        **image.result_transform().kwargs(),
    )
    remember(layer, sides)
    layer.visible = preview or work.cover() is None
    work.add_beneath(viewer, layer)
    claim(layer, mark)
    return Written(layer, created=True, beneath=work.cover(), kept=kept)


def write_plane(
    viewer: ViewerModel,
    image: LayerImage,
    labels: NDArray[Any],
    index: tuple[int, ...],
    layer: Any,
) -> str:
    """Replace one plane of a Labels layer in place, as a slider is dragged.

    Parameters
    ----------
    viewer, image
        As in :func:`write_labels`.
    labels
        (H, W), the plane.
    index
        Of the plane over T, then Z, as far as ``image`` has them.
    layer
        As returned by :func:`write_labels` for this image.

    Returns
    -------
    str
        Empty, or why nothing was written: the layer is gone, or the plane was edited. Then
        :func:`write_labels` with all planes makes a new layer.
    """
    if layer not in viewer.layers:
        return "The labels layer was removed."
    letters = image.layer_axes
    where = dict(zip((axis for axis in "TZ" if axis in letters), index, strict=True))
    # Over the layer's axes other than Y and X; a dropped channel axis has one step.
    plane = tuple(where.get(axis, 0) for axis in letters if axis not in "YX")
    if is_edited(layer, plane):
        return left_alone(layer)
    set_plane(layer, labels, plane)
    return ""


def left_alone(layer: Any) -> str:
    """Say why nothing was written to ``layer``, and what will be."""
    return f"You have edited “{layer.name}”: the new labels go to a layer of their own."


def class_table(
    features: Mapping[str, Any] | None, classes: Sequence[ClassInfo], result: str
) -> dict[str, Any]:
    """Return the features table of a Labels layer; ``index`` is what the status bar goes by.

    As long as nobody has counted, classes have all a row.
    """
    columns = {name: np.asarray(column) for name, column in (features or {}).items()}
    if features is None and result == "classes":
        numbers = [n for n, info in enumerate(classes) if n and not info.derived]
        columns = {"index": np.array(numbers, int), "class": np.array(numbers, int)}
    kinds = columns.get("class", np.zeros(0))
    if classes and kinds.dtype.kind in "iu":
        names = [classes[kind].name if kind < len(classes) else "" for kind in kinds.tolist()]
        columns["class_name"] = np.array(names, dtype=object)
    return columns or {"index": np.zeros(0, dtype=int)}
