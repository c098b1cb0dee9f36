"""Image files: finding them, reading them with axes and pixel size, writing results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import calibration
from .calibration import Calibration, sizes_yx
from .disk import check_writable, patiently
from .errors import InputError, SA2NetError
from .image_file import (
    IMAGE_ENDINGS,
    PICTURE_ENDINGS,
    TIFF_ENDINGS,
    FileInfo,
    ImageFile,
    ending_of,
    is_zarr,
    list_images,
    stem,
)
from .omezarr import read_zarr
from .tiff import read_tiff, read_tiff_info

__all__ = [
    "ImageFile",
    "ensure_folder",
    "list_images",
    "read_image",
    "replacing",
    "stem",
    "write_image",
    "write_labels",
]

BIG = 2**32 - 2**25
"""Arrays of more bytes than this are written as BigTIFF: a plain TIFF ends at 4 GB."""

FORMATS_EXTRA = 'pip install "napari-sa2net[formats]"'


def read_image(path: str | Path, *, numbers: bool = False) -> ImageFile:
    """Read an image with its axes and pixel size.

    Parameters
    ----------
    path
        A TIFF, OME-TIFF, ImageJ TIFF, SVS, NDPI, PNG or JPEG file, or an OME-Zarr folder (0.4 or
        0.5); of several resolutions the full one. Uncompressed TIFF and zarr are read lazily,
        and so is a large compressed TIFF where zarr is installed.
    numbers
        It is a mask or labels: its numbers are wanted, and not how they are shown, in the colours
        of a palette or white on black.

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, or needs a package that is not
        installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: check the spelling and the current folder.")
    if path.is_dir():
        if is_zarr(path):
            return read_zarr(path)
        raise InputError(
            f"{path} is a folder without images that can be read ({', '.join(IMAGE_ENDINGS)})."
        )
    ending = ending_of(path).lower()
    try:
        if ending in PICTURE_ENDINGS:
            return _read_picture(path, numbers)
        if ending in TIFF_ENDINGS:
            return read_tiff(path, numbers)
    except SA2NetError:
        raise
    except Exception as error:  # the readers raise anything from struct.error to SyntaxError
        if "imagecodecs" in str(error):
            raise InputError(
                f"{path.name} is compressed in a way that needs another package: install it "
                f"with  {FORMATS_EXTRA}  or save the image without compression."
            ) from error
        raise InputError(
            f"{path.name} cannot be read ({type(error).__name__}: {error}). It may be damaged: "
            "open it in the program that wrote it and save it as TIFF."
        ) from error
    raise InputError(
        f"{path.name} is of an unknown kind: save it as TIFF, OME-TIFF, PNG, JPEG or OME-Zarr."
    )


def read_info(path: str | Path) -> FileInfo:
    """Return what an image file tells of axes and pixel size, without reading its pixels.

    Returns
    -------
    FileInfo
        Of a PNG or JPEG file, or another kind, nothing.

    Raises
    ------
    Exception
        If it cannot be read, whatever its reader raises.
    """
    path = Path(path)
    if path.is_dir():
        image = read_zarr(path)
        shape = tuple(map(int, image.array.shape))
        return FileInfo(image.axes, shape, image.calibration, image.channel_names)
    return read_tiff_info(path) if ending_of(path).lower() in TIFF_ENDINGS else FileInfo()


def _read_picture(path: Path, numbers: bool) -> ImageFile:
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16 and head[25] in (2, 4, 6):
        raise InputError(
            f"{path.name} has 16 bits a colour, of which only 8 could be read from a PNG: save it "
            "as TIFF."
        )
    with Image.open(path) as picture:
        mode = picture.mode
        if mode == "P" and numbers:
            array = np.asarray(picture)
        elif mode in ("P", "PA"):  # what the numbers mean is in the palette
            has_alpha = mode == "PA" or "transparency" in picture.info
            array = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
        elif mode in ("1", "LA", "La"):
            array = np.asarray(picture.convert("L"))
        elif mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
            array = np.asarray(picture.convert("RGB"))
        else:  # L, I;16, I, F, RGB, RGBA
            array = np.asarray(picture)
        dots, kind = picture.info.get("dpi"), picture.format or ""
    rgb = array.ndim == 3
    return ImageFile(
        array,
        axes="YXC" if rgb else "YX",
        rgb=rgb,
        calibration=calibration.from_dots((dots[1], dots[0]), "inch") if dots else {},
        path=path,
        kind=kind,
    )


def ensure_folder(path: str | Path) -> None:
    """Make a folder if need be, and check that files can be written into it.

    Raises
    ------
    SA2NetError
        If they cannot.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except OSError as error:
        raise SA2NetError(_not_writable(path, error)) from error


def _not_writable(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written ({error.strerror or error}): check that the folder is "
        "writable and the disk is not full, or choose another folder."
    )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` that takes its place only if all goes well.

    Raises
    ------
    SA2NetError
        If the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        patiently(os.replace, partial, path)
    except OSError as error:
        raise SA2NetError(_not_writable(path, error)) from error
    finally:
        with suppress(OSError):  # where there is no folder, nothing is left either
            partial.unlink(missing_ok=True)


def write_image(
    path: str | Path,
    array: NDArray[Any],
    axes: str,
    sizes: Calibration | None = None,
    *,
    name: str = "",
    channel_names: Sequence[str] = (),
    description: str = "",
) -> Path:
    """Write an image or a map as compressed OME-TIFF with axes and pixel size.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced only when the new one is complete.
    array
        Pixels with one dimension for each letter of ``axes``; float16 is written as float32,
        which OME has.
    axes
        Letters of ``TZCYX``. Y and X are moved to the end.
    sizes
        Size of a step along ``Z``, ``Y``, ``X`` in µm.
    name
        Name of the image within the file.
    channel_names
        Names of the channels, if ``axes`` has a ``C``.
    description
        Stands in the file as the image's description.
    """
    array = np.asarray(array)
    if len(axes) != array.ndim or not {"Y", "X"} <= set(axes) <= set("TZCYX"):
        raise InputError(f"The axes {axes!r} do not fit an array of shape {array.shape}.")
    order = [i for i, a in enumerate(axes) if a not in "YX"] + [axes.index("Y"), axes.index("X")]
    array = np.ascontiguousarray(array.transpose(order))
    if array.dtype in (np.float16, np.float64):
        array = array.astype(np.float32)
    elif array.dtype in (np.int64, np.uint64):
        array = array.astype(np.int32)
    metadata: dict[str, Any] = {"axes": "".join(axes[i] for i in order)}
    if name:
        metadata["Name"] = name
    if description:
        metadata["Description"] = description
    if channel_names and "C" in axes:
        metadata["Channel"] = {"Name": list(channel_names)}
    sizes = sizes or {}
    for axis, size in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size
        metadata[f"PhysicalSize{axis}Unit"] = "µm"
    tags: dict[str, Any] = {}
    if "X" in sizes:  # readers that do not know OME read these tags
        tags = {"resolution": (1e4 / sizes["X"], 1e4 / sizes["Y"]), "resolutionunit": "CENTIMETER"}
    with replacing(path) as partial:
        tifffile.imwrite(
            partial,
            array,
            ome=True,
            bigtiff=array.nbytes > BIG,  # tifffile itself looks at uncompressed files only
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            **tags,
        )
    return Path(path)


def write_labels(
    path: str | Path,
    labels: NDArray[Any],
    axes: str,
    pixel_size: Calibration | tuple[float, float] | float | None = None,
    *,
    name: str = "",
    description: str = "",
) -> Path:
    """Write labels as compressed OME-TIFF, in 16 bits where the numbers fit.

    Parameters
    ----------
    path, axes, name, description
        See :func:`write_image`.
    labels
        Integers, 0 background.
    pixel_size
        In µm: one number, (Y, X), or a size for each axis by its letter.
    """
    if isinstance(pixel_size, (int, float, tuple)):
        pixel_size = sizes_yx(pixel_size)
    labels = np.asarray(labels)
    fits = labels.size == 0 or (labels.min() >= 0 and labels.max() < 2**16)
    labels = labels.astype(np.uint16 if fits else np.int32)
    return write_image(path, labels, axes, pixel_size, name=name, description=description)
