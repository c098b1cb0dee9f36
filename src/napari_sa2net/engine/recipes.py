"""Recipes: one TOML file says how a released model is made from its data."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread

from .augment import Augmentation
from .errors import InputError, TrainingError
from .images import Normalization, normalize
from .training import Sample, TrainingSettings


@dataclass(frozen=True)
class DataSet:
    """A folder with ``images/`` and ``masks/`` of the same names."""

    folder: str
    share: float = 1.0
    """Share of the training crops drawn from this set, relative to the others."""
    invert: float = 0.0
    """Probability of turning dark into bright, see :class:`Augmentation`."""


@dataclass(frozen=True)
class Recipe:
    """How a model is made."""

    name: str
    datasets: tuple[DataSet, ...]
    held_out: str
    base_channels: int
    in_channels: int
    normalization: Normalization
    training: TrainingSettings
    augmentation: Augmentation
    card: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def sha256(self) -> str:
        """Hash of the recipe's text: tells whether a checkpoint belongs to it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def _build(kind: type[Any], table: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(
            f"{where}: unknown setting {', '.join(unknown)}. Known are {', '.join(sorted(known))}."
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises
    ------
    InputError
        If the file is missing, is not TOML or holds an unknown setting.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}") from error
    try:
        return Recipe(
            name=table["name"],
            datasets=tuple(_build(DataSet, t, f"{path}, datasets") for t in table["datasets"]),
            held_out=table.get("held_out", ""),
            base_channels=table["base_channels"],
            in_channels=table["in_channels"],
            normalization=_build(Normalization, table["normalization"], f"{path}, normalization"),
            training=_build(TrainingSettings, table["training"], f"{path}, training"),
            augmentation=_build(Augmentation, table["augmentation"], f"{path}, augmentation"),
            card=table.get("card", {}),
            text=text,
        )
    except KeyError as error:
        raise InputError(f"The recipe {path} lacks the setting {error}.") from error


def held_out_names(recipe: Recipe, path: str | Path) -> frozenset[str]:
    """Return the names (without ending) of the images that training must not see."""
    if not recipe.held_out:
        return frozenset()
    lines = (Path(path).parent / recipe.held_out).read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and line[0] != "#")


def image_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the (image, mask) files of a data set folder, sorted by name."""
    masks = {path.stem: path for path in (folder / "masks").glob("*.*")}
    images = sorted((folder / "images").glob("*.*"))
    pairs = [(path, masks[path.stem]) for path in images if path.stem in masks]
    if not pairs:
        raise TrainingError(
            f"{folder} has no images with masks: it needs the folders images/ and masks/ with "
            "files of the same names."
        )
    return pairs


def load_samples(recipe: Recipe, data: Path, held_out: frozenset[str]) -> list[Sample]:
    """Read and normalise the training images of a recipe."""
    samples = []
    for dataset in recipe.datasets:
        pairs = image_pairs(data / dataset.folder)
        pairs = [(image, mask) for image, mask in pairs if image.stem not in held_out]
        for image_path, mask_path in pairs:
            image = imread(image_path)
            planes = image[None] if image.ndim == 2 else np.moveaxis(image[..., :3], -1, 0)
            labels = imread(mask_path).astype(np.int32)
            samples.append(
                Sample(
                    image=normalize(planes.astype(np.float32), recipe.normalization),
                    labels=labels,
                    weight=dataset.share / len(pairs),
                    diameter=median_diameter(labels),
                    invert=dataset.invert,
                )
            )
    return samples


def median_diameter(labels: NDArray[np.integer[Any]]) -> float:
    """Return the median equivalent diameter of the objects in pixels, 0 if there are none."""
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(2 * np.sqrt(areas / np.pi))) if len(areas) else 0.0
