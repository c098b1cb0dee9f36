from __future__ import annotations

import numpy as np
import pytest

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.metrics import average_precision, dice, iou, match


def test_half_overlapping_masks() -> None:
    pred = np.array([[1, 1, 0, 0]])
    true = np.array([[0, 7, 7, 0]])
    assert dice(pred, true) == pytest.approx(0.5)
    assert iou(pred, true) == pytest.approx(1 / 3)


@pytest.mark.parametrize("measure", [dice, iou, average_precision])
def test_empty_conventions(measure) -> None:  # type: ignore[no-untyped-def]
    empty, full = np.zeros((4, 4), int), np.ones((4, 4), int)
    assert measure(empty, empty) == 1.0
    assert measure(empty, full) == 0.0
    assert measure(full, empty) == 0.0
    assert measure(full, full) == 1.0


def test_label_numbers_do_not_matter() -> None:
    true = np.repeat(np.array([0, 5, 9, 200]), 4)
    pred = np.repeat(np.array([0, 3, 1, 2]), 4)
    assert average_precision(pred, true) == 1.0


def test_a_merged_pair_costs_a_hit_and_two_misses() -> None:
    true = np.repeat([1, 2, 0, 3], [6, 6, 4, 6])
    pred = np.repeat([1, 1, 0, 2], [6, 6, 4, 6])
    # The merged object has IoU 6/12 with either half: it counts for one of them at 0.5 …
    assert match(pred, true).true_positives == match(true, pred).true_positives == 2
    assert average_precision(pred, true, 0.5) == pytest.approx(2 / 3)
    # … and for none of them above.
    assert average_precision(pred, true, 0.6) == pytest.approx(1 / 4)


def test_low_thresholds_find_the_largest_matching() -> None:
    # A overlaps both true objects, B only the first: one to one, both can be matched.
    true = np.repeat([1, 2], [6, 6])
    pred = np.repeat([2, 1], [4, 8])
    assert match(pred, true, 0.1).true_positives == 2


def test_objects_without_any_background() -> None:
    labels = np.array([[1, 2], [3, 4]])
    assert match(labels, labels).true_positives == 4


def test_shapes_and_thresholds_are_checked() -> None:
    with pytest.raises(InputError, match="shape"):
        dice(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(InputError, match="threshold"):
        match(np.zeros(3), np.zeros(3), 0)


def test_empty_arrays() -> None:
    nothing = np.zeros((0, 5), int)
    assert average_precision(nothing, nothing) == 1.0
