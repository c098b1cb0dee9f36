"""Image files: finding them, reading them with axes and pixel size, writing results."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import calibration, disk
from .axes import COLOURS, as_image_axes, check_axes, further_axes, problem_of
from .calibration import Calibration, is_size, keep_known, sizes_yx
from .colours import Colours
from .errors import InputError, SA2NetError
from .fields import check_value
from .image_file import (
    PICTURE_ENDINGS,
    TIFF_ENDINGS,
    FileInfo,
    ImageFile,
    at_home,
    ending_of,
    list_images,
    obstacle,
    stem,
)
from .omezarr import read_zarr, read_zarr_info
from .positions import check_position
from .tiff import files_of_image, read_tiff, read_tiff_info

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


def read_image(
    path: str | Path,
    *,
    numbers: bool = False,
    axes: str | None = None,
    position: int | None = None,
) -> ImageFile:
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
    axes
        A letter for each axis, in place of what the file says or would be guessed; see
        :func:`~napari_sa2net.engine.axes.check_axes`.
    position
        Which image, from 0 on, where there are several: those of a file one after another, and
        in each of them over axes that are none of ``"TZCYX"``. The first if None.

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, or needs a package that is not
        installed, or has other axes or no such position.
    """
    path = at_home(path)
    axes = check_value("axes", axes, str | None)
    if axes is not None:
        axes = axes.upper()
        if problem_of(axes):
            raise InputError(f"The axes {axes!r} do not fit: {problem_of(axes)}.")
    problem = obstacle(path)
    if problem:
        raise InputError(problem)
    ending = ending_of(path).lower()
    try:
        if path.is_dir():
            return read_zarr(path, axes, position)
        if ending in PICTURE_ENDINGS:
            return _read_picture(path, numbers, axes, position)
        if ending in TIFF_ENDINGS:
            return read_tiff(path, numbers, axes, position)
    except SA2NetError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{path.name} does not fit into the memory ({error}): close other programs, crop it, "
            "or save it as a tiled TIFF or as OME-Zarr, which are read part by part."
        ) from error
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


def read_numbers(path: str | Path, position: int | None = None) -> ImageFile:
    """Read a mask or labels: its numbers, over axes of ``"TZCYX"``.

    Parameters
    ----------
    path
        As for :func:`read_image`, whose errors it raises.
    position
        Which image of several. A file that holds one belongs to any position.
    """
    if position is not None:
        with suppress(Exception):  # of which reading it tells more
            position = None if read_info(path).images == 1 else position
    image = read_image(path, numbers=True, position=position)
    drop = tuple(i for i, letter in enumerate(image.axes) if further_axes(letter))
    if not drop:
        return image
    axes = "".join(letter for letter in image.axes if not further_axes(letter))
    return replace(image, array=np.asarray(image.array).squeeze(drop), axes=axes)


def one_of_each_set(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Leave out files of an OME-TIFF set whose image is read with another file of the list.

    Returns
    -------
    list of Path
        What is left, in the same order.
    list of str
        What a person should know: which files are one image.
    """
    left: list[Path] = []
    first_of: dict[str, Path] = {}
    sets: dict[Path, list[str]] = {}
    for path in paths:
        first = first_of.get(os.path.realpath(path))
        if first is not None:
            sets[first].append(path.name)
            continue
        left.append(path)
        if ending_of(path).lower() not in TIFF_ENDINGS or obstacle(path) or path.is_dir():
            continue
        with suppress(Exception):  # of which reading it tells more
            for name in files_of_image(path):
                first_of[os.path.realpath(path.with_name(name))] = path
                sets.setdefault(path, [path.name])
    remarks = []
    for path, names in sets.items():
        if len(names) > 1:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            remarks.append(f"{', '.join(names[:4])}{more} are one image: it is read once, as "
                           f"{path.name}.")  # fmt: skip
    return left, remarks


def read_info(path: str | Path) -> FileInfo:
    """Return what an image file tells of axes and pixel size, without reading its pixels.

    Returns
    -------
    FileInfo
        Of a PNG or JPEG file its axes and colours; of another kind nothing.

    Raises
    ------
    Exception
        If it cannot be read, whatever its reader raises.
    """
    path = Path(path)
    problem = obstacle(path)
    if problem:
        raise InputError(problem)
    if path.is_dir():
        return read_zarr_info(path)
    ending = ending_of(path).lower()
    if ending in PICTURE_ENDINGS:
        return _picture_info(path)
    return read_tiff_info(path) if ending in TIFF_ENDINGS else FileInfo()


_PICTURE_COLOURS = {"CMYK": "CMYK", "YCbCr": "YCbCr", "LA": "grey and alpha"}
"""Colours by Pillow's names of them."""


def _picture_info(path: Path) -> FileInfo:
    """Return what napari's reader leaves as it is: colours that are no red, green and blue."""
    with path.open("rb") as file, _opened_picture(path, file.read(26)) as picture:
        kind: Any = _PICTURE_COLOURS.get(picture.mode)
        if kind is None:
            return FileInfo()
        samples = len(picture.getbands())
        return FileInfo("YXC", (picture.height, picture.width, samples), colours=Colours(kind))


def _read_picture(
    path: Path, numbers: bool, axes: str | None = None, position: int | None = None
) -> ImageFile:
    check_position(position, 1, path.name)
    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16 and head[25] in (2, 4, 6):
        raise InputError(
            f"{path.name} has 16 bits a colour, of which only 8 could be read from a PNG: save it "
            "as TIFF."
        )
    with _opened_picture(path, head) as picture:
        mode = picture.mode
        _check_memory(picture)
        if mode in ("1", "P") and numbers:
            array = np.asarray(picture)
        elif mode in ("P", "PA"):  # what the numbers mean is in the palette
            has_alpha = mode == "PA" or "transparency" in picture.info
            array = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
        elif mode in _PICTURE_COLOURS:
            colours: Any = Colours(_PICTURE_COLOURS[mode])  # type: ignore[arg-type]
            array = colours.image(np.asarray(picture))
            array = array[..., 0] if array.shape[-1] == 1 else array
        elif mode in ("1", "La"):
            array = np.asarray(picture.convert("L"))
        elif mode in ("HSV", "RGBX", "RGBa"):
            array = np.asarray(picture.convert("RGB"))
        else:  # L, I;16, I, F, RGB, RGBA
            array = np.asarray(picture)
        dots, kind = picture.info.get("dpi"), picture.format or ""
    letters = axes or ("YXC" if array.ndim == 3 else "YX")
    check_axes(letters, array.shape)
    rgb = array.ndim == 3 and letters[-1] in ("C", COLOURS)
    return ImageFile(
        array,
        axes=as_image_axes(letters, array.shape),
        rgb=rgb,
        calibration=calibration.from_dots((dots[1], dots[0]), "inch")[0] if dots else {},
        path=path,
        kind=kind,
        asked={"axes": axes, "position": position},
    )


def _opened_picture(path: Path, head: bytes) -> Any:
    """Open a picture of any size: Pillow's own limit knows nothing of this computer's memory."""
    from PIL import Image, JpegImagePlugin, PngImagePlugin

    if head.startswith(b"\x89PNG"):
        return PngImagePlugin.PngImageFile(path)
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile(path)
    return Image.open(path)


def _check_memory(picture: Any) -> None:
    import psutil

    width, height = picture.size
    bands = len(picture.getbands())
    sample = {"I": 4, "F": 4}.get(picture.mode, 2 if picture.mode.startswith("I;16") else 1)
    # Pillow holds it beside the array, several bands as four.
    needed = width * height * sample * (2 if bands == 1 else 4 + bands)
    free = psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            f"{Path(picture.filename).name} has {width} × {height} pixels, for which "
            f"{needed / 1e9:.1f} GB of memory are needed and {free / 1e9:.1f} GB are free: save it "
            "as a tiled TIFF or as OME-Zarr, which are read part by part, or crop it."
        )


def ensure_folder(path: str | Path) -> None:
    """Make a folder if need be, and check that files can be written into it.

    What killed runs left in it is removed.

    Raises
    ------
    SA2NetError
        If they cannot.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        disk.check_writable(path)
        disk.sweep(path)
    except OSError as error:
        raise SA2NetError(_not_writable(path, error)) from error


def check_length(path: Path, more: int = 0) -> None:
    """Raise InputError if a file's name, ``more`` bytes longer, is longer than names can be."""
    if len(os.fsencode(path.name)) + more > 255:
        raise InputError(_too_long(path))


def _too_long(path: Path) -> str:
    return f"{path.name} is too long for a name: choose a shorter one."


def _not_writable(path: Path, error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return _too_long(path)
    return (
        f"{path} cannot be written ({error.strerror or error}): check that the folder is "
        "writable and the disk is not full, or choose another folder."
    )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``, as :func:`disk.replacing` does; make its folder.

    Raises
    ------
    SA2NetError
        If the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(path) as partial:
            yield partial
    except OSError as error:
        raise SA2NetError(_not_writable(path, error)) from error


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
        Size of a step along ``Z``, ``Y``, ``X`` in µm. What is no size is left out.
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
    # What is no size must not stop what may have taken hours.
    sizes = keep_known({axis: size for axis, size in (sizes or {}).items() if is_size(size)})
    for axis, size in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size
        metadata[f"PhysicalSize{axis}Unit"] = "µm"
    tags: dict[str, Any] = {}
    dots = [1e4 / sizes[axis] for axis in "XY" if axis in sizes]
    if dots and all(1e-3 <= number <= 2**32 - 1 for number in dots):  # as 32-bit fractions can say
        # Readers that do not know OME read these tags.
        tags = {"resolution": tuple(dots), "resolutionunit": "CENTIMETER"}
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
    pixel_size: Any = None,
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
    if pixel_size is not None and not isinstance(pixel_size, Mapping):
        pixel_size = sizes_yx(pixel_size)
    labels = np.asarray(labels)
    fits = labels.size == 0 or (labels.min() >= 0 and labels.max() < 2**16)
    labels = labels.astype(np.uint16 if fits else np.int32)
    return write_image(path, labels, axes, pixel_size, name=name, description=description)
