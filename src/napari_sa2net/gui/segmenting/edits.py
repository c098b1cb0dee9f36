"""Has a person changed a result layer? And writing into one without its old strokes.

napari tells of some edits by events and of others (undo, ``layer.data[...] =``) not at all.
So a checksum a plane of what was last written is kept in the layer's metadata, and compared:
four bytes a plane, whatever the size of the image.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import classes

WRITTEN = "napari-sa2net-written"
"""Key of ``layer.metadata`` under which the checksums stand."""


@dataclass(eq=False)
class Checksums:
    """What was last written to a Labels layer."""

    shape: tuple[int, ...]
    dtype: str
    sides: tuple[int, int]
    """Which axes of the layer are Y and X."""
    planes: NDArray[np.uint32]
    """One for each plane, over the other axes in the layer's order."""


def remember(layer: Any, sides: tuple[int, int]) -> None:
    """Note that everything now in ``layer`` was written by us, its table too."""
    data = layer.data
    planes = np.moveaxis(data, sides, (-2, -1))
    sums = np.empty(planes.shape[:-2], dtype=np.uint32)
    for index in np.ndindex(sums.shape):
        sums[index] = checksum(planes[index])
    layer.metadata[WRITTEN] = Checksums(data.shape, str(data.dtype), sides, sums)
    classes.learn(layer)


def written_to(layer: Any) -> Checksums | None:
    """Return what was last written to ``layer``; None if nothing was that its pixels fit."""
    written, data = layer.metadata.get(WRITTEN), layer.data
    if not isinstance(written, Checksums) or not isinstance(data, np.ndarray):
        return None
    same = data.shape == written.shape and str(data.dtype) == written.dtype
    return written if same else None


def is_edited(layer: Any, plane: tuple[int, ...] | None = None) -> bool:
    """Return whether a person painted in ``layer``, or gave an object of it another class.

    Parameters
    ----------
    layer
        A Labels layer made by this package.
    plane
        Look at one plane only: its index over the layer's axes other than Y and X.
    """
    if plane is None:
        return any(differences(layer))
    written = written_to(layer)
    if written is None:
        return True
    here = np.moveaxis(layer.data, written.sides, (-2, -1))[plane]
    return bool(checksum(here) != written.planes[plane])


def differences(layer: Any) -> Iterator[bool]:
    """Yield, plane by plane, whether :func:`is_edited`; a plane of a large image takes a while."""
    written = written_to(layer)
    yield written is None or classes.were_changed(layer)
    if written is not None:
        planes = np.moveaxis(layer.data, written.sides, (-2, -1))
        for index in np.ndindex(written.planes.shape):
            yield checksum(planes[index]) != written.planes[index]


def set_plane(layer: Any, values: NDArray[Any], plane: tuple[int, ...]) -> None:
    """Write one plane of ``layer`` in place and remember it; ``plane`` as in :func:`is_edited`."""
    written: Checksums = layer.metadata[WRITTEN]
    target = np.moveaxis(layer.data, written.sides, (-2, -1))[plane]
    target[...] = values
    written.planes[plane] = checksum(target)
    forget_strokes(layer)
    layer.refresh()


def set_data(layer: Any, data: NDArray[Any], sides: tuple[int, int]) -> None:
    """Replace all of ``layer`` and remember it."""
    layer.data = data
    forget_strokes(layer)
    remember(layer, sides)


def forget_strokes(layer: Any) -> None:
    """Clear the undo history of ``layer``.

    Otherwise Ctrl+Z brings strokes on the old labels into the new ones, or an IndexError.
    Leaving the editable state clears it, and leaves the tool: that is taken up again.
    """
    editable, mode = layer.editable, layer.mode
    layer.editable = True
    layer.editable = False
    if editable:
        layer.editable = True
        layer.mode = mode


def checksum(plane: NDArray[Any]) -> int:
    """Return the checksum of the pixels of a plane."""
    pixels: Any = np.ascontiguousarray(plane)  # mypy does not know that it is a buffer
    return zlib.crc32(memoryview(pixels))
