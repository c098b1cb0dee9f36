"""What the benchmarks of fine-tuning share: training on paintings, and scoring the result."""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annotator import Annotator
from fields import DataSet, Field, dice, mean_dice
from napari_sa2net import segment
from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.fine_tuning import fine_tune
from napari_sa2net.engine.training.painting import Annotation, TrainingPair
from napari_sa2net.engine.training.settings import FineTuneSettings
from napari_sa2net.engine.weights import ClassInfo, Model

FIRST = 3
"""Strokes of each class that are drawn on each image before the first training."""

CORRECTIONS = 5
"""Strokes that are drawn on each image, at the largest errors, before each further one."""

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Setup:
    """What is trained on, from what, and how."""

    data_set: DataSet
    start: str
    """A model's name or file, or ``scratch``."""
    settings: FineTuneSettings
    """Budget and seed are set for each training."""

    @property
    def name(self) -> str:
        """What results are kept under: other settings give another name."""
        digest = hashlib.sha256(repr(self.settings).encode()).hexdigest()[:8]
        return f"{self.data_set.folder}, {Path(self.start).stem}, settings {digest}"

    def settings_for(self, seconds: float, seed: int) -> FineTuneSettings:
        """Return the settings of one training; a budget of steps or epochs stays as it is."""
        if self.settings.budget != "minutes":
            return replace(self.settings, seed=seed)
        return replace(self.settings, minutes=seconds / 60, seed=seed)

    @property
    def classes(self) -> tuple[ClassInfo, ...] | None:
        """The classes to define, or None where those of the start model fit."""
        if self.start != "scratch" and self.data_set.instances:
            return None
        pairs = zip(self.data_set.classes, self.data_set.colors, strict=True)
        return tuple(ClassInfo(name, color) for name, color in pairs)


@dataclass(frozen=True)
class Learned:
    """A model, and what training it took."""

    model: Model
    steps: int
    seconds: float
    """That count towards the budget."""
    wall: float
    """In all: with reading, validation and comparison."""
    verdict: str
    """Of the comparison at the end; the start model was kept if it is "worse"."""


def learn(
    setup: Setup,
    painted: Sequence[Field],
    labels: Iterable[Labels],
    settings: FineTuneSettings,
    model: Model | None = None,
    meaning: Literal["strokes", "mask"] = "strokes",
) -> Learned:
    """Train on painted fields: on from ``model``, or from the setup's start."""
    of = "instances" if meaning == "mask" and setup.data_set.instances else "classes"
    pairs = [
        TrainingPair(field.image, Annotation(values, meaning, of), field.name, axes="YX")
        for field, values in zip(painted, labels, strict=True)
    ]
    begin: Any = model or (None if setup.start == "scratch" else setup.start)
    classes = None if model is not None else setup.classes
    began = time.perf_counter()
    work = fine_tune(pairs, begin, settings, name="benchmark", classes=classes, device="cpu")
    tuned = run(work)
    wall = time.perf_counter() - began
    facts = tuned.trained.card.extra["training"]
    verdict = str(tuned.comparison.verdict)
    return Learned(tuned, facts["steps"], facts["seconds"], wall, verdict)


def learn_masks(setup: Setup, painted: Sequence[Field], seconds: float, seed: int) -> Learned:
    """Train on the full masks of the painted fields."""
    masks = [f.classes if f.objects is None else f.objects for f in painted]
    settings = setup.settings_for(seconds, seed)
    return learn(setup, painted, masks, settings, meaning="mask")


def predict(
    model: Model | str, image: Field, keep: Iterable[str] = ()
) -> tuple[NDArray[np.uint8], Any]:
    """Return class numbers (H, W) and the segmentation.

    A derived class, the boundary between touching objects, lies inside the objects: it counts
    for the first painted class.
    """
    keep = frozenset({"probabilities", *keep})
    found = segment(image.image, model, device="cpu", axes="YX", result="classes", keep=keep)
    values = np.asarray(found.probabilities, np.float32)
    derived = [number for number, info in enumerate(found.card.classes) if info.derived]
    values[1] += values[derived].sum(axis=0)
    painted = [number for number in range(len(values)) if number not in derived]
    return values[painted].argmax(axis=0).astype(np.uint8), found


def score(model: Model, images: Sequence[Field], classes: int) -> float:
    """Return the mean Dice of a model."""
    return mean_dice([predict(model, image)[0] for image in images], images, classes)


def score_mask(model: Model | str, images: Sequence[Field]) -> float:
    """Return the mean Dice of a model's foreground against all true classes together."""
    masks = [replace(f, classes=(f.classes > 0).astype(np.uint8)) for f in images]
    found = [(predict(model, image)[0] > 0).astype(np.uint8) for image in images]
    return float(np.mean([dice(a, image, 2) for a, image in zip(found, masks, strict=True)]))


def lengths(seconds: float, rounds: int) -> list[float]:
    """Return how long each training takes: as long as all before it, the first two alike.

    A person waits little for a first look and longer for the model to keep, which has more
    strokes to learn.
    """
    parts = [1, *(2**turn for turn in range(rounds - 1))]
    return [seconds * part / sum(parts) for part in parts]


@dataclass
class Session:
    """Someone who paints on some fields and trains, in turns."""

    setup: Setup
    fields: Sequence[Field]
    seed: int
    rounds: int
    model: Model | None = None
    seconds: float = 0.0
    wall: float = 0.0
    steps: int = 0
    turn: int = 0
    annotators: list[Annotator] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.annotators:
            self.annotators = [
                Annotator(one, np.random.default_rng([self.seed, place]), self.rounds)
                for place, one in enumerate(self.fields)
            ]

    def branch(self) -> Session:
        """Return a session that goes on from here by itself."""
        annotators = [replace(a, rng=copy.deepcopy(a.rng)) for a in self.annotators]
        for new, old in zip(annotators, self.annotators, strict=True):
            new.painting, new.strokes = old.painting.copy(), old.strokes
        return replace(self, annotators=annotators)

    def paint(self) -> None:
        """Draw the strokes of the next round: the first ones, or at the largest errors."""
        self.turn += 1
        for annotator in self.annotators:
            if self.model is None:
                annotator.first(FIRST)
            else:
                predicted, _ = predict(self.model, annotator.truth)
                annotator.correct(predicted, CORRECTIONS, self.turn)

    def train(self, seconds: float) -> Learned:
        """Train on all that is painted, on from the last model."""
        # Another seed each time: the same patches again would teach less.
        settings = self.setup.settings_for(seconds, 100 * self.seed + self.turn)
        learned = learn(self.setup, self.fields, self.paintings, settings, self.model)
        self.model = learned.model
        self.seconds += learned.seconds
        self.wall += learned.wall
        self.steps += learned.steps
        return learned

    @property
    def paintings(self) -> list[NDArray[np.uint8]]:
        """What is painted, field by field."""
        return [annotator.painting for annotator in self.annotators]

    @property
    def painted(self) -> int:
        """Painted pixels of all fields."""
        return sum(annotator.painted for annotator in self.annotators)

    @property
    def share(self) -> float:
        """Painted pixels as a share of those of all fields."""
        return self.painted / sum(painting.size for painting in self.paintings)


def add_options(parser: argparse.ArgumentParser, data_sets: Sequence[str]) -> None:
    """Add the options that all benchmarks of fine-tuning have."""
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("--data-set", choices=data_sets, action="append", help="all if not given")
    parser.add_argument(
        "--start", default="nuclei", help="a model's name or file, or 'scratch' (default: nuclei)"
    )
    parser.add_argument("--images", type=int, default=12, help="images that are scored; 0: all")
    parser.add_argument("--workers", type=int, default=1, help="processes of two cores each")
    parser.add_argument("--out", type=Path, help="JSON file; what is in it is not run again")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting of the training",
    )


def read_settings(parser: argparse.ArgumentParser, pairs: Sequence[str]) -> FineTuneSettings:
    """Return the default settings, with those changed that ``--set`` names."""
    known = {f.name for f in fields(FineTuneSettings)}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in known:
            parser.error(f"--set: there is no setting {name!r}, only {', '.join(sorted(known))}")
        try:
            values[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            values[name] = text
    return FineTuneSettings(**values)
