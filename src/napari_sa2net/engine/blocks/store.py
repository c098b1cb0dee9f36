"""The result on disk, the working files beside it, and what is done already."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import disk
from ..disk import patiently, replacing
from ..errors import InputError, SA2NetError
from ..omezarr import ZARR_EXTRA

ATTRIBUTE = "napari-sa2net"
"""Of the result's group: what made it."""
WORK = ".napari-sa2net"
"""Folder of the working files inside the result; it is removed at the end."""
MAKING = len(".01234567.part")
"""Characters that what is in the making has at the end of its name."""
_RUNS = "runs"
"""Folder of the one working file that tells which run may write. A file of a new name is seen
at once also on a network disk."""
_CHUNK_IN_WRITING = re.compile(r".*\.[0-9a-f]{32}\.partial")
"""What zarr calls a chunk until it is whole."""


def import_zarr() -> Any:
    """Return the package zarr.

    Raises
    ------
    InputError
        If zarr 3 is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            f"Writing OME-Zarr needs the package zarr: install it with  {ZARR_EXTRA}"
        ) from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise InputError(f"Writing OME-Zarr 0.5 needs zarr 3: update it with  {ZARR_EXTRA}")
    return zarr


class Store:
    """A result in the making.

    A block's files are written first and its marker last, so that what a marker stands for is
    whole. The description of the image (``multiscales``) is written at the very end: until
    then no program takes the result for finished.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.work = self.path / WORK

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        # Another process has another current folder.
        return Store, (self.path.absolute(),)

    # --- The whole ----------------------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether there is anything at the path."""
        return self.path.exists()

    def identity(self) -> dict[str, Any] | None:
        """Return what a result, finished or not, is made from; None if it is not one of ours."""
        for file in (self.work / "job.json", self.path / "zarr.json"):
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if file.name == "job.json":
                return dict(content)
            found = content.get("attributes", {}).get(ATTRIBUTE)
            if found is not None:
                return dict(found["identity"])
        return None

    def finished(self) -> bool:
        """Tell whether a result is complete; it may be being measured."""
        return self.identity() is not None and not (self.work / "job.json").exists()

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a finished result."""
        content = json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))
        return dict(content["attributes"])

    def claimed(self) -> set[str]:
        """Return the kinds of files beside the result that belong to it, or are to be made."""
        kinds = (self.read_json("claimed.json") or {}).get("kinds", [])
        if self.finished():
            kinds = [*kinds, *self.attributes()[ATTRIBUTE].get("saved", ())]
        return set(kinds)

    def claim(self, kinds: Iterable[str]) -> None:
        """Note the kinds of files that belong to the result from now on."""
        self.write_json("claimed.json", {"kinds": sorted(kinds)})

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Make the folder, with what is to be made written in it; in one step."""
        with replacing(self.path) as partial:
            Store(partial).write_json("job.json", identity)

    def begin_run(self) -> str:
        """Let a new run write here; return its name. Whatever runs still from before must stop."""
        shutil.rmtree(self.work / _RUNS, ignore_errors=True)
        run = uuid.uuid4().hex
        self.write_json(f"{_RUNS}/{run}.json", {})
        return run

    def check_run(self, run: str) -> None:
        """See that a run may still write here.

        Raises
        ------
        SA2NetError
            If it was ended, or another one has begun.
        """
        if self.read_json(f"{_RUNS}/{run}.json") is None:
            raise SA2NetError(f"This run on {self.path} was ended, or another one has begun.")

    def end_run(self, run: str) -> None:
        """Let a run write no more; leave no empty folders in a finished result."""
        (self.work / _RUNS / f"{run}.json").unlink(missing_ok=True)
        with suppress(OSError):  # there is something in them
            (self.work / _RUNS).rmdir()
            self.work.rmdir()

    def set_aside(self) -> Path:
        """Move a result of ours out of the way, in one step; return where it is then.

        Raises
        ------
        InputError
            If it is something else, which is never moved.
        """
        if self.identity() is None:
            raise InputError(
                f"{self.path} exists and was not written by sa2net segment, so it is not "
                "replaced: give another name, or remove it yourself."
            )
        return disk.set_aside(self.path)

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Write the attributes and remove the working files."""
        zarr = import_zarr()
        group = zarr.open_group(str(self.path), mode="r+")
        patiently(group.attrs.update, attributes)
        self.tidy()

    def tidy(self) -> None:
        """Remove the working files, if there are any."""
        if not self.work.exists():
            return
        # What tells that the result is unfinished goes first, in one step.
        rubbish = disk.temporary(self.work)
        patiently(os.replace, self.work, rubbish)
        disk.remove(rubbish)

    def sweep(self) -> None:
        """Remove what a run left that was killed, zarr's own half-written chunks too."""
        disk.sweep(self.path)
        for level in self.path.glob("[0-9]*"):
            for path in level.rglob("*.partial"):
                if _CHUNK_IN_WRITING.fullmatch(path.name):
                    disk.remove(path)

    # --- Arrays -------------------------------------------------------------------------------

    def create_result(self) -> None:
        """Make the group that will hold the levels."""
        import_zarr().open_group(str(self.path), mode="a", zarr_format=3)

    def level(self, number: int) -> Any:
        """Open a level of the result."""
        return self._open(self.path / str(number))

    def create_level(self, number: int, shape: Sequence[int], chunk: int, axes: str) -> None:
        """Make a level, unless it is there; ``axes`` are its letters."""
        chunks = (*(1 for _ in shape[:-2]), chunk, chunk)
        names = list(axes.lower())
        self._create(self.path / str(number), shape, chunks, np.int32, dimension_names=names)

    def working(self, name: str) -> Any:
        """Open a working array."""
        return self._open(self.work / name)

    def create_working(
        self, name: str, shape: Sequence[int], chunks: Sequence[int], dtype: Any
    ) -> None:
        """Make a working array, unless it is there."""
        self._create(self.work / name, shape, chunks, dtype)

    def _open(self, path: Path) -> Any:
        return import_zarr().open_array(str(path), mode="r+")

    def _create(
        self, path: Path, shape: Sequence[int], chunks: Sequence[int], dtype: Any, **more: Any
    ) -> None:
        if (path / "zarr.json").is_file():
            return
        zarr = import_zarr()
        # Not if it is there: another run may have made it just now.
        with suppress(zarr.errors.ContainsArrayError):
            zarr.create_array(
                str(path),
                shape=tuple(shape),
                chunks=tuple(chunks),
                dtype=dtype,
                fill_value=0,
                zarr_format=3,
                **more,
            )

    # --- Files and markers --------------------------------------------------------------------

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small file, at once or not at all."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(json.dumps(content), encoding="utf-8")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return what was written, or None."""
        try:
            return dict(json.loads((self.work / name).read_text(encoding="utf-8")))
        except OSError:
            return None

    def need_json(self, name: str) -> dict[str, Any]:
        """Return what was written.

        Raises
        ------
        SA2NetError
            If it is not there.
        """
        content = self.read_json(name)
        if content is None:
            raise self._missing(name)
        return content

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write small arrays into one file, at once or not at all."""
        path = self.work / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, open(partial, "wb") as file:
            named: dict[str, Any] = arrays  # savez has other keywords too since NumPy 2.2
            np.savez(file, **named)

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Return what was written, or None."""
        try:
            with np.load(self.work / f"{name}.npz") as file:
                return dict(file)
        except FileNotFoundError:
            return None

    def need_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what was written.

        Raises
        ------
        SA2NetError
            If it is not there.
        """
        arrays = self.read_arrays(name)
        if arrays is None:
            raise self._missing(name)
        return arrays

    def _missing(self, name: str) -> SA2NetError:
        return SA2NetError(
            f"The working file {name} of {self.path} is missing: begin again with --overwrite "
            "(overwrite=True)."
        )

    def remove_arrays(self, name: str) -> None:
        """Remove a file of arrays, if it is there."""
        (self.work / f"{name}.npz").unlink(missing_ok=True)

    def mark(self, phase: str, number: int, **content: Any) -> None:
        """Note that a phase has finished a block, and what there is to say of it."""
        self.write_json(f"done/{phase}/{number}.json", content)

    def marked(self, phase: str, number: int) -> bool:
        """Tell whether a phase has finished a block."""
        return (self.work / "done" / phase / f"{number}.json").is_file()

    def marks(self, phase: str) -> dict[int, dict[str, Any]]:
        """Return the blocks that a phase has finished, with what was noted."""
        folder = self.work / "done" / phase
        return {
            int(path.stem): json.loads(path.read_text(encoding="utf-8"))
            for path in folder.glob("*.json")
        }


def differences(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """Return what differs between two identities, for a person."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{where}{key} ")
        elif one != other and key == "fingerprint":
            found.append("the image has other values")
        elif one != other:
            found.append(f"{where}{key} was {one}, now {other}")
    return found
