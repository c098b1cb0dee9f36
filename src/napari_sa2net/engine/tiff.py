"""Reading TIFF files of all kinds: plain, OME, ImageJ, slides; grey, colours and palettes."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import calibration
from .axes import guess_axes
from .calibration import Calibration
from .errors import InputError
from .image_file import FileInfo, ImageFile

logger = logging.getLogger(__name__)

LARGE = 2**28
"""A compressed image of more bytes than this is read part by part, where zarr is installed."""

_SVS_PIXEL = re.compile(r"\bMPP\s*=\s*([0-9.]+)")


def read_tiff(path: Path, numbers: bool = False) -> ImageFile:
    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise InputError(f"{path.name} holds no image.")
        page = tiff.series[0].keyframe
        array, letters, remark = _series(path, tiff)
        # There the palette, or which end is white, is how to show it, and not the image.
        shown = tiff.is_imagej or tiff.is_ome or _is_of_tifffile(page)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not (shown or numbers):
            array = _colours(page.colormap)[np.asarray(array)]
            letters += "S"
        elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and not (shown or numbers):
            array = ~np.asarray(array) if array.dtype == bool else _inverted(np.asarray(array))
        sizes, kind = _tiff_calibration(tiff, page)
        names = _channel_names(tiff)
    array, axes, rgb = _tiff_axes(array, letters)
    return ImageFile(array, axes, rgb, sizes, path, kind, names, remark)


def read_tiff_info(path: Path) -> FileInfo:
    """Return what a TIFF file tells of its image, without reading the pixels."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        shape = np.broadcast_to(np.uint8(0), series.shape)  # takes no memory
        array, axes, _ = _tiff_axes(shape, series.axes)
        sizes = _tiff_calibration(tiff, series.keyframe)[0]
        return FileInfo(axes, array.shape, sizes, _channel_names(tiff))


def _channel_names(tiff: tifffile.TiffFile) -> tuple[str, ...]:
    return calibration.channel_names(tiff.ome_metadata or "") if tiff.is_ome else ()


def _series(path: Path, tiff: tifffile.TiffFile) -> tuple[Any, str, str]:
    """Return the image with tifffile's letters, and what is to be said of further ones."""
    series = list(tiff.series)
    first = series[0]
    slide = tiff.is_svs or tiff.is_ndpi  # their other series are thumbnails and labels
    if len(series) == 1 or slide:
        return _lazily(path, first), first.axes, ""
    frames = not (tiff.is_ome or tiff.is_imagej) and all(
        (one.shape, one.dtype, one.axes) == (first.shape, first.dtype, first.axes) for one in series
    )
    if frames and first.axes in ("YX", "YXS"):  # written one after the other
        return np.stack([one.asarray() for one in series]), f"I{first.axes}", ""
    remark = (
        f"{path.name} holds {len(series)} images, of which the first is read: save each as a "
        "file of its own to have all of them."
    )
    return _lazily(path, first), first.axes, remark


def _is_of_tifffile(page: Any) -> bool:
    """Tell whether it is a mask that tifffile wrote: it marks these as white on nothing."""
    software = str(page.tags["Software"].value) if "Software" in page.tags else ""
    return page.bitspersample == 1 and software.startswith("tifffile")


def _colours(colormap: NDArray[Any]) -> NDArray[Any]:
    """Return a palette as (n, 3), in 8 bits where it has no more than these."""
    for step in (257, 256):
        if not (colormap % step).any():
            colormap = (colormap // step).astype(np.uint8)
            break
    return np.moveaxis(np.asarray(colormap), 0, -1)


def _lazily(path: Path, series: Any) -> Any:
    if series.dataoffset is not None and series.keyframe.is_memmappable:
        try:
            array: NDArray[Any] = tifffile.memmap(path, series=0, mode="r")
            if array.shape == series.shape:
                return array
        except (ValueError, OSError) as error:
            logger.debug("%s is read at once: %s", path, error)
    if series.nbytes > LARGE:
        try:
            return _part_by_part(path)
        except Exception as error:  # zarr is missing or too old, or tifffile cannot do it
            logger.info("%s is read at once: %s", path, error)
    return np.asarray(series.asarray())


def _part_by_part(path: Path) -> Any:
    """Return the full resolution as a zarr array, of which only what is indexed is decoded."""
    import zarr

    # The store keeps the file open.
    return zarr.open_array(tifffile.imread(path, series=0, level=0, aszarr=True), mode="r")


def _inverted(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "u":
        return array
    return np.asarray(np.iinfo(array.dtype).max - array)


def _tiff_calibration(tiff: tifffile.TiffFile, page: Any) -> tuple[Calibration, str]:
    tags = page.tags
    y, x = (tags[n].value if n in tags else None for n in ("YResolution", "XResolution"))
    if tiff.is_ome and tiff.ome_metadata:
        return calibration.from_ome(tiff.ome_metadata), "OME-TIFF"
    if tiff.is_imagej:
        return calibration.from_imagej(tiff.imagej_metadata or {}, (y, x)), "ImageJ TIFF"
    if tiff.is_svs:
        found = _SVS_PIXEL.search(page.description)
        size = calibration.micrometres(found[1] if found else None, "um")
        return calibration.keep_known({"Y": size, "X": size}), "SVS"
    unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    name = {2: "inch", 3: "centimeter"}.get(int(unit), "")
    return calibration.from_dots((y, x), name), "NDPI" if tiff.is_ndpi else "TIFF"


def _tiff_axes(array: Any, letters: str) -> tuple[Any, str, bool]:
    """Bring tifffile's letters (S samples, I and Q unknown, …) to ``TZCYX``."""
    for axis in reversed(range(len(letters))):  # what we have no letter for, if it has length 1
        if letters[axis] not in "TZCYX" and array.shape[axis] == 1:
            array = np.squeeze(array, axis)
            letters = letters[:axis] + letters[axis + 1 :]
    if "S" in letters and "C" in letters:
        axis = letters.index("C")
        if array.shape[axis] != 1:
            raise InputError(
                f"An image with colours and channels at once (axes {letters}) is not understood: "
                "save the channels as grey images."
            )
        array, letters = np.squeeze(array, axis), letters.replace("C", "")
    rgb = "S" in letters and array.shape[letters.index("S")] in (3, 4)
    letters = letters.replace("S", "C")
    unknown = [letter for letter in letters if letter not in "TZCYX"]
    if len(unknown) == 1 and letters[1:] == "YX":
        return array, guess_axes(array.shape, rgb=False), False
    for letter, free in zip(unknown, [f for f in "TZC" if f not in letters], strict=False):
        letters = letters.replace(letter, free, 1)
    if any(letter not in "TZCYX" for letter in letters) or len(set(letters)) < len(letters):
        raise InputError(
            f"The axes {letters} of the image are not understood: at most T, Z, C, "
            "Y and X are. Save the parts as files of their own."
        )
    return array, letters, rgb
