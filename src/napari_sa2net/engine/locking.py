"""A lock on a file that no process can leave behind."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from .disk import temporary

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FEW = 5
"""Attempts to lock, 50 ms apart: another process may only be looking."""


class Lock:
    """Held by this process until closed; the system lets go of it when the process ends."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes]
        try:
            self._file = path.open("a+b")
        except OSError:
            self._file = path.open("rb")  # a painting can be read where nothing can be written
        try:
            self._file.seek(0)
            if sys.platform == "win32":
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def try_lock(path: Path, *, patient: bool = False) -> Lock | None:
    """Return a lock on ``path``, None if another holds it.

    Parameters
    ----------
    path
        Made if need be; its folder must exist.
    patient
        Try a few times, as another process may only be looking at it.
    """
    for attempt in range(FEW if patient else 1):
        if attempt:
            time.sleep(0.05)
        with suppress(OSError):
            return Lock(path)
    return None


def can_lock(folder: Path) -> bool:
    """Tell whether files in ``folder`` can be locked at all, which some network disks cannot."""
    probe = temporary(folder / "probe")
    lock = try_lock(probe)
    if lock is not None:
        lock.close()
    with suppress(OSError):  # there is none, or a virus scanner has it open
        probe.unlink()
    return lock is not None


_here: set[Path] = set()
"""What this process holds without a lock."""


class Unlocked:
    """Held by this process until closed, where there are no locks: no other process sees it."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        _here.add(self._path)

    def close(self) -> None:
        """Let go of it."""
        _here.discard(self._path)


def take(path: Path, *, patient: bool = False) -> Lock | Unlocked | None:
    """Lock ``path`` as :func:`try_lock` does, or hold it without a lock where there are none."""
    lock = try_lock(path, patient=patient)
    if lock is not None:
        return lock
    if path.absolute() in _here or not path.parent.is_dir() or can_lock(path.parent):
        return None
    return Unlocked(path)
