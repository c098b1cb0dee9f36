"""What a model's own settings become where objects have another size than it works at."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from napari_sa2net import api
from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.options import resolve_options
from napari_sa2net.engine.scaling import choose_zoom, default_labelling, resample, zoomed_shape
from napari_sa2net.engine.segmentation import SegmentOptions
from napari_sa2net.engine.weights import Model

CARD = ModelCard(name="discs", diameter=20, pixel_size=0.5, labelling=LabelSettings(min_size=100))


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 100),
        ({"diameter": 20}, 100),
        ({"diameter": 10}, 25),  # a quarter of the pixels
        ({"diameter": 40}, 400),
        ({"pixel_size": 1.0}, 25),
        ({"pixel_size": (1.0, 0.5)}, 50),
        ({"pixel_size": 1.0, "diameter": 40}, 400),  # the diameter goes first
        ({"pixel_size": 1e-6}, 10**9),  # no more than may be asked for
    ],
)
def test_the_minimum_size_has_the_scale_of_the_image(options: dict[str, Any], least: int) -> None:
    assert default_labelling(CARD, SegmentOptions(**options)).min_size == least
    some = resolve_options(CARD, threshold=0.7, **options).labelling
    assert some is not None
    assert (some.threshold, some.min_size) == (0.7, least)
    asked = resolve_options(CARD, min_size=60, **options).labelling
    assert asked is not None
    assert asked.min_size == 60  # what is asked for is in pixels of the image


def test_a_run_uses_it(tiny_model: Model) -> None:
    card = ModelCard(**{**vars(tiny_model.card), "diameter": 20.0, "labelling": CARD.labelling})
    model = Model(tiny_model.network, card)
    result = api.segment(np.zeros((32, 32), np.uint8), model, "cpu", diameter=10)
    assert result.labelling.min_size == 25


def test_a_model_without_a_scale_drops_what_it_says() -> None:
    card = ModelCard(name="any", labelling=LabelSettings(min_size=100))
    assert default_labelling(card, SegmentOptions(diameter=10, pixel_size=3.0)).min_size == 100


@pytest.mark.parametrize(
    ("size", "works_at"),
    [(0.01, 0.2), (0.005, 0.2), (0.004, 0.4), (0.002, 0.2), (0.001, 0.1), (1.0, 0.1), (2.0, 0.2)],
)
def test_what_is_within_the_limits(size: float, works_at: float) -> None:
    """Also where rounding makes 0.01 / 0.2 less than 1 / 20."""
    card = ModelCard(name="any", pixel_size=works_at)
    zoom, message = choose_zoom((2000, 2000), card, SegmentOptions(pixel_size=size))
    assert zoom == pytest.approx((size / works_at,) * 2)
    assert message is not None
    assert not message.warning


@pytest.mark.parametrize("size", [0.0009, 1.02, 1e-30, 1e30, (0.1, 1e-6), 1e-37])
def test_what_is_beyond_the_limits_is_told(size: Any) -> None:
    card = ModelCard(name="any", pixel_size=0.1)
    with pytest.raises(InputError, match="check the diameter or the pixel size and its unit"):
        choose_zoom((2000, 2000), card, SegmentOptions(pixel_size=size))


def test_a_huge_image_is_not_shrunk_by_what_memory_does_not_hold() -> None:
    card, options = ModelCard(name="any", pixel_size=1.0), SegmentOptions(pixel_size=0.02)
    choose_zoom((16_000, 16_000), card, options)  # all of it takes no more than 1 GB
    choose_zoom((50_000, 500), card, options)
    with pytest.raises(InputError, match="would be read at once: save it at a lower resolution"):
        choose_zoom((50_000, 50_000), card, options)
    choose_zoom((50_000, 50_000), card, SegmentOptions(pixel_size=0.05))  # as it was before


def test_shrinking_by_a_hundred_takes_little_more_memory_than_the_image() -> None:
    image = np.random.default_rng(0).random((1, 1500, 1500), np.float32)
    shape = zoomed_shape((1500, 1500), (0.01, 0.01))
    resample(image[:, :150, :150], shape)  # what is imported is not counted
    tracemalloc.start()
    try:
        small = resample(image, shape)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert small.shape == (1, 15, 15)
    assert abs(float(small.mean()) - 0.5) < 0.01
    assert float(small.std()) < 0.02  # smoothed, not picked
    assert peak < 4 * image.nbytes
