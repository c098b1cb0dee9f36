"""Objects in several pieces are measured and outlined as what they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.events import run
from napari_sa2net.engine.measuring.geojson import write_geojson
from napari_sa2net.engine.measuring.objects import Objects
from napari_sa2net.engine.measuring.pieces import pieces_apart, separate
from napari_sa2net.engine.measuring.rois import write_rois
from napari_sa2net.engine.measuring.table import measure, write_table

CLASSES = (ClassInfo("background"), ClassInfo("nucleus", "#00ff00"))


def cut(depth: int = 0) -> np.ndarray:
    """Return objects 1 and 4, a line erased through the first: 30 and 10 pixels are left."""
    plane = np.zeros((20, 20), np.int32)
    plane[2:7, 2:12] = 1
    plane[5, 2:12] = 0
    plane[12:14, 2:5] = 4
    return np.stack([plane] * depth) if depth else plane


def test_the_largest_piece_keeps_the_number() -> None:
    labels, new = separate(cut(), 5)
    assert new == {5: (1, 2)}
    assert np.array_equal(labels[2:5, 2:12], np.ones((3, 10)))
    assert set(np.unique(labels[6])) == {0, 5}
    assert (labels == 4).sum() == 6


def test_a_diagonal_line_cuts_too() -> None:
    plane = np.ones((9, 9), np.int32)
    np.fill_diagonal(plane, 0)
    assert len(separate(plane, 2)[1]) == 1


def test_each_piece_has_a_row(tmp_path: Path) -> None:
    objects = Objects(cut(), "YX", CLASSES, {1: 1, 4: 1})
    table = run(measure(pieces_apart(objects)))
    assert table["index"].tolist() == [1, 1, 4]
    assert table["piece"].tolist() == [1, 2, 1]
    assert table["area"].tolist() == [30, 10, 6]
    assert list(table["class_name"]) == ["nucleus"] * 3
    with write_table(tmp_path / "t.csv", table).open(encoding="utf-8") as file:
        assert next(csv.reader(file))[:3] == ["index", "piece", "class"]


def test_whole_objects_have_no_such_column() -> None:
    whole = np.where(cut() == 4, 4, 0)
    table = run(measure(pieces_apart(Objects(whole, "YX", CLASSES, {4: 1}))))
    assert "piece" not in table


def test_each_piece_has_an_outline(tmp_path: Path) -> None:
    objects = pieces_apart(Objects(cut(), "YX", CLASSES, {1: 1, 4: 1}))
    path = run(write_geojson(tmp_path / "o.geojson", objects))
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    names = {feature["properties"]["name"] for feature in features}
    assert names == {"1-1", "1-2", "4"}
    assert {feature["geometry"]["type"] for feature in features} == {"Polygon"}
    assert {f["properties"]["classification"]["name"] for f in features} == {"nucleus"}
    roifile = pytest.importorskip("roifile")
    rois = roifile.roiread(run(write_rois(tmp_path / "o.zip", objects)))
    assert {roi.name for roi in rois} == {"nucleus_1-1", "nucleus_1-2", "nucleus_4"}


@pytest.mark.parametrize(("linked", "rows"), [(True, [1, 4]), (False, [1, 1, 4, 1, 4])])
def test_pieces_of_a_solid_may_be_one_through_its_planes(linked: bool, rows: list[int]) -> None:
    stack = cut(2)
    stack[1, 5, 2:12] = 1  # not cut here
    table = run(measure(pieces_apart(Objects(stack, "ZYX", CLASSES, {}, through_z=linked))))
    assert table["index"].tolist() == rows
    if linked:
        assert table["area"].tolist() == [90, 12]


def test_a_solid_without_a_plane_between_is_in_two_pieces() -> None:
    stack = cut(3)
    stack[:, 5, 2:12] = 1
    stack[1][stack[1] == 1] = 0
    table = run(measure(pieces_apart(Objects(stack, "ZYX", CLASSES, {}, through_z=True))))
    assert table["index"].tolist() == [1, 1, 4]
    assert table["area"].tolist() == [50, 50, 18]


def test_regions_of_a_class_are_one_whatever_they_are_made_of() -> None:
    objects = Objects(cut(), "YX", CLASSES, {1: 1}, regions=True)
    assert pieces_apart(objects) is objects
