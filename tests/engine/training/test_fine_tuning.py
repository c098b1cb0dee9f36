from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net.engine.errors import DeviceError, InputError, TrainingError
from napari_sa2net.engine.events import (
    Compared,
    Evaluated,
    Event,
    Message,
    Previewed,
    StepDone,
    run,
)
from napari_sa2net.engine.training import job as job_module
from napari_sa2net.engine.training import painted as painted_module
from napari_sa2net.engine.training.control import Control
from napari_sa2net.engine.training.fine_tuning import Preview, fine_tune, resume
from napari_sa2net.engine.training.loop import Training
from napari_sa2net.engine.training.painting import Annotation, TrainingPair
from napari_sa2net.engine.training.scoring import Scores
from napari_sa2net.engine.training.settings import FineTuneSettings
from napari_sa2net.engine.training.states import delete_state, list_states
from napari_sa2net.engine.weights import ClassInfo, Model, load_model, save_model

FEW = FineTuneSettings(
    budget="steps",
    steps=12,
    batch=2,
    patch=32,
    learning_rate=5e-3,
    augmentation="light",
    statistics="batch",
)


@pytest.fixture
def pair() -> TrainingPair:
    """Bright discs of which half were painted with strokes, and background between them."""
    y, x = np.mgrid[:192, :192]
    inside = ((y % 48 - 24) ** 2 + (x % 48 - 24) ** 2) < 200
    rng = np.random.default_rng(0)
    image = inside * 100.0 + rng.normal(20, 5, inside.shape)
    strokes = np.zeros(inside.shape, np.uint8)
    strokes[20:28:2] = 1 + inside[20:28:2]
    strokes[70:78:2] = 1 + inside[70:78:2]
    strokes[130:140:2] = 1 + inside[130:140:2]
    strokes[170:180:2] = 1 + inside[170:180:2]
    return TrainingPair(image.astype(np.float32), Annotation(strokes), name="discs")


def weights_of(model: Model) -> list[torch.Tensor]:
    return list(model.network.state_dict().values())


def same(first: Model, second: Model) -> bool:
    pairs = zip(weights_of(first), weights_of(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def until(events: Any, step: int) -> None:
    for event in events:
        if isinstance(event, StepDone) and event.step == step:
            events.close()
            return


def test_it_ends_with_a_model_that_says_where_it_came_from(
    pair: TrainingPair, tiny_model: Model, tmp_path: Path
) -> None:
    events: list[Event] = []
    before = [w.clone() for w in weights_of(tiny_model)]
    start = Model(tiny_model.network, replace(tiny_model.card, modality="fluorescence"))
    found = run(fine_tune([pair], start, FEW, name="discs"), events.append)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(tiny_model), strict=True))
    assert not same(found.trained, tiny_model)
    card = found.trained.card
    assert card.name == "discs"
    assert card.classes == tiny_model.card.classes
    assert card.extra["parent"] == "tiny"
    assert card.modality == ""  # the start's was another one
    assert len(card.extra["parent_sha256"]) == 64
    assert card.extra["settings"]["steps"] == 12
    assert card.extra["painting"]["images"] == ["discs"]
    assert card.extra["painting"]["pixels"]["background"] > 0
    saved = load_model(save_model(found.trained, tmp_path / "discs.safetensors"))
    assert saved.card.extra == card.extra
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(1, 13))
    assert {event.total for event in steps} == {12}
    figures = [event.figures for event in events if isinstance(event, Evaluated)]
    assert {"training loss", "training Dice"} <= figures[-1].keys()
    assert sum(isinstance(event, Compared) for event in events) == 1


def test_a_seed_gives_the_same_weights(pair: TrainingPair, tiny_model: Model) -> None:
    settings = replace(FEW, steps=5)
    first, second = (run(fine_tune([pair], tiny_model, settings)) for _ in range(2))
    assert same(first.trained, second.trained)
    other = run(fine_tune([pair], tiny_model, replace(settings, seed=1)))
    assert not same(first.trained, other.trained)


@pytest.mark.parametrize(
    ("knows", "worse", "expected"), [(0.0, False, 0.5), (0.0, True, 1.0), (1e9, False, 1.0)]
)
def test_one_goes_half_way_from_a_start_that_knows_if_that_is_not_worse(
    pair: TrainingPair,
    tiny_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    knows: float,
    worse: bool,
    expected: float,
) -> None:
    monkeypatch.setattr(painted_module, "KNOWS", knows)
    monkeypatch.setattr(painted_module, "clearly_worse", lambda before, after: worse)
    settings = replace(FEW, validation=0.4)
    whole = run(fine_tune([pair], tiny_model, replace(settings, half_way=False))).trained
    found = run(fine_tune([pair], tiny_model, settings)).trained
    three = zip(*map(weights_of, (tiny_model, whole, found)), strict=True)
    for before, after, kept in three:
        if before.dtype.is_floating_point:
            assert torch.allclose(kept, before.lerp(after, expected), atol=1e-5)
    assert found.card.extra["settings"]["half_way"]


def test_new_classes_are_not_taken_half_way(pair: TrainingPair, tiny_model: Model) -> None:
    classes = ["background", "disc"]
    found = [
        run(fine_tune([pair], tiny_model, replace(FEW, half_way=way), classes=classes)).trained
        for way in (True, False)
    ]
    assert same(*found)


@pytest.mark.parametrize("batch", [1, 4])
def test_stopped_and_resumed_equals_never_stopped(
    pair: TrainingPair, tiny_model: Model, tmp_path: Path, batch: int
) -> None:
    settings = replace(FEW, statistics="auto", batch=batch)
    whole = run(fine_tune([pair], tiny_model, settings))
    until(fine_tune([pair], tiny_model, settings, state=tmp_path / "a", name="discs"), 10)
    (saved,) = list_states(tmp_path)
    assert (saved.name, saved.step, saved.total, saved.finished) == ("discs", 10, 12, False)
    again: list[Event] = []
    resumed = run(resume(saved.path), again.append)
    assert same(whole.trained, resumed.trained)
    assert whole.history == resumed.history
    assert whole.comparison == resumed.comparison
    assert resumed.trained.card.name == "discs"
    assert [e.step for e in again if isinstance(e, StepDone)] == [11, 12]


def test_a_finished_training_gives_its_result_again(
    pair: TrainingPair, tiny_model: Model, tmp_path: Path
) -> None:
    settings = replace(FEW, steps=3)
    first = run(fine_tune([pair], tiny_model, settings, state=tmp_path / "a"))
    assert list_states(tmp_path)[0].finished
    again = run(resume(tmp_path / "a"))
    assert same(first.trained, again.trained)
    assert again.comparison == first.comparison
    assert again.history == first.history
    with pytest.raises(TrainingError, match="holds a training already"):
        run(fine_tune([pair], tiny_model, settings, state=tmp_path / "a"))
    delete_state(tmp_path / "a")
    assert not list_states(tmp_path)
    with pytest.raises(TrainingError, match="Start a new one"):
        run(resume(tmp_path / "a"))


def test_stopping_keeps_the_best_so_far(pair: TrainingPair, tiny_model: Model) -> None:
    control = Control()
    steps: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)
            if event.step == 4:
                control.stop()

    found = run(fine_tune([pair], tiny_model, FEW, control=control), watch)
    assert steps == [1, 2, 3, 4]
    assert found.trained.card.extra["training"]["steps"] == 4


def test_only_the_steps_count_towards_the_minutes(pair: TrainingPair, tiny_model: Model) -> None:
    settings = replace(FEW, budget="minutes", minutes=0.05)
    steps: list[StepDone] = []
    run(
        fine_tune([pair], tiny_model, settings),
        lambda event: steps.append(event) if isinstance(event, StepDone) else None,
    )
    assert sum(step.seconds for step in steps[:-1]) < 3
    assert steps[-1].total == steps[-1].step
    assert steps[-1].left == 0


def test_a_preview_comes_back_with_its_token(pair: TrainingPair, tiny_model: Model) -> None:
    seen: list[Previewed] = []
    token = object()
    preview = Preview(np.asarray(pair.image)[:50, :70], axes="YX", token=token)
    run(
        fine_tune(
            [pair], tiny_model, replace(FEW, steps=2), preview=lambda: preview, preview_every=0
        ),
        lambda event: seen.append(event) if isinstance(event, Previewed) else None,
    )
    assert seen[0].token is token
    assert seen[0].foreground.shape == (50, 70)
    assert seen[0].foreground.dtype == np.float32
    assert 0 <= seen[0].foreground.min() <= seen[0].foreground.max() <= 1


def test_new_classes_get_new_heads(pair: TrainingPair, tiny_model: Model) -> None:
    labels = np.asarray(pair.annotation.labels).copy()
    labels[76, labels[76] == 2] = 3
    three = replace(pair, annotation=Annotation(labels))
    classes = [ClassInfo("background", "#000000"), ClassInfo("axon"), ClassInfo("myelin")]
    found = run(fine_tune([three], tiny_model, replace(FEW, steps=2), classes=classes))
    assert [info.name for info in found.trained.card.classes] == ["background", "axon", "myelin"]
    assert found.trained.card.result == "classes"


def test_from_scratch_there_is_nothing_to_compare(pair: TrainingPair) -> None:
    settings = replace(FEW, steps=2)
    found = run(fine_tune([pair], None, settings, base_channels=4))
    assert found.trained.card.extra["parent"] == ""
    assert found.trained.card.in_channels == 1
    assert found.comparison.verdict == "not compared"
    assert found.network is found.trained.network


def test_other_channels_make_a_new_first_convolution(pair: TrainingPair, tiny_model: Model) -> None:
    two = replace(pair, image=np.stack([pair.image, pair.image]), axes="CYX")
    found = run(fine_tune([two], tiny_model, replace(FEW, steps=2)))
    assert found.trained.card.in_channels == 2
    assert found.comparison.before is None


def no_memory(times: int) -> Callable[..., float]:
    """Return a step that runs out of memory so many times."""
    real = Training._update
    left = [times]

    def update(self: Training, rate: float) -> float:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, rate)

    return update


def test_out_of_memory_lowers_batch_then_patch(
    pair: TrainingPair, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "_update", no_memory(2))
    messages: list[str] = []
    found = run(
        fine_tune([pair], tiny_model, replace(FEW, steps=2, patch=128)),
        lambda event: messages.append(event.text) if isinstance(event, Message) else None,
    )
    said = [text for text in messages if "memory" in text]
    assert "1 patch(es)" in said[0]
    assert "64 pixels" in said[1]
    assert found.trained.card.extra["training"]["patch"] == 64


def test_out_of_memory_for_good_is_an_error_that_loses_nothing(
    pair: TrainingPair, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = fine_tune([pair], tiny_model, FEW, state=tmp_path / "a")
    for event in events:
        if isinstance(event, StepDone) and event.step == 2:
            break
    monkeypatch.setattr(Training, "_update", no_memory(100))
    with pytest.raises(DeviceError, match="Close other programs"):
        list(events)
    assert list_states(tmp_path)[0].step == 2


def test_a_loss_that_is_not_finite_is_explained(
    pair: TrainingPair, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, stages: Any, batch: Any) -> torch.Tensor:
        return stages[0].sum() * torch.nan

    monkeypatch.setattr("napari_sa2net.engine.training.painted.Painted.loss", broken)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        run(fine_tune([pair], tiny_model, FEW))


def test_a_full_disk_is_said_once_and_training_goes_on(
    pair: TrainingPair, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_module, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(job_module, "write_checkpoint", full)
    messages: list[str] = []
    found = run(
        fine_tune([pair], tiny_model, replace(FEW, steps=3), state=tmp_path / "a"),
        lambda event: messages.append(event.text) if isinstance(event, Message) else None,
    )
    assert sum("No space left" in text for text in messages) == 1
    assert found.trained.card.extra["training"]["steps"] == 3


def test_patience_ends_a_training_that_gets_no_better(
    pair: TrainingPair, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = Scores(np.array([[1.0, 1.0, 1.0]]), {1: np.array([[1.0, 1.0, 1.0]])}, 3, 1.0)
    monkeypatch.setattr("napari_sa2net.engine.training.painted.score", lambda *_: same)
    settings = replace(FEW, steps=20, patience=2)
    found = run(fine_tune([pair], tiny_model, settings))
    assert found.trained.card.extra["training"]["steps"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 100}, "multiple of 16"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"minutes": 0}, "minutes"),
        ({"loss": "best"}, "give one of"),
    ],
)
def test_wrong_settings_are_explained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FineTuneSettings(**change)
