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
from .engine import devices, evaluation, inference, official, weights
from .engine.blocks import job
from .engine.blocks.job import ZarrResult
from .engine.blocks.plan import BlockOptions
from .engine.errors import InputError
from .engine.evaluation import Evaluation
from .engine.files import ImageFile, read_image
from .engine.inference import Segmentation
from .engine.options import resolve_options
from .engine.training import recipes
from .engine.weights import Model
from .tuning import fine_tune

__all__ = [
    "evaluate",
    "fine_tune",
    "import_checkpoint",
    "load_model",
    "segment",
    "segment_to_zarr",
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
    image, _, options = _opened(image, options)
    resolved = resolve_options(loaded.card, device=device, **options)
    work = inference.segment(image, loaded, resolved)
    return drive(work, "Segmenting", progress, on_event)


def segment_to_zarr(
    image: Any,
    output: str | Path,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    resume: bool = False,
    overwrite: bool = False,
    blocks: BlockOptions | None = None,
    progress: bool = False,
    on_event: EventHandler | None = None,
    **options: Any,
) -> ZarrResult:
    """Segment an image of any size block by block, and write the labels as an OME-Zarr pyramid.

    Memory does not grow with the image. The labels are those of :func:`segment` but for their
    numbers.

    Parameters
    ----------
    image
        As for :func:`segment`; only windows of it are read.
    output
        The OME-Zarr folder to write. Until it is complete, it holds working files of up to
        2 bytes a class and pixel and 4 more.
    resume
        Go on with a result that was interrupted; there need not be one.
    overwrite
        Replace a result that exists.
    blocks
        See :class:`~napari_sa2net.engine.blocks.plan.BlockOptions`.
    **options
        As for :func:`segment`, but for ``keep``, ``link``, ``map_planes`` and ``relabel``.

    Returns
    -------
    ZarrResult
        With ``labels``, a zarr array, ``count``, ``skipped`` and ``messages``.

    Raises
    ------
    InputError
        If the image or an option does not fit, or the output exists, or belongs to another
        image, model or settings.
    SA2NetError
        If the model or the device cannot be used, or the output cannot be written.
    """
    loaded = _ready(model, progress, on_event)
    array, sizes, options = _opened(image, options, output)
    resolved = resolve_options(loaded.card, device=device, **options)
    work = job.segment_to_zarr(
        array, output, loaded, resolved, blocks, sizes=sizes, resume=resume, overwrite=overwrite
    )
    return drive(work, "Segmenting", progress, on_event)


def _opened(
    image: Any, options: dict[str, Any], output: str | Path | None = None
) -> tuple[Any, dict[str, float], dict[str, Any]]:
    """Return an image's array, its pixel sizes, and the options with what its file tells."""
    if isinstance(image, (str, Path)):
        image = read_image(image)
    if not isinstance(image, ImageFile):
        return image, {}, options
    if output is not None:
        written, read = Path(output).resolve(), image.path.resolve()
        if written == read or written in read.parents or read in written.parents:
            raise InputError(f"The result would replace the image {image.path}: give another name.")
    known = {**file_options(image), **{k: v for k, v in options.items() if v is not None}}
    sizes = dict(image.calibration)
    if options.get("pixel_size"):
        both = options["pixel_size"]
        sizes["Y"], sizes["X"] = both if isinstance(both, (tuple, list)) else (both, both)
    return image.array, sizes, known


def file_options(image: ImageFile) -> dict[str, Any]:
    """Return the options that an image file itself tells: axes, colours and pixel size."""
    return {"axes": image.axes, "rgb": image.rgb, "pixel_size": image.pixel_size}


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
