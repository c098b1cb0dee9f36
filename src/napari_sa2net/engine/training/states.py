"""A fine-tuning on disk: all that is needed to go on with it, in a folder of its own.

``training.json`` says what it is and how far it came, ``samples.npz`` holds the painted pieces
of the images, ``start.safetensors`` the start model, ``state.pt`` the weights and the rest that
changes, and ``trained.safetensors`` the result once there is one.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk
from ..errors import SA2NetError, TrainingError
from ..files import replacing
from ..folders import trainings_folder
from ..image_file import fitting
from ..locking import can_lock, try_lock
from ..registry import free_name

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the folder's layout."""

LOCK = "lock"
"""File that a running training holds."""

PLAN, SAMPLES, START, STATE, TRAINED = (
    "training.json",
    "samples.npz",
    "start.safetensors",
    "state.pt",
    "trained.safetensors",
)


@dataclass(frozen=True)
class SavedState:
    """A training that can be gone on with, or whose result is kept."""

    path: Path
    """Its folder."""
    name: str
    step: int
    total: int
    """Steps in all, as far as known."""
    when: float
    """When it was last written, in seconds since 1970."""
    finished: bool
    """The result is there."""
    images: tuple[str, ...] = ()


def new_state(name: str) -> Path:
    """Return a folder for the state of a training, where the window looks for them too."""
    _sweep(trainings_folder())
    return (
        trainings_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{fitting(free_name(name, set()))}"
    )


def _sweep(parent: Path) -> None:
    """Remove the folders of trainings that were killed before there was anything to go on with."""
    own = {LOCK, SAMPLES, START}
    for folder in parent.iterdir() if parent.is_dir() else ():
        with suppress(OSError):
            held = {path.name for path in folder.iterdir() if not path.match(disk.OURS)}
            if LOCK not in held or not held <= own:
                continue
            lock = try_lock(folder / LOCK)
            if lock is not None:  # nothing runs there
                lock.close()
                disk.remove(folder)


def list_states(folder: str | Path) -> list[SavedState]:
    """Return the trainings kept in a folder, the latest first; quick, and without torch.

    Those that are running are not among them.
    """
    found = []
    for path in Path(folder).glob(f"*/{PLAN}"):
        lock = try_lock(path.with_name(LOCK))
        if lock is not None:
            lock.close()
        elif can_lock(path.parent):
            continue
        try:
            found.append(_entry(path.parent, read_plan(path.parent)))
        except (TrainingError, KeyError, TypeError, ValueError, OverflowError) as error:
            logger.warning("Training left out: %s", error)
    return sorted(found, key=lambda state: state.when, reverse=True)


def _entry(folder: Path, plan: dict[str, Any]) -> SavedState:
    return SavedState(
        folder,
        str(plan["name"]),
        int(plan["step"]),
        int(plan["total"]),
        float(plan["when"]),
        bool(plan["finished"]),
        tuple(map(str, plan["images"])),
    )


def delete_state(folder: str | Path) -> None:
    """Delete the folder of a training, if it is one.

    Raises
    ------
    TrainingError
        If it is something else, is running, or cannot be deleted.
    """
    folder = Path(folder)
    if not (folder / PLAN).is_file():
        raise TrainingError(f"{folder} does not hold a training: nothing was deleted.")
    with running(folder):
        pass  # it is not
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be deleted: {error}.") from error


def read_plan(folder: Path) -> dict[str, Any]:
    """Read what a training is and how far it came.

    Raises
    ------
    TrainingError
        If there is none, it is damaged, or of a newer version.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        version = int(plan["version"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TrainingError(
            f"{folder} holds no training that can be continued ({error}). Start a new one."
        ) from error
    if version > VERSION:
        raise TrainingError(
            f"The training in {folder} was made by a newer version of napari-sa2net: update it."
        )
    return plan


def write_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write what a training is and how far it came.

    Raises
    ------
    SA2NetError
        If it cannot be written.
    """
    text = json.dumps({**plan, "version": VERSION, "when": time.time()}, indent=1)
    with replacing(folder / PLAN) as partial:
        partial.write_text(text, encoding="utf-8")


def write_samples(folder: Path, samples: Sequence[Any]) -> None:
    """Write samples, compressed.

    Raises
    ------
    SA2NetError
        If they cannot be written.
    """
    arrays: dict[str, Any] = {}
    table = []
    for i, sample in enumerate(samples):
        plain = {}
        for field in fields(sample):
            value = getattr(sample, field.name)
            if isinstance(value, np.ndarray):
                arrays[f"{i}.{field.name}"] = value
            else:
                plain[field.name] = value
        table.append(plain)
    arrays["table"] = np.frombuffer(json.dumps(table).encode(), np.uint8)
    with replacing(folder / SAMPLES) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_samples(folder: Path) -> list[Any]:
    """Read what :func:`write_samples` wrote.

    Raises
    ------
    TrainingError
        If it is missing or damaged.
    """
    from .samples import Sample

    try:
        with np.load(folder / SAMPLES, allow_pickle=False) as found:
            table = json.loads(found["table"].tobytes())
            arrays: list[dict[str, Any]] = [{} for _ in table]
            for key in found.files:
                number, _, name = key.partition(".")
                if name:
                    arrays[int(number)][name] = found[key]
        known = {field.name for field in fields(Sample)}
        samples = []
        for plain, held in zip(table, arrays, strict=True):
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
            samples.append(Sample(**{k: v for k, v in {**values, **held}.items() if k in known}))
    except Exception as error:  # what damaged data raises is not limited to a few kinds
        raise TrainingError(
            f"The painted pieces in {folder} cannot be read ({error}): train anew from the images."
        ) from error
    return samples


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Keep others from a training while it runs, where the disk has locks.

    Raises
    ------
    TrainingError
        If it is running already, here or in another program.
    """
    lock = try_lock(folder / LOCK, patient=True)
    if lock is None and can_lock(folder):
        raise TrainingError(
            f"The training in {folder} is running, perhaps in another napari: wait until it ends, "
            "or stop it there."
        )
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
        if not (folder / PLAN).exists():  # there was nothing to keep
            with suppress(OSError):
                (folder / LOCK).unlink()


def ready(folder: Path) -> None:
    """Make the folder, or see that it can be written to.

    Raises
    ------
    TrainingError
        If it holds another training already.
    SA2NetError
        If it cannot be written to.
    """
    if (folder / PLAN).exists():
        raise TrainingError(
            f"{folder} holds a training already: go on with it, delete it, or choose another "
            "folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SA2NetError(f"{folder} cannot be made: {error}. Choose another folder.") from error
