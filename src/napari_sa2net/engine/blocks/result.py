"""What a run tells as it goes, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..events import Progress
from .store import ATTRIBUTE, Store, import_zarr


@dataclass(frozen=True)
class BlockDone(Progress):
    """A block has gone through a phase."""

    phase: str = ""
    """``normalise``, ``measure``, ``label``, ``relabel``, or ``pyramid-1`` and so on."""


@dataclass(frozen=True)
class ZarrResult:
    """A finished result on disk."""

    path: Path
    """The OME-Zarr folder: int32 labels, full resolution first."""
    count: int
    """Objects; 0 if the labels are classes."""
    result: str
    """``instances`` or ``classes``."""
    tiles: int
    """Tiles of all planes."""
    skipped: int
    """Tiles that were left out because there is nothing in them."""
    messages: tuple[str, ...] = ()
    """What a person should know: choices, fallbacks, warnings."""

    @property
    def text(self) -> str:
        """What was found, in words."""
        if self.result == "classes":
            return "classes"
        return f"{self.count} object{'s' if self.count != 1 else ''}"

    @property
    def labels(self) -> Any:
        """The full resolution, a zarr array that is read when indexed."""
        return import_zarr().open_array(str(self.path / "0"), mode="r")


def finished_result(store: Store) -> ZarrResult:
    """Return what a finished result says of itself."""
    made = store.attributes()[ATTRIBUTE]
    return ZarrResult(
        store.path,
        made["objects"],
        made["identity"]["settings"]["result"],
        made["tiles"],
        made["skipped_tiles"],
        tuple(made["messages"]),
    )
