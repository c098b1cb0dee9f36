"""Cases in a process of their own, which is ended when it hangs or takes too much memory."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import logging
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from cases.drawing import Draw
from cases.outcomes import Outcome, judge

MEMORY = 2 * 2**30
"""Bytes that a case may take beyond what the process had before."""

WAIT = 5
"""Seconds by the clock for each second of the processor that a case may take: on a busy machine it
has only its share."""

RESTART = 1000
"""Cases after which the process is a new one."""

_FRAME = re.compile(r'File ".*?napari_sa2net/(.+?)", line \d+ in (\w+)')


class Watched:
    """Runs the cases of a part, one after the other, in a process."""

    def __init__(self, part: str, module: str, limit: float, memory: int = MEMORY) -> None:
        self._part, self._module, self._limit, self._memory = part, module, limit, memory
        self._root = Path(tempfile.mkdtemp(prefix="campaign-"))
        self._log = self._root / "stacks.txt"
        self._process: Any = None
        self._done = 0

    def run(self, number: int) -> Outcome:
        """Run a case, whatever it does to the process."""
        if self._process is None or self._done >= RESTART:
            self.stop()
            self._start()
        self._done += 1
        self._connection.send(number)
        watched = psutil.Process(self._process.pid)
        base, began, busy = watched.memory_info().rss, time.monotonic(), _seconds(watched)
        try:
            while not self._connection.poll(0.1):
                if watched.memory_info().rss > base + self._memory:
                    return self._end("memory", f"more than {self._memory / 1e9:.1f} GB")
                waited = time.monotonic() - began
                if waited > WAIT * self._limit or _seconds(watched) - busy > self._limit:
                    return self._end("hang", f"not done after {waited:.0f} s")
            outcome: Outcome = self._connection.recv()
        except (EOFError, ConnectionError, psutil.Error):
            self._process.join()
            return self._end("crash", f"exit code {self._process.exitcode}")
        return outcome

    def stop(self) -> None:
        """End the process and everything that it started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.join()
        self._process = None

    def close(self) -> None:
        """Let the process end, and remove its files."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._connection.send(None)
                self._process.join(10)
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._part, self._module, self._root, self._memory)
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        theirs.close()
        self._connection.recv()  # everything is imported
        self._done = 0

    def _end(self, kind: str, text: str) -> Outcome:
        if self._process.is_alive() and hasattr(signal, "SIGUSR1"):
            os.kill(self._process.pid, signal.SIGUSR1)
            time.sleep(0.3)
        stack = self._log.read_text(errors="replace")
        said = (self._root / "said.txt").read_text(errors="replace")
        self.stop()
        found = _FRAME.search(stack)
        place = f"{found[1]}:{found[2]}" if found else "?"
        return Outcome("fault", f"{kind}: {text}", f"{kind} in {place}", said, stack)


def _serve(connection: Connection, part: str, module: str, root: Path, memory: int) -> None:
    """Run cases as they are asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the other process's to end this one
    log = (root / "stacks.txt").open("w")
    faulthandler.enable(log)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, log)
    import torch

    torch.set_num_threads(1)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells of each broken file
    prepare_environment(root)
    run = importlib.import_module(module).run
    connection.send("ready")
    while (number := connection.recv()) is not None:
        log.seek(0)
        log.truncate()
        draw = Draw(part, number)
        draw.said = Said(root / "said.txt")
        connection.send(alone(run, draw, root, memory))


def _seconds(process: psutil.Process) -> float:
    """Return the processor's seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Said(list[str]):
    """A description that is also in a file, for when the process is ended."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        path.write_text("")

    def append(self, text: str) -> None:
        super().append(text)
        with self._path.open("a") as file:
            file.write(f"{text}; ")


def alone(run: Any, draw: Draw, root: Path, memory: int) -> Outcome:
    """Run one case in a folder of its own, and measure its memory."""
    folder = root / str(draw.number)
    for place in (folder, root / "home"):
        _remove(place)  # there is one if the process was ended in a case
        place.mkdir()
    before = _reset_peak()
    here = os.getcwd()
    try:
        outcome = judge(run, draw, folder)
    finally:
        os.chdir(here)
        _remove(folder)
        _remove(root / "home")
    if _peak() > before + memory and outcome.outcome != "fault":
        text = f"memory: {(_peak() - before) / 1e9:.1f} GB for a moment"
        return Outcome("fault", text, f"memory, {outcome.text[:60]}", outcome.what)
    return outcome


def prepare_environment(root: Path) -> None:
    """Keep what a person has out of the cases, and the cases out of it."""
    for name in ("CACHE", "HOME", "MODELS"):
        os.environ[f"NAPARI_SA2NET_{name}"] = str(root / "home" / name.lower())
    os.environ["NAPARI_SA2NET_WEIGHTS_URL"] = str(root / "home" / "nowhere")
    os.environ["HOME"] = str(root / "home")
    os.environ["COLUMNS"] = "100"


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def _reset_peak() -> int:
    """Return the bytes in use; on Linux their highest number is counted anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def _peak() -> int:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0
