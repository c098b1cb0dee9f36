from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sa2net.engine.errors import DeviceError, SA2NetError, TrainingError
from napari_sa2net.engine.events import Message, StepDone, run
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.augment import Augmentation
from napari_sa2net.engine.training.loop import Training, fit, learning_rate_factor
from napari_sa2net.engine.training.samples import Sample, hard_weights
from napari_sa2net.engine.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=12, batch=2, crop=32, checkpoint_every=4, seed=3)


@pytest.fixture
def samples() -> list[Sample]:
    y, x = np.mgrid[:48, :48]
    labels = ((y - 20) ** 2 + (x - 25) ** 2 < 100).astype(np.int32)
    return [Sample(image=labels[None].astype(np.float32), labels=labels, diameter=20.0)]


def fresh() -> SA2Net:
    torch.manual_seed(0)
    return SA2Net(3, 3, 4)


def test_the_loss_falls_on_an_easy_image(samples: list[Sample]) -> None:
    losses: list[float] = []
    settings = TrainingSettings(steps=40, batch=2, crop=32, warmup=0.1, learning_rate=1e-2)
    network = run(
        fit(fresh(), samples, settings, Augmentation()),
        lambda event: losses.append(event.loss) if isinstance(event, StepDone) else None,
    )
    assert not network.training
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_seed_gives_the_same_weights(samples: list[Sample]) -> None:
    first, second = (run(fit(fresh(), samples, SETTINGS, Augmentation())) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stopped_and_resumed_equals_never_stopped(samples: list[Sample], tmp_path: Path) -> None:
    whole = run(fit(fresh(), samples, SETTINGS, Augmentation()))
    state = tmp_path / "state.pt"
    stopped = fit(fresh(), samples, SETTINGS, Augmentation(), state, "recipe")
    for event in stopped:
        if isinstance(event, StepDone) and event.step == 9:
            stopped.close()
            break
    messages: list[str] = []
    resumed = run(
        fit(fresh(), samples, SETTINGS, Augmentation(), state, "recipe"),
        lambda event: messages.append(event.text) if isinstance(event, Message) else None,
    )
    assert messages == ["Going on at step 8 of 12."]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_an_older_version_is_gone_on_with(samples: list[Sample], tmp_path: Path) -> None:
    whole = run(fit(fresh(), samples, SETTINGS, Augmentation()))
    state = tmp_path / "state.pt"
    stopped = fit(fresh(), samples, SETTINGS, Augmentation(), state, "recipe")
    next(event for event in stopped if isinstance(event, StepDone) and event.step == 8)
    stopped.close()
    older = torch.load(state, weights_only=True)
    # These versions kept a scheduler of the learning rate, and its first value in the groups.
    older["scheduler"] = {"last_epoch": 8}
    older["optimizer"]["param_groups"][0]["initial_lr"] = SETTINGS.learning_rate
    torch.save(older, state)
    resumed = run(fit(fresh(), samples, SETTINGS, Augmentation(), state, "recipe"))
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_too_little_memory_is_explained(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Training, "_update", full)
    with pytest.raises(DeviceError, match="smaller"):
        run(fit(fresh(), samples, SETTINGS, Augmentation()))


def test_an_error_of_torch_becomes_one_that_windows_show(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise RuntimeError("something else")

    monkeypatch.setattr(Training, "_update", broken)
    with pytest.raises(SA2NetError, match="something else"):
        run(fit(fresh(), samples, SETTINGS, Augmentation()))


def test_the_state_of_another_training_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    run(fit(fresh(), samples, SETTINGS, Augmentation(), state, "one"))
    with pytest.raises(TrainingError, match="other settings"):
        run(fit(fresh(), samples, SETTINGS, Augmentation(), state, "two"))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_damaged_state_is_explained(samples: list[Sample], tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    state.write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="begin anew"):
        run(fit(fresh(), samples, SETTINGS, Augmentation(), state, "one"))


def test_a_loss_that_is_not_finite_stops_the_training(samples: list[Sample]) -> None:
    broken = [Sample(image=samples[0].image * np.nan, labels=samples[0].labels)]
    with pytest.raises(TrainingError, match="learning rate"):
        run(fit(fresh(), broken, SETTINGS, Augmentation()))


def test_the_learning_rate_rises_and_then_falls() -> None:
    settings = TrainingSettings(steps=100, warmup=0.1)
    factors = [learning_rate_factor(step, settings) for step in range(100)]
    assert factors.index(max(factors)) == pytest.approx(10, abs=1)
    assert factors[0] < 0.2
    assert factors[-1] < 0.01


def test_a_restart_raises_the_learning_rate_once_more() -> None:
    settings = TrainingSettings(
        steps=150, warmup=0.1, hold=0.4, restart_steps=(100,), restart_rate=0.5
    )
    factors = [learning_rate_factor(step, settings) for step in range(150)]
    assert factors[30] == 1
    assert factors[99] < 0.01
    assert factors[100] == 0.5
    assert factors[149] < 0.01


def test_badly_fitted_images_are_drawn_more_often_within_their_data_set() -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 8:24] = 1
    image = labels[None].astype(np.float32)
    samples = [
        Sample(image=image, labels=labels, weight=0.25, dataset="a"),
        Sample(image=image, labels=np.zeros_like(labels), weight=0.25, dataset="a"),
        Sample(image=image, labels=labels, weight=0.5, dataset="b"),
    ]
    settings = TrainingSettings(steps=40, batch=2, crop=32, warmup=0.1, learning_rate=1e-2)
    network = run(fit(fresh(), [samples[0]], settings, Augmentation()))
    weights = hard_weights(network, samples)
    assert weights[1] > 2 * weights[0], "the second image's mask contradicts what was learnt"
    assert weights[:2].sum() == pytest.approx(0.5)
    assert weights[2] == pytest.approx(0.5)
