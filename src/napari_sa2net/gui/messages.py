"""The message area: what happened, and what to do."""

from __future__ import annotations

import html

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QContextMenuEvent, QGuiApplication, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QFrame, QMenu, QScrollArea

from .jobs.state import Note
from .look import Refitted
from .wrapping import BREAK, WrappedLabel

COLORS = {"info": "#3d8fd1", "warning": "#e0a030", "error": "#e05353"}
TITLES = {"info": "", "warning": "Note: ", "error": "Problem: "}
MOST = 130
"""Height in pixels above which the area scrolls."""


class _Text(WrappedLabel):
    """Text that can be selected, and is copied as it was said: file names should be usable."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy what is selected."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Offer to copy what is selected."""
        menu = QMenu(self)
        menu.addAction("Copy", self.copy).setEnabled(self.hasSelectedText())
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

    def copy(self) -> None:
        """Put what is selected on the clipboard."""
        if self.hasSelectedText():
            text = self.selectedText().replace(BREAK, "").replace("\u2029", "\n")
            QGuiApplication.clipboard().setText(text)


class MessageArea(QScrollArea):  # type: ignore[misc]
    """Shows notes, as high as they need; hidden when there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.label = _Text(rich=True)
        self.label.setContentsMargins(4, 4, 4, 4)
        self.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.label.setAccessibleName("Messages")
        self.setAccessibleName("Messages")
        self.setWidget(self.label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # A new text has its room only after it was laid out.
        self.verticalScrollBar().rangeChanged.connect(self._show_last)
        Refitted(self, self._fit)
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
        self._show_last()

    def _show_last(self, *_: int) -> None:
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())
