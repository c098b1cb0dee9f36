"""Never lose a painting: saving it as one works, and offering what was left."""

from __future__ import annotations

from .keeper import PaintingKeeper, keeper_of
from .panel import KeptPanel

__all__ = ["KeptPanel", "PaintingKeeper", "keeper_of"]
