"""The state of a training on disk: written as it goes, read to go on."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..network import SA2Net


def read_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """Read a state; a :class:`TrainingError` if it is damaged or belongs to something else."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        known = state["identity"] == identity
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"The training state {path} cannot be read: delete it to begin anew."
        ) from error
    if not known:
        raise TrainingError(
            f"The training state in {path} belongs to other settings: delete it, or train with "
            "the settings it was made with."
        )
    return state


def write_checkpoint(
    path: Path,
    identity: str,
    network: SA2Net,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    extra: dict[str, Any],
) -> None:
    """Write a state, in one go: the one before stays until this one is whole."""
    state = {
        "identity": identity,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        **extra,
    }
    partial = path.with_name(path.name + ".part")
    torch.save(state, partial)
    os.replace(partial, path)
