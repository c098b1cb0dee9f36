"""Trainings that were left from before: unfinished, or with a result that was not kept."""

from __future__ import annotations

import html
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ..jobs.state import when_text
from ..wrapping import WrappedLabel

MOST = 4
"""Offers shown at once; the others follow when these are decided."""


def training_text(saved: Any) -> str:
    """Return a line about an unfinished training, as rich text."""
    name = html.escape(str(saved.name or "a model"))
    if saved.finished:
        return f"<b>{name}</b> is trained but was not kept yet ({when_text(saved.when)})."
    return (
        f"The training of <b>{name}</b> stopped at step {saved.step} of {saved.total} "
        f"({when_text(saved.when)})."
    )


class Offers(QWidget):  # type: ignore[misc]
    """A list of things with two buttons each; hidden when it is empty.

    ``taken`` and ``refused`` carry the thing.
    """

    taken = Signal(object)
    refused = Signal(object)

    def __init__(self, take: str, refuse: str, tips: tuple[str, str]) -> None:
        super().__init__()
        self._take, self._refuse, self._tips = take, refuse, tips
        self.buttons: list[tuple[QPushButton, QPushButton]] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._frames: list[QFrame] = []
        self.hide()

    def show_offers(self, offers: list[tuple[Any, str]], *, busy: bool = False) -> None:
        """Show things with a line of rich text each; ``busy``: none can be taken up now."""
        for frame in self._frames:
            self._column.removeWidget(frame)
            frame.hide()
            frame.deleteLater()
        self._frames, self.buttons = [], []
        for thing, text in offers[:MOST]:
            self._add(thing, text, busy)
        self.setVisible(bool(offers))

    def _add(self, thing: Any, text: str, busy: bool) -> None:
        frame = QFrame()
        frame.setFrameShape(QFrame.Shape.StyledPanel)
        label = WrappedLabel(text, rich=True)
        take, refuse = QPushButton(self._take), QPushButton(self._refuse)
        take.setToolTip(self._tips[0])
        refuse.setToolTip(self._tips[1])
        take.setEnabled(not busy)
        take.clicked.connect(lambda _: self.taken.emit(thing))
        refuse.clicked.connect(lambda _: self.refused.emit(thing))
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(take, 1)
        row.addWidget(refuse, 1)
        column = QVBoxLayout(frame)
        column.setContentsMargins(6, 4, 6, 4)
        column.addWidget(label)
        column.addLayout(row)
        self._column.addWidget(frame)
        self._frames.append(frame)
        self.buttons.append((take, refuse))
