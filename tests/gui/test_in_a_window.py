"""The layer functions with a real window, through the proxies that a widget gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from napari_sa2net.gui import compat
from napari_sa2net.gui.layers import read_image, source_layer
from napari_sa2net.gui.regions import (
    add_measure_layer,
    current_plane,
    measured_length,
    visible_region,
)
from napari_sa2net.gui.saving import read_result
from napari_sa2net.gui.segmenting.results import (
    Note,
    is_edited,
    write_labels,
    write_maps,
    write_plane,
)

NOTE = Note("nuclei")


def test_from_a_layer_and_back(make_napari_viewer_proxy: Callable[..., Any], qtbot: Any) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((4, 3, 100, 120)), name="cells", scale=(2, 1, 0.5, 0.5))
    layer = viewer.layers["cells"]
    image = read_image(layer).with_axes("TCYX")
    labels = np.random.default_rng(0).integers(0, 5, (4, 100, 120), dtype=np.int32)
    written = write_labels(viewer, image, labels, note=NOTE).layer
    assert source_layer(viewer, written) == layer
    assert not write_plane(viewer, image, labels[0], (2,), written)
    assert not is_edited(viewer.layers["cells labels"])

    plane = image.crop(current_plane(viewer, layer, image.axes))
    maps = {"stages": np.zeros((4, 1, 100, 120), np.float16)}
    assert len(write_maps(viewer, plane, maps, note=NOTE)) == 4
    again = write_maps(viewer, plane, maps, note=NOTE)
    assert not any(one.created for one in again)

    viewer.layers["cells labels"].data[1, 0, 5, 6] = 77
    assert write_labels(viewer, image, labels, note=NOTE).created
    assert read_result(viewer.layers["cells labels"]).data[1, 5, 6] == 77

    shapes = add_measure_layer(viewer, layer)
    shapes.add_lines(np.array([[0, 0, 10, 10], [0, 0, 40, 50]]))
    assert abs(measured_length(viewer, shapes, layer, image.axes) - 50) < 1e-6


def test_the_visible_region_of_a_window(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy(show=True)  # 0.6 tells what it drew
    pixels = np.random.default_rng(0).random((3, 400, 500))
    layer = viewer.add_image(pixels, scale=(1, 0.5, 0.5), translate=(0, 30, 0))
    viewer.reset_view()
    qtbot.wait(50)
    whole = visible_region(viewer, layer, "ZYX")
    assert whole[1:] == (slice(0, 400), slice(0, 500))

    compat.move_to(viewer, (1.0, 30 + 0.5 * 200, 0.5 * 250))
    compat.camera(viewer).zoom *= 8
    viewer.screenshot(canvas_only=True, flash=False)  # draws
    part = visible_region(viewer, layer, "ZYX")
    assert part[0] == slice(1, 2)
    for side, middle in ((part[1], 200), (part[2], 250)):
        assert abs((side.start + side.stop - 1) / 2 - middle) <= 1
        assert 10 < side.stop - side.start < 200
    assert_array_equal(read_image(layer).with_axes("ZYX").crop(part).data, pixels[part])
