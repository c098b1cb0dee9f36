from __future__ import annotations

import numpy as np
import pytest

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.training.suggest import next_place


def hills() -> np.ndarray:
    out = np.full((600, 800), 0.01, np.float32)
    out[100:200, 100:200] = 1.0
    out[400:500, 600:700] = 0.8
    return out


def test_repeated_presses_visit_the_largest_disagreement_first_and_then_others() -> None:
    painted = np.zeros((600, 800), bool)
    visited: list[tuple[int, int]] = []
    for y, x in ((150, 150), (450, 650)):
        place = next_place(hills(), painted, visited)
        assert place is not None
        assert abs(place[0] - y) <= 20
        assert abs(place[1] - x) <= 20
        visited.append(place)
    while (place := next_place(hills(), painted, visited)) is not None:
        for y, x in visited:
            overlap = max(0, 128 - abs(y - place[0])) * max(0, 128 - abs(x - place[1]))
            assert overlap <= 0.3 * 128**2
        visited.append(place)
    assert len(visited) > 10


def test_what_is_painted_is_left_alone() -> None:
    painted = np.zeros((600, 800), bool)
    painted[150, 110:190] = painted[110:190, 150] = True
    place = next_place(hills(), painted)
    assert place is not None
    assert abs(place[1] - 650) <= 20


def test_nothing_is_left_when_all_is_painted() -> None:
    assert next_place(hills(), np.ones((600, 800), bool)) is None


def test_an_image_smaller_than_the_window_is_one_place() -> None:
    place = next_place(np.ones((50, 60)), np.zeros((50, 60), bool))
    assert place is not None
    assert 20 <= place[0] < 50
    assert 25 <= place[1] < 60
    assert next_place(np.ones((50, 60)), np.zeros((50, 60), bool), [place]) is None


def test_what_is_not_a_number_does_not_attract() -> None:
    values = hills()
    values[300, 300] = np.nan
    values[310, 310] = np.inf
    place = next_place(values, np.zeros((600, 800), bool))
    assert place is not None
    assert abs(place[0] - 150) <= 20


def test_shapes_must_fit() -> None:
    with pytest.raises(InputError, match="shape"):
        next_place(hills(), np.zeros((5, 5), bool))
