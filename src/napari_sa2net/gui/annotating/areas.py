"""Shapes that limit what of a painting counts: from a Shapes layer to pixels of the image.

The corners of every shape go through world coordinates, so the two layers may have any
transforms. napari's own ``to_masks`` works in the frame of the Shapes layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from ...engine.axes import Stack
from ...engine.errors import InputError
from ..layers import LayerImage
from .grids import onto_image

Corners = NDArray[np.floating[Any]]

ELLIPSE = 128
"""Corners of the polygon that stands for an ellipse."""

FILLED = ("rectangle", "ellipse", "polygon")
"""Kinds of shapes that have an inside; lines and paths have none."""

FLAT = 0.5
"""Planes by which the corners of a shape may differ and lie in one plane."""


@dataclass(frozen=True, eq=False)
class Areas:
    """What lies inside the shapes of a layer."""

    everywhere: tuple[Corners, ...]
    """Polygons (n, 2) that hold for each plane."""
    planes: dict[int, tuple[Corners, ...]]
    """Polygons of single planes, by the plane's number."""
    name: str
    """Of the layer."""

    def polygons(self, number: int) -> tuple[Corners, ...]:
        """Return the polygons of a plane of the image."""
        return self.everywhere + self.planes.get(number, ())

    def mask(self, number: int, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return which pixels of a part of a plane lie inside."""
        return inside(self.polygons(number), rows, columns)

    def boxes(self, number: int, shape: tuple[int, int]) -> list[tuple[slice, slice]]:
        """Return the parts of a plane (H, W) that hold the polygons."""
        return [box for box in (box_of(p, shape) for p in self.polygons(number)) if box]


def read_areas(layer: Any, image: LayerImage) -> Areas:
    """Read the shapes of ``layer`` over a result of ``image``.

    A shape of a 2D layer over a stack holds for all planes; one drawn in a plane of a stack for
    that plane.

    Raises
    ------
    InputError
        If there is no shape with an inside, or one lies across the planes.
    """
    if not isinstance(layer, Shapes):
        raise InputError(
            f"{getattr(layer, 'name', layer)} is not a Shapes layer: choose the layer in which "
            "you drew what counts."
        )
    matrix = onto_image(layer, image)
    stack = Stack(image.axes.replace("C", ""), image.result_shape())
    ndim = len(matrix) - 1
    letters = "?" * (ndim - len(image.layer_axes)) + image.layer_axes
    own = letters[ndim - int(layer.ndim) :]
    everywhere: list[Corners] = []
    planes: dict[int, list[Corners]] = {}
    for data, kind in zip(layer.data, layer.shape_type, strict=True):
        if str(kind) not in FILLED:
            continue
        corners = np.asarray(data, dtype=float)
        if str(kind) == "ellipse":
            corners = _round(corners)
        points = np.zeros((len(corners), ndim + 1))
        points[:, ndim - corners.shape[1] : ndim] = corners
        points[:, ndim] = 1
        at = (points @ matrix.T)[:, :ndim]
        polygon = at[:, [letters.index("Y"), letters.index("X")]]
        where = _plane(at, letters, own, str(layer.name), image.name)
        if not where:
            everywhere.append(polygon)
            continue
        for number in range(len(stack)):
            index = dict(zip(stack.plane_axes, stack.index(number), strict=True))
            if all(index[letter] == place for letter, place in where.items()):
                planes.setdefault(number, []).append(polygon)
    if not everywhere and not planes:
        raise InputError(
            f"{layer.name} has no shape inside of which a painting could count: draw a rectangle, "
            f"an ellipse or a polygon over {image.name}, or set Counts to “everywhere”."
        )
    single = {key: tuple(found) for key, found in planes.items()}
    return Areas(tuple(everywhere), single, str(layer.name))


def inside(polygons: tuple[Corners, ...], rows: slice, columns: slice) -> NDArray[np.bool_]:
    """Return which pixel centres of a part of a plane lie inside any of ``polygons``.

    A scan line a row: the crossings left of a pixel are odd inside. Quick for any size, as only
    the part asked for is drawn.
    """
    height, width = rows.stop - rows.start, columns.stop - columns.start
    out = np.zeros((height, width), dtype=bool)
    y = np.arange(rows.start, rows.stop, dtype=float)[:, None]
    for polygon in polygons:
        box = box_of(polygon, (rows.stop, columns.stop))
        if box is None or box[0].stop <= rows.start or box[1].stop <= columns.start:
            continue
        (y0, x0), (y1, x1) = polygon.T[:, None, :], np.roll(polygon, -1, axis=0).T[:, None, :]
        crossed = (y0 <= y) != (y1 <= y)
        row, edge = np.nonzero(crossed)
        # The parts of an edge that a row crosses: never level, so the division is safe.
        share = (y[row, 0] - y0[0, edge]) / (y1[0, edge] - y0[0, edge])
        x = x0[0, edge] + share * (x1[0, edge] - x0[0, edge])
        first = np.clip(np.ceil(x) - columns.start, 0, width).astype(int)
        steps = np.zeros((height, width + 1), dtype=np.int32)
        np.add.at(steps, (row, first), 1)
        out |= (np.cumsum(steps, axis=1)[:, :width] % 2).astype(bool)
    return out


def box_of(polygon: Corners, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the part of a plane (H, W) that holds ``polygon``, None if it lies outside."""
    low = np.maximum(np.ceil(polygon.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(polygon.max(axis=0)) + 1, shape).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def _round(box: Corners) -> Corners:
    """Return the outline of the ellipse in a box of four corners, which may be turned."""
    centre = box.mean(axis=0)
    one, other = (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ELLIPSE, endpoint=False)[:, None]
    outline: Corners = centre + np.cos(angles) * one + np.sin(angles) * other
    return outline


def _plane(at: Corners, letters: str, own: str, name: str, image_name: str) -> dict[str, int]:
    """Return where along T and Z a shape was drawn; empty if it holds for all planes."""
    found = {}
    for axis, letter in enumerate(letters):
        if letter not in "TZ" or letter not in own:
            continue
        places = at[:, axis]
        if np.ptp(places) > FLAT:
            raise InputError(
                f"A shape in {name} lies across the planes of {image_name}: draw it while Y and "
                "X are shown, or set Counts to “everywhere”."
            )
        found[letter] = int(np.floor(places.mean() + 0.5))
    return found
