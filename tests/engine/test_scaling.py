"""What a model's own settings become where objects have another size than it works at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sa2net import api
from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.options import resolve_options
from napari_sa2net.engine.scaling import default_labelling
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
