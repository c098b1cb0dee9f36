"""Files that another program has open for a moment, and folders that cannot be written."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

WINDOWS = sys.platform == "win32"
TRIES, PAUSE = 20, 0.05
"""How often to try again, and seconds between two tries."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


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
    probe = folder / f".{uuid.uuid4().hex[:8]}.part"
    with probe.open("xb"):
        pass
    with suppress(OSError):
        patiently(probe.unlink)
