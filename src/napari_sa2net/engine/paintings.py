"""Paintings as they are kept on disk, so that none is lost.

A painting is cut into blocks of 512² pixels. Each block that holds something is a file of its
own, compressed, and takes the place of its predecessor only when it is complete; a block of
zeros has no file. So whatever happens at whatever moment, what was saved before stays readable,
and a painting never takes more room than its own pixels.

A folder holds any number of sets, one a painting::

    <set>/set.json     shape, type, how many pixels are painted, when
    <set>/about.json   how the layer looked: name, transform, colours (not read here)
    <set>/extra        what it was before it was corrected (not read here)
    <set>/<n>.block    the n-th block
    <set>/lock         locked by the process that paints on it, until that ends, however it ends

On a disk without locks only the process that paints on a set knows that it is open.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .disk import replacing
from .errors import InputError
from .locking import Lock, Unlocked, take
from .painting_blocks import Grid, facts, pack, unpack

log = logging.getLogger(__name__)

INDEX, ABOUT, EXTRA, LOCK = "set.json", "about.json", "extra", "lock"
FORMAT = 1
A_DAY = 86400.0

MOST_BYTES = 10**9
MOST_SETS = 1000


@dataclass(frozen=True)
class Kept:
    """A painting that was left, as a person is shown it."""

    folder: Path
    name: str
    """Of the layer."""
    image: str
    """Name of the image it was painted on; empty if there was none."""
    shape: tuple[int, ...]
    when: datetime
    """When it was last changed, in local time."""
    pixels: int
    """How many are not zero."""
    bytes: int
    """Room it takes on disk."""


class PaintingSet:
    """One painting on disk, open for writing. Make one with :meth:`create` or :meth:`open`.

    Not for several threads at once. Every method that writes raises OSError if it cannot (the
    disk is full, the folder is read-only or gone); what was saved before is still there then.
    """

    def __init__(self, folder: Path, lock: Lock | Unlocked, index: dict[str, Any]) -> None:
        self.folder = folder
        self.grid = Grid(tuple(index["shape"]), (index["sides"][0], index["sides"][1]))
        self.dtype = np.dtype(index["dtype"])
        self._lock: Lock | Unlocked | None = lock
        self._index = index
        self._blocks = {number: facts(path) for number, path in _block_files(folder)}

    @classmethod
    def create(
        cls, parent: Path, shape: Sequence[int], dtype: Any, sides: tuple[int, int]
    ) -> PaintingSet:
        """Make an empty set in ``parent``, for an array of whole numbers.

        Parameters
        ----------
        parent
            Made if need be.
        shape, dtype
            Of the array.
        sides
            Its two axes along which blocks are 512 long: Y and X.
        """
        folder = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        index = {
            "format": FORMAT,
            "shape": [int(n) for n in shape],
            "dtype": np.dtype(dtype).str,
            "sides": [int(axis) for axis in sides],
            "name": "",
            "image": "",
            "changed": time.time(),
            "pixels": 0,
            "bytes": 0,
        }
        lock = take(folder / LOCK)
        try:
            if lock is None:
                raise OSError(f"{folder} cannot be locked.")
            found = cls(folder, lock, index)
            found.commit("", "")
        except OSError:
            if lock is not None:
                lock.close()  # Windows removes no open file
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return found

    @classmethod
    def open(cls, folder: Path) -> PaintingSet:
        """Open a set that was left, to go on with it.

        Raises
        ------
        InputError
            If it is gone or damaged, or open elsewhere.
        """
        index = _read_index(folder)
        if index is None:
            raise InputError(
                "This painting is no longer there: it was discarded, or removed to make room "
                "for newer ones."
            )
        lock = take(folder / LOCK, patient=True)
        if lock is None or not (folder / INDEX).exists():
            if lock is not None:
                lock.close()
            raise InputError(
                "This painting is open in another napari: close the layer there first, or paint "
                "on there."
            )
        return cls(folder, lock, index)

    @property
    def pixels(self) -> int:
        """How many pixels are not zero, as far as saved."""
        return sum(pixels for pixels, _ in self._blocks.values())

    @property
    def size(self) -> int:
        """Bytes it takes on disk."""
        blocks = sum(size for _, size in self._blocks.values())
        with suppress(OSError):
            return blocks + (self.folder / EXTRA).stat().st_size
        return blocks

    @property
    def numbers(self) -> list[int]:
        """The blocks that have a file."""
        return list(self._blocks)

    @property
    def is_there(self) -> bool:
        """Whether nobody removed it meanwhile."""
        return (self.folder / INDEX).exists()

    def write(self, number: int, pixels: NDArray[Any], *, sync: bool = True) -> None:
        """Save one block.

        Parameters
        ----------
        number
            Which; see :class:`Grid`.
        pixels
            Its whole content, which nobody changes meanwhile; a block of zeros loses its file.
        sync
            Wait until it is on the disk itself, so that it also survives a power cut.
        """
        path = self.folder / f"{number}.block"
        painted = int(np.count_nonzero(pixels))
        if not painted:
            path.unlink(missing_ok=True)
            self._blocks.pop(number, None)
            return
        packed = pack(pixels, painted)
        _replace(path, packed, sync=sync)
        self._blocks[number] = (painted, len(packed))

    def commit(self, name: str, image: str, *, sync: bool = True) -> None:
        """Note what is saved and when, for the list of paintings."""
        self._index.update(
            dtype=self.dtype.str,
            name=name,
            image=image,
            changed=time.time(),
            pixels=self.pixels,
            bytes=self.size,
        )
        _replace(self.folder / INDEX, json.dumps(self._index).encode(), sync=sync)

    def describe(self, about: dict[str, Any]) -> None:
        """Keep ``about`` beside the blocks: plain values, as JSON can hold."""
        _replace(self.folder / ABOUT, json.dumps(about).encode(), sync=False)

    def about(self) -> dict[str, Any]:
        """Return what :meth:`describe` kept; empty if nothing usable is there."""
        return _read_json(self.folder / ABOUT) or {}

    def attach(self, content: bytes) -> None:
        """Keep something large beside the blocks, which seldom changes."""
        _replace(self.folder / EXTRA, content, sync=False)

    def attached(self) -> bytes:
        """Return what :meth:`attach` kept; empty if there is nothing."""
        with suppress(OSError):
            return (self.folder / EXTRA).read_bytes()
        return b""

    def read(self) -> tuple[NDArray[Any], int]:
        """Return the painting, and how many blocks of it are damaged (zeros stand there)."""
        array = np.zeros(self.grid.shape, dtype=self.dtype)
        damaged = 0
        for number in self.numbers:
            place = self.grid.slices(number)
            try:
                block = unpack((self.folder / f"{number}.block").read_bytes())
                array[place] = block.reshape(array[place].shape)
            except (OSError, ValueError) as error:
                log.warning("Block %d of %s is damaged: %s", number, self.folder, error)
                del self._blocks[number]
                damaged += 1
        return array, damaged

    def close(self) -> None:
        """Let go of it, so that it is offered; one in which nothing is painted is removed."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        if not self._blocks:
            with suppress(OSError):  # it is not offered, and removed some day
                _remove(self.folder, lock)
        lock.close()

    def abandon(self) -> None:
        """Let go of it as it is, because someone removed its files."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def list_kept(parent: Path) -> list[Kept]:
    """Return the paintings in ``parent`` that nobody has open, the latest first."""
    found = []
    for folder, index in _sets(parent):
        lock = take(folder / LOCK) if index["pixels"] else None
        if lock is not None:
            lock.close()
            found.append(_kept(folder, index))
    return sorted(found, key=lambda kept: kept.when, reverse=True)


def forget(kept: Kept) -> None:
    """Remove a painting for good; nothing happens if it is gone or open elsewhere.

    Raises
    ------
    OSError
        If its files cannot be removed.
    """
    lock = take(kept.folder / LOCK, patient=True)
    if lock is not None:
        _remove(kept.folder, lock)


def make_room(
    parent: Path, most_bytes: int = MOST_BYTES, most_sets: int = MOST_SETS
) -> tuple[int, int]:
    """Remove the oldest paintings that nobody has open until the rest is within bounds.

    Parameters
    ----------
    parent
        The folder of all sets.
    most_bytes, most_sets
        What all sets together may take, those that are open counted.

    Returns
    -------
    tuple of int
        Bytes left, and how many sets were removed.
    """
    _remove_remains(parent)
    sets = [_kept(folder, index) for folder, index in _sets(parent)]
    total, count, removed = sum(kept.bytes for kept in sets), len(sets), 0
    for kept in sorted(sets, key=lambda kept: kept.when):
        if total <= most_bytes and count <= most_sets:
            break
        lock = take(kept.folder / LOCK)
        if lock is None:
            continue
        if isinstance(lock, Unlocked) and time.time() - kept.when.timestamp() < A_DAY:
            lock.close()  # another process may be painting on it
            continue
        with suppress(OSError):
            _remove(kept.folder, lock)
            total, count, removed = total - kept.bytes, count - 1, removed + 1
    return total, removed


def _sets(parent: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each set in ``parent`` with its index."""
    try:
        folders = sorted(path for path in parent.iterdir() if path.is_dir())
    except OSError:
        return
    for folder in folders:
        index = _read_index(folder)
        if index is not None:
            yield folder, index


def _kept(folder: Path, index: dict[str, Any]) -> Kept:
    return Kept(
        folder,
        str(index["name"]),
        str(index["image"]),
        tuple(index["shape"]),
        datetime.fromtimestamp(index["changed"]).astimezone(),
        int(index["pixels"]),
        int(index["bytes"]),
    )


def _read_index(folder: Path) -> dict[str, Any] | None:
    index = _read_json(folder / INDEX)
    wanted = {"shape", "dtype", "sides", "name", "image", "changed", "pixels", "bytes"}
    if index is None or index.get("format") != FORMAT or not wanted <= index.keys():
        return None
    return index


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _block_files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("*.block"):
        if path.stem.isdecimal():
            yield int(path.stem), path


def _replace(path: Path, content: bytes, *, sync: bool) -> None:
    """Write a file that takes the place of the old one only when it is complete."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(content)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _remove_remains(parent: Path) -> None:
    """Remove folders without an index, as a crash while making or removing a set leaves them."""
    with suppress(OSError):
        for folder in [path for path in parent.iterdir() if path.is_dir()]:
            old = time.time() - folder.stat().st_mtime > A_DAY
            if old and not (folder / INDEX).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path, lock: Lock | Unlocked) -> None:
    """Remove a set whose lock is ours; the index first, so that never half a set is offered."""
    try:
        (folder / INDEX).unlink(missing_ok=True)
    finally:
        lock.close()  # Windows removes no open file
    shutil.rmtree(folder)
