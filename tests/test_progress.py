"""How far the work is: a bar in a terminal, plain lines elsewhere, nothing if it is to be quiet."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sa2net.cli import main
from napari_sa2net.cli.common import Messages
from napari_sa2net.engine import registry
from napari_sa2net.engine.events import Evaluated, Event, Message, Progress, StepDone
from napari_sa2net.engine.files import write_labels
from napari_sa2net.engine.training import recipes
from napari_sa2net.engine.weights import Model, save_model, toml_entry
from napari_sa2net.progress import ProgressBar

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(events: list[tuple[float, Event]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines for events that come after so many seconds each."""
    clock = Clock()
    with ProgressBar("Training", Messages(), clock=clock) as bar:
        for seconds, event in events:
            clock.now += seconds
            bar(event)
    told = capsys.readouterr()
    assert told.out == ""
    assert "\r" not in told.err
    assert "\x1b" not in told.err
    return told.err.splitlines()


def test_lines_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [(1.0, StepDone(n, 1000, 0.5, 0.1, 1.0, 3600.0 - n)) for n in range(1, 91)]
    assert lines_of([(0.0, Message("Running on a fake.")), *steps], capsys) == [
        "Training: begins",
        "Running on a fake.",
        "Training: 30 of 1000 steps (3 %), loss 0.500, 59:30 left",
        "Training: 60 of 1000 steps (6 %), loss 0.500, 59:00 left",
        "Training: 90 of 1000 steps (9 %), loss 0.500, 58:30 left",
        "Training: done in 1:30 (90 of 1000 steps (9 %), loss 0.500)",
    ]


def test_time_left_is_told_from_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    tiles = [(10.0, Progress(n, 360)) for n in range(1, 37)]
    lines = lines_of([(0.0, Progress(0, 360)), *tiles], capsys)
    assert lines[1] == "Training: 3 of 360 tiles (1 %), 59:30 left"
    assert lines[2] == "Training: 6 of 360 tiles (2 %), 59:00 left"
    resumed = lines_of([(0.0, Progress(180, 360)), (30.0, Progress(181, 360))], capsys)
    assert resumed[1] == "Training: 181 of 360 tiles (50 %), 1:29:30 left"


def test_a_tenth_is_told_sooner_but_not_in_a_rush(capsys: pytest.CaptureFixture[str]) -> None:
    slow = [(6.0, Progress(n, 10)) for n in range(11)]
    assert len(lines_of(slow, capsys)) == 12
    quick = [(0.1, Progress(n, 10)) for n in range(11)]
    assert lines_of(quick, capsys) == [
        "Training: begins",
        "Training: done in 0:01 (10 of 10 tiles (100 %))",
    ]


def test_bytes_and_work_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    byte = [(40.0, Progress(12_300_000, 41_000_000, "byte")), (40.0, Progress(1, 0, "step"))]
    told = lines_of([(0.0, Progress(0, 41_000_000, "byte")), *byte], capsys)
    assert told[1] == "Training: 12.3 of 41.0 MB (30 %), 1:33 left"
    assert told[2] == "Training: 1 step"


def test_figures_have_lines(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines_of([(1.0, Evaluated(50, {"validation Dice": 0.75}))], capsys)
    assert "Step 50: validation Dice 0.750" in told


def test_what_fails_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with ProgressBar("Work") as bar:
            bar(Progress(1, 2))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert "done" not in capsys.readouterr().err


def test_nothing_is_said_of_work_that_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("Downloading"):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressBar("Work") as bar:
        bar(Progress(1, 2))
    told = capsys.readouterr().err
    assert "Work: " in told
    assert "/2 " in told
    assert "begins" not in told


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_silent_but_for_warnings(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    clock = Clock()
    with ProgressBar("Work", Messages(quiet=True), quiet=True, clock=clock) as bar:
        for event in (Message("plain"), Progress(1, 2), Evaluated(1, {"Dice": 1.0})):
            clock.now += 60
            bar(event)
        bar(Message("look here", warning=True))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Warning: look here\n")


def test_without_a_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar("Work") as bar:
        bar(Progress(1, 2))


# --- The commands ---------------------------------------------------------------------------------


@pytest.fixture
def commands(
    tmp_path: Path, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[list[str], str]]:
    """Return every long command, and the name of its work."""

    def recipe(*_: Any) -> Generator[Event, None, Model]:
        yield StepDone(1, 2, 0.5, 0.1, 0.0)
        return tiny_model

    monkeypatch.setattr(recipes, "train", recipe)
    model = save_model(tiny_model, tmp_path / "tiny.safetensors")
    (tmp_path / "list.toml").write_text(
        toml_entry(model).replace('name = "tiny"', 'name = "far"'), encoding="utf-8"
    )
    monkeypatch.setattr(registry, "REGISTRY_FILE", tmp_path / "list.toml")
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", str(tmp_path))
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder, values in ((images, IMAGE), (masks, np.uint8(IMAGE // 86))):
        folder.mkdir()
        write_labels(folder / "a.ome.tif", values, "YX")
    run = ["--model", str(model), "--device", "cpu"]
    image, mask, out = str(images / "a.ome.tif"), str(masks / "a.ome.tif"), tmp_path / "out"
    new = str(tmp_path / "new.safetensors")
    return {
        "segment": (["segment", image, "-o", str(out), *run], "a.ome.tif"),
        "zarr": (["segment", image, "-o", f"{out}.zarr", *run], "a.ome.tif"),
        "evaluate": (
            ["evaluate", image, mask, "--json", str(tmp_path / "a.json"), *run], "Evaluating"
        ),
        "train": (
            ["train", image, mask, "--from", str(model), "--steps", "2", "--validation", "0",
             "--device", "cpu", "-o", new, "--keep-worse"], "Training"
        ),
        "recipe": (
            ["train", "--recipe", "r.toml", "--data", str(tmp_path), "-o", new], "Training"
        ),
        "download": (["models", "download", "far"], "Downloading far"),
        "export": (["export", str(model), "-o", str(tmp_path / "a.onnx")], "Exporting tiny"),
    }  # fmt: skip


LONG = ["segment", "zarr", "evaluate", "train", "recipe", "download", "export"]


@pytest.mark.parametrize("command", LONG)
def test_a_long_command_tells_in_a_log_that_it_begins_and_ends(
    commands: dict[str, tuple[list[str], str]],
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, name = commands[command]
    monkeypatch.setattr("napari_sa2net.progress.EVERY", 0.0)  # whatever would be told later on
    monkeypatch.setattr("napari_sa2net.progress.SOONEST", 0.0)
    assert main(arguments) == 0
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert f"{name}: begins" in lines
    if command == "segment":
        assert "a.ome.tif -> " in told.out
    else:
        assert re.search(rf"^{re.escape(name)}: done in ", told.err, re.MULTILINE)
    if command not in ("export", "download"):  # so small a file may be there before it is told
        assert [line for line in lines if re.match(rf"{re.escape(name)}: \d", line)]
    if command in ("train", "recipe"):
        assert re.search(r"Training: \d of \d steps \(\d+ %\), loss \d\.\d{3}", told.err)
    assert "\r" not in told.err


@pytest.mark.parametrize("command", LONG)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_quiet_command_is_silent(
    commands: dict[str, tuple[list[str], str]],
    command: str,
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main([*commands[command][0], "--quiet"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


# --- What is there already ------------------------------------------------------------------------


def test_a_damaged_download_is_downloaded_again(
    commands: dict[str, tuple[list[str], str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, _ = commands["download"]
    assert main(arguments) == 0
    path = registry.find_model("far").path
    assert path is not None
    whole = path.read_bytes()
    assert main(arguments) == 0
    assert "far is here already" in capsys.readouterr().out
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "is damaged" in told.err
    assert "far is downloaded" in told.out
    assert path.read_bytes() == whole


def in_words(path: Path) -> None:
    path.write_text("a\nb\n")


def as_settings(path: Path) -> None:
    path.write_text('{"editor.fontSize": 14}')


def as_list(path: Path) -> None:
    path.write_text("[1, 2]")


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def as_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\x00")


def as_folder(path: Path) -> None:
    path.mkdir()


def as_broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize(
    "write", [in_words, as_settings, as_list, nested, as_bytes, as_folder, as_broken_link]
)
def test_evaluate_replaces_no_file_that_it_did_not_write(
    commands: dict[str, tuple[list[str], str]],
    tmp_path: Path,
    write: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.json"
    write(path)
    before = path.read_bytes() if path.is_file() else None
    assert main(commands["evaluate"][0]) == 1
    told = capsys.readouterr()
    assert "was not written by an evaluation, so it is not replaced: give another name" in told.err
    assert told.out == ""
    assert (path.read_bytes() if path.is_file() else None) == before


def test_evaluate_replaces_its_own(
    commands: dict[str, tuple[list[str], str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    assert main(commands["evaluate"][0]) == 0
    first = path.read_bytes()
    path.write_bytes(first.replace(b'"model"', b'"model" '))
    assert main(commands["evaluate"][0]) == 0
    assert path.read_bytes() == first
