"""Saving a result to TIFF or OME-TIFF with its pixel size.

In two steps, so that a window can write in a thread: :func:`read_result` copies what is needed
from the layer, :func:`save_result` writes it without touching napari.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from ..engine.axes import check_axes, further_axes, guess_axes
from ..engine.errors import InputError
from ..engine.files import write_image, write_labels
from ..engine.folders import expanded
from ..engine.image_file import fitting
from .layers import KIND, LayerImage, guess_layer_axes, made_by, note_of
from .transforms import Transform, pixel_size

MEASURES_FILTER = (
    "Measurements (*.csv)",
    "Outlines for QuPath (*.geojson)",
    "Outlines for ImageJ (*.zip)",
)
FILE_FILTER = ";;".join(
    ("OME-TIFF (*.ome.tif *.ome.tiff)", "TIFF (*.tif *.tiff)", *MEASURES_FILTER)
)
"""For a file dialog."""

ENDINGS = (".tif", ".tiff")

ENDING = re.compile(r"\.[a-z]{2,8}$", re.IGNORECASE)
"""What a file's kind looks like at the end of its name; the dot in "plate 1.2" begins none."""


@dataclass(frozen=True, eq=False)
class SaveJob:
    """Everything a file needs, copied from a layer."""

    data: NDArray[Any]
    axes: str
    sizes: dict[str, float]
    """Size of a step along Z, Y and X in micrometres, where it is known."""
    name: str
    labels: bool


@dataclass(frozen=True)
class Saved:
    """What was written."""

    path: Path
    title: str
    """Of the layer."""
    found: str = ""
    """What is in it, as "3 objects"; empty where nobody has counted."""
    pieces: Mapping[int, int] = field(default_factory=dict)
    """How many pieces an object is in, of those in several."""

    @property
    def text(self) -> str:
        """Say so to a person."""
        what = f"{self.title}, {self.found}" if self.found else self.title
        return f"Saved {self.path}: {what}."


def zarr_name(name: str) -> str:
    """Return the name for a result on the disk."""
    return name.replace(".ome.tif", ".ome.zarr")


def default_name(layer: Any) -> str:
    """Return a file name for ``layer``, without characters that file systems refuse."""
    name = "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in str(layer.name))
    return f"{fitting(name.strip(' .') or 'result')}.ome.tif"


def named(path: Path, proposed: str, chosen: str) -> Path:
    """Return the file that a person means who chose a kind and perhaps typed no ending.

    The ending of the chosen kind takes the place of the one proposed, and is added to a name
    without one. Any other ending was typed on purpose and stays.

    Parameters
    ----------
    path
        What the dialog gives.
    proposed
        The name that it began with, whose ending has two parts.
    chosen
        The entry of its filter, as ``"Measurements (*.csv)"``.
    """
    endings = re.findall(r"\*([.\w]+)", chosen)
    before = "".join(Path(proposed).suffixes[-2:])
    if not path.name or not endings or path.name.lower().endswith(tuple(endings)):
        return path
    if not path.name.endswith(before) and ENDING.search(path.name):
        return path
    return path.with_name(path.name.removesuffix(before) + endings[0])


def read_result(layer: Any) -> SaveJob:
    """Copy from a Labels or Image layer what a file needs.

    A dropped channel axis, which is one stretched step in napari, is left out.

    Raises
    ------
    InputError
        If the layer cannot be saved.
    """
    if not isinstance(layer, (Labels, Image)) or getattr(layer, "rgb", False):
        raise InputError(
            f"{getattr(layer, 'name', layer)} is no result: choose a Labels layer or a map."
        )
    data = layer.data[0] if layer.multiscale else layer.data
    axes = axes_of(layer)
    transform = Transform.from_layer(layer)
    table = (note_of(layer) or {}).get(KIND) or {}
    told = made_by(layer).get("told_sizes") or table.get("told_sizes") or {}
    sizes = _step_sizes(transform, axes, told)
    values = np.array(data)
    if "C" in axes and values.shape[axes.index("C")] == 1:
        values = values.squeeze(axes.index("C"))
        axes = axes.replace("C", "")
    return SaveJob(values, axes, sizes, str(layer.name), isinstance(layer, Labels))


def save_result(job: SaveJob, path: str | Path) -> Path:
    """Write what :func:`read_result` copied.

    Parameters
    ----------
    job
        What to write. Labels are written in 16 bits where the numbers fit, maps as float32.
    path
        A file ending in ``.tif`` or ``.tiff`` (``.ome.tif`` is added to a name without one);
        both are OME-TIFF inside and hold the axes and the pixel size. An existing file is
        replaced, only when the new one is complete.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InputError
        If the ending is another format's.
    SA2NetError
        If the file cannot be written.
    """
    path = expanded(path)
    if not path.name or os.path.isdir(path):
        raise InputError(f"{path} is a folder: give the name of a file, such as labels.ome.tif.")
    if not path.suffix:
        path = path.with_name(f"{path.name}.ome.tif")
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"{path.name} does not end in .tif or .tiff, or in .csv, .geojson or .zip for what is "
            f"told of labels: save it for example as {path.stem.removesuffix('.ome')}.ome.tif."
        )
    if job.labels:
        write_labels(path, job.data, job.axes, job.sizes, name=job.name)
    else:
        write_image(path, job.data, job.axes, job.sizes, name=job.name)
    return path


def save_layer(layer: Any, path: str | Path) -> Path:
    """Save ``layer`` at once; see :func:`read_result` and :func:`save_result`."""
    return save_result(read_result(layer), path)


def axes_of(layer: Any) -> str:
    """Return the axes of ``layer``: from its note, or guessed."""
    data = layer.data[0] if layer.multiscale else layer.data
    note = note_of(layer) or {}
    axes = str(note.get("axes") or (note.get(KIND) or {}).get("axes", ""))
    try:
        check_axes(axes, data.shape)
    except InputError:
        axes = guess_layer_axes(layer, data.shape)
    # A file can only have the axes of an image.
    return guess_axes(data.shape) if further_axes(axes) else axes


def image_sizes(image: LayerImage) -> dict[str, float]:
    """Return the size in µm of a step along each axis, as the layer or a person tells it."""
    return _step_sizes(image.transform, image.layer_axes, image.told_sizes)


def _step_sizes(
    transform: Transform, axes: Sequence[str], told: Mapping[str, float]
) -> dict[str, float]:
    """Return the size in µm of a step along each axis in space; what is ``told`` goes first."""
    sizes = {}
    for axis, letter in enumerate(axes):
        size = pixel_size(transform, (axis, axis)) if letter in "ZYX" else None
        if size is not None:
            sizes[letter] = size[0]
    sizes |= {letter: size for letter, size in told.items() if letter in axes}
    # A file's Y and X have a size together or not at all.
    if not {"Y", "X"} <= set(sizes):
        return {}
    return sizes
