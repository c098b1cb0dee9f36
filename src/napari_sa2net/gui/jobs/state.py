"""What is running, in words and numbers, for the window to show."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...engine.events import Evaluated, Progress, StepDone

CHOICES = {"none": "Off", "z": "Through Z", "t": "Through time"}
"""What is shown for a choice, where its name alone would not do."""

Kind = Literal[
    "idle",
    "segment",
    "preview",
    "folder",
    "download",
    "import",
    "save",
    "measure",
    "train",
    "keep",
    "look",
    "rank",
]


@dataclass(frozen=True)
class Note:
    """A line of the message area."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    image: str = ""
    """Id of the layer that it is about; empty if it is about none."""
    name: str = ""
    """Of that layer."""
    beside: str = ""
    """Id of the layer that was chosen when it was told."""

    def is_for(self, image: str) -> bool:
        """Whether it is to be read while the layer of this id is chosen; empty: none is."""
        return not image or not self.image or image in (self.image, self.beside)

    def told_beside(self, image: str) -> Note:
        """Return this as it is told beside another image than the one that it is about."""
        if not image or not self.image or image == self.image:
            return self
        return replace(self, text=f"“{self.name}”: {self.text}")


@dataclass(frozen=True)
class JobState:
    """What is running, as far as a person wants to know."""

    kind: Kind = "idle"
    text: str = ""
    done: int = 0
    total: int = 0
    cancelling: bool = False
    paused: bool = False

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.kind != "idle"


@dataclass
class Clock:
    """Estimates the time left from the progress so far."""

    now: Callable[[], float] = time.monotonic
    _part: tuple[str, int] = ("", 0)
    _start: tuple[float, int] = (0.0, 0)

    def left(self, progress: Progress) -> float | None:
        """Return the seconds left, or None as long as nobody can tell."""
        if self._part != (progress.unit, progress.total):
            self._part = (progress.unit, progress.total)
            self._start = (self.now(), progress.done)
            return None
        seconds, done = self.now() - self._start[0], progress.done - self._start[1]
        if done <= 0 or seconds < 0.5:
            return None
        return seconds / done * (progress.total - progress.done)


def time_text(seconds: float) -> str:
    """Say how long ``seconds`` is, as a person would."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def when_text(when: float) -> str:
    """Say when something was, from seconds since 1970."""
    then = time.localtime(when)
    day = time.strftime("%Y-%m-%d", then)
    today = day == time.strftime("%Y-%m-%d")
    return f"{'today' if today else day} {time.strftime('%H:%M', then)}"


def size_text(size: float) -> str:
    """Say how many bytes ``size`` is."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"


def progress_text(progress: Progress, left: float | None) -> str:
    """Return the line in the progress bar."""
    if progress.unit == "byte":
        text = f"{size_text(progress.done)} of {size_text(progress.total)}"
    elif progress.total > 1:
        text = f"{progress.unit} {progress.done} of {progress.total}"
    else:
        text = progress.text or f"1 {progress.unit}"
    return text if left is None else f"{text}, about {time_text(left)} left"


def step_text(event: StepDone) -> str:
    """Return the line in the progress bar of a training."""
    text = f"step {event.step} of {event.total}"
    return text if event.left is None else f"{text}, about {time_text(event.left)} left"


Point = tuple[float, float]


@dataclass
class History:
    """How a training went so far: each curve a list of (step, value)."""

    curves: dict[str, list[Point]] = field(default_factory=dict)
    """By the names the engine gives: "training loss", "validation Dice", …"""

    def add(self, event: StepDone | Evaluated) -> None:
        """Add what ``event`` tells."""
        if isinstance(event, StepDone):
            self.point("training loss", event.step, event.loss)
            return
        for name, value in event.figures.items():
            self.point(name, event.step, value)

    def point(self, name: str, step: float, value: float) -> None:
        """Add one value to a curve; values that are no numbers are left out."""
        if value == value and abs(value) != float("inf"):
            self.curves.setdefault(name, []).append((float(step), float(value)))

    def curve(self, name: str) -> list[Point]:
        """Return a curve, empty as long as nothing is known of it."""
        return self.curves.get(name, [])


def done_text(result: Any, seconds: float | None = None, *, linkable: bool = True) -> str:
    """Say what was found, and what to do about it.

    Parameters
    ----------
    result
        A Segmentation or a ZarrResult.
    seconds
        How long it took, if that is to be told.
    linkable
        Whether the objects of its planes can be linked.
    """
    parts = [f"Found {result.text}"]
    if seconds is not None:
        parts[0] += f"{',' * (',' in result.text)} in {time_text(seconds)}"
    if result.text.startswith("0 "):
        parts.append("Try a lower threshold, another size, or another model")
    elif result.unlinked:
        parts.append("An object that several planes show counts in each")
        if linkable:
            through = " or ".join(f"“{CHOICES[letter]}”" for letter in result.unlinked.lower())
            parts[-1] += f": to count it once, choose {through} at “Link objects”"
    return f"{'. '.join(parts)}."


def acts_on_text(shown: Any, present: bool, model: str, *, edited: bool = False) -> str:
    """Say which result the label settings change.

    Parameters
    ----------
    shown
        The last result (:class:`~napari_sa2net.gui.writer.Shown`), or None.
    present
        Whether its layer is in the viewer.
    model
        Name of the model chosen, whose settings are shown.
    edited
        Whether a person has edited that layer.
    """
    other = shown is not None and shown.model != model
    if shown is None or (other and not present):
        return "Once there are labels, these change them at once, without running the network."
    if not present and not shown.on_disk:
        return "The last labels were removed: a change makes them again."
    if shown.on_disk:
        found = shown.segmentation.result.text
        return (
            f"“{shown.layer.name}” ({found}) is too large to change at once: what you set here "
            "counts when you press Segment again."
        )
    if other:
        return (
            f"“{shown.layer.name}” was made with {shown.model}: what you set here "
            "counts when you press Segment."
        )
    if edited:
        return (
            f"“{shown.layer.name}” holds your edits and stays as it is: a change here makes new "
            "labels, in a layer below it."
        )
    # While a slider is dragged only one plane is made, and nobody has counted.
    count = "" if shown.labelling is None else f": {shown.segmentation.text}"
    hidden = "" if shown.layer.visible else " (hidden)"
    return f"These change “{shown.layer.name}”{hidden} at once{count}."
