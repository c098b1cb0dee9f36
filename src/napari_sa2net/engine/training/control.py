"""How a training is told to end early. Importing it does not import torch."""

from __future__ import annotations

import threading


class Control:
    """Ends a training early, with the best so far; may be used from any thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        """End after the step that is under way."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the training is to end."""
        return self._stop.is_set()
