"""Commands that are killed, asked to end or stopped with Ctrl-C, at any moment, and given again."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

from cases.drawing import Draw
from cases.jobs import JOBS, before_of, content_of, home, prepared, some_job
from cases.outcomes import LEFTOVERS, Wrong
from cases.processes import Command, Ended

_SIGNALS = {signal.SIGKILL: 7, signal.SIGTERM: 1.5, signal.SIGINT: 1.5}

_whole: dict[tuple[str, int], tuple[float, dict[str, Any]]] = {}
"""Of each job and variant: how long it takes, and what it leaves, if nobody breaks it off."""


def run(draw: Draw, folder: Path) -> None:
    """Break a command off, once or more often; then let it go on to its end."""
    name, variant = some_job(draw)
    stock = folder.parent / "stock"
    stock.mkdir(exist_ok=True)
    seconds, expected = _undisturbed(name, variant, stock)
    work = folder / "work"
    prepared(name, variant, work, stock)
    ended_with = None
    for number in range(draw.among(1, 1, 1, 2, 3)):
        how = draw.weighted(_SIGNALS)
        moment = draw.uniform(0, 1.1) * seconds
        draw.say(f"{how.name} after {moment:.2f} of {seconds:.2f} s")
        command = _start(name, variant, work, number)
        command.wait_until_begun()
        time.sleep(moment)
        command.end(how)
        ended = command.wait()
        _check_end(ended)
        ended_with = how if ended.code != 0 or how == signal.SIGINT else ended_with
        content_of(work)
    last = _start(name, variant, work, 99).wait()
    _check_last(name, last, expected, content_of(work), ended_with)


def _start(name: str, variant: int, work: Path, number: int) -> Command:
    import os

    os.environ.update(home(work))
    log = work.parent / f"log-{number}"
    return Command(JOBS[name].line(variant), work, log, before_of(name))


def _undisturbed(name: str, variant: int, stock: Path) -> tuple[float, dict[str, Any]]:
    """Return how long a job takes, and what it leaves."""
    if (name, variant) not in _whole:
        work = stock / f"whole-{name}-{variant}".replace(" ", "-") / "work"
        prepared(name, variant, work, stock)
        command = _start(name, variant, work, 0)
        command.wait_until_begun()
        began = time.monotonic()
        ended = command.wait()
        if ended.code:
            raise Wrong("failed although nobody broke it off", ended.err[-500:])
        _whole[name, variant] = time.monotonic() - began, content_of(work)
    return _whole[name, variant]


def _check_end(ended: Ended) -> None:
    """Check how a command ended that was broken off."""
    if ended.code == -1000:
        raise Wrong("goes on although it was told to end")
    places = re.findall(r'napari_sa2net/(\S+)", line \d+, in (\S+)', ended.err)
    if "Traceback" in ended.err and places:  # else it is this script's own beginning or end
        last = ended.err.strip().splitlines()[-1].split(":")[0]
        raise Wrong(f"traceback when it is broken off: {last}", f"in {' '.join(places[-1])}")


def _check_last(
    name: str,
    last: Ended,
    expected: dict[str, Any],
    found: dict[str, Any],
    ended_with: signal.Signals | None,
) -> None:
    """Check that the command, given again, does what it would have done at once."""
    again = JOBS[name].again
    if last.code and not (again is not None and again(last.err)):
        raise Wrong("does not go on", f"exit code {last.code}: {last.err[-500:]}")
    if "(--debug" in last.err:
        raise Wrong("does not go on: unexpected error", last.err[-500:])
    # Whoever ends a training with Ctrl-C keeps the best so far, which is another model.
    other_model = name == "fine-tune" and ended_with == signal.SIGINT
    for file, content in expected.items():
        if file not in found:
            raise Wrong("a file is missing afterwards", file)
        if content != found[file] and not other_model:
            raise Wrong(f"another result afterwards: {Path(file).suffix}", f"{name}: {file}")
    more = sorted(set(found) - set(expected))
    if more and not (other_model and not any(LEFTOVERS.search(Path(f).name) for f in more)):
        raise Wrong(f"left behind: {Path(more[0]).suffix}", f"{name}: {', '.join(more)}")
