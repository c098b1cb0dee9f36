"""``sa2net train`` with images and what was painted over them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from napari_sa2net.cli import main, train_options
from napari_sa2net.engine import model_files
from napari_sa2net.engine.errors import TrainingError
from napari_sa2net.engine.events import Event, Message, StepDone
from napari_sa2net.engine.folders import trainings_folder
from napari_sa2net.engine.training import fine_tuning, ranking, states
from napari_sa2net.engine.training.comparison import Comparison
from napari_sa2net.engine.training.fine_tuning import FineTuned
from napari_sa2net.engine.training.ranking import Ranked, Suggestion
from napari_sa2net.engine.training.settings import FineTuneSettings
from napari_sa2net.engine.weights import Model, load_model, save_model

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
BETTER = Comparison(0.5, 0.75, "better", "Better: it gained.", {"nucleus": (0.5, 0.75)}, 99, 4)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Any) -> Path:
    """Work in a folder with images, strokes and a start model."""
    monkeypatch.chdir(tmp_path)
    strokes = np.zeros(IMAGE.shape, np.uint8)
    strokes[4:7, 4:60], strokes[30:33, 4:60], strokes[50:53, 4:60] = 1, 2, 1
    for folder, array in (("images", IMAGE), ("painted", strokes)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    save_model(tiny_model, tmp_path / "tiny.safetensors")
    return tmp_path


class Fake:
    """In place of the engine's fine-tuning: notes what it gets, and takes ``steps`` steps."""

    def __init__(self, model: Model) -> None:
        self.given: dict[str, Any] = {}
        self.resumed: Path | None = None
        self.comparison = BETTER
        self.before = self.trained = model
        self.trained = Model(type(model.network)(3, 3, 4).eval(), replace(model.card, name="new"))
        self.at_step: Callable[[int], None] = lambda step: None
        self.error: Exception | None = None

    def fine_tune(
        self, pairs: Any, model: Any, settings: Any, **more: Any
    ) -> Generator[Event, None, FineTuned]:
        self.given = {"pairs": pairs, "model": model, "settings": settings, **more}
        folder = more["state"]
        folder.mkdir(parents=True)
        plan = {"name": more["name"], "step": 0, "total": 5, "finished": False, "images": []}
        states.write_plan(folder, plan)
        return (yield from self._run(more["control"], more["keep_worse"]))

    def resume(self, state: Path, **more: Any) -> Generator[Event, None, FineTuned]:
        self.resumed = state
        states.read_plan(state)
        return (yield from self._run(more["control"], more["keep_worse"]))

    def _run(self, control: Any, keep_worse: bool) -> Generator[Event, None, FineTuned]:
        yield Message("Running on a fake.")
        for step in range(1, 6):
            yield StepDone(step, 5, 0.5, 0.1, 0.0, 75.0)
            self.at_step(step)
            if control.stopping:
                break
        if self.error is not None:
            raise self.error
        worse = self.comparison.verdict == "worse" and not keep_worse
        kept = self.before if worse else self.trained
        return FineTuned(kept.network, kept.card, self.trained, self.comparison)


@pytest.fixture
def fake(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace the engine."""
    made = Fake(tiny_model)
    monkeypatch.setattr(fine_tuning, "fine_tune", made.fine_tune)
    monkeypatch.setattr(fine_tuning, "resume", made.resume)
    return made


def train(*arguments: str) -> int:
    return main(["train", *arguments, "--device", "cpu"])


def kept() -> list[Path]:
    return [state.path for state in states.list_states(trainings_folder())]


# --- what is asked for -----------------------------------------------------------------------


def test_strokes_become_a_model(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("images", "painted", "--from", "tiny.safetensors", "-o", "my.safetensors") == 0
    assert load_model(Path("my.safetensors")).card.name == "new"
    told = capsys.readouterr()
    assert "before   after" in told.out
    assert "0.500   0.750" in told.out
    assert "Better: it gained." in told.out
    assert "--model my.safetensors" in told.out
    assert "Running on a fake." in told.err
    given = fake.given
    assert [pair.name for pair in given["pairs"]] == ["a", "b"]
    assert {pair.annotation.meaning for pair in given["pairs"]} == {"strokes"}
    assert (given["model"], given["name"], given["classes"]) == ("tiny.safetensors", "my", None)
    assert given["settings"] == FineTuneSettings()
    assert kept() == []  # nothing is left of what is done


def test_options_reach_the_engine(fake: Fake) -> None:
    assert train("images/a.png", "images/b.png", "painted", "--scratch", "--base-channels", "8",
                 "--mask", "--of", "instances", "--class", "axon:#ff0000", "--class", "myelin",
                 "--steps", "7", "--learning-rate", "0.01", "--batch", "2", "--patch", "64",
                 "--frozen", "encoder", "--augmentation", "none", "--loss", "paper", "--seed", "3",
                 "--validation", "0.1", "--patience", "5", "--diameter", "12", "--channels", "0",
                 "--pixel-size", "0.5", "--axes", "YX", "--name", "mine") == 0  # fmt: skip
    given, settings = fake.given, fake.given["settings"]
    assert (given["model"], given["base_channels"]) == (None, 8)
    assert [info.name for info in given["classes"]] == ["background", "axon", "myelin"]
    assert given["classes"][1].color == "#ff0000"
    assert len({info.color for info in given["classes"]}) == 3
    assert settings == FineTuneSettings(
        "steps", steps=7, learning_rate=0.01, batch=2, patch=64, frozen="encoder",
        augmentation="none", loss="paper", validation=0.1, patience=5, seed=3,
    )  # fmt: skip
    pair = given["pairs"][0]
    assert (pair.diameter, pair.pixel_size, pair.channels, pair.axes) == (12, 0.5, (0,), "YX")
    assert Path("mine.safetensors").is_file()


def test_choices_are_those_of_the_settings() -> None:
    kinds = get_type_hints(FineTuneSettings)
    assert get_args(kinds["frozen"]) == train_options.FROZEN
    assert get_args(kinds["augmentation"]) == train_options.AUGMENTATION
    assert get_args(kinds["loss"]) == train_options.LOSSES
    assert set(train_options.SETTINGS) <= {field.name for field in fields(FineTuneSettings)}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--resume FOLDER"),
        (["images"], "followed by their annotations"),
        (["--resume", "x", "--steps", "3"], "--steps cannot be changed"),
        (["images", "painted", "--scratch", "--from", "nuclei"], "not both"),
        (["images", "painted", "--base-channels", "8"], "--base-channels goes with --scratch"),
        (["images", "painted", "-o", "m.pth"], "must end in .safetensors"),
        (["images", "painted", "-o", "tiny.safetensors"], "--overwrite replaces it"),
        (["images", "painted", "--data", "x"], "--data goes with --recipe"),
        (["images", "painted", "--fold", "a"], "--fold goes with --recipe"),
        (["--recipe", "r.toml"], "--recipe needs --data"),
        (["images", "--recipe", "r.toml", "--data", "."], "images does not go with --recipe"),
        (["--recipe", "r.toml", "--data", ".", "--mask"], "--mask or --strokes does not go"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fake: Fake, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert train(*arguments) == 2
    assert text in capsys.readouterr().err
    assert not fake.given


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["images", "nowhere"], "nowhere"),
        (["images", "painted", "--steps", "0"], "steps is 0"),
        (["images", "painted", "--patch", "100"], "multiple of 16"),
        (["--resume", "nowhere"], "no training"),
    ],
)
def test_what_does_not_work_is_explained(
    fake: Fake, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert train(*arguments) == 1
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert "go on with" not in error
    assert not list(Path().glob("*fine-tuned*"))


# --- how it ends -----------------------------------------------------------------------------


def test_the_first_interrupt_keeps_the_best_so_far(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[int] = []

    def interrupt(step: int) -> None:
        steps.append(step)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    fake.at_step = interrupt
    assert train("images", "painted", "-o", "my.safetensors") == 0
    assert steps == [1, 2]
    assert "the best so far is kept" in capsys.readouterr().err
    assert Path("my.safetensors").is_file()
    assert signal.getsignal(signal.SIGINT) == before


def test_the_second_interrupt_aborts_and_the_state_stays(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    fake.at_step = interrupt
    assert train("images", "painted", "-o", "my.safetensors") == 130
    assert not Path("my.safetensors").exists()
    (state,) = kept()
    assert f"sa2net train --resume {state} -o my.safetensors" in capsys.readouterr().err
    fake.at_step = lambda step: None
    assert train("--resume", str(state), "-o", "my.safetensors") == 0
    assert fake.resumed == state
    assert load_model(Path("my.safetensors")).card.name == "new"
    assert kept() == [state]  # a folder that a person named is theirs


def test_a_failure_tells_how_to_go_on(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.error = TrainingError("The loss is no longer finite.")
    assert train("images", "painted", "-o", "my.safetensors") == 1
    error = capsys.readouterr().err
    assert "no longer finite" in error
    assert f"--resume {kept()[0]}" in error


def test_a_full_disk_loses_nothing(
    fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(model_files.os, "fsync", full)
        assert train("images", "painted", "-o", "my.safetensors") == 1
    error = capsys.readouterr().err
    assert "disk is full" in error
    (state,) = kept()
    assert f"sa2net train --resume {state} -o my.safetensors" in error
    assert not Path("my.safetensors").exists()


def test_a_worse_model_is_saved_only_on_request(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.comparison = replace(BETTER, after=0.25, verdict="worse", text="Worse.")
    assert train("images", "painted", "-o", "my.safetensors") == 1
    told = capsys.readouterr()
    assert "0.500   0.250" in told.out
    assert "nothing is saved" in told.err
    (state,) = kept()
    assert not Path("my.safetensors").exists()
    assert train("--resume", str(state), "--keep-worse", "-o", "my.safetensors") == 0
    assert Path("my.safetensors").is_file()


def test_the_same_line_goes_on_where_it_was(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["images", "painted", "--resume", "state", "-o", "my.safetensors", "--overwrite"]
    assert train(*line) == 0
    assert fake.resumed is None
    assert train(*line) == 0
    assert fake.resumed == Path("state")
    assert "those it began with" in capsys.readouterr().err


def test_quiet_is_quiet(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("images", "painted", "-q") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "fake" not in told.err


# --- the real engine -------------------------------------------------------------------------


def test_a_few_strokes_make_a_model_that_segments(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("images", "painted", "--from", "tiny.safetensors", "--steps", "2", "--batch", "1",
                 "--patch", "32", "-o", "my.safetensors") == 0, capsys.readouterr().err  # fmt: skip
    capsys.readouterr()
    assert main(["models", "import", "my.safetensors"]) == 0
    assert main(["models", "info", "my"]) == 0
    told = capsys.readouterr().out
    assert "fine-tuned from: tiny" in told.replace("  ", " ").replace("  ", " ")
    assert main(["segment", "images/a.png", "-o", "out", "--model", "my", "--device", "cpu"]) == 0
    assert Path("out/a_labels.ome.tif").is_file()


# --- a start that is suggested ---------------------------------------------------------------


@pytest.fixture
def suggestion(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the ranking; what it was asked for is in the dictionary, and what it answers."""
    told: dict[str, Any] = {"score": 0.93}

    def suggest_start(pairs: Any, models: Any, **more: Any) -> Generator[Event, None, Suggestion]:
        told.update(pairs=pairs, models=models, **more)
        yield Message("Not tried, as it is not downloaded: far.")
        score = told["score"]
        return Suggestion((Ranked("spores", score, score - 0.1, score, 9, 0.5),))

    monkeypatch.setattr(ranking, "suggest_start", suggest_start)
    return told


def test_a_name_that_no_file_can_have_is_kept_in_the_model_only(fake: Fake) -> None:
    assert train("images", "painted", "--name", "HeLa: a/b?") == 0
    assert fake.given["name"] == "HeLa: a/b?"
    assert Path("HeLa- a-b-.safetensors").is_file()


def test_the_suggested_model_is_started_from(
    fake: Fake, suggestion: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("images", "painted", "--from", "suggest", "--diameter", "12") == 0
    assert fake.given["model"] == "spores"
    assert Path("spores-fine-tuned.safetensors").is_file()
    assert (suggestion["models"], suggestion["device"]) == (None, "cpu")
    assert [pair.diameter for pair in suggestion["pairs"]] == [12, 12]
    told = capsys.readouterr()
    assert "93 %" in told.out
    assert "Not tried, as it is not downloaded: far." in told.err
    assert "From scratch" not in told.err


def test_a_suggestion_by_chance_is_warned_of(
    fake: Fake, suggestion: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    suggestion["score"] = 0.52
    arguments = ("images", "painted", "--from", "suggest", "--mask", "--of", "instances", "-q")
    assert train(*arguments) == 0
    assert fake.given["model"] == "spores"
    annotation = suggestion["pairs"][0].annotation
    assert (annotation.meaning, annotation.of) == ("mask", "instances")
    told = capsys.readouterr()
    assert not told.out
    assert "Warning: No model here tells apart" in told.err


def test_a_training_that_goes_on_asks_for_no_suggestion(
    fake: Fake, suggestion: dict[str, Any], tmp_path: Path
) -> None:
    fake.error = TrainingError("cut off")
    assert train("images", "painted", "--from", "suggest", "--resume", "state") == 1
    fake.error = None
    suggestion.clear()
    assert train("images", "painted", "--from", "suggest", "--resume", "state") == 0
    assert not suggestion
    assert fake.resumed == Path("state")


def test_overwrite_replaces_models_only(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.safetensors").write_bytes(b"another program's")
    assert train("images", "painted", "-o", str(tmp_path / "new.safetensors"), "--overwrite") == 1
    assert "is no model of napari-sa2net, so it is not replaced" in capsys.readouterr().err
    assert fake.given == {}
    assert (tmp_path / "new.safetensors").read_bytes() == b"another program's"
