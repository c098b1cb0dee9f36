"""Files that another program has open for a moment, and names that files cannot have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_sa2net.engine import disk
from napari_sa2net.engine.blocks.store import Store
from napari_sa2net.engine.disk import check_writable, patiently, temporary
from napari_sa2net.engine.errors import SA2NetError
from napari_sa2net.engine.files import ensure_folder, replacing
from napari_sa2net.engine.folders import target_of
from napari_sa2net.engine.model_files import write_atomically
from napari_sa2net.engine.paintings import _replace
from napari_sa2net.engine.training import states
from napari_sa2net.engine.training.checkpoints import read_checkpoint, write_checkpoint


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Be on Windows; return the waits."""
    waits: list[float] = []
    monkeypatch.setattr(disk, "WINDOWS", True)
    monkeypatch.setattr(disk.time, "sleep", waits.append)
    return waits


def busy(times: int, then: Callable[..., Any]) -> Callable[..., Any]:
    """Return what fails some times, as on a file that is open elsewhere."""
    left = [times]

    def change(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "The process cannot access the file")
        return then(*arguments)

    return change


def test_a_file_that_is_let_go_is_changed(windows: list[float]) -> None:
    assert patiently(busy(3, lambda value: value), 7) == 7
    assert len(windows) == 3


def test_a_file_that_is_never_let_go_is_an_error(windows: list[float]) -> None:
    with pytest.raises(PermissionError):
        patiently(busy(1000, lambda: None))
    assert 0.5 < sum(windows) < 2


def test_other_systems_do_not_wait(windows: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "WINDOWS", False)
    with pytest.raises(PermissionError):
        patiently(busy(1, lambda: None))
    assert windows == []


def write_and_read_json(folder: Path) -> Any:
    Store(folder).write_json("a.json", {"a": 1})
    return Store(folder).read_json("a.json") == {"a": 1}


def write_and_read_model(folder: Path) -> Any:
    write_atomically(folder / "new" / "a.safetensors", b"model")
    return (folder / "new" / "a.safetensors").read_bytes() == b"model"


def write_and_read_state(folder: Path) -> Any:
    write_checkpoint(folder / "state.pt", "id", {"step": 3})
    return read_checkpoint(folder / "state.pt", "id")["step"] == 3


def write_and_read_file(folder: Path) -> Any:
    with replacing(folder / "a.txt") as partial:
        partial.write_text("a")
    return (folder / "a.txt").read_text() == "a"


def write_and_read_painting(folder: Path) -> Any:
    _replace(folder / "1.block", b"a", sync=True)
    return (folder / "1.block").read_bytes() == b"a"


def begin_and_read_result(folder: Path) -> Any:
    Store(folder / "a.zarr").begin({"a": 1})
    return Store(folder / "a.zarr").identity() == {"a": 1}


WRITERS = [
    write_and_read_json,
    write_and_read_model,
    write_and_read_state,
    write_and_read_file,
    write_and_read_painting,
    begin_and_read_result,
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.usefixtures("windows")
def test_what_is_written_waits_for_a_scanner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Any]
) -> None:
    monkeypatch.setattr(os, "replace", busy(2, os.replace))
    assert write(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


class Killed(BaseException):
    """In place of a kill: nothing is done any more."""


def of(process: int, path: Path) -> Path:
    """Give what is ours to another process."""
    return path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{process}-")))


@pytest.mark.parametrize("write", WRITERS)
def test_what_a_kill_leaves_goes_with_the_next_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dead_process: int,
    write: Callable[[Path], Any],
) -> None:
    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", kill)
        killed.setattr(disk, "remove", lambda _: None)
        with pytest.raises(Killed):
            write(tmp_path)
    left = min(tmp_path.rglob(disk.OURS), key=lambda path: len(path.parts))
    gone = of(dead_process, left)
    disk._swept.clear()  # the next run is another process
    assert write(tmp_path)
    assert not gone.exists()
    assert not list(tmp_path.rglob(disk.OURS))


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_process_that_was_killed_while_writing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from napari_sa2net.engine import disk\n"
        "with disk.replacing(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    ensure_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_swept(tmp_path: Path, dead_process: int) -> None:
    running = temporary(tmp_path / "a")
    elsewhere = tmp_path / f".sa2net-0123abcd-{dead_process}-1.part"
    person = [
        ".a.tif.123.part",
        "a.part",
        ".sa2net-notes",
        f"x.sa2net-0123abcd-{dead_process}-1.part",
    ]
    kept = [running, elsewhere, *(tmp_path / name for name in person)]
    for path in kept:
        path.mkdir() if "a.part" in path.name else path.write_text("")
    disk.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_what_is_of_another_computer_goes_after_a_week(tmp_path: Path) -> None:
    elsewhere = tmp_path / f".sa2net-0123abcd-{os.getpid()}-1.part"
    elsewhere.write_text("")
    week = time.time() - 8 * 24 * 3600
    os.utime(elsewhere, (week, week))
    disk.sweep(tmp_path)
    assert not elsewhere.exists()


def test_the_number_of_a_process_may_be_given_again(tmp_path: Path) -> None:
    mine = temporary(tmp_path / "a")
    mine.write_text("")
    before = time.time() - 2 * 24 * 3600  # this process is younger
    os.utime(mine, (before, before))
    disk.sweep(tmp_path)
    assert not mine.exists()


@pytest.mark.parametrize("replaced", [True, False])
def test_what_was_set_aside_is_not_lost(tmp_path: Path, dead_process: int, replaced: bool) -> None:
    result = tmp_path / "a.zarr"
    result.mkdir()
    (result / "old").write_text("")
    of(dead_process, disk.set_aside(result).parent)
    assert not result.exists()
    if replaced:
        result.mkdir()
        (result / "new").write_text("")
    disk.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [result]
    assert (result / ("new" if replaced else "old")).exists()


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="has no devices in the file system")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(SA2NetError, match="no file"), replacing("/dev/null"):
        raise AssertionError
    assert not Path("/dev/null").is_file()


def test_zarrs_own_leftovers_are_swept(tmp_path: Path) -> None:
    chunks = tmp_path / "a.zarr" / "0" / "c"
    chunks.mkdir(parents=True)
    left, whole = chunks / f"0.{'0a' * 16}.partial", chunks / "0"
    for path in (left, whole, chunks / "mine.partial"):
        path.write_text("")
    Store(tmp_path / "a.zarr").sweep()
    assert sorted(path.name for path in chunks.iterdir()) == ["0", "mine.partial"]


def test_a_training_killed_before_it_began_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = states.trainings_folder()
    for name, files in {
        "begun": ["lock", "samples.npz"],
        "running": ["lock", "samples.npz"],
        "kept": ["lock", "samples.npz", "training.json"],
        "mine": ["lock", "letter.txt"],
    }.items():
        (trainings / name).mkdir(parents=True)
        for file in files:
            (trainings / name / file).write_text("")
    with states.running(trainings / "running"):
        states.new_state("next")
        assert {path.name for path in trainings.iterdir()} == {"running", "kept", "mine"}


def test_a_folder_is_tried(tmp_path: Path) -> None:
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="nowhere"):
        check_writable(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "write", [ensure_folder, lambda folder: write_atomically(folder / "a.safetensors", b"model")]
)
def test_a_folder_whose_rights_forbid_files_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object]
) -> None:
    """On Windows ``tempfile`` takes such a refusal for a name that is taken, and tries others."""
    tried = []

    def refuse(path: Path, *_: object) -> None:
        tried.append(path)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SA2NetError, match="Permission denied"):
        write(tmp_path)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("HeLa: day 3", "HeLa- day 3.onnx"),
        ('a/b\\c*?"<>|d', "a-b-c-d.onnx"),
        ("v1.2 größer", "v1.2 größer.onnx"),
        ("../..", "-.onnx"),
        (" . ", "model.onnx"),
    ],
)
def test_a_model_of_any_name_gets_a_file(tmp_path: Path, name: str, file: str) -> None:
    assert target_of(name, tmp_path, ".onnx") == tmp_path / file
