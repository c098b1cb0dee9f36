"""Names and other texts from outside, shown as they are: never as HTML, never as a mnemonic."""

from __future__ import annotations

import html

UNSEEN = "\u2060"
"""A word joiner: nothing to see, and no tag has one in its name."""


def no_mnemonic(text: str) -> str:
    """Return ``text`` for a button, or a label with a buddy, where “&” would underline a letter."""
    return text.replace("&", "&&")


def tooltip(text: str) -> str:
    """Return ``text`` for a tooltip that wraps, and shows all of it as it is."""
    return f"<qt>{html.escape(text)}</qt>".replace("\n", "<br>")


def not_html(text: str) -> str:
    """Return ``text`` for a label of napari's that would take it for HTML if it looks like that."""
    return text.replace("<", f"<{UNSEEN}").replace("&", f"&{UNSEEN}")
