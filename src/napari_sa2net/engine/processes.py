"""Which of several processes this is, where ``torchrun`` started it. Without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessPlace:
    """A process among those that do one piece of work."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """Among those on its computer."""

    def __str__(self) -> str:
        return f"process {self.rank + 1} of {self.count}" if self.count > 1 else ""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes files and talks."""
        return self.rank == 0

    @classmethod
    def of_environment(cls) -> ProcessPlace:
        """Return where this process is; alone, if nothing else is said."""
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
            return cls()
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        return cls(rank, count, int(os.environ.get("LOCAL_RANK", rank)))
