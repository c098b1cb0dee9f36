"""Planes whose batches are begun before an earlier one is done, as on a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sa2net.engine import prediction
from napari_sa2net.engine.events import Message, run
from napari_sa2net.engine.execution.precision import Precision
from napari_sa2net.engine.execution.pytorch import TorchBackend
from napari_sa2net.engine.inference import segment
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.prediction import Plan, Predictor
from napari_sa2net.engine.segmentation import SegmentOptions

Maps = Callable[[], NDArray[np.float32]]


class Card(TorchBackend):
    """Begins one batch ahead; memory may run out when a batch is begun, or when it is fetched."""

    ahead = 1
    log: list[tuple[str, int]]
    full: set[tuple[str, int]]

    def start(self, x: NDArray[np.float32]) -> Maps:
        number = sum(what == "begun" for what, _ in self.log)
        self._note("begun", number)

        def finish() -> NDArray[np.float32]:
            self._note("fetched", number)
            return self.maps(x)

        return finish

    def _note(self, what: str, number: int) -> None:
        self.log.append((what, number))
        if (what, number) in self.full:
            raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def network() -> SA2Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SA2Net(1, 2, 2).eval()


@pytest.fixture
def plane() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, 160, 224), np.float32)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> type[Card]:
    made = type("Card", (Card,), {"log": [], "full": set()})
    monkeypatch.setattr(
        prediction,
        "make_backend",
        lambda network, device, everything, *_: made(network, device, everything),
    )
    return made


def predicted(network: SA2Net, plane: NDArray[np.float32], **more: Any) -> tuple[Any, list[str]]:
    """Return the maps of a plane in batches of two tiles, and what was said."""
    said: list[str] = []
    predictor = Predictor(network, Plan("cpu", 2, 64, 0, 0, backend="torch", **more))
    maps = run(
        predictor.plane(plane, 0), lambda e: said.append(e.text) if isinstance(e, Message) else None
    )
    return maps, said


def test_the_next_batch_is_begun_first(
    network: SA2Net, plane: NDArray[np.float32], card: type[Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = predicted(network, plane)
    assert card.log[:5] == [
        ("begun", 0),
        ("begun", 1),
        ("fetched", 0),
        ("begun", 2),
        ("fetched", 1),
    ]
    tiles = len(Plan("cpu", 2, 64, 0, 0).grid((160, 224)))
    assert len(card.log) == 2 * -(-tiles // 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(found, predicted(network, plane)[0])


def test_of_mirror_images_few_are_under_way_at_a_time(
    network: SA2Net, plane: NDArray[np.float32], card: type[Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them holds memory: the next is begun, but not all."""
    found, _ = predicted(network, plane, flips=True)
    waiting = np.cumsum([1 if what == "begun" else -1 for what, _ in card.log])
    assert waiting.max() == 3  # this one, the next, and the first of the next batch
    assert waiting[-1] == 0
    monkeypatch.undo()
    np.testing.assert_array_equal(found, predicted(network, plane, flips=True)[0])


def test_half_precision_is_told(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Any, real_image: Any
) -> None:
    def half(network: SA2Net, device: str, everything: bool, *_: Any) -> TorchBackend:
        return TorchBackend(network, device, everything, Precision.HALF)

    options = SegmentOptions(device="cpu")
    told = "The network ran on cpu in half precision."
    assert told not in run(segment(real_image[:32, :32], tiny_model, options)).messages
    monkeypatch.setattr(prediction, "make_backend", half)
    assert told in run(segment(real_image[:32, :32], tiny_model, options)).messages


@pytest.mark.parametrize("what", ["begun", "fetched"])
def test_no_tile_is_lost_when_memory_runs_out(
    network: SA2Net, plane: NDArray[np.float32], card: type[Card], what: str
) -> None:
    expected, _ = predicted(network, plane)
    card.log.clear()
    card.full.add((what, 2))
    found, said = predicted(network, plane)
    assert len(said) == 1
    assert "1 tile(s) at a time" in said[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    done = [number for kind, number in card.log if kind == "fetched"]
    assert {0, 1} <= set(done)
    assert len(done) == len(set(done))
