"""Image files by their names: which there are, and what is read from one."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .calibration import Calibration
from .images import channel_numbers

TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".svs", ".ndpi")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
ZARR_ENDINGS = (".ome.zarr", ".zarr")
IMAGE_ENDINGS = TIFF_ENDINGS + PICTURE_ENDINGS + ZARR_ENDINGS
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


@dataclass(frozen=True)
class FileInfo:
    """What a file tells of its image; all of it empty if that is nothing."""

    axes: str = ""
    """A letter of ``TZCYX`` for each dimension."""
    shape: tuple[int, ...] = ()
    calibration: Calibration = field(default_factory=dict)
    """As in :class:`ImageFile`."""
    channel_names: tuple[str, ...] = ()
    """As in :class:`ImageFile`."""


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file."""

    array: Any
    """The pixels: a NumPy array, a memory map, or a zarr array that is read when indexed."""
    axes: str
    """A letter of ``TZCYX`` for each dimension, in the file's own order."""
    rgb: bool = False
    """Whether the axis ``C`` holds red, green, blue (and alpha)."""
    calibration: Calibration = field(default_factory=dict)
    """Size of a step along ``Z``, ``Y`` and ``X`` in µm, where the file tells."""
    path: Path = Path()
    kind: str = ""
    """``TIFF``, ``OME-TIFF``, ``ImageJ TIFF``, ``SVS``, ``NDPI``, ``OME-Zarr``, ``PNG`` or
    ``JPEG``."""
    channel_names: tuple[str, ...] = ()
    """Names of the channels, where the file tells; empty text for one without a name."""
    remark: str = ""
    """What a person should know of what was read, if anything."""

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


def file_options(image: ImageFile, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options of a run on an image file.

    They are what the file tells of axes, colours and pixel size, and before that what is
    ``given``: of it None is left out, and channels that are named become numbers.

    Raises
    ------
    InputError
        If there is no channel of a name.
    """
    known = {"axes": image.axes, "rgb": image.rgb, "pixel_size": image.pixel_size}
    known |= {name: value for name, value in (given or {}).items() if value is not None}
    channels = known.get("channels")
    if isinstance(channels, (str, list, tuple)):
        named = [channels] if isinstance(channels, str) else channels
        known["channels"] = channel_numbers(named, image.channel_names)
    return known


def ending_of(path: Path) -> str:
    name = path.name.lower()
    return next((e for e in IMAGE_ENDINGS if name.endswith(e) and name != e), path.suffix)


def stem(path: str | Path) -> str:
    """Return a file's name without its ending: ``a.ome.tif`` gives ``a``."""
    path = Path(path)
    ending = ending_of(path)
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
        and ending_of(path).lower() in IMAGE_ENDINGS
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
