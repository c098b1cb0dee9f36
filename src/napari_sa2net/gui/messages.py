"""The message area: what happened, and what to do."""

from __future__ import annotations

import html

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from .jobs.state import Note

COLORS = {"info": "#3d8fd1", "warning": "#e0a030", "error": "#e05353"}
TITLES = {"info": "", "warning": "Note: ", "error": "Problem: "}
MOST = 130
"""Height in pixels above which the area scrolls."""


class MessageArea(QScrollArea):  # type: ignore[misc]
    """Shows notes, as high as they need; hidden when there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setContentsMargins(4, 4, 4, 4)
        self.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.label.setAccessibleName("Messages")
        self.setWidget(self.label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.hide()

    def show_notes(self, notes: list[Note]) -> None:
        """Show ``notes``, the last one below."""
        text = "".join(
            f'<p style="margin: 0 0 4px 0"><span style="color: {COLORS[note.level]}">■</span> '
            f"<b>{TITLES[note.level]}</b>{html.escape(note.text)}</p>"
            for note in notes
        )
        if text == self.label.text():
            return
        self.label.setText(text)
        self.setVisible(bool(notes))
        self._fit()

    def resizeEvent(self, event: object) -> None:
        """Adapt the height to the new width."""
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        """Ask for the height of the text."""
        width = max(self.viewport().width(), 200)
        return QSize(width, min(MOST, self.label.heightForWidth(width) + 4))

    def _fit(self) -> None:
        self.setFixedHeight(self.sizeHint().height())
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())
