"""Where a model came from, in words: what its card's ``extra`` holds, and its figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .cards import ModelCard

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_MOST = 8
"""Entries of a list that are shown."""
_SILENT = ("history", "imported_sha256")
"""What would tell a person nothing in words."""


def origin(card: ModelCard) -> list[tuple[str, str]]:
    """Return what a model was made from and how well it does, as (label, text).

    What a later version, or somebody else, has put into the card is shown as it is.
    """
    told = dict(card.extra)
    parent = " ".join(filter(None, (_words(told.pop(k, "")) for k in ("parent", "parent_sha256"))))
    comparison = told.pop("comparison", None)
    if isinstance(comparison, Mapping):
        comparison = comparison.get("text", comparison)
    lines = [
        ("fine-tuned from", parent),
        ("mean of", ", ".join(f"{m.name} {_words(m.sha256)}" for m in card.members)),
        ("training data", card.training_data),
        ("before and after", _words(comparison)),
        *((key.replace("_", " ").replace("sha256", "SHA-256"), _words(value))
          for key, value in told.items() if key not in _SILENT),
    ]  # fmt: skip
    for figure in card.figures:
        command = f"  ({figure.command})" if figure.command else ""
        lines.append(("figure", f"{figure.name} {figure.value:g}{command}"))
    return [(label, text) for label, text in lines if text]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        named = {str(k): _words(v) for k, v in value.items() if k not in _SILENT}
        return ", ".join(f"{k.replace('_', ' ')} {text}" for k, text in named.items() if text)
    if isinstance(value, (list, tuple)):
        more = f" and {len(value) - _MOST} more" if len(value) > _MOST else ""
        return ", ".join(filter(None, map(_words, value[:_MOST]))) + more
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else " ".join(str(value).split())
    return f"{text[:12]}…" if _HASH.match(text) else text
