"""Recipes: one TOML file says how a released model is made from its data, and makes it."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections import Counter
from collections.abc import Collection, Generator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.io import imread

from ..devices import choose_device
from ..errors import InputError, TrainingError
from ..events import Event, Message
from ..images import normalize
from ..network import SA2Net
from ..scaling import resample, zoomed_shape
from ..weights import Model, ModelCard
from .augment import Augmentation
from .epochs import fit_epochs
from .loop import fit
from .pieces import rescale_labels
from .samples import Sample
from .settings import TrainingSettings
from .whole import squeeze


@dataclass(frozen=True)
class DataSet:
    """A folder with ``images/`` and ``masks/`` of the same names."""

    folder: str
    masks: Literal["instances", "classes", "foreground"] = "instances"
    """Whether a mask has a number for each object, or for each class, or anything above 0 where
    the only object class is."""
    resize: int = 0
    """Side in pixels of the square that whole images are brought to before training, whatever
    their proportions, see :func:`squeeze`. 0: not at all."""
    zoom: float = 1.0
    """By what images are resampled before training."""
    pixel_size: float | None = None
    """µm; the images are resampled to the card's pixel size, if it has one."""
    pixel_sizes: dict[str, float] = field(default_factory=dict)
    """The same for single images, by their names without ending."""
    share: float = 1.0
    """Share of the training crops drawn from this set, relative to the others."""
    invert: float = 0.0
    """Probability of turning dark into bright, see :class:`Augmentation`."""

    def __post_init__(self) -> None:
        if self.masks not in ("instances", "classes", "foreground"):
            raise InputError(
                f"{self.folder}: masks is {self.masks!r}, it must be 'instances', 'classes' or "
                "'foreground'."
            )
        if self.resize and (self.masks != "foreground" or self.zoom != 1 or self._sized):
            raise InputError(
                f"{self.folder}: resize goes with masks = 'foreground', and not with zoom or "
                "pixel sizes."
            )
        for size in (self.zoom, self.pixel_size, *self.pixel_sizes.values()):
            if size is not None and not 0 < size < float("inf"):
                raise InputError(f"{self.folder}: {size} is no zoom or pixel size above 0.")

    @property
    def _sized(self) -> bool:
        return self.pixel_size is not None or bool(self.pixel_sizes)

    def zoom_of(self, name: str, card: ModelCard) -> float:
        """Return by what the sides of the image called ``name`` are multiplied."""
        size = self.pixel_sizes.get(name, self.pixel_size)
        if size is None or card.pixel_size is None:
            return self.zoom
        return self.zoom * size / card.pixel_size


@dataclass(frozen=True)
class Recipe:
    """How a model is made."""

    path: Path
    datasets: tuple[DataSet, ...]
    held_out: frozenset[str]
    """Names, without ending, of the images that training must not see."""
    card: ModelCard
    looks: dict[str, str]
    """Group of near-identical images to which an image's name (without ending) belongs."""
    look_balance: float
    """How far large groups are drawn less often: 0 every image, 1 every group alike."""
    folds: dict[str, str]
    """Fold of each image (by name without ending), for cross-validation; empty if there is none."""
    fold: str
    """The fold that is held out if no other is asked for; empty: none."""
    training: TrainingSettings
    augmentation: Augmentation
    sha256: str
    """Of the recipe's text and lists: tells whether a training state belongs to it."""

    def __post_init__(self) -> None:
        for dataset in self.datasets:
            if dataset.masks == "instances" and self.card.num_classes < 3:
                raise InputError(
                    f"{self.path}: instances are learnt with a boundary as third class, and the "
                    f"model has {self.card.num_classes}. Set masks = 'foreground' for "
                    f"{dataset.folder}."
                )

    def images_of(self, fold: str) -> frozenset[str]:
        """Return the names, without ending, of the images of a fold.

        Raises
        ------
        InputError
            If there is no such fold.
        """
        names = frozenset(name for name, of in self.folds.items() if of == fold)
        if not names:
            known = ", ".join(sorted(set(self.folds.values()))) or "none"
            raise InputError(f"{self.path} has no fold {fold!r}. Its folds: {known}.")
        return names

    def without(self, fold: str) -> Recipe:
        """Return the recipe that holds out the images of one fold as well.

        Raises
        ------
        InputError
            If there is no such fold.
        """
        return dataclasses.replace(
            self,
            held_out=self.held_out | self.images_of(fold),
            sha256=hashlib.sha256(f"{self.sha256} {fold}".encode()).hexdigest(),
        )


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
        names, groups, parts = (
            (path.parent / table[key]).read_text(encoding="utf-8") if table.get(key) else ""
            for key in ("held_out", "looks", "folds")
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}") from error
    try:
        return Recipe(
            path=path,
            datasets=tuple(_build(DataSet, t, f"{path}, datasets") for t in table["datasets"]),
            held_out=frozenset(_lines(names)),
            looks=_table(groups),
            folds=_table(parts),
            fold=str(table.get("fold", "")),
            look_balance=float(table.get("look_balance", 0.0)),
            card=ModelCard.from_dict(table["card"], strict=True),
            training=_build(TrainingSettings, table["training"], f"{path}, training"),
            augmentation=_build(
                Augmentation, table.get("augmentation", {}), f"{path}, augmentation"
            ),
            sha256=hashlib.sha256((text + names + groups + parts).encode()).hexdigest(),
        )
    except KeyError as error:
        raise InputError(f"The recipe {path} lacks the setting {error}.") from error


def _table(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in _lines(text) if " " in line)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def train(
    recipe: str | Path | Recipe,
    data: str | Path,
    device: str = "auto",
    state: str | Path | None = None,
    fold: str | None = None,
) -> Generator[Event, None, Model]:
    """Make a model from a recipe.

    Parameters
    ----------
    recipe
        The recipe's TOML file, or what :func:`read_recipe` made of it.
    data
        Folder that holds the recipe's data sets, each a folder with ``images/`` and ``masks/``.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    state
        File in which the training's state is kept. If it exists and belongs to this recipe,
        training goes on from it.
    fold
        Hold out the images of this fold too, for cross-validation. With ``patience`` they say
        when to stop and which weights to keep.

    Yields
    ------
    Event
        Messages, a :class:`StepDone` a step and, with ``patience``, an :class:`EpochDone` a pass.

    Returns
    -------
    Model
        The trained network with the recipe's card.

    Raises
    ------
    InputError
        If the recipe or an image cannot be read.
    TrainingError
        If the data are missing, or the state belongs to another recipe.
    """
    made = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    fold = fold or made.fold
    if made.training.patience and not fold:
        raise InputError(
            f"{made.path}: with patience the images of a fold say when to stop. Name one that is "
            "to be held out."
        )
    made = made.without(fold) if fold else made
    chosen = choose_device(device)
    yield Message(f"Training on {chosen.device}: {chosen.reason}")
    samples = load_samples(made, Path(data))
    stopping: list[Sample] = []
    if made.training.patience:
        stopping = load_samples(made, Path(data), made.images_of(fold))
    yield Message(f"{len(samples)} training images, {len(made.held_out)} held out by name.")
    torch.manual_seed(made.training.seed)
    card = made.card
    network = SA2Net(card.in_channels, card.num_classes, card.base_channels).to(chosen.device)
    checkpoint = Path(state) if state is not None else None
    how = (made.training, made.augmentation, checkpoint, made.sha256)
    made_from: dict[str, Any] = {"fold": fold} if fold else {}
    if made.training.epochs:
        network, epoch = yield from fit_epochs(network, samples, stopping, *how)
        made_from["epoch"] = epoch
    else:
        network = yield from fit(network, samples, *how)
    made_from |= {
        "recipe": made.path.name,
        "recipe_sha256": made.sha256,
        "training": dataclasses.asdict(made.training),
        "augmentation": dataclasses.asdict(made.augmentation),
    }
    return Model(network.cpu(), dataclasses.replace(card, extra={**card.extra, **made_from}))


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


def load_samples(recipe: Recipe, data: Path, names: Collection[str] | None = None) -> list[Sample]:
    """Read images of a recipe with their masks, at the working scale and normalised.

    Parameters
    ----------
    names
        Of the images, without ending. If not given, all that are not held out: the training's.

    Raises
    ------
    TrainingError
        If there are none, or a mask of classes holds a number that is none.
    """
    samples = []
    for dataset in recipe.datasets:
        pairs = image_pairs(data / dataset.folder)
        pairs = [
            (image, mask)
            for image, mask in pairs
            if (image.stem not in recipe.held_out if names is None else image.stem in names)
        ]
        looks = [recipe.looks.get(image.stem, image.stem) for image, _ in pairs]
        sizes = Counter(looks)
        often = [sizes[look] ** -recipe.look_balance for look in looks]
        for (image_path, mask_path), weight in zip(pairs, often, strict=True):
            planes, labels = _read_pair(image_path, mask_path, dataset, recipe.card)
            samples.append(
                Sample(
                    image=normalize(planes, recipe.card.normalization),
                    labels=labels,
                    name=image_path.stem,
                    weight=dataset.share * weight / sum(often),
                    diameter=median_diameter(labels) if dataset.masks == "instances" else 0.0,
                    invert=dataset.invert,
                    dataset=dataset.folder,
                    kind="instances" if dataset.masks == "instances" else "classes",
                )
            )
    if not samples:
        what = "to train on" if names is None else "of those that are held out"
        raise TrainingError(f"{data} has no image {what}: see the recipe {recipe.path}.")
    return samples


def _read_pair(
    image_path: Path, mask_path: Path, dataset: DataSet, card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    image = imread(image_path)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image[..., :3], -1, 0)
    if card.in_channels == 1 and len(planes) > 1:
        raise TrainingError(f"{image_path} is in colour, and the model takes one channel.")
    if card.colour_order is not None and len(planes) == 3:
        planes = planes[list(card.colour_order)]
    labels = imread(mask_path).astype(np.int32)
    if dataset.masks == "foreground":
        labels = (labels > 0).astype(np.int32)
    if dataset.resize:
        return squeeze(planes, labels, dataset.resize)
    if dataset.masks == "classes" and labels.max(initial=0) >= len(card.classes):
        raise TrainingError(
            f"{mask_path} holds the number {labels.max()}, but the model's classes are "
            f"0 to {len(card.classes) - 1}: is it a mask of instances?"
        )
    zoom = dataset.zoom_of(image_path.stem, card)
    height, width = labels.shape
    shape = zoomed_shape((height, width), (zoom, zoom))
    return resample(planes.astype(np.float32), shape), rescale_labels(labels, shape)


def median_diameter(labels: NDArray[np.integer[Any]]) -> float:
    """Return the median equivalent diameter of the objects in pixels, 0 if there are none."""
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(2 * np.sqrt(areas / np.pi))) if len(areas) else 0.0
