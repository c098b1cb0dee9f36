"""How the pixels of a painting lie on those of its image, through world coordinates.

napari aligns layers of different dimension by their last axes, and so does everything here. A
painting on the image's own grid, also of a part of it, is copied; one on another grid is
resampled to the nearest pixel, if the layers' transforms say how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.axes import Stack
from ...engine.errors import InputError
from ..layers import LayerImage
from ..transforms import Transform

Matrix = NDArray[np.floating[Any]]
Box = tuple[slice, slice]

SHIFT_ERROR = 0.1
"""Pixels by which two grids may be off and count as the same."""

COVERS = 1.0
"""Pixels (of the coarser grid) that may lack at a border of a painting that covers its image."""

OBLIQUE = 0.5
"""Planes by which a plane of the image may be tilted against those of the painting."""


def padded(matrix: Matrix, ndim: int) -> Matrix:
    """Return an (n+1, n+1) matrix for ``ndim`` axes; added leading axes stay as they are."""
    extra = ndim + 1 - len(matrix)
    out = np.eye(ndim + 1)
    out[extra:, extra:] = matrix
    return out


def onto_image(layer: Any, image: LayerImage) -> Matrix:
    """Return (N+1, N+1): from pixels of ``layer`` to those of a result of ``image``.

    N is the larger number of axes; the channels of the image are one pixel.
    """
    ndim = max(int(layer.ndim), len(image.layer_axes))
    to_world = padded(Transform.from_layer(layer).matrix(), ndim)
    image_to_world = padded(image.result_transform().matrix(), ndim)
    try:
        matrix: Matrix = np.linalg.solve(image_to_world, to_world)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"The scale of {image.name} is 0 along an axis: correct it in the layer."
        ) from error
    return matrix


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """From pixels of one plane of an image to those of a plane of a painting."""

    linear: Matrix
    """(2, 2)"""
    offset: Matrix
    """(2,)"""
    index: tuple[int, ...]
    """Of the painting's plane over its axes other than Y, X and channels, in its order."""
    exact: bool
    """Whether the map is a shift by whole pixels."""

    def inverse(self, points: Matrix) -> Matrix:
        """Return where points (n, 2) of the painting lie in the image."""
        found: Matrix = np.linalg.solve(self.linear, (points - self.offset).T).T
        return found

    def place(
        self, values: NDArray[Any], origin: tuple[int, int], shape: tuple[int, int]
    ) -> tuple[Box, NDArray[Any], NDArray[np.bool_] | None] | None:
        """Bring a block of the painting to the image.

        Parameters
        ----------
        values
            (h, w), the block.
        origin
            Where in the painting's plane it begins.
        shape
            (H, W) of the image's plane.

        Returns
        -------
        tuple or None
            The part of the image, its values, and which of its pixels the block covers (None:
            all). None if the block lies outside the image.
        """
        sides = np.array(values.shape)
        if self.exact:
            start = np.array(origin) - np.round(self.offset).astype(int)
            low, high = np.maximum(start, 0), np.minimum(start + sides, shape)
            if (high <= low).any():
                return None
            box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
            inner = tuple(
                slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True)
            )
            return box, values[inner], None
        corners = np.array(origin) - 0.5 + sides * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        ends = self.inverse(corners)
        low = np.maximum(np.floor(ends.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(ends.max(axis=0)) + 1, shape).astype(int)
        if (high <= low).any():
            return None
        rows = np.arange(low[0], high[0])[:, None]
        columns = np.arange(low[1], high[1])[None, :]
        at = [
            np.floor(self.linear[i, 0] * rows + self.linear[i, 1] * columns + shift).astype(int)
            for i, shift in enumerate(self.offset + 0.5 - origin)
        ]
        inside = (at[0] >= 0) & (at[0] < sides[0]) & (at[1] >= 0) & (at[1] < sides[1])
        patch = np.zeros(inside.shape, values.dtype)
        patch[inside] = values[at[0][inside], at[1][inside]]
        box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
        return box, patch, inside

    def scatter(
        self, values: NDArray[Any], origin: tuple[int, int], patch: NDArray[Any], box: Box
    ) -> NDArray[Any]:
        """Return ``patch`` with the thin strokes of a finer painting that it may have missed."""
        if self.exact or abs(np.linalg.det(self.linear)) <= 1:
            return patch
        rows, columns = np.nonzero(values)
        points = np.stack([rows, columns], axis=1) + np.array(origin, dtype=float)
        at = np.round(self.inverse(points)).astype(int) - [box[0].start, box[1].start]
        kept = ((at >= 0) & (at < patch.shape)).all(axis=1)
        at, found = at[kept], values[rows[kept], columns[kept]]
        free = patch[at[:, 0], at[:, 1]] == 0
        patch[at[free, 0], at[free, 1]] = found[free]
        return patch


class Grid:
    """A painting's array over the planes of an image.

    Parameters
    ----------
    layer
        A Labels layer, or an Image layer of a map.
    image
        The image.

    Raises
    ------
    InputError
        If the layer cannot be brought onto the image.
    """

    def __init__(self, layer: Any, image: LayerImage) -> None:
        self.image, self.name = image, str(layer.name)
        data = layer.data[0] if layer.multiscale else layer.data
        self.data: Any = data
        self.stack = Stack(image.axes.replace("C", ""), image.result_shape())
        forward = onto_image(layer, image)
        ndim = len(forward) - 1
        if abs(np.linalg.det(forward[:-1, :-1])) < 1e-12:
            raise InputError(f"The scale of {self.name} is 0 along an axis: correct it.")
        self.matrix: Matrix = np.linalg.inv(forward)
        letters = image.layer_axes
        self._image_axes = "?" * (ndim - len(letters)) + letters
        self.axes = self._image_axes[ndim - data.ndim :]
        """A letter for each axis of the array; "?" where the image has none."""
        self._first = ndim - data.ndim
        self._check_axes()
        self._check_position()

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width of the painting's planes."""
        return self.data.shape[self.axes.index("Y")], self.data.shape[self.axes.index("X")]

    def planes(self) -> Iterator[tuple[int, PlaneMap]]:
        """Yield the planes of the image that the painting has, by number."""
        for number in range(len(self.stack)):
            mapped = self.plane_map(number)
            if mapped is not None:
                yield number, mapped

    def plane_map(self, number: int) -> PlaneMap | None:
        """Return how plane ``number`` of the image lies on the painting, None if outside."""
        where = dict(zip(self.stack.plane_axes, self.stack.index(number), strict=True))
        point = np.array([where.get(letter, 0) for letter in self._image_axes] + [1.0])
        at = self.matrix @ point
        index = []
        for axis, letter in enumerate(self.axes):
            if letter in "YXC":
                continue
            place = int(np.floor(at[self._first + axis] + 0.5))
            if not 0 <= place < self.data.shape[axis]:
                return None
            index.append(place)
        sides = [self._image_axes.index(letter) for letter in "YX"]
        linear = self.matrix[np.ix_(sides, sides)]
        offset = at[sides]
        ends = np.array(self.stack.plane_shape) - 1
        off = np.abs(linear - np.eye(2)) @ ends + np.abs(offset - np.round(offset))
        return PlaneMap(linear, offset, tuple(index), bool((off < SHIFT_ERROR).all()))

    def plane(self, mapped: PlaneMap) -> NDArray[Any]:
        """Return the painting's plane (H, W) for a plane of the image; a view where it can be."""
        places = iter(mapped.index)
        where = tuple(slice(None) if letter in "YXC" else next(places) for letter in self.axes)
        plane = np.asarray(self.data[where])
        left = [letter for letter in self.axes if letter in "YXC"]
        if "C" in left:
            channel = left.index("C")
            # Painted while another channel was shown is painted all the same.
            plane = plane.squeeze(channel) if plane.shape[channel] == 1 else plane.max(channel)
            left.remove("C")
        return plane if left == ["Y", "X"] else plane.T

    def covers(self, mapped: PlaneMap) -> bool:
        """Return whether the painting holds all of a plane of the image."""
        height, width = self.stack.plane_shape
        corners = np.array([[0, 0], [0, width - 1], [height - 1, 0], [height - 1, width - 1]])
        at = corners @ mapped.linear.T + mapped.offset
        slack = COVERS * max(1.0, float(np.abs(mapped.linear).sum(axis=1).max())) / 2
        if mapped.exact:
            slack = SHIFT_ERROR
        low, high = at.min(axis=0), at.max(axis=0)
        return bool(
            (low >= -slack).all() and (high <= np.array(self.plane_shape) - 1 + slack).all()
        )

    def outline(self, mapped: PlaneMap) -> Matrix:
        """Return the corners (4, 2) of the painting in a plane of the image."""
        height, width = self.plane_shape
        return mapped.inverse(
            np.array([[0, 0], [0, width], [height, width], [height, 0]], dtype=float) - 0.5
        )

    @property
    def unexplained(self) -> bool:
        """Whether the shapes differ and no transform says how they fit."""
        sizes = {
            letter: n
            for letter, n in zip(self.axes, self.data.shape, strict=True)
            if letter in "YX"
        }
        same = (sizes["Y"], sizes["X"]) == self.stack.plane_shape
        return not same and np.allclose(self.matrix, np.eye(len(self.matrix)))

    def _check_axes(self) -> None:
        """Raise unless the planes of the painting are those of the image."""
        for letter, n in zip(self.axes, self.data.shape, strict=True):
            if letter == "?" and n > 1:
                raise InputError(
                    f"{self.name} has {self.data.ndim} axes and {self.image.name} has "
                    f"{len(self.image.layer_axes)}: choose the image it was made for."
                )
            if letter == "C" and n not in (1, self._channels()):
                raise InputError(
                    f"napari puts an axis of {self.name} (of length {n}) on the channels of "
                    f"{self.image.name}: press New annotation layer and paint there, or split "
                    "the channels (right click on the image, Split Stack) and tick them as the "
                    "channels of one image."
                )
        for letter, n in zip(self.image.layer_axes, _lengths(self.image), strict=True):
            if letter in "TZ" and letter not in self.axes and n > 1:
                raise InputError(
                    f"{self.name} has no {letter} axis and lies on all {n} planes of "
                    f"{self.image.name}, so nobody can tell which one it is for: press New "
                    "annotation layer and paint there, or give the labels that axis."
                )

    def _check_position(self) -> None:
        """Raise where a plane of the image is no plane of the painting."""
        lengths = np.ones(len(self._image_axes))
        first = len(self._image_axes) - len(self.image.layer_axes)
        lengths[first:] = _lengths(self.image)
        for axis, letter in enumerate(self._image_axes):
            if letter not in "TZ" or axis < self._first:
                continue
            tilt = [
                abs(self.matrix[axis, other]) * (lengths[other] - 1)
                for other in range(len(lengths))
                if other != axis
            ]
            if max(tilt, default=0) > OBLIQUE:
                raise InputError(
                    f"{self.name} is turned against the planes of {self.image.name}: give both "
                    "layers the same rotation, or press New annotation layer."
                )

    def _channels(self) -> int:
        letters = self.image.layer_axes
        return self.image.layer_shape[letters.index("C")] if "C" in letters else 1


def _lengths(image: LayerImage) -> list[int]:
    """Return the lengths of a result's axes in the layer: one channel."""
    return [
        1 if letter == "C" else int(n)
        for letter, n in zip(image.layer_axes, image.layer_shape, strict=True)
    ]
