"""Files that another program has open for a moment, and names that files cannot have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_sa2net.engine import disk
from napari_sa2net.engine.blocks.store import Store
from napari_sa2net.engine.disk import check_writable, patiently
from napari_sa2net.engine.errors import SA2NetError
from napari_sa2net.engine.files import ensure_folder, replacing
from napari_sa2net.engine.folders import target_of
from napari_sa2net.engine.model_files import write_atomically
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


@pytest.mark.parametrize(
    "write",
    [write_and_read_json, write_and_read_model, write_and_read_state, write_and_read_file],
)
@pytest.mark.usefixtures("windows")
def test_what_is_written_waits_for_a_scanner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Any]
) -> None:
    monkeypatch.setattr(os, "replace", busy(2, os.replace))
    assert write(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


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
