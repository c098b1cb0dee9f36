"""Writing everything that is wanted of one image."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..calibration import Calibration
from ..events import Event
from ..files import write_image, write_labels
from ..image_file import ImageFile
from ..measuring.geojson import write_geojson
from ..measuring.objects import channels_of, objects_of
from ..measuring.rois import write_rois
from ..measuring.table import measure, write_table
from ..segmentation import Segmentation
from .kinds import MAPS


def write_results(
    result: Segmentation,
    image: ImageFile,
    targets: Mapping[str, Path],
    *,
    sizes: Calibration,
    description: str = "",
) -> Generator[Event, None, None]:
    """Write the labels of an image and what else is wanted, the labels last.

    Where there are labels, everything is there. Each file appears whole or not at all.

    Parameters
    ----------
    result
        Of the image, with the maps that are wanted.
    image
        As it was read, with the axes that were used.
    targets
        The file of each kind (:mod:`~napari_sa2net.engine.batch.kinds`); ``"labels"`` always.
    sizes
        Size of a step along ``Z``, ``Y`` and ``X`` in µm, where it is known.
    description
        Stands in the labels file.

    Raises
    ------
    SA2NetError
        If a file cannot be written.
    """
    sizes = {axis: size for axis, size in sizes.items() if axis in result.axes}
    names: dict[str, Sequence[str]] = {
        "probabilities": [entry.name for entry in result.card.classes],
        "stages": [f"stage {i}" for i in range(1, 5)],
        "attention": [f"attention {i}" for i in range(1, 5)],
    }
    channels = channels_of(
        image.array,
        image.axes,
        rgb=image.rgb,
        names=image.channel_names,
        region=result.options.region,
    )
    objects = replace(objects_of(result), channels=channels.in_imagej)
    for kind, target in targets.items():
        if kind in MAPS:
            array = getattr(result, kind)
            axes = "C" * (array.ndim - len(result.axes)) + result.axes
            write_image(target, array, axes, sizes, name=kind, channel_names=names.get(kind, ()))
        elif kind == "table":
            table = yield from measure(objects, channels, sizes)
            write_table(target, table)
        elif kind == "geojson":
            yield from write_geojson(target, objects)
        elif kind == "rois":
            yield from write_rois(target, objects)
    write_labels(
        targets["labels"], result.labels, result.axes, sizes, name="labels",
        description=description,
    )  # fmt: skip
