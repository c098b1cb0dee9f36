"""Image files by their names: which there are, and what is read from one."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .axes import COLOURS
from .calibration import Calibration
from .colours import Colours
from .fields import shown
from .images import channel_numbers

TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".svs", ".ndpi")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
ZARR_ENDINGS = (".ome.zarr", ".zarr")
IMAGE_ENDINGS = TIFF_ENDINGS + PICTURE_ENDINGS + ZARR_ENDINGS
LONGEST = 200
"""Most bytes of a name to which endings are added: file systems take 255 in all."""
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


@dataclass(frozen=True)
class FileInfo:
    """What a file tells of its image; all of it empty if that is nothing."""

    axes: str = ""
    """A letter for each dimension: of ``TZCYX``, or others for axes over which there are several
    images."""
    shape: tuple[int, ...] = ()
    """Of the numbers as they are in the file: what :attr:`colours` add is not in it."""
    calibration: Calibration = field(default_factory=dict)
    """As in :class:`ImageFile`."""
    doubt: str = ""
    """What a person should know of the pixel size."""
    colours: Colours | None = None
    """What the numbers show, where they are no grey values and no red, green and blue."""
    images: int = 1
    """How many images the file holds."""
    arrays: int = 1
    """In how many arrays they are; the rest is of the first."""
    remark: str = ""
    """What else a person should know of them."""
    channel_names: tuple[str, ...] = ()
    """As in :class:`ImageFile`."""


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file."""

    array: Any
    """The pixels: a NumPy array, a memory map, or a zarr array that is read when indexed."""
    axes: str
    """A letter of ``TZCYX`` for each dimension, in the file's own order, or the letters that
    were asked for; those of further axes have length 1."""
    rgb: bool = False
    """Whether the axis ``C`` (or ``S``) holds red, green, blue (and alpha)."""
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
    asked: Mapping[str, Any] = field(default_factory=dict)
    """With what axes and position it was read."""

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

    Parameters
    ----------
    image
        As it was read.
    given
        Options by their names, None where not given. They go before what the file tells of axes,
        colours and pixel size; channels that are named become numbers.

    Raises
    ------
    InputError
        If there is no channel of a name.
    """
    known: dict[str, Any] = {"axes": image.axes, "rgb": image.rgb, "pixel_size": image.pixel_size}
    options = {name: value for name, value in (given or {}).items() if value is not None}
    axes = options.pop("axes", None)
    if axes is not None and str(axes).upper() != image.asked.get("axes"):
        known["axes"] = str(axes).upper()
        at = image.axes.find("C")
        known["rgb"] = image.rgb and known["axes"][at : at + 1] in ("C", COLOURS)
    if "channels" in options:
        options["channels"] = channel_numbers(options["channels"], image.channel_names)
    return {**known, **options}


def ending_of(path: Path) -> str:
    name = path.name.lower()
    return next((e for e in IMAGE_ENDINGS if name.endswith(e) and name != e), path.suffix)


def stem(path: str | Path) -> str:
    """Return a file's name without its ending: ``a.ome.tif`` gives ``a``."""
    path = Path(path)
    ending = ending_of(path)
    return path.name[: -len(ending)] if ending else path.name


def spelled_alike(name: str) -> str:
    """Return a name as it compares: systems write an é as one character or as two."""
    return unicodedata.normalize("NFC", name)


def fitting(name: str) -> str:
    """Return a name that leaves room for endings; one too long is cut and has a mark of it all."""
    whole = os.fsencode(name)
    if len(whole) <= LONGEST:
        return name
    mark = hashlib.sha256(spelled_alike(name).encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{whole[: LONGEST - 9].decode(errors='ignore')}~{mark}"


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr group or array."""
    return os.path.isdir(path) and any(os.path.isfile(path / name) for name in _ZARR_FILES)


def obstacle(path: Path) -> str:
    """Return why nothing can be read at a path; empty if there is a file or an image folder.

    Opening a pipe would wait for whoever writes into it, and some devices never end.
    """
    told = str(path) if str(path).isprintable() else shown(str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return (
                f"{told} is a broken link: there is no {os.readlink(path)}. Mend or remove the "
                "link."
            )
        return f"{told} does not exist: check the spelling and the current folder."
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a null byte
        reason = getattr(error, "strerror", None) or error
        return f"{told} cannot be opened ({reason}): check the path, or rename the file."
    if stat.S_ISREG(mode) or is_zarr(path):
        return ""
    if stat.S_ISDIR(mode):
        endings = ", ".join(IMAGE_ENDINGS)
        return f"{told} is a folder without images that can be read ({endings})."
    return f"{told} is no file but a pipe, a socket or a device: give the path of an image file."


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def _inside(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and ending_of(path).lower() in IMAGE_ENDINGS
        # Of folders only images; what is neither file nor folder is told when it is read.
        and (not os.path.isdir(path) or is_zarr(path))
    ]
    return sorted(found, key=_natural)


def list_images(paths: Iterable[str | Path], skip_endings: Sequence[str] = ()) -> list[Path]:
    """List the image files that files, folders and patterns stand for, each once.

    A folder stands for the images right inside it, in natural order; an OME-Zarr folder for
    itself. What does not exist, holds no image or is no file, such as a broken link, is listed
    as it is, so that reading it says what is wrong and the others are still read.

    Parameters
    ----------
    paths
        Files, folders and patterns such as ``"plate/*.tif"`` (``**`` for all levels). Brackets
        in the name of a file or folder that exists are part of it; a leading ``~`` is the home
        folder.
    skip_endings
        Files found in a folder or by a pattern are left out if their name ends like this.
    """
    listed: dict[str, Path] = {}
    for given in map(at_home, paths):
        found = [given]
        if os.path.isdir(given) and not is_zarr(given):
            with suppress(OSError):  # reading it says why
                found = _inside(given)
        elif not os.path.lexists(given) and glob.has_magic(str(given)):
            found = sorted(_matching(given), key=_natural)
        if found != [given]:
            found = [p for p in found if not p.name.endswith(tuple(skip_endings))]
        for path in found or [given]:
            listed.setdefault(_identity(path), path)
    return list(listed.values())


def at_home(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder, if there is such a one."""
    with suppress(RuntimeError):  # no such home folder: reading it says that it does not exist
        if not os.path.lexists(path):
            return Path(path).expanduser()
    return Path(path)


def _identity(path: Path) -> str:
    with suppress(OSError, ValueError):
        return os.path.realpath(path)
    return str(path)


def _matching(pattern: Path) -> list[Path]:
    """Return what a pattern stands for, in which brackets may be part of a name."""
    there, rest = Path(pattern.anchor), list(pattern.parts[len(Path(pattern.anchor).parts) :])
    while len(rest) > 1 and os.path.isdir(there / rest[0]):
        there /= rest.pop(0)
    for text in (os.path.join(*rest), os.path.join(*rest).replace("[", "[[]")):
        with suppress(OSError, ValueError):
            found = glob.glob(os.path.join(glob.escape(str(there)), text), recursive=True)
            if found:
                return [Path(path) for path in found]
    return []
