"""Has a person changed a result layer? And writing into one without its old strokes.

napari tells of some edits by events and of others (undo, ``layer.data[...] =``) not at all.
So a checksum a plane of what was last written is kept in the layer's metadata, and compared:
four bytes a plane, whatever the size of the image.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """Note that everything now in ``layer`` was written by us."""
    data = layer.data
    planes = np.moveaxis(data, sides, (-2, -1))
    sums = np.empty(planes.shape[:-2], dtype=np.uint32)
    for index in np.ndindex(sums.shape):
        sums[index] = _checksum(planes[index])
    layer.metadata[WRITTEN] = Checksums(data.shape, str(data.dtype), sides, sums)


def is_edited(layer: Any, plane: tuple[int, ...] | None = None) -> bool:
    """Return whether ``layer`` holds anything else than what was last written to it.

    Parameters
    ----------
    layer
        A Labels layer made by this package.
    plane
        Look at one plane only: its index over the layer's axes other than Y and X.
    """
    written = layer.metadata.get(WRITTEN)
    data = layer.data
    if not isinstance(written, Checksums) or not isinstance(data, np.ndarray):
        return True
    if data.shape != written.shape or str(data.dtype) != written.dtype:
        return True
    planes = np.moveaxis(data, written.sides, (-2, -1))
    indices = np.ndindex(written.planes.shape) if plane is None else iter([plane])
    return any(_checksum(planes[index]) != written.planes[index] for index in indices)


def set_plane(layer: Any, values: NDArray[Any], plane: tuple[int, ...]) -> None:
    """Write one plane of ``layer`` in place and remember it; ``plane`` as in :func:`is_edited`."""
    written: Checksums = layer.metadata[WRITTEN]
    target = np.moveaxis(layer.data, written.sides, (-2, -1))[plane]
    target[...] = values
    written.planes[plane] = _checksum(target)
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


def _checksum(plane: NDArray[Any]) -> int:
    pixels: Any = np.ascontiguousarray(plane)  # mypy does not know that it is a buffer
    return zlib.crc32(memoryview(pixels))
