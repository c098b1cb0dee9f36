"""Running the engine's generators for somebody who waits for the result."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from .engine import events, weights
from .engine.events import Event, Message
from .progress import ProgressBar

EventHandler = Callable[[Event], None]
Result = TypeVar("Result")


def download(model: Any, progress: bool, on_event: EventHandler | None) -> None:
    """Download a model that is asked for by its name and is not here yet."""
    if isinstance(model, str):
        entries = weights.available_models()
        if any(entry.name == model and entry.path is None for entry in entries):
            drive(weights.fetch(model), f"Downloading {model}", progress, on_event)


def drive(
    work: Generator[Event, None, Result],
    description: str,
    progress: bool,
    on_event: EventHandler | None,
) -> Result:
    """Run to the end; messages with a warning become Python warnings unless somebody listens."""

    def warn(message: Message) -> None:
        if message.warning and on_event is None:
            warnings.warn(message.text, UserWarning, stacklevel=_outside())

    with ProgressBar(description, warn, force=True) as bar:

        def handle(event: Event) -> None:
            if isinstance(event, Message):
                warn(event)
            elif progress:
                bar(event)
            if on_event is not None:
                on_event(event)

        return events.run(work, handle)


def _outside() -> int:
    """Return the stack level, for a warning of the caller, of the code that uses this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("napari_sa2net"):
        level, frame = level + 1, frame.f_back
    return level
