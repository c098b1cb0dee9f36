"""What everything that runs a network has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray


class Backend(ABC):
    """Runs one network."""

    ahead: int = 0
    """Batches that are best begun before the maps of an earlier one are fetched."""

    @property
    def half(self) -> bool:
        """Whether it computes in half precision."""
        return False

    def rest(self) -> None:
        """Give back what memory it needs for tiles only; it can go on afterwards."""
        return

    @abstractmethod
    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps (B, maps, H, W), see :class:`.maps.Maps`, of tiles (B, C, H, W)."""

    def start(self, x: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
        """Begin with tiles, which must not change; return what gives their maps."""
        return partial(self.maps, x)
