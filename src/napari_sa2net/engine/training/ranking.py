"""Which model to start from: the models that are here, ranked by what they make of a painting."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cards import default_classes
from ..devices import choose_device
from ..errors import InputError, SA2NetError
from ..events import Event, Message, Progress, Result
from ..prediction import Plan, Predictor
from ..registry import available_models
from ..tiling import pad
from ..weights import Model, load_model
from .adapt import adapt
from .comparison import DRAWS, FEWEST_BLOCKS
from .losses import IGNORE
from .painting import TrainingPair, prepare
from .pieces import block_grid
from .samples import Sample
from .targets import choose_channels
from .validation import BLOCK, CONTEXT, regions

MOST_REGIONS = 48
"""Painted regions that a model is run on: more take long to score and tell little more."""

MOST_CLASSES = 32
"""Of a painting; more are hardly classes but objects."""

KNOWS = 0.2
"""Share of the way from chance to no error that a model must have gone to know the images."""

ENOUGH = 0.99
"""Score from which a model is good enough as it is."""

_HARDLY = 0.01
"""Share of a class up to which an output has nothing to do with it."""

_READ = 4096
"""Side of the blocks in which an annotation is looked through."""

_TOP = 4
"""Models that are named in the text."""

Table = NDArray[np.float64]
"""(regions, painted classes, outputs): weight of the painted pixels with each answer."""


@dataclass(frozen=True)
class Ranked:
    """A model and how well it tells apart what is painted."""

    name: str
    score: float
    """Share of the painted pixels that it tells apart, each class counting alike, 0 to 1."""
    low: float
    """95 % interval of the score, from drawing the regions again and again."""
    high: float
    regions: int
    """Painted regions that it was run on."""
    chance: float
    """Score of a model that answers the same everywhere: one over the painted classes."""
    licence: str = ""
    """Its licence if that forbids some uses, else empty."""
    alike: bool = True
    """Whether its classes are the painted ones, whatever they are called."""

    @property
    def known(self) -> bool:
        """Whether it knows such images: clearly and by far better than chance."""
        far = self.score - self.chance >= KNOWS * (1 - self.chance)
        return self.regions >= FEWEST_BLOCKS and self.low > self.chance and far


@dataclass(frozen=True)
class Suggestion:
    """The models that are here, ranked for a painting."""

    ranking: tuple[Ranked, ...]
    """Best first; at least one."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Models that were not scored, and why."""

    @property
    def best(self) -> Ranked:
        """The first of the ranking, also where it does not know the images: see ``known``."""
        return self.ranking[0]

    @property
    def known(self) -> bool:
        """Whether the best one knows such images."""
        return self.best.known

    @property
    def enough(self) -> bool:
        """Whether the best one needs no training: it segments as was painted."""
        return self.known and self.best.alike and self.best.score >= ENOUGH

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known before the best one is used, as sentences."""
        name, licence = self.best.name, self.best.licence
        found = []
        if self.enough:
            found.append(
                f"“{name}” tells these classes apart already: you can use it as it is, without "
                "training."
            )
        if licence:
            found.append(f"The licence of “{name}”, {licence}, forbids some uses.")
        return tuple(found)

    @property
    def ties(self) -> tuple[Ranked, ...]:
        """Others that are as good, as far as so much painting can tell."""
        return tuple(other for other in self.ranking[1:] if other.score >= self.best.low)

    @property
    def text(self) -> str:
        """The ranking in words, for a person."""
        best, others = self.best, self.ranking[1:]
        chance = _percent(best.chance)
        if not best.known:
            named = ", ".join(_named(model) for model in self.ranking[:_TOP])
            if best.regions < FEWEST_BLOCKS:
                return (
                    f"Too little is painted to choose a model by: {best.regions} region(s). Paint "
                    f"in further places. So far, where chance is {chance}: {named}."
                )
            return (
                "No model here tells apart what you painted clearly better than chance, which is "
                f"{chance}: {named}. From scratch may do as well."
            )
        text = (
            f"Start from “{best.name}”: it tells apart {_percent(best.score)} of what you painted, "
            f"where chance is {chance}."
        )
        if self.ties:
            also = ", ".join(_named(model) for model in self.ties[:_TOP])
            text += f" As good, as far as so much painting can tell: {also}."
        rest = [model for model in others if model not in self.ties]
        if rest:
            text += f" Less: {', '.join(_named(model) for model in rest[:_TOP])}."
        return " ".join([text, *self.remarks])

    def table(self) -> str:
        """Return all scores as lines of text."""
        width = max(len("model"), *(len(model.name) for model in self.ranking))
        lines = [f"{'model':<{width}}  told apart  95 % interval"]
        for model in self.ranking:
            interval = f"{_percent(model.low)} to {_percent(model.high)}"
            lines.append(f"{model.name:<{width}}  {_percent(model.score):>10}  {interval}")
        lines.append(f"{'(chance)':<{width}}  {_percent(self.best.chance):>10}")
        return "\n".join(lines)


def suggest_start(
    pairs: Sequence[TrainingPair],
    models: Sequence[str | Path | Model] | None = None,
    *,
    device: str = "auto",
) -> Generator[Event, None, Suggestion]:
    """Rank the models that are here by how well they tell apart what is painted.

    A model's classes seldom have the names of the painted ones, so names count for nothing. At
    every painted pixel the model gives its most probable class, derived ones included. Each of
    these answers is taken for the painted class of which it is given most often, and the score
    is the share of the painted pixels that come out right, as the mean over the painted classes
    (balanced accuracy): a few large strokes do not hide small ones. Which answer stands for
    which class is told from all other regions, never from the one that is scored, so that a
    model that knows nothing scores no more than chance. Features that a new output could make
    something of are left out on purpose: those of random weights often tell bright from dark as
    well, and that is no knowledge of the images.

    Parameters
    ----------
    pairs
        Images with their annotations, as for :func:`fine_tune`. Only regions around painted
        pixels are run, :data:`MOST_REGIONS` at most.
    models
        Names, model files or models; None: all that are here. None is ever downloaded.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``, ….

    Yields
    ------
    Event
        :class:`Message` on the device and on what is left out; :class:`Progress`. Closing the
        generator stops the work within a region.

    Returns
    -------
    Suggestion

    Raises
    ------
    InputError
        If images and annotations do not fit, too little is painted, or there is no model to
        score.
    DeviceError
        If the device is missing, fails, or its memory is not enough.
    """
    choice = choose_device(device)
    yield Message(f"Running on {choice.reason}")
    classes = _painted_classes(pairs)
    found, away = _candidates(models)
    skipped = dict.fromkeys(away, "it is not here yet: download it first.")
    if away:
        they = "it is" if len(away) == 1 else "they are"
        yield Message(f"Not tried, as {they} not downloaded: {', '.join(away)}.")
    reader = _Reader(pairs, classes)
    ranking: list[Ranked] = []
    problems: dict[str, SA2NetError] = {}
    for place, (name, source) in enumerate(found):
        yield Progress(place, len(found), "model", f"Loading {name}")
        try:
            model, remark = _fitted(load_model(source), pairs)
            samples = yield from reader.read(model)
        except SA2NetError as error:
            problems[name] = error
            continue
        if remark:
            yield Message(f"“{name}”: {remark}")
        predictor = Predictor(model.network, Plan(choice.device, 1, 512, 16, 48))
        try:
            table = yield from _ask(predictor, samples, classes, (place, len(found)))
        finally:
            predictor.close()
        card, derived = model.card, [info.derived for info in model.card.classes]
        licence = (card.licence or "of its own") if card.restricted else ""
        same = not remark and alike(table, derived)  # it takes such images, and says the same
        ranking.append(dataclasses.replace(rank(name, table), licence=licence, alike=same))
    if not ranking:  # what is wrong with the painting goes wrong with every model
        raise next(iter(problems.values()), InputError("There is no model here to start from."))
    for name, problem in problems.items():
        skipped[name] = str(problem)
        yield Message(f"“{name}” is not scored: {problem}", warning=True)
    return Suggestion(
        tuple(sorted(ranking, key=lambda model: (-model.score, not model.alike))), skipped
    )


def rank(name: str, table: Table) -> Ranked:
    """Score a model by its answers.

    Parameters
    ----------
    table
        (regions, painted classes, outputs), see :data:`Table`. Classes of which nothing is
        painted count for nothing.
    """
    table = table[:, table.sum((0, 2)) > 0]
    total = table.sum(0)
    right = np.zeros(table.shape[:2])
    for i, own in enumerate(table):
        rest = total - own
        # A class that is painted nowhere else can only be told from here.
        alone = rest.sum(1) <= 1e-6 * total.sum(1)
        rest[alone] = total[alone]
        meant = (rest / rest.sum(1, keepdims=True)).argmax(0)  # the class of each answer
        right[i] = [own[k, meant == k].sum() for k in range(len(own))]
    painted = table.sum(2)
    drawn = np.random.default_rng(0).integers(len(table), size=(DRAWS, len(table)))
    share = right.sum(0) / painted.sum(0)  # of each class
    of = painted[drawn].sum(1)
    # A class that a draw happens to miss says nothing new.
    shares = np.where(of > 0, right[drawn].sum(1) / np.where(of > 0, of, 1), share)
    low, high = np.quantile(shares.mean(1), (0.025, 0.975))
    return Ranked(name, float(share.mean()), float(low), float(high), len(table), 1 / len(total))


def alike(table: Table, derived: Sequence[bool]) -> bool:
    """Return whether a model's classes are the painted ones, one for each, background first.

    Where a membrane is what was painted as background, a model of membranes tells the two apart
    and yet does not segment what was painted.

    Parameters
    ----------
    table
        (regions, painted classes, outputs), see :data:`Table`.
    derived
        For each output whether the program made its class from the others; it stands for none.
    """
    total = table.sum(0)  # (painted classes, outputs)
    shares = total / np.maximum(total.sum(1, keepdims=True), 1e-9)
    meant = shares.argmax(0)
    given = (shares > _HARDLY).any(0) & ~np.asarray(derived, dtype=bool)
    if given[0] and meant[0] != 0:
        return False
    others = [int(meant[output]) for output in np.flatnonzero(given) if output]
    painted = [k for k in range(1, len(total)) if total[k].sum() > 0]
    return sorted(others) == painted


def _ask(
    predictor: Predictor, samples: Sequence[Sample], classes: int, turn: tuple[int, int]
) -> Generator[Event, None, Table]:
    """Return a model's answers on regions; ``turn`` is its number, and how many there are."""
    table = np.zeros((len(samples), classes, predictor.classes))
    channels = predictor.in_channels
    for i, sample in enumerate(samples):
        image = sample.image
        if len(image) != channels:  # a single one is shown in all of the network's
            image = np.repeat(image[:1], channels, axis=0)
        # Tiles are not counted here, but what is said of memory should be read.
        maps = yield from _of_kind(Message, predictor.plane(pad(image), i))
        height, width = sample.labels.shape
        answer = maps[: predictor.classes, :height, :width].argmax(0)
        true = sample.painted_classes
        at = true != IGNORE
        weights = None if sample.pixel_weights is None else sample.pixel_weights[at]
        flat = np.bincount(
            true[at] * predictor.classes + answer[at], weights, classes * predictor.classes
        )
        table[i] = flat.reshape(classes, predictor.classes)
        done, count = turn[0] * len(samples) + i + 1, turn[1] * len(samples)
        yield Progress(done, count, "region")
    return table


def _of_kind(
    kind: type[Event], events: Generator[Event, None, Result]
) -> Generator[Event, None, Result]:
    """Hand on events of one kind only, and the result."""
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        if isinstance(event, kind):
            yield event


class _Reader:
    """Reads painted regions as a model wants them, once for all that want them alike."""

    def __init__(self, pairs: Sequence[TrainingPair], classes: int) -> None:
        self._pairs, self._classes = pairs, default_classes(classes)
        self._known: dict[Any, list[Sample]] = {}

    def read(self, model: Model) -> Generator[Event, None, list[Sample]]:
        card = model.card
        key = (card.normalization, card.diameter, card.pixel_size, card.in_channels,
               card.colour_order)  # fmt: skip
        if key not in self._known:
            # The card of what is painted: nothing derived, and its classes have no names.
            card = dataclasses.replace(
                card, classes=self._classes, num_classes=len(self._classes), result="classes"
            )
            # What it says of scale and classes matters to a training only.
            steps = prepare(self._pairs, card, card.in_channels, BLOCK + CONTEXT)
            whole = yield from _of_kind(Progress, steps)
            self._known[key] = regions(whole, MOST_REGIONS)
        return self._known[key]


def _candidates(
    models: Sequence[str | Path | Model] | None,
) -> tuple[list[tuple[str, str | Path | Model]], list[str]]:
    """Return the models to score with their names, and names of those that are not here."""
    entries = available_models()
    away = [entry.name for entry in entries if entry.path is None]
    if models is None:
        models = [entry.name for entry in entries]
    named = [(_name(model), model) for model in models]
    here = [(name, model) for name, model in named if model not in away]
    return here, [name for name, model in named if model in away]


def _name(model: str | Path | Model) -> str:
    if isinstance(model, Model):
        return model.card.name
    return model.stem if isinstance(model, Path) else model


def _fitted(model: Model, pairs: Sequence[TrainingPair]) -> tuple[Model, str]:
    """Return the model for the channels of the images, as a training would begin with it."""
    if model.card.members:
        raise InputError("it is an ensemble, and only its members can be trained further.")
    wanted = choose_channels(model.card, pairs)
    if wanted == model.card.in_channels:
        return model, ""
    adapted, messages = adapt(model, in_channels=wanted, classes=model.card.classes)
    return adapted, messages[1]


def _painted_classes(pairs: Sequence[TrainingPair]) -> int:
    """Return how many classes the painting has, background included, whatever their names."""
    most = 1
    for number, pair in enumerate(pairs, 1):
        if pair.annotation.of == "instances":
            continue
        highest = _highest(pair.annotation.labels) - (pair.annotation.meaning == "strokes")
        if highest >= MOST_CLASSES:
            who = f"Image {number}" + (f" ({pair.name})" if pair.name else "")
            raise InputError(
                f"{who}: it is painted with {highest} different values. If each is an object of "
                f"its own, say that they are instances; there can be {MOST_CLASSES} classes."
            )
        most = max(most, highest)
    return most + 1


def _highest(labels: Any) -> int:
    """Return the highest value of an annotation, which may be lazy."""
    array = labels if isinstance(getattr(labels, "dtype", None), np.dtype) else np.asarray(labels)
    if array.dtype.kind not in "bui" or array.ndim < 2:
        return 0  # reading it says what is wrong
    shape = array.shape
    blocks = block_grid((shape[-2], shape[-1]), (_READ, _READ))
    return max(
        (
            int(np.asarray(array[(*index, *block)]).max(initial=0))
            for index in np.ndindex(*shape[:-2])
            for block in blocks
        ),
        default=0,
    )


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"


def _named(model: Ranked) -> str:
    licence = " (its licence forbids some uses)" if model.licence else ""
    return f"“{model.name}” {_percent(model.score)}{licence}"
