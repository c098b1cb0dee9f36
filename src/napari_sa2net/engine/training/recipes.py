"""Recipes: one TOML file says how a released model is made from its data, and makes it."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..devices import choose_device
from ..errors import InputError, TrainingError, WeightsError
from ..events import Event, Message
from ..fields import build, check_value
from ..image_file import spelled_alike
from ..images import normalize
from ..locking import Lock, can_lock, try_lock
from ..network import SA2Net
from ..weights import Model, ModelCard, load_model
from .augment import Augmentation
from .datasets import DataSet, image_pairs, median_diameter, read_pair
from .epochs import fit_epochs
from .loop import fit
from .ranks import Ranks, joined
from .samples import Sample, redrawn
from .settings import TrainingSettings


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
    fold: str
    """The fold that is held out if no other is asked for, and that says when to stop if there is
    ``patience``; empty: none."""
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
            *([self.fold] if self.training.patience else []),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def __post_init__(self) -> None:
        for dataset in self.datasets:
            if dataset.kind == "instances" and self.card.num_classes < 3:
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
        """Return the recipe that holds out the images of one fold as well, and stops by them.

        Raises
        ------
        InputError
            If there is no such fold.
        """
        return dataclasses.replace(self, held_out=self.held_out | self.images_of(fold), fold=fold)


def _said(settings: Any) -> dict[str, Any]:
    """Return what differs from the defaults, so that a new setting changes no other recipe."""
    told = dataclasses.asdict(settings)
    return {f.name: told[f.name] for f in fields(settings) if told[f.name] != _default(f)}


def _default(of: Field[Any]) -> Any:
    return of.default_factory() if callable(of.default_factory) else of.default


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
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}") from error
    try:
        return Recipe(
            path=path,
            start=str(table.get("start", "")),
            datasets=tuple(
                build(DataSet, t, f"{path}, datasets", error=InputError) for t in table["datasets"]
            ),
            held_out=frozenset(_lines(names)),
            looks=_table(groups),
            folds=_table(parts),
            fold=str(table.get("fold", "")),
            look_balance=check_value(
                "look_balance", table.get("look_balance", 0.0), float, min=0, max=1
            ),
            card=ModelCard.from_dict(table["card"], strict=True),
            training=build(
                TrainingSettings, table["training"], f"{path}, training", error=InputError
            ),
            augmentation=build(
                Augmentation,
                table.get("augmentation", {}),
                f"{path}, augmentation",
                error=InputError,
            ),
        )
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"The recipe {path} lacks the setting {error}.") from error
    except (TypeError, ValueError, WeightsError) as error:
        raise InputError(f"The recipe {path} cannot be used: {error}") from error


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

    Started by ``torchrun`` in several processes, all of them train together, each on a part of
    every batch. They return the same model; the first one keeps the state.

    Raises
    ------
    InputError
        If the recipe or an image cannot be read, or the batch cannot be divided.
    TrainingError
        If the data are missing, or the state belongs to another recipe or number of processes,
        or to a training that is running.
    """
    made = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    fold = fold or made.fold
    if made.training.patience and not fold:
        raise InputError(
            f"{made.path}: with patience the images of a fold say when to stop. Name one that is "
            "to be held out."
        )
    made = made.without(fold) if fold else made
    checkpoint = None if state is None else Path(state)
    with joined(device) as (ranks, own), _alone(checkpoint, ranks):
        network, made_from = yield from _trained(made, Path(data), own, checkpoint, fold, ranks)
    made_from |= {
        "recipe": made.path.name,
        "recipe_sha256": made.sha256,
        "start": made.start,
        "training": dataclasses.asdict(made.training),
        "augmentation": dataclasses.asdict(made.augmentation),
    }
    card = made.card
    return Model(network, dataclasses.replace(card, extra={**card.extra, **made_from}))


@contextmanager
def _alone(state: Path | None, ranks: Ranks) -> Iterator[None]:
    """Keep other trainings from the state of this one, where the disk has locks."""
    held: list[Lock] = []
    path = Path() if state is None else state.with_name(f"{state.name}.lock")

    def take() -> None:
        lock = try_lock(path, patient=True)
        if lock is not None:
            held.append(lock)
        elif can_lock(path.parent):
            raise TrainingError(
                f"The training whose state is {state} is running already: wait until it ends, or "
                "name another file for the state of this one."
            )

    if state is not None:
        ranks.shared(take)
    try:
        yield
    finally:
        for lock in held:
            with suppress(OSError):  # while it is held; Windows removes no file that is open
                path.unlink()
            lock.close()


def _trained(
    made: Recipe, data: Path, device: str, checkpoint: Path | None, fold: str, ranks: Ranks
) -> Generator[Event, None, tuple[SA2Net, dict[str, Any]]]:
    """Return the trained network, on the CPU, and what there is to say of how it came about."""
    chosen = choose_device(device)
    several = f" in each of {ranks.count} processes" if ranks.count > 1 else ""
    yield Message(f"Training on {chosen.device}{several}: {chosen.reason}")
    samples = load_samples(made, data)
    stopping: list[Sample] = []
    if made.training.patience:
        stopping = load_samples(made, data, made.images_of(fold))
    yield Message(f"{len(samples)} training images, {len(made.held_out)} held out by name.")
    torch.manual_seed(made.training.seed)
    network = _network(made)
    how = (made.training, made.augmentation, checkpoint, made.sha256, ranks)
    made_from: dict[str, Any] = {"fold": fold} if fold else {}
    if ranks.count > 1:
        made_from["processes"] = ranks.count
    on_device = copy.deepcopy(network).to(chosen.device)
    if made.training.epochs:
        fitted, epoch = yield from fit_epochs(on_device, samples, stopping, *how)
        made_from["epoch"] = epoch
    else:
        fitted = yield from fit(on_device, samples, *how)
    # Layers of several processes are left behind with the copy.
    network.load_state_dict(fitted.state_dict())
    return network.eval(), made_from


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
    listed = set(map(spelled_alike, recipe.held_out if names is None else names))
    same_look = {spelled_alike(name): look for name, look in recipe.looks.items()}
    for dataset in recipe.datasets:
        if dataset.drawn:
            if names is None:
                samples.append(_drawn(dataset, recipe))
            continue
        pairs = [
            (image, mask)
            for image, mask in image_pairs(data / dataset.folder, dataset.masks_folder)
            if (spelled_alike(image.stem) in listed) == (names is not None)
        ]
        looks = [same_look.get(spelled_alike(image.stem), image.stem) for image, _ in pairs]
        sizes = Counter(looks)
        often = [sizes[look] ** -recipe.look_balance for look in looks]
        for (image_path, mask_path), weight in zip(pairs, often, strict=True):
            planes, labels = read_pair(image_path, mask_path, dataset, recipe.card)
            samples.append(
                Sample(
                    image=normalize(planes, recipe.card.normalization),
                    labels=labels,
                    name=image_path.stem,
                    weight=dataset.share * weight / sum(often),
                    diameter=median_diameter(labels) if dataset.kind == "instances" else 0.0,
                    invert=dataset.invert,
                    dataset=dataset.folder,
                    kind=dataset.kind,
                )
            )
    if all(sample.drawn for sample in samples):
        what = "to train on" if names is None else "of those that are held out"
        raise TrainingError(f"{data} has no image {what}: see the recipe {recipe.path}.")
    return samples


def _drawn(dataset: DataSet, recipe: Recipe) -> Sample:
    """Return the one sample of a set whose images are drawn for each crop."""
    nothing = Sample(
        image=np.zeros((1, 1, 1), np.float32),
        labels=np.zeros((1, 1), np.int32),
        name=dataset.folder,
        weight=dataset.share,
        dataset=dataset.folder,
        drawn=True,
    )
    settings = recipe.training
    return redrawn(nothing, settings.crop, settings.diameter, np.random.default_rng(settings.seed))
