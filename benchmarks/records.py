"""Results of long benchmarks: kept in a JSON file as they come, and not measured again."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

CORES = 2
"""A laptop's: every process uses that many, whatever the machine has."""

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]
"""What a result is called in the file, and the call that measures it."""


class Records:
    """Results by name; in a file, if one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if path is not None and path.exists():
            self.values = json.loads(path.read_text(encoding="utf-8"))

    def put(self, name: str, value: Any) -> None:
        """Keep a result; the file is whole at any moment."""
        self.values[name] = value
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_name(self.path.name + ".new")
            new.write_text(json.dumps(self.values, indent=1), encoding="utf-8")
            os.replace(new, self.path)

    def measure(self, cases: Iterable[Case], workers: int) -> None:
        """Measure what is not there yet, in ``workers`` processes."""
        todo = [case for case in cases if case[0] not in self.values]
        began = time.perf_counter()

        def keep(name: str, value: Any) -> None:
            self.put(name, value)
            tell(f"{name}: done after {(time.perf_counter() - began) / 60:.1f} min")

        if workers == 1:
            _begin(None)
            for name, call, arguments in todo:
                keep(name, call(*arguments))
            return
        # Not forked: torch's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        for place in range(workers):
            places.put(place)
        with ProcessPoolExecutor(workers, context, _begin, (places,)) as pool:
            running = {pool.submit(call, *arguments): name for name, call, arguments in todo}
            for future in as_completed(running):
                keep(running[future], future.result())


def _begin(places: Any) -> None:
    """Use two cores; those of its own, where several processes run and the system can do it."""
    import torch

    torch.set_num_threads(CORES)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        first = 0 if places is None else CORES * places.get()
        os.sched_setaffinity(0, cores[first : first + CORES] or cores)


def tell(text: str) -> None:
    """Say what goes on, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median with the lowest and highest value."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def medians(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the median of one figure."""
    return float(statistics.median(row[name] for row in rows))
