from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sa2net.engine.training.augment import Augmentation
from napari_sa2net.engine.training.losses import IGNORE
from napari_sa2net.engine.training.samples import Batch, Sample, draw_batch
from napari_sa2net.engine.training.settings import TrainingSettings

SETTINGS = TrainingSettings(batch=4, crop=32)


def painted(**kwargs: object) -> Sample:
    labels = np.full((200, 300), IGNORE, np.int32)
    labels[20:60, 20:280] = 0
    labels[150, 100:110] = 1
    image = (labels == 1).astype(np.float32)[None]
    return Sample(image, labels, kind="classes", painted=True, **kwargs)  # type: ignore[arg-type]


def draw(samples: list[Sample], name: str = "light", seed: int = 0, channels: int = 3) -> Batch:
    weights = np.ones(len(samples))
    rng = np.random.default_rng(seed)
    return draw_batch(samples, weights, channels, SETTINGS, Augmentation.named(name), rng)


@pytest.mark.parametrize("name", ["none", "light"])
def test_every_crop_is_painted_and_every_class_is_in_the_batch(name: str) -> None:
    samples = [painted(merged=True), painted(merged=True)]
    for seed in range(10):
        batch = draw(samples, name, seed)
        assert batch.images.shape == (4, 3, 32, 32)
        assert batch.merged.all()
        assert batch.weights is None
        assert (batch.classes != IGNORE).flatten(1).any(1).all()
        held = [set(c.unique().tolist()) - {IGNORE} for c in batch.classes]
        assert sum(1 in classes for classes in held) == 2


def test_pixels_that_weigh_nothing_do_not_count_and_attract_no_crop() -> None:
    weights = np.ones((200, 300), np.float32)
    weights[:, 110:] = 0
    weights[:, :108] = 0.25
    sample = painted(pixel_weights=weights)
    batch = draw([sample], "full")
    assert batch.weights is not None
    assert set(batch.weights.unique().tolist()) <= {0.0, 0.25, 1.0}
    target = batch.target((2,))
    assert (batch.classes[target.counted] != IGNORE).all()
    assert max(place % 300 for place in sample.places[0]) == 109


def test_weighted_and_unweighted_images_go_together() -> None:
    samples = [painted(), painted(pixel_weights=np.full((200, 300), 0.5, np.float32))]
    batch = next(b for b in (draw(samples, seed=s) for s in range(20)) if b.weights is not None)
    assert {0.5, 1.0} >= set(batch.weights.unique().tolist())  # type: ignore[union-attr]


def test_objects_get_the_numbers_of_their_classes_and_boundary() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[10:30, 10:30], labels[35:60, 10:50] = 1, 2
    sample = Sample(
        labels[None].astype(np.float32),
        labels,
        painted=True,
        lookup=np.array([0, 1, 3]),
        boundary=2,
    )
    assert set(sample.places) == {0, 1, 3}
    settings = TrainingSettings(batch=2, crop=64)
    rng = np.random.default_rng(0)
    batch = draw_batch([sample], np.ones(1), 1, settings, Augmentation.named("none"), rng)
    for image, classes in zip(batch.images, batch.classes, strict=True):
        assert (classes[image[0] == 0] == 0).all()
        assert set(classes[image[0] == 2].tolist()) <= {2, 3}
        assert set(classes[image[0] == 1].tolist()) <= {1, 2}
        assert 2 in classes


def test_a_seed_gives_the_same_batch() -> None:
    first, second = (draw([painted(), painted()], "full", 7) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.classes, second.classes)
