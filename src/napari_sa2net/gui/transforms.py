"""A layer's whole transform as plain values, and the two ways results change it.

napari maps data to world by ``affine @ (rotate @ shear @ diag(scale), translate)``. A result
keeps every part of its source's transform. Only two things move it: a result of a region
starts further in (:meth:`Transform.offset`), and a dropped channel axis stays as one pixel
stretched over its former extent (:meth:`Transform.stretched`), because napari aligns layers of
different dimension by their last axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engine.calibration import is_size

if TYPE_CHECKING:
    from napari.layers import Layer

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transform:
    """The transform, units and axis labels of a layer with n axes."""

    scale: Matrix
    """(n,)"""
    translate: Matrix
    """(n,)"""
    rotate: Matrix
    """(n, n)"""
    shear: Matrix
    """(n(n−1)/2,) upper triangle, or (n, n)"""
    affine: Matrix
    """(n+1, n+1), applied after the others"""
    units: tuple[str, ...] = ()
    axis_labels: tuple[str, ...] = ()

    @classmethod
    def identity(cls, ndim: int) -> Transform:
        """Return the transform of a layer whose world is its pixels."""
        return cls(
            scale=np.ones(ndim),
            translate=np.zeros(ndim),
            rotate=np.eye(ndim),
            shear=np.zeros(ndim * (ndim - 1) // 2),
            affine=np.eye(ndim + 1),
        )

    @classmethod
    def from_layer(cls, layer: Layer) -> Transform:
        """Copy the transform of ``layer``."""
        return cls(
            scale=np.array(layer.scale, dtype=float),
            translate=np.array(layer.translate, dtype=float),
            rotate=np.array(layer.rotate, dtype=float),
            shear=np.array(layer.shear, dtype=float),
            affine=np.array(layer.affine.affine_matrix, dtype=float),
            units=tuple(str(unit) for unit in layer.units),
            axis_labels=tuple(str(label) for label in layer.axis_labels),
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.scale)

    def linear(self) -> Matrix:
        """Return (n, n): rotation, shear and scale, without translation and affine."""
        if self.shear.ndim == 2:
            shear = self.shear
        else:
            shear = np.eye(self.ndim)
            shear[np.triu_indices(self.ndim, k=1)] = self.shear
        linear: Matrix = self.rotate @ shear @ np.diag(self.scale)
        return linear

    def matrix(self) -> Matrix:
        """Return (n+1, n+1), from data to world in homogeneous coordinates."""
        inner = np.eye(self.ndim + 1)
        inner[:-1, :-1] = self.linear()
        inner[:-1, -1] = self.translate
        matrix: Matrix = self.affine @ inner
        return matrix

    def offset(self, start: Sequence[float] | Matrix) -> Transform:
        """Return the transform of a crop whose first pixel is at ``start`` (n,)."""
        return replace(self, translate=self.translate + self.linear() @ np.asarray(start, float))

    def stretched(self, axis: int, length: float) -> Transform:
        """Return the transform of one pixel that covers ``length`` pixels along ``axis``."""
        start = np.zeros(self.ndim)
        start[axis] = (length - 1) / 2
        scale = self.scale.copy()
        scale[axis] *= length
        return replace(self.offset(start), scale=scale)

    def kwargs(self) -> dict[str, Any]:
        """Return the keyword arguments of a napari layer's constructor."""
        kwargs: dict[str, Any] = {
            "scale": self.scale,
            "translate": self.translate,
            "rotate": self.rotate,
            "shear": self.shear,
            "affine": self.affine,
        }
        if self.units:
            kwargs["units"] = self.units
        if self.axis_labels:
            kwargs["axis_labels"] = self.axis_labels
        return kwargs

    def apply(self, layer: Layer) -> None:
        """Give ``layer`` (n axes) this transform; what it has already is not set again."""
        now = Transform.from_layer(layer)
        if self.units and now.units != self.units:
            layer.units = self.units
        if self.axis_labels and now.axis_labels != self.axis_labels:
            layer.axis_labels = self.axis_labels
        if np.array_equal(now.matrix(), self.matrix()):
            return
        layer.rotate = self.rotate
        layer.shear = self.shear
        layer.scale = self.scale
        layer.translate = self.translate
        layer.affine = self.affine


def pixel_size(transform: Transform, axes: tuple[int, int]) -> tuple[float, float] | None:
    """Return the size of a pixel along two data axes in micrometres.

    The size is the length in the world of one step along the axis, so that rotations,
    mirrored axes and an affine are counted. None when the units are no lengths.
    """
    micrometres = [_micrometres(unit) for unit in transform.units] or [None] * transform.ndim
    linear = transform.matrix()[:-1, :-1]
    sizes = []
    for axis in axes:
        step = linear[:, axis]
        # A world axis without a length matters only where the step moves along it.
        touched = np.abs(step) > 1e-9 * np.abs(step).max(initial=0.0)
        factors = [f for f, used in zip(micrometres, touched, strict=True) if used]
        if not factors or any(factor is None for factor in factors):
            return None
        sizes.append(float(np.linalg.norm(step[touched] * np.array(factors, dtype=float))))
    if not all(map(is_size, sizes)):
        return None
    return sizes[0], sizes[1]


def _micrometres(unit: str) -> float | None:
    """Return the length of ``unit`` in micrometres, None if it is none."""
    import pint

    try:
        quantity = pint.get_application_registry().Quantity(1.0, unit)
        return float(quantity.to("micrometer").magnitude)
    except (pint.PintError, ValueError, TypeError, AttributeError):
        return None
