"""The record in a labels file of what made it: by it a batch knows what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from ..model_files import Model, model_digest
from ..scaling import default_labelling
from ..segmentation import SegmentOptions
from .origin import Origin

KEY = "napari-sa2net"
"""Of the one entry of the JSON text in a labels file's description."""

_NO_MATTER = (
    *("device", "backend", "precision", "batch"),
    *("keep", "planes", "map_planes", "relabel"),
)
"""Options that change nothing, or nothing to speak of, in the labels of a file."""


@dataclass(frozen=True)
class Record:
    """What made the labels of a file."""

    model: str
    digest: str
    """Of the model: see :func:`~napari_sa2net.engine.model_files.model_digest`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As asked for, in plain JSON values; what is left to each file is None."""
    saved: tuple[str, ...] = ()
    """What was written besides the labels, and before them."""
    version: str = ""
    """Of this package."""
    image: Origin | None = None
    """Which image it is of; not known of results of versions up to 0.1."""

    def text(self) -> str:
        """Return this as JSON."""
        return json.dumps({KEY: asdict(self)}, sort_keys=True)

    def difference(self, earlier: Record) -> str:
        """Say in what an earlier record differs so that its results would; empty if it does not."""
        if self.digest != earlier.digest:
            same = self.model == earlier.model
            return f"{'another version of ' if same else ''}the model {earlier.model!r}"
        mine, other = _flat(self.settings), _flat(earlier.settings)
        different = [
            f"{name} {_word(other.get(name))}"
            for name in dict.fromkeys([*mine, *other])
            if mine.get(name) != other.get(name)
        ]
        return ", ".join(different)

    def other_image(self, earlier: Record) -> Origin | None:
        """Return the image of an earlier record, if that is another one than this record's.

        One that was moved or copied is the same, and so is one whose content was replaced.
        """
        mine, other = self.image, earlier.image
        if mine is None or other is None or mine.digest == other.digest or other.is_at(mine.path):
            return None
        return other


def record_of(model: Model, options: SegmentOptions, saved: tuple[str, ...]) -> Record:
    """Return the record of results to be made with a model and options."""
    from ... import __version__

    settings = asdict(options)
    settings["labelling"] = asdict(options.labelling or default_labelling(model.card, options))
    for name in _NO_MATTER:
        del settings[name]
    plain = json.loads(json.dumps(settings))
    return Record(model.card.name, model_digest(model), plain, tuple(sorted(saved)), __version__)


def read_record(path: Path) -> Record | None:
    """Return the record in a labels file; None if the file is not ours, or damaged."""
    try:
        with tifffile.TiffFile(path) as tiff:
            root = ElementTree.fromstring(tiff.ome_metadata or "")
        texts = (e.text for e in root.iter() if e.tag.rpartition("}")[2] == "Description")
        told = json.loads(next(texts, None) or "")[KEY]
        return Record(
            str(told["model"]),
            str(told["digest"]),
            dict(told["settings"]),
            tuple(told["saved"]),
            str(told["version"]),
            Origin.from_json(told.get("image")),
        )
    except Exception:  # a file of another program can hold anything
        return None


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    labelling = settings.get("labelling")
    inner = labelling if isinstance(labelling, Mapping) else {}
    # Earlier versions wrote down some of what does not matter.
    outer = {k: v for k, v in settings.items() if k not in ("labelling", *_NO_MATTER)}
    return outer | dict(inner)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not given" if value is None else str(value)
