"""The window's controls, and the real window with the bundled model."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QApplication

from napari_sa2net.engine.cards import Member
from napari_sa2net.engine.errors import WeightsError
from napari_sa2net.engine.files import read_image as read_file
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.gui.segmenting import results

MODEL = Path(results.__file__).parents[2] / "engine" / "models" / "nuclei.safetensors"


def run_to_end(qtbot: Any, widget: Any, timeout: int = 10_000) -> None:
    """Wait until no job runs, nor live labels."""
    controller = widget.controller
    qtbot.waitUntil(
        lambda: not controller.state.busy and controller._relabel is None, timeout=timeout
    )


def tick(chooser: Any, *rows: int) -> None:
    """Tick these channels in this order and no others, as a person does."""
    for box in chooser.boxes:
        box.setChecked(False)
    for row in rows:
        chooser.boxes[row].setChecked(True)


def messages(widget: Any) -> str:
    """Return the text of the message area."""
    return str(widget.segment.messages.label.text())


# --- image -------------------------------------------------------------------------------------


def test_image_follows_the_active_layer(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    panel = widget.segment.image
    assert panel.image is None
    first = viewer.add_image(things, name="first")
    second = viewer.add_image(things[:32], name="second")
    assert panel.layer == second
    viewer.layers.selection.active = first
    assert panel.layer == first
    viewer.layers.selection = {first, second}  # several: keep the last
    assert panel.layer == first
    viewer.layers.selection.clear()
    assert panel.layer == first
    viewer.add_labels(things.astype(int), name="painting")  # not an image
    assert panel.layer == first
    viewer.layers.remove("first")
    assert panel.layer == second


def test_a_renamed_layer_is_renamed_here(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="before").name = "after"
    assert widget.segment.image.combo.currentText() == "after"
    assert widget.segment.image.image.name == "after"  # results are named after it


def test_a_renamed_layer_keeps_the_axes_that_were_typed(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    layer = viewer.add_image(np.stack([things] * 2), name="before")
    panel = widget.segment.image
    panel.axes.setText("CYX")
    panel.axes.textEdited.emit("CYX")
    tick(panel.channels, 1)
    layer.name = "after"
    assert (panel.image.name, panel.image.axes) == ("after", "CYX")
    assert (panel.axes.text(), panel.channels.value()) == ("CYX", (1,))


def test_our_own_maps_are_no_images_to_segment(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.keep["disagreement"].setChecked(True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "image disagreement" in viewer.layers
    assert widget.segment.image.combo.count() == 1


def test_a_result_of_an_ensemble_names_its_members(
    qtbot: Any, open_widget: Any, backend: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = (Member("fold-a", "ab" * 32), Member("fold-b", "cd" * 32))

    def result(request: Any) -> Any:
        ran = type(backend)._result(backend, request)
        card = replace(ran.segmentation.card, members=members)
        return replace(ran, segmentation=replace(ran.segmentation, card=card))

    monkeypatch.setattr(backend, "_result", result)
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    note = viewer.layers["image labels"].metadata["napari-sa2net"]
    assert note["members"] == tuple(asdict(member) for member in members)


def test_equal_layers_as_channels(qtbot: Any, open_widget: Any, backend: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="a")
    viewer.add_image(things, name="moved", translate=(3, 0))
    viewer.add_image(things, name="b")
    viewer.layers.selection.active = viewer.layers["a"]
    panel = widget.segment.image
    assert [panel.others.item(row).text() for row in range(panel.others.count())] == ["b"]
    panel.others.item(0).setCheckState(Qt.CheckState.Checked)
    assert panel.axes.text() == "CYX"
    tick(panel.channels, 1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].data.shape == (2, 64, 64)
    assert backend.requests[-1].options["channels"] == (1,)
    assert viewer.layers["a labels"].data.shape == (64, 64)


def test_axes_are_guessed_and_correctable(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 2), name="image", axis_labels=("t", "y", "x"))
    panel = widget.segment.image
    assert panel.axes.text() == "TYX"
    assert "2 time points" in panel.shape.text()
    panel.axes.setText("CYX")
    panel.axes.textEdited.emit("CYX")
    assert panel.channels.isVisibleTo(widget)
    tick(panel.channels, 1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["axes"] == "CYX"
    assert backend.requests[-1].options["channels"] == (1,)


def test_wrong_axes_are_explained_at_once(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    panel = widget.segment.image
    panel.axes.setText("TZ")
    panel.axes.textEdited.emit("TZ")
    assert panel.image is None
    assert panel.problem in panel.shape.text()
    assert "take the guess, YX" in panel.problem
    widget.segment.segment.click()
    assert not backend.requests
    assert messages(widget)
    panel.axes.setText("")
    panel.axes.textEdited.emit("")
    panel.axes.editingFinished.emit()
    assert panel.axes.text() == "YX"
    assert panel.image is not None


def test_no_image_says_what_to_do(open_widget: Any) -> None:
    _, widget = open_widget()
    widget.segment.segment.click()
    assert "Open an image first" in messages(widget)


def test_diameter_is_typed_or_measured(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image", scale=(0.5, 0.5))
    scale = widget.segment.scale
    scale.measure.click()
    shapes = viewer.layers[-1]
    shapes.add_lines(np.array([[5.0, 5.0], [5.0, 15.0]]) * 1.0)
    assert scale.diameter() in (pytest.approx(10), pytest.approx(20))
    world = np.diff([shapes.data_to_world(p) for p in shapes.data[-1]], axis=0)
    assert scale.diameter() == pytest.approx(np.linalg.norm(world) / 0.5)
    assert "scaled" in scale.hint.text()
    measured = scale.diameter()
    shapes.add_lines(np.array([[5.0, 5.0], [5.0, 5.1]]))  # what a click leaves
    assert scale.diameter() == measured
    scale.measure.click()
    assert [layer.name for layer in viewer.layers] == ["image"]
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["diameter"] == scale.diameter()


def test_measuring_can_be_given_up_and_begun_again(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), name="stack")
    scale = widget.segment.scale
    scale.measure.click()
    scale.measure.click()  # nothing drawn
    hidden = viewer.layers["Diameter"]
    assert not hidden.visible
    assert hidden.mode == "pan_zoom"
    assert viewer.layers.selection.active == viewer.layers["stack"]
    viewer.dims.set_current_step(0, 1)
    scale.measure.click()
    assert len(viewer.layers) == 2, "the hidden layer is used again"
    assert hidden.visible


def test_pixel_size_comes_from_units(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image", scale=(0.5, 0.5), units=("um", "um"))
    assert "0.5 µm" in widget.segment.image.shape.text()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["pixel_size"] == pytest.approx((0.5, 0.5))


def test_a_pixel_size_that_was_given_is_that_of_what_is_saved(
    qtbot: Any,
    open_widget: Any,
    backend: Any,
    things: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = replace(backend.models()[0].card, name="micrometres", diameter=None, pixel_size=0.5)
    monkeypatch.setattr(backend, "models", lambda: [ModelEntry(card, "bundled", Path("fake"))])
    viewer, widget = open_widget()
    viewer.add_image(things, name="image", scale=(3, 3))
    widget.segment.scale.spin.setValue(0.25)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    controller, labels = widget.controller, viewer.layers["image labels"]
    for name in ("table.csv", "labels.tif"):
        controller.save(labels, tmp_path / name)
        run_to_end(qtbot, widget)
    areas = np.bincount(np.asarray(labels.data).ravel())[1:]
    with (tmp_path / "table.csv").open() as file:
        found = [float(row["area_um2"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, areas * 0.25**2)
    assert read_file(tmp_path / "labels.tif").pixel_size == pytest.approx((0.25, 0.25))


# --- model -------------------------------------------------------------------------------------


def test_model_says_what_it_is_for_its_size_and_where(open_widget: Any) -> None:
    _, widget = open_widget()
    panel = widget.segment.model
    text = panel.about.text()
    assert "not seen: Dice 0.91" in text
    assert "Bright things" in text
    assert "5.0 MB" in text
    assert "comes with the plugin" in text
    assert not panel.download_button.isVisibleTo(widget)
    panel.combo.setCurrentIndex(1)
    text = panel.about.text()
    assert "must be downloaded" in text
    assert "For research only" in text
    assert "forbids some uses" in text
    assert panel.download_button.isVisibleTo(widget)


def test_download_with_consent_progress_and_cancel(
    qtbot: Any, open_widget: Any, backend: Any
) -> None:
    _, widget = open_widget()
    questions: list[str] = []
    answers = iter([False, True, True])
    widget.segment.ask = lambda question: questions.append(question) or next(answers)
    panel = widget.segment.model
    panel.combo.setCurrentIndex(1)
    panel.download_button.click()
    assert not widget.controller.state.busy  # refused
    assert "For research only" in questions[0]
    backend.gate.clear()
    panel.download_button.click()
    qtbot.waitUntil(lambda: widget.controller.state.total == 100, timeout=10_000)
    widget.segment.cancel.click()
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert not backend.fetched
    panel.download_button.click()
    run_to_end(qtbot, widget)
    assert backend.fetched == ["far"]
    assert panel.entry.status == "downloaded"
    assert not panel.download_button.isVisibleTo(widget)


def test_failed_download_is_explained(qtbot: Any, open_widget: Any, backend: Any) -> None:
    _, widget = open_widget()
    widget.segment.ask = lambda question: True
    backend.error = WeightsError("No connection. Download it elsewhere, then import the file.")
    widget.segment.model.combo.setCurrentIndex(1)
    widget.segment.model.download_button.click()
    run_to_end(qtbot, widget)
    assert "import the file" in messages(widget)
    assert widget.segment.model.download_button.isEnabled()


def test_segment_with_a_model_that_is_not_here_asks_first(
    open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    questions: list[str] = []
    widget.segment.ask = questions.append  # None: no
    widget.segment.model.combo.setCurrentIndex(1)
    widget.segment.segment.click()
    assert "80.0 MB" in questions[0]
    assert not backend.requests


def test_a_model_downloaded_by_segment_is_shown_as_here_and_the_settings_stay(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    panel = widget.segment.model
    panel.combo.setCurrentIndex(1)
    widget.segment.ask = lambda question: True
    settings = replace(widget.segment.labelling.value(), min_size=77)
    widget.segment.labelling.set_value(settings)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests
    assert panel.entry.status == "downloaded"
    assert panel.combo.currentText() == "far"
    assert not panel.download_button.isVisibleTo(widget)
    assert widget.segment.labelling.value() == settings


def test_the_minimum_size_follows_the_size_of_objects_until_it_is_set(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    card, form = backend.models()[0].card, widget.segment.labelling
    least = card.labelling.min_size
    assert form.value().min_size == least
    widget.segment.scale.spin.setValue(card.diameter * 2)
    assert form.value().min_size == 4 * least
    assert form.controls["min_size"].value() == 4 * least
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].labelling.min_size == 4 * least
    form.controls["min_size"]._spin.setValue(7)
    widget.segment.scale.spin.setValue(0)
    assert form.value().min_size == 7
    widget.segment.model.combo.setCurrentIndex(1)
    widget.segment.scale.spin.setValue(card.diameter * 3)
    assert form.value().min_size == least  # a model without a scale has one minimum size


def test_the_minimum_size_follows_the_pixels_of_the_layer(
    open_widget: Any, backend: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(backend.models()[0].card, name="micrometres", diameter=None, pixel_size=0.5)
    monkeypatch.setattr(backend, "models", lambda: [ModelEntry(card, "bundled", Path("fake"))])
    viewer, widget = open_widget()
    viewer.add_image(things, name="plain")
    least = card.labelling.min_size
    assert widget.segment.labelling.value().min_size == least
    viewer.add_image(things, name="fine", scale=(0.25, 0.25), units=("um", "um"))
    assert widget.segment.labelling.value().min_size == 4 * least
    viewer.layers.selection.active = viewer.layers["plain"]
    assert widget.segment.labelling.value().min_size == least


def test_import(qtbot: Any, open_widget: Any, backend: Any, tmp_path: Path) -> None:
    _, widget = open_widget()
    widget.controller.import_model(tmp_path / "mine.safetensors")
    run_to_end(qtbot, widget)
    assert "imported" in messages(widget)
    backend.error = WeightsError("Not a model file. Choose another.")
    widget.controller.import_model(tmp_path / "other.txt")
    run_to_end(qtbot, widget)
    assert "Not a model file" in messages(widget)


def test_device_is_told_by_the_first_run(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    assert widget.segment.model.device_name() == "auto"
    assert "first run" in widget.segment.model.chosen.text()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "only one" in widget.segment.model.chosen.text()
    # What was said of one choice is not said of another.
    box = widget.segment.model.device
    box.setCurrentIndex(box.findData("cpu"))
    assert "only one" not in widget.segment.model.chosen.text()
    box.setCurrentIndex(box.findData("auto"))
    assert "only one" in widget.segment.model.chosen.text()


# --- results -----------------------------------------------------------------------------------


def test_more_than_a_gigabyte_of_maps_is_asked(
    open_widget: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 6), axis_labels=("z", "y", "x"))
    gigabyte = 6 * 64 * 64 * 8  # four stages of six planes in float16 stand for one
    monkeypatch.setattr(results, "too_large", lambda size: size >= gigabyte)
    questions: list[str] = []
    widget.segment.ask = questions.append
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.all_planes.setChecked(True)
    widget.segment.segment.click()
    assert "memory" in questions[0]
    assert not backend.requests


def test_a_large_plane_is_asked_about_as_a_stack_is(
    open_widget: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    monkeypatch.setattr(results, "too_large", lambda size: size >= 64 * 64 * 8)
    questions: list[str] = []
    widget.segment.ask = questions.append
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.segment.click()
    assert "memory" in questions[0]
    assert not backend.requests


def test_which_labels_the_settings_change_is_said(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    assert "Once there are labels" in widget.segment.acts_on.text()
    for name in ("one", "other"):
        viewer.add_image(things, name=name)
        widget.segment.segment.click()
        run_to_end(qtbot, widget)
        assert f"“{name} labels” at once: 3 objects" in widget.segment.acts_on.text()
    viewer.layers.selection.active = viewer.layers["one"]
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.8)
    run_to_end(qtbot, widget)
    assert "“other labels” at once: 2 objects" in widget.segment.acts_on.text()
    layer = viewer.layers["other labels"]
    layer.visible = False
    assert "“other labels” (hidden) at once: 2 objects" in widget.segment.acts_on.text()
    layer.visible = True
    assert "(hidden)" not in widget.segment.acts_on.text()
    viewer.layers.remove("other labels")
    assert "removed" in widget.segment.acts_on.text()
    layer.visible = False  # is nobody's business any more
    assert "removed" in widget.segment.acts_on.text()


def test_a_new_result_is_seen_though_the_last_was_hidden(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    for _ in range(2):
        widget.segment.segment.click()
        run_to_end(qtbot, widget)
        assert viewer.layers["image labels"].visible
        viewer.layers["image labels"].visible = False


def test_mirror_images_are_averaged_only_on_request(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    assert "four times" in widget.segment.model.flips.toolTip()
    for wanted in (False, True):
        widget.segment.model.flips.setChecked(wanted)
        widget.segment.segment.click()
        run_to_end(qtbot, widget)
        assert backend.requests[-1].options["flips"] is wanted


def test_preview_runs_on_what_is_shown(
    qtbot: Any, open_widget: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    from napari_sa2net.gui import regions

    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), name="image", axis_labels=("z", "y", "x"))
    shown = (slice(1, 2), slice(0, 20), slice(0, 30))
    monkeypatch.setattr(regions, "visible_region", lambda *_: shown)
    widget.segment.preview.click()
    run_to_end(qtbot, widget)
    # The plane is given in whole, so that the preview is normalised as the result will be.
    assert backend.requests[-1].data.shape == (1, 64, 64)
    assert backend.requests[-1].options["region"] == (0, 0, 20, 30)
    layer = viewer.layers["image preview"]
    assert layer.data.shape == (1, 20, 30)
    np.testing.assert_array_equal(layer.translate, (1, 0, 0))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.shape == (3, 64, 64)


def test_result_switches_between_instances_and_classes(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    box = widget.segment.labelling.controls["result"]
    box.setCurrentIndex(box.findData("classes"))
    run_to_end(qtbot, widget)
    assert set(np.unique(viewer.layers["image labels"].data)) == {0, 1}
    assert not widget.segment.labelling.controls["split"].isEnabled()
    box.setCurrentIndex(box.findData("instances"))
    run_to_end(qtbot, widget)
    assert viewer.layers["image labels"].data.max() == 3
    assert len(backend.requests) == 1


def test_link_offers_the_axes_there_are(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things)
    link = widget.segment.labelling.controls["link"]
    assert not link.isEnabled()
    viewer.add_image(np.stack([things] * 6), axis_labels=("z", "y", "x"))
    assert link.isEnabled()
    enabled = {link.itemData(i): link.model().item(i).isEnabled() for i in range(link.count())}
    assert enabled == {"none": True, "z": True}


@pytest.mark.parametrize(
    ("axis", "planes", "through"),
    [("z", "3 planes", "linked through Z"), ("t", "3 time points", "linked through time")],
)
def test_the_number_of_a_stack_follows_linking(
    qtbot: Any, open_widget: Any, things: Any, axis: str, planes: str, through: str
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), name="stack", axis_labels=(axis, "y", "x"))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    loose = f"9 objects in {planes}, not {through}"
    link = widget.segment.labelling.controls["link"]
    offered = link.itemText(1)
    assert link.count() == 2
    assert f"Found {loose}, in " in messages(widget)
    assert f"choose “{offered}” at “Link objects”" in messages(widget)
    assert loose in widget.segment.acts_on.text()
    link.setCurrentIndex(1)
    run_to_end(qtbot, widget)
    linked = f"3 objects in {planes}, {through}"
    assert f"Found {linked}." in messages(widget)
    assert "9 objects" not in messages(widget)
    assert linked in widget.segment.acts_on.text()
    link.setCurrentIndex(0)
    run_to_end(qtbot, widget)
    assert f"Found {loose}." in messages(widget)


def test_links_are_of_stacks_only(qtbot: Any, open_widget: Any, backend: Any, things: Any) -> None:
    viewer, widget = open_widget()
    stack = viewer.add_image(np.stack([things] * 6), name="stack", axis_labels=("z", "y", "x"))
    form = widget.segment.labelling
    form.controls["link"].setCurrentIndex(1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].labelling.link == "z"
    viewer.add_image(things, name="plane")
    assert form.value().link == "none"
    # What is changed beside another image leaves the stack linked.
    form.controls["threshold"]._spin.setValue(0.7)
    run_to_end(qtbot, widget)
    assert widget.controller.shown.segmentation.text.startswith("2 objects in 6 planes, linked")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].labelling.link == "none"
    viewer.layers.selection.active = stack
    assert form.value().link == "z"


def test_classes_are_named_where_one_looks(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    image = viewer.add_image(things, name="image")
    result = widget.segment.labelling.controls["result"]
    result.setCurrentIndex(1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "Found 1 class (thing)" in messages(widget)
    labels = viewer.layers["image labels"]
    assert "class_name: thing" in labels.get_status((7, 7), world=True)["coordinates"]
    legend = widget.segment.legend
    assert legend.isVisibleTo(widget)
    assert legend.text() == '<span style="color: #ff0000">■</span> thing (1)'
    result.setCurrentIndex(0)
    run_to_end(qtbot, widget)
    assert "class_name: thing" in labels.get_status((7, 7), world=True)["coordinates"]
    assert not legend.isVisibleTo(widget)
    result.setCurrentIndex(1)
    run_to_end(qtbot, widget)
    viewer.add_image(things, name="other")
    result.setCurrentIndex(0)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert not legend.isVisibleTo(widget)
    viewer.layers.remove(labels)
    viewer.layers.selection.active = image
    assert not legend.isVisibleTo(widget)


def ticked(widget: Any, *names: str) -> None:
    """Tick these maps under "Also show", and no others."""
    for name, box in widget.segment.keep.items():
        box.setChecked(name in names)


def test_maps_that_are_no_longer_ticked_go_with_the_next_run(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")

    def press() -> list[str]:
        widget.segment.segment.click()
        run_to_end(qtbot, widget)
        return [layer.name for layer in viewer.layers]

    ticked(widget, "stages", "probabilities", "disagreement")
    assert len(press()) == 2 + 4 + 2 + 1
    viewer.layers["image stage 2"].name = "mine"
    ticked(widget, "disagreement")
    assert press() == ["image", "mine", "image labels", "image disagreement"]
    assert "“image p(thing)”, “image p(background)” and 3 others of the run before are gone" in (
        messages(widget)
    )
    ticked(widget)
    assert press() == ["image", "mine", "image labels"]
    assert "“image disagreement” of the run before is gone" in messages(widget)
    assert press() == ["image", "mine", "image labels"]
    assert "gone" not in messages(widget)


def test_maps_of_other_images_and_parts_stay(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="first")
    ticked(widget, "disagreement")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    widget.segment.preview.click()
    run_to_end(qtbot, widget)
    viewer.add_image(things, name="second")
    ticked(widget)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    there = [layer.name for layer in viewer.layers]
    assert {"first disagreement", "first disagreement (preview)"} <= set(there)
    viewer.layers.selection.active = viewer.layers["first"]
    widget.segment.preview.click()
    run_to_end(qtbot, widget)
    there = [layer.name for layer in viewer.layers]
    assert "first disagreement" in there
    assert "first disagreement (preview)" not in there


def test_what_is_ticked_can_be_seen_and_the_labels_before_it(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    ticked(widget, "stages", "attention", "disagreement")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    seen = [layer.name for layer in viewer.layers if layer.visible]
    assert seen == [
        "image", "image stage 1", "image attention 1", "image labels", "image disagreement"
    ]  # fmt: skip
    assert viewer.layers.selection.active == viewer.layers["image labels"]
    assert "The others of its kind are in the layer list" in messages(widget)
    # Labels that were edited stay, and the disagreement lies above the new ones too.
    viewer.layers["image labels"].data[0, 0] = 9
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert viewer.layers[-1].name == "image disagreement"


def test_save_writes_edits_too(qtbot: Any, open_widget: Any, tmp_path: Path, things: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    viewer, widget = open_widget()
    viewer.add_image(things, name="image", scale=(0.5, 0.5), units=("um", "um"))
    widget.segment.save.click()
    assert "press Segment first" in messages(widget)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    viewer.layers["image labels"].data[0, 0] = 42
    writer = widget.controller.writer
    layer, name = writer.to_save(viewer, widget.segment.image.layer)
    path = tmp_path / name
    widget.controller.save(layer, path)
    run_to_end(qtbot, widget)
    assert path.name in messages(widget)
    assert tifffile.imread(path)[0, 0] == 42


def test_the_kind_chosen_when_saving_decides_and_nothing_is_replaced_unasked(
    qtbot: Any, open_widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, things: Any
) -> None:
    from napari_sa2net.gui.segmenting import widget as module

    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    typed = (str(tmp_path / "plate1"), "Measurements (*.csv)")
    monkeypatch.setattr(module.QFileDialog, "getSaveFileName", lambda *_: typed)
    widget.segment.save.click()
    run_to_end(qtbot, widget)
    assert [path.name for path in tmp_path.iterdir()] == ["plate1.csv"]
    (tmp_path / "plate1.csv").write_text("of another plate")
    questions: list[str] = []
    widget.segment.ask = questions.append  # None: no
    widget.segment.save.click()
    run_to_end(qtbot, widget)
    assert "plate1.csv" in questions[0]
    assert (tmp_path / "plate1.csv").read_text() == "of another plate"


def test_saving_to_nowhere_is_explained(
    qtbot: Any, open_widget: Any, tmp_path: Path, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    layer = viewer.layers["image labels"]
    (tmp_path / "file").write_text("not a folder")
    widget.controller.save(layer, tmp_path / "file" / "x.tif")
    run_to_end(qtbot, widget)
    assert any(note.level == "error" for note in widget.controller.notes)
    assert widget.segment.save.isEnabled()


def test_what_was_chosen_is_there_again_after_the_dock_was_closed(
    open_widget: Any, things: Any
) -> None:
    """Also what no run has used yet."""
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), axis_labels=("z", "y", "x"))
    widget.segment.image.correct("TYX", None)
    widget.segment.scale.spin.setValue(33)
    widget.segment.keep["attention"].setChecked(True)
    QApplication.sendEvent(widget.segment, QHideEvent())  # all that the dock's ✕ does
    _, again = open_widget(viewer)
    assert again.segment.image.axes.text() == "TYX"
    assert again.segment.scale.diameter() == 33
    assert again.segment.keep["attention"].isChecked()


def test_fits_a_narrow_dock(open_widget: Any, things: Any) -> None:
    """Nothing is cut off at 350 pixels: the page may scroll down, not sideways."""
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 6), name="a layer with a very long name " * 4)
    assert widget.minimumSizeHint().width() <= 350
    page = widget.segment.page
    assert page.minimumSizeHint().width() <= 350 - 24  # the scroll bar and the margins


def test_every_control_can_be_reached_by_keyboard_and_says_what_it_does(open_widget: Any) -> None:
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QSlider

    _, widget = open_widget()
    kinds = (QAbstractButton, QComboBox, QLineEdit, QSlider)
    own = [c for kind in kinds for c in widget.segment.findChildren(kind)]
    own = [c for c in own if not c.objectName().startswith("qt_")]
    assert len(own) > 15
    for control in own:
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control
        assert control.toolTip(), control


# --- the real engine ---------------------------------------------------------------------------

needs_model = pytest.mark.skipif(not MODEL.exists(), reason="the bundled model is not there")


@pytest.fixture
def real_widget(make_napari_viewer_proxy: Any, real_image: Any) -> Any:
    """Open the real window on a real image."""
    from napari_sa2net.gui.main_widget import MainWidget

    viewer = make_napari_viewer_proxy()
    viewer.add_image(real_image[:160, :160], name="cells", scale=(0.5, 0.5), translate=(3, 4))
    widget = MainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SA2-Net")
    return viewer, widget


@needs_model
def test_real_window_real_model_real_image(qtbot: Any, real_widget: Any) -> None:
    viewer, widget = real_widget
    for box in widget.segment.keep.values():
        box.setChecked(True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget, timeout=120_000)
    assert not [note for note in widget.controller.notes if note.level == "error"]
    # The device is told beside its control, and not a second time with the messages.
    assert widget.segment.model.chosen.text().startswith("Running on ")
    assert "Running on" not in messages(widget)
    # The card is the registry's, with what a file cannot know about itself.
    card = widget.controller.shown.segmentation.card
    assert card == widget.segment.model.entry.card
    labels = viewer.layers["cells labels"]
    assert labels.data.shape == (160, 160)
    assert labels.data.max() > 3
    np.testing.assert_array_equal(labels.translate, (3, 4))
    names = [layer.name for layer in viewer.layers]
    for number in range(1, 5):
        assert f"cells stage {number}" in names
        assert f"cells attention {number}" in names
    assert "cells disagreement" in names
    assert viewer.layers["cells disagreement"].visible
    # Where the model says "nucleus", the image is bright.
    image = viewer.layers["cells"].data
    assert image[labels.data > 0].mean() > 2 * image[labels.data == 0].mean()
    before = (labels.data > 0).sum()
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.95)
    run_to_end(qtbot, widget, timeout=60_000)
    assert 0 < (viewer.layers["cells labels"].data > 0).sum() < before


@needs_model
def test_real_engine_explains_what_does_not_fit(qtbot: Any, real_widget: Any) -> None:
    """A wrong device is an error of the engine; the window is ready again after it."""
    viewer, widget = real_widget
    box = widget.segment.model.device
    box.addItem("a device of nobody", "cuda:99")
    box.setCurrentIndex(box.count() - 1)
    widget.segment.segment.click()
    run_to_end(qtbot, widget, timeout=120_000)
    assert "cuda:99" in messages(widget)
    assert widget.segment.segment.isEnabled()
    assert [layer.name for layer in viewer.layers] == ["cells"]


def test_of_several_selected_images_the_one_used_is_named(
    open_widget: Any, things: Any, backend: Any, qtbot: Any
) -> None:
    viewer, widget = open_widget()
    layers = [viewer.add_image(things, name=name) for name in ("one", "two", "<b>three</b>")]
    image = widget.segment.image
    assert image.several.isHidden()
    viewer.layers.selection = {layers[0], layers[1]}
    assert image.layer == layers[1]  # the one before is not among them
    assert not image.several.isHidden()
    assert "2 images are selected; “two” is the one used here" in image.several.text()
    image.choose(layers[0])
    assert "“one” is the one used here" in image.several.text()
    layers[0].name = "uno"
    assert "“uno” is the one used here" in image.several.text()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "uno labels" in viewer.layers
    viewer.layers.selection.active = layers[2]
    assert image.several.isHidden()


def test_a_renamed_labels_layer_is_found_and_keeps_its_name(
    open_widget: Any, things: Any, qtbot: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    labels = viewer.layers["image labels"]
    labels.name = "my cells"
    assert "These change “my cells” at once" in widget.segment.acts_on.text()
    widget.segment.labelling.controls["min_size"].changed.emit(30, True)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["image", "my cells"]
    viewer.layers["image"].name = "picture"
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["picture", "my cells"]
    widget.train.annotate.correct.click()
    assert "my cells corrected" in viewer.layers
    viewer.layers["my cells"].name = "picture labels"  # a person's own name, though it looks so
    viewer.layers["picture"].name = "image"
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "picture labels" in viewer.layers
