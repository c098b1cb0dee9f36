"""The field for how large things are: a diameter or a pixel size, as the chosen model goes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QApplication

from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.gui import large
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.scale_field import scale_text


def run_to_end(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs, nor live labels."""
    controller = widget.controller
    qtbot.waitUntil(
        lambda: not controller.state.busy and controller._relabel is None, timeout=10_000
    )


@pytest.fixture
def with_pixel_size(open_widget: Callable[..., Any], backend: Any) -> tuple[Any, Any]:
    """Return a viewer and a widget whose third model goes by the size of pixels."""
    models = backend.models()
    card = replace(models[0].card, name="sem", diameter=None, pixel_size=0.2)
    backend.models = lambda: [*models, ModelEntry(card, "bundled", Path("sem"))]
    viewer, widget = open_widget()
    widget.segment.model.combo.setCurrentIndex(2)
    return viewer, widget


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ((40.0, None, 20.0, None), "× 0.5"),
        ((None, 0.5, None, 0.25), "× 2"),
        ((40.0, 0.5, 20.0, 0.25), "× 0.5"),
        ((None, None, None, 0.25), "Give its pixel size"),
        ((None, None, 20.0, 0.25), "Give a diameter"),
        ((None, None, 20.0, None), "as it is"),
        ((None, None, None, 0.2, 0.1), "works at 0.2 µm a pixel: the image is scaled × 0.5"),
        ((None, 0.5, None, 0.2, 0.1), "× 0.5"),
    ],
)
def test_scaling_is_explained(sizes: tuple[Any, ...], wanted: str) -> None:
    assert wanted in scale_text(*sizes)


def test_a_model_that_goes_by_pixels_asks_for_their_size(
    qtbot: Any, with_pixel_size: Any, backend: Any, things: Any
) -> None:
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="image")
    scale = widget.segment.scale
    assert scale.label.text() == "Pixel size"
    assert not scale.measure.isEnabled()
    assert "works at 0.2 µm a pixel" in scale.hint.text()
    scale.spin.setValue(0.05)
    assert scale.diameter() is None
    assert "scaled × 0.25" in scale.hint.text()
    for button in (widget.segment.preview, widget.segment.segment):
        button.click()
        run_to_end(qtbot, widget)
        options = backend.requests[-1].options
        assert options["pixel_size"] == (0.05, 0.05)
        assert options["diameter"] is None
        assert backend.requests[-1].model == "sem"


def test_each_kind_of_model_has_a_size_of_its_own(
    qtbot: Any, with_pixel_size: Any, backend: Any, things: Any
) -> None:
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="image", scale=(0.5, 0.5), units=("um", "um"))
    scale, combo = widget.segment.scale, widget.segment.model.combo
    assert "The image has 0.5 µm pixels" in scale.hint.text()
    scale.spin.setValue(0.05)
    combo.setCurrentIndex(0)
    assert scale.label.text() == "Object size"
    assert scale.measure.isEnabled()
    assert scale.diameter() is None
    scale.spin.setValue(33)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    options = backend.requests[-1].options
    assert options["diameter"] == 33
    assert options["pixel_size"] == pytest.approx((0.5, 0.5))
    combo.setCurrentIndex(2)
    assert scale.spin.value() == 0.05
    combo.setCurrentIndex(0)
    assert scale.diameter() == 33


def test_measuring_ends_where_it_is_of_no_use(with_pixel_size: Any, things: Any) -> None:
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="image")
    widget.segment.model.combo.setCurrentIndex(0)
    widget.segment.scale.measure.click()
    widget.segment.model.combo.setCurrentIndex(2)
    assert not widget.segment.scale.measure.isChecked()
    assert not viewer.layers["Diameter"].visible


def test_the_pixel_size_counts_for_a_folder(
    qtbot: Any, with_pixel_size: Any, backend: Any, tmp_path: Path
) -> None:
    _, widget = with_pixel_size
    (tmp_path / "in").mkdir()
    dialog = widget.segment.folder.open_dialog()
    dialog.images.setText(str(tmp_path / "in"))
    dialog.output.setText(str(tmp_path / "out"))
    assert "each file's pixel size" in dialog.uses.text()
    dialog.start.click()
    run_to_end(qtbot, widget)
    assert "pixel_size" not in backend.folders[-1].options
    widget.segment.scale.spin.setValue(0.05)
    assert "pixels of 0.05 µm" in dialog.uses.text()
    dialog.start.click()
    run_to_end(qtbot, widget)
    assert backend.folders[-1].options["pixel_size"] == 0.05


def test_the_pixel_size_chooses_the_level_of_a_large_image(
    qtbot: Any, with_pixel_size: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    pytest.importorskip("zarr")
    monkeypatch.setattr(large, "PIXELS", 1000)
    viewer, widget = with_pixel_size
    full = np.kron(things, np.ones((4, 4), np.uint8))
    levels = [full[::factor, ::factor] for factor in (1, 2, 4)]
    viewer.add_image(levels, name="slide", multiscale=True)
    widget.segment.scale.spin.setValue(0.1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    request = backend.larges[-1].request
    assert request.data.shape == (128, 128)
    assert request.options["pixel_size"] == pytest.approx((0.2, 0.2))


def test_a_pixel_size_that_was_given_stays_with_the_image() -> None:
    levels = [np.zeros((64, 48)), np.zeros((32, 24))]
    layer = Image(levels, multiscale=True, scale=(1, 4), units=("um", "um"))
    image = read_image(layer).with_pixel_size(0.1)
    assert image.pixel_size == pytest.approx(0.1)
    assert image.notes == ()
    assert image.with_axes("YX").pixel_size == pytest.approx(0.1)
    assert image.crop((slice(3, 9), slice(2, 5))).pixel_size == pytest.approx(0.1)
    assert image.level(1).pixel_size == pytest.approx(0.2)


@pytest.fixture
def measuring(with_pixel_size: Any, things: Any) -> tuple[Any, Any, Any]:
    """Return a viewer, the widget and its field, in which “Measure” was just pressed."""
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="other")
    viewer.add_image(things, name="image")
    widget.segment.model.combo.setCurrentIndex(0)
    scale = widget.segment.scale
    scale.measure.click()
    assert viewer.layers.selection.active.name == "Diameter"
    return viewer, widget, scale


def test_measuring_is_done_when_a_line_is_drawn(qtbot: Any, measuring: Any) -> None:
    viewer, _, scale = measuring
    viewer.layers["Diameter"].add([[10, 10], [10, 22]], shape_type="line")
    assert scale.diameter() == 12
    qtbot.waitUntil(lambda: not scale.measure.isChecked(), timeout=5000)
    assert scale.measure.text() == "Measure"
    assert "Diameter" not in viewer.layers
    assert viewer.layers.selection.active.name == "image"


@pytest.mark.parametrize("to", ["layer", "image", "another tab"])
def test_measuring_ends_when_a_person_goes_on_to_something_else(
    measuring: Any, things: Any, to: str
) -> None:
    viewer, widget, scale = measuring
    labels = viewer.add_labels(things, name="drawn on")
    viewer.layers.selection.active = viewer.layers["image"]
    scale.measure.setChecked(True)
    if to == "layer":
        viewer.layers.selection.active = labels
    elif to == "image":
        widget.segment.image.choose(viewer.layers["other"])
    else:  # as Qt tells, if the window is shown
        QApplication.sendEvent(scale, QHideEvent())
    assert not scale.measure.isChecked()
    assert not viewer.layers["Diameter"].visible
    if to == "layer":
        assert viewer.layers.selection.active == labels


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        ("0.004", "0.0041 µm", "0.0039 µm"),
        ("0.01", "0.011 µm", "0.0099 µm"),
        ("0.5", "0.51 µm", "0.49 µm"),
        ("1", "1.1 µm", "0.99 µm"),
        ("0.000001", "0.000002 µm", "automatic"),
        ("0", "0.004 µm", "automatic"),  # of the model
    ],
)
def test_steps_of_a_pixel_size_follow_its_magnitude(
    with_pixel_size: Any, things: Any, value: str, up: str, down: str
) -> None:
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="image")
    widget.segment.model.combo.setCurrentIndex(2)
    spin = widget.segment.scale.spin
    widget.segment.scale.set_card(replace(widget.segment.model.entry.card, pixel_size=0.004))
    for steps, wanted in ((1, up), (-1, down)):
        spin.setValue(float(value))
        spin.stepBy(steps)
        assert spin.text() == wanted
    spin.setValue(0.0042)
    assert widget.segment.scale.value().pixel_size == 0.0042


@pytest.mark.parametrize(
    ("value", "up", "down"), [(20, 21, 19), (5, 6, 4), (1, 2, 0), (120, 130, 110), (0, 20, 0)]
)
def test_steps_of_a_diameter_are_pixels(
    with_pixel_size: Any, things: Any, value: float, up: float, down: float
) -> None:
    viewer, widget = with_pixel_size
    viewer.add_image(things, name="image")
    widget.segment.model.combo.setCurrentIndex(0)
    spin = widget.segment.scale.spin
    for steps, wanted in ((1, up), (-1, down)):
        spin.setValue(value)
        spin.stepBy(steps)
        assert spin.value() == wanted
