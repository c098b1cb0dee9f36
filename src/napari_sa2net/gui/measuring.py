"""Measurements and outlines of a Labels layer, as it is now, to files.

In two steps, as in :mod:`~napari_sa2net.gui.saving`: :func:`read_objects` copies what is needed
from the layers, :func:`save_objects` writes it without touching napari.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels

from ..engine.cards import ClassInfo
from ..engine.errors import InputError, SA2NetError
from ..engine.events import run
from ..engine.measuring.geojson import write_geojson
from ..engine.measuring.objects import Channels, Objects, channels_of
from ..engine.measuring.rois import write_rois
from ..engine.measuring.table import measure, write_table
from .layers import LayerImage, note_of, read_image, source_layer
from .saving import read_result

ENDINGS = (".csv", ".geojson", ".zip")
"""Of a table of measurements, of outlines for QuPath, of outlines for ImageJ."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything the files need, copied from layers."""

    objects: Objects
    channels: Channels | None
    sizes: dict[str, float]


def read_objects(
    viewer: Any, layer: Any, image: LayerImage | None, classes: Sequence[ClassInfo]
) -> Measured:
    """Copy from a Labels layer what can be told of its objects.

    Parameters
    ----------
    viewer
        With the image layer that the labels were made from, if it is still there.
    layer
        The labels; a person's edits count.
    image
        What was segmented, where that is known; else the image layer is read.
    classes
        Of the model, background first, where they are known.

    Raises
    ------
    InputError
        If it is no Labels layer.
    """
    if not isinstance(layer, Labels):
        raise InputError(f"“{layer.name}” has no objects to measure: select a Labels layer.")
    job = read_result(layer)
    note = note_of(layer) or {}
    regions, region = note.get("result") == "classes", note.get("region")
    labelling = note.get("settings", {}).get("labelling", {})
    features = layer.features
    class_of: dict[int, int] = {}
    if regions:
        class_of = {n: n for n in range(1, len(classes))}
    elif {"index", "class"} <= set(features):
        rows = zip(features["index"], features["class"], strict=True)
        class_of = {int(index): int(number) for index, number in rows}
    objects = Objects(
        job.data,
        job.axes,
        tuple(classes),
        class_of,
        through_z=not regions and labelling.get("link") == "z",
        regions=regions,
        origin=tuple(region[:2]) if region else (0, 0),
    )
    return Measured(objects, _channels(viewer, layer, image, objects), job.sizes)


def save_objects(measured: Measured, path: Path) -> Path:
    """Write the measurements or the outlines, as the ending of ``path`` says.

    Raises
    ------
    SA2NetError
        If the file cannot be written, or a package is missing for it.
    """
    path = path.expanduser()
    ending = path.suffix.lower()
    if ending == ".csv":
        table = run(measure(measured.objects, measured.channels, measured.sizes))
        return write_table(path, table)
    if ending == ".geojson":
        return run(write_geojson(path, measured.objects))
    return run(write_rois(path, measured.objects))


def _channels(
    viewer: Any, layer: Any, image: LayerImage | None, objects: Objects
) -> Channels | None:
    """Return the channels of the image that the labels lie on; None if it cannot be told."""
    region = None
    if image is None:
        source = source_layer(viewer, layer)
        if source is None:
            return None
        note = note_of(layer) or {}
        axes, region = str(note.get("axes", "")), note.get("region")
        try:
            image = read_image(source)
            if axes:  # as they were when it was segmented, not guessed again
                image = image.with_axes(axes + "C" * image.rgb)
        except SA2NetError:
            return None
    data = image.data if not isinstance(image.data, np.ndarray) else np.array(image.data)
    names = image.channel_names
    channels = channels_of(data, image.axes, rgb=image.rgb, names=names, region=region)
    return channels if channels.shape == objects.labels.shape else None
