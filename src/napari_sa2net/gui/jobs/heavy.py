"""One heavy job at a time in a viewer: two would slow each other, and fill the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...engine.errors import InputError
from .lifetime import owned_by

WHAT = {
    "segment": (
        "An image is being segmented in the tab “Segment”: wait until that is done, or press "
        "Cancel there."
    ),
    "folder": (
        "A folder of images is being segmented: wait until that is done, or press Cancel in the "
        "tab “Segment” (what is done is kept)."
    ),
    "measure": (
        "The objects of a large image are being measured: wait until that is done, or press "
        "Cancel in the tab “Segment” (what is done is kept)."
    ),
    "train": (
        "A model is being fine-tuned in the tab “Correct & fine-tune”: wait until that is done, "
        "or press Stop there (the best so far is kept). Preview works meanwhile."
    ),
    "rank": (
        "The models are being tried on what you painted in the tab “Correct & fine-tune”: it "
        "takes a moment, or press Stop there."
    ),
    "look": "The next place to paint at is being looked for: it takes a moment.",
}
"""What is said to whoever wants to start another, by what is running."""


@dataclass
class HeavyJob:
    """Which heavy job of a viewer is running, if any."""

    kind: str = ""


def heavy_job_of(viewer: Any) -> HeavyJob:
    """Return what is known of the heavy job of ``viewer``."""
    return owned_by(viewer, "heavy job", HeavyJob)


def begin(viewer: Any, kind: str) -> None:
    """Note that a heavy job begins.

    Raises
    ------
    InputError
        If another one is running.
    """
    job = heavy_job_of(viewer)
    if job.kind and job.kind != kind:
        raise InputError(WHAT[job.kind])
    job.kind = kind


def end(viewer: Any, kind: str) -> None:
    """Note that the job is over; nothing to do if the viewer (None) is."""
    if viewer is None:
        return
    job = heavy_job_of(viewer)
    if job.kind == kind:
        job.kind = ""
