"""Writing files and folders at once or not at all, and clearing up after runs that were killed.

What is not whole yet, or is to be replaced, has a name that tells which process it belongs to. When
that process is gone, the next one that writes into the same folder removes it.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

WINDOWS = sys.platform == "win32"
TRIES, PAUSE = 20, 0.05
"""How often to try again, and seconds between two tries."""

OURS = ".sa2net-*"
"""Pattern of the names of :func:`temporary`."""
_OURS = re.compile(r"\.sa2net-(?P<place>[0-9a-f]{8})-(?P<process>\d+)-\d+\.(?P<kind>part|old)")
_A_WEEK = 7 * 24 * 3600.0
"""Seconds after which what a process on another computer has left alone is abandoned."""
_SKEW = 3600.0
"""Seconds by which the clocks of a computer and of its disk may differ."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_count = itertools.count(1)
_swept: set[Path] = set()


def patiently(change: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Replace, move or remove files; on Windows try for about a second.

    There no file can be replaced while another program has it open, and virus scanners and
    indexers open each file for some milliseconds after it was written.
    """
    for _ in range(TRIES if WINDOWS else 0):
        with suppress(PermissionError):
            return change(*args, **kwargs)
        time.sleep(PAUSE)
    return change(*args, **kwargs)


def move_to_new(source: Path, target: Path) -> None:
    """Give a file another name that no file has, whatever other programs do at the same time.

    Raises
    ------
    FileExistsError
        If a file has the name; ``source`` stays as it is then.
    OSError
        If it cannot be moved.
    """
    if WINDOWS:
        patiently(os.rename, source, target)  # never replaces a file there
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a disk without links: an empty file keeps the name
        target.touch(exist_ok=False)
        try:
            os.replace(source, target)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        return
    try:
        source.unlink()
    except OSError:  # another program has moved or deleted it: that is what it is called now
        target.unlink(missing_ok=True)
        raise


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be made in a folder.

    Not by ``tempfile``, which on Windows takes very long where the folder's rights forbid it
    (CPython issue 66305).
    """
    probe = temporary(folder / "probe")
    with probe.open("xb"):
        pass
    with suppress(OSError):
        patiently(probe.unlink)


def temporary(path: Path, kind: str = "part") -> Path:
    """Return a name beside ``path`` that nothing has yet, and that :func:`sweep` knows as ours.

    It is short, as Windows' paths are, however long the name of ``path``.
    """
    return path.with_name(f".sa2net-{_place()}-{os.getpid()}-{next(_count)}.{kind}")


@contextmanager
def replacing(path: Path, *, existing: bool = True) -> Iterator[Path]:
    """Give a name beside ``path`` for a file or a folder that takes its place if all goes well.

    What killed processes left in the folder is removed. A folder takes no other one's place, nor
    does a file where ``existing`` is false.

    Raises
    ------
    FileExistsError
        If there is something that is not to be replaced.
    OSError
        If it cannot be written, or ``path`` is a device or the like; nothing is left behind then.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "It is no file", str(path))
    if path.parent not in _swept:
        _swept.add(path.parent)
        sweep(path.parent)
    partial = temporary(path)
    try:
        yield partial
        if existing:
            patiently(os.replace, partial, path)
        else:
            move_to_new(partial, path)
    finally:
        remove(partial)


def set_aside(path: Path) -> Path:
    """Move a file or folder out of the way, in one step; return where it is then.

    If the process is killed before :func:`put_back` or ``remove(aside.parent)``, the next one
    puts it back, or removes it where something else has taken its place.
    """
    folder = temporary(path, "old")
    folder.mkdir()
    aside = folder / path.name
    try:
        patiently(os.replace, path, aside)
    except OSError:
        remove(folder)
        raise
    return aside


def put_back(aside: Path) -> None:
    """Bring what was set aside to where it was."""
    patiently(os.replace, aside, aside.parent.parent / aside.name)
    remove(aside.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that is possible."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            patiently(path.unlink, missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes of ours left in a folder; put back what they had set aside.

    Nothing of a process that runs is touched, nor what has a name of another kind. Of processes on
    other computers nobody knows here whether they run: what they left goes after a week.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # it is not there yet, or cannot be looked into
        return
    for name in names:
        match = _OURS.fullmatch(name)
        if match is None:
            continue
        path = folder / name
        with suppress(OSError):  # another process was quicker
            if not _is_abandoned(path, match["place"], int(match["process"])):
                continue
            for aside in path.iterdir() if match["kind"] == "old" else ():
                if not (folder / aside.name).exists():
                    patiently(os.replace, aside, folder / aside.name)
            remove(path)


def _is_abandoned(path: Path, place: str, process: int) -> bool:
    changed = path.lstat().st_mtime
    if place != _place():
        return time.time() - changed > _A_WEEK
    import psutil

    try:
        found = psutil.Process(process)
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(found.create_time() > changed + _SKEW)  # another one has its number now
    except (psutil.NoSuchProcess, OverflowError):
        return True
    except psutil.Error:  # it is another user's
        return False


@cache
def _place() -> str:
    """Return what tells apart computers and containers, whose processes have the same numbers."""
    name = platform.node()
    with suppress(OSError, AttributeError):  # only Linux has it
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]
