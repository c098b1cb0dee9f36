"""Labels that wrap long names: Qt breaks lines at spaces only, and file names have none."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

BREAK = "\u200b"
"""A zero-width space: nothing to see, but a line may end there."""

LONGEST = 16
"""Characters of a word, or of a part of one, that stay on one line."""

_PARTS = re.compile(r"(<[^>]*>|\s+)")
_CHARACTERS = re.compile(r"&#?\w+;|.", re.DOTALL)


def breakable(text: str, *, rich: bool = False) -> str:
    """Return ``text`` with places where a line may end within its long words.

    Parameters
    ----------
    text
        Shorter words stay as they are.
    rich
        Whether it is HTML: tags and entities are not touched.
    """
    if not rich:
        return "".join(_broken(list(part)) for part in re.split(r"(\s+)", text))
    return "".join(
        part if part.startswith("<") else _broken(_CHARACTERS.findall(part))
        for part in _PARTS.split(text)
    )


def _broken(characters: list[str]) -> str:
    """Allow breaks after _ - . / and the like, and within what is long without any."""
    if len(characters) <= LONGEST:
        return "".join(characters)
    found, length = "", 0
    for here, after in zip(characters, [*characters[1:], ""], strict=True):
        found += here
        length += 1
        # Letters only, so that nothing is taken off the letter it belongs to.
        long = length >= LONGEST and here.isalnum() and after.isalnum()
        if after and (here in "_-./\\:,;+=" or long):
            found += BREAK
            length = 0
    return found


class WrappedLabel(QLabel):  # type: ignore[misc]
    """A label that wraps, however long the words are. ``text()`` is what was set.

    Parameters
    ----------
    text
        Shown first.
    rich
        Whether its texts are HTML; else they are shown as they are.
    """

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, rich: bool = False
    ) -> None:
        super().__init__(parent)
        self._text, self._rich = "", rich
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
        self.setText(text)

    def text(self) -> str:
        """Return the text without the breaks."""
        return self._text

    def setText(self, text: str) -> None:
        """Show ``text``."""
        self._text = text
        super().setText(breakable(text, rich=self._rich))
