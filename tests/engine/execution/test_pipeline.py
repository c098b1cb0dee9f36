"""Work is begun ahead, comes in order, and nothing is lost when some of it fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from napari_sa2net.engine.execution.pipeline import in_order


@dataclass
class Work:
    """Squares numbers; notes what happens, and fails where it is told to."""

    batch: int = 2
    ahead: int = 1
    fails: set[int] = field(default_factory=set)
    log: list[tuple[str, int]] = field(default_factory=list)

    def start(self, items: Sequence[int]) -> Callable[[], list[int] | None]:
        first = items[0]
        self.log.append(("begun", first))

        def finish() -> list[int] | None:
            self.log.append(("fetched", first))
            return None if first in self.fails else [item**2 for item in items]

        return finish


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 2, 10])
def test_all_comes_in_order(ahead: int, batch: int) -> None:
    work = Work(batch, ahead)
    todo = deque(range(7))
    found = list(in_order(todo, work.start, work))
    assert [item for items, _ in found for item in items] == list(range(7))
    assert [value for _, values in found for value in values or ()] == [n**2 for n in range(7)]
    assert max(len(items) for items, _ in found) == min(batch, 7)
    assert not todo


def test_the_next_is_begun_before_the_last_is_fetched_and_no_more_than_that() -> None:
    work = Work()
    list(in_order(deque(range(6)), work.start, work))
    assert work.log == [
        ("begun", 0), ("begun", 2), ("fetched", 0), ("begun", 4), ("fetched", 2), ("fetched", 4)
    ]  # fmt: skip
    work = Work(ahead=0)
    list(in_order(deque(range(4)), work.start, work))
    assert work.log == [("begun", 0), ("fetched", 0), ("begun", 2), ("fetched", 2)]


def test_nothing_is_begun_that_is_not_asked_for() -> None:
    work = Work()
    results = in_order(deque(range(20)), work.start, work)
    next(results)
    results.close()
    assert [item for what, item in work.log if what == "begun"] == [0, 2]


def test_what_failed_and_what_was_begun_after_it_waits_again_in_order() -> None:
    work = Work(fails={2})
    todo = deque(range(8))
    results = in_order(todo, work.start, work)
    assert next(results) == ([0, 1], [0, 1])
    assert next(results) == ([2, 3], None)
    assert list(todo) == [2, 3, 4, 5, 6, 7]
    work.batch = 1  # as when memory ran out
    work.fails.clear()
    assert [items for items, _ in results] == [[2], [3], [4], [5], [6], [7]]
