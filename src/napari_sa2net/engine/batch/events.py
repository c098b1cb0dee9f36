"""What a batch tells while it works, and at its end. Quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..events import Event


@dataclass(frozen=True)
class FileStarted(Event):
    """Work on a file begins."""

    path: Path
    number: int
    """From 1 on."""
    total: int
    position: int | None = None
    """Which image of the file, where it was asked for."""


@dataclass(frozen=True)
class FileEnded(Event):
    """Work on a file is over."""

    path: Path
    number: int
    total: int
    status: Literal["done", "skipped", "failed"]
    target: Path
    """Its labels."""
    found: int = 0
    """Objects, or classes where the result is classes (``done`` only)."""
    text: str = ""
    """What was found, in words (``done`` only)."""
    unlinked: str = ""
    """The axes, of ``"TZ"``, through which an object has another number in each plane (``done``
    only)."""
    error: Exception | None = field(default=None, repr=False, compare=False)
    """Why it failed."""
    position: int | None = None
    """Which image of the file, where it was asked for."""


@dataclass(frozen=True)
class BatchResult:
    """How each of many files went."""

    done: tuple[Path, ...] = ()
    skipped: tuple[Path, ...] = ()
    """Were done already."""
    failed: tuple[tuple[Path, str], ...] = ()
    """With the reason."""
