"""Which part of a layer the viewer shows, and measuring an object by drawing a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engine.errors import InputError
from . import compat
from .layers import NOTE, LayerImage, Slices, axes_of_layer, note_of
from .transforms import Transform

if TYPE_CHECKING:
    from napari.components import ViewerModel

MEASURE = "measure"
"""Kind of the Shapes layer in which a diameter is measured."""


def current_plane(viewer: ViewerModel, layer: Any, axes: str) -> Slices:
    """Return the plane of ``layer`` that the viewer's sliders stand on.

    Parameters
    ----------
    viewer, layer
        A viewer and an Image layer in it.
    axes
        Of the image read from the layer (:attr:`LayerImage.axes`).

    Returns
    -------
    tuple of slice
        One for each axis of the layer: a single index of T and Z, all of C, Y and X.
    """
    letters = _letters(layer, axes)
    position = np.asarray(layer.world_to_data(viewer.dims.point), dtype=float)
    slices = []
    for letter, value, n in zip(letters, position, _shape(layer), strict=True):
        if letter in "TZ":
            index = int(np.clip(np.round(value), 0, n - 1))
            slices.append(slice(index, index + 1))
        else:
            slices.append(slice(0, n))
    return tuple(slices)


def plane_index(viewer: ViewerModel, image: LayerImage, layer: Any) -> tuple[int, ...]:
    """Return the index of the shown plane over T, then Z, as far as ``image`` has them.

    ``image`` may be a crop; a plane outside it gives its nearest one.
    """
    slices = current_plane(viewer, layer, image.axes)
    region = image.region or tuple(slice(0, n) for n in image.layer_shape)
    where = {
        letter: int(np.clip(part.start - outer.start, 0, outer.stop - outer.start - 1))
        for part, outer, letter in zip(slices, region, image.layer_axes, strict=True)
    }
    return tuple(where[letter] for letter in "TZ" if letter in where)


def visible_region(viewer: ViewerModel, layer: Any, axes: str) -> Slices:
    """Return what the canvas shows of ``layer``: the current plane, cropped in Y and X.

    In a 3D view there is no such rectangle, so the whole current plane is returned.

    Raises
    ------
    InputError
        If nothing of the layer is in view, or its planes are seen from the side.
    """
    plane = current_plane(viewer, layer, axes)
    if viewer.dims.ndisplay != 2:
        return plane
    letters = _letters(layer, axes)
    first = viewer.dims.ndim - layer.ndim
    displayed = {axis - first for axis in viewer.dims.displayed}
    sides = [letters.index("Y"), letters.index("X")]
    if displayed != set(sides):
        raise InputError(
            f"The view shows {layer.name} from the side, across its {axes} planes: change the "
            "order of the visible axes (the button below the layer list) so that Y and X are "
            "shown, or correct the axes."
        )
    low, high = compat.visible_data(viewer, layer)
    slices = list(plane)
    for axis in sides:
        n = _shape(layer)[axis]
        # Pixel i covers i − ½ … i + ½; a pixel partly in view counts.
        start = int(np.clip(np.floor(low[axis] + 0.5), 0, n))
        stop = int(np.clip(np.floor(high[axis] + 0.5) + 1, 0, n))
        if stop <= start:
            raise InputError(
                f"Nothing of {layer.name} is in view: move the image into the canvas (the Home "
                "button below the layer list shows all of it)."
            )
        slices[axis] = slice(start, stop)
    return tuple(slices)


def add_measure_layer(viewer: ViewerModel, layer: Any) -> Any:
    """Add a Shapes layer over ``layer`` to draw a line in, or find the one there.

    It is made active with the line tool ready. The length is then told by
    :func:`measured_length`.
    """
    transform = Transform.from_layer(layer)
    for shapes in viewer.layers:
        if (note_of(shapes) or {}).get("kind") == MEASURE and shapes.ndim == layer.ndim:
            transform.apply(shapes)
            break
    else:
        shapes = viewer.add_shapes(
            ndim=layer.ndim,
            name="Diameter",
            metadata={NOTE: {"kind": MEASURE}},
            **transform.kwargs(),
        )
        shapes.current_edge_color = "yellow"
        shapes.current_edge_width = max(1.0, min(_shape(layer)[-2:]) / 250)
    viewer.layers.selection.active = shapes
    shapes.visible = True
    shapes.mode = "add_line"
    return shapes


def measured_length(viewer: ViewerModel, shapes: Any, layer: Any, axes: str = "") -> float:
    """Return the length of the last line in ``shapes``, in data pixels of ``layer``.

    The ends go through world coordinates, so the line may be in a layer of any transform.

    Parameters
    ----------
    viewer
        Its current position stands in for axes the Shapes layer does not have.
    shapes, layer
        A Shapes layer and the Image layer to measure in.
    axes
        Of the image; its Y and X are measured along. Empty: the last two axes.

    Raises
    ------
    InputError
        If there is no line, or it has no length.
    """
    lines = [
        data for data, kind in zip(shapes.data, shapes.shape_type, strict=True) if kind == "line"
    ]
    if not lines:
        raise InputError(
            f"There is no line in {shapes.name}: draw one across a typical object, from edge "
            "to edge, with the line tool."
        )
    letters = _letters(layer, axes) if axes else ""
    sides = [letters.index("Y"), letters.index("X")] if letters else [-2, -1]
    ends = onto_layer(viewer, shapes, layer, np.asarray(lines[-1], dtype=float))[:, sides]
    length = float(np.linalg.norm(ends[1] - ends[0]))
    if not length > 0:
        raise InputError(
            f"The last line in {shapes.name} has no length: press, drag and release to draw it."
        )
    return length


def onto_layer(
    viewer: ViewerModel, shapes: Any, layer: Any, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points (n, d) of a Shapes layer in data pixels (n, D) of another layer.

    The viewer's position stands in for axes that the Shapes layer does not have.
    """
    found = []
    for point in points:
        on_shapes = np.asarray(shapes.data_to_world(point), dtype=float)
        world = np.array(viewer.dims.point, dtype=float)
        world[-len(on_shapes) :] = on_shapes
        found.append(np.asarray(layer.world_to_data(world), dtype=float))
    return np.stack(found)


def _letters(layer: Any, axes: str) -> str:
    """Return the letters of the layer's own axes."""
    more = len(axes) == layer.ndim + 1  # the layer has no axis of colours, or is one of several
    rgb = more and axes.endswith("C")
    letters = axes_of_layer(axes, rgb=rgb, stacked=more and not rgb)
    if len(letters) != layer.ndim:
        raise InputError(
            f"The axes {axes} do not fit {layer.name}, which has {layer.ndim}: correct the axes."
        )
    return letters


def _shape(layer: Any) -> tuple[int, ...]:
    """Return the sizes of the layer's axes at full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape[: layer.ndim])
