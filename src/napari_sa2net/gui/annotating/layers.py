"""The layers a person paints in: making them, and what their values mean.

A painting has one of two meanings. In *strokes* 0 is "not painted", 1 is background and 2… are
the classes; in a *full mask* 0 is background and 1… are the classes. Either may hold classes or
instances, where each number is an object of its own. The meaning stands in the layer's
metadata; of a layer from elsewhere it is guessed once, and then stands there too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from ...engine.cards import ModelCard
from ...engine.errors import InputError
from .. import classes, colours, large
from ..layers import (
    KIND,
    NOTE,
    PREDICTION,
    LayerImage,
    guess_layer_axes,
    layer_id,
    made_by,
    note_of,
)
from ..segmenting.edits import is_edited, remember
from ..transforms import Transform
from .originals import remember_original
from .values import values_in

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.training.pairs import Meaning, Of
    from ...engine.weights import ClassInfo

BACKGROUNDS = ("#3b7dd8", "#8a8a8a", "#ff5fa2", "#7fd13b")
"""For strokes of background where the model's own colour would not be seen, or is another's."""

SPARSE = 0.1
"""Share of painted pixels below which small numbers are taken for strokes."""

BINARY = 255
"""The one value of a mask as other programs save it."""


@dataclass(frozen=True)
class Guess:
    """What the values of a layer mean, and how that is known."""

    meaning: Meaning
    of: Of
    why: str
    """A sentence for the window; empty where a person said it."""
    empty: bool = False


def painted_classes(card: ModelCard) -> list[ClassInfo]:
    """Return the classes a person paints, background first: those that are not derived."""
    return [info for info in card.classes if not info.derived]


def new_annotation(
    viewer: ViewerModel,
    image_layer: Any,
    image: LayerImage,
    card: ModelCard,
    diameter: float | None = None,
) -> Any:
    """Add an empty Labels layer over an image, ready to paint strokes in.

    Parameters
    ----------
    viewer
        Where to add it.
    image_layer
        The (first) layer of the image.
    image
        As read from it. A channel axis becomes one step stretched over all channels.
    card
        Of the model: its classes give values, names and colours.
    diameter
        Of objects in pixels of the image, which the brush follows; None: from the card.

    Raises
    ------
    InputError
        If the image's layer was removed.
    """
    if image_layer not in viewer.layers:
        raise InputError(f"{image.name} was removed: open the image again, or choose another.")
    shape = tuple(
        1 if axis == "C" else int(n)
        for axis, n in zip(image.layer_axes, image.layer_shape, strict=True)
    )
    # Sixteen bits: napari draws them without translating each pixel first.
    layer = Labels(
        np.zeros(shape, np.uint16),
        name=f"{image.name} annotation",
        metadata={NOTE: {"kind": KIND}},
        **image.result_transform().kwargs(),
    )
    _mark(layer, "strokes", "classes", image.name, image.source_id, image.layer_axes)
    layer.metadata[NOTE][KIND]["told_sizes"] = image.told_sizes
    recolour(layer, "strokes", card)
    viewer.layers.append(layer)
    layer.selected_label = min(2, len(painted_classes(card)))
    _ready_to_paint(viewer, layer, brush_size(image, card, diameter))
    return layer


def correct_prediction(
    viewer: ViewerModel,
    labels_layer: Any,
    *,
    card: ModelCard | None = None,
    original: NDArray[Any] | None = None,
) -> Any:
    """Add a copy of predicted labels to correct; the prediction itself is hidden, not changed.

    Parameters
    ----------
    viewer
        Where to add it.
    labels_layer
        A Labels layer, usually a result.
    card
        Of the model that predicted; what stands in the layer if it is not given. Numbers of its
        classes become those of a full mask, where derived classes are not counted.
    original
        What the model had predicted, if the layer has been edited since: shaped like the
        layer's data, or without its axes of length 1. None: what is in the layer now.

    Returns
    -------
    Labels
        It remembers the original, so that reading it finds what a person changed.

    Raises
    ------
    InputError
        If there is nothing that can be copied.
    """
    if labels_layer is None or labels_layer not in viewer.layers:
        raise InputError("There is no prediction to correct: press Segment first.")
    if not isinstance(labels_layer, Labels):
        raise InputError(f"{labels_layer.name} is not a Labels layer: choose predicted labels.")
    source = labels_layer.data[0] if labels_layer.multiscale else labels_layer.data
    if labels_layer.multiscale and math.prod(source.shape) > large.PIXELS:
        raise InputError(
            f"“{labels_layer.name}” is too large to be copied for painting: segment a part of the "
            "image (Where, in the tab Segment), and correct that."
        )
    data = np.array(source)
    note, made = note_of(labels_layer) or {}, made_by(labels_layer)
    axes = layer_letters(labels_layer)
    of: Of = note.get("result") or guess(labels_layer, card).of
    known = classes.classes_of(labels_layer)
    if card is None and known:  # it was made by a run before the last
        card = ModelCard(str(made.get("model")), num_classes=len(known), classes=known)
    before = data
    if original is not None and np.size(original) == data.size:
        before = np.asarray(original).reshape(data.shape)
    if of == "classes" and card is not None:
        data, before = (_without_derived(values, card) for values in (data, before))
    layer = Labels(
        data,
        name=f"{labels_layer.name} corrected",
        features=labels_layer.features.copy(),
        colormap=labels_layer.colormap,
        metadata={NOTE: {"kind": KIND, PREDICTION: made}},
        **Transform.from_layer(labels_layer).kwargs(),
    )
    name, identity = str(made.get("source", "")), str(made.get("source_id", ""))
    _mark(layer, "mask", of, name, identity, axes)
    sides = (axes.index("Y"), axes.index("X"))
    remember_original(layer, before.astype(data.dtype, copy=False), sides)
    if of == "classes" and card is not None:
        recolour(layer, "mask", card)
    elif not is_edited(labels_layer):
        remember(layer, sides)
    classes.copy(labels_layer, layer)
    viewer.layers.append(layer)
    labels_layer.visible = False
    layer.selected_label = int(data.max(initial=0)) + 1 if of == "instances" else 1
    _ready_to_paint(viewer, layer, _brush_for_objects(labels_layer))
    return layer


# --- what the values mean -----------------------------------------------------------------------


def is_annotation(layer: Any) -> bool:
    """Return whether ``layer`` is one to paint in: made here, or given a meaning by a person."""
    return isinstance((note_of(layer) or {}).get(KIND), dict)


def meaning_of(layer: Any) -> tuple[Meaning, Of] | None:
    """Return what the values of ``layer`` mean, None where nobody has said so."""
    if not is_annotation(layer):
        return None
    table = layer.metadata[NOTE][KIND]
    return table["meaning"], table["of"]


def guessed(layer: Any) -> str:
    """Return how the meaning that stands in ``layer`` was guessed; empty where a person said it."""
    table = (note_of(layer) or {}).get(KIND)
    return str(table.get("guessed", "")) if isinstance(table, dict) else ""


def set_meaning(
    layer: Any, meaning: Meaning, of: Of, card: ModelCard | None = None, guessed: str = ""
) -> None:
    """Note what the values of ``layer`` mean, and how that was guessed; colour them so.

    No pixel is changed.
    """
    note = note_of(layer) or {}
    before = note.get(KIND)
    table = dict(before) if isinstance(before, dict) else {"axes": layer_letters(layer)}
    said = {"meaning": meaning, "of": of, "guessed": guessed}
    layer.metadata[NOTE] = {**note, KIND: {**table, **said}}
    if card is not None:
        recolour(layer, meaning, card)


def describe(meaning: Meaning, of: Of, card: ModelCard | None = None) -> str:
    """Say what each value of a painting means."""
    return " · ".join(f"{value} {name}" for value, name in value_names(meaning, of, card))


def value_names(meaning: Meaning, of: Of, card: ModelCard | None = None) -> list[tuple[str, str]]:
    """Return the values of a painting with what they mean, for a list or a sentence."""
    classes = [info.name for info in painted_classes(card)] if card else ["background", "object"]
    strokes = meaning == "strokes"
    named = [("0", "not painted")] if strokes else []
    if of == "instances":
        first = 2 if strokes else 1
        objects = f"{classes[1]}, each number an object of its own"
        return [*named, (str(first - 1), classes[0]), (f"{first}…", objects)]
    return named + [(str(value), name) for value, name in enumerate(classes, start=int(strokes))]


def guess(layer: Any, card: ModelCard | None) -> Guess:
    """Tell what the values of ``layer`` mean: what stands in it, else by its values.

    Parameters
    ----------
    layer
        A Labels layer.
    card
        Of the model that is to learn from it; None if there is none yet.
    """
    known = meaning_of(layer)
    if known is not None:
        return Guess(*known, guessed(layer))
    return guess_by_values(layer, card)


def guess_by_values(layer: Any, card: ModelCard | None) -> Guess:
    """Tell what the values of ``layer`` mean as :func:`guess` does, whatever stands in it."""
    note = note_of(layer) or {}
    if note.get("kind") == "labels":
        of: Of = "classes" if note.get("result") == "classes" else "instances"
        return Guess("mask", of, "It is a prediction: every pixel has a label.")
    data = layer.data[0] if layer.multiscale else layer.data
    values, share = values_in(data, layer_letters(layer))
    count = len(painted_classes(card)) if card else 2
    if not len(values):
        return Guess("strokes", "classes", "Nothing is painted yet.", empty=True)
    if list(values) in ([1], [BINARY]):
        return Guess("mask", "classes", f"Its values are 0 and {values[0]}: a mask.")
    most = int(values.max())
    if most > count:
        return Guess(
            "mask", "instances", f"It has numbers up to {most}, more than there are classes."
        )
    percent = f"{100 * share:.2g} % of the pixels are painted"
    if most == count:
        return Guess(
            "strokes",
            "classes",
            f"It has the value {most}, which only strokes have ({percent}).",
        )
    if share < SPARSE:
        return Guess("strokes", "classes", f"Only {percent}.")
    return Guess("mask", "classes", f"Few values, and {percent}.")


def layer_letters(layer: Any) -> str:
    """Return a letter of ``"TZCYX"`` for each axis of a Labels layer, guessed if need be."""
    note = note_of(layer) or {}
    table = note.get(KIND)
    letters = str(table.get("axes", "") if isinstance(table, dict) else note.get("axes", ""))
    data = layer.data[0] if layer.multiscale else layer.data
    if len(letters) == data.ndim and {"Y", "X"} <= set(letters):
        return letters
    return guess_layer_axes(layer, data.shape)


def is_painted(layer: Any) -> bool:
    """Return whether a Labels layer has anything in it; one too large to tell has."""
    data = layer.data[0] if layer.multiscale else layer.data
    return not isinstance(data, np.ndarray) or bool(data.any())


# --- looks --------------------------------------------------------------------------------------


def recolour(layer: Any, meaning: Meaning, card: ModelCard) -> None:
    """Give the values of ``layer`` the colours and names of the classes they mean."""
    known = meaning_of(layer)
    of = known[1] if known else "classes"
    names = value_names(meaning, of, card)
    if not guessed(layer):  # else the table may be a person's own
        layer.features = {
            "index": np.arange(len(names)),
            "class": np.array([name for _, name in names], dtype=object),
        }
    if of == "instances":
        layer.colormap = colours.instance_colormap()
        return
    table: dict[int | None, Any] = {None: np.array(colours.OTHER), 0: np.zeros(4)}
    for value, colour in class_colours(meaning, card).items():
        table[value] = np.array(colours.rgba(colour))
    if meaning == "mask" and 1 in table:
        table.setdefault(BINARY, table[1])
    layer.colormap = DirectLabelColormap(color_dict=table)


def class_colours(meaning: Meaning, card: ModelCard) -> dict[int, str]:
    """Return "#rrggbb" of each value from 1 on; a colour that nobody would see is replaced."""
    classes = painted_classes(card)
    taken = [info.color for info in classes[1:]]
    first = 1 if meaning == "strokes" else 0
    found = dict(enumerate(taken, start=first + 1))
    if meaning == "strokes":
        own = classes[0].color
        choices = BACKGROUNDS if max(colours.rgba(own)[:3]) < 0.35 else (own, *BACKGROUNDS)
        found[1] = max(choices, key=lambda c: (_apart(c, taken), -choices.index(c)))
    return dict(sorted(found.items()))


def brush_size(image: LayerImage, card: ModelCard, diameter: float | None) -> int:
    """Return a brush of about a third of an object, in pixels of the image."""
    if diameter is None and card.diameter is not None:
        diameter = card.diameter
        if card.pixel_size is not None and image.pixel_size is not None:
            diameter *= card.pixel_size / image.pixel_size
    if diameter is None:
        letters = image.layer_axes
        diameter = min(image.layer_shape[letters.index(axis)] for axis in "YX") / 20
    return int(np.clip(round(diameter / 3), 3, 200))


def _ready_to_paint(viewer: ViewerModel, layer: Any, size: int) -> None:
    viewer.layers.selection.active = layer
    layer.brush_size = size
    layer.mode = "paint"


def _without_derived(labels: NDArray[Any], card: ModelCard) -> NDArray[Any]:
    """Return class numbers of a model as those of its painted classes."""
    numbers = [number for number, info in enumerate(card.classes) if not info.derived]
    if numbers == list(range(len(numbers))):
        return labels
    table = np.arange(max(len(card.classes), int(labels.max(initial=0)) + 1), dtype=labels.dtype)
    table[: len(card.classes)] = 0
    table[numbers] = np.arange(len(numbers))
    return table[labels]


def _brush_for_objects(layer: Any) -> int:
    """Return a brush of a third of the usual object of a result."""
    areas = np.asarray(layer.features.get("area", ()), dtype=float)
    if (note_of(layer) or {}).get("result") == "classes" or not len(areas):
        return 10
    return int(np.clip(round(np.sqrt(np.median(areas)) / 3), 3, 200))


def _mark(layer: Any, meaning: Meaning, of: Of, source: str, source_id: str, axes: str) -> None:
    # Not under "source", by which results are told from other layers.
    layer.metadata[NOTE][KIND] = {
        "meaning": meaning,
        "of": of,
        "image": source,
        "image_id": source_id,
        "axes": axes,
        "layer_id": layer_id(layer),
    }


def _apart(colour: str, others: Sequence[str]) -> float:
    """Return how far a colour is from the nearest of others."""
    here = np.array(colours.rgba(colour)[:3])
    near = [float(np.abs(here - colours.rgba(other)[:3]).sum()) for other in others]
    return min([1.0, *near])
