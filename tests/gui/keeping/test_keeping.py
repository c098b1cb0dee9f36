"""A painting is never lost: saved as one works, however it is changed, and offered again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_sa2net.engine import paintings
from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.folders import paintings_folder
from napari_sa2net.engine.paintings import PaintingSet, list_kept
from napari_sa2net.gui import classes
from napari_sa2net.gui.annotating.layers import (
    correct_prediction,
    meaning_of,
    new_annotation,
    set_meaning,
)
from napari_sa2net.gui.annotating.originals import original_of
from napari_sa2net.gui.annotating.painted_on import PaintedOn, recall, remember
from napari_sa2net.gui.jobs.state import when_text
from napari_sa2net.gui.keeping import KeptPanel, PaintingKeeper, keeper, keeper_of, panel, saver
from napari_sa2net.gui.keeping.describing import Describer, rebuild
from napari_sa2net.gui.layers import layer_id, read_image
from napari_sa2net.gui.segmenting.results import Note, write_labels

CARD = ModelCard(
    name="fake",
    num_classes=2,
    classes=(ClassInfo("background", "#000000"), ClassInfo("thing", "#ff0000")),
    diameter=20.0,
)


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    """Return a viewer without a window, with an image."""
    viewer = ViewerModel()
    viewer.add_image(
        np.zeros((600, 700)), name="cells", scale=(0.5, 0.25), translate=(3, 4), rotate=20
    )
    return viewer


@pytest.fixture
def kept_by(tmp_path: Path) -> Iterator[Callable[..., PaintingKeeper]]:
    """Return a function that makes a keeper of a viewer, which is shut down at the end."""
    made = []

    def make(viewer: Any, folder: Path | None = None) -> PaintingKeeper:
        made.append(PaintingKeeper(viewer, folder or tmp_path / "kept"))
        return made[-1]

    yield make
    for each in made:
        each.shut_down()


def annotate(viewer: Any) -> Any:
    image = viewer.layers["cells"]
    return new_annotation(viewer, image, read_image(image), CARD)


def on_disk(folder: Path) -> np.ndarray:
    """Return the only painting in a folder, as a process that starts now would find it."""
    (index,) = folder.glob("*/set.json")
    (copy := folder.parent / "copy").mkdir(exist_ok=True)
    for path in index.parent.iterdir():
        if path.name != "lock":
            (copy / path.name).write_bytes(path.read_bytes())
    for path in copy.glob("*.block"):
        if not (index.parent / path.name).exists():
            path.unlink()
    kept = PaintingSet.open(copy)
    array, damaged = kept.read()
    assert damaged == 0
    kept.abandon()
    return array


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "paintings" in thread.name}


@pytest.fixture
def saving_threads() -> Callable[[], set[threading.Thread]]:
    """Return a function that tells which threads save what was painted in this test.

    A window of an earlier one may still be on its way out.
    """
    before = _threads()
    return lambda: _threads() - before


# --- finding what was painted -------------------------------------------------------------------


@pytest.mark.parametrize("edit", ["stroke", "undo", "redo", "fill", "data", "erased", "replaced"])
def test_every_kind_of_change_is_saved(
    viewer: ViewerModel, kept_by: Callable[..., Any], tmp_path: Path, edit: str
) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((100, 100), 2)
    layer.paint((590, 690), 1)
    assert keeping.flush(20)
    assert layer.data[100, 100] == 2
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)
    if edit == "stroke":
        layer.paint((300, 520), 2)
    elif edit == "fill":
        layer.fill((0, 0), 3)
    elif edit == "data":
        layer.data[200:400, 300:600] = 2
        layer.refresh()
    elif edit == "erased":
        layer.data[:] = 0
        layer.refresh()
    elif edit == "replaced":
        layer.data = np.full_like(layer.data, 5)
    else:
        layer.undo()
        if edit == "redo":
            assert keeping.flush(20)
            layer.redo()
    assert keeping.flush(20)
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_only_blocks_that_changed_are_written(
    viewer: ViewerModel, kept_by: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = PaintingSet.write

    def spy(self: Any, number: int, *args: Any, **more: Any) -> None:
        written.append(number)
        write(self, number, *args, **more)

    monkeypatch.setattr(PaintingSet, "write", spy)
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((10, 10), 2)
    layer.paint((590, 690), 2)
    assert keeping.flush(20)
    assert sorted(set(written)) == [0, 3]
    written.clear()
    layer.paint((12, 10), 1)
    layer.visible = False
    layer.visible = True
    assert keeping.flush(20)
    assert written == [0]


def test_a_stroke_is_found_without_a_sweep(
    kept_by: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: Any
) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 3, 600, 600), np.uint8), name="cells")
    keeping = kept_by(viewer)
    layer = viewer.add_labels(np.zeros((4, 3, 600, 600), np.uint8))
    assert keeping.watch(layer, viewer.layers["cells"])
    assert keeping.flush(20)
    monkeypatch.setattr(saver.Saver, "_sweep", lambda *_: False)
    viewer.dims.current_step = (2, 1, 0, 0)
    layer.paint((2, 1, 590, 30), 3)
    keeping.hand_over()
    assert keeping.saver.wait(0) or not keeping.flush(0.5)  # a sweep may be wanted
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)
    layer.undo()
    layer.paint((2, 1, 30, 590), 4)
    keeping.flush(0.5)
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_a_torn_block_is_saved_again(
    viewer: ViewerModel, kept_by: Callable[..., Any], tmp_path: Path
) -> None:
    """A painter who never stops while blocks are read: at the end all is as it is."""
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    for value in range(1, 15):
        for row in range(0, 600, 50):
            layer.data[row : row + 50] = value
            keeping._watches[0].near.add(0)
            keeping.hand_over()
        layer.refresh()
    assert keeping.flush(20)
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_only_annotations_are_watched_unless_asked(
    viewer: ViewerModel, kept_by: Callable[..., Any]
) -> None:
    keeping = kept_by(viewer)
    other = viewer.add_labels(np.ones((9, 9), int))
    assert keeping.flush(20)
    assert not paintings.list_kept(keeping.saver.folder)
    assert not list(keeping.saver.folder.glob("*"))
    assert keeping.watch(other)
    assert keeping.watch(other)
    assert keeping.flush(20)
    assert len(list(keeping.saver.folder.glob("*"))) == 1
    assert not keeping.watch(viewer.layers["cells"])


def test_a_layer_not_in_memory_is_not_watched(
    viewer: ViewerModel, kept_by: Callable[..., Any]
) -> None:
    from dask import array

    layer = viewer.add_labels(array.zeros((9, 9), dtype=int))
    assert not kept_by(viewer).watch(layer)


def test_layers_that_are_there_already(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    keeping = kept_by(viewer)
    assert keeping.flush(20)
    assert len(list(keeping.saver.folder.glob("*/*.block"))) == 1


# --- the life of a layer ------------------------------------------------------------------------


def test_renamed_and_moved(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    assert keeping.flush(20)
    layer.name = "mine"
    layer.translate = (7, 8)
    viewer.layers.move(1, 0)
    assert keeping.flush(20)
    keeping.shut_down()
    (offer,) = list_kept(keeping.saver.folder)
    assert (offer.name, offer.image) == ("mine", "cells")
    again = kept_by(viewer, keeping.saver.folder).restore(offer)
    assert_allclose(again.translate, (7, 8))


def test_a_deleted_layer_is_offered(
    viewer: ViewerModel, kept_by: Callable[..., Any], qtbot: Any
) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    pixels = np.count_nonzero(layer.data)
    with qtbot.waitSignal(keeping.changed, timeout=20_000):
        viewer.layers.remove(layer)
    (offer,) = keeping.offers()
    assert offer.pixels == pixels
    again = keeping.restore(offer)
    assert keeping.offers() == []
    assert np.count_nonzero(again.data) == pixels
    # It is the same set that is gone on with.
    again.paint((500, 500), 1)
    assert keeping.flush(20)
    assert len(list(keeping.saver.folder.iterdir())) == 1


def test_an_empty_layer_leaves_nothing(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    assert keeping.flush(20)
    layer.undo()
    keeping.shut_down()
    assert not list(keeping.saver.folder.iterdir())


def test_pixels_of_another_shape_are_another_painting(
    viewer: ViewerModel, kept_by: Callable[..., Any]
) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    assert keeping.flush(20)
    layer.data = np.full((40, 50), 3, np.uint8)
    assert keeping.flush(20)
    (offer,) = keeping.offers()
    assert offer.shape == (600, 700)
    keeping.shut_down()
    assert {kept.shape for kept in keeping.offers()} == {(600, 700), (40, 50)}


def test_closing_saves_what_is_pending_and_leaves_no_thread(
    viewer: ViewerModel,
    kept_by: Callable[..., Any],
    saving_threads: Callable[[], set[threading.Thread]],
) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)  # nothing has been handed over yet
    pixels = np.count_nonzero(layer.data)
    keeping.shut_down()
    assert [kept.pixels for kept in list_kept(keeping.saver.folder)] == [pixels]
    assert not saving_threads()
    layer.paint((300, 300), 2)  # nobody listens any more
    assert not keeping.watch(layer)


def test_closing_saves_also_when_qt_has_taken_its_timer(
    viewer: ViewerModel, kept_by: Callable[..., Any], qtbot: Any
) -> None:
    """At the end of a script the window may be destroyed before anybody is told."""
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    pixels = np.count_nonzero(layer.data)
    with qtbot.waitSignal(keeping._timer.destroyed):
        keeping._timer.deleteLater()
    keeping.shut_down()
    assert [kept.pixels for kept in list_kept(keeping.saver.folder)] == [pixels]


def test_a_viewer_that_is_forgotten(
    qapp: Any, tmp_path: Path, saving_threads: Callable[[], set[threading.Thread]]
) -> None:
    import gc

    viewer = ViewerModel()
    viewer.add_image(np.zeros((60, 70)), name="cells")
    keeping = keeper_of(viewer, tmp_path)
    assert keeper_of(viewer) is keeping
    layer = annotate(viewer)
    layer.data[3:5] = 1
    layer.refresh()
    assert keeping.flush(20)
    del viewer, keeping, layer
    gc.collect()
    assert [kept.pixels for kept in list_kept(tmp_path)] == [140]
    assert not saving_threads()


# --- restoring ----------------------------------------------------------------------------------


def leave(viewer: Any, keeping: PaintingKeeper) -> Any:
    """Shut the keeper down and return what it offers."""
    assert keeping.flush(20)
    keeping.shut_down()
    (offer,) = list_kept(keeping.saver.folder)
    return offer


def test_everything_comes_back(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.shear = [0.2]
    layer.affine = [[1, 0.1, 5], [0, 1, 6], [0, 0, 1]]
    layer.units = ("um", "um")
    layer.opacity = 0.4
    layer.brush_size = 17
    layer.paint((100, 100), 2)
    set_meaning(layer, "mask", "classes", CARD)
    offer = leave(viewer, keeping)

    fresh = ViewerModel()
    again = kept_by(fresh, keeping.saver.folder).restore(offer)
    assert again.name == layer.name
    assert_array_equal(again.data, layer.data)
    assert again.data.dtype == layer.data.dtype
    assert_allclose(again.data_to_world((10.0, 20.0)), layer.data_to_world((10.0, 20.0)), rtol=1e-9)
    assert [str(unit) for unit in again.units] == ["micrometer"] * 2
    assert (again.opacity, again.brush_size) == (0.4, 17)
    assert meaning_of(again) == ("mask", "classes")
    assert_allclose(again.get_color(1), layer.get_color(1))
    assert_allclose(again.get_color(1), (1, 0, 0, 1))
    assert list(again.features["class"]) == list(layer.features["class"])


def test_over_its_image_where_that_lies_now(
    viewer: ViewerModel, kept_by: Callable[..., Any]
) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((100, 100), 2)
    offer = leave(viewer, keeping)
    fresh = ViewerModel()
    fresh.add_image(np.zeros((5, 5)), name="cells")  # of the name only
    image = fresh.add_image(np.zeros((600, 700)), name="other", scale=(2, 2), translate=(-5, 0))
    image.name = "cells"
    fresh.layers[0].name, image.name = "small", "cells"
    again = kept_by(fresh, keeping.saver.folder).restore(offer)
    assert fresh.layers.index(again) == 2
    assert fresh.layers.selection.active == again
    assert_allclose(again.data_to_world((7.0, 9.0)), image.data_to_world((7.0, 9.0)))
    note = again.metadata["napari-sa2net"]["annotation"]
    assert note["image_id"] == layer_id(image)
    assert note["layer_id"] == layer_id(again)


CELLS = np.random.default_rng(0).random((60, 70))


@pytest.mark.parametrize(
    ("folder", "pixels", "lazy", "same"),
    [
        ("A", CELLS, False, True),
        ("B", CELLS[::-1], False, False),  # another image of the same name and shape
        ("B", CELLS, False, True),  # it was moved
        ("A", CELLS[::-1], False, False),  # it was replaced
        ("A", CELLS, True, True),
        ("B", CELLS, True, False),  # its pixels are not looked at
    ],
)
def test_another_image_of_the_same_name_is_not_taken_for_it(
    qapp: Any,
    kept_by: Callable[..., Any],
    npe2pm: Any,
    tmp_path: Path,
    folder: str,
    pixels: np.ndarray,
    lazy: bool,
    same: bool,
) -> None:
    dask = pytest.importorskip("dask.array")

    def opened(viewer: ViewerModel, folder: str, pixels: np.ndarray) -> Any:
        with npe2pm.tmp_plugin(name=f"reads{folder}{len(viewer.layers)}") as plugin:

            @plugin.contribute.reader(filename_patterns=["*.x"])
            def read(path: Any) -> Any:
                data = dask.from_array(pixels) if lazy else pixels
                return lambda _: [(data, {"name": "001"}, "image")]

            path = tmp_path / folder / "001.x"
            path.parent.mkdir(exist_ok=True)
            path.touch()
            return viewer.open(path, plugin=plugin.name)[0]

    viewer = ViewerModel()
    image = opened(viewer, "A", CELLS)
    keeping = kept_by(viewer)
    layer = new_annotation(viewer, image, read_image(image), CARD)
    remember(layer, PaintedOn([image], "YX"))
    layer.paint((10, 10), 2)
    offer = leave(viewer, keeping)

    fresh = ViewerModel()
    other = opened(fresh, folder, pixels)
    restoring = kept_by(fresh, keeping.saver.folder)
    told: list[str] = []
    restoring.told.connect(lambda level, text: told.append(text))
    again = restoring.restore(offer)
    note = again.metadata["napari-sa2net"]["annotation"]
    assert (note["image_id"] == layer_id(other)) == same
    assert [text for text in told if "“001” is another image" in text] == told
    assert bool(told) != same
    if not lazy:
        assert (recall(again, fresh)[0] is not None) == same
    restoring.flush(20)
    about = json.loads((offer.folder / "about.json").read_text())
    assert (about["image"]["id"] == layer_id(other)) == same  # what was known stays known


def test_a_correction_still_knows_what_was_corrected(
    viewer: ViewerModel, kept_by: Callable[..., Any]
) -> None:
    keeping = kept_by(viewer)
    predicted = np.zeros((600, 700), np.int32)
    predicted[40:90, 500:560] = 4
    predicted[540:590, 500:560] = 70_000
    layer = correct_prediction(viewer, viewer.add_labels(predicted))
    layer.data[50, 510] = 9
    layer.refresh()
    offer = leave(viewer, keeping)
    fresh = ViewerModel()
    again = kept_by(fresh, keeping.saver.folder).restore(offer)
    original = original_of(again)
    assert original is not None
    edited = original.edited(again.data, (), slice(0, 512), slice(0, 512))
    assert edited is not None
    assert edited.sum() == 1
    assert original.edited(again.data, (), slice(512, 600), slice(512, 700)) is None


def test_without_its_description(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((100, 100), 2)
    offer = leave(viewer, keeping)
    (offer.folder / "about.json").write_text('{"transform": 3, "colormap": {"direct": 4}}')
    (offer.folder / "0.block").write_bytes(b"damaged")
    fresh = ViewerModel()
    restoring = kept_by(fresh, keeping.saver.folder)
    told: list[str] = []
    restoring.told.connect(lambda level, text: told.append(text))
    again = restoring.restore(offer)
    assert again.name == "cells annotation"
    assert not again.data.any()
    assert "damaged" in told[0]


def test_two_naparis_share_the_folder(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    first = kept_by(viewer)
    annotate(viewer).paint((5, 5), 2)
    assert first.flush(20)
    other = ViewerModel()
    other.add_image(np.zeros((600, 700)), name="cells")
    second = kept_by(other, first.saver.folder)
    assert second.offers() == []  # it is painted on
    annotate(other).paint((50, 50), 2)
    assert second.flush(20)
    assert len(list(first.saver.folder.iterdir())) == 2
    first.shut_down()
    (offer,) = second.offers()
    third = ViewerModel()
    kept_by(third, first.saver.folder).restore(offer)
    with pytest.raises(InputError, match="another napari"):
        second.restore(offer)
    second.forget(offer)  # nothing happens to what is open
    assert offer.folder.exists()


# --- a disk that is full or read-only -----------------------------------------------------------


def test_a_full_disk_is_told_once_and_saved_later(
    viewer: ViewerModel,
    kept_by: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    qtbot: Any,
) -> None:
    monkeypatch.setattr(saver, "RETRY", 0.05)
    shown: list[str] = []
    monkeypatch.setattr(keeper, "show_warning", shown.append)
    monkeypatch.setattr(keeper, "show_info", shown.append)
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    assert keeping.flush(20)
    replace, full = os.replace, threading.Event()

    def maybe(*args: Any) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*args)

    monkeypatch.setattr(paintings.os, "replace", maybe)
    full.set()
    with qtbot.waitSignal(keeping.told, timeout=20_000):
        layer.paint((300, 300), 2)
    layer.paint((590, 690), 2)
    assert not keeping.flush(0.5)
    qtbot.wait(200)
    assert len(shown) == 1
    assert "No space left" in shown[0]
    assert "paint on" in shown[0]
    with qtbot.waitSignal(keeping.told, timeout=20_000):
        full.clear()
    assert keeping.flush(20)
    assert shown[1:] == ["Paintings are being saved again."]
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_a_folder_that_cannot_be_made(
    viewer: ViewerModel,
    kept_by: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: Any,
) -> None:
    monkeypatch.setattr(saver, "RETRY", 0.05)
    shown: list[str] = []
    monkeypatch.setattr(keeper, "show_warning", shown.append)
    (tmp_path / "kept").write_text("a file is in the way")
    keeping = kept_by(viewer)
    layer = annotate(viewer)
    with qtbot.waitSignal(keeping.told, timeout=20_000):
        layer.paint((5, 5), 2)
    assert keeping.offers() == []
    assert len(shown) == 1
    (tmp_path / "kept").unlink()
    assert keeping.flush(20)
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_files_that_someone_removed_are_written_anew(
    viewer: ViewerModel, kept_by: Callable[..., Any], tmp_path: Path
) -> None:
    import shutil

    keeping = kept_by(viewer)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    assert keeping.flush(20)
    shutil.rmtree(tmp_path / "kept")
    layer.paint((500, 600), 2)
    assert keeping.flush(20)
    assert_array_equal(on_disk(tmp_path / "kept"), layer.data)


def test_too_much_for_the_folder(
    viewer: ViewerModel, kept_by: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(keeper, "show_info", shown.append)
    monkeypatch.setattr(saver, "GROWN", 1)
    old = kept_by(viewer)
    annotate(viewer).paint((5, 5), 2)
    assert old.flush(20)
    old.shut_down()
    viewer.layers.pop()

    keeping = kept_by(viewer)
    monkeypatch.setattr(saver, "MOST_BYTES", 1)
    layer = annotate(viewer)
    with qtbot.waitSignal(keeping.told, timeout=20_000):
        layer.paint((5, 5), 2)
    layer.paint((590, 690), 2)
    assert keeping.flush(20)
    qtbot.wait(50)
    assert ["go on being saved" in text for text in shown] == [False, True]
    assert "The oldest unused painting was removed to make room." in shown[0]
    assert keeping.offers() == []
    assert len(list(keeping.saver.folder.iterdir())) == 1


# --- a process that is killed -------------------------------------------------------------------

CHILD = """
import sys
import numpy as np
from pathlib import Path
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from napari_sa2net.gui.keeping import keeper_of
viewer = ViewerModel()
layer = viewer.add_labels(np.zeros((700, 700), np.uint8), name="killed")
keeper = keeper_of(viewer)
keeper.watch(layer)
layer.paint((100, 100), 2)
layer.paint((600, 600), 3)
while True:
    app.processEvents()
    if keeper.saver.wait(0.01) and list(keeper.saver.folder.glob("*/1*.block")) == []:
        blocks = list(keeper.saver.folder.glob("*/*.block"))
        if len(blocks) == 2:
            print("painted", flush=True)
            sys.stdin.read()
"""


def test_after_kill_it_is_offered(viewer: ViewerModel, kept_by: Callable[..., Any]) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    keeping = kept_by(viewer, paintings_folder())
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "painted"
        assert keeping.offers() == []
    finally:
        child.kill()
        child.communicate()
    (offer,) = keeping.offers()
    assert offer.name == "killed"
    layer = keeping.restore(offer)
    assert (layer.data[100, 100], layer.data[600, 600]) == (2, 3)
    assert offer.pixels == np.count_nonzero(layer.data)


# --- the window ---------------------------------------------------------------------------------


def test_the_panel(
    viewer: ViewerModel,
    kept_by: Callable[..., Any],
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = kept_by(viewer)
    for place in ((5, 5), (300, 300)):
        annotate(viewer).paint(place, 2)
    assert first.flush(20)
    first.shut_down()

    fresh = ViewerModel()
    keeping = kept_by(fresh, first.saver.folder)
    shown = KeptPanel(keeping)
    qtbot.addWidget(shown)
    shown.show()
    assert "2 paintings were left" in shown.title.text()
    text = panel.kept_text(shown.offered[0])
    assert "cells annotation" in text
    assert "pixels painted" in text
    assert when_text(shown.offered[0].when.timestamp()) in text

    with qtbot.waitSignal(shown.restored) as got:
        shown.restore(shown.offered[0])
    assert isinstance(got.args[0], Labels)
    assert "A painting was left" in shown.title.text()

    answers = [False, True]
    monkeypatch.setattr(shown, "ask", lambda _: answers.pop(0))
    shown.discard(shown.offered[0])
    assert len(shown.offered) == 1
    gone = shown.offered[0]
    shown.discard(gone)
    assert shown.offered == []
    assert not shown.title.isVisible()
    shown.restore(gone)
    assert "no longer there" in shown.problem.text()


def test_what_was_left_is_in_sight_and_restored_by_its_button(
    viewer: ViewerModel, kept_by: Callable[..., Any], qtbot: Any
) -> None:
    first = kept_by(viewer)
    name = "2026-01-12_plateA_well03_site2_DAPI_confocal_maxproj_denoised.ome.tif annotation"
    for _ in range(5):
        layer = annotate(viewer)
        layer.name = name
        layer.paint((5, 5), 2)
    assert first.flush(20)
    first.shut_down()

    fresh = ViewerModel()
    shown = KeptPanel(kept_by(fresh, first.saver.folder))
    qtbot.addWidget(shown)
    shown.resize(330, 600)
    shown.show()
    qtbot.waitExposed(shown)
    rows = [shown._rows.itemAt(row).widget() for row in range(5)]
    assert all(row.isVisible() for row in rows)
    qtbot.waitUntil(lambda: rows[2].geometry().bottom() > rows[2].height())
    assert rows[2].geometry().bottom() < shown._scroll.height() <= rows[3].geometry().top()
    label = rows[0].findChild(QLabel)
    assert label.fontMetrics().horizontalAdvance(name) > label.width()
    assert all(
        label.fontMetrics().horizontalAdvance(line) <= label.width()
        for line in label.text().splitlines()
    )
    assert name in label.toolTip()

    (button,) = [one for one in rows[0].findChildren(QPushButton) if one.text() == "Restore"]
    assert button.isVisible()
    assert not button.visibleRegion().isEmpty()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    (restored,) = fresh.layers
    assert restored.name.startswith(name)
    assert np.count_nonzero(restored.data) > 0
    assert "4 paintings were left" in shown.title.text()
    assert shown._scroll.height() > 0


def test_in_a_real_window(
    make_napari_viewer_proxy: Callable[..., Any],
    qtbot: Any,
    tmp_path: Path,
    saving_threads: Callable[[], set[threading.Thread]],
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    keeping = keeper_of(viewer, tmp_path)
    shown = KeptPanel(keeping)
    viewer.window.add_dock_widget(shown, name="kept")
    viewer.add_image(np.zeros((600, 700)), name="cells")
    layer = annotate(viewer)
    viewer.layers[-1].paint((100, 100), 2)
    qtbot.waitUntil(lambda: len(list(tmp_path.glob("*/*.block"))) == 1, timeout=20_000)
    layer.paint((500, 600), 2)
    pixels = np.count_nonzero(layer.data)
    viewer.close()
    qtbot.waitUntil(lambda: bool(list_kept(tmp_path)), timeout=20_000)
    assert list_kept(tmp_path)[0].pixels == pixels
    qtbot.waitUntil(lambda: not saving_threads(), timeout=20_000)


def test_a_painting_that_is_left_while_the_panel_is_open_needs_no_scrolling(
    viewer: ViewerModel, kept_by: Callable[..., Any], qtbot: Any
) -> None:
    """Under a style like napari's, which gives the list a border."""
    window = QWidget()
    window.setStyleSheet("QScrollArea { border: 1px solid black; } QPushButton { padding: 12px; }")
    shown = KeptPanel(kept_by(viewer))
    QVBoxLayout(window).addWidget(shown)
    qtbot.addWidget(window)
    window.resize(330, 600)
    window.show()
    qtbot.waitExposed(window)
    layer = annotate(viewer)
    layer.paint((5, 5), 2)
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: len(shown.offered) == 1, timeout=20_000)
    (button,) = [one for one in shown.findChildren(QPushButton) if one.text() == "Restore"]
    qtbot.waitUntil(lambda: not button.visibleRegion().isEmpty())
    assert shown._scroll.verticalScrollBar().maximum() == 0


def test_paintings_that_make_room_are_told(
    viewer: ViewerModel, kept_by: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(keeper, "show_info", shown.append)
    old = kept_by(viewer)
    for _ in range(3):
        annotate(viewer).paint((5, 5), 2)
    assert old.flush(20)
    old.shut_down()
    del viewer.layers[1:]
    keeping = kept_by(viewer)
    assert len(keeping.offers()) == 3
    monkeypatch.setattr(saver, "MOST_SETS", 2)
    annotate(viewer).paint((5, 5), 2)
    assert keeping.flush(20)
    qtbot.waitUntil(lambda: bool(shown), timeout=10_000)
    assert len(keeping.offers()) == 1
    assert shown == ["The 2 oldest unused paintings were removed to make room."]


def test_the_classes_of_a_correction_come_back() -> None:
    viewer = ViewerModel()
    image = read_image(viewer.add_image(np.zeros((20, 30)), name="cells"))
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 2:6] = 7
    known = (ClassInfo("background"), ClassInfo("neuron"), ClassInfo("glia", "#00ff00"))
    table = {"index": np.array([7]), "class": np.array([2]), "area": np.array([16])}
    note = Note("brain", {"labelling": {"link": "none"}})
    made = write_labels(viewer, image, labels, note=note, classes=known, features=table).layer
    layer = correct_prediction(viewer, made)
    about = json.loads(json.dumps(Describer().describe(layer)))
    again = rebuild(labels, about)
    assert classes.classes_of(again) == known
    assert classes.class_of(again, 7) == 2
