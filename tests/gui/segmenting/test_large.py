"""Large images: block by block into a folder, which a layer shows while it is made."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_sa2net.engine.blocks import setup
from napari_sa2net.engine.blocks.store import WORK
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Message, run
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.gui import large, layers, regions
from napari_sa2net.gui.annotating.layers import correct_prediction
from napari_sa2net.gui.measuring import read_objects
from napari_sa2net.gui.segmenting import stored
from napari_sa2net.gui.segmenting.backend import Backend, LargeRequest, Request, StoreChosen
from napari_sa2net.gui.segmenting.live import Stores, View
from napari_sa2net.gui.segmenting.stored import StoredLabels
from napari_sa2net.gui.writer import Target

zarr = pytest.importorskip("zarr", minversion="3.0")
da = pytest.importorskip("dask.array")


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a block of the fake engine is large."""
    monkeypatch.setattr(large, "PIXELS", 32 * 32)


def run_to_end(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs."""
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=20_000)


def messages(widget: Any) -> str:
    return str(widget.segment.messages.label.text())


@pytest.fixture
def watched(things: Any) -> tuple[Any, list[Any]]:
    """Return a dask image, and a list of the places that are read of it."""
    read: list[Any] = []

    def block(block_info: Any = None) -> Any:
        where = tuple(slice(*span) for span in block_info[None]["array-location"])
        read.append(where)
        return things[where]

    image = da.map_blocks(block, chunks=((16,) * 4, (16,) * 4), dtype=np.uint8)
    return image, read


def test_a_large_layer_is_made_on_the_disk(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(
        watched[0], name="image", scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"),
        contrast_limits=(0, 255),
    )  # fmt: skip
    segment = widget.segment
    assert segment.too_large.isVisibleTo(widget)
    assert not segment.keep["stages"].isEnabled()
    segment.segment.click()
    run_to_end(qtbot, widget)
    layer = viewer.layers["image labels"]
    assert layer.multiscale
    first_store = stored.store_of(layer)
    assert [tuple(level.shape) for level in layer.data] == [(64, 64), (32, 32), (16, 16)]
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, things > 127)
    np.testing.assert_array_equal(layer.scale, (0.5, 0.25))
    np.testing.assert_array_equal(layer.translate, (3, 4))
    assert backend.larges[-1].sizes == {"Y": 0.5, "X": 0.25}
    assert "7 objects" in messages(widget)
    assert "7 objects" in segment.acts_on.text()
    assert "press Segment again" in segment.acts_on.text()
    # A person cannot paint in it, so nothing they do is lost or changes the result.
    assert not layer.editable
    with pytest.raises(TypeError):
        layer.data[0][0, 0] = 1
    # The sliders change nothing without the network.
    segment.labelling.controls["threshold"]._spin.setValue(0.8)
    assert not backend.relabelled
    segment.segment.click()
    run_to_end(qtbot, widget)
    (layer,) = [layer for layer in viewer.layers if "labels" in layer.name]
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, things / 255 > 0.8)
    # What no layer shows is removed by the engine's next run: the first result was still shown.
    assert backend.larges[0].shown == frozenset()
    assert backend.larges[1].shown == {first_store}


def test_blocks_are_shown_while_it_runs_those_in_view_first(
    qtbot: Any,
    open_widget: Any,
    backend: Any,
    watched: Any,
    things: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    seen = [slice(28, 44), slice(28, 44)]
    monkeypatch.setattr(regions, "visible_region", lambda *_: tuple(seen))
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: "image labels" in viewer.layers, timeout=20_000)
    assert widget.controller.state.busy
    assert backend.written == [(32, 32, 48, 48)]
    layer = viewer.layers["image labels"]
    found = np.asarray(layer.data[0])
    assert found[32:40, 32:40].all()
    assert not found[:32].any()
    seen[:] = [slice(0, 10), slice(0, 10)]  # a person moves the view
    qtbot.wait(600)
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert backend.written[1] == (0, 0, 16, 16)
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, things > 127)
    assert viewer.layers["image labels"] == layer


def test_a_run_that_was_cancelled_is_gone_on_with(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(backend.paused.is_set, timeout=20_000)
    widget.segment.cancel.click()
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert "what is done is kept" in messages(widget)
    layer = viewer.layers["image labels"]
    assert 0 < len(backend.written) < 16
    # What is not complete is not saved.
    with pytest.raises(InputError, match="not complete"):
        stored.keep_store(stored.store_of(layer), Path("labels.zarr"))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert len(backend.written) == 16, "no block was made twice"
    assert viewer.layers["image labels"] == layer
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, things > 127)


def test_a_failure_is_told_and_what_is_done_stays(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    backend.error = InputError("The disk is full.")
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert "The disk is full" in messages(widget)
    assert "What is done is kept" in messages(widget)
    assert widget.segment.segment.isEnabled()
    backend.error = None
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert len(backend.written) == 16


def test_without_zarr_it_says_what_to_install(
    open_widget: Any, backend: Any, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    monkeypatch.setitem(sys.modules, "zarr", None)
    widget.segment.segment.click()
    assert "napari-sa2net[zarr]" in messages(widget)
    assert not backend.larges
    assert not widget.controller.state.busy


def test_looking_at_the_result_reads_a_part_of_the_disk_and_no_image(
    qtbot: Any, open_widget: Any, watched: Any
) -> None:
    viewer, widget = open_widget()
    image, read = watched
    viewer.add_image(image, name="image", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    viewer.layers["image"].visible = False
    layer = viewer.layers["image labels"]
    read.clear()
    layer.refresh()
    viewer.dims.events.point()
    qtbot.wait(50)
    assert not read


def test_a_stack_with_channels(
    qtbot: Any, open_widget: Any, backend: Any, things: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = open_widget()
    stack = np.stack([np.stack([things, things.T])] * 3, axis=1)  # (2, 3, 64, 64)
    viewer.add_image(da.from_array(stack), name="image", axis_labels=("c", "z", "y", "x"))
    widget.segment.image.channels.boxes[0].setChecked(True)
    viewer.dims.set_current_step(1, 2)
    shown = (slice(0, 2), slice(2, 3), slice(0, 64), slice(0, 64))
    monkeypatch.setattr(regions, "visible_region", lambda *_: shown)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    layer = viewer.layers["image labels"]
    assert tuple(layer.data[0].shape) == (1, 3, 64, 64)
    mean = stack.mean(axis=0)[0]
    np.testing.assert_array_equal(np.asarray(layer.data[0])[0, 1] > 0, mean / 255 > 0.5)
    assert backend.requests[-1].plane == (2,)


def test_a_large_region_has_a_folder_of_its_own(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    viewer.add_shapes([np.array([[4, 4], [4, 50], [61, 50], [61, 4]], dtype=float)])
    viewer.layers.selection.active = viewer.layers["image"]
    widget.segment.where.combo.setCurrentIndex(2)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    layer = viewer.layers["image labels (y 4–62, x 4–51)"]
    np.testing.assert_array_equal(layer.translate, (4, 4))
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, things[4:62, 4:51] > 127)
    # A small part is made in memory, with its maps.
    viewer.layers[1].data = [np.array([[4, 4], [4, 20], [20, 20], [20, 4]], dtype=float)]
    widget.segment._refresh()
    assert widget.segment.keep["stages"].isEnabled()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert len(backend.larges) == 1
    assert isinstance(viewer.layers["image labels (y 4–21, x 4–21)"].data, np.ndarray)


def test_a_pyramid_is_read_at_the_level_that_suits_the_model(
    qtbot: Any, open_widget: Any, backend: Any, things: Any
) -> None:
    viewer, widget = open_widget()
    full = np.kron(things, np.ones((4, 4), np.uint8))
    levels = [da.from_array(full[::f, ::f], chunks=32) for f in (1, 2, 4)]
    source = viewer.add_image(levels, name="slide", multiscale=True, scale=(0.5, 0.5))
    assert widget.segment.image.image.data.shape == (256, 256)
    # The model sees objects of 20 pixels.
    for diameter, level in ((20, 0), (41, 1), (90, 2)):
        assert large.level_for(widget.segment.image.image, backend.models()[0].card, diameter) \
            == level  # fmt: skip
    widget.segment.scale.spin.setValue(90)
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    request = backend.requests[-1]
    assert request.data.shape == (64, 64)
    assert request.options["diameter"] == pytest.approx(22.5)
    assert request.labelling.min_size == round(15 * (22.5 / 20) ** 2)  # of the level's pixels
    assert "Level 2 of slide" in messages(widget)
    layer = viewer.layers["slide labels"]
    measured = read_objects(viewer, layer).channels
    assert measured is not None
    np.testing.assert_array_equal(measured.values(0)[0], full[::4, ::4])
    # The first pixel covers four by four of the image.
    np.testing.assert_allclose(layer.data_to_world((0, 0)), source.data_to_world((1.5, 1.5)))
    np.testing.assert_allclose(layer.data_to_world((63, 63)), source.data_to_world((253.5, 253.5)))


def test_saving_copies_the_folder_and_closing_removes_it(
    qtbot: Any, open_widget: Any, watched: Any, things: Any, tmp_path: Path
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    controller = widget.controller
    layer, name = controller.writer.to_save(viewer, widget.segment.image.layer)
    assert name == "image labels.ome.zarr"
    controller.save(layer, tmp_path / "labels.tif")
    run_to_end(qtbot, widget)
    assert "saved as OME-Zarr" in messages(widget)
    controller.save(layer, tmp_path / name)
    run_to_end(qtbot, widget)
    assert f"Saved {tmp_path / name}" in messages(widget)
    controller.save(layer, tmp_path / name)
    run_to_end(qtbot, widget)
    assert "exists already" in messages(widget)
    folder = controller.stores.folder
    assert folder.exists()
    controller.shut_down()
    assert not folder.exists()
    kept = zarr.open_array(str(tmp_path / name / "0"), mode="r")
    np.testing.assert_array_equal(kept[:] > 0, things > 127)


@pytest.mark.parametrize(
    ("ending", "kind"), [(".csv", "table"), (".geojson", "geojson"), (".zip", "rois")]
)
def test_what_is_told_of_the_objects_is_saved(
    qtbot: Any,
    open_widget: Any,
    backend: Any,
    watched: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    kind: str,
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    path = tmp_path / f"cells{ending}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    backend.gate.clear()
    widget.segment.save.click()
    qtbot.waitUntil(backend.paused.is_set, timeout=20_000)
    assert not widget.segment.segment.isEnabled()
    widget.segment.cancel.click()
    backend.gate.set()
    run_to_end(qtbot, widget)
    assert "Save again to go on" in messages(widget)
    assert not path.exists()
    widget.segment.save.click()
    run_to_end(qtbot, widget)
    assert f"Saved {path}" in messages(widget)
    assert path.read_text() == kind
    assert backend.measured[-1] == (stored.store_of(viewer.layers["image labels"]), kind)


def test_what_is_not_known_any_more_is_not_measured(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any, tmp_path: Path
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    layer = viewer.layers["image labels"]
    viewer.layers.remove(layer)
    viewer.layers.append(layer)
    widget.controller.save(layer, tmp_path / "cells.csv")
    assert "Press Segment" in messages(widget)
    assert not backend.measured
    assert not widget.controller.state.busy


def test_labels_of_an_earlier_run_are_saved_and_measured_too(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any, things: Any, tmp_path: Path
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="one", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    viewer.add_image(da.from_array(things[::-1], chunks=16), name="other", contrast_limits=(0, 255))
    widget.segment.labelling.controls["threshold"]._spin.setValue(0.6)  # or it is the same folder
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    viewer.layers.selection.active = viewer.layers["one"]
    assert widget.segment.saves.text() == "To be saved: “one labels”, 7 objects."
    layer, name = widget.controller.writer.to_save(viewer, widget.segment.image.layer)
    assert (layer.name, name) == ("one labels", "one labels.ome.zarr")
    widget.controller.save(layer, tmp_path / name)
    run_to_end(qtbot, widget)
    assert "“one labels”, 7 objects" in messages(widget)
    kept = zarr.open_array(str(tmp_path / name / "0"), mode="r")
    np.testing.assert_array_equal(kept[:] > 0, things > 127)
    widget.controller.save(layer, tmp_path / "cells.csv")
    run_to_end(qtbot, widget)
    assert backend.measured == [(stored.store_of(layer), "table")]


def test_strokes_stay_on_top_of_a_result_on_the_disk(
    qtbot: Any, open_widget: Any, watched: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    widget.train.annotate.new.click()
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == [
        "image", "image labels", "image annotation"]  # fmt: skip
    assert all(layer.visible for layer in viewer.layers)


def test_closing_in_the_middle_of_a_run_removes_the_folder_after_it(
    qtbot: Any, open_widget: Any, backend: Any, watched: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    backend.gate.clear()
    widget.segment.segment.click()
    qtbot.waitUntil(backend.paused.is_set, timeout=20_000)
    folder = widget.controller.stores.folder
    widget.controller.shut_down()
    backend.gate.set()
    qtbot.waitUntil(lambda: not folder.exists(), timeout=20_000)
    assert backend.running == 0


def test_a_disk_that_may_be_too_small_is_asked_about(
    open_widget: Any, backend: Any, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    monkeypatch.setattr(Stores, "free_bytes", lambda _: 1000)
    questions: list[str] = []
    widget.segment.ask = questions.append  # None: no
    widget.segment.segment.click()
    assert "1 kB are free" in questions[0]
    assert not backend.larges


def test_a_large_result_is_not_copied_for_painting(
    qtbot: Any, open_widget: Any, watched: Any
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    widget.segment.segment.click()
    run_to_end(qtbot, widget)
    with pytest.raises(InputError, match="segment a part"):
        correct_prediction(viewer, viewer.layers["image labels"])


def test_a_preview_of_too_much_is_refused(
    open_widget: Any, backend: Any, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = open_widget()
    viewer.add_image(watched[0], name="image", contrast_limits=(0, 255))
    monkeypatch.setattr(regions, "visible_region", lambda *_: (slice(0, 64), slice(0, 64)))
    widget.segment.preview.click()
    assert "zoom in" in messages(widget)
    assert not backend.requests


@pytest.mark.parametrize(
    "key",
    [
        (0, 1, slice(2, 5), slice(None)),
        (slice(None), slice(1, 3), 2, slice(3, 7)),
        (0, slice(None), slice(None), 7),
        (..., 3),
        slice(0, 1),
    ],
)
def test_stored_labels_slice_as_an_array_does(tmp_path: Path, key: Any) -> None:
    values = np.arange(3 * 8 * 10).reshape(3, 8, 10)
    array = zarr.create_array(str(tmp_path / "a"), data=values)
    lazy = StoredLabels(array, "ZYX", "CXZY")
    whole = values.transpose(2, 0, 1)[None]
    assert lazy.shape == whole.shape
    np.testing.assert_array_equal(lazy[key], whole[key])
    np.testing.assert_array_equal(np.asarray(lazy), whole)


def test_blocks_nearest_to_the_view_come_first(
    make_napari_viewer_proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sa2net.engine.blocks.plan import BlockGrid

    viewer = make_napari_viewer_proxy()
    layer = viewer.add_image(np.zeros((3, 100, 100), np.uint8), axis_labels=("z", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    image = layers.read_image(layer)
    view, blocks = View(), list(BlockGrid((80, 80), 20, (0, 1, 2)))
    assert view.first(blocks) is blocks[0], "nothing is known of the view"
    monkeypatch.setattr(
        regions, "visible_region", lambda *_: (slice(1, 2), slice(45, 50), slice(75, 80))
    )
    view.look(viewer, Target(image, layer, image, region=(20, 20, 100, 100)))
    first = view.first(blocks)
    assert (first.plane, first.box) == (1, (20, 40, 40, 60))
    blocks.remove(first)
    assert view.first(blocks).plane == 1


@pytest.fixture
def wanted(tmp_path: Path, real_image: Any) -> LargeRequest:
    """Return a run on a real image by the bundled model."""
    options = {"axes": "YX", "device": "cpu", "region": None}
    request = Request(real_image[:96, :96].copy(), "nuclei", options, LabelSettings())
    folder = tmp_path / "stores"
    (folder / "shown.ome.zarr").mkdir(parents=True)
    sizes = {"Y": 0.5, "X": 0.5}
    shown = frozenset({folder / "shown.ome.zarr"})
    return LargeRequest(request, folder, lambda blocks: blocks[0], sizes, shown=shown)


def test_the_real_engine_goes_on_by_itself(wanted: LargeRequest) -> None:
    """With the same image, model and settings; what no layer shows is removed."""
    (wanted.folder / "old.ome.zarr").mkdir()
    (wanted.folder / "old_table.csv").touch()
    events: list[Any] = []
    backend = Backend()
    first = run(backend.segment_large(wanted), events.append)
    (chosen,) = [event for event in events if isinstance(event, StoreChosen)]
    assert first.result.path == chosen.path
    assert first.result.count > 0
    assert first.card.name == "nuclei"
    left = {path.name for path in wanted.folder.iterdir()}
    assert left == {chosen.path.name, "shown.ome.zarr"}
    assert run(backend.segment_large(wanted)).result == first.result


def test_an_image_that_was_edited_is_segmented_anew(
    wanted: LargeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is not seen at a glance; what a layer shows is left alone."""
    monkeypatch.setattr(setup, "fingerprint", lambda *_: "alike")
    backend = Backend()
    first = run(backend.segment_large(wanted))
    before = np.asarray(first.result.labels[:])
    wanted.request.data[:48] = 0
    wanted = replace(wanted, shown=wanted.shown | {first.result.path})
    second = run(backend.segment_large(wanted))
    assert second.result.path != first.result.path
    assert 0 < second.result.count < first.result.count
    np.testing.assert_array_equal(first.result.labels[:], before)


def test_the_real_engine_measures_what_is_on_the_disk(wanted: LargeRequest, tmp_path: Path) -> None:
    backend = Backend()
    made = run(backend.segment_large(wanted))
    before = {path.name for path in wanted.folder.iterdir()}
    # One that is stopped does not keep the labels from being saved.
    stopped = backend.measure_large(made, "table", tmp_path / "cells.csv")
    while getattr(next(stopped), "phase", "") != "sum":
        pass
    stopped.close()
    assert (made.result.path / WORK).exists()
    kept = stored.keep_store(made.result.path, tmp_path / "kept.ome.zarr")
    assert not (kept / WORK).exists()
    events: list[Any] = []
    table = run(backend.measure_large(made, "table", tmp_path / "cells.csv"), events.append)
    rows = table.read_text().splitlines()
    assert len(rows) == 1 + made.result.count
    assert "area_um2" in rows[0]
    assert not any(
        "complete already" in event.text for event in events if isinstance(event, Message)
    )
    assert run(backend.measure_large(made, "table", tmp_path / "again.csv")).exists()
    outlines = run(backend.measure_large(made, "geojson", tmp_path / "cells.geojson"))
    assert len(json.loads(outlines.read_text())["features"]) == made.result.count
    assert {path.name for path in wanted.folder.iterdir()} == before


def test_objects_of_several_classes_are_not_measured_without_their_classes(
    wanted: LargeRequest, tmp_path: Path
) -> None:
    made = run(Backend().segment_large(wanted))
    classes = tuple(replace(info, derived=False) for info in made.card.classes)
    several = replace(made, card=replace(made.card, classes=classes))
    with pytest.raises(InputError, match="segment a part"):
        run(Backend().measure_large(several, "table", tmp_path / "cells.csv"))


def test_large_results_of_a_napari_that_was_killed_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_process: int
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    running, killed = Stores(), Stores()
    left = killed.folder.rename(
        tmp_path / killed.folder.name.replace(f"-{os.getpid()}-", f"-{dead_process}-")
    )
    (left / "labels").write_text("")
    (running.folder / "labels").write_text("")
    assert list(tmp_path.iterdir()) == [running.folder]
    folder = running.folder
    running.remove()
    assert not folder.exists()
    assert running.folder != folder
    running.remove()
