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

COLORMAPS = {"stage": "viridis", "attention": "magma", "disagreement": "inferno"}


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
                blending="additive" if kind == "probability" else "translucent",
                visible=not any(one.created for one in written),
                metadata={NOTE: mark},
                **image.result_transform().kwargs(),
            )
            viewer.layers.insert(_place(viewer, image), layer)
            claim(layer, mark)
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
