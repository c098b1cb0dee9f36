"""Writing maps (probabilities, stages, attention, disagreement) into Image layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from .. import colours
from ..layers import (
    NOTE,
    LayerImage,
    layer_id,
    note_of,
)
from ..notes import (
    Note,
    Written,
    claim,
    earlier,
    make_note,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.weights import ClassInfo

LARGE = 10**9
"""Bytes of maps above which a person is asked."""

MAP_LAYERS = {"probabilities": "probability", "stages": "stage", "attention": "attention"}
"""Maps that are several layers each, and the kind of one of these layers."""

COLORMAPS = {"stage": "cyan", "attention": "magma", "disagreement": "inferno"}
"""They begin with black, so that a map can be added to what lies below it."""

OPACITY = 0.8
"""Of the maps that lie under the labels, shared by those of several kinds."""


def write_maps(
    viewer: ViewerModel,
    image: LayerImage,
    maps: Mapping[str, Any],
    *,
    note: Note,
    classes: Sequence[ClassInfo] = (),
    preview: bool = False,
    labels: Any = None,
) -> list[Written]:
    """Show maps as Image layers, directly above the image they were made from.

    They are added to what lies below them. The disagreement lies above the labels, where it tells
    which of them to look at.

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
    labels
        The Labels layer of the same result, if it is there.

    Returns
    -------
    list of Written
        One for each layer. Of the new ones of each kind one is visible, as they cover each other;
        a message says so.
    """
    active = viewer.layers.selection.active
    below = [group for group in MAP_LAYERS if maps.get(group) is not None]
    written: list[Written] = []
    for kind, index, title, data, info in _maps(maps, classes):
        name = f"{image.name} {title}" + (" (preview)" if preview else note.place)
        mark = make_note(note, image, kind, name, preview=preview, index=index, title=title)
        values = np.asarray(image.expand(np.asarray(data, dtype=np.float16)))
        colormap = colours.probability_colormap(info) if kind == "probability" else COLORMAPS[kind]
        for layer in earlier(viewer, image, mark, Image):
            if layer.ndim != values.ndim:
                continue
            layer.data = values
            image.result_transform().apply(layer)
            # Another model's class has another colour; otherwise a person's choice stays.
            if (note_of(layer) or {}).get("title") != title:
                layer.colormap = colormap
            claim(layer, mark)
            written.append(Written(layer, created=False))
            break
        else:
            layer = Image(
                values,
                name=name,
                colormap=colormap,
                contrast_limits=(0.0, 1.0),
                blending="additive",
                opacity=1.0 if kind == "disagreement" else OPACITY / max(1, len(below)),
                visible=index == _first(kind, maps),
                metadata={NOTE: mark},
                **image.result_transform().kwargs(),
            )
            above = labels if kind == "disagreement" else None
            viewer.layers.insert(_place(viewer, image, above), layer)
            claim(layer, mark)
            covered = any(one.created for one in written) and not layer.visible
            written.append(Written(layer, created=True, covered=covered))
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active
    return written


def remove_others(
    viewer: ViewerModel, image: LayerImage, written: Sequence[Written], mark: Mapping[str, Any]
) -> str:
    """Remove the maps of an earlier run that this one has not made again.

    What a person copied or gave a name of their own stays.

    Parameters
    ----------
    viewer, image
        As in :func:`write_maps`.
    written
        The maps of this run.
    mark
        With the ``preview`` and the ``region`` of this run.

    Returns
    -------
    str
        Which are gone, for a person; empty if there were none.
    """
    kinds = (*MAP_LAYERS.values(), "disagreement")
    here = [one.layer for one in written]
    gone = [
        layer
        for kind in kinds
        for layer in earlier(viewer, image, {**mark, "kind": kind}, Image, any_index=True)
        if layer not in here and (note_of(layer) or {}).get("layer_name") == layer.name
    ]
    for layer in gone:
        viewer.layers.remove(layer)
    names = [f"“{layer.name}”" for layer in gone]
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} others"]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
    are = "is" if len(gone) == 1 else "are"
    return f"{listed} of the run before {are} gone: this one has not made them." if gone else ""


def raise_above(viewer: ViewerModel, written: Sequence[Written], labels: Any) -> None:
    """Bring the disagreement above new labels."""
    for one in written:
        place, top = viewer.layers.index(one.layer), viewer.layers.index(labels)
        if (note_of(one.layer) or {}).get("kind") == "disagreement" and place < top:
            viewer.layers.move(place, top + 1)


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


def _first(kind: str, maps: Mapping[str, Any]) -> int:
    """Return the number of the map of a kind that tells most; the background tells least."""
    return int(kind == "probability" and len(maps["probabilities"]) > 1)


def _place(viewer: ViewerModel, image: LayerImage, labels: Any = None) -> int:
    """Return where a map goes in the list: above the labels, or the source and its maps."""
    if labels is not None and labels in viewer.layers:
        return int(viewer.layers.index(labels)) + 1
    place = len(viewer.layers)
    for position, layer in enumerate(viewer.layers):
        if note_of(layer) is None:
            if layer_id(layer) == image.source_id or layer.name == image.name:
                place = position + 1
        elif place == position and isinstance(layer, Image):
            place = position + 1
    return place
