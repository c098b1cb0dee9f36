"""Paintings on disk: what was saved stays readable, whatever happens, in bounded room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_sa2net.engine import locking, paintings
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.painting_blocks import Grid, pack, unpack
from napari_sa2net.engine.paintings import PaintingSet, forget, list_kept, make_room


def save(
    folder: Path, array: np.ndarray, sides: tuple[int, int] = (0, 1), name: str = "a"
) -> PaintingSet:
    kept = PaintingSet.create(folder, array.shape, array.dtype, sides)
    for number in range(len(kept.grid)):
        kept.write(number, array[kept.grid.slices(number)])
    kept.describe({"name": name})
    kept.commit(name, "cells")
    return kept


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((700, 1100), (0, 1)), ((2, 3, 600, 40), (2, 3)), ((513, 512, 2), (0, 1)), ((5, 7), (1, 0))],
)
def test_blocks_cover_an_array_once(shape: tuple[int, ...], sides: tuple[int, int]) -> None:
    grid = Grid(shape, sides)
    seen = np.zeros(shape, int)
    for number in range(len(grid)):
        block = seen[grid.slices(number)]
        block += 1
        assert block.size <= 512 * 512
    assert (seen == 1).all()
    assert grid.within([(0, n) for n in shape]) == list(range(len(grid)))


def test_blocks_of_a_box() -> None:
    grid = Grid((3, 2000, 2000), (1, 2))
    assert grid.within([(1, 2), (500, 520), (0, 1)]) == [16, 20]
    assert grid.within([(1, 2), (-50, 10), (1990, 5000)]) == [19]
    assert grid.within([(3, 4), (0, 1), (0, 1)]) == []


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 3, 255], np.uint64),
        np.array([0, 3, 2**40], np.int64),
        np.array([-(2**40), 3, 2**62], np.int64),
        np.array([-1, 0, 100], np.int8),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([0, 70_000], ">u4"),
        np.array([False, True]),
    ],
)
def test_a_block_keeps_its_values(values: np.ndarray) -> None:
    assert_array_equal(unpack(pack(values, 2)).astype(values.dtype), values)


@pytest.mark.parametrize("damage", [b"", b"SA2b", None])
def test_a_damaged_block_is_told(damage: bytes | None) -> None:
    packed = bytearray(pack(np.arange(100), 99))
    if damage is None:
        packed[-20] ^= 1
        damage = bytes(packed)
    with pytest.raises(ValueError, match=r"block|checksum"):
        unpack(damage)


def test_there_and_back(tmp_path: Path) -> None:
    array = np.zeros((3, 700, 900), np.int32)
    array[1, 500:530, 20:60] = 7
    array[2, 690:, 890:] = 100_000
    kept = save(tmp_path, array, (1, 2), "strokes")
    assert list_kept(tmp_path) == []  # it is open
    with pytest.raises(InputError, match="open in another napari"):
        PaintingSet.open(kept.folder)
    kept.close()

    (offer,) = list_kept(tmp_path)
    assert (offer.name, offer.image, offer.shape) == ("strokes", "cells", (3, 700, 900))
    assert offer.pixels == np.count_nonzero(array)
    assert 0 < offer.bytes < 5000
    again = PaintingSet.open(offer.folder)
    found, damaged = again.read()
    assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert damaged == 0
    assert again.about() == {"name": "strokes"}
    again.close()


def test_blocks_of_zeros_take_no_room(tmp_path: Path) -> None:
    array = np.zeros((2000, 2000), np.uint8)
    array[100, 100] = 1
    kept = save(tmp_path, array)
    assert kept.numbers == [0]
    kept.write(0, np.zeros((512, 512), np.uint8))
    assert not list(kept.folder.glob("*.block"))
    kept.close()
    assert not kept.folder.exists()  # an empty one is not kept
    assert list_kept(tmp_path) == []


def test_what_a_crash_leaves(tmp_path: Path) -> None:
    array = np.ones((600, 600), np.uint8)
    kept = save(tmp_path, array)
    (kept.folder / "1.block.part").write_bytes(b"half")
    (kept.folder / "2.block").write_bytes(b"")
    kept.close()
    again = PaintingSet.open(list_kept(tmp_path)[0].folder)
    found, damaged = again.read()
    assert damaged == 1
    assert (found[:512] == 1).all()
    assert not found[512:, :512].any()
    again.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99}'])
def test_a_set_that_cannot_be_read_is_left_alone(tmp_path: Path, content: bytes) -> None:
    kept = save(tmp_path, np.ones((9, 9), np.uint8))
    kept.close()
    (kept.folder / "set.json").write_bytes(content)
    assert list_kept(tmp_path) == []
    with pytest.raises(InputError, match="no longer there"):
        PaintingSet.open(kept.folder)
    make_room(tmp_path, 0, 0)
    assert (kept.folder / "set.json").exists()  # of a later version, perhaps


def test_the_oldest_make_room(tmp_path: Path) -> None:
    sets = [save(tmp_path, np.ones((9, 9), np.uint8), name=str(i)) for i in range(5)]
    for age, kept in enumerate(sets):
        index = json.loads((kept.folder / "set.json").read_bytes())
        (kept.folder / "set.json").write_text(json.dumps({**index, "changed": 1000.0 + age}))
    for kept in sets[1:]:
        kept.close()
    _, removed = make_room(tmp_path, most_sets=3)
    assert removed == 2
    assert [kept.name for kept in list_kept(tmp_path)] == ["4", "3"]
    total, removed = make_room(tmp_path, most_bytes=0)
    assert removed == 2
    assert total == sets[0].size  # never one that is open
    assert sets[0].is_there
    sets[0].close()


def test_remains_are_removed_after_a_day(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.block").write_bytes(b"x")
    os.utime(tmp_path / "old", (1, 1))
    make_room(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_forgetting(tmp_path: Path) -> None:
    kept = save(tmp_path, np.ones((9, 9), np.uint8))
    kept.close()
    (offer,) = list_kept(tmp_path)
    forget(offer)
    forget(offer)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_has_no_paintings(tmp_path: Path) -> None:
    assert list_kept(tmp_path / "nowhere") == []
    assert make_room(tmp_path / "nowhere") == (0, 0)


def test_a_failed_write_leaves_the_old_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.ones((9, 9), np.uint8)
    kept = save(tmp_path, array)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paintings.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept.write(0, array * 2)
    with pytest.raises(OSError, match="No space"):
        PaintingSet.create(tmp_path, (9, 9), np.uint8, (0, 1))
    assert_array_equal(kept.read()[0], array)
    assert not list(tmp_path.rglob("*.part"))
    kept.close()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be one that has no locks, as some network disks."""

    def refuse(path: Path) -> None:
        path.open("a+b").close()
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locking, "Lock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_paintings_are_kept_where_the_disk_has_no_locks(tmp_path: Path) -> None:
    array = np.ones((9, 9), np.uint8)
    kept = save(tmp_path, array)
    assert list_kept(tmp_path) == []  # it is open here
    with pytest.raises(InputError, match="open in another napari"):
        PaintingSet.open(kept.folder)
    kept.close()
    (offer,) = list_kept(tmp_path)
    again = PaintingSet.open(offer.folder)
    assert_array_equal(again.read()[0], array)
    forget(offer)
    assert again.is_there  # it is open
    again.close()
    forget(offer)
    forget(offer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_locks")
def test_without_locks_only_what_is_old_makes_room(tmp_path: Path) -> None:
    """What was painted on lately may be open in another process."""
    sets = [save(tmp_path, np.ones((9, 9), np.uint8), name=name) for name in ("old", "new")]
    index = json.loads((sets[0].folder / "set.json").read_bytes())
    (sets[0].folder / "set.json").write_text(json.dumps({**index, "changed": 1000.0}))
    assert make_room(tmp_path, 0, 0)[1] == 0
    for kept in sets:
        kept.close()
    assert make_room(tmp_path, 0, 0)[1] == 1
    assert [kept.name for kept in list_kept(tmp_path)] == ["new"]


def test_a_set_that_cannot_be_made_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paintings, "take", lambda path: None)
    with pytest.raises(OSError, match="cannot be locked"):
        PaintingSet.create(tmp_path, (9, 9), np.uint8, (0, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("locks", [True, False])
def test_looking_for_locks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, locks: bool
) -> None:
    if not locks:
        request.getfixturevalue("no_locks")
    assert locking.can_lock(tmp_path) is locks
    assert list(tmp_path.iterdir()) == []

    def busy(*_: object, **__: object) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(Path, "unlink", busy)
    assert locking.can_lock(tmp_path) is locks


CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from napari_sa2net.engine.paintings import PaintingSet
array = np.zeros((700, 700), np.uint8)
kept = PaintingSet.create(Path(sys.argv[1]), array.shape, array.dtype, (0, 1))
value = 0
while True:
    value = value % 200 + 1
    for number in range(len(kept.grid)):
        kept.write(number, np.full_like(array[kept.grid.slices(number)], value))
    kept.commit("killed", "")
    if value == 3:
        print("going", flush=True)
"""


def test_a_killed_process_leaves_a_readable_painting(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "going"
        assert list_kept(tmp_path) == []  # another process has it
        (folder,) = tmp_path.iterdir()
        with pytest.raises(InputError, match="open in another napari"):
            PaintingSet.open(folder)
    finally:
        child.kill()
        child.communicate()
    (offer,) = list_kept(tmp_path)
    kept = PaintingSet.open(offer.folder)
    found, damaged = kept.read()
    assert damaged == 0
    for number in range(len(kept.grid)):
        assert len(np.unique(found[kept.grid.slices(number)])) == 1  # no torn block
    assert found.all()
    kept.close()
