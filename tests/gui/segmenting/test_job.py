"""Jobs and results, without a window where possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.events import Progress
from napari_sa2net.gui.jobs.state import (
    Clock,
    progress_text,
    size_text,
    time_text,
)
from napari_sa2net.gui.segmenting.backend import plane_number, plane_slices

ZYX = ("z", "y", "x")


def test_time_left_is_of_what_remains() -> None:
    seconds = iter([100.0, 104.0])
    clock = Clock(now=lambda: next(seconds))
    assert clock.left(Progress(0, 10)) is None
    assert clock.left(Progress(4, 10)) == pytest.approx(6)


def test_clock_starts_again_with_another_kind_of_work() -> None:
    """A download of 5 MB says nothing about the tiles that follow."""
    seconds = iter([0.0, 100.0, 101.0])
    clock = Clock(now=lambda: next(seconds))
    clock.left(Progress(0, 5_000_000, "byte"))
    assert clock.left(Progress(0, 4)) is None
    assert clock.left(Progress(1, 4)) == pytest.approx(3)


def test_words() -> None:
    assert progress_text(Progress(2, 8), 61.0) == "tile 2 of 8, about 1 min left"
    assert progress_text(Progress(0, 1), None) == "1 tile"
    assert progress_text(Progress(1_000_000, 5_000_000, "byte"), None) == "1.0 MB of 5.0 MB"
    assert time_text(0.1) == "1 s"
    assert time_text(7200) == "2.0 h"
    assert size_text(1.3e9) == "1.3 GB"


def test_plane_of_a_stack() -> None:
    assert plane_slices("TZYX", (1, 2)) == (slice(1, 2), slice(2, 3), slice(None), slice(None))
    assert plane_number((3, 5, 9, 9), "TZYX", (1, 2)) == 7
    assert plane_number((3, 4, 5, 9, 9), "ZCTYX", (1, 2)) == 2 * 3 + 1  # counted over T first


def run_to_end(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs, nor live labels."""
    controller = widget.controller
    qtbot.waitUntil(
        lambda: not controller.state.busy and controller._relabel is None, timeout=10_000
    )


def segmented(qtbot: Any, open_widget: Any, image: Any, **options: Any) -> tuple[Any, Any]:
    """Open the widget on an image and press Segment."""
    viewer, widget = open_widget()
    viewer.add_image(image, name="image", **options)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    return viewer, widget


def test_segment_writes_labels(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = segmented(qtbot, open_widget, things, scale=(2, 3), translate=(5, 7))
    labels = viewer.layers["image labels"]
    assert labels.data.max() == 3
    np.testing.assert_array_equal(labels.scale, (2, 3))
    np.testing.assert_array_equal(labels.translate, (5, 7))
    assert "3 objects" in widget.controller.notes[-1].text


def test_maps_of_a_stack_are_of_the_plane_shown(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 4), name="image", scale=(2, 1, 1), axis_labels=ZYX)
    viewer.dims.set_current_step(0, 2)
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].plane == (2,)
    stage = viewer.layers["image stage 1"]
    assert stage.data.shape == (1, 64, 64)
    assert stage.translate[0] == 4
    assert viewer.layers["image labels"].data.shape == (4, 64, 64)
    widget.segment.all_planes.setChecked(True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert viewer.layers["image stage 1"].data.shape == (4, 64, 64)


def test_threshold_is_live_without_the_network(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.8)
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 2
    assert len(viewer.layers["image labels"].features) >= 2
    assert len(backend.requests) == 1
    assert backend.relabelled


def test_dragging_changes_the_plane_shown_and_release_the_rest(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = segmented(qtbot, open_widget, np.stack([things] * 3), axis_labels=ZYX)
    viewer.dims.set_current_step(0, 1)
    slider = widget.segment.labelling.controls["threshold"]._slider
    labels = viewer.layers["image labels"]
    slider.setSliderDown(True)
    slider.setValue(160)
    run_to_end(qtbot, widget)
    assert [len(np.unique(plane)) - 1 for plane in labels.data] == [3, 2, 3]
    slider.setSliderDown(False)
    run_to_end(qtbot, widget)
    assert [len(np.unique(plane)) - 1 for plane in labels.data] == [2, 2, 2]
    assert labels.data.max() == 6


def test_dragging_leaves_every_plane_of_an_edited_layer(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    """The plane shown is not the one that was edited, yet it belongs to a person's work."""
    viewer, widget = segmented(qtbot, open_widget, np.stack([things] * 3), axis_labels=ZYX)
    viewer.dims.set_current_step(0, 1)
    edited = viewer.layers["image labels"]
    edited.data[2, 0, 0] = 99
    before = edited.data.copy()
    slider = widget.segment.labelling.controls["threshold"]._slider
    slider.setSliderDown(True)
    for position in (150, 160):
        slider.setValue(position)
        run_to_end(qtbot, widget)
    slider.setSliderDown(False)
    run_to_end(qtbot, widget)
    np.testing.assert_array_equal(edited.data, before)
    new = viewer.layers["image labels [1]"]
    assert [len(np.unique(plane)) - 1 for plane in new.data] == [2, 2, 2]
    # The new layer follows the next drag.
    slider.setSliderDown(True)
    slider.setValue(100)
    run_to_end(qtbot, widget)
    assert [len(np.unique(plane)) - 1 for plane in new.data] == [2, 3, 2]


def test_latest_setting_wins(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    spin = widget.segment.labelling.controls["threshold"]._spin
    for value in (0.7, 0.95, 0.5, 0.8):
        spin.setValue(value)
    run_to_end(qtbot, widget)
    assert widget.controller.shown.labelling.threshold == pytest.approx(0.8)
    assert viewer.layers["image labels"].data.max() == 2


@pytest.mark.parametrize("how", ["run", "slider"])
def test_an_edit_is_never_overwritten(qtbot: Any, open_widget: Any, things: Any, how: str) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    edited = viewer.layers["image labels"]
    edited.data[0, 0] = 99
    before = edited.data.copy()
    if how == "run":
        widget.segment.segment.click()
    else:
        widget.segment.labelling.controls["threshold"]._spin.setValue(0.8)
    run_to_end(qtbot, widget)
    np.testing.assert_array_equal(edited.data, before)
    assert "image labels [1]" in [layer.name for layer in viewer.layers]
    assert any("edited" in note.text for note in widget.controller.notes)


def test_running_again_updates_the_layers(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    names = [layer.name for layer in viewer.layers]
    viewer.layers["image"].data = np.roll(things, 3, axis=0)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == names
    assert viewer.layers["image labels"].data[10, 6] > 0


def test_settings_changed_during_a_run_apply_at_its_end(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    backend.gate.clear()
    widget.segment.segment.click()
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.8)
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 2


def test_cancel_leaves_the_layers(qtbot: Any, open_widget: Any, backend: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: widget.controller.state.done > 0, timeout=10_000)
    widget.segment.cancel.click()
    assert not widget.segment.cancel.isEnabled()
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["image"]
    assert backend.running == 0
    assert widget.segment.segment.isEnabled()


def test_a_failure_is_shown_and_can_be_tried_again(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    backend.error = RuntimeError("CUDA out of memory")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "Out of memory" in widget.segment.messages.label.text()
    assert widget.segment.messages.isVisibleTo(widget)
    backend.error = None
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "Out of memory" not in widget.segment.messages.label.text()
    assert "image labels" in viewer.layers


def test_the_job_outlives_the_dock(qtbot: Any, open_widget: Any, backend: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    backend.gate.clear()
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: widget.controller.state.done > 0, timeout=10_000)
    viewer.window.remove_dock_widget(widget)
    _, again = open_widget(viewer)
    assert again.controller is widget.controller
    assert again.segment.cancel.isEnabled()
    assert not again.segment.segment.isEnabled()
    assert again.segment.progress.bar.value() > 0
    assert again.segment.keep["stages"].isChecked()
    again.segment.cancel.click()
    backend.gate.set()
    run_to_end(qtbot, again)
    assert backend.running == 0


def test_closing_the_viewer_stops_the_job(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    controller = widget.controller
    widget.show()
    controller.watch_window_of(widget)
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: controller.state.done > 0, timeout=10_000)
    task = controller._task
    viewer.close()
    qtbot.waitUntil(lambda: task.cancelling, timeout=10_000)
    backend.gate.set()
    assert task.wait(10)
    assert backend.running == 0
    qtbot.waitUntil(lambda: controller._task is None, timeout=10_000)
    assert controller.shown is None


def test_settings_of_another_model_leave_the_labels_alone(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    spin = widget.segment.labelling.controls["threshold"]._spin
    spin.setValue(0.8)
    run_to_end(qtbot, widget)
    before = viewer.layers["image labels"].data.copy()
    made = len(backend.relabelled)
    widget.segment.model.combo.setCurrentIndex(1)
    spin.setValue(0.3)
    run_to_end(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers["image labels"].data, before)
    assert len(backend.relabelled) == made
    said = widget.segment.acts_on.text()
    assert "was made with fake" in said
    assert "counts when you press Segment" in said
    # With the model that made them the settings that made them are back, and act on them.
    widget.segment.model.combo.setCurrentIndex(0)
    assert widget.segment.labelling.value().threshold == pytest.approx(0.8)
    assert "at once: 2 objects" in widget.segment.acts_on.text()
    spin.setValue(0.3)
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 3


def test_settings_of_another_model_chosen_during_a_run_leave_its_labels_alone(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    backend.gate.clear()
    widget.segment.segment.click()
    widget.segment.model.combo.setCurrentIndex(1)
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.8)
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 3
    assert not backend.relabelled
    assert "was made with fake" in widget.segment.acts_on.text()


def test_labels_of_an_image_that_is_gone_do_not_come_back(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = segmented(qtbot, open_widget, things)
    spin = widget.segment.labelling.controls["threshold"]._spin
    viewer.layers.remove("image labels")
    assert "makes them again" in widget.segment.acts_on.text()
    spin.setValue(0.8)
    run_to_end(qtbot, widget)
    assert "image labels" in viewer.layers
    viewer.layers.remove("image")  # its labels follow on
    spin.setValue(0.5)
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 3
    viewer.layers.remove("image labels")
    viewer.add_image(things[::-1], name="other")
    assert "Once there are labels" in widget.segment.acts_on.text()
    spin.setValue(0.8)
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["other"]
