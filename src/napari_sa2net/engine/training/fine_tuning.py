"""Adapting a model to painted labels: :func:`fine_tune`, a generator of events."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..events import Compared, Evaluated, Event, Message
from ..weights import ClassInfo, Model, ModelCard, check_trainable, load_model
from . import states
from .adapt import adapt
from .checkpoints import read_checkpoint
from .comparison import Comparison
from .control import Control
from .job import IDENTITY, FineTuned, Job, LookAt, Preview, choose_result
from .painting import TrainingPair, prepare
from .settings import FineTuneSettings
from .targets import choose_channels, choose_classes, facts_of, working_card

__all__ = ["Control", "FineTuned", "Preview", "fine_tune", "resume"]


def fine_tune(
    pairs: Sequence[TrainingPair],
    model: str | Path | Model | None = "nuclei",
    settings: FineTuneSettings | None = None,
    *,
    name: str = "",
    classes: Sequence[ClassInfo | str] | None = None,
    base_channels: int = 16,
    device: str = "auto",
    state: str | Path | None = None,
    control: Control | None = None,
    preview: LookAt | None = None,
    preview_every: float = 5.0,
    keep_worse: bool = False,
) -> Generator[Event, None, FineTuned]:
    """Adapt a model to painted images.

    Parameters
    ----------
    pairs
        Images with their annotations.
    model
        To start from, which is not changed; None: from scratch.
    settings
        See :class:`FineTuneSettings`.
    name
        Of the new model.
    classes
        New classes, background first; None keeps the start model's. Those of known names keep
        what the model knows of them.
    base_channels
        Width of a model from scratch.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``, ….
    state
        A new folder in which the training is kept as it goes on, for :func:`resume`.
    control
        Ends the training early, with the best so far.
    preview
        Asked between steps for an image to show the progress on; may return None.
    preview_every
        Least seconds between two previews.
    keep_worse
        Return the trained model also where it is worse than the start model.

    Yields
    ------
    Event
        :class:`Message`, :class:`StepDone`, :class:`Evaluated`, :class:`Previewed`,
        :class:`Compared`. Closing the generator ends the training with its state saved.

    Raises
    ------
    InputError
        If image, annotation and model do not fit each other; the message names the image. If
        the model is an ensemble; the message names its members.
    WeightsError
        If the start model cannot be had.
    TrainingError
        If the loss is no longer finite, or ``state`` holds another training.
    DeviceError
        If the device is missing, or its memory ran out for good.
    """
    settings = settings or FineTuneSettings()
    folder = Path(state) if state is not None else None
    if folder is not None:
        states.ready(folder)
    with states.running(folder) if folder is not None else nullcontext():
        job = yield from _prepared(
            pairs, model, settings, name, classes, base_channels, folder, keep_worse
        )
        job.control, job.look, job.look_every = control, preview, preview_every
        yield from job.begin()
        return (yield from job.run(device))


def _prepared(
    pairs: Sequence[TrainingPair],
    model: str | Path | Model | None,
    settings: FineTuneSettings,
    name: str,
    classes: Sequence[ClassInfo | str] | None,
    base_channels: int,
    folder: Path | None,
    keep_worse: bool,
) -> Generator[Event, None, Job]:
    """Read what is painted, and make what is to be trained."""
    start = load_model(model) if model is not None else None
    parent = start.card if start is not None else None
    if parent is not None:
        check_trainable(parent)
    chosen = choose_classes(parent, classes, pairs)
    in_channels = choose_channels(parent, pairs)
    made, messages = adapt(
        start,
        in_channels=in_channels,
        classes=chosen,
        base_channels=base_channels,
        seed=settings.seed,
    )
    for text in messages:
        yield Message(text)
    card = working_card(made.card, parent, pairs)
    samples = yield from prepare(pairs, card, in_channels, settings.patch)
    plan: dict[str, Any] = {
        "name": name or (f"{parent.name}-tuned" if parent is not None else "my-model"),
        "settings": dataclasses.asdict(settings),
        "card": card.to_dict(),
        "facts": facts_of(pairs, samples, card),
        "scratch": start is None,
        "keep_worse": keep_worse,
    }
    return Job(Model(made.network, card), start, samples, settings, plan, folder)


def resume(
    state: str | Path,
    *,
    device: str = "auto",
    control: Control | None = None,
    preview: LookAt | None = None,
    preview_every: float = 5.0,
    keep_worse: bool | None = None,
) -> Generator[Event, None, FineTuned]:
    """Go on with a training from its folder alone; one that is finished gives its result.

    Under a budget of steps it ends as it would have done without a pause. Parameters, events
    and errors are those of :func:`fine_tune`; the evaluations so far come again as events.
    """
    folder = Path(state)
    states.read_plan(folder)  # there is one
    with states.running(folder):
        return (yield from _resumed(folder, device, control, preview, preview_every, keep_worse))


def _resumed(
    folder: Path,
    device: str,
    control: Control | None,
    preview: LookAt | None,
    preview_every: float,
    keep_worse: bool | None,
) -> Generator[Event, None, FineTuned]:
    plan = states.read_plan(folder)
    try:
        settings = FineTuneSettings(**plan["settings"])
        card = ModelCard.from_dict(plan["card"])
        start = None if plan["scratch"] else load_model(folder / states.START)
        if keep_worse is not None:
            plan["keep_worse"] = keep_worse
        if plan["finished"]:
            return (yield from _finished(folder, plan, start))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TrainingError(
            f"The training in {folder} is damaged ({error}): train anew."
        ) from error
    samples = states.read_samples(folder)
    made, _ = adapt(
        start,
        in_channels=card.in_channels,
        classes=card.classes,
        base_channels=card.base_channels,
        seed=settings.seed,
    )
    job = Job(Model(made.network, card), start, samples, settings, plan, folder)
    job.control, job.look, job.look_every = control, preview, preview_every
    if (folder / states.STATE).exists():
        job.saved = read_checkpoint(folder / states.STATE, IDENTITY)
    return (yield from job.run(device))


def _finished(
    folder: Path, plan: dict[str, Any], start: Model | None
) -> Generator[Event, None, FineTuned]:
    trained = load_model(folder / states.TRAINED)
    table = dict(trained.card.extra["comparison"])
    low, high = table.pop("interval", None) or (None, None)
    table = {"before": None, "after": None, **table}  # a card leaves out what is not known
    table["per_class"] = {name: tuple(pair) for name, pair in table["per_class"].items()}
    comparison = Comparison(**table, low=low, high=high)
    history = tuple(
        Evaluated(int(s), f, bool(b)) for s, f, b in trained.card.extra["training"]["history"]
    )
    yield from history
    yield Compared(comparison)
    return choose_result(start, trained, comparison, history, plan["keep_worse"])
