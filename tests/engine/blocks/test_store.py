"""What is written beside a result, whatever the system and the versions of the packages."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_sa2net.engine import disk
from napari_sa2net.engine.axes import Stack
from napari_sa2net.engine.blocks.phases import Shown
from napari_sa2net.engine.blocks.plan import Block
from napari_sa2net.engine.blocks.pyramid import Pyramid, shrink
from napari_sa2net.engine.blocks.store import Store

LABELS = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)


def test_arrays_are_read_as_they_were_written_by_an_older_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 2.2 ``savez`` took every keyword for the name of an array."""

    def savez(file: Any, **arrays: Any) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asanyarray(array))

    monkeypatch.setattr(np, "savez", savez)
    store = Store(tmp_path)
    store.write_arrays("radii/1", radii=LABELS[0])
    found = store.need_arrays("radii/1")
    assert list(found) == ["radii"]
    assert_array_equal(found["radii"], LABELS[0])


class _Level:
    """A level of which each write fails some times, as while its chunk is read on Windows."""

    def __init__(self, fails: int) -> None:
        self.pixels, self._fails = np.zeros((64, 64), np.int32), fails

    def __setitem__(self, where: Any, part: Any) -> None:
        if self._fails:
            self._fails -= 1
            raise PermissionError(13, "The process cannot access the file")
        self.pixels[where] = part


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[_Level]]:
    """Return a function that writes a block to levels that fail so many times each."""
    monkeypatch.setattr(disk, "WINDOWS", True)
    monkeypatch.setattr(disk.time, "sleep", lambda _: None)

    def go(*fails: int) -> list[_Level]:
        levels = [_Level(times) for times in fails]
        monkeypatch.setattr(Store, "level", lambda _, number: levels[number])
        shown = Shown(Stack("YX", (64, 64)), Pyramid("YX", (64, 64), 32), every_level=True)
        shown.write(Store(Path()), BLOCK, LABELS)
        return levels

    return go


BLOCK = Block(0, 0, 0, (0, 0), (0, 0, 64, 64))


def test_a_block_is_written_while_someone_looks_at_it(write: Callable[..., list[_Level]]) -> None:
    full, half = write(3, 3)
    assert_array_equal(full.pixels, LABELS)
    assert_array_equal(half.pixels[:32, :32], LABELS[::2, ::2])


def test_only_a_coarse_level_may_be_left_as_it_is(write: Callable[..., list[_Level]]) -> None:
    """It is made again at the end; then it must be written."""
    full, half = write(0, 1000)
    assert_array_equal(full.pixels, LABELS)
    assert not half.pixels.any()
    with pytest.raises(PermissionError):
        write(1000, 0)
    level = _Level(3)
    shrink(LABELS, level, Block(0, 0, 0, (0, 0), (0, 0, 32, 32)), ())
    assert_array_equal(level.pixels[:32, :32], LABELS[::2, ::2])
    with pytest.raises(PermissionError):
        shrink(LABELS, _Level(1000), Block(0, 0, 0, (0, 0), (0, 0, 32, 32)), ())
