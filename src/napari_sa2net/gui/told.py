"""What the file of a layer tells of axes, channels, colours and pixel size.

napari's own reader passes on none of them.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any

from ..engine.image_file import FileInfo

logger = logging.getLogger(__name__)

NOTHING = FileInfo()


def file_info(layer: Any) -> FileInfo:
    """Return what the file of a layer tells; nothing if it is of no file, or it cannot be read."""
    path = getattr(layer.source, "path", None)
    if not path:
        return NOTHING
    try:
        changed = os.stat(path).st_mtime_ns
    except (OSError, ValueError):  # gone, or an address on the web
        return NOTHING
    return _read(str(path), changed)


def told_axes(layer: Any, shape: tuple[int, ...], *, rgb: bool = False) -> str:
    """Return the axes of an array that the file of a layer tells; empty if it does not."""
    info = info_of_data(layer, shape)
    return info.axes if not rgb or info.axes.endswith("C") else ""


def info_of_data(layer: Any, shape: tuple[int, ...]) -> FileInfo:
    """Return what the file of a layer tells, if its data have the shape of what is in it."""
    info = file_info(layer)
    return info if info.shape == shape else NOTHING


def told_notes(layer: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return what a person should know of the file of a layer."""
    info = info_of_data(layer, shape)
    more = f"Its file holds {info.arrays} images, of which this is the first."
    return tuple(filter(None, (info.remark, more if info.arrays > 1 else "")))


def told_sizes(layer: Any, height: int, width: int) -> tuple[dict[str, float], str]:
    """Return the size in µm of a step along Z, Y and X that the file of a layer tells.

    A file whose planes have another height or width in pixels is not what the layer shows. The
    text is what is to be said of it.
    """
    info = file_info(layer)
    if tuple(info.shape[i] for i, a in enumerate(info.axes) if a in "YX") != (height, width):
        return {}, ""
    return dict(info.calibration), info.doubt


def told_channels(layer: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the channels of an array of ``shape``; empty if nothing tells them.

    A reader plugin may have left them in the layer's metadata, as ``channel_names``.
    """
    names = getattr(layer, "metadata", {}).get("channel_names")
    if isinstance(names, (list, tuple)):
        return tuple(map(str, names))
    return info_of_data(layer, shape).channel_names


@lru_cache(maxsize=64)
def _read(path: str, changed: int) -> FileInfo:
    """Read what a file tells, again only when it has ``changed``: the window asks often."""
    from ..engine.files import read_info

    try:
        return read_info(path)
    except Exception as error:  # the layer is there all the same
        logger.info("%s tells nothing: %s", path, error)
        return NOTHING
