"""Labels that a person paints in: what is saved, measured, counted and kept on top."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.gui.object_watch import objects_of
from napari_sa2net.gui.segmenting import widget as module

ZYX = ("z", "y", "x")
OTHER = ClassInfo("other", "#00ff00")


def settle(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs, and what was painted was looked at."""
    controller, watch = widget.controller, objects_of(widget.segment._viewer)
    qtbot.waitUntil(
        lambda: not controller.state.busy and controller._relabel is None, timeout=10_000
    )
    qtbot.waitUntil(
        lambda: not watch._timer.isActive() and watch._work is None and not watch._waiting,
        timeout=10_000,
    )


def segment(qtbot: Any, widget: Any) -> None:
    """Press Segment and wait."""
    widget.segment.segment.click()
    settle(qtbot, widget)


def choose(widget: Any, kind: str) -> None:
    """Choose where to segment."""
    combo = widget.segment.where.combo
    combo.setCurrentIndex(combo.findData(kind))


def messages(widget: Any) -> str:
    """Return the text of the message area."""
    return str(widget.segment.messages.label.text())


def paint(layer: Any, number: int, rows: slice, columns: slice, *before: int) -> None:
    """Paint a rectangle as a stroke does."""
    y, x = (part.ravel() for part in np.mgrid[rows, columns])
    index = (*(np.full(len(y), place) for place in before), y, x)
    layer.data_setitem(index, number)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def save(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Path]:
    """Return a function that presses the button and chooses a file in the dialog."""

    def press(widget: Any, name: str) -> Path:
        path = tmp_path / name
        monkeypatch.setattr(module.QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
        widget.segment.save.click()
        settle(qtbot, widget)
        return path

    return press


@pytest.fixture
def several(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine know two classes of objects, of which it finds the first."""
    result = type(backend)._result

    def with_another(request: Any) -> Any:
        ran = result(backend, request)
        found = ran.segmentation
        card = replace(found.card, num_classes=3, classes=(*found.card.classes, OTHER))
        background, thing = found.probabilities
        values = np.stack([background, thing * 0.9, thing * 0.1]).astype(np.float16)
        return replace(ran, segmentation=replace(found, card=card, probabilities=values))

    monkeypatch.setattr(backend, "_result", with_another)


# --- what is saved -----------------------------------------------------------------------------


def test_a_correction_that_is_selected_is_saved(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    widget.train.annotate.correct.click()
    copy = viewer.layers["image labels corrected"]
    paint(copy, 9, slice(0, 3), slice(50, 60))
    settle(qtbot, widget)
    assert widget.segment.saves.text() == "To be saved: “image labels corrected”, 4 objects."
    path = save(widget, "corrected.tif")
    assert tifffile.imread(path)[1, 55] == 9
    assert "“image labels corrected”, 4 objects" in messages(widget)
    rows = rows_of(save(widget, "corrected.csv"))
    assert [row["index"] for row in rows] == ["1", "2", "3", "9"]
    assert {row["class_name"] for row in rows} == {"thing"}
    assert float(rows[0]["intensity_mean_0"]) == 240


@pytest.mark.parametrize("selected", ["image", "nothing", "another's labels", "labels and image"])
def test_else_the_labels_of_the_image_that_is_shown_are_saved(
    qtbot: Any, open_widget: Any, things: Any, save: Any, selected: str
) -> None:
    viewer, widget = open_widget()
    for name, image in (("one", things), ("other", things[::-1])):
        viewer.add_image(image, name=name)
        segment(qtbot, widget)
    viewer.layers.selection.active = one = viewer.layers["one"]
    if selected == "nothing":
        viewer.layers.selection.clear()
    elif selected == "another's labels":
        viewer.add_labels(np.full((64, 64), 77), name="mine")
    elif selected == "labels and image":
        viewer.layers.selection = {one, viewer.layers["one labels"]}
    path = save(widget, "saved.tif")
    np.testing.assert_array_equal(tifffile.imread(path), viewer.layers["one labels"].data)
    assert "“one labels”, 3 objects" in messages(widget)


def test_an_annotation_that_is_selected_is_saved_with_the_names_of_its_classes(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    widget.train.annotate.new.click()
    painting = viewer.layers["image annotation"]
    paint(painting, 1, slice(0, 3), slice(0, 9))
    paint(painting, 2, slice(6, 9), slice(6, 9))
    np.testing.assert_array_equal(tifffile.imread(save(widget, "a.tif")), painting.data)
    features = json.loads(save(widget, "a.geojson").read_text(encoding="utf-8"))["features"]
    kinds = [feature["properties"]["classification"] for feature in features]
    assert [kind["name"] for kind in kinds] == ["background", "thing"]
    assert kinds[1]["color"] == [255, 0, 0]
    # With the image selected, its labels are meant, though the strokes lie on top.
    viewer.layers.selection.active = viewer.layers["image"]
    assert "“image labels”" in widget.segment.saves.text()


def test_several_selected_results_are_not_guessed_among(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    for name in ("one", "other"):
        viewer.add_image(things, name=name)
        segment(qtbot, widget)
    viewer.layers.selection = {viewer.layers["one labels"], viewer.layers["other labels"]}
    path = save(widget, "saved.tif")
    assert not path.exists()
    assert "“one labels”, “other labels”: select the one to save" in messages(widget)


def test_labels_of_another_image_are_not_saved_for_those_that_were_deleted(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    for name in ("one", "other"):
        viewer.add_image(things, name=name)
        segment(qtbot, widget)
    viewer.layers.remove("other labels")
    viewer.layers.selection.active = viewer.layers["other"]
    assert not save(widget, "saved.tif").exists()
    assert "“other” has none to save yet" in messages(widget)
    assert not widget.segment.saves.isVisibleTo(widget)


def test_of_several_labels_of_an_image_those_in_sight_are_saved(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    widget.train.annotate.correct.click()
    viewer.layers.selection.active = viewer.layers["image"]
    assert "“image labels corrected”" in widget.segment.saves.text()
    viewer.layers["image labels corrected"].visible = False
    viewer.layers["image labels"].visible = True
    assert "“image labels”" in widget.segment.saves.text()


def test_a_correction_is_measured_where_it_lies_in_the_image(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_shapes([np.array([[28, 26], [28, 44], [44, 44], [44, 26]]) * 0.5])
    viewer.layers.selection.active = viewer.layers["image"]
    choose(widget, "shapes")
    segment(qtbot, widget)
    widget.train.annotate.correct.click()
    (row,) = rows_of(save(widget, "part.csv"))
    assert (row["bbox_y0_px"], row["bbox_x0_px"]) == ("30", "30")
    assert float(row["area_um2"]) == 25
    assert float(row["intensity_mean_0"]) == 230


def test_channels_that_are_layers_are_measured_though_another_image_came_after(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    from qtpy.QtCore import Qt

    viewer, widget = open_widget()
    viewer.add_image(things, name="a")
    viewer.add_image(things // 2, name="b")
    viewer.layers.selection.active = viewer.layers["a"]
    widget.segment.image.others.item(0).setCheckState(Qt.CheckState.Checked)
    widget.segment.image.channels.boxes[0].setChecked(True)
    segment(qtbot, widget)
    viewer.add_image(things[:40], name="other")
    segment(qtbot, widget)
    viewer.layers.selection.active = viewer.layers["a labels"]
    rows = rows_of(save(widget, "t.csv"))
    assert [float(rows[0][f"intensity_mean_{name}"]) for name in "ab"] == [240, 120]


# --- classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["result", "correction", "region", "stack"])
def test_painted_objects_have_the_class_of_the_model(
    qtbot: Any, open_widget: Any, things: Any, save: Any, how: str
) -> None:
    viewer, widget = open_widget()
    image, before = (np.stack([things] * 3), (1,)) if how == "stack" else (things, ())
    viewer.add_image(image, name="image", axis_labels=ZYX[-image.ndim :])
    if how == "region":
        viewer.add_shapes([np.array([[0, 0], [0, 62], [62, 62], [62, 0]])])
        viewer.layers.selection.active = viewer.layers["image"]
        choose(widget, "shapes")
    segment(qtbot, widget)
    layer = widget.controller.shown.layer
    if how == "correction":
        widget.train.annotate.correct.click()
        layer = viewer.layers[-1]
    count = len(layer.features)
    paint(layer, 90, slice(44, 48), slice(50, 55), *before)
    settle(qtbot, widget)
    last = layer.features.iloc[-1]
    assert (last["index"], last["class"], last["class_name"], last["area"]) == (90, 1, "thing", 20)
    assert f"“{layer.name}”, {count + 1} objects" in widget.segment.saves.text()
    rows = rows_of(save(widget, "t.csv"))
    assert len(rows) == count + 1
    assert {row["class_name"] for row in rows} == {"thing"}


def test_the_names_outlive_an_edit_and_another_segment(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    edited = viewer.layers["image labels"]
    paint(edited, 9, slice(44, 48), slice(50, 55))
    segment(qtbot, widget)
    viewer.layers.selection.active = edited
    rows = rows_of(save(widget, "t.csv"))
    assert [row["class_name"] for row in rows] == ["thing"] * 4
    features = json.loads(save(widget, "o.geojson").read_text(encoding="utf-8"))["features"]
    kinds = [feature["properties"]["classification"] for feature in features]
    assert kinds == [{"name": "thing", "color": [255, 0, 0]}] * 4


@pytest.mark.parametrize("how", ["undo", "redo", "assignment"])
def test_table_and_count_follow_what_napari_tells_of_by_no_event(
    qtbot: Any, open_widget: Any, things: Any, how: str
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    layer = viewer.layers["image labels"]
    before = layer.features.copy()
    if how == "assignment":
        layer.data[layer.data == 2] = 0
        layer.refresh()
    else:
        paint(layer, 0, slice(30, 40), slice(30, 40))
        settle(qtbot, widget)
        layer.undo()
        if how == "redo":
            layer.redo()
    settle(qtbot, widget)
    if how == "undo":
        assert layer.features.equals(before)
        assert "3 objects" in widget.segment.acts_on.text()
    else:
        assert layer.features["index"].tolist() == [1, 3]
        assert "“image labels”, 2 objects" in widget.segment.saves.text()
        assert "holds your edits" in widget.segment.acts_on.text()


def test_columns_of_others_stay(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    layer = viewer.layers["image labels"]
    table = layer.features.copy()
    table["roundness"] = [0.1, 0.2, 0.3]
    layer.features = table
    paint(layer, 0, slice(5, 15), slice(5, 15))
    settle(qtbot, widget)
    assert layer.features["roundness"].tolist() == [0.2, 0.3]


@pytest.mark.usefixtures("several")
def test_of_several_classes_the_one_chosen_is_painted(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    layer, box = viewer.layers["image labels"], widget.segment.objects.classes
    layer.selected_label = 7
    assert [box.itemText(row) for row in range(box.count())] == ["thing", "other"]
    assert box.currentText() == "thing"  # as most objects are
    box.setCurrentIndex(1)
    box.activated.emit(1)
    paint(layer, 7, slice(44, 48), slice(50, 55))
    settle(qtbot, widget)
    layer.selected_label = 8
    assert box.currentText() == "other"
    paint(layer, 8, slice(50, 55), slice(50, 55))
    settle(qtbot, widget)
    assert layer.features["class_name"].tolist() == ["thing"] * 3 + ["other"] * 2
    layer.selected_label = 1
    assert box.currentText() == "thing"
    rows = rows_of(save(widget, "t.csv"))
    assert [row["class_name"] for row in rows] == ["thing"] * 3 + ["other"] * 2


@pytest.mark.usefixtures("several")
def test_another_class_for_an_object_is_an_edit_too(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    layer, box = viewer.layers["image labels"], widget.segment.objects.classes
    layer.selected_label = 2
    box.setCurrentIndex(1)
    box.activated.emit(1)
    segment(qtbot, widget)
    assert layer.features["class_name"].tolist() == ["thing", "other", "thing"]
    assert viewer.layers[-1] == layer
    assert layer.visible


def test_areas_of_classes_follow(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    box = widget.segment.labelling.controls["result"]
    box.setCurrentIndex(box.findData("classes"))
    segment(qtbot, widget)
    layer = viewer.layers["image labels"]
    paint(layer, 0, slice(5, 15), slice(5, 15))
    settle(qtbot, widget)
    assert layer.features["area"].tolist() == [200]
    assert layer.features["class_name"].tolist() == ["thing"]
    assert "“image labels”, 1 class." in widget.segment.saves.text()


# --- pieces ------------------------------------------------------------------------------------


def test_two_pieces_are_told_measured_and_one_click_away_from_two_objects(
    qtbot: Any, open_widget: Any, things: Any, save: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    layer, panel = viewer.layers["image labels"], widget.segment.objects
    assert not panel.separate.isVisibleTo(widget)
    paint(layer, 0, slice(35, 36), slice(0, 64))
    settle(qtbot, widget)
    assert panel.pieces.text() == "“image labels”: Object 2 is in 2 pieces."
    assert panel.separate.isVisibleTo(widget)
    assert widget.train.objects.separate.isVisibleTo(widget.train)
    rows = rows_of(save(widget, "t.csv"))
    found = [(row["index"], row["piece"], row["area"]) for row in rows]
    assert found == [("1", "1", "100"), ("2", "1", "50"), ("2", "2", "40"), ("3", "1", "100")]
    assert "in the table each piece has a row" in messages(widget)
    save(widget, "t.tif")
    assert "share a number" in messages(widget)
    cut = layer.data.copy()
    panel.separate.click()
    settle(qtbot, widget)
    assert np.unique(layer.data[36:40, 30:40]).tolist() == [4]
    assert layer.features["class_name"].tolist() == ["thing"] * 4
    assert not panel.separate.isVisibleTo(widget)
    assert [row["index"] for row in rows_of(save(widget, "t.csv"))] == ["1", "2", "3", "4"]
    layer.undo()
    settle(qtbot, widget)
    np.testing.assert_array_equal(layer.data, cut)
    assert panel.separate.isVisibleTo(widget)


@pytest.mark.parametrize(("link", "pieces"), [("z", 0), ("none", 2)])
def test_what_is_one_through_the_planes_is_one_where_they_are_linked(
    qtbot: Any, open_widget: Any, things: Any, link: str, pieces: int
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), name="image", axis_labels=ZYX)
    box = widget.segment.labelling.controls["link"]
    box.setCurrentIndex(box.findData(link))
    segment(qtbot, widget)
    layer, watch = viewer.layers["image labels"], objects_of(viewer)
    paint(layer, 0, slice(35, 36), slice(0, 64), 1)  # cut in the middle plane only
    settle(qtbot, widget)
    assert list(watch.pieces(layer).values()) == [pieces] * bool(pieces)
    if link == "z":
        paint(layer, 0, slice(30, 40), slice(30, 40), 1)  # and now through it
        settle(qtbot, widget)
        assert list(watch.pieces(layer).values()) == [2]
    widget.segment.objects.separate.click()
    settle(qtbot, widget)
    assert not watch.pieces(layer)
    ends = [np.unique(layer.data[plane, 30:40, 30:40]).tolist() for plane in (0, 2)]
    assert ends[0] != ends[1]


# --- another Segment ---------------------------------------------------------------------------


def order(viewer: Any) -> list[str]:
    """Return the names of the layers, those in sight only, the lowest first."""
    return [layer.name for layer in viewer.layers if layer.visible]


@pytest.mark.parametrize("kind", ["instances", "classes", "stack", "region"])
def test_an_edited_layer_stays_on_top_and_in_sight(
    qtbot: Any, open_widget: Any, things: Any, kind: str
) -> None:
    viewer, widget = open_widget()
    image = np.stack([things] * 3) if kind == "stack" else things
    viewer.add_image(image, name="image", axis_labels=ZYX[-image.ndim :])
    if kind == "classes":
        box = widget.segment.labelling.controls["result"]
        box.setCurrentIndex(box.findData("classes"))
    if kind == "region":
        viewer.add_shapes([np.array([[0, 0], [0, 62], [62, 62], [62, 0]])]).visible = False
        viewer.layers.selection.active = viewer.layers["image"]
        choose(widget, "shapes")
    segment(qtbot, widget)
    edited = widget.controller.shown.layer
    edited.data[..., 0, 0] = 2
    before = edited.data.copy()
    for _ in range(2):
        segment(qtbot, widget)
        np.testing.assert_array_equal(edited.data, before)
        assert order(viewer) == ["image", edited.name]
        assert viewer.layers[-1] == edited
        assert viewer.layers.selection.active == edited or kind == "region"
        assert "click its eye" in messages(widget)
        assert f"“{edited.name}”" in widget.segment.saves.text()
    # Once a person has hidden it, the new result is seen.
    edited.visible = False
    segment(qtbot, widget)
    assert order(viewer) == ["image", widget.controller.shown.layer.name]


def test_a_correction_stays_on_top_and_in_sight(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    widget.train.annotate.correct.click()
    segment(qtbot, widget)
    assert order(viewer) == ["image", "image labels corrected"]
    assert "click its eye" in messages(widget)


def test_a_result_lies_under_strokes_and_is_seen(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    widget.train.annotate.new.click()
    segment(qtbot, widget)
    assert order(viewer) == ["image", "image labels", "image annotation"]
    assert viewer.layers.selection.active == viewer.layers["image annotation"]


def test_work_on_another_part_or_image_hides_nothing(
    qtbot: Any, open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    corners = np.array([[0, 0], [0, 20], [20, 20], [20, 0]])
    shapes = viewer.add_shapes([corners])
    shapes.visible = False
    choose(widget, "shapes")
    viewer.layers.selection.active = viewer.layers["image"]
    segment(qtbot, widget)
    widget.controller.shown.layer.data[0, 0] = 9
    shapes.data = [corners + 25]
    viewer.layers.selection.active = viewer.layers["image"]
    segment(qtbot, widget)
    viewer.add_image(things, name="other")
    choose(widget, "whole")
    segment(qtbot, widget)
    labels = [layer for layer in viewer.layers if "labels" in layer.name]
    assert len(labels) == 3
    assert all(layer.visible for layer in labels)


def test_a_preview_is_seen_under_what_was_edited(
    qtbot: Any, open_widget: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sa2net.gui import regions

    viewer, widget = open_widget()
    viewer.add_image(things, name="image")
    segment(qtbot, widget)
    viewer.layers["image labels"].data[0, 0] = 9
    monkeypatch.setattr(regions, "visible_region", lambda *_: (slice(0, 20), slice(0, 30)))
    widget.segment.preview.click()
    settle(qtbot, widget)
    assert order(viewer) == ["image", "image preview", "image labels"]
