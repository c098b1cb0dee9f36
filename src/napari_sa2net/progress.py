"""How far the engine's work is, on stderr: a bar in a terminal, plain lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .engine.events import Evaluated, Event, Message, Progress, StepDone

EVERY = 30.0
"""Seconds after which there is a line again."""
SHARE, SOONEST = 0.1, 5.0
"""A line comes sooner where this share of the work is done since the last, and so many seconds."""


class ProgressBar:
    """Shows events on stderr, as a bar or as lines; pass it as ``on_event``.

    In a terminal there is a bar. Elsewhere (a log file, a cluster's job) there are plain lines:
    one at the start, one now and then, and one at the end of a ``with`` that went well.

    Parameters
    ----------
    description
        Shown before the bar, or at the start of each line.
    on_message
        Called with every :class:`Message`; the bar is out of the way meanwhile.
    force
        Draw the bar even where stderr is no terminal (a notebook).
    quiet
        Show neither.
    clock
        Returns the time in seconds.
    """

    def __init__(
        self,
        description: str = "",
        on_message: Callable[[Message], None] | None = None,
        *,
        force: bool = False,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_message = on_message
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = _Bar(description) if (terminal or force) and not quiet else None
        lines = self._bar is None and sys.stderr is not None and not quiet
        self._lines = _Lines(description, clock) if lines else None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._lines is not None:
            self._lines.begin()
        if isinstance(event, Message):
            if self._on_message is not None:
                with tqdm.external_write_mode():
                    self._on_message(event)
        elif isinstance(event, Progress):
            self._show(event.done, event.total, event.unit)
        elif isinstance(event, StepDone):
            self._show(event.step, event.total, "step", f"loss {event.loss:.3f}", event.left)
        elif isinstance(event, Evaluated):
            self._scored(event)

    def _show(
        self, done: int, total: int, unit: str, said: str = "", left: float | None = None
    ) -> None:
        for view in (self._bar, self._lines):
            if view is not None:
                view.show(done, total, unit, said, left)

    def _scored(self, event: Evaluated) -> None:
        """Show figures in the bar, or as a line where there is none."""
        texts = [f"{name} {value:.3f}" for name, value in event.figures.items()]
        if self._bar is not None and self._bar.drawn:
            dice = [text for text in texts if "Dice" in text]
            held_out = [text for text in dice if text.startswith("validation")]
            self._bar.figures = (held_out or dice or texts)[:1]
        elif self._on_message is not None:
            self(Message(f"Step {event.step}: {', '.join(texts)}"))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._lines is not None and kind is None:
            self._lines.end()


class _Bar:
    """A bar, drawn from the first event on."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._bar: tqdm[Any] | None = None
        self._unit = ""
        self.figures: list[str] = []

    @property
    def drawn(self) -> bool:
        return self._bar is not None

    def show(self, done: int, total: int, unit: str, said: str, left: float | None) -> None:
        bytewise = unit == "byte"
        if self._bar is None or self._unit != unit:
            self.close()
            self._unit = unit
            self._bar = tqdm(
                total=total or None,
                desc=self._description or None,
                unit="B" if bytewise else unit,
                unit_scale=bytewise,
                miniters=1,  # steps are slow and uneven: no guessing when to draw
                leave=False,
            )
        if said:
            said = ", ".join([said, *self.figures, *_left(left)])
        self._bar.total = total or None
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    """Plain lines, each whole in itself."""

    def __init__(self, description: str, clock: Callable[[], float]) -> None:
        self._start = f"{description}: " if description else ""
        self._clock = clock
        self._began: float | None = None
        self._unit, self._since, self._from = "", 0.0, 0  # when and where this unit began
        self._told_at, self._told_share = 0.0, 0.0
        self._amount = ""

    def begin(self) -> None:
        """Tell that the work begins, once."""
        if self._began is None:
            self._began = self._told_at = self._clock()
            self._write("begins")

    def show(self, done: int, total: int, unit: str, said: str, left: float | None) -> None:
        now, share = self._clock(), done / total if total else 0.0
        if unit != self._unit:
            self._unit, self._since, self._from, self._told_share = unit, now, done, share
        self._amount = ", ".join(filter(None, [_amount(done, total, unit), said]))
        waited = now - self._told_at
        further = round(share - self._told_share, 9)
        if waited < (SOONEST if further >= SHARE else EVERY):
            return
        self._told_at, self._told_share = now, share
        took = now - self._since
        if left is None and total and done > self._from and took >= SOONEST:
            left = took * (total - done) / (done - self._from)
        self._write(", ".join([self._amount, *_left(left)]))

    def end(self) -> None:
        """Tell that the work is done, if it had begun."""
        if self._began is not None:
            amount = f" ({self._amount})" if self._amount else ""
            self._write(f"done in {_time(self._clock() - self._began)}{amount}")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"{self._start}{text}\n")
        sys.stderr.flush()


def _amount(done: int, total: int, unit: str) -> str:
    """Return ``3 of 12 tiles (25 %)``."""
    share = f" ({done / total:.0%})".replace("%", " %") if total else ""
    if unit == "byte":
        return f"{done / 1e6:.1f}{f' of {total / 1e6:.1f}' if total else ''} MB{share}"
    number = total or done
    return f"{done}{f' of {total}' if total else ''} {unit}{'s' * (number != 1)}{share}"


def _left(seconds: float | None) -> list[str]:
    return [] if seconds is None else [f"{_time(seconds)} left"]


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
