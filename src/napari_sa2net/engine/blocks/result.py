"""What a run tells as it goes, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..batch.kinds import ENDINGS
from ..events import Progress
from ..found import classes_text, objects_text, unlinked_axes
from ..image_file import stem
from ..instances import LabelSettings
from .store import ATTRIBUTE, Store, import_zarr


@dataclass(frozen=True)
class BlockDone(Progress):
    """A block has gone through a phase."""

    phase: str = ""
    """``normalise``, ``measure``, ``label``, ``relabel``, ``pyramid-1`` and so on, ``sum``,
    ``trace``."""


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
    saved: Mapping[str, Path] = field(default_factory=dict)
    """The files beside it by their kind: ``table``, ``geojson``, ``rois``."""
    planes: Mapping[str, int] = field(default_factory=dict)
    """How many planes there are along ``T`` and ``Z``, as far as there are these axes."""
    classes: tuple[str, ...] = ()
    """Names of the model's classes, without the background and those that only separate."""

    @property
    def text(self) -> str:
        """What was found, in words."""
        if self.result == "classes":
            return classes_text(self.classes, self.planes)
        return objects_text(self.count, self.planes, LabelSettings())

    @property
    def unlinked(self) -> str:
        """The axes, of ``"TZ"``, through which an object has another number in each plane."""
        return "" if self.result == "classes" else unlinked_axes(self.planes, LabelSettings())

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
        {kind: beside(store.path, kind) for kind in made.get("saved", ())},
        made.get("planes", {}),
        tuple(made.get("classes", ())),
    )


def beside(path: Path, kind: str) -> Path:
    """Return the file of a kind, beside the result and named as beside an image."""
    return path.with_name(f"{stem(path)}{ENDINGS[kind]}")
