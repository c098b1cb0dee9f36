"""Writing results into napari's layers, and updating them without overwriting a person's work.

Every result carries the source layer's whole transform, units and axis labels, and a note in
``metadata["napari-sa2net"]``: model, settings, version, source, kind. The note is how a result
is found again, so a second run updates the layers of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from . import colours
from .edits import is_edited, remember, set_data, set_plane
from .layers import NOTE, LayerImage, comes_from, layer_id, note_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..engine.weights import ClassInfo

__all__ = [
    "MAP_LAYERS",
    "Note",
    "Written",
    "describe_bytes",
    "estimate_map_bytes",
    "is_edited",
    "too_large",
    "write_labels",
    "write_maps",
    "write_plane",
]

LARGE = 10**9
"""Bytes of maps above which a person is asked."""

MAP_LAYERS = {"probabilities": "probability", "stages": "stage", "attention": "attention"}
"""Maps that are several layers each, and the kind of one of these layers."""

COLORMAPS = {"stage": "viridis", "attention": "magma", "disagreement": "inferno"}


@dataclass(frozen=True)
class Note:
    """What made a result."""

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, eq=False)
class Written:
    """What became of a result."""

    layer: Any
    created: bool
    """Whether the layer is new."""
    message: str = ""
    """Something to show, empty if there is nothing to say."""
    done: bool = True
    """False if nothing was written (:func:`write_plane` only)."""


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
        Columns ``index, class, area``. For classes without a table, their names.
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
    table = _table(features, classes, result)
    colormap = (
        colours.class_colormap(classes)
        if result == "classes" and classes
        else colours.instance_colormap()
    )
    name = f"{image.name} {'preview' if preview else 'labels'}"
    mark = _note(note, image, "labels", name, preview=preview, result=result)
    edited: list[Any] = []
    for layer in _earlier(viewer, image, mark, Labels):
        if layer.ndim != data.ndim:
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
        _claim(layer, mark)
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
    _claim(layer, mark)
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
) -> Written:
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
    Written
        With ``done`` False and a message if the layer is gone or the plane was edited; then
        nothing was written, and :func:`write_labels` with all planes makes a new layer.
    """
    if layer not in viewer.layers:
        return Written(layer, False, "The labels layer was removed.", done=False)
    letters = image.layer_axes
    where = dict(zip((axis for axis in "TZ" if axis in letters), index, strict=True))
    # Over the layer's axes other than Y and X; a dropped channel axis has one step.
    plane = tuple(where.get(axis, 0) for axis in letters if axis not in "YX")
    if is_edited(layer, plane):
        message = f"You have edited “{layer.name}”: the new labels go to a layer of their own."
        return Written(layer, False, message, done=False)
    set_plane(layer, labels, plane)
    return Written(layer, created=False)


def write_maps(
    viewer: ViewerModel,
    image: LayerImage,
    maps: Mapping[str, Any],
    *,
    note: Note,
    classes: Sequence[ClassInfo] = (),
    preview: bool = False,
) -> list[Written]:
    """Show maps as Image layers, directly above the image they were made from.

    Parameters
    ----------
    viewer, note, classes, preview
        As in :func:`write_labels`.
    image
        What the maps cover: for one plane of a stack, the image cropped to it.
    maps
        ``probabilities`` (K, ...), ``stages`` (4, ...), ``attention`` (4, ...) and
        ``disagreement`` (...), each over the axes of ``image`` without the channels; None and
        what is missing are left out. Stored as float16, not copied where they are already.

    Returns
    -------
    list of Written
        One for each layer. Of new layers only the first is visible: they cover one another.
    """
    active = viewer.layers.selection.active
    written: list[Written] = []
    for kind, index, title, data, info in _maps(maps, classes):
        name = f"{image.name} {title}" + (" (preview)" if preview else "")
        mark = _note(note, image, kind, name, preview=preview, index=index, title=title)
        values = np.asarray(image.expand(np.asarray(data, dtype=np.float16)))
        colormap = colours.probability_colormap(info) if kind == "probability" else COLORMAPS[kind]
        for layer in _earlier(viewer, image, mark, Image):
            if layer.ndim != values.ndim:
                continue
            layer.data = values
            image.result_transform().apply(layer)
            # Another model's class has another colour; otherwise a person's choice stays.
            if (note_of(layer) or {}).get("title") != title:
                layer.colormap = colormap
                _claim(layer, mark)
            written.append(Written(layer, created=False))
            break
        else:
            layer = Image(
                values,
                name=name,
                colormap=colormap,
                contrast_limits=(0.0, 1.0),
                blending="additive" if kind == "probability" else "translucent",
                visible=not any(one.created for one in written),
                metadata={NOTE: mark},
                **image.result_transform().kwargs(),
            )
            viewer.layers.insert(_place(viewer, image), layer)
            _claim(layer, mark)
            written.append(Written(layer, created=True))
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active
    return written


def estimate_map_bytes(
    image: LayerImage, keep: Sequence[str] | frozenset[str], num_classes: int, *, all_planes: bool
) -> int:
    """Return how many bytes the maps in ``keep`` take as layers (float16).

    Parameters
    ----------
    image
        The image to segment.
    keep
        Names as in :func:`write_maps`.
    num_classes
        Of the model; one class has two probabilities, the background's too.
    all_planes
        Of a stack, whether every plane is kept or one.
    """
    layers = {"probabilities": max(2, num_classes), "stages": 4, "attention": 4, "disagreement": 1}
    sizes = dict(zip(image.axes, image.data.shape, strict=True))
    pixels = int(sizes["Y"]) * int(sizes["X"])
    if all_planes:
        pixels *= int(sizes.get("T", 1)) * int(sizes.get("Z", 1))
    return 2 * pixels * sum(layers[name] for name in keep)


def too_large(size: int) -> bool:
    """Return whether maps of ``size`` bytes are worth asking before."""
    return size > LARGE


def describe_bytes(size: float) -> str:
    """Return ``size`` in words for a person, such as "1.3 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _maps(
    maps: Mapping[str, Any], classes: Sequence[ClassInfo]
) -> Iterator[tuple[str, int, str, Any, ClassInfo | None]]:
    """Yield kind, index, title, values and class of each layer to show."""
    for group, kind in MAP_LAYERS.items():
        parts = maps.get(group)
        if parts is None:
            continue
        # A model of one class may give the object's probability alone.
        infos = classes[1:] if len(parts) == len(classes) - 1 else classes
        for index, data in enumerate(parts):
            if kind == "probability":
                info = infos[index] if index < len(infos) else None
                title = f"p({info.name if info else f'class {index}'})"
                yield kind, index, title, data, info
            else:
                yield kind, index, f"{kind} {index + 1}", data, None
    if maps.get("disagreement") is not None:
        yield "disagreement", 0, "disagreement", maps["disagreement"], None


def _table(
    features: Mapping[str, Any] | None, classes: Sequence[ClassInfo], result: str
) -> dict[str, Any]:
    """Return the features table of a Labels layer; ``index`` is what the status bar goes by."""
    if features is not None:
        return {name: np.asarray(column) for name, column in features.items()}
    if result == "classes":
        names = [info.name for info in classes]
        return {"index": np.arange(len(names)), "class": np.array(names, dtype=object)}
    return {"index": np.zeros(0, dtype=int)}


def _note(note: Note, image: LayerImage, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Return what stands in a result's metadata."""
    return {
        **asdict(note),
        "source": image.name,
        "source_id": image.source_id,
        "kind": kind,
        "axes": image.layer_axes,
        "name": name,
        **more,
    }


def _earlier(
    viewer: ViewerModel, image: LayerImage, mark: Mapping[str, Any], layer_type: type
) -> list[Any]:
    """Return the layers of an earlier run that a result may update, the newest first."""
    found = []
    for layer in viewer.layers:
        note = note_of(layer)
        if note is None or not isinstance(layer, layer_type):
            continue
        same = all(note.get(key) == mark.get(key) for key in ("kind", "preview", "index"))
        same = same and note.get("layer_id") == layer_id(layer)
        if same and comes_from(note, image.source_id, image.name):
            found.append(layer)
    return found[::-1]


def _claim(layer: Any, mark: Mapping[str, Any]) -> None:
    """Leave the note in ``layer``; its name follows its content until a person gives another.

    The note holds the layer's id, by which it is known from copies (Duplicate) that a person
    made to keep.
    """
    before = note_of(layer) or {}
    ours = before.get("layer_name", layer.name) == layer.name
    if ours and before.get("name", mark["name"]) != mark["name"]:
        layer.name = mark["name"]
    layer.metadata[NOTE] = {
        **mark,
        "layer_name": str(layer.name) if ours else "",
        "layer_id": layer_id(layer),
    }


def _place(viewer: ViewerModel, image: LayerImage) -> int:
    """Return where a map goes in the list: above the source and its earlier maps."""
    place = len(viewer.layers)
    for position, layer in enumerate(viewer.layers):
        if note_of(layer) is None:
            if layer_id(layer) == image.source_id or layer.name == image.name:
                place = position + 1
        elif place == position and isinstance(layer, Image):
            place = position + 1
    return place
