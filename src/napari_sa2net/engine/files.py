"""Image files: finding them, reading them with axes and pixel size, writing results."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import calibration
from .axes import guess_axes
from .calibration import Calibration
from .errors import InputError, SA2NetError

logger = logging.getLogger(__name__)

TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
ZARR_ENDINGS = (".ome.zarr", ".zarr")
IMAGE_ENDINGS = TIFF_ENDINGS + PICTURE_ENDINGS + ZARR_ENDINGS
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

FORMATS_EXTRA = 'pip install "napari-sa2net[formats]"'
ZARR_EXTRA = 'pip install "napari-sa2net[zarr]"'


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file."""

    array: Any
    """The pixels: a NumPy array, a memory map, or a zarr array that is read when indexed."""
    axes: str
    """A letter of ``TZCYX`` for each dimension; the colours of RGB(A) are a last ``C``."""
    rgb: bool = False
    """Whether the last axis holds red, green, blue (and alpha)."""
    calibration: Calibration = field(default_factory=dict)
    """Size of a step along ``Z``, ``Y`` and ``X`` in µm, where the file tells."""
    path: Path = Path()
    kind: str = ""
    """``TIFF``, ``OME-TIFF``, ``ImageJ TIFF``, ``OME-Zarr``, ``PNG`` or ``JPEG``."""

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return stem(self.path)

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Height and width of a pixel in µm, or None if the file does not tell."""
        if "X" not in self.calibration:
            return None
        return self.calibration["Y"], self.calibration["X"]


# --- Finding files ---------------------------------------------------------------------------


def _ending(path: Path) -> str:
    name = path.name.lower()
    return next((e for e in IMAGE_ENDINGS if name.endswith(e) and name != e), path.suffix)


def stem(path: str | Path) -> str:
    """Return a file's name without its ending: ``a.ome.tif`` gives ``a``."""
    path = Path(path)
    ending = _ending(path)
    return path.name[: -len(ending)] if ending else path.name


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr group or array."""
    return path.is_dir() and any((path / name).is_file() for name in _ZARR_FILES)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def _inside(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and _ending(path).lower() in IMAGE_ENDINGS
        and (path.is_file() or is_zarr(path))
    ]
    return sorted(found, key=_natural)


def list_images(paths: Iterable[str | Path], skip_endings: Sequence[str] = ()) -> list[Path]:
    """List the image files that files, folders and patterns stand for, each once.

    A folder stands for the images right inside it, in natural order; an OME-Zarr folder for
    itself. What does not exist or holds no image is listed as it is, so that reading it says
    what is wrong and the others are still read.

    Parameters
    ----------
    paths
        Files, folders and patterns such as ``"plate/*.tif"`` (``**`` for all levels).
    skip_endings
        Files found in a folder or by a pattern are left out if their name ends like this.
    """
    listed: dict[str, Path] = {}
    for given in map(Path, paths):
        if given.is_dir() and not is_zarr(given):
            found = [p for p in _inside(given) if not p.name.endswith(tuple(skip_endings))]
        elif not given.exists() and glob.has_magic(str(given)):
            matches = map(Path, glob.iglob(str(given), recursive=True))
            found = sorted(
                (p for p in matches if not p.name.endswith(tuple(skip_endings))), key=_natural
            )
        else:
            found = [given]
        for path in found or [given]:
            listed.setdefault(os.path.realpath(path), path)
    return list(listed.values())


# --- Reading ---------------------------------------------------------------------------------


def read_image(path: str | Path) -> ImageFile:
    """Read an image with its axes and pixel size.

    Parameters
    ----------
    path
        A TIFF, OME-TIFF, ImageJ TIFF, PNG or JPEG file, or an OME-Zarr folder (0.4 or 0.5, of
        which the full resolution is read). Uncompressed TIFF and zarr are read lazily.

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
            from .omezarr import read_zarr

            return read_zarr(path)
        raise InputError(
            f"{path} is a folder without images that can be read ({', '.join(IMAGE_ENDINGS)})."
        )
    ending = _ending(path).lower()
    try:
        if ending in PICTURE_ENDINGS:
            return _read_picture(path)
        if ending in TIFF_ENDINGS:
            return _read_tiff(path)
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


def _read_picture(path: Path) -> ImageFile:
    from PIL import Image

    with Image.open(path) as picture:
        mode = picture.mode
        if mode in ("P", "PA"):  # what the numbers mean is in the palette
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


def _read_tiff(path: Path) -> ImageFile:
    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise InputError(f"{path.name} holds no image.")
        series = tiff.series[0]
        page = series.keyframe
        array = _lazily(path, series)
        letters = series.axes
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not (
            tiff.is_imagej or tiff.is_ome  # there the palette is how to show it, not the image
        ):
            array = np.moveaxis(np.asarray(page.colormap), 0, -1)[np.asarray(array)]
            letters += "S"
        elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = ~np.asarray(array) if array.dtype == bool else _inverted(np.asarray(array))
        sizes, kind = _tiff_calibration(tiff, page)
    array, axes, rgb = _tiff_axes(array, letters)
    return ImageFile(array, axes, rgb, sizes, path, kind)


def _lazily(path: Path, series: Any) -> NDArray[Any]:
    if series.dataoffset is not None and series.keyframe.is_memmappable:
        try:
            array: NDArray[Any] = tifffile.memmap(path, series=0, mode="r")
            if array.shape == series.shape:
                return array
        except (ValueError, OSError) as error:
            logger.debug("%s is read at once: %s", path, error)
    return np.asarray(series.asarray())


def _inverted(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "u":
        return array
    return np.asarray(np.iinfo(array.dtype).max - array)


def _tiff_calibration(tiff: tifffile.TiffFile, page: Any) -> tuple[Calibration, str]:
    tags = page.tags
    resolution = tuple(
        tags[name].value if name in tags else None for name in ("YResolution", "XResolution")
    )
    if tiff.is_ome and tiff.ome_metadata:
        return calibration.from_ome(tiff.ome_metadata), "OME-TIFF"
    if tiff.is_imagej:
        return calibration.from_imagej(tiff.imagej_metadata or {}, resolution), "ImageJ TIFF"
    unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
    name = {2: "inch", 3: "centimeter"}.get(int(unit), "")
    return calibration.from_dots(resolution, name), "TIFF"


def _tiff_axes(array: NDArray[Any], letters: str) -> tuple[NDArray[Any], str, bool]:
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
    if rgb:
        array = np.moveaxis(array, letters.index("S"), -1)
        letters = letters.replace("S", "") + "S"
    letters = letters.replace("S", "C")
    unknown = [letter for letter in letters if letter not in "TZCYX"]
    if len(unknown) == 1 and letters[1:] == "YX":
        return array, guess_axes(array.shape), False
    for letter, free in zip(unknown, [f for f in "TZC" if f not in letters], strict=False):
        letters = letters.replace(letter, free, 1)
    if any(letter not in "TZCYX" for letter in letters) or len(set(letters)) < len(letters):
        raise InputError(
            f"The axes {letters} of the image are not understood: at most T, Z, C, "
            "Y and X are. Save the parts as files of their own."
        )
    return array, letters, rgb


# --- Writing ---------------------------------------------------------------------------------


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
        os.replace(partial, path)
    except OSError as error:
        raise SA2NetError(
            f"{path} cannot be written ({error.strerror or error}): check that the folder is "
            "writable and the disk is not full, or choose another folder."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_image(
    path: str | Path,
    array: NDArray[Any],
    axes: str,
    sizes: Calibration | None = None,
    *,
    name: str = "",
    channel_names: Sequence[str] = (),
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
) -> Path:
    """Write labels as compressed OME-TIFF, in 16 bits where the numbers fit.

    Parameters
    ----------
    path, axes, name
        See :func:`write_image`.
    labels
        Integers, 0 background.
    pixel_size
        In µm: one number, (Y, X), or a size for each axis by its letter.
    """
    if isinstance(pixel_size, (int, float)):
        pixel_size = (float(pixel_size), float(pixel_size))
    sizes = (
        dict(zip("YX", pixel_size, strict=True)) if isinstance(pixel_size, tuple) else pixel_size
    )
    labels = np.asarray(labels)
    fits = labels.size == 0 or (labels.min() >= 0 and labels.max() < 2**16)
    return write_image(path, labels.astype(np.uint16 if fits else np.int32), axes, sizes, name=name)
