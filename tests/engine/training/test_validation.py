from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.losses import IGNORE
from napari_sa2net.engine.training.painting import Annotation, TrainingPair, prepare
from napari_sa2net.engine.training.samples import Sample
from napari_sa2net.engine.training.validation import split
from napari_sa2net.engine.weights import Model


def sample(labels: np.ndarray, **kwargs: object) -> Sample:
    return Sample(
        np.zeros((1, *labels.shape), np.float32),
        labels.astype(np.int32),
        kind="classes",
        painted=True,
        **kwargs,  # type: ignore[arg-type]
    )


def strokes(seed: int, side: int = 512, classes: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.full((side, side), IGNORE)
    for _ in range(6):
        for k in range(classes):
            y, x = rng.integers(5, side - 60, 2)
            labels[y : y + 4, x : x + 50] = k
    return labels


def counted(samples: list[Sample], pair: int, side: int = 512) -> np.ndarray:
    """How often each pixel of an image's plane counts."""
    out = np.zeros((side, side), int)
    for part in samples:
        if part.pair == pair:
            _, y, x = part.origin
            h, w = part.labels.shape
            out[y : y + h, x : x + w] += part.counted
    return out


@pytest.mark.parametrize("seed", range(4))
def test_no_pixel_nor_its_neighbour_is_in_both(seed: int) -> None:
    samples = [sample(strokes(seed + 10 * i), pair=i) for i in range(3)]
    made = split(samples, seed=seed)
    assert made.validation
    for i in range(3):
        train, held = counted(made.train, i), counted(made.validation, i)
        assert max(train.max(), held.max()) == 1
        for y, x in np.argwhere(held):
            assert not train[max(0, y - 16) : y + 17, max(0, x - 16) : x + 17].any()


def test_figures_add_up_and_every_class_is_in_both() -> None:
    samples = [sample(strokes(i, classes=3), pair=i) for i in range(3)]
    made = split(samples)
    total = sum(int(s.counted.sum()) for s in samples)
    assert made.pixels["train"] + made.pixels["validation"] + made.pixels["left out"] == total
    assert 0.1 * total < made.pixels["validation"] < 0.4 * total
    assert made.pixels["blocks"] == len(made.validation)
    for part in (made.train, made.validation):
        assert {k for s in part for k in s.places} == {0, 1, 2}
        assert sum(int(s.counted.sum()) for s in part) in made.pixels.values()
    assert made.reason == ""


def test_pieces_of_one_plane_are_split_as_one() -> None:
    labels = strokes(1)
    whole = sample(labels)
    halves = [
        sample(np.where(np.arange(512) < 256, labels, IGNORE)[:, :300]),
        sample(np.where(np.arange(512) >= 256, labels, IGNORE)[:, 200:], origin=(0, 0, 200)),
    ]
    one, two = split([whole], seed=2), split(halves, seed=2)
    assert np.array_equal(counted(one.train, 0), counted(two.train, 0))
    assert np.array_equal(counted(one.validation, 0), counted(two.validation, 0))


def test_what_is_held_out_is_so_in_all_planes() -> None:
    """They show much the same."""
    samples = [sample(strokes(1), origin=(z, 0, 0)) for z in range(4)]
    made = split(samples)
    held, train = counted(made.validation, 0), counted(made.train, 0)
    assert held.max() == train.max() == 4
    assert not (held.astype(bool) & train.astype(bool)).any()
    assert {s.origin[0] for s in made.validation} == {0, 1, 2, 3}


def test_many_planes_do_not_make_many_regions() -> None:
    mask = np.zeros((300, 300), int)
    mask[::40] = 1
    samples = [sample(mask, origin=(z, 0, 0)) for z in range(30)]
    samples[7].labels[8:12, 8:12] = 2
    made = split(samples)
    assert len(made.validation) == made.pixels["blocks"] == 64
    assert sum(int(s.counted.sum()) for s in made.validation) == made.pixels["validation"]
    total = sum(int(s.counted.sum()) for s in samples)
    assert made.pixels["train"] + made.pixels["validation"] + made.pixels["left out"] == total


def test_two_paintings_of_an_image_share_what_is_held_out(tiny_model: Model) -> None:
    image = np.random.default_rng(0).random((400, 400), np.float32)
    labels = strokes(1, 400) + 1
    labels[labels == IGNORE + 1] = 0  # not painted
    paintings = [Annotation(labels), Annotation(labels.T.copy())]
    other = TrainingPair(image.copy(), Annotation(labels))
    pairs = [TrainingPair(image[:], painting) for painting in paintings]
    samples = run(prepare([*pairs, other], tiny_model.card, 3))
    assert [s.pair for s in samples] == [0, 0, 2]
    made = split(samples)
    for pair in (0, 2):
        held, train = counted(made.validation, pair, 400), counted(made.train, pair, 400)
        assert held.any()
        assert not (held.astype(bool) & train.astype(bool)).any()


def test_too_little_is_said_and_nothing_is_taken_away() -> None:
    labels = np.full((128, 128), IGNORE)
    labels[60:64, 60:64], labels[70:74, 60:64] = 0, 1
    made = split([sample(labels)])
    assert not made.validation
    assert "Too little" in made.reason
    assert np.array_equal(made.train[0].labels, labels)
    assert made.pixels == {"train": 32, "validation": 0, "left out": 0, "blocks": 0}
    assert split([sample(strokes(0))], share=0).reason


def test_a_class_painted_in_one_place_stays_in_training() -> None:
    labels = strokes(0)
    labels[470:476, 470:476] = 2
    made = split([sample(labels)])
    assert made.validation
    assert any(2 in s.places for s in made.train)
    assert not any(2 in s.places for s in made.validation)
    assert "1 class" in made.reason


def test_a_full_mask_holds_out_a_limited_number_of_blocks_of_one_size() -> None:
    mask = np.zeros((1000, 1000), int)
    mask[::40] = 1
    made = split([replace(sample(mask), kind="instances")])
    assert 10 < len(made.validation) <= 64
    assert {s.labels.shape for s in made.validation} == {(128, 128)}
    assert all(s.counted.sum() <= 64 * 64 for s in made.validation)


def test_a_seed_gives_the_same_split() -> None:
    first, second = (split([sample(strokes(3))], seed=5) for _ in range(2))
    assert [s.origin for s in first.validation] == [s.origin for s in second.validation]
