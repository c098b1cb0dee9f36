"""What is said of an image is that image's: sizes, axes, channels, and what went wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QApplication

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import write_image
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.gui.channel_chooser import channel_titles


def run_to_end(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs."""
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=10_000)


def messages(widget: Any) -> str:
    """Return the text of the message area."""
    return str(widget.segment.messages.label.text())


def texts(chooser: Any) -> list[str]:
    """Return what stands beside the ticks, with a cross before what is ticked."""
    return ["x " * box.isChecked() + box.text() for box in chooser.boxes]


@pytest.fixture
def two_channels(things: Any, tmp_path: Path) -> Path:
    """Return a file of two channels with names."""
    path = tmp_path / "cells.ome.tif"
    names = ("DAPI", "Actin & tubulin")
    write_image(path, np.stack([things, things[::-1]]), "CYX", {}, channel_names=names)
    return path


# --- sizes -------------------------------------------------------------------------------------


def test_a_diameter_is_that_of_the_image_it_was_given_for(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    first = viewer.add_image(things, name="first")
    scale = widget.segment.scale
    scale.spin.setValue(40)
    viewer.add_image(things, name="second")
    assert scale.diameter() is None
    assert widget.train.scale.diameter() is None
    assert "The 40 px given for “first” are of that image alone" in scale.hint.text()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["diameter"] is None
    viewer.layers.selection.active = first
    assert (scale.diameter(), widget.train.scale.diameter()) == (40, 40)
    assert not scale.same.isVisibleTo(widget)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["diameter"] == 40


def test_a_diameter_is_taken_for_another_image_by_a_click(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    scale = widget.segment.scale
    viewer.add_image(things, name="first")
    scale.spin.setValue(40)
    viewer.add_image(things, name="second")
    assert scale.same.text() == "Use 40 px here too"
    scale.same.click()
    assert scale.diameter() == 40
    assert not scale.same.isVisibleTo(widget)
    scale.spin.setValue(50)
    viewer.layers.selection.active = viewer.layers["first"]
    assert scale.diameter() == 40


def test_what_is_typed_before_there_is_an_image_is_of_the_first(
    open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    widget.segment.scale.spin.setValue(40)
    viewer.add_image(things, name="first")
    assert widget.segment.scale.diameter() == 40
    viewer.add_image(things, name="second")
    assert widget.segment.scale.diameter() is None


def test_axes_come_back_with_their_image(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    stack = viewer.add_image(np.stack([things] * 6), name="stack")
    panel = widget.segment.image
    panel.axes.setText("TYX")
    panel.axes.textEdited.emit("TYX")
    assert widget.train.image.axes.text() == "TYX"  # the other tab shows the same image
    viewer.add_image(np.stack([things] * 6), name="other")
    assert panel.axes.text() == "ZYX"
    viewer.layers.selection.active = stack
    assert panel.axes.text() == "TYX"
    panel.axes.setText("")
    panel.axes.textEdited.emit("")
    panel.axes.editingFinished.emit()
    viewer.layers.selection.active = viewer.layers["other"]
    viewer.layers.selection.active = stack
    assert panel.axes.text() == "ZYX"


def test_axes_of_data_that_is_no_more_are_guessed_again(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    layer = viewer.add_image(np.stack([things] * 6), name="stack")
    panel = widget.segment.image
    panel.axes.setText("TYX")
    panel.axes.textEdited.emit("TYX")
    viewer.add_image(things, name="other")
    layer.data = things
    viewer.layers.selection.active = layer
    assert (panel.axes.text(), panel.problem) == ("YX", "")


# --- what went wrong ---------------------------------------------------------------------------


def test_an_error_is_told_beside_its_image_only(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    first = viewer.add_image(things, name="first")
    backend.error = InputError("The first image cannot be read.")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "cannot be read" in messages(widget)
    viewer.add_image(things, name="second")
    assert messages(widget) == ""
    assert not widget.segment.messages.isVisibleTo(widget)
    viewer.layers.selection.active = first
    assert "cannot be read" in messages(widget)


def test_what_could_not_even_start_is_told_beside_its_image_only(
    open_widget: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 2), name="first", axis_labels=("c", "y", "x"))
    widget.segment.segment.click()
    assert "2 channels" in messages(widget)
    viewer.add_image(things, name="second")
    assert messages(widget) == ""


def test_what_comes_of_an_image_while_another_is_chosen_names_it(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    first = viewer.add_image(things, name="first")
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: backend.running == 1, timeout=10_000)
    viewer.add_image(things, name="second")
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert "“first”: Found 3 objects" in messages(widget)
    viewer.layers.selection.active = first
    assert "■</span> <b></b>Found 3 objects" in messages(widget)
    viewer.add_image(things, name="third")
    assert messages(widget) == ""


def test_what_is_about_no_image_stays(qtbot: Any, open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(things, name="first")
    widget.controller.import_model(Path("mine.safetensors"))
    run_to_end(qtbot, widget)
    viewer.add_image(things, name="second")
    assert "imported" in messages(widget)


# --- channels ----------------------------------------------------------------------------------


def test_channels_are_ticked_by_their_names(
    qtbot: Any, open_widget: Any, backend: Any, two_channels: Path
) -> None:
    viewer, widget = open_widget()
    viewer.open(two_channels, plugin="napari")
    chooser = widget.segment.image.channels
    assert chooser.isVisibleTo(widget)
    assert texts(chooser) == ["DAPI", "Actin && tubulin"]
    assert chooser.boxes[1].accessibleName() == "Channel Actin & tubulin"
    for button in (widget.segment.segment, widget.segment.preview):
        button.click()
        told = widget.controller.notes[-1]
        assert told.level == "error"
        assert "2 channels (DAPI, Actin & tubulin): under Channels tick the one" in told.text
        assert told.text == chooser.hint.text()
    assert not backend.requests
    chooser.boxes[0].setFocus()
    qtbot.keyClick(chooser.boxes[1], Qt.Key.Key_Space)
    assert texts(chooser) == ["DAPI", "x Actin && tubulin → used alone"]
    assert not chooser.hint.isVisibleTo(widget)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert backend.requests[-1].options["channels"] == (1,)


def test_channels_go_to_those_of_the_model_in_the_order_of_the_ticks(
    open_widget: Any, backend: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(backend.models()[0].card, channels=("red", "green", "blue"))
    monkeypatch.setattr(backend, "models", lambda: [ModelEntry(card, "bundled", Path("fake"))])
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 4), name="four", axis_labels=("c", "y", "x"))
    chooser = widget.segment.image.channels
    for row in (3, 0, 2):
        chooser.boxes[row].setChecked(True)
    assert texts(chooser) == [
        "x Channel 0 → green", "Channel 1", "x Channel 2 → blue", "x Channel 3 → red"]  # fmt: skip
    assert widget.segment.choices().channels == (3, 0, 2)
    chooser.boxes[0].setChecked(False)
    problem = widget.segment.choices().channels_problem
    assert "2 channels are ticked (Channel 3, Channel 2)" in problem
    assert "tick one, or 3 in the order red, green, blue" in problem


def test_what_the_model_wants_is_ticked_from_the_start(open_widget: Any, things: Any) -> None:
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 3), name="three", axis_labels=("c", "y", "x"))
    chooser = widget.segment.image.channels
    assert texts(chooser) == [f"x Channel {n} → channel {n + 1}" for n in range(3)]
    assert widget.segment.choices().channels is None
    for box in chooser.boxes:
        box.setChecked(False)
    assert "under Channels tick the one" in widget.segment.choices().channels_problem


def test_a_model_of_one_channel_gets_one(
    open_widget: Any, backend: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(backend.models()[0].card, in_channels=1)
    monkeypatch.setattr(backend, "models", lambda: [ModelEntry(card, "bundled", Path("fake"))])
    viewer, widget = open_widget()
    viewer.add_image(np.stack([things] * 2), name="two", axis_labels=("c", "y", "x"))
    chooser = widget.segment.image.channels
    assert chooser.hint.text().endswith("is to look at.")
    chooser.boxes[0].setChecked(True)
    chooser.boxes[1].setChecked(True)
    assert texts(chooser) == ["Channel 0", "x Channel 1"]
    assert widget.segment.choices().channels == (1,)
    # Three planes of colours at the end are mixed to grey, unless one is ticked.
    viewer.add_image(np.stack([things] * 3, -1), name="colours", rgb=False)
    widget.segment.image.correct("YXC", None)
    assert texts(chooser)[0] == "x Channel 0 → mixed to grey"
    chooser.boxes[2].setChecked(False)
    chooser.boxes[1].setChecked(False)
    assert widget.segment.choices().channels == (0,)


def test_channels_come_back_with_their_image_and_the_dock(
    open_widget: Any, two_channels: Path, things: Any
) -> None:
    viewer, widget = open_widget()
    (cells,) = viewer.open(two_channels, plugin="napari")
    widget.segment.image.channels.boxes[1].setChecked(True)
    viewer.add_image(np.stack([things] * 2), name="other", axis_labels=("c", "y", "x"))
    assert widget.segment.image.channels.value() is None
    viewer.layers.selection.active = cells
    assert widget.segment.image.channels.value() == (1,)
    assert widget.train.image.channels.value() == (1,)
    QApplication.sendEvent(widget.segment, QHideEvent())  # all that the dock's ✕ does
    _, again = open_widget(viewer)
    assert again.segment.image.channels.value() == (1,)


def test_layers_as_channels_are_known_again(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    layers = {name: viewer.add_image(things, name=name) for name in ("DAPI", "actin", "tubulin")}
    panel = widget.segment.image
    for row in range(panel.others.count()):
        panel.others.item(row).setCheckState(Qt.CheckState.Checked)
    assert channels_of(panel) == ["DAPI", "actin", "tubulin"]
    panel.channels.boxes[0].setChecked(False)
    panel.channels.boxes[2].setChecked(False)
    assert channels_of(panel) == ["actin"]
    viewer.layers.move(0, 3)  # another order in the list
    assert channels_of(panel) == ["actin"]
    viewer.layers.remove(layers["DAPI"])
    assert panel.image.data.shape == (2, 64, 64)
    assert channels_of(panel) == ["actin"]
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    request = backend.requests[-1]
    names = panel.image.names
    assert [names[number] for number in request.options["channels"]] == ["actin"]


def channels_of(panel: Any) -> list[str]:
    """Return the names of the layers that the model gets."""
    return [panel.image.names[number] for number in panel.channels.value() or range(3)]


def test_a_model_that_is_to_learn_takes_any_channels(open_widget: Any, two_channels: Path) -> None:
    viewer, widget = open_widget()
    viewer.open(two_channels, plugin="napari")
    chooser = widget.train.image.channels
    assert [box.isChecked() for box in chooser.boxes] == [True, True]
    assert not chooser.hint.isVisibleTo(widget)
    widget.train.annotate.new.click()
    assert widget.trainer.pairs.pairs[0].channels is None
    chooser.boxes[0].setChecked(False)
    assert widget.trainer.pairs.pairs[0].channels == (1,)
    # Which model is asked where to paint next takes what it takes.
    chooser.boxes[0].setChecked(True)
    widget.train.where.button.click()
    assert "2 channels are ticked" in widget.train.messages.label.text()


def test_the_channels_of_a_folder_are_those_of_its_first_image(
    qtbot: Any, open_widget: Any, backend: Any, two_channels: Path
) -> None:
    _, widget = open_widget()
    dialog = widget.segment.folder.open_dialog()
    assert not dialog.channels.isVisibleTo(dialog)
    dialog.images.setText(str(two_channels.parent))
    dialog.output.setText(str(two_channels.parent / "out"))
    dialog.images.editingFinished.emit()
    assert texts(dialog.channels) == ["DAPI", "Actin && tubulin"]
    assert dialog.channels_of.text() == "As in cells.ome.tif, the first image."
    dialog.start.click()
    assert not backend.folders
    assert "under Channels tick the one" in dialog.said.text()
    dialog.channels.boxes[1].setChecked(True)
    dialog.start.click()
    run_to_end(qtbot, widget)
    # By name: in another file they may lie in another order.
    assert backend.folders[-1].options["channels"] == ("Actin & tubulin",)
    dialog.close()
    again = widget.segment.folder.open_dialog()
    assert again.form().channels == ("Actin & tubulin",)


def test_what_channels_are_called() -> None:
    assert channel_titles(("DAPI", ""), 2) == ["DAPI", "Channel 1"]
    assert channel_titles(("GFP", "GFP"), 2) == ["GFP (channel 0)", "GFP (channel 1)"]
    assert channel_titles(("DAPI",), 2) == ["Channel 0", "Channel 1"]
