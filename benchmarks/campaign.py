"""Does it do what it says, whatever it is given?

    python benchmarks/campaign.py [PART …] [--count N] [--out campaign.json] [--jobs 2]
    python benchmarks/campaign.py inputs --case 1234

Draws images, files, options, models, command lines, downloads, kills and processes at once, most
of them odd, broken or hostile, and runs them on tiny networks with random weights. A case ends
with a result, which is checked; or refused, in words that a person can read; or with a fault:
another error, a traceback, a hang, more than 2 GB, a wrong result, a file that is lost, half
written or left behind. The number of a case draws the same case again. Of each fault the number
is printed, with what was drawn and the last line; exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import queue
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Of many processes; and before any of them imports what counts the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that are killed leave locks behind, which Python removes, and tells of.
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")

from cases.outcomes import Outcome
from cases.watching import Watched
from records import Records, table, tell

PARTS = {
    "inputs": 10_000,
    "command-line": 500,
    "weights": 1_000,
    "downloads": 300,
    "kills": 300,
    "concurrency": 100,
}
"""With the number of cases of each."""

CHUNK = 100
"""Cases that are recorded at once."""


def module_of(part: str) -> str:
    """Return the module with the cases of a part."""
    return f"cases.{part.replace('-', '_')}"


@contextmanager
def crew_of(part: str, jobs: int, limit: float) -> Iterator[list[Watched]]:
    """Give processes that run cases of a part."""
    crew = [Watched(part, module_of(part), limit) for _ in range(jobs)]
    try:
        yield crew
    finally:
        for watched in crew:
            watched.close()


def try_cases(
    part: str, numbers: Iterable[int], crew: Sequence[Watched]
) -> list[tuple[int, Outcome]]:
    """Run cases in some processes at once."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    ended: list[tuple[int, Outcome]] = []

    def work(watched: Watched) -> None:
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            outcome = watched.run(number)
            ended.append((number, outcome))
            if outcome.outcome == "fault":
                show(part, number, outcome)

    with ThreadPoolExecutor(len(crew)) as pool:
        for future in [pool.submit(work, watched) for watched in crew]:
            future.result()
    return sorted(ended, key=lambda pair: pair[0])


def show(part: str, number: int, outcome: Outcome) -> None:
    """Tell of a fault."""
    tell(
        f"FAULT {part} {number}: {outcome.kind}\n"
        f"  drawn: {outcome.what}\n"
        f"  {outcome.text}\n"
        f"  again: python benchmarks/campaign.py {part} --case {number}"
    )


def record(ended: Sequence[tuple[int, Outcome]], seconds: float) -> dict[str, Any]:
    """Return what is kept of some cases."""
    counts = Counter(outcome.outcome for _, outcome in ended)
    faults = {str(n): outcome.to_dict() for n, outcome in ended if outcome.outcome == "fault"}
    return {
        "tried": len(ended),
        "result": counts["result"],
        "refused": counts["refused"],
        "faults": faults,
        "seconds": round(seconds, 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
    }


def run_part(part: str, first: int, count: int, jobs: int, limit: float, records: Records) -> None:
    """Run the cases of a part that are not recorded yet."""
    with crew_of(part, jobs, limit) as crew:
        for start in range(first, first + count, CHUNK):
            numbers = range(start, min(start + CHUNK, first + count))
            name = f"{part} {numbers[0]}–{numbers[-1]}"
            if name in records.values:
                continue
            began = time.perf_counter()
            ended = try_cases(part, numbers, crew)
            records.put(name, record(ended, time.perf_counter() - began))
            found = records.values[name]
            tell(
                f"{name}: {found['result']} results, {found['refused']} refused, "
                f"{len(found['faults'])} faults, {found['seconds']:.0f} s"
            )


def try_faults_again(parts: Sequence[str], jobs: int, limit: float, records: Records) -> None:
    """Run the recorded faults again; what is none any more is counted as what it is."""
    for name, found in records.values.items():
        part = name.rpartition(" ")[0]
        if part not in parts or not found["faults"]:
            continue
        with crew_of(part, jobs, limit) as crew:
            ended = try_cases(part, map(int, found["faults"]), crew)
        again = record(ended, 0)
        for key in ("result", "refused"):
            again[key] += found[key]
        records.put(name, {**again, "tried": found["tried"], "seconds": found["seconds"]})


def summary(records: Records) -> str:
    """Return the table, and the kinds of the faults."""
    totals: dict[str, Counter[str]] = {}
    kinds: dict[tuple[str, str], list[str]] = {}
    for name, found in records.values.items():
        part = name.rpartition(" ")[0]
        total = totals.setdefault(part, Counter())
        for key in ("tried", "result", "refused", "seconds"):
            total[key] += found[key]
        total["faults"] += len(found["faults"])
        for number, fault in found["faults"].items():
            kinds.setdefault((part, fault["kind"]), []).append(number)
    head = ["part", "tried", "results", "refused", "faults"]
    rows = [
        [part, *(f"{totals[part][key]:,}" for key in ("tried", "result", "refused", "faults"))]
        for part in PARTS
        if part in totals
    ]
    lines = [table(head, rows)]
    last = next(reversed(records.values.values()))
    lines.append(f"\n{last['date']}, {last['machine']}.")
    if kinds:
        listed = sorted(kinds.items(), key=lambda item: -len(item[1]))
        lines.append("\nFaults:\n")
        lines += [
            f"- {part}: {kind}: {len(numbers)}, as case {', '.join(numbers[:5])}"
            for (part, kind), numbers in listed
        ]
    return "\n".join(lines)


def show_case(part: str, number: int, limit: float) -> int:
    """Run one case and tell everything of it."""
    with crew_of(part, 1, limit) as crew:
        outcome = crew[0].run(number)
    print(f"{part} {number}: {outcome.what}\n{outcome.trace}\n{outcome.outcome} {outcome.kind}")
    print(outcome.text)
    return int(outcome.outcome == "fault")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; or all")
    parser.add_argument("--count", type=int, help="cases of each part, in place of its own number")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="run this one case and tell all of it")
    parser.add_argument("--out", type=Path, help="JSON file; what is in it is not run again")
    parser.add_argument("--again", action="store_true", help="run the faults of --out again")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run cases")
    parser.add_argument("--limit", type=float, default=60, help="processor seconds of a case")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    parts = arguments.parts or list(PARTS)
    if arguments.case is not None:
        if len(parts) != 1:
            parser.error("--case needs the one part that it is of")
        return show_case(parts[0], arguments.case, arguments.limit)
    records = Records(arguments.out)
    if arguments.again:
        try_faults_again(parts, arguments.jobs, arguments.limit, records)
    else:
        for part in parts:
            count = arguments.count or PARTS[part]
            run_part(part, arguments.first, count, arguments.jobs, arguments.limit, records)
    print(summary(records))
    return int(any(found["faults"] for found in records.values.values()))


if __name__ == "__main__":
    sys.exit(main())
