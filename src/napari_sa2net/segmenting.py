"""Segmenting as plain calls: one image, many files, or an image of any size."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .driving import EventHandler, download, drive
from .engine import devices, inference, weights
from .engine.axes import as_image_axes, guess_axes
from .engine.batch.files import Batch, BatchResult, Existing
from .engine.batch.files import segment_files as batch_steps
from .engine.blocks import job
from .engine.blocks.plan import BlockOptions
from .engine.blocks.result import ZarrResult
from .engine.blocks.sending import FileArray
from .engine.calibration import sizes_yx
from .engine.errors import InputError
from .engine.events import Event, Message
from .engine.fields import checked
from .engine.files import ImageFile, read_image
from .engine.found import COUNTED_TWICE
from .engine.image_file import file_options
from .engine.images import is_dask, with_known_shape
from .engine.inference import Segmentation
from .engine.measuring.objects import channels_of, objects_of
from .engine.measuring.pieces import pieces_apart
from .engine.measuring.table import Table
from .engine.measuring.table import measure as measuring_steps
from .engine.options import resolve_options
from .engine.positions import check_position, count_positions
from .engine.weights import Model

Result = TypeVar("Result", Segmentation, ZarrResult)


@checked
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


def ready(model: str | Path | Model, progress: bool, on_event: EventHandler | None) -> Model:
    """Load a model for a run; the caller's own is left on its device and in its mode."""
    if isinstance(model, Model):
        return model
    return load_model(model, progress=progress, on_event=on_event)


@checked
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
    loaded = ready(model, progress, on_event)
    image = _read(image, options)
    array, _, options = _opened(image, options)
    resolved = resolve_options(loaded.card, device=device, **options)
    work = _telling(image, inference.segment(array, loaded, resolved))
    return drive(work, "Segmenting", progress, on_event)


@checked
def segment_to_zarr(
    image: Any,
    output: str | Path,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    save: str | Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    blocks: BlockOptions | None = None,
    scheduler: str | None = None,
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
    save
        What to write beside the result: ``"table"``, ``"geojson"``, ``"rois"``. Of
        ``cells.ome.zarr`` these are ``cells_table.csv``, ``cells_outlines.geojson`` and
        ``cells_rois.zip``. The outlines of classes are cut at the blocks' sides.
    resume
        Go on with a result that was interrupted; there need not be one. A complete one is
        measured, if ``save`` asks for files that are not there.
    overwrite
        Replace a result that exists.
    blocks
        See :class:`~napari_sa2net.engine.blocks.plan.BlockOptions`.
    scheduler
        Address of a dask scheduler, as ``"tcp://10.0.0.1:8786"``: its workers do the blocks.
        They need this package with its extra ``cluster``, and a disk on which they see image and
        output under the same paths. The image is given as a path, or as an array that holds no
        pixels itself (zarr, dask); the model is sent. ``device`` is that of each worker.
    **options
        As for :func:`segment`, but for ``keep``, ``link``, ``map_planes`` and ``relabel``.

    Returns
    -------
    ZarrResult
        With ``labels``, a zarr array, ``count``, ``skipped``, ``saved`` and ``messages``.

    Raises
    ------
    InputError
        If the image or an option does not fit, or the output exists, or belongs to another
        image, model or settings, or the workers cannot do it.
    SA2NetError
        If the model or the device cannot be used, the output cannot be written, or the
        scheduler does not answer.
    """
    loaded = ready(model, progress, on_event)
    image = _read(image, options)
    names = image.channel_names if isinstance(image, ImageFile) else ()
    array, sizes, options = _opened(image, options, output)
    resolved = resolve_options(loaded.card, device=device, **options)
    work = job.segment_to_zarr(
        array,
        output,
        loaded,
        resolved,
        blocks,
        sizes=sizes,
        channel_names=names,
        save=(save,) if isinstance(save, str) else tuple(save),
        resume=resume,
        overwrite=overwrite,
        scheduler=scheduler,
    )
    return drive(_telling(image, work), "Segmenting", progress, on_event)


def _telling(image: Any, work: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
    """Do the work, and tell what is to be said of the image's file and of what was found."""
    if isinstance(image, ImageFile) and image.remark:
        yield Message(image.remark, warning=True)
    result = yield from work
    if result.unlinked:
        yield Message(COUNTED_TWICE)
    return result


def _read(image: Any, options: Mapping[str, Any]) -> Any:
    """Return an image as it is segmented: of a path, or of another position, it is read."""
    axes, position = options.get("axes"), options.get("position")
    if isinstance(image, (str, Path)):
        return read_image(image, axes=axes, position=position)
    if position is None or isinstance(image, (list, tuple)):
        return image
    if isinstance(image, ImageFile):
        asked = image.asked.get("position")
        if asked == position or not image.path.name:
            return image
        return read_image(image.path, axes=axes or image.asked.get("axes"), position=position)
    image = with_known_shape(image) if is_dask(image) else image
    shape = np.shape(image)
    letters = str(axes or guess_axes(shape)).upper()
    if len(letters) == len(shape):  # what does not fit is told later
        count = count_positions(as_image_axes(letters, shape), shape)
        check_position(position, count, "the image")
    return image


def _opened(
    image: Any, options: dict[str, Any], output: str | Path | None = None
) -> tuple[Any, dict[str, float], dict[str, Any]]:
    """Return an image's array, its pixel sizes, and the options with what its file tells."""
    if not isinstance(image, ImageFile):
        return image, {}, options
    if output is not None:
        written, read = Path(output).resolve(), image.path.resolve()
        if written == read or written in read.parents or read in written.parents:
            raise InputError(f"The result would replace the image {image.path}: give another name.")
    known = file_options(image, options)
    sizes = dict(image.calibration)
    if options.get("pixel_size") is not None:
        sizes.update(sizes_yx(options["pixel_size"]))
    # Whoever else works on the image opens its file.
    array = FileArray(image) if image.path.name else image.array
    return array, sizes, known


@checked
def segment_files(
    images: str | Path | Iterable[str | Path],
    output: str | Path,
    model: str | Path | Model = "nuclei",
    device: str = "auto",
    *,
    save: str | Sequence[str] | None = ("table",),
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
    loaded = ready(model, progress, on_event)
    kinds = (save,) if isinstance(save, str) else tuple(save or ())
    batch = Batch(Path(output), kinds, existing, {**options, "device": device})
    paths = [images] if isinstance(images, (str, Path)) else images
    return drive(batch_steps(paths, loaded, batch), "Segmenting", progress, on_event)


@checked
def measure(result: Segmentation, image: Any = None) -> Table:
    """Measure the objects of a segmentation.

    Parameters
    ----------
    result
        As :func:`segment` returned it; its labels may have been edited since. An object in
        several pieces has a row for each.
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
    options = result.options
    file = image
    if isinstance(image, (str, Path, ImageFile)):
        file = _read(image, {"position": options.position})
    if isinstance(file, ImageFile) and len(options.axes or file.axes) != file.array.ndim:
        file = _read(file.path, {"axes": options.axes, "position": options.position})
    sizes: dict[str, float] = {}
    given = options.pixel_size
    if given is not None:
        sizes = sizes_yx(given)
    channels = None
    if isinstance(file, ImageFile):
        channels = channels_of(
            file.array,
            options.axes or file.axes,  # as they were when it was segmented
            rgb=options.rgb,
            names=file.channel_names,
            region=options.region,
        )
        sizes = {**file.calibration, **sizes}
    elif file is not None:
        channels = channels_of(
            file,
            options.axes or "",
            rgb=options.rgb,
            region=options.region,
            position=options.position,
        )
    objects = pieces_apart(objects_of(result, edited=True))
    return drive(measuring_steps(objects, channels, sizes), "", False, None)
