"""Data sets that recipes name: folders of images with masks, read as the recipe wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread

from ..calibration import LENGTH
from ..errors import InputError, TrainingError
from ..fields import check_fields
from ..files import read_image
from ..image_file import PICTURE_ENDINGS, TIFF_ENDINGS, obstacle, spelled_alike
from ..parts import label
from ..scaling import resample, zoomed_shape
from ..weights import ModelCard
from .pieces import rescale_labels
from .whole import squeeze


@dataclass(frozen=True)
class DataSet:
    """A folder with ``images/`` and masks of the same names, or images drawn for the purpose."""

    folder: str
    """Its name; of images that are drawn, any."""
    drawn: bool = False
    """The images are drawn anew for each crop, see :mod:`.synthetic`; there is no folder."""
    masks_folder: str = "masks"
    masks: Literal["instances", "classes", "foreground"] = "instances"
    """Whether a mask has a number for each object, or for each class, or anything above 0 where
    the only object class is."""
    objects: int | tuple[int, ...] = field(default=0, metadata={"min": 0, "max": 10**6})
    """In masks of classes: the class, or classes, whose connected pieces are the objects. 0: the
    model learns the classes themselves."""
    resize: int = field(default=0, metadata={"min": 0, "max": 8192})
    """Side in pixels of the square that whole images are brought to before training, whatever
    their proportions, see :func:`squeeze`. 0: not at all."""
    zoom: float = field(default=1.0, metadata={"above": 0, "max": 100})
    """By what images are resampled before training."""
    pixel_size: float | None = field(default=None, metadata=LENGTH)
    """µm; the images are resampled to the card's pixel size, if it has one."""
    pixel_sizes: dict[str, float] = field(default_factory=dict, metadata=LENGTH)
    """The same for single images, by their names without ending."""
    share: float = field(default=1.0, metadata={"min": 0, "max": 1e6})
    """Share of the training crops drawn from this set, relative to the others."""
    invert: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Probability of turning dark into bright, see :class:`Augmentation`."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.resize and (self.masks != "foreground" or self.zoom != 1 or self._sized):
            raise InputError(
                f"{self.folder}: resize goes with masks = 'foreground', and not with zoom or "
                "pixel sizes."
            )
        if self.objects and self.masks != "classes":
            raise InputError(f"{self.folder}: objects goes with masks of classes only.")

    @property
    def kind(self) -> Literal["instances", "classes"]:
        """What the model learns of the masks."""
        return "instances" if self.objects or self.masks == "instances" else "classes"

    @property
    def _sized(self) -> bool:
        return self.pixel_size is not None or bool(self.pixel_sizes)

    def zoom_of(self, name: str, card: ModelCard) -> float:
        """Return by what the sides of the image called ``name`` are multiplied."""
        sizes = {spelled_alike(key): size for key, size in self.pixel_sizes.items()}
        size = sizes.get(spelled_alike(name), self.pixel_size)
        if size is None or card.pixel_size is None:
            return self.zoom
        return self.zoom * size / card.pixel_size


def image_pairs(folder: Path, masks_folder: str = "masks") -> list[tuple[Path, Path]]:
    """Return the (image, mask) files of a data set folder, sorted by name."""
    masks = {spelled_alike(path.stem): path for path in _image_files(folder / masks_folder)}
    images = [(path, spelled_alike(path.stem)) for path in sorted(_image_files(folder / "images"))]
    pairs = [(path, masks[name]) for path, name in images if name in masks]
    if not pairs:
        raise TrainingError(
            f"{folder} has no images with masks: it needs the folders images/ and {masks_folder}/ "
            "with files of the same names."
        )
    return pairs


def _image_files(folder: Path) -> list[Path]:
    """Return the images in a folder, without what systems leave there, such as Thumbs.db."""
    return [
        path
        for path in folder.glob("*.*")
        if path.suffix.lower() in TIFF_ENDINGS + PICTURE_ENDINGS and not path.name.startswith(".")
    ]


def read_pair(
    image_path: Path, mask_path: Path, dataset: DataSet, card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Read an image (C, H, W) and its labels (H, W) at the model's working scale.

    Raises
    ------
    TrainingError
        If the colours do not fit the model, or a mask of classes holds a number that is none.
    """
    image = _pixels(image_path)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image[..., :3], -1, 0)
    if card.in_channels == 1 and len(planes) > 1:
        raise TrainingError(f"{image_path} is in colour, and the model takes one channel.")
    if card.colour_order is not None and len(planes) == 3:
        planes = planes[list(card.colour_order)]
    labels = _pixels(mask_path, numbers=True).astype(np.int32)
    if dataset.masks == "foreground":
        labels = (labels > 0).astype(np.int32)
    if dataset.objects:
        labels = _pieces(labels, dataset.objects)
    if dataset.resize:
        return squeeze(planes, labels, dataset.resize)
    if dataset.kind == "classes" and labels.max(initial=0) >= len(card.classes):
        raise TrainingError(
            f"{mask_path} holds the number {labels.max()}, but the model's classes are "
            f"0 to {len(card.classes) - 1}: is it a mask of instances?"
        )
    zoom = dataset.zoom_of(image_path.stem, card)
    height, width = labels.shape
    shape = zoomed_shape((height, width), (zoom, zoom))
    return resample(planes.astype(np.float32), shape), rescale_labels(labels, shape)


def _pieces(classes: NDArray[np.int32], objects: int | tuple[int, ...]) -> NDArray[np.int32]:
    """Number the connected pieces of some classes; pieces of two classes never are one."""
    out = np.zeros(classes.shape, np.int32)
    for k in objects if isinstance(objects, tuple) else (objects,):
        pieces = label(classes == k)
        out = np.where(pieces > 0, pieces + out.max(), out).astype(np.int32)
    return out


def _pixels(path: Path, *, numbers: bool = False) -> NDArray[Any]:
    problem = obstacle(path)
    if problem:
        raise TrainingError(problem)
    if path.suffix.lower() in PICTURE_ENDINGS:
        return np.asarray(read_image(path, numbers=numbers).array)
    return np.asarray(imread(path))


def median_diameter(labels: NDArray[np.integer[Any]]) -> float:
    """Return the median equivalent diameter of the objects in pixels, 0 if there are none."""
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(2 * np.sqrt(areas / np.pi))) if len(areas) else 0.0
