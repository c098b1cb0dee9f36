"""Recipes: one TOML file says how a released model is made from its data, and makes it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Generator
from dataclasses import Field, dataclass, field, fields
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
from ..parts import label
from ..scaling import resample, zoomed_shape
from ..weights import Model, ModelCard, load_model
from .augment import Augmentation
from .loop import fit
from .pieces import rescale_labels
from .samples import Sample
from .settings import TrainingSettings


@dataclass(frozen=True)
class DataSet:
    """A folder with ``images/`` and ``masks/`` of the same names."""

    folder: str
    masks: Literal["instances", "classes"] = "instances"
    """Whether a mask has a number for each object, or for each class."""
    objects: int = 0
    """In masks of classes: the class whose connected pieces are the objects. 0: the model
    learns the classes themselves."""
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
        if self.masks not in ("instances", "classes"):
            raise InputError(
                f"{self.folder}: masks is {self.masks!r}, it must be 'instances' or 'classes'."
            )
        if self.objects and self.masks == "instances":
            raise InputError(f"{self.folder}: objects goes with masks of classes only.")
        for size in (self.zoom, self.pixel_size, *self.pixel_sizes.values()):
            if size is not None and not 0 < size < float("inf"):
                raise InputError(f"{self.folder}: {size} is no zoom or pixel size above 0.")

    @property
    def kind(self) -> Literal["instances", "classes"]:
        """What the model learns of the masks."""
        return "instances" if self.objects else self.masks

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
    start: str
    """Model whose weights training starts from; empty: from scratch."""
    held_out: frozenset[str]
    """Names, without ending, of the images that training must not see."""
    card: ModelCard
    looks: dict[str, str]
    """Group of near-identical images to which an image's name (without ending) belongs."""
    look_balance: float
    """How far large groups are drawn less often: 0 every image, 1 every group alike."""
    folds: dict[str, str]
    """Fold of each image (by name without ending), for cross-validation; empty if there is none."""
    training: TrainingSettings
    augmentation: Augmentation

    @property
    def sha256(self) -> str:
        """Of all that the weights depend on: tells whether a training state belongs to it.

        What the card says for people, and how probabilities become labels, may change.
        """
        card = self.card
        content = [
            [_said(dataset) for dataset in self.datasets],
            self.start,
            sorted(self.held_out),
            sorted(self.looks.items()),
            self.look_balance,
            _said(self.training),
            _said(self.augmentation),
            [card.base_channels, card.in_channels, card.num_classes, card.pixel_size],
            _said(card.normalization),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def without(self, fold: str) -> Recipe:
        """Return the recipe that holds out the images of one fold as well.

        Raises
        ------
        InputError
            If there is no such fold.
        """
        names = {name for name, of in self.folds.items() if of == fold}
        if not names:
            known = ", ".join(sorted(set(self.folds.values()))) or "none"
            raise InputError(f"{self.path} has no fold {fold!r}. Its folds: {known}.")
        return dataclasses.replace(self, held_out=self.held_out | names)


def _said(settings: Any) -> dict[str, Any]:
    """Return what differs from the defaults, so that a new setting changes no other recipe."""
    told = dataclasses.asdict(settings)
    return {f.name: told[f.name] for f in fields(settings) if told[f.name] != _default(f)}


def _default(of: Field[Any]) -> Any:
    return of.default_factory() if callable(of.default_factory) else of.default


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
            start=str(table.get("start", "")),
            datasets=tuple(_build(DataSet, t, f"{path}, datasets") for t in table["datasets"]),
            held_out=frozenset(_lines(names)),
            looks=_table(groups),
            folds=_table(parts),
            look_balance=float(table.get("look_balance", 0.0)),
            card=ModelCard.from_dict(table["card"], strict=True),
            training=_build(TrainingSettings, table["training"], f"{path}, training"),
            augmentation=_build(
                Augmentation, table.get("augmentation", {}), f"{path}, augmentation"
            ),
        )
    except KeyError as error:
        raise InputError(f"The recipe {path} lacks the setting {error}.") from error


def _table(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in _lines(text) if " " in line)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def train(
    recipe: str | Path,
    data: str | Path,
    device: str = "auto",
    state: str | Path | None = None,
    fold: str | None = None,
) -> Generator[Event, None, Model]:
    """Make a model from a recipe.

    Parameters
    ----------
    recipe
        The recipe's TOML file.
    data
        Folder that holds the recipe's data sets, each a folder with ``images/`` and ``masks/``.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    state
        File in which the training's state is kept. If it exists and belongs to this recipe,
        training goes on from it.
    fold
        Hold out the images of this fold too, for cross-validation.

    Yields
    ------
    Event
        Messages, and a :class:`StepDone` a step.

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
    made = read_recipe(recipe)
    if fold is not None:
        made = made.without(fold)
    chosen = choose_device(device)
    yield Message(f"Training on {chosen.device}: {chosen.reason}")
    samples = load_samples(made, Path(data))
    yield Message(f"{len(samples)} training images, {len(made.held_out)} held out by name.")
    torch.manual_seed(made.training.seed)
    card = made.card
    network = _network(made).to(chosen.device)
    checkpoint = Path(state) if state is not None else None
    network = yield from fit(
        network, samples, made.training, made.augmentation, checkpoint, made.sha256
    )
    made_from = {
        "recipe": made.path.name,
        "recipe_sha256": made.sha256,
        "start": made.start,
        "training": dataclasses.asdict(made.training),
        "augmentation": dataclasses.asdict(made.augmentation),
    }
    return Model(network.cpu(), dataclasses.replace(card, extra={**card.extra, **made_from}))


def _network(recipe: Recipe) -> SA2Net:
    card = recipe.card
    wanted = (card.in_channels, card.num_classes, card.base_channels)
    if not recipe.start:
        return SA2Net(*wanted)
    network = load_model(recipe.start).network
    if not isinstance(network, SA2Net):
        raise InputError(f"{recipe.path} starts from an ensemble: name one of its members.")
    if (network.in_channels, network.num_classes, network.base_channels) != wanted:
        raise InputError(
            f"{recipe.path} starts from {recipe.start!r}, which has other channels, classes or "
            "another width than the recipe's card."
        )
    return network


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


def load_samples(recipe: Recipe, data: Path) -> list[Sample]:
    """Read the training images of a recipe, at the working scale and normalised.

    Raises
    ------
    TrainingError
        If there are none, or a mask of classes holds a number that is none.
    """
    samples = []
    for dataset in recipe.datasets:
        pairs = image_pairs(data / dataset.folder)
        pairs = [(image, mask) for image, mask in pairs if image.stem not in recipe.held_out]
        looks = [recipe.looks.get(image.stem, image.stem) for image, _ in pairs]
        sizes = Counter(looks)
        often = [sizes[look] ** -recipe.look_balance for look in looks]
        for (image_path, mask_path), weight in zip(pairs, often, strict=True):
            planes, labels = _read_pair(image_path, mask_path, dataset, recipe.card)
            samples.append(
                Sample(
                    image=normalize(planes, recipe.card.normalization),
                    labels=labels,
                    weight=dataset.share * weight / sum(often),
                    diameter=median_diameter(labels) if dataset.kind == "instances" else 0.0,
                    invert=dataset.invert,
                    dataset=dataset.folder,
                    kind=dataset.kind,
                )
            )
    return samples


def _read_pair(
    image_path: Path, mask_path: Path, dataset: DataSet, card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    image = imread(image_path)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image[..., :3], -1, 0)
    if card.in_channels == 1 and len(planes) > 1:
        raise TrainingError(f"{image_path} is in colour, and the model takes one channel.")
    labels = imread(mask_path).astype(np.int32)
    if dataset.objects:
        labels = label(labels == dataset.objects)
    if dataset.kind == "classes" and labels.max(initial=0) >= len(card.classes):
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
