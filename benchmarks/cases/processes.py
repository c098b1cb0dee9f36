"""Command lines in processes of their own, started quickly, and ended at any moment."""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 100.0
"""Seconds that a command may take."""

PRELOADED = [
    "torch",
    "scipy.ndimage",
    "skimage.measure",
    "tifffile",
    "zarr",
    "dask.array",
    "napari_sa2net.api",
    "napari_sa2net.cli",
    "napari_sa2net.engine.exchange.package",
    "napari_sa2net.engine.training.fine_tuning",
    "napari_sa2net.engine.training.recipes",
    "torch._dynamo",
    "torch.optim",
    "safetensors.torch",
    "skimage.io",
    "imagecodecs",
    "pooch",
    "requests",
    "tqdm",
    "cases.networks",
]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; that of the signal, below 0, if it was killed."""
    out: str
    err: str


@functools.cache
def _context() -> Any:
    """Return what starts processes: copies of one that has everything imported."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Command:
    """``sa2net`` with a line of arguments, running in a folder."""

    def __init__(
        self, line: Sequence[str], folder: Path, log: Path, before: Callable[[], None] | None = None
    ) -> None:
        self._log = log
        environment = {k: v for k, v in os.environ.items() if k.startswith("NAPARI_SA2NET")}
        arguments = (list(line), str(folder), str(log), environment, before)
        self.process = _context().Process(target=_command, args=arguments)
        self.process.start()

    @property
    def begun(self) -> bool:
        """Whether it has got to the command line itself."""
        return self._log.with_suffix(".begun").exists()

    def wait_until_begun(self) -> None:
        """Wait until the imports are done."""
        while not self.begun and self.process.is_alive():
            time.sleep(0.002)

    def end(self, how: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(self.process.pid, how)

    def wait(self) -> Ended:
        """Wait for the end; a command that hangs is killed, and has the exit code -1000."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
            code = -1000
        texts = [
            path.read_text("utf-8", "replace") if path.exists() else ""
            for path in (self._log.with_suffix(".out"), self._log.with_suffix(".err"))
        ]
        return Ended(code, *texts)


def _command(
    line: list[str], folder: str, log: str, environment: dict[str, str], before: Any
) -> None:
    """Run a command line, in a process that nothing else runs in."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    os.chdir(folder)
    path = Path(log)
    # On the files themselves, as a shell does it.
    for number, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(path.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    sys.stdin = io.StringIO()
    import torch

    from napari_sa2net.cli import main

    torch.set_num_threads(1)
    if before is not None:
        before()
    path.with_suffix(".begun").touch()
    code = 1
    try:
        code = main(line)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def save_often() -> None:
    """Let trainings write their state several times a second, not every few minutes."""
    from napari_sa2net.engine.training import job

    job.SAVE_EVERY = 0.3
