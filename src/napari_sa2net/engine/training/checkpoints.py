"""The state of a training on disk: written as it goes, read to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..disk import replacing
from ..errors import TrainingError
from ..pytorch_files import load_data


def read_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """Read a state; a :class:`TrainingError` if it is damaged or belongs to something else."""
    try:
        state: dict[str, Any] = load_data(path)
        known = state["identity"] == identity
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"The training state {path} cannot be read: delete it to begin anew."
        ) from error
    if not known:
        raise TrainingError(
            f"The training state in {path} belongs to other settings: delete it, or train with "
            "the settings it was made with."
        )
    return state


def write_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write a state, in one go: the one before stays until this one is whole.

    Raises
    ------
    OSError
        If it cannot be written, for instance because the disk is full.
    """
    try:
        with replacing(path) as partial:
            torch.save({"identity": identity, **state}, partial)
    except RuntimeError as error:  # torch's own kind for a file that cannot be written
        raise OSError(f"{path} cannot be written: {error}") from error
