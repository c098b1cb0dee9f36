"""What the viewer shows of a layer, and measuring by a line."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.testing import assert_allclose

from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui import compat
from napari_sa2net.gui.layers import is_result, read_image
from napari_sa2net.gui.regions import (
    add_measure_layer,
    current_plane,
    measured_length,
    plane_index,
    visible_region,
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def look(viewer: ViewerModel, layer: Any, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Let the canvas show these pixels (inclusive) of ``layer``, by the way of each version."""
    start, stop = ([side[end] for side in (rows, columns)] for end in (0, 1))
    axes = list(viewer.dims.displayed)
    if not hasattr(viewer, "canvas"):
        # Drawing sets it in napari 0.6; a model without a window does not draw.
        corners = np.array(layer.corner_pixels)
        if layer.multiscale:
            factors = np.asarray(layer.downsample_factors[layer.data_level])[axes]
            start = np.array(start) // factors
            stop = np.array(stop) // factors
        corners[0, axes], corners[1, axes] = start, stop
        layer.corner_pixels = corners
        return
    low, high = (np.array(viewer.dims.point, dtype=float) for _ in range(2))
    low[axes] = np.asarray(layer.data_to_world([0] * (layer.ndim - 2) + start))[-2:]
    high[axes] = np.asarray(layer.data_to_world([0] * (layer.ndim - 2) + stop))[-2:]
    low, high = low[axes], high[axes]
    view = compat.camera(viewer)
    view.center = tuple((low + high) / 2)
    view.zoom = 10.0
    viewer.canvas.size = tuple(round(side * 10.0) for side in np.abs(high - low))


def test_the_visible_rectangle(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((200, 300)), scale=(0.5, 0.5), translate=(7, -3))
    look(viewer, layer, (20, 60), (100, 250))
    assert visible_region(viewer, layer, "YX") == (slice(20, 61), slice(100, 251))


def test_the_visible_rectangle_is_clipped(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((200, 300)))
    look(viewer, layer, (-50, 60), (100, 400) if hasattr(viewer, "canvas") else (100, 299))
    assert visible_region(viewer, layer, "YX") == (slice(0, 61), slice(100, 300))


def test_nothing_in_view(viewer: ViewerModel) -> None:
    if not hasattr(viewer, "canvas"):
        pytest.skip("napari 0.6 tells one pixel when the image is out of view")
    layer = viewer.add_image(np.zeros((200, 300)))
    look(viewer, layer, (500, 600), (100, 200))
    with pytest.raises(InputError, match="in view"):
        visible_region(viewer, layer, "YX")


def test_mirrored_axes(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((200, 300)), scale=(-1, 1))
    look(viewer, layer, (20, 60), (100, 250))
    assert visible_region(viewer, layer, "YX") == (slice(20, 61), slice(100, 251))


def test_a_plane_of_a_stack_with_channels(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((5, 3, 200, 300)), scale=(2, 1, 0.5, 0.5))
    viewer.dims.point = (6, 1, 0, 0)
    image = read_image(layer).with_axes("TCYX")
    plane = (slice(3, 4), slice(0, 3), slice(0, 200), slice(0, 300))
    assert current_plane(viewer, layer, image.axes) == plane
    assert plane_index(viewer, image, layer) == (3,)
    look(viewer, layer, (20, 60), (100, 250))
    region = visible_region(viewer, layer, image.axes)
    assert region == (*plane[:2], slice(20, 61), slice(100, 251))
    part = image.crop(region)
    assert part.data.shape == (1, 3, 41, 151)
    assert plane_index(viewer, part, layer) == (0,)
    assert_allclose(part.transform.translate, (6, 0, 10, 50))


def test_planes_are_counted_over_time_first(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((4, 5, 20, 30)))
    viewer.dims.point = (1, 3, 0, 0)
    assert plane_index(viewer, read_image(layer).with_axes("ZTYX"), layer) == (3, 1)


def test_rgb_and_stacked_layers(viewer: ViewerModel) -> None:
    colours = viewer.add_image(np.zeros((5, 20, 30, 3), np.uint8), rgb=True)
    viewer.dims.point = (2, 0, 0)
    assert current_plane(viewer, colours, "ZYXC") == (slice(2, 3), slice(0, 20), slice(0, 30))
    assert current_plane(viewer, viewer.add_image(np.zeros((20, 30))), "CYX")[0] == slice(0, 20)


def test_multiscale_gives_full_resolution(viewer: ViewerModel) -> None:
    layer = viewer.add_image([np.zeros((256, 320)), np.zeros((128, 160))], multiscale=True)
    look(viewer, layer, (40, 99), (100, 199))
    rows, columns = visible_region(viewer, layer, "YX")
    # To the pixel in 0.9, to a pixel of the level shown in 0.6.
    assert abs(rows.start - 40) <= 2
    assert abs(rows.stop - 100) <= 2
    assert abs(columns.start - 100) <= 2
    assert abs(columns.stop - 200) <= 2


def test_planes_seen_from_the_side(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((50, 60, 70)))
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(InputError, match="from the side"):
        visible_region(viewer, layer, "ZYX")


def test_in_3d_the_whole_plane(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((50, 60, 70)))
    viewer.dims.point = (9, 0, 0)
    viewer.dims.ndisplay = 3
    assert visible_region(viewer, layer, "ZYX") == (slice(9, 10), slice(0, 60), slice(0, 70))


def test_the_camera_without_a_warning(viewer: ViewerModel) -> None:
    viewer.add_image(np.zeros((50, 60, 70)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compat.move_to(viewer, (9.0, 20.0, 30.0))
    assert viewer.dims.current_step[0] == 9
    assert_allclose(compat.camera(viewer).center[-2:], (20, 30))


# --- measuring --------------------------------------------------------------------------------


def test_a_line_is_measured_in_pixels_of_the_image(viewer: ViewerModel) -> None:
    turned = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    layer = viewer.add_image(
        np.zeros((5, 200, 300)), scale=(2, 0.5, 0.25), rotate=turned, translate=(0, 5, 5)
    )
    shapes = add_measure_layer(viewer, layer)
    assert viewer.layers.selection.active == shapes
    assert str(shapes.mode) == "add_line"
    assert not is_result(shapes)
    with pytest.raises(InputError, match="no line"):
        measured_length(viewer, shapes, layer)
    shapes.add_lines(np.array([[1, 10, 10], [1, 10, 90]]))
    shapes.add_lines(np.array([[1, 10, 10], [1, 40, 50]]))  # 30 rows, 40 columns
    assert measured_length(viewer, shapes, layer, "ZYX") == pytest.approx(50)
    shapes.add_paths(np.array([[1, 0, 0], [1, 9, 9], [1, 9, 0]]))  # is no line
    assert measured_length(viewer, shapes, layer) == pytest.approx(50)


def test_a_line_in_a_layer_of_another_transform(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((5, 200, 300)), scale=(2, 0.5, 0.25))
    shapes = viewer.add_shapes(ndim=2)
    shapes.add_lines(np.array([[1.0, 1.0], [16.0, 11.0]]))  # 15 µm × 10 µm
    assert measured_length(viewer, shapes, layer) == pytest.approx(np.hypot(30, 40))


def test_a_line_without_length(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((20, 30)))
    shapes = add_measure_layer(viewer, layer)
    shapes.add_lines(np.array([[3.0, 3.0], [3.0, 3.0]]))
    with pytest.raises(InputError, match="no length"):
        measured_length(viewer, shapes, layer)


def test_the_measuring_layer_is_used_again(viewer: ViewerModel) -> None:
    first = viewer.add_image(np.zeros((20, 30)))
    second = viewer.add_image(np.zeros((20, 30)), scale=(2, 2), translate=(7, 7))
    shapes = add_measure_layer(viewer, first)
    assert add_measure_layer(viewer, second) == shapes
    assert_allclose(shapes.data_to_world((1, 1)), (9, 9))
