"""Work that is begun before what was begun earlier is done, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pace(Protocol):
    """How much is done together; may change while work goes on."""

    @property
    def batch(self) -> int:
        """Items that are begun together."""

    @property
    def ahead(self) -> int:
        """Batches that are begun before the result of an earlier one is fetched."""


def in_order(
    todo: deque[Item],
    start: Callable[[Sequence[Item]], Callable[[], Result | None]],
    pace: Pace,
) -> Iterator[tuple[list[Item], Result | None]]:
    """Yield items, batch by batch, with the result of each batch.

    Parameters
    ----------
    todo
        The items; what is begun is taken out.
    start
        Begins a batch and returns what waits for its result: None if it failed.
    pace
        Is asked again for every batch.

    Yields
    ------
    tuple
        The items of a batch, and their result. If it is None they lie in ``todo`` again, before
        all others, together with what was begun after them; going on tries again.
    """
    begun: deque[tuple[list[Item], Callable[[], Result | None]]] = deque()
    while todo or begun:
        while todo and len(begun) <= pace.ahead:
            items = [todo.popleft() for _ in range(min(pace.batch, len(todo)))]
            begun.append((items, start(items)))
        items, result = begun.popleft()
        values = result()
        if values is None:
            todo.extendleft(item for later, _ in reversed(begun) for item in reversed(later))
            todo.extendleft(reversed(items))
            begun.clear()
        yield items, values
