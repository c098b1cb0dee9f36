"""Plain calls that drive the engine's generators to their end.

Every ``model=`` takes the name of a known model, the path of a model file, or a
:class:`~napari_sa2net.engine.weights.Model`. ``progress=True`` shows a bar on stderr;
``on_event`` is called with every event and may raise to stop the work. Warnings of the engine
are given as Python warnings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .driving import EventHandler, download, drive
from .engine import devices, evaluation, inference, joining, official, weights
from .engine.batch.files import Batch, BatchResult, Existing
from .engine.batch.files import segment_files as batch_steps
from .engine.evaluation import Evaluation
from .engine.files import ImageFile, read_image
from .engine.inference import Segmentation
from .engine.measuring.objects import channels_of, objects_of
from .engine.measuring.table import Table
from .engine.measuring.table import measure as measuring_steps
from .engine.options import file_options, resolve_options
from .engine.training import recipes
from .engine.weights import Model
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
    "suggest_start",
    "train",
]


def load_model(
    model: str | Path | Model = "nuclei",
    device: str = "cpu",
    *,
    progress: bool = False,
    on_event: EventHandler | None = None,
) -> Model:
    """Return a model, after downloading it if it is a known one that is not here yet.

    Parameters
    ----------
    model
        A name as ``sa2net models`` lists them, the path of a model file, or a ``Model``.
    device
        Where its network is put; ``"auto"`` for the fastest there is.

    Returns
    -------
    Model
        With ``network`` and ``card``.

    Raises
    ------
    WeightsError
        If the model is unknown, cannot be downloaded, or its file is unusable.
    """
    chosen = device if device == "cpu" else devices.choose_device(device).device
    download(model, progress, on_event)
    return weights.load_model(model, chosen)


def _ready(model: str | Path | Model, progress: bool, on_event: EventHandler | None) -> Model:
    """Load a model for a run; the caller's own is left on its device and in its mode."""
    if isinstance(model, Model):
        return model
    return load_model(model, progress=progress, on_event=on_event)


def import_checkpoint(path: str | Path) -> Model:
    """Read a checkpoint of the SA2-Net authors, in either of their formats.

    Raises
    ------
    WeightsError
        If the file is no such checkpoint; the message tells what is missing or misshapen.
    """
    return official.import_checkpoint(path)


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
    for model in models:
        download(model, progress, on_event)
    joined = joining.join_models(models, name)
    if output is not None:
        weights.save_model(joined, output)
    return joined


def segment(
    image: Any,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> Segmentation:
    """Segment an image.

    Parameters
    ----------
    image
        A NumPy, dask or zarr array, several of one shape as channels, an ``ImageFile``, or the
        path of an image, whose axes and pixel size are then used.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ….
    **options
        Fields of :class:`~napari_sa2net.engine.inference.SegmentOptions` (``axes``,
        ``channels``, ``diameter``, ``pixel_size`` in µm, ``keep``, …) and of
        :class:`~napari_sa2net.engine.instances.LabelSettings` (``threshold``, ``min_size``,
        ``split``, ``result``, ``link``, …).

    Returns
    -------
    Segmentation
        With ``labels``, ``probabilities``, ``stages``, ``attention`` and ``disagreement``; of
        the last three, what was not asked for with ``keep`` is None.

    Raises
    ------
    InputError
        If the image or an option does not fit.
    WeightsError, DeviceError
        If the model or the device cannot be used.
    """
    loaded = _ready(model, progress, on_event)
    if isinstance(image, (str, Path)):
        image = read_image(image)
    if isinstance(image, ImageFile):
        options = {**file_options(image), **{k: v for k, v in options.items() if v is not None}}
        image = image.array
    resolved = resolve_options(loaded.card, device=device, **options)
    work = inference.segment(image, loaded, resolved)
    return drive(work, "Segmenting", progress, on_event)


def segment_files(
    images: str | Path | Iterable[str | Path],
    output: str | Path,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    save: Sequence[str] = ("table",),
    existing: Existing = "resume",
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> BatchResult:
    """Segment many image files and write labels and measurements into a folder.

    Parameters
    ----------
    images
        A file, a folder or a pattern, or several.
    output
        Folder for the results, as ``sa2net segment`` writes them.
    save
        What to write besides the labels: ``"table"``, ``"geojson"``, ``"rois"``,
        ``"probabilities"``, ``"stages"``, ``"attention"``, ``"disagreement"``.
    existing
        ``"resume"`` skips what is done with the same model and settings, ``"replace"`` makes
        it again, ``"keep"`` counts it as failed.
    **options
        As for :func:`segment`.

    Returns
    -------
    BatchResult
        With ``done``, ``skipped`` and ``failed``; a file that fails does not stop the others.

    Raises
    ------
    InputError, SA2NetError
        If an option does not fit, or nothing can be written into the folder.
    """
    loaded = _ready(model, progress, on_event)
    batch = Batch(Path(output), tuple(save), existing, {**options, "device": device})
    paths = [images] if isinstance(images, (str, Path)) else images
    return drive(batch_steps(paths, loaded, batch), "Segmenting", progress, on_event)


def measure(result: Segmentation, image: Any = None) -> Table:
    """Measure the objects of a segmentation.

    Parameters
    ----------
    result
        As :func:`segment` returned it.
    image
        What was segmented, to measure the intensity of its channels: an array with the axes
        that ``segment`` was given, an ``ImageFile``, or a path, which also tells the pixel size.

    Returns
    -------
    dict
        Columns, see :func:`napari_sa2net.engine.measuring.table.measure`.

    Raises
    ------
    InputError
        If image and result do not belong together.
    """
    file = read_image(image) if isinstance(image, (str, Path)) else image
    sizes: dict[str, float] = {}
    given = result.options.pixel_size
    if given is not None:
        sizes = dict(zip("YX", given if isinstance(given, tuple) else (given, given), strict=True))
    channels = None
    if isinstance(file, ImageFile):
        channels = channels_of(file.array, file.axes, rgb=file.rgb, names=file.channel_names)
        sizes = {**file.calibration, **sizes}
    elif file is not None:
        channels = channels_of(file, result.options.axes or "", rgb=result.options.rgb)
    return drive(measuring_steps(objects_of(result), channels, sizes), "", False, None)


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
    state = None if checkpoint is None else Path(checkpoint)
    work = recipes.train(recipe, data, device, state, fold)
    model: Model = drive(work, "Training", progress, on_event)
    if output is not None:
        weights.save_model(model, output)
    return model


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
    loaded = _ready(model, progress, on_event)
    work = evaluation.evaluate(
        images,
        masks,
        loaded,
        names=names,
        iou_threshold=iou_threshold,
        options={**options, "device": device},
    )
    return drive(work, "Evaluating", progress, on_event)
