"""Outlines: filled again they are the labels; GeoJSON and ROIs as their programs read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.draw import polygon2mask

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import SA2NetError
from napari_sa2net.engine.events import run
from napari_sa2net.engine.measuring import rois
from napari_sa2net.engine.measuring.geojson import write_geojson
from napari_sa2net.engine.measuring.objects import Objects, channels_of
from napari_sa2net.engine.measuring.outlines import plane_outlines, polygons_of

CLASSES = (ClassInfo("background"), ClassInfo("nucleus", "#e69f00"))


def area(ring: Any) -> float:
    """Return the signed area of a ring; above 0 is counter-clockwise in GeoJSON's sense."""
    x, y = np.asarray(ring, float).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def filled(polygons: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of polygons with holes."""
    inside = np.zeros(shape, bool)
    for rings in polygons:
        for ring in rings:
            # Pixels have their middle half a pixel from their corner.
            inside ^= polygon2mask(shape, np.asarray(ring)[:, ::-1] - 0.5)
    return inside


def test_a_ring_of_pixels_is_a_polygon_with_a_hole() -> None:
    mask = np.ones((3, 4), bool)
    mask[1, 1:3] = False
    (polygon,) = polygons_of(mask, (10, 20))
    outer, hole = polygon
    assert outer == [(10, 20), (14, 20), (14, 23), (10, 23)]
    assert area(outer) == 12
    assert area(hole) == -2
    assert {(11, 21), (13, 21), (13, 22), (11, 22)} == set(hole)


def test_pixels_that_meet_at_a_corner_are_polygons_of_their_own() -> None:
    mask = np.eye(3, dtype=bool)
    polygons = polygons_of(mask)
    assert [len(polygon) for polygon in polygons] == [1, 1, 1]
    assert [area(polygon[0]) for polygon in polygons] == [1, 1, 1]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_filled_again_any_mask_is_itself(share: float) -> None:
    random = np.random.default_rng(round(share * 10))
    for _ in range(20):
        mask = random.random((12, 15)) < share
        polygons = polygons_of(mask)
        assert np.array_equal(filled(polygons, mask.shape), mask)
        for outer, *holes in polygons:
            assert area(outer) > 0
            assert all(area(hole) < 0 for hole in holes)
            for ring in (outer, *holes):  # no ring touches itself, and only corners are told
                assert len(set(ring)) == len(ring)
                steps = np.sign(np.diff([*ring, ring[0]], axis=0))
                assert all(abs(step).sum() == 1 for step in steps)
                assert not np.any(np.all(steps == np.roll(steps, 1, axis=0), axis=1))


@pytest.mark.parametrize("background", [0, 5])
def test_each_object_of_a_plane_has_its_own_outline(background: int) -> None:
    labels = np.full((2, 6, 8), background)
    labels[0, :2, :2] = 3
    labels[1, 1:4, 2:5] = 900
    labels[1, 2, 3] = 7
    objects = Objects(labels, "ZYX")
    found = {outline.number: outline.polygons for outline in plane_outlines(objects, 1)}
    assert set(found) == {7, 900} | {background} - {0}
    for number, polygons in found.items():
        assert np.array_equal(filled(polygons, (6, 8)), labels[1] == number)


def some_objects(*, regions: bool = False) -> Objects:
    """Return a Z-stack with an object with a hole, one in two parts, and one of no class."""
    labels = np.zeros((2, 10, 12), np.int32)
    labels[0, 1:4, 1:4] = 1
    labels[0, 2, 2] = 0
    labels[1, 0:2, 0:3] = labels[1, 5:7, 6:9] = 2
    labels[1, 8:, 10:] = 3
    return Objects(labels, "ZYX", CLASSES, {1: 1, 2: 1}, regions=regions)


def test_geojson_is_as_qupath_imports_it(tmp_path: Path) -> None:
    objects = some_objects()
    path = run(write_geojson(tmp_path / "o.geojson", objects))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    assert [f["properties"]["name"] for f in content["features"]] == ["1", "2", "3"]
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        geometry, number = feature["geometry"], int(feature["properties"]["name"])
        assert geometry["type"] == ("MultiPolygon" if number == 2 else "Polygon")
        parts = geometry["coordinates"] if number == 2 else [geometry["coordinates"]]
        assert all(ring[0] == ring[-1] and len(ring) >= 5 for rings in parts for ring in rings)
        plane = geometry["plane"]
        assert plane == {"c": -1, "z": int(number > 1), "t": 0}
        assert np.array_equal(filled(parts, (10, 12)), objects.labels[plane["z"]] == number)
    kinds = [feature["properties"].get("classification") for feature in content["features"]]
    assert kinds[:2] == [{"name": "nucleus", "color": [230, 159, 0]}] * 2
    assert kinds[2] is None


def test_regions_are_annotations_and_a_plain_image_has_no_plane(tmp_path: Path) -> None:
    labels = some_objects().labels[0]
    objects = Objects(labels, "YX", CLASSES, {1: 1}, regions=True)
    path = run(write_geojson(tmp_path / "o.geojson", objects))
    (feature,) = json.loads(path.read_text(encoding="utf-8"))["features"]
    assert feature["properties"]["objectType"] == "annotation"
    assert "plane" not in feature["geometry"]


def test_without_objects_the_collection_is_empty(tmp_path: Path) -> None:
    path = run(write_geojson(tmp_path / "o.geojson", Objects(np.zeros((4, 4), int), "YX")))
    assert json.loads(path.read_text())["features"] == []


def test_a_write_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    work = write_geojson(tmp_path / "o.geojson", some_objects())
    next(work)
    work.close()
    assert list(tmp_path.iterdir()) == []


def test_rois_are_as_imagej_reads_them(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    objects = some_objects()
    found = roifile.roiread(run(rois.write_rois(tmp_path / "o.zip", objects)))
    assert [roi.name for roi in found] == ["nucleus_1_z1", "nucleus_2_z2", "object_3_z2"]
    assert [roi.position for roi in found] == [1, 2, 2]
    assert [roi.composite for roi in found] == [True, True, False]
    assert found[2].roitype == roifile.ROI_TYPE.POLYGON
    assert found[0].stroke_color == b"\xff\xe6\x9f\x00"
    for roi, number in zip(found, (1, 2, 3), strict=True):
        rings = roi.coordinates(multi=True)
        inside = filled([rings if roi.composite else [rings[0]]], (10, 12))
        assert np.array_equal(inside, objects.labels[roi.position - 1] == number)
        rows, columns = np.nonzero(inside)
        assert (roi.top, roi.left) == (rows.min(), columns.min())
        assert (roi.bottom, roi.right) == (rows.max() + 1, columns.max() + 1)


def test_rois_of_a_stack_in_time_have_both_positions(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    labels = np.zeros((2, 3, 8, 8), np.int32)
    labels[1, 2, 2:4, 2:4] = 1
    path = run(rois.write_rois(tmp_path / "o.zip", Objects(labels, "TZYX")))
    (roi,) = roifile.roiread(path)
    assert (roi.t_position, roi.z_position, roi.position) == (2, 3, 0)
    assert roi.name == "object_1_t2_z3"


@pytest.mark.parametrize(
    ("axes", "shape", "channels", "place", "expected"),
    [
        ("YX", (8, 8), 1, (), (0, 0, 0)),
        ("YX", (8, 8), 3, (), (0, 0, 0)),  # on all channels
        ("ZYX", (5, 8, 8), 1, (3,), (4, 0, 0)),  # ImageJ: a stack, planes by their number
        ("TYX", (5, 8, 8), 1, (3,), (4, 0, 0)),
        ("ZYX", (5, 8, 8), 2, (3,), (0, 4, 0)),  # a hyperstack: every axis by itself
        ("TYX", (5, 8, 8), 2, (3,), (0, 0, 4)),
        ("TZYX", (2, 3, 8, 8), 1, (1, 2), (0, 3, 2)),
        ("TZYX", (2, 3, 8, 8), 4, (1, 2), (0, 3, 2)),
        ("ZTYX", (3, 2, 8, 8), 4, (2, 1), (0, 3, 2)),
        ("TZYX", (1, 3, 8, 8), 1, (0, 2), (3, 0, 0)),  # an axis of one step is none
        ("TZYX", (1, 3, 8, 8), 2, (0, 2), (0, 3, 1)),
        ("ZYX", (1, 8, 8), 2, (0,), (0, 0, 0)),
    ],
)
def test_rois_lie_in_the_plane_of_their_object_on_all_channels(
    tmp_path: Path,
    axes: str,
    shape: tuple[int, ...],
    channels: int,
    place: tuple[int, ...],
    expected: tuple[int, int, int],
) -> None:
    roifile = pytest.importorskip("roifile")
    labels = np.zeros(shape, np.int32)
    labels[(*place, slice(2, 4), slice(2, 4))] = 1
    path = run(rois.write_rois(tmp_path / "o.zip", Objects(labels, axes, channels=channels)))
    (roi,) = roifile.roiread(path)
    assert (roi.position, roi.z_position, roi.t_position) == expected
    assert roi.c_position == 0


@pytest.mark.parametrize(
    ("dtype", "rgb", "expected"), [(np.uint8, True, 1), (np.uint16, True, 3), (np.uint8, False, 3)]
)
def test_colours_of_8_bits_are_one_channel_in_imagej(dtype: Any, rgb: bool, expected: int) -> None:
    image = np.zeros((4, 12, 12, 3), dtype)
    assert channels_of(image, "ZYXC", rgb=rgb).in_imagej == expected


def test_without_roifile_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    with pytest.raises(SA2NetError, match=r"napari-sa2net\[rois\]"):
        run(rois.write_rois(tmp_path / "o.zip", some_objects()))
    assert list(tmp_path.iterdir()) == []
