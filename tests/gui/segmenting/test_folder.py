"""The window "Folder of images": what it asks the engine for, and how it shows what happens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_sa2net.engine.batch.events import FileEnded, FileStarted
from napari_sa2net.engine.files import read_image
from napari_sa2net.gui.jobs import heavy
from napari_sa2net.gui.segmenting.folder import FolderRun


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with three files, the second of which is no image."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "bad.png", "c.png"):
        (folder / name).write_bytes(b"")
    return folder


def opened(widget: Any, pictures: Path) -> Any:
    """Return the window with its folders filled in."""
    dialog = widget.segment.folder.open_dialog()
    dialog.images.setText(str(pictures))
    dialog.output.setText(str(pictures.parent / "out"))
    return dialog


def lines(dialog: Any) -> list[str]:
    """Return what the list of files says."""
    return [dialog.list.item(row).text() for row in range(dialog.list.count())]


def wait(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs."""
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=20_000)


def test_a_folder_is_segmented_with_what_is_chosen_in_the_tab(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    widget.segment.scale.set_diameter(33)
    labelling = replace(widget.segment.labelling.value(), threshold=0.25)
    widget.segment.labelling.set_value(labelling)
    dialog = opened(widget, pictures)
    dialog.save["geojson"].setChecked(True)
    dialog.existing.setCurrentIndex(1)
    dialog.start.click()
    assert widget.controller.state.kind == "folder"
    assert not dialog.start.isEnabled()
    wait(qtbot, widget)
    (request,) = backend.folders
    assert (request.images, request.output) == (pictures, pictures.parent / "out")
    assert request.model == "fake"
    assert request.save == ("table", "geojson")
    assert request.replace
    assert request.options["diameter"] == 33
    assert request.options["channels"] is None
    assert request.options["labelling"] == labelling
    assert "position" not in request.options
    assert dialog.start.isEnabled()


def test_all_positions_of_files_are_asked_for_and_listed(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    dialog.positions.setChecked(True)
    dialog.start.click()
    wait(qtbot, widget)
    assert backend.folders[0].options["position"] == "all"
    dialog.close()
    assert widget.segment.folder.open_dialog().positions.isChecked()
    run = FolderRun(pictures)
    run.take(FileStarted(pictures / "a.tif", 1, 2, 0))
    assert run.at == "a.tif, position 0 (1 of 2)"
    for position in range(2):
        target, text = pictures / f"a_p{position}_labels.ome.tif", "5 objects"
        run.take(FileEnded(pictures / "a.tif", 1, 2, "done", target, 5, text, position=position))
    assert run.lines == [f"✓ a.tif, position {n}: 5 objects" for n in range(2)]


def test_links_can_be_chosen_for_a_folder_without_an_image(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    link = widget.segment.labelling.controls["link"]
    assert [link.itemText(row) for row in range(link.count())] == [
        "Off", "Through Z", "Through time"]  # fmt: skip
    link.setCurrentIndex(1)
    dialog = opened(widget, pictures)
    assert dialog.uses.text().endswith("linked through Z")
    dialog.start.click()
    wait(qtbot, widget)
    assert backend.folders[-1].options["labelling"].link == "z"


def test_failures_are_listed_and_the_others_go_on(
    qtbot: Any, open_widget: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    dialog.start.click()
    wait(qtbot, widget)
    assert lines(dialog) == [
        "✓ a.png: 3 objects", "✗ bad.png is no image.", "✓ c.png: 3 objects"]  # fmt: skip
    assert dialog.said.text() == "2 done, 1 failed."
    told = widget.segment.messages.label.text()
    assert "bad.png is no image." in told
    assert "2 done, 1 failed" in told


def test_it_is_stopped_and_found_again(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    backend.gate.clear()
    dialog.start.click()
    qtbot.waitUntil(lambda: "a.png (1 of 3)" in dialog.said.text(), timeout=20_000)
    dialog.close()  # the job goes on
    again = widget.segment.folder.open_dialog()
    assert again.images.text() == str(pictures)
    assert again.stop.isEnabled()
    assert "a.png (1 of 3)" in again.said.text()
    again.stop.click()
    backend.gate.set()
    wait(qtbot, widget)
    assert backend.running == 0
    assert "Start again to go on" in widget.segment.messages.label.text()


def test_closing_the_viewer_ends_it(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    backend.gate.clear()
    dialog.start.click()
    qtbot.waitUntil(lambda: backend.running == 1, timeout=20_000)
    widget.controller.shut_down()
    backend.gate.set()
    qtbot.waitUntil(lambda: backend.running == 0, timeout=20_000)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("images", "nowhere", "is no folder"),
        ("images", "", "is no folder"),
        ("images", "x" * 300, "is no folder"),
        ("images", "~nobody-of-this-name", "home folder"),
        ("output", "~nobody-of-this-name", "home folder"),
        ("output", " ", "folder for the results"),
    ],
)
def test_what_is_missing_is_said_at_once(
    open_widget: Any, backend: Any, pictures: Path, field: str, text: str, said: str
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    getattr(dialog, field).setText(text)
    dialog.start.click()
    assert not backend.folders
    assert said in dialog.said.text()


def test_a_model_that_is_not_here_is_not_fetched_unasked(
    open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    widget.segment.model.combo.setCurrentIndex(1)
    dialog.start.click()
    assert not backend.folders
    assert "press Download" in dialog.said.text()


def test_what_fails_as_a_whole_is_said(
    qtbot: Any, open_widget: Any, backend: Any, pictures: Path
) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    backend.error = OSError("the disk is gone")
    dialog.start.click()
    wait(qtbot, widget)
    assert "the disk is gone" in dialog.said.text()


def test_it_waits_for_other_heavy_jobs(open_widget: Any, backend: Any, pictures: Path) -> None:
    viewer, widget = open_widget()
    dialog = opened(widget, pictures)
    heavy.begin(viewer, "train")
    dialog.start.click()
    assert not backend.folders
    assert "fine-tuned" in dialog.said.text()
    heavy.end(viewer, "train")


def test_results_are_suggested_beside_the_images(
    open_widget: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, widget = open_widget()
    dialog = widget.segment.folder.open_dialog()
    monkeypatch.setattr(dialog, "ask_folder", lambda *_: str(pictures))
    dialog._on_images()
    assert dialog.output.text() == str(pictures / "results")
    dialog._on_output()
    assert dialog.output.text() == str(pictures)


def test_another_choice_in_the_tab_is_shown_at_once(open_widget: Any, pictures: Path) -> None:
    _, widget = open_widget()
    dialog = opened(widget, pictures)
    widget.segment.labelling.controls["min_size"]._spin.setValue(77)
    assert "minimum size 77" in dialog.uses.text()
    widget.segment.scale.spin.setValue(33)
    assert "objects of 33 pixels" in dialog.uses.text()
    widget.segment.model.combo.setCurrentIndex(1)
    assert dialog.uses.text().startswith("far; ")
    assert "minimum size 77" not in dialog.uses.text()  # the other model's own


@pytest.mark.slow
def test_with_the_real_engine(qtbot: Any, make_napari_viewer_proxy: Any, tmp_path: Path) -> None:
    from napari_sa2net.gui.main_widget import MainWidget

    (tmp_path / "in").mkdir()
    image = np.zeros((64, 64), np.uint8)
    image[20:40, 20:40] = 200
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    viewer = make_napari_viewer_proxy()
    widget = MainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SA2-Net")
    widget.segment.model.device.setCurrentIndex(widget.segment.model.device.findData("cpu"))
    dialog = opened(widget, tmp_path / "in")
    for status in ("✓", "–"):  # made, then found to be done
        dialog.start.click()
        qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=240_000)
        assert lines(dialog)[0].startswith(status)
    assert read_image(tmp_path / "out" / "a_labels.ome.tif").array.shape == (64, 64)
    assert (tmp_path / "out" / "a_table.csv").exists()
