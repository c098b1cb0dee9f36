"""Training in passes over all images, with a fold that says when to stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Event, StepDone, run
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training import epochs
from napari_sa2net.engine.training.augment import Augmentation
from napari_sa2net.engine.training.epochs import (
    EpochDone,
    EpochTraining,
    cycle_factor,
    fit_epochs,
    foreground,
    score,
)
from napari_sa2net.engine.training.samples import Sample
from napari_sa2net.engine.training.settings import TrainingSettings

STILL = Augmentation.named("none")
SETTINGS = TrainingSettings(
    epochs=4, patience=4, batch=2, crop=32, cycle=3, lowest_rate=0.1, loss="authors", seed=3,
    checkpoint_every=1,
)  # fmt: skip


def sample(place: int) -> Sample:
    y, x = np.mgrid[:32, :32]
    labels = ((y - place) ** 2 + (x - 16) ** 2 < 60).astype(np.int32)
    return Sample(labels[None].astype(np.float32), labels, kind="classes", name=str(place))


SAMPLES = [sample(place) for place in (8, 12, 16, 20, 24)]


def fresh() -> SA2Net:
    torch.manual_seed(0)
    return SA2Net(3, 1, 2)


def training(settings: TrainingSettings = SETTINGS, held_out: int = 1) -> EpochTraining:
    return EpochTraining(fresh(), SAMPLES[held_out:], SAMPLES[:held_out], settings, STILL, None, "")


def test_every_image_is_seen_once_a_pass() -> None:
    loop = training(replace(SETTINGS, batch=3), held_out=0)
    assert (loop.per_epoch, loop.total) == (2, 8)
    seen = []
    for loop.step in range(4):
        images = loop.draw().images
        assert len(images) == (3, 2)[loop.step % 2]
        rows = [int(np.flatnonzero(image[0].numpy().any(1)).mean()) for image in images]
        seen += rows
    assert sorted(seen[:5]) == sorted(seen[5:]) == [8, 12, 16, 20, 24]
    assert seen[:5] != seen[5:]


def test_the_rate_is_that_of_annealing_with_restarts() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, eta_min=0.1)
    loop = training(replace(SETTINGS, epochs=7))
    for epoch in range(7):
        assert cycle_factor(epoch, SETTINGS) == pytest.approx(optimizer.param_groups[0]["lr"])
        loop.step = epoch * loop.per_epoch + 1  # it stays as it is within a pass
        assert loop.rate() == cycle_factor(epoch, SETTINGS)
        optimizer.step()
        theirs.step()


def test_without_a_cycle_the_rate_falls_to_the_end_of_the_passes() -> None:
    loop = training(replace(SETTINGS, cycle=0, lowest_rate=0.0))
    loop.step = loop.total - 1
    assert 0 < loop.rate() < 0.2


def fake_scores(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the passes have these Dice."""
    left = iter(values)

    def fake(probability: Any, labels: Any) -> tuple[float, float]:
        value = next(left)
        return value, value / 2

    monkeypatch.setattr(epochs, "score", fake)


def test_it_stops_when_it_no_longer_gets_better_and_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_scores(monkeypatch, [0.2, 0.6, 0.5, 0.6, 0.9])
    events: list[Event] = []
    states: list[dict[str, torch.Tensor]] = []
    network = fresh()

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochDone):
            states.append({k: v.clone() for k, v in network.state_dict().items()})

    settings = replace(SETTINGS, epochs=9, patience=2)
    work = fit_epochs(network, SAMPLES[1:], SAMPLES[:1], settings, STILL)
    _, epoch = run(work, on_event)
    passes = [event for event in events if isinstance(event, EpochDone)]
    assert [event.epoch for event in passes] == [1, 2, 3, 4]
    assert [event.best for event in passes] == [True, True, False, False]
    assert passes[1].figures == {"validation Dice": 0.6, "validation IoU": 0.3}
    assert passes[1].scores == ((0.6, 0.3),)
    assert epoch == 2
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, states[1][name])
    assert any(not torch.equal(states[1][name], states[3][name]) for name in states[1])


def test_without_held_out_images_all_passes_are_made() -> None:
    settings = replace(SETTINGS, epochs=2, patience=0)
    events: list[Event] = []
    _, epoch = run(fit_epochs(fresh(), SAMPLES, [], settings, STILL), events.append)
    assert epoch == 2
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 7))


def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path) -> None:
    def work(state: Path | None) -> Any:
        held, seen = SAMPLES[:1], SAMPLES[1:] + SAMPLES[:1]
        return fit_epochs(fresh(), seen, held, SETTINGS, STILL, state, "recipe")

    first: list[Event] = []
    whole, best = run(work(None), first.append)
    stopped = work(tmp_path / "state.pt")
    for event in stopped:
        if isinstance(event, StepDone) and event.step == 5:  # in the midst of a pass
            stopped.close()
            break
    second: list[Event] = []
    resumed, again = run(work(tmp_path / "state.pt"), second.append)
    assert best == again
    told = [[event for event in events if isinstance(event, EpochDone)] for events in
            (first, second)]  # fmt: skip
    assert len(told[0]) == 4
    assert told[0] == told[1], "the passes before it was stopped are told again"
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_foreground_of_any_size_and_number_of_classes() -> None:
    image = np.random.default_rng(0).random((1, 20, 37), dtype=np.float32)
    for classes in (1, 3):
        network = SA2Net(3, classes, 2).eval()
        found = foreground(network, image)
        assert found.shape == (20, 37)
        assert ((found >= 0) & (found <= 1)).all()
        for head in network.heads:  # a bias by which all is object, or background
            head.weight.data.zero_()
            head.bias.data[:] = torch.tensor([9.0] if classes == 1 else [0.0, 9.0, 0.0])
        assert (foreground(network, image) > 0.99).all()


def test_the_score_is_of_what_is_more_probable_than_not() -> None:
    probability = np.array([[0.9, 0.6], [0.4, 0.1]], np.float32)
    labels = np.array([[1, 0], [1, 0]])
    assert score(probability, labels) == (pytest.approx(0.5), pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patience": 3}, "set epochs"),
        ({"cycle": 3}, "set epochs"),
        ({"lowest_rate": 0.1}, "set cycle"),
        ({"epochs": 2, "cycle": 1, "hold": 0.4}, "leave them out"),
        ({"epochs": 2, "hard_from": 10}, "hard_from"),
        ({"loss": "dice"}, "give one of"),
        ({"loss": "authors", "class_weights": (1.0, 2.0)}, "class_weights"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings(**values)
