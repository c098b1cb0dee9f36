"""Measurements and outlines saved from a Labels layer, edits included."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.segmenting.results import Note, write_labels
from napari_sa2net.gui.writer import Writer


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scene(**settings: Any) -> tuple[Any, Any, Any]:
    """Return a viewer, its image of brightness 50, and labels of two objects in one plane."""
    viewer = ViewerModel()
    data = np.full((2, 20, 30), 50, np.uint8)
    layer = viewer.add_image(data, name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3)
    image = read_image(layer).with_axes("ZYX")
    labels = np.zeros((2, 20, 30), np.int32)
    labels[:, 2:6, 2:6] = 1
    labels[0, 10:12, 10:12] = 2
    table = {"index": np.array([1, 2]), "class": np.array([1, 1]), "area": np.array([32, 4])}
    note = Note("nuclei", {"labelling": settings})
    written = write_labels(viewer, image, labels, note=note, features=table)
    return viewer, layer, written.layer


def test_a_table_is_saved_with_the_intensities_of_the_image(tmp_path: Path) -> None:
    viewer, _, labels = scene(link="z")
    path = Writer().saving(viewer, labels, tmp_path / "t.csv")().path
    rows = rows_of(path)
    assert [row["index"] for row in rows] == ["1", "2"]
    assert [float(row["volume_um3"]) for row in rows] == [16, 2]
    assert [float(row["intensity_mean_0"]) for row in rows] == [50, 50]
    assert rows[0]["class"] == "1"


def test_edits_count_and_unlinked_planes_have_rows_of_their_own(tmp_path: Path) -> None:
    viewer, image, labels = scene(link="none")
    labels.data[1, 15:18, 20:24] = 9
    viewer.layers.remove(image)
    rows = rows_of(Writer().saving(viewer, labels, tmp_path / "t.csv")().path)
    assert [(row["z"], row["index"]) for row in rows] == [
        ("0", "1"), ("0", "2"), ("1", "1"), ("1", "9")]  # fmt: skip
    assert not [name for name in rows[0] if name.startswith("intensity")]
    assert rows[3]["area"] == "12"
    assert rows[3]["class"] == "0"  # nobody knows it


def test_outlines_are_saved(tmp_path: Path) -> None:
    viewer, _, labels = scene()
    path = Writer().saving(viewer, labels, tmp_path / "o.geojson")().path
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    assert [feature["geometry"]["plane"]["z"] for feature in features] == [0, 0, 1]


def test_only_labels_can_be_measured(tmp_path: Path) -> None:
    viewer, image, _ = scene()
    with pytest.raises(InputError, match="select a Labels layer"):
        Writer().saving(viewer, image, tmp_path / "t.csv")


def test_the_window_saves_measurements_of_what_it_shows(
    qtbot: Any, open_widget: Any, tmp_path: Path, things: Any
) -> None:
    viewer, widget = open_widget()
    data = np.stack([things, things // 2])
    viewer.add_image(data, name="image", axis_labels=("c", "y", "x"))
    widget.segment.image.channels.boxes[0].setChecked(True)
    widget.segment.segment.click()
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=20_000)
    layer, _ = widget.controller.writer.to_save(viewer, widget.segment.image.layer)
    widget.controller.save(layer, tmp_path / "t.csv")
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=20_000)
    rows = rows_of(tmp_path / "t.csv")
    assert {row["class_name"] for row in rows} == {"thing"}
    assert [float(row["intensity_mean_1"]) for row in rows][:1] == [120]
