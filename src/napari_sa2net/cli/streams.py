"""What goes to a terminal: control characters of cards and file names are shown, not obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

HIDDEN = ("Cc", "Cf", "Zl", "Zp")
"""Categories of characters that do something instead of being seen: escapes, and those that
turn the direction of what follows."""
SEEN = "\u200d\u00ad"
"""Of these, what belongs to writing: the joiner of some scripts, the soft hyphen."""


def visible(text: str, keep: str = "") -> str:
    """Return ``text`` with control characters as Python writes them, ``\\x1b`` for example.

    Parameters
    ----------
    keep
        Control characters that stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        repr(letter)[1:-1]
        if unicodedata.category(letter) in HIDDEN and letter not in keep + SEEN
        else letter
        for letter in text
    )


def one_line(text: str) -> str:
    """Return ``text`` in one line: what a card or a file name holds must not begin another."""
    return visible(" ".join(text.split()))


class VisibleStream:
    """A stream that shows what would move the cursor, colour the text or name the window."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``; a return at its beginning is that of a progress bar."""
        start = text[: len(text) - len(text.lstrip("\r"))]
        self._stream.write(start + visible(text[len(start) :], keep="\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def visible_streams(stdout: Any, stderr: Any) -> Iterator[None]:
    """Have all that is printed go through a :class:`VisibleStream`, warnings and logs too."""
    with redirect_stdout(VisibleStream(stdout)), redirect_stderr(VisibleStream(stderr)):
        yield
