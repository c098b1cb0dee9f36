"""Fine-tuning as one plain call."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .driving import EventHandler, Result, download, drive
from .engine import weights
from .engine.cards import COUNT
from .engine.errors import InputError, SA2NetError
from .engine.events import Event, Message
from .engine.fields import check_value, checked
from .engine.training import fine_tuning, ranking, states
from .engine.training.control import Control
from .engine.training.fine_tuning import FineTuned
from .engine.training.pairs import Meaning, Of
from .engine.training.ranking import Suggestion
from .engine.training.reading import read_pairs
from .engine.training.settings import FineTuneSettings
from .engine.weights import ClassInfo, Model

logger = logging.getLogger(__name__)

_BUDGETS = ("minutes", "epochs", "steps")
GOES_ON = "The training that was kept goes on: images and options are those it began with."
_ABOUT_IMAGES = ("axes", "rgb", "channels", "planes", "position", "diameter", "pixel_size")


@checked
def fine_tune(
    images: Any = None,
    annotations: Any = None,
    model: str | Path | Model | None = "nuclei",
    device: str = "auto",
    *,
    meaning: Meaning = "strokes",
    of: Of = "classes",
    classes: Sequence[ClassInfo | str] | None = None,
    name: str = "",
    output: str | Path | None = None,
    state: str | Path | None = None,
    keep_worse: bool = False,
    control: Control | None = None,
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> FineTuned:
    """Adapt a model to painted images.

    Parameters
    ----------
    images
        What :func:`segment` takes, or a list of such, or folders and patterns of files.
    annotations
        Whole numbers of the images' shapes without their channels: arrays, one each, or label
        images of the same names. Not needed where ``state`` holds a training to go on with.
    model
        To start from; None: from scratch.
    meaning
        ``"strokes"``: 0 is not painted, 1 background, 2 and more the classes. ``"mask"``: all
        is annotated, 0 is background, 1 and more the classes.
    of
        ``"classes"``, or ``"instances"`` where every object has a number of its own.
    classes
        New classes, the background first; by default those of the start model.
    name
        Of the new model.
    output
        Where to save it (``.safetensors``); a model that is worse than the start model is not
        saved, except with ``keep_worse``.
    state
        Folder in which the training is kept as it goes on. If it holds one, that one goes on.
    keep_worse
        Return the new model also where it is worse than the start model.
    control
        A :class:`~napari_sa2net.engine.training.control.Control`: its ``stop()``, called
        from anywhere, ends the training with the best so far.
    **options
        Fields of :class:`~napari_sa2net.engine.training.settings.FineTuneSettings` (``minutes``,
        or ``epochs`` or ``steps``, ``learning_rate``, ``seed``, …), ``base_channels`` for a
        network from scratch, and for all images ``axes``, ``rgb``, ``channels``, ``planes``,
        ``position``, ``diameter`` and ``pixel_size``.

    Returns
    -------
    FineTuned
        A model for :func:`segment`: the new one, or the start model if the new one is worse;
        with ``comparison``, ``trained`` and ``history``.

    Raises
    ------
    InputError
        If images, annotations and options do not fit.
    WeightsError, DeviceError, TrainingError
        If the start model or the device cannot be used, or the training fails.
    """
    if output is not None:  # now, and not after the training
        weights.check_output(output)
    download(model, progress, on_event)
    folder = Path(state) if state is not None else None
    if output is not None:
        name = name or Path(output).name.removesuffix(".safetensors")
    running: dict[str, Any] = {"device": device, "control": control, "keep_worse": keep_worse}
    if folder is not None and (images is None or holds_training(folder)):
        work = fine_tuning.resume(folder, **running)
        if images is not None or options:
            work = _telling([GOES_ON], work)
    elif images is None or annotations is None:
        raise InputError("Give images and annotations, or the folder of a training as state.")
    else:
        if folder is None and output is not None:
            folder = states.new_state(name)  # so that nothing is lost if the model cannot be saved
        settings, about_images, more = _sorted_options(options)
        pairs, remarks = read_pairs(images, annotations, meaning, of, **about_images)
        more |= {"name": name, "classes": classes, "state": folder}
        work = _telling(remarks, fine_tuning.fine_tune(pairs, model, settings, **more, **running))
    tuned = _train(work, folder, progress, on_event)
    if output is not None:
        drive(_saving(tuned, output, folder), "Saving", progress, on_event)
        if state is None and folder is not None and is_new(tuned):
            _discard(folder)
    return tuned


@checked
def suggest_start(
    images: Any,
    annotations: Any,
    models: Sequence[str | Path | Model] | None = None,
    device: str = "auto",
    *,
    meaning: Meaning = "strokes",
    of: Of = "classes",
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> Suggestion:
    """Rank models by how well they tell apart what is painted, to choose one to fine-tune.

    Parameters
    ----------
    images, annotations, meaning, of
        As for :func:`fine_tune`.
    models
        Names, model files or models; None: all that are here. None is ever downloaded.
    **options
        For all images ``axes``, ``rgb``, ``channels``, ``planes``, ``position``, ``diameter``
        and ``pixel_size``.

    Returns
    -------
    Suggestion
        With ``best``, whether it is ``known`` to be better than chance, the ``ranking``, and
        ``text`` and ``table()`` for a person.

    Raises
    ------
    InputError
        If images, annotations and options do not fit, or too little is painted.
    DeviceError
        If the device cannot be used.
    """
    unknown = sorted(set(options) - set(_ABOUT_IMAGES))
    if unknown:
        raise InputError(
            f"Unknown option {', '.join(unknown)}. Known are {', '.join(sorted(_ABOUT_IMAGES))}."
        )
    pairs, remarks = read_pairs(images, annotations, meaning, of, **options)
    work = _telling(remarks, ranking.suggest_start(pairs, models, device=device))
    return drive(work, "Trying the models", progress, on_event)


def _train(
    work: Generator[Event, None, FineTuned],
    folder: Path | None,
    progress: bool,
    on_event: EventHandler | None,
) -> FineTuned:
    """Run a training; a folder that it made and left empty is removed if it fails."""
    fresh = folder is not None and not os.path.lexists(folder)
    try:
        return drive(work, "Training", progress, on_event)
    except BaseException:
        if folder is not None and fresh:
            _remove_empty(folder)
        raise


def is_new(tuned: FineTuned) -> bool:
    """Tell whether the result is the new model, not the start model."""
    return tuned.network is tuned.trained.network


def holds_training(folder: Path) -> bool:
    """Tell whether a folder holds a training to go on with."""
    return (folder / states.PLAN).is_file()


def _telling(
    remarks: Sequence[str], work: Generator[Event, None, Result]
) -> Generator[Event, None, Result]:
    for text in remarks:
        yield Message(text)
    return (yield from work)


def _saving(
    tuned: FineTuned, output: str | Path, state: Path | None
) -> Generator[Event, None, None]:
    again = f"napari_sa2net.fine_tune(state={str(state)!r}, output=…"
    if not is_new(tuned):
        text = f"{output} is not written, because the new model is worse than the start model."
        more = f" {again}, keep_worse=True) writes it all the same."
        yield Message(text + more, warning=True)
        return
    try:
        weights.save_model(tuned, output)
    except SA2NetError as error:
        raise type(error)(f"{error} Nothing is lost: {again}) saves it then.") from error


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a training that did not even begin."""
    try:
        folder.rmdir()
    except OSError:  # there is something in it, or nothing was made
        logger.debug("%s stays", folder)


def _discard(state: Path) -> None:
    try:
        states.delete_state(state)
    except SA2NetError as error:
        logger.warning("The state of a training that is over stays: %s", error)


def _sorted_options(
    options: dict[str, Any],
) -> tuple[FineTuneSettings, dict[str, Any], dict[str, Any]]:
    """Return settings, options of the images, and the width of a network from scratch."""
    options = {name: value for name, value in options.items() if value is not None}
    known = {field.name for field in fields(FineTuneSettings)}
    about_images = {name: options.pop(name) for name in _ABOUT_IMAGES if name in options}
    width = {name: options.pop(name) for name in ("base_channels",) if name in options}
    unknown = sorted(set(options) - known)
    if unknown:
        raise InputError(
            f"Unknown option {', '.join(unknown)}. Known are "
            f"{', '.join(sorted(known | {'base_channels', *_ABOUT_IMAGES}))}."
        )
    budgets = [name for name in _BUDGETS if name in options]
    if len(budgets) > 1 and "budget" not in options:
        raise InputError(f"Give one of {', '.join(budgets)}, not several.")
    if len(budgets) == 1:
        options.setdefault("budget", budgets[0])
    if width:
        name, value = next(iter(width.items()))
        width = {name: check_value(name, value, int, **COUNT)}
    return FineTuneSettings(**options), about_images, width
