"""The images and true masks that the benchmarks of fine-tuning paint on and score.

All at half resolution. Painted and scored images never share a set of the phase-contrast data
nor an animal of the axons; both were chosen by name, before anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread
from skimage.transform import downscale_local_mean

SIDE = 512
"""Painted fields are cut to this many pixels, half resolution, around their middle."""


@dataclass(frozen=True)
class DataSet:
    """One data set and how it is used."""

    folder: str
    classes: tuple[str, ...]
    """Background first; in the order of the numbers in the masks."""
    colors: tuple[str, ...]
    instances: bool
    """The masks hold a number for each object instead of class numbers."""
    painted: tuple[str, ...]
    """Names, without ending, of the three images that are painted on."""
    never: tuple[str, ...]
    """Beginnings of the names that are not scored: the painted ones and what is like them."""
    margin: float
    """How far above the random forest the Dice is to be."""


DATA_SETS = {
    "usiigaci_phase_contrast": DataSet(
        "usiigaci_phase_contrast",
        ("background", "cell"),
        ("#000000", "#e69f00"),
        True,
        # The sets come from time series, so those next to a painted one are not scored either.
        ("set05", "set20", "set35"),
        ("set04", "set05", "set07", "set19", "set20", "set22", "set34", "set35", "set37"),
        0.25,
    ),
    "axondeepseg_sem": DataSet(
        "axondeepseg_sem",
        ("background", "myelin", "axon"),
        ("#000000", "#56b4e9", "#e69f00"),
        False,
        ("sub-rat1_sample-data1_SEM", "sub-rat3_sample-data10_SEM", "sub-rat5_sample-data14_SEM"),
        ("sub-rat1_", "sub-rat3_", "sub-rat5_"),
        0.10,
    ),
}


@dataclass(frozen=True, eq=False)
class Field:
    """One image with its truth, at half resolution."""

    name: str
    image: NDArray[np.float32]
    """(H, W), as grey values."""
    classes: NDArray[np.uint8]
    """(H, W) class numbers."""
    objects: NDArray[np.int32] | None = None
    """(H, W) a number for each object, where the truth tells them apart."""


def read_field(folder: Path, name: str, instances: bool, side: int | None = None) -> Field:
    """Read an image and its mask at half resolution, cut to ``side`` around the middle."""
    image = imread(folder / "images" / f"{name}.png")
    mask = imread(folder / "masks" / f"{name}.png")
    height, width = (n // 2 * 2 for n in image.shape)
    small = downscale_local_mean(image[:height, :width].astype(np.float32), (2, 2))
    mask = mask[:height:2, :width:2]
    if side is not None:
        top, left = (max(0, (n - side) // 2) for n in small.shape)
        small = small[top : top + side, left : left + side]
        mask = mask[top : top + side, left : left + side]
    objects = mask.astype(np.int32) if instances else None
    classes = (mask > 0).astype(np.uint8) if instances else mask.astype(np.uint8)
    return Field(name, np.ascontiguousarray(small, np.float32), classes, objects)


def read_fields(data: Path, data_set: DataSet, images: int) -> tuple[list[Field], list[Field]]:
    """Return the painted fields, and up to ``images`` others (0: all) spread over the names."""
    folder = data / data_set.folder
    painted = [read_field(folder, name, data_set.instances, SIDE) for name in data_set.painted]
    names = sorted(path.stem for path in (folder / "images").iterdir())
    others = [name for name in names if not name.startswith(data_set.never)]
    if 0 < images < len(others):
        places = np.linspace(0, len(others) - 1, images).round().astype(int)
        others = [others[place] for place in places]
    return painted, [read_field(folder, name, data_set.instances) for name in others]


def dice(found: NDArray[np.integer], field: Field, classes: int) -> float:
    """Return the Dice of an image: the mean over its foreground classes."""
    values = []
    for number in range(1, classes):
        a, b = found == number, field.classes == number
        total = int(a.sum()) + int(b.sum())
        values.append(2 * int((a & b).sum()) / total if total else 1.0)
    return float(np.mean(values))


def mean_dice(found: Sequence[NDArray[np.integer]], fields: Sequence[Field], classes: int) -> float:
    """Return the mean Dice of several images; each counts alike."""
    pairs = zip(found, fields, strict=True)
    return float(np.mean([dice(labels, field, classes) for labels, field in pairs]))
