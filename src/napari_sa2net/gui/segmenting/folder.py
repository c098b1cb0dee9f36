"""A folder of images: what is asked for, and how it goes. No widgets here."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.batch.events import FileEnded, FileStarted
from ...engine.errors import InputError
from ...engine.folders import expanded
from ...engine.positions import ALL
from ..channel_chooser import channel_titles
from ..jobs.worker import describe_error
from ..resolve import Choices
from .backend import FolderRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderForm:
    """What the window "Folder of images" shows."""

    images: str = ""
    output: str = ""
    channels: tuple[int | str, ...] | None = None
    """By name, where the images have names; None for what the model wants."""
    channels_problem: str = ""
    """What is still to be said of the channels."""
    save: tuple[str, ...] = ("table",)
    replace: bool = False
    all_positions: bool = False


def resolve_folder(choices: Choices, form: FolderForm, *, here: bool) -> FolderRequest:
    """Return what to run, from what is typed there and chosen in the tab.

    Parameters
    ----------
    choices, form
        Of the tab "Segment" and of the window.
    here
        Whether the model need not be downloaded first.

    Raises
    ------
    InputError
        If something is missing or does not fit.
    """
    if choices.card is None:
        raise InputError("There is no model: press “Import a model file…” in the tab.")
    if not here:
        raise InputError(
            f"The model “{choices.card.name}” is not here yet: press Download in the tab first."
        )
    images = expanded(form.images.strip())
    if not form.images.strip() or not os.path.isdir(images):
        raise InputError(f"“{form.images}” is no folder: choose the one with the images.")
    if form.channels_problem:
        raise InputError(form.channels_problem)
    if not form.output.strip():
        raise InputError("Choose a folder for the results.")
    options = {
        "labelling": choices.labelling,
        "device": choices.device,
        "diameter": choices.diameter,
        "channels": form.channels,
        "flips": choices.flips,
    }
    if choices.pixel_size is not None:  # else what each file says
        options["pixel_size"] = choices.pixel_size
    if form.all_positions:
        options["position"] = ALL
    output = expanded(form.output.strip())
    return FolderRequest(images, output, form.save, form.replace, choices.card.name, options)


def channels_in(folder: str) -> tuple[str, list[str], bool]:
    """Return what the first image in a folder tells of its channels.

    Returns
    -------
    tuple
        The image's name; what each of its channels is called; whether the file names them.
        Of colours, of a single channel and of what cannot be read the list is empty.
    """
    from ...engine.files import list_images, read_info

    if not folder.strip():
        return "", [], False
    try:
        first = next(iter(list_images([expanded(folder.strip())])))
        info = read_info(first)
    except Exception as error:  # whatever a reader raises, the run tells it
        logger.info("the channels of %s are not known: %s", folder, error)
        return "", [], False
    count = info.shape[info.axes.index("C")] if "C" in info.axes else 1
    colours = info.colours or (info.axes.endswith("C") and count in (3, 4))
    if count < 2 or colours:
        return first.name, [], False
    named = len(info.channel_names) == len(set(info.channel_names) - {""}) == count
    return first.name, channel_titles(info.channel_names, count), named


@dataclass
class FolderRun:
    """How far a folder is."""

    output: Path
    number: int = 0
    """Of the file at work, from 1 on."""
    total: int = 0
    name: str = ""
    """Of the file at work."""
    lines: list[str] = field(default_factory=list)
    """One for each file that is over."""
    failures: list[str] = field(default_factory=list)
    """Why files failed."""
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "skipped": 0, "failed": 0})

    def take(self, event: Any) -> None:
        """Take note of an event of the batch."""
        if isinstance(event, FileStarted):
            self.number, self.total, self.name = event.number, event.total, _name(event)
        elif isinstance(event, FileEnded):
            self.counts[event.status] += 1
            name = _name(event)
            if event.error is not None:
                reason = describe_error(event.error)
                self.failures.append(reason if name in reason else f"{name}: {reason}")
                self.lines.append(f"✗ {self.failures[-1]}")
            elif event.status == "skipped":
                self.lines.append(f"– {name}: done before")
            else:
                self.lines.append(f"✓ {name}: {event.text}")

    @property
    def at(self) -> str:
        """Which file is at work, in words."""
        return f"{self.name} ({self.number} of {self.total})" if self.total else ""

    @property
    def summary(self) -> str:
        """How the files went, in words."""
        counts = self.counts
        parts = [f"{counts['done']} done"]
        parts += [f"{counts['skipped']} done before"] * bool(counts["skipped"])
        parts += [f"{counts['failed']} failed"] * bool(counts["failed"])
        left = self.total - sum(counts.values())
        parts += [f"{left} not done"] * (left > 0)
        return ", ".join(parts)


def _name(event: FileStarted | FileEnded) -> str:
    """Return how a person calls the image of an event."""
    name = event.path.name
    return name if event.position is None else f"{name}, position {event.position}"
