"""Probabilities to labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.instances import (
    LabelSettings,
    features,
    label_plane,
    link_stack,
)

Plane = NDArray[np.float32]


def discs(*circles: tuple[int, int, int], side: int = 64) -> NDArray[np.bool_]:
    y, x = np.mgrid[:side, :side]
    return np.any([(y - a) ** 2 + (x - b) ** 2 <= r * r for a, b, r in circles], axis=0)


def two_classes(mask: NDArray[Any]) -> Plane:
    p = np.where(mask, 0.9, 0.1).astype(np.float32)
    return np.stack([1 - p, p])


def with_boundary(mask: NDArray[np.bool_], interior: NDArray[np.bool_]) -> Plane:
    """Return background, object and boundary, sure of themselves."""
    classes = np.where(interior, 1, np.where(mask, 2, 0))
    return (np.eye(3, dtype=np.float32)[classes] * 0.85 + 0.05).transpose(2, 0, 1)


def plain(**settings: Any) -> LabelSettings:
    return LabelSettings(**{"min_size": 0, "split": False, "fill_holes": False, **settings})


def test_parts_are_numbered_and_areas_counted() -> None:
    mask = discs((15, 15, 8), (45, 45, 5))
    labels = label_plane(two_classes(mask), plain())
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels > 0, mask)
    table = features(labels)
    np.testing.assert_array_equal(table["index"], [1, 2])
    np.testing.assert_array_equal(table["class"], [1, 1])
    assert table["area"].tolist() == [(labels == 1).sum(), (labels == 2).sum()]


def test_threshold_is_of_everything_but_background() -> None:
    p = np.array([[[0.7, 0.45, 0.2]], [[0.2, 0.3, 0.3]], [[0.1, 0.25, 0.5]]], np.float32)
    assert (label_plane(p, plain(), derived=(2,)) > 0).tolist() == [[False, True, True]]
    high = label_plane(p, plain(threshold=0.7), derived=(2,))
    assert (high > 0).tolist() == [[False, False, True]]
    assert not label_plane(p, plain(threshold=0.9), derived=(2,)).any()


def test_small_objects_are_dropped_and_numbers_have_no_gaps() -> None:
    mask = discs((8, 8, 2), (32, 32, 8), (55, 55, 9))
    small = int(discs((8, 8, 2)).sum())
    labels = label_plane(two_classes(mask), plain(min_size=small + 1))
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[8, 8] == 0
    assert label_plane(two_classes(mask), plain(min_size=small)).max() == 3


def test_holes_inside_one_object_are_filled() -> None:
    mask = discs((20, 20, 12)) & ~discs((20, 20, 4))
    filled = label_plane(two_classes(mask), plain(fill_holes=True))
    np.testing.assert_array_equal(filled, discs((20, 20, 12)))
    assert label_plane(two_classes(mask), plain())[20, 20] == 0


def test_background_between_objects_and_at_the_border_is_no_hole() -> None:
    ring = discs((30, 30, 20)) & ~discs((30, 30, 14))
    interior = ring.copy()
    interior[29:32], interior[:, 29:32] = False, False  # four quarters
    labels = label_plane(
        with_boundary(ring, interior), plain(split=True, fill_holes=True), derived=(2,)
    )
    assert labels.max() == 4
    assert labels[30, 30] == 0
    bay = discs((0, 30, 20)) & ~discs((0, 30, 8))
    assert label_plane(two_classes(bay), plain(fill_holes=True))[0, 30] == 0


def test_seeds_split_objects_that_touch() -> None:
    mask = discs((30, 20, 12), (30, 42, 12))
    interior = discs((30, 20, 9), (30, 42, 9))
    p = with_boundary(mask, interior)
    labels = label_plane(p, plain(split=True), derived=(2,))
    np.testing.assert_array_equal(labels > 0, mask)
    assert labels.max() == 2
    assert labels[30, 20] != labels[30, 42]
    areas = features(labels)["area"]
    assert abs(int(areas[0]) - int(areas[1])) < 30
    assert label_plane(p, plain(), derived=(2,)).max() == 1


def test_a_part_without_seed_stays_and_a_speck_is_no_seed() -> None:
    rim_only = discs((12, 12, 3))
    whole = discs((40, 40, 12))
    interior = discs((40, 36, 5))
    interior[40, 48] = True  # one pixel
    p = with_boundary(rim_only | whole, interior)
    labels = label_plane(p, plain(split=True, seed_size=4), derived=(2,))
    np.testing.assert_array_equal(labels > 0, rim_only | whole)
    assert labels.max() == 2
    assert label_plane(p, plain(split=True, seed_size=1), derived=(2,)).max() == 3


def test_without_a_boundary_class_necks_are_cut() -> None:
    mask = discs((30, 18, 12), (30, 40, 12))
    labels = label_plane(two_classes(mask), plain(split=True))
    np.testing.assert_array_equal(labels > 0, mask)
    assert labels.max() == 2
    assert labels[30, 18] != labels[30, 40]
    assert label_plane(two_classes(discs((30, 30, 15))), plain(split=True)).max() == 1


def four_classes() -> tuple[Plane, NDArray[np.int_]]:
    """Two kinds of objects that touch, and a boundary class."""
    classes = np.zeros((20, 30), int)
    classes[4:16, 4:14], classes[4:16, 14:24] = 1, 2
    classes[4:16, 13:15] = 3
    return (np.eye(4, dtype=np.float32)[classes] * 0.8 + 0.05).transpose(2, 0, 1), classes


def test_classes() -> None:
    p, classes = four_classes()
    got = label_plane(p, plain(result="classes"), derived=(3,))
    assert set(np.unique(got)) == {0, 1, 2}
    np.testing.assert_array_equal(got > 0, classes > 0)
    sure = np.isin(classes, (1, 2))
    np.testing.assert_array_equal(got[sure], classes[sure])
    table = features(got, p, derived=(3,), result="classes")
    np.testing.assert_array_equal(table["class"], [1, 2])
    assert table["area"].sum() == (classes > 0).sum()


def test_instances_have_the_class_that_prevails() -> None:
    p, _ = four_classes()
    labels = label_plane(p, plain(split=True), derived=(3,))
    table = features(labels, p, derived=(3,))
    assert sorted(table["class"].tolist()) == [1, 2]
    assert table["class"][labels[10, 5] - 1] == 1
    assert table["class"][labels[10, 20] - 1] == 2


def test_objects_of_two_classes_that_touch_are_two() -> None:
    p, _ = four_classes()
    labels = label_plane(p[:3] / p[:3].sum(0), plain())
    assert labels[10, 5] != labels[10, 20] != 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("value", [0.1, 0.9])
@pytest.mark.parametrize("derived", [(), (2,)])
def test_any_size(shape: tuple[int, int], value: float, derived: tuple[int, ...]) -> None:
    p = np.full((3, *shape), value / 2, np.float16)
    p[0] = 1 - value
    for split in (False, True):
        settings = LabelSettings(min_size=0, split=split)
        labels = label_plane(p, settings, derived=derived)
        assert labels.shape == shape
        assert (labels > 0).all() == (value > 0.5)


def test_settings_and_classes_are_checked() -> None:
    for wrong in ({"threshold": 0}, {"min_size": -1}, {"result": "x"}, {"link": "c"}):
        with pytest.raises(InputError):
            LabelSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one class"):
        label_plane(np.ones((2, 4, 4), np.float32), derived=(1,))


def test_numbers_of_numpy_are_plain_ones() -> None:
    """They are written into files as JSON."""
    settings = LabelSettings(threshold=np.float32(0.5), min_size=np.int64(5))
    assert settings == LabelSettings(threshold=0.5, min_size=5)
    assert json.loads(json.dumps(asdict(settings)))["min_size"] == 5


def test_linking_follows_objects_through_planes() -> None:
    stack = np.zeros((4, 20, 20), np.int32)
    stack[0, 2:6, 2:6] = 1
    stack[1, 3:7, 2:6] = 2  # the same, moved by a pixel
    stack[1, 12:16, 12:16] = 1  # new
    stack[2, 12:16, 13:17] = 1
    stack[3, 2:6, 2:6] = 1  # came back after a gap: another
    linked = link_stack(stack)
    np.testing.assert_array_equal(linked > 0, stack > 0)
    assert linked[0, 3, 3] == linked[1, 4, 3] == 1
    assert linked[1, 13, 13] == linked[2, 13, 14] == 2
    assert linked[3, 3, 3] == 3
    # One that divides goes on as its larger part only.
    divided = np.zeros((2, 10, 20), np.int32)
    divided[0, 2:8, 2:18] = 1
    divided[1, 2:8, 2:12], divided[1, 2:8, 13:18] = 5, 6
    linked = link_stack(divided)
    assert linked[1, 4, 4] == linked[0, 4, 4] == 1
    assert linked[1, 4, 15] == 2
