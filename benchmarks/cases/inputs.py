"""Images as arrays and as files, with options, through everything that can be done with them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cases.arrays import some_array, wrapped
from cases.checks import (
    check_labels_file,
    check_segmentation,
    check_table,
)
from cases.drawing import Draw
from cases.files import Made, some_file
from cases.networks import some_model
from cases.options import some_options
from cases.outcomes import Refused, Wrong


def run(draw: Draw, folder: Path) -> None:
    """Run a case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if draw.chance(0.55):
            _array(draw, folder)
        else:
            _file(draw, folder)


def _array(draw: Draw, folder: Path) -> None:
    """Segment an array, and do something with the result."""
    from napari_sa2net import segment

    model = some_model(draw)
    array, axes = some_array(draw)
    image = wrapped(draw, array, folder)
    options = some_options(draw, axes, channels=_channels(array.shape, axes, model))
    if draw.chance(0.06):
        _blocks(draw, folder, image, model, options)
        return
    result = segment(image, model, **options)
    shape = getattr(image, "shape", None)
    known = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)
    masked = isinstance(image, np.ma.MaskedArray)
    check_segmentation(result, shape if known else None, masked=masked)
    _after(draw, folder, result, image)


def _channels(shape: tuple[int, ...], axes: str, model: Any) -> tuple[int, int] | None:
    """Return how many channels an image has and the model takes; None: not known."""
    if len(axes) != len(shape):
        return None
    has = shape[axes.index("C")] if "C" in axes else 1
    return has, model.card.in_channels


def _after(draw: Draw, folder: Path, result: Any, image: Any) -> None:
    """Measure, label anew or save."""
    from napari_sa2net import measure
    from napari_sa2net.engine.batch.kinds import MAPS
    from napari_sa2net.engine.files import read_image, write_image, write_labels
    from napari_sa2net.engine.inference import relabel
    from napari_sa2net.engine.measuring.geojson import write_geojson
    from napari_sa2net.engine.measuring.objects import objects_of
    from napari_sa2net.engine.measuring.rois import write_rois
    from napari_sa2net.engine.measuring.table import write_table

    then = draw.weighted({"": 3, "measure": 2, "relabel": 1, "save": 3, "outlines": 1, "map": 0.5})
    if then:
        draw.say(then)
    if then == "measure":
        table = measure(result, image if draw.chance(0.7) else None)
        check_table(table, result)
        write_table(folder / "table.csv", table)
    elif then == "relabel" and result.probabilities is not None:
        if not np.array_equal(relabel(result, result.labelling), result.labels):
            raise Wrong("labels that are others when they are made again")
    elif then == "save":
        size = draw.among(None, 0.5, draw.logarithmic(1e-12, 1e12))
        sizes = {} if size is None else {axis: size for axis in "ZYX" if axis in result.axes}
        write_labels(folder / "labels.ome.tif", result.labels, result.axes, sizes)
        check_labels_file(folder / "labels.ome.tif", result.labels, result.axes, sizes)
    elif then == "outlines":
        for _ in write_geojson(folder / "outlines.geojson", objects_of(result)):
            pass
        for _ in write_rois(folder / "rois.zip", objects_of(result)):
            pass
    elif then == "map":
        kept = [n for n in MAPS if getattr(result, n) is not None]
        for name in kept:
            array = getattr(result, name)
            axes = "C" * (array.ndim - len(result.axes)) + result.axes
            write_image(folder / f"{name}.ome.tif", array, axes)
            again = np.asarray(read_image(folder / f"{name}.ome.tif").array)
            if again.size != array.size:
                raise Wrong("a file of another size", f"{name}: {again.shape}, {array.shape}")


def _blocks(draw: Draw, folder: Path, image: Any, model: Any, options: dict[str, Any]) -> None:
    """Segment block by block, and compare with what comes of the whole."""
    from napari_sa2net import segment, segment_to_zarr
    from napari_sa2net.engine.blocks.plan import BlockOptions
    from napari_sa2net.engine.errors import SA2NetError

    draw.say("block by block")
    blocks = BlockOptions(side=32, chunk=16)
    found = segment_to_zarr(image, folder / "out.ome.zarr", model, blocks=blocks, **options)
    labels = np.asarray(found.labels[...])
    if (folder / "out.ome.zarr" / ".napari-sa2net").exists():
        raise Wrong("left behind: working files of a result that is complete")
    for name in ("keep", "map_planes", "relabel", "link"):
        options.pop(name, None)
    try:
        result = segment(image, model, **options)
    except SA2NetError as error:
        raise Wrong("blocks take what the whole refuses", str(error)) from error
    # On the disk the axes always follow each other like this.
    whole = result.labels.transpose([result.axes.index(a) for a in "TZYX" if a in result.axes])
    if labels.shape != whole.shape or not np.array_equal(labels > 0, whole > 0):
        apart = np.mean((labels > 0) != (whole > 0)) if labels.shape == whole.shape else 1
        if apart > 0.02:  # rounding may move a pixel over the threshold
            raise Wrong("blocks give other labels", f"{labels.shape}, {whole.shape}, {apart:.2f}")


def _file(draw: Draw, folder: Path) -> None:
    """Read a file, and segment it, alone or with others."""
    from napari_sa2net import segment
    from napari_sa2net.engine.files import read_image

    inputs = folder / "inputs"
    inputs.mkdir()
    model = some_model(draw)
    made = some_file(draw, inputs)
    if draw.chance(0.25):
        options = some_options(draw, "", odd=0.05, channels=(1, 1))
        _batch(draw, folder, made, model, options)
        return
    image = read_image(made.path, numbers=draw.chance(0.1))
    _check_image(image, made)
    if draw.chance(0.3):
        return
    channels = _channels(image.array.shape, image.axes, model)
    options = some_options(draw, "", odd=0.05, channels=channels)
    result = segment(image if draw.chance(0.5) else made.path, model, **options)
    check_segmentation(result)
    _after(draw, folder, result, image)


def _check_image(image: Any, made: Made) -> None:
    """Compare what was read with what was written."""
    if math.prod(image.array.shape) > 10**8:  # by a damaged header; it is read part by part
        return
    try:
        array = np.asarray(image.array)
    except Exception:
        if made.array is not None:  # what is whole must be read
            raise
        return  # of damaged chunks segmenting tells
    if array.ndim != len(image.axes):
        raise Wrong("axes that are not those of the array", f"{image.axes} {array.shape}")
    first_alone = "of which the first is used" in image.remark
    if made.array is not None and not first_alone and not _same(array, made.array):
        raise Wrong(
            "other pixels than were written",
            f"{array.dtype} {array.shape} {image.axes}, "
            f"written {made.array.dtype} {made.array.shape} {made.axes}",
        )
    if made.axes and made.array is not None and array.shape == made.array.shape:
        long = [(a, b) for a, b, n in zip(image.axes, made.axes, array.shape, strict=True) if n > 1]
        if any(a != b for a, b in long):
            raise Wrong("other axes than were written", f"{image.axes}, written {made.axes}")
    for axis, size in made.sizes.items():
        found = image.calibration.get(axis)
        if found is None and axis in image.axes and not image.remark:
            raise Wrong("a pixel size dropped in silence", f"{axis} {size}, {image.calibration}")
        if found is not None and not np.isclose(found, size, rtol=1e-3):
            raise Wrong("another pixel size than was written", f"{axis} {found}, written {size}")


def _same(found: np.ndarray, written: np.ndarray) -> bool:
    found, written = np.squeeze(found), np.squeeze(written)
    if found.shape != written.shape:
        return False
    if written.dtype == bool:  # tifffile writes such as white on black, with 0 for white
        return np.array_equal(found, written) or np.array_equal(found, ~written)
    if found.dtype.kind in "fc" and written.dtype.kind in "fc":
        return np.array_equal(found, written, equal_nan=True)
    return np.array_equal(found, written)


def _batch(draw: Draw, folder: Path, made: Made, model: Any, options: dict[str, Any]) -> None:
    """Segment a folder with the file and a good one; then again, skipping what is done."""
    import tifffile

    from napari_sa2net import segment, segment_files
    from napari_sa2net.engine.batch.kinds import KINDS
    from napari_sa2net.engine.files import read_image

    draw.say("batch")
    good = made.path.parent / "good.tif"
    pixels = draw.numpy.integers(0, 255, (24, 24, *((3,) * (model.card.in_channels == 3))), "u1")
    tifffile.imwrite(good, pixels)
    save = draw.subset(KINDS)
    given = {"save": save, "existing": draw.among("resume", "keep", "replace"), **options}
    images = draw.among(made.path.parent, [good, made.path], f"{made.path.parent}/*")
    results = folder / "results"
    found = segment_files(images, results, model, **given)
    failed = dict(found.failed)
    for path in found.done:
        name = next(results.glob(f"{_plain(path)}*_labels.ome.tif"), None)
        if name is None:
            raise Wrong("done, but there is no file", str(path))
        sizes = read_image(path).calibration if "pixel_size" not in options else {}
        kept = {k: v for k, v in options.items() if k not in ("keep", "relabel", "map_planes")}
        alone = segment(path, model, **kept)
        check_labels_file(name, alone.labels, alone.axes, sizes)
    if not failed:
        again = segment_files(images, results, model, **{**given, "existing": "resume"})
        if again.done or again.failed:
            raise Wrong("done, but not known as done", str(again))
        return
    for path, reason in failed.items():
        odd = reason.partition(":")[0]
        if odd.isidentifier() and odd.endswith("Error"):
            raise Wrong(f"batch: {odd}", f"{path.name}: {reason}")
    raise Refused("; ".join(f"{path.name}: {reason}" for path, reason in failed.items()))


def _plain(path: Path) -> str:
    from napari_sa2net.engine.image_file import stem

    return "".join("?" if c in "[]*" else c for c in stem(path))
