"""On an NVIDIA card: the same maps and labels, in single and in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net.engine.events import run
from napari_sa2net.engine.execution.backends import make_backend
from napari_sa2net.engine.execution.cuda import CudaBackend
from napari_sa2net.engine.execution.precision import Precision
from napari_sa2net.engine.execution.pytorch import TorchBackend
from napari_sa2net.engine.inference import segment
from napari_sa2net.engine.metrics import average_precision
from napari_sa2net.engine.segmentation import SegmentOptions
from napari_sa2net.engine.weights import Model, load_model
from napari_sa2net.gui.sample_data import load_sample

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("nuclei")


@pytest.fixture(scope="module")
def batches() -> list[np.ndarray[Any, Any]]:
    image = load_sample("fluorescence").astype(np.float32) / 255
    return [
        np.repeat(image[None, None, top : top + 128, :256], 3, axis=1) for top in range(0, 96, 16)
    ]


@pytest.mark.parametrize("everything", [False, True])
def test_single_precision_is_that_of_the_processor(
    model: Model, batches: Any, everything: bool
) -> None:
    made = make_backend(model.network, "cuda:0", everything, precision="single")
    assert isinstance(made, CudaBackend)
    expected = TorchBackend(model.network, "cpu", everything).maps(batches[0])
    np.testing.assert_allclose(made.maps(batches[0]), expected, atol=1e-4)


@pytest.mark.parametrize("precision", ["single", "half"])
def test_batches_that_are_begun_ahead_give_what_they_give_alone(
    model: Model, batches: Any, precision: str
) -> None:
    made = make_backend(model.network, "cuda:0", False, precision=precision)
    alone = [made.maps(batch) for batch in batches]
    begun = [made.start(batch) for batch in batches]
    for finish, expected in zip(begun, alone, strict=True):
        np.testing.assert_allclose(finish(), expected, atol=1e-5)


def test_what_half_precision_finds_too_large_is_computed_again(model: Model, batches: Any) -> None:
    made = CudaBackend(model.network, "cuda:0", False, Precision.HALF)
    begun = [made.start(batch * 1e4) for batch in batches[:2]]
    assert made.precision is Precision.HALF
    assert all(np.isfinite(finish()).all() for finish in begun)
    assert made.precision is Precision.SINGLE


@pytest.mark.parametrize("sample", ["fluorescence", "histology"])
def test_the_objects_are_those_of_the_processor(model: Model, sample: str) -> None:
    image = load_sample(sample)
    rgb = image.ndim == 3
    by_card, by_processor = (
        run(segment(image, model, SegmentOptions(device=device, rgb=rgb, tile=256, batch=2)))
        for device in ("cuda:0", "cpu")
    )
    assert by_card.device == "cuda:0"
    assert by_card.labels.max() == by_processor.labels.max() > 0
    assert average_precision(by_card.labels, by_processor.labels, 0.9) == 1
