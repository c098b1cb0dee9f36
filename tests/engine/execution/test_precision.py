"""Half precision is taken where results are alike, and left when numbers grow too large for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.execution import pytorch
from napari_sa2net.engine.execution.precision import (
    Precision,
    _switches,
    agree,
    computing,
    note,
    precision_for,
)
from napari_sa2net.engine.execution.pytorch import TorchBackend
from napari_sa2net.engine.inference import segment
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.segmentation import SegmentOptions
from napari_sa2net.engine.weights import Model


@pytest.fixture
def network() -> SA2Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = SA2Net(2, 3, 2)
        with torch.no_grad():
            made(torch.rand(2, 2, 32, 32))
    return made.eval()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Precision]:
    """Return a list that grows by the precision of every batch that is computed."""
    found: list[Precision] = []

    @contextmanager
    def noted(precision: Precision, device: torch.device) -> Iterator[None]:
        found.append(precision)
        with computing(precision, device):
            yield

    monkeypatch.setattr(pytorch, "computing", noted)
    return found


def tiles(scale: float = 1) -> NDArray[np.float32]:
    return scale * np.random.default_rng(0).random((1, 2, 32, 48), np.float32)


def test_half_is_taken_if_the_first_tiles_are_alike(network: SA2Net, used: list[Precision]) -> None:
    made = TorchBackend(network, "cpu", False, Precision.AUTO)
    exact = TorchBackend(network, "cpu", False).maps(tiles())
    used.clear()
    np.testing.assert_array_equal(made.maps(tiles()), exact)
    assert made.precision is Precision.HALF
    assert used == [Precision.SINGLE, Precision.HALF]
    again = made.maps(tiles())
    assert used[2:] == [Precision.HALF]
    assert again.dtype == np.float32
    assert 0 < np.abs(again - exact).max() < 0.01


def test_single_is_kept_if_they_are_not(network: SA2Net, used: list[Precision]) -> None:
    with torch.no_grad():
        network.encoder.stem.conv.weight *= 1e6
    made = TorchBackend(network, "cpu", True, Precision.AUTO)
    first = made.maps(tiles())
    assert np.isfinite(first).all()
    assert made.precision is Precision.SINGLE
    np.testing.assert_array_equal(made.maps(tiles()), first)
    assert used == [Precision.SINGLE, Precision.HALF, Precision.SINGLE]


def test_numbers_that_grow_too_large_later_are_computed_again(
    network: SA2Net, used: list[Precision]
) -> None:
    made = TorchBackend(network, "cpu", False, Precision.AUTO)
    made.maps(tiles())
    used.clear()
    found = made.maps(tiles(1e7))
    assert used == [Precision.HALF, Precision.SINGLE]
    np.testing.assert_array_equal(found, TorchBackend(network, "cpu", False).maps(tiles(1e7)))
    assert made.precision is Precision.SINGLE


@pytest.mark.parametrize(
    ("apart", "same"), [(0, True), (0.019, True), (0.021, False), (float("nan"), False)]
)
def test_one_pixel_apart_is_enough(apart: float, same: bool) -> None:
    single = torch.full((1, 2, 4, 4), 0.5)
    other = single.clone()
    other[0, 1, 2, 3] += apart
    assert agree(single, other) is same


@pytest.mark.parametrize(
    ("device", "capability", "wanted", "expected"),
    [
        ("cpu", (0, 0), "half", "single"),
        ("mps", (0, 0), "auto", "single"),
        ("cuda:0", (6, 1), "auto", "single"),
        ("cuda:0", (6, 1), "half", "half"),
        ("cuda:1", (7, 0), "auto", "auto"),
        ("cuda:0", (9, 0), "single", "single"),
    ],
)
def test_what_is_tried_where(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    capability: tuple[int, int],
    wanted: str,
    expected: str,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda name: asked.append(name) or capability
    )
    assert precision_for(device, wanted) is Precision(expected)
    assert set(asked) <= {device}


def test_half_precision_that_a_device_cannot_do_is_told(tiny_model: Model) -> None:
    image = np.zeros((16, 16), np.uint8)
    events: list[Event] = []
    run(segment(image, tiny_model, SegmentOptions(device="cpu", precision="half")), events.append)
    warnings = [e.text for e in events if isinstance(e, Message) and e.warning]
    assert any("Half precision is for NVIDIA GPUs" in text for text in warnings)
    assert not note("cpu", "auto")
    assert not note("cuda:1", "half")


def test_an_unknown_precision_is_explained() -> None:
    with pytest.raises(InputError, match="give one of auto, single, half"):
        SegmentOptions(precision="double")


@pytest.mark.parametrize("wanted", ["highest", "high"])
def test_single_precision_is_exact_whatever_the_program_has_set(wanted: str) -> None:
    """What is set is PyTorch's, with or without a card; two threads may be inside at once."""
    device, before = torch.device("cuda"), torch.get_float32_matmul_precision()

    def exact() -> list[bool]:
        return [getattr(place, name) == value for place, name, value in _switches()]

    torch.set_float32_matmul_precision(wanted)
    try:
        outside = exact()
        first, second = (computing(Precision.SINGLE, device) for _ in range(2))
        with first:
            second.__enter__()
            assert all(exact())
        assert all(exact())  # the second one is still inside
        second.__exit__(None, None, None)
        assert exact() == outside
        assert not all(outside)
    finally:
        torch.set_float32_matmul_precision(before)
