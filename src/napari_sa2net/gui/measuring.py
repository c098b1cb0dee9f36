"""Measurements and outlines of a Labels layer, as it is now, to files.

In two steps, as in :mod:`~napari_sa2net.gui.saving`: :func:`read_objects` copies what is needed
from the layers, :func:`save_objects` writes it without touching napari.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ..engine.cards import ClassInfo
from ..engine.errors import InputError, SA2NetError
from ..engine.events import run
from ..engine.folders import expanded
from ..engine.found import count_text
from ..engine.measuring.geojson import write_geojson
from ..engine.measuring.objects import Channels, Objects, channels_of
from ..engine.measuring.pieces import pieces_apart
from ..engine.measuring.rois import write_rois
from ..engine.measuring.table import measure, write_table
from . import classes
from .layers import KIND, NOTE, is_result, made_by, read_image, source_layer, source_layers
from .objects import is_linked
from .saving import SaveJob, axes_of, read_result

ENDINGS = (".csv", ".geojson", ".zip")
"""Of a table of measurements, of outlines for QuPath, of outlines for ImageJ."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything the files need, copied from layers."""

    objects: Objects
    channels: Channels | None
    sizes: dict[str, float]


def read_objects(viewer: Any, layer: Any) -> Measured:
    """Copy from a Labels layer what can be told of its objects, and of the image below it.

    Parameters
    ----------
    viewer
        With the image layer that the labels were made from, if it is still there.
    layer
        The labels; a person's edits count.

    Raises
    ------
    InputError
        If it is no Labels layer.
    """
    job = read_result(layer)
    objects = objects_in(layer, job)
    channels = _channels(viewer, layer, objects)
    if channels is not None:
        count = max(channels.in_imagej, _layers_of_file(viewer, source_layer(viewer, layer)))
        objects = replace(objects, channels=count)
    return Measured(objects, channels, job.sizes)


def objects_in(layer: Any, job: SaveJob) -> Objects:
    """Return what the numbers of a Labels layer, copied to ``job``, stand for.

    Raises
    ------
    InputError
        If it is no Labels layer.
    """
    if not isinstance(layer, Labels):
        raise InputError(f"“{layer.name}” has no objects to measure: select a Labels layer.")
    meaning, labels = classes.shows(layer), job.data
    objects = meaning == "objects"
    if meaning == "strokes" and layer.metadata[NOTE][KIND]["of"] == "instances":
        labels, objects = np.where(labels == 1, 0, labels), True  # 1 is background
    numbers = np.unique(labels[labels != 0]).tolist()
    infos = classes.classes_of(layer)
    class_of = {number: classes.class_of(layer, number) for number in numbers}
    if meaning and not objects and not is_result(layer):
        infos, class_of = _painted(layer, numbers)
    region = made_by(layer).get("region")
    return Objects(
        labels,
        job.axes,
        infos,
        class_of,
        through_z=meaning == "objects" and is_linked(layer, "z"),
        regions=not objects and bool(meaning),
        origin=(region[0], region[1]) if region else (0, 0),
    )


def objects_text(objects: Objects) -> str:
    """Say how many objects, or classes, labels have, and which are in several pieces."""
    count = len(np.unique(objects.labels[objects.labels != 0]))
    return count_text(count, "classes" if objects.regions else "instances")


def pieces_in(objects: Objects) -> dict[int, int]:
    """Return how many pieces an object is in, of those in several."""
    found: dict[int, int] = {}
    for number, piece in pieces_apart(objects).piece_of.values():
        found[number] = max(found.get(number, 1), piece)
    return dict(sorted(found.items()))


def _layers_of_file(viewer: Any, source: Any) -> int:
    """Return how many layers show a file: each a channel, where its reader takes them apart."""
    path = getattr(getattr(source, "source", None), "path", None)
    same = [
        layer
        for layer in viewer.layers
        if path is not None
        and isinstance(layer, Image)
        and layer.source.path == path
        and layer.data.shape == source.data.shape
        and not layer.multiscale
    ]
    return len(same)


def save_objects(measured: Measured, path: Path) -> Path:
    """Write the measurements or the outlines, as the ending of ``path`` says.

    What is in several pieces has a row or an outline for each of them.

    Raises
    ------
    SA2NetError
        If the file cannot be written, or a package is missing for it.
    """
    path = expanded(path)
    ending, objects = path.suffix.lower(), pieces_apart(measured.objects)
    if ending == ".csv":
        table = run(measure(objects, measured.channels, measured.sizes))
        return write_table(path, table)
    if ending == ".geojson":
        return run(write_geojson(path, objects))
    return run(write_rois(path, objects))


def _channels(viewer: Any, layer: Any, objects: Objects) -> Channels | None:
    """Return the channels of the image that the labels lie on; None if it cannot be told."""
    axes, made = axes_of(layer), made_by(layer)
    try:
        image = read_image(source_layers(viewer, layer))
        if axes:  # as they were when it was segmented, not guessed again
            image = image.with_axes("C" * image.stacked + axes + "C" * image.rgb)
    except SA2NetError:
        return None
    coarser = (image.level(number) for number in range(1, len(image.levels) + 1))
    factors = list(made.get("factors", ()))
    found = next((one for one in (image, *coarser) if list(one.factors) == factors), image)
    data = found.data if not isinstance(found.data, np.ndarray) else np.array(found.data)
    names, region = found.channel_names, made.get("region")
    channels = channels_of(data, found.axes, rgb=found.rgb, names=names, region=region)
    return channels if channels.shape == objects.labels.shape else None


def _painted(layer: Any, numbers: Sequence[int]) -> tuple[tuple[ClassInfo, ...], dict[int, int]]:
    """Return the classes of a painting, as its table names them, and that of each number."""
    features = layer.features
    names: dict[int, str] = {}
    column = "class_name" if "class_name" in features else "class"
    if {"index", column} <= set(features):
        names = dict(zip(features["index"].tolist(), map(str, features[column]), strict=True))
    infos = [ClassInfo("background")]
    for number in numbers:
        colour = layer.get_color(number)
        parts = (0.5, 0.5, 0.5) if colour is None else colour[:3]
        code = "#" + bytes(round(255 * float(part)) for part in parts).hex()
        infos.append(ClassInfo(names.get(number, ""), code))
    return tuple(infos), {number: place for place, number in enumerate(numbers, start=1)}
