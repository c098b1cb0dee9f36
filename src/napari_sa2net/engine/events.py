"""Progress events: what the engine's generators yield while they work.

Long work is a plain generator that yields events and returns its result. Whoever drives it
decides what happens between two events: draw a bar, update a window, stop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar


@dataclass(frozen=True)
class Event:
    """Base of all progress events."""


@dataclass(frozen=True)
class Message(Event):
    """Something a person should read: a choice that was made, a fallback, a warning."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` units of work are finished."""

    done: int
    total: int
    unit: str = "tile"
    text: str = ""


@dataclass(frozen=True)
class StepDone(Event):
    """A training step is done."""

    step: int
    total: int
    loss: float
    learning_rate: float
    seconds: float
    left: float | None = None
    """Seconds of training still to come, if that can be told."""


@dataclass(frozen=True)
class Evaluated(Event):
    """The network was scored during training."""

    step: int
    figures: dict[str, float] = field(default_factory=dict)
    best: bool = False
    """It is the best so far."""


@dataclass(frozen=True)
class Downloaded(Event):
    """A model that was not here is here now."""

    name: str


@dataclass(frozen=True)
class Previewed(Event):
    """What the network in training makes of an image that was asked for."""

    step: int
    token: Any = field(compare=False)
    """Whatever came with the image."""
    foreground: Any = field(repr=False, compare=False)
    """(H, W) float32, 0 to 1: probability of not being background, at the image's own size."""


@dataclass(frozen=True)
class Compared(Event):
    """The start model and the trained one were compared."""

    comparison: Any
    """A :class:`~napari_sa2net.engine.training.comparison.Comparison`."""


Result = TypeVar("Result")


def run(
    generator: Generator[Event, None, Result],
    on_event: Callable[[Event], None] | None = None,
) -> Result:
    """Drive a generator of events to its end and return its result.

    Parameters
    ----------
    generator
        The work, as returned by a function of the engine.
    on_event
        Called with every event. If it raises, the generator is closed, so that it frees
        what it holds, and the exception goes on to the caller.
    """
    try:
        while True:
            try:
                event = next(generator)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            if on_event is not None:
                on_event(event)
    finally:
        generator.close()
