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
        If a person has edited the layer written before, it is left alone, a new layer is made,
        and the message says so.
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
    named = class_colours(classes, result)
    mark = make_note(note, image, "labels", name, preview=preview, result=result, classes=named)
    edited: list[Any] = []
    for layer in earlier(viewer, image, mark, Labels):
        if layer.ndim != data.ndim or layer.multiscale:  # one on the disk is replaced by hand
            continue
        if is_edited(layer):
            edited.append(layer)
            continue
        kept = (note_of(layer) or {}).get("result") == result == "instances"
        set_data(layer, data, sides)
        image.result_transform().apply(layer)
        layer.features = table
        if not kept:
            layer.colormap = colormap
        claim(layer, mark)
        return Written(layer, created=False)
    layer = Labels(
        data,
        name=name,
        features=table,
        colormap=colormap,
        metadata={NOTE: mark},
        **image.result_transform().kwargs(),
    )
    remember(layer, sides)
    viewer.layers.append(layer)
    claim(layer, mark)
    message = ""
    if edited:
        message = (
            f"You have edited “{edited[0].name}”, so it was left as it is; the new result is "
            f"in “{layer.name}”."
        )
    return Written(layer, created=True, message=message)


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

    Classes have all a row, so that one that a person paints is named too.
    """
    table = {name: np.asarray(column) for name, column in (features or {}).items()}
    if result == "classes" and classes:
        numbers = [n for n, info in enumerate(classes) if n and not info.derived]
        if "area" in table:
            areas = dict(zip(table["index"].tolist(), table["area"].tolist(), strict=True))
            table["area"] = np.array([areas.get(n, 0) for n in numbers])
        table |= {"index": np.array(numbers), "class": np.array(numbers)}
    if not table:
        return {"index": np.zeros(0, dtype=int)}
    if classes and "class" in table:
        names = np.array([classes[n].name for n in table["class"]], dtype=object)
        at = list(table).index("class") + 1
        items = list(table.items())
        table = dict([*items[:at], ("class_name", names), *items[at:]])
    return table


def class_colours(classes: Sequence[ClassInfo], result: str) -> list[dict[str, Any]]:
    """Return value, name and colour of each class, for the note of a result of classes."""
    if result != "classes":
        return []
    return [
        {"value": n, "name": info.name, "color": info.color}
        for n, info in enumerate(classes)
        if n and not info.derived
    ]
