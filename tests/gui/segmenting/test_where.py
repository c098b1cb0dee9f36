"""A part of the image segmented alone: what the canvas shows, or what shapes mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui import layers, regions
from napari_sa2net.gui.segmenting.where import Where, region_of


def run_to_end(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs, nor live labels."""
    controller = widget.controller
    qtbot.waitUntil(
        lambda: not controller.state.busy and controller._relabel is None, timeout=20_000
    )


def choose(widget: Any, kind: str) -> None:
    combo = widget.segment.where.combo
    combo.setCurrentIndex(combo.findData(kind))


def box(y0: float, x0: float, y1: float, x1: float) -> Any:
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], dtype=float)


def test_selected_shapes_are_segmented_alone(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    image = viewer.add_image(things, name="image", scale=(2, 3), translate=(5, 7), rotate=30)
    shapes = viewer.add_shapes(
        [box(2, 2, 20.2, 20), box(28, 28, 44, 44)], scale=(2, 3), translate=(5, 7), rotate=30
    )
    shapes.selected_data = {0}
    viewer.layers.selection.active = image
    choose(widget, "shapes")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["region"] == (2, 2, 21, 21)
    assert backend.requests[-1].data.shape == (64, 64), "the engine takes the part"
    (first,) = [layer for layer in viewer.layers if "labels" in layer.name]
    assert first.name == "image labels (y 2–21, x 2–21)"
    assert first.data.shape == (19, 19)
    assert len(np.unique(first.data)) == 2
    # It lies where the region is.
    np.testing.assert_allclose(first.data_to_world((0, 0)), image.data_to_world((2, 2)))
    np.testing.assert_allclose(first.data_to_world((9, 4)), image.data_to_world((11, 6)))
    # Another region leaves the first one as it is, and both leave that of the whole image.
    shapes.selected_data = {1}
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    choose(widget, "whole")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["region"] is None
    names = [layer.name for layer in viewer.layers if "labels" in layer.name]
    assert names == [first.name, "image labels (y 28–45, x 28–45)", "image labels"]
    assert first.data.shape == (19, 19)
    # The same region again updates its layer.
    shapes.selected_data = {0}
    choose(widget, "shapes")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert len([layer for layer in viewer.layers if "labels" in layer.name]) == 3
    # Without a selection, the box around all shapes.
    shapes.selected_data = set()
    found = region_of(viewer, widget.segment.where.value(), image, widget.segment.image.image)
    assert found == (2, 2, 45, 45)


def test_what_the_canvas_shows_of_all_planes_and_maps_of_one(
    qtbot: Any, open_widget: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    viewer, widget = open_widget()
    stack = np.stack([np.stack([things] * 3)] * 2)
    viewer.add_image(stack, name="image", axis_labels=("c", "z", "y", "x"))
    viewer.dims.set_current_step(1, 2)
    shown = (slice(0, 2), slice(2, 3), slice(10, 50), slice(0, 40))
    monkeypatch.setattr(regions, "visible_region", lambda *_: shown)
    widget.segment.image.channels.boxes[0].setChecked(True)
    choose(widget, "canvas")
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["region"] == (10, 0, 50, 40)
    assert backend.requests[-1].plane == (2,)
    labels = viewer.layers["image labels (y 10–50, x 0–40)"]
    assert labels.data.shape == (1, 3, 40, 40)
    np.testing.assert_array_equal(labels.translate[1:], (0, 10, 0))
    stage = viewer.layers["image stage 1 (y 10–50, x 0–40)"]
    assert stage.data.shape == (1, 1, 40, 40)
    np.testing.assert_array_equal(stage.translate[1:], (2, 10, 0))
    # The sliders act on it as on any result.
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.95)
    run_to_end(qtbot, widget)
    assert not labels.data.any()


def test_rgb_and_a_layer_of_other_scale(open_widget: Any, things: Any) -> None:
    viewer, _ = open_widget()
    layer = viewer.add_image(np.stack([things] * 3, axis=-1), rgb=True, scale=(0.5, 0.5))
    shapes = viewer.add_shapes([box(5, 10, 10, 15)])
    image = layers.read_image(layer)
    assert region_of(viewer, Where("shapes", shapes), layer, image) == (10, 20, 21, 31)


def test_a_part_that_is_none_is_explained(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    layer = viewer.add_image(things, name="image")
    image = layers.read_image(layer)
    choose(widget, "shapes")
    widget.segment.segment.click()
    assert "There is no Shapes layer" in widget.segment.messages.label.text()
    shapes = viewer.add_shapes(ndim=2, name="mine")
    assert widget.segment.where.shapes.currentText() == "mine"
    with pytest.raises(InputError, match="nothing in “mine”"):
        region_of(viewer, Where("shapes", shapes), layer, image)
    shapes.add_rectangles(box(70, 70, 90, 90))
    shapes.selected_data = {0}
    with pytest.raises(InputError, match="outside of image"):
        region_of(viewer, Where("shapes", shapes), layer, image)
    shapes.add_lines(np.array([[5.0, 5.0], [5.0, 30.0]]))
    shapes.selected_data = {1}
    with pytest.raises(InputError, match="no area"):
        region_of(viewer, Where("shapes", shapes), layer, image)
    # One that is partly outside is cut.
    shapes.add_rectangles(box(50, -20, 90, 30))
    shapes.selected_data = {2}
    assert region_of(viewer, Where("shapes", shapes), layer, image) == (50, 0, 64, 31)
    viewer.layers.remove(shapes)
    assert widget.segment.where.shapes.count() == 0


def test_the_choice_follows_the_active_shapes_layer_and_is_kept(open_widget: Any) -> None:
    viewer, widget = open_widget()
    panel = widget.segment.where
    assert not panel.shapes.isVisibleTo(widget)
    choose(widget, "shapes")
    assert panel.shapes.isVisibleTo(widget)
    one = viewer.add_shapes(ndim=2, name="one")
    viewer.add_shapes(ndim=2, name="two")
    assert panel.value().shapes.name == "two"
    viewer.layers.selection.active = one
    assert panel.value().shapes == one
    one.name = "renamed"
    assert panel.shapes.currentText() == "renamed"
    widget.segment._remember()
    _, again = open_widget(viewer)
    assert again.segment.where.value().kind == "shapes"
    assert again.segment.where.value().shapes == one


def test_measurements_of_a_region_are_told_in_the_image(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    from napari_sa2net.engine.events import run
    from napari_sa2net.engine.measuring.table import measure
    from napari_sa2net.gui.measuring import read_objects

    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    viewer.add_shapes([box(28, 26, 44, 44)])
    viewer.layers.selection.active = viewer.layers["image"]
    choose(widget, "shapes")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    layer = widget.controller.shown.layer
    measured = read_objects(viewer, layer)
    table = run(measure(measured.objects, measured.channels))
    assert table["bbox_y0_px"].tolist() == [30]
    assert table["bbox_x0_px"].tolist() == [30]
    assert table["intensity_mean_0"].tolist() == [230]
