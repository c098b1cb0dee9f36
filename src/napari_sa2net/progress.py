"""A progress bar in the terminal for the engine's events."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .engine.events import Evaluated, Event, Message, Progress, StepDone


class ProgressBar:
    """Shows events as a bar on stderr; pass it as ``on_event``.

    Parameters
    ----------
    description
        Shown before the bar.
    on_message
        Called with every :class:`Message`; the bar is out of the way meanwhile.
    force
        Draw the bar even where stderr is no terminal (a notebook, a log file).
    """

    def __init__(
        self,
        description: str = "",
        on_message: Callable[[Message], None] | None = None,
        *,
        force: bool = False,
    ) -> None:
        self.description = description
        self._on_message = on_message
        self._disable = False if force else None  # None: tqdm looks for a terminal
        self._bar: tqdm[Any] | None = None
        self._figures: list[str] = []
        self._unit = ""  # a bar that is switched off does not know its own

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Message):
            if self._on_message is not None:
                with tqdm.external_write_mode():
                    self._on_message(event)
        elif isinstance(event, Progress):
            self._show(event.done, event.total, event.unit)
        elif isinstance(event, StepDone):
            said = [f"loss {event.loss:.3f}", *self._figures]
            if event.left is not None:
                said.append(f"{_time(event.left)} left")
            self._show(event.step, event.total, "step", ", ".join(said))
        elif isinstance(event, Evaluated):
            self._scored(event)

    def _scored(self, event: Evaluated) -> None:
        """Show figures in the bar, or as a line where there is none."""
        texts = [f"{name} {value:.3f}" for name, value in event.figures.items()]
        if self._bar is not None and not self._bar.disable:
            dice = [text for text in texts if "Dice" in text]
            held_out = [text for text in dice if text.startswith("validation")]
            self._figures = (held_out or dice or texts)[:1]
        elif self._on_message is not None:
            self(Message(f"Step {event.step}: {', '.join(texts)}"))

    def _show(self, done: int, total: int, unit: str, said: str = "") -> None:
        bytewise = unit == "byte"
        name = "B" if bytewise else unit
        if self._bar is None or self._unit != unit:
            self.close()
            self._unit = unit
            self._bar = tqdm(
                total=total or None,
                desc=self.description or None,
                unit=name,
                unit_scale=bytewise,
                miniters=1,  # steps are slow and uneven: no guessing when to draw
                leave=False,
                disable=self._disable,
            )
        self._bar.total = total or None
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
