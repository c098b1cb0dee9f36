"""What differs between napari 0.6 and 0.9, and between versions of Qt, in one place.

Only public names of napari.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel


def camera(viewer: ViewerModel) -> Any:
    """Return the viewer's camera: ``viewer.scene.camera`` since 0.9, before ``viewer.camera``."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def move_to(viewer: ViewerModel, world: tuple[float, ...]) -> None:
    """Show the plane of the world point ``world`` and centre the camera on it."""
    viewer.dims.point = world
    displayed = list(viewer.dims.displayed)
    camera(viewer).center = tuple(np.asarray(world, dtype=float)[displayed])


def visible_data(viewer: ViewerModel, layer: Any) -> NDArray[np.float64]:
    """Return (2, n) lowest and highest data coordinates of ``layer`` that the canvas shows.

    The box is not clipped to the layer, and of axes that are not displayed it holds the
    current position. Coordinates are those of full resolution, pixel centres at whole numbers.
    Meant for two displayed dimensions.
    """
    canvas = getattr(viewer, "canvas", None)
    if canvas is None:
        # napari 0.6 tells a canvas size only in private; its corner_pixels are right (0.9.2
        # keeps the larger fetched tile of a multiscale layer there). They are inclusive.
        corners = np.asarray(layer.corner_pixels, dtype=float)
        if layer.multiscale:
            factors = np.asarray(layer.downsample_factors[layer.data_level], dtype=float)
            # Pixel i of a level covers the full-resolution pixels i·f … (i+1)·f − 1.
            return np.stack([corners[0] * factors, (corners[1] + 1) * factors - 1])
        return corners
    view = camera(viewer)
    size = np.asarray(canvas.viewbox_size(viewer.layers), dtype=float)
    half = size / float(view.zoom) / 2
    centre = np.asarray(view.center, dtype=float)[-2:]
    displayed = list(viewer.dims.displayed)[-2:]
    points = []
    for sign_y in (-1, 1):
        for sign_x in (-1, 1):
            world = np.array(viewer.dims.point, dtype=float)
            world[displayed] = centre + half * (sign_y, sign_x)
            points.append(np.asarray(layer.world_to_data(world), dtype=float))
    return np.stack([np.min(points, axis=0), np.max(points, axis=0)])


def set_row_visible(form: Any, field: Any, visible: bool) -> None:
    """Show or hide the row of ``field`` in a QFormLayout; before Qt 6.4 its gap stays."""
    if hasattr(form, "setRowVisible"):
        form.setRowVisible(field, visible)
        return
    label = form.labelForField(field)
    for widget in (field,) if label is None else (field, label):
        widget.setVisible(visible)


def fill_view(viewer: ViewerModel, layer: Any, corners: NDArray[np.float64]) -> None:
    """Zoom so that a part of the world, about the camera's centre, fills the canvas.

    Parameters
    ----------
    viewer, layer
        A layer that is in view; napari 0.6 tells the size of a canvas by nothing else.
    corners
        (n, d), points of the world over the displayed axes, of which the last two count.
    """
    view = camera(viewer)
    canvas = getattr(viewer, "canvas", None)
    if canvas is not None:
        size = np.asarray(canvas.viewbox_size(viewer.layers), dtype=float)
    else:
        low, high = visible_data(viewer, layer)
        ends = np.abs(np.subtract(layer.data_to_world(high), layer.data_to_world(low)))
        size = ends[-2:] * float(view.zoom)
    part = np.ptp(corners, axis=0)[-2:]
    if (size > 1).all() and (part > 0).all():
        view.zoom = float((size / part).min())
