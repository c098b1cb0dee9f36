"""The list of paintings that were left, with what can be done with each."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...engine.errors import SA2NetError
from ...engine.paintings import Kept
from .. import asking
from ..jobs.state import when_text
from ..look import Refitted
from ..plain import tooltip
from ..wrapping import WrappedLabel
from .keeper import PaintingKeeper

MOST = 3
"""Paintings shown without scrolling."""


def kept_text(kept: Kept) -> str:
    """Return two lines that tell a person which painting it is."""
    on = f" on {kept.image}" if kept.image and kept.image not in kept.name else ""
    when = when_text(kept.when.timestamp())
    size = " × ".join(str(n) for n in kept.shape)
    return f"{kept.name}{on}\n{when} · {kept.pixels:,} pixels painted · {size}"


class KeptPanel(QWidget):  # type: ignore[misc]
    """Offers what was left by a crash, a closed viewer or a deleted layer; empty if nothing was.

    ``restored`` carries the new layer.

    Parameters
    ----------
    keeper
        Of the viewer the panel is in.
    """

    restored = Signal(object)

    def __init__(self, keeper: PaintingKeeper) -> None:
        super().__init__()
        self._keeper = keeper
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.problem = WrappedLabel()
        self.problem.hide()
        self._list = QWidget()
        self._rows = QVBoxLayout(self._list)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._scroll = QScrollArea()
        self._scroll.setAccessibleName("Paintings that were left")
        self._scroll.setWidget(self._list)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self._scroll)
        layout.addWidget(self.problem)
        self.offered: list[Kept] = []
        self.refresh()
        keeper.changed.connect(self.refresh)
        Refitted(self, self._fit)

    def _fit(self) -> None:
        """Show the first rows as a whole; the others are scrolled to."""
        rows = [self._rows.itemAt(at).widget() for at in range(min(MOST, self._rows.count()))]
        gaps = self._rows.spacing() * max(0, len(rows) - 1)
        borders = 2 * self._scroll.frameWidth()
        heights = [row.sizeHint().height() for row in rows]
        self._scroll.setFixedHeight(sum(heights) + gaps + borders)

    def refresh(self) -> None:
        """Show what is left now."""
        self.offered = self._keeper.offers()
        while self._rows.count():
            row = self._rows.takeAt(0).widget()
            row.hide()
            row.deleteLater()
        for kept in self.offered:
            row = self._row(kept)
            self._rows.addWidget(row)
            row.show()  # until then a list that is on the screen has no room for it
        count = len(self.offered)
        what = "A painting was" if count == 1 else f"{count} paintings were"
        self.title.setText(f"<b>{what} left</b> and can be restored:")
        self._fit()
        self.title.setVisible(count > 0)
        self._scroll.setVisible(count > 0)

    def restore(self, kept: Kept) -> None:
        """Add the painting as a layer."""
        self._say("")
        try:
            layer = self._keeper.restore(kept)
        except SA2NetError as error:
            self.refresh()
            self._say(str(error))
            return
        self.restored.emit(layer)

    def discard(self, kept: Kept) -> None:
        """Remove the painting for good, after asking."""
        self._say("")
        if not self.ask(f"{kept_text(kept)}\n\nIt is removed for good."):
            return
        try:
            self._keeper.forget(kept)
        except SA2NetError as error:
            self._say(str(error))

    def ask(self, question: str) -> bool:
        """Ask whether a painting may go; no is the default."""
        button = asking.Button
        return asking.ask(
            self,
            question,
            title="Discard the painting?",
            agree=button.Discard,
            refuse=button.Cancel,
            default=button.Cancel,
        )

    def _say(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def _row(self, kept: Kept) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 2, 0, 2)
        label = _Lines(f"{kept.name}\n{when_text(kept.when.timestamp())} · {kept.pixels:,} px")
        label.setToolTip(tooltip(f"{kept_text(kept)}\n{kept.folder}"))
        layout.addWidget(label, 1)
        for text, tip, act in (
            ("Restore", "Add it as a layer, over its image if that is open.", self.restore),
            ("Discard", "Remove it for good.", self.discard),
        ):
            button = QPushButton(text)
            button.setToolTip(f"<qt>{tip}</qt>")
            button.setAccessibleName(f"{text} {kept.name}")
            button.clicked.connect(partial(_call, act, kept))
            layout.addWidget(button)
        return row

    def showEvent(self, event: Any) -> None:
        """Look again; and learn which window this is in, as closing it saves what is pending."""
        super().showEvent(event)
        self.refresh()
        self._keeper.watch_window_of(self)


class _Lines(QLabel):  # type: ignore[misc]
    """Lines of text, each cut with an ellipsis where there is no room for all of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def resizeEvent(self, event: Any) -> None:
        """Cut the lines anew."""
        super().resizeEvent(event)
        cut, width = Qt.TextElideMode.ElideMiddle, self.contentsRect().width()
        lines = (
            self.fontMetrics().elidedText(line, cut, width) for line in self._text.splitlines()
        )
        self.setText("\n".join(lines))


def _call(act: Any, kept: Kept, *_: Any) -> None:
    act(kept)
