"""Plain calls that drive the engine's generators to their end.

Every ``model=`` takes the name of a known model, the path of a model file, or a
:class:`~napari_sa2net.engine.weights.Model`. ``progress=True`` shows a bar on stderr;
``on_event`` is called with every event and may raise to stop the work. Warnings of the engine
are given as Python warnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .driving import EventHandler, download, drive
from .engine import evaluation, joining, official, weights
from .engine.evaluation import Evaluation
from .engine.fields import checked
from .engine.processes import ProcessPlace
from .engine.training import recipes
from .engine.weights import Model
from .segmenting import load_model, measure, ready, segment, segment_files, segment_to_zarr
from .tuning import fine_tune, suggest_start

__all__ = [
    "evaluate",
    "fine_tune",
    "import_checkpoint",
    "join_models",
    "load_model",
    "measure",
    "segment",
    "segment_files",
    "segment_to_zarr",
    "suggest_start",
    "train",
]


@checked
def import_checkpoint(path: str | Path) -> Model:
    """Read a checkpoint of the SA2-Net authors, in either of their formats.

    Raises
    ------
    WeightsError
        If the file is no such checkpoint; the message tells what is missing or misshapen.
    """
    return official.import_checkpoint(path)


@checked
def join_models(
    models: Sequence[str | Path | Model],
    name: str = "ensemble",
    output: str | Path | None = None,
    *,
    progress: bool = False,
    on_event: EventHandler | None = None,
) -> Model:
    """Make an ensemble: one model whose probabilities and maps are the mean of several.

    It takes as many times as long as it has members.

    Parameters
    ----------
    models
        Two or more, of the same channels, classes, width, normalisation and scale, such as
        those of the folds of one recipe.
    name
        Of the new model.
    output
        Where to save it (``.safetensors``); not saved if not given.

    Raises
    ------
    WeightsError
        If a model cannot be had, one is given twice, or they differ; the message says in what.
    """
    if output is not None:
        weights.check_output(output)
    for model in models:
        download(model, progress, on_event)
    joined = joining.join_models(models, name)
    if output is not None:
        weights.save_model(joined, output)
    return joined


@checked
def train(
    recipe: str | Path,
    data: str | Path,
    output: str | Path | None = None,
    device: str = "auto",
    *,
    checkpoint: str | Path | None = None,
    fold: str | None = None,
    progress: bool = False,
    on_event: EventHandler | None = None,
) -> Model:
    """Train a model as a recipe says.

    In processes that ``torchrun`` has started, all train together, and the first one writes.

    Parameters
    ----------
    recipe
        TOML file, see ``recipes/``.
    data
        Folder that holds the recipe's data sets.
    output
        Where to save the model (``.safetensors``); not saved if not given.
    checkpoint
        File in which the state of the training is kept; if it exists, training goes on from it.
    fold
        Hold out the images of this fold of the recipe too, for cross-validation.

    Raises
    ------
    InputError, TrainingError
        If the recipe, the data or the checkpoint does not fit.
    """
    if output is not None:  # now, and not after the training
        weights.check_output(output)
    state = None if checkpoint is None else Path(checkpoint)
    work = recipes.train(recipe, data, device, state, fold)
    model: Model = drive(work, "Training", progress, on_event)
    if output is not None and ProcessPlace.of_environment().first:
        weights.save_model(model, output)
    return model


@checked
def evaluate(
    images: Any,
    masks: Any,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    names: Sequence[str] | None = None,
    iou_threshold: float = 0.5,
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> Evaluation:
    """Segment images and compare the results with their true masks.

    Parameters
    ----------
    images, masks
        Arrays (one, or a list), or paths: files, folders or patterns. Files belong together if
        their names without the ending are equal; one file each always does. In a mask 0 is
        background and every object has a number of its own.
    names
        Use only the images of these names.
    iou_threshold
        From which IoU on an object counts as found.
    **options
        As for :func:`segment`.

    Returns
    -------
    Evaluation
        With a row for each image and ``means``; ``table()`` and ``to_json()`` show it.
    """
    loaded = ready(model, progress, on_event)
    work = evaluation.evaluate(
        images,
        masks,
        loaded,
        names=names,
        iou_threshold=iou_threshold,
        options={**options, "device": device},
    )
    return drive(work, "Evaluating", progress, on_event)
