"""What a painting was painted on, and how: kept in its note, and found again from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from ...engine.errors import InputError
from ..layers import (
    KIND,
    NOTE,
    comes_from,
    is_result,
    layer_id,
    look_of,
    may_be,
    note_of,
    read_image,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

ON = "on"
"""Key in the note under which stands what is remembered here."""

OFF = "off the list"
"""Key in the note of a painting that a person took off the list."""


@dataclass(frozen=True)
class PaintedOn:
    """An image, and what a person said of it."""

    sources: list[Any]
    """Its layers."""
    axes: str
    channels: tuple[int, ...] | None = None
    diameter: float | None = None
    """Of objects, in pixels."""
    pixel_size: float | None = None
    """In µm."""


def table_of(painting: Any) -> dict[str, Any] | None:
    """Return what stands in the note of a painting, None if it has no such note."""
    table = (note_of(painting) or {}).get(KIND)
    return table if isinstance(table, dict) else None


def write(painting: Any, values: dict[str, Any]) -> None:
    """Add to the note of a painting, such that it is kept with the painting."""
    table = table_of(painting)
    if table is None or all(key in table and table[key] == values[key] for key in values):
        return
    note = {**(note_of(painting) or {}), KIND: {**table, **values}}
    # As a whole: of a change inside, nobody would hear.
    painting.metadata = {**painting.metadata, NOTE: note}


def remember(painting: Any, found: PaintedOn) -> None:
    """Note what a painting was painted on; it is on the list then."""
    values = {
        "layers": [[str(x.name), layer_id(x), look_of(x)] for x in found.sources],
        "axes": found.axes,
        "channels": None if found.channels is None else list(found.channels),
        "diameter": found.diameter,
        "pixel_size": found.pixel_size,
    }
    write(painting, {ON: values, OFF: False})


def recall(painting: Any, viewer: ViewerModel) -> tuple[PaintedOn | None, list[str]]:
    """Return what a painting was painted on, and what a person should know of it.

    It is None where nothing of the image is open.
    """
    table = table_of(painting) or {}
    values = table.get(ON)
    values = values if isinstance(values, dict) else {}
    images = [x for x in viewer.layers if isinstance(x, Image) and not is_result(x)]
    mark = {"source": table.get("image"), "source_id": table.get("image_id")}
    first = next((x for x in images if comes_from(mark, layer_id(x), str(x.name))), None)
    layers = values.get("layers") or []
    there = _find(layers, images, first)
    sources = [layer for layer in there if layer is not None]
    if not sources:
        return None, []
    who, texts = f"“{painting.name}”", []
    axes, channels = str(values.get("axes") or ""), values.get("channels")
    if len(sources) < len(there):
        names = [str(name) for name, *_ in layers]
        lost = [name for name, layer in zip(names, there, strict=True) if layer is None]
        used = f"{_list([str(x.name) for x in sources])} {'is' if len(sources) == 1 else 'are'}"
        texts.append(
            f"{who} was painted over {_list(names)}, of which {_list(lost)} cannot be found: only "
            f"{used} used for training on it. To change that, open what is missing and tick it "
            "beside “With”, then take the painting off the list and add it again."
        )
        left = [number for number, layer in enumerate(there) if layer is not None]
        channels = [left.index(number) for number in channels or () if number in left] or None
        if len(sources) == 1:  # the layers were the channels
            axes, channels = axes[1:], None
    try:
        image = read_image(sources)
    except InputError as error:
        texts.append(f"Only “{sources[0].name}” is used for training on {who}. {error}")
        sources, axes, channels = sources[:1], axes[1:], None
        image = read_image(sources)
    if axes:
        try:
            image = image.with_axes(axes)
        except InputError:
            channels = None
            texts.append(
                f"{who} was painted with the axes {axes}, which do not fit “{image.name}” any "
                f"more: {image.axes} is a guess. Check the axes and the channels."
            )
    found = PaintedOn(
        sources,
        image.axes,
        None if channels is None else tuple(channels),
        values.get("diameter"),
        values.get("pixel_size"),
    )
    return found, texts


def _find(layers: list[Any], images: list[Any], first: Any) -> list[Any | None]:
    """Return which layers an image has now, None for each that is missing.

    Parameters
    ----------
    layers
        Name, id and perhaps look of each, as they were.
    images
        The layers there are.
    first
        The one that the painting is known to lie on, whatever its name is now; or None.
    """
    if len(layers) < 2 and first is not None:
        return [first]
    found: list[Any | None] = []
    for name, identity, *look in layers:
        free = [x for x in images if x not in found]
        same = [x for x in free if layer_id(x) == identity]
        named = [x for x in free if str(x.name) == name]
        same += [x for x in named if may_be(x, look[0] if look else "")]
        found.append(same[0] if same else None)
    if found and found[0] is None and first not in found:
        found[0] = first
    return found


def _list(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
