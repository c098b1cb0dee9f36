"""Work that must be on the main thread, done in short pieces between which the window lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, QTimer

PIECE = 0.01
"""Seconds of work between two looks at the window's events."""


class Stepwise(QObject):  # type: ignore[misc]
    """Drives a generator on the main thread.

    Parameters
    ----------
    steps
        Yields often; what it returns goes to ``done``.
    done, failed
        Called with the result, or with what was raised; neither after :meth:`cancel`.
    """

    def __init__(
        self,
        steps: Generator[Any, None, Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._steps, self._done, self._failed = steps, done, failed
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._piece)

    def start(self) -> None:
        """Begin, when the window has drawn."""
        self._timer.start()

    def cancel(self) -> None:
        """Give up."""
        self._timer.stop()
        self._steps.close()

    def _piece(self) -> None:
        end = time.monotonic() + PIECE
        try:
            while time.monotonic() < end:
                next(self._steps)
        except StopIteration as stop:
            self._timer.stop()
            self._done(stop.value)
        except Exception as error:
            self._timer.stop()
            self._failed(error)
