from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sa2net.engine.training.comparison import compare, interval
from napari_sa2net.engine.training.losses import IGNORE, product_loss
from napari_sa2net.engine.training.samples import Sample
from napari_sa2net.engine.training.scoring import Scores, score
from napari_sa2net.engine.weights import Model

NAMES = {1: "cell"}


def scores(*blocks: tuple[float, float, float]) -> Scores:
    counts = np.array(blocks, float)
    return Scores(counts, {1: counts}, int(counts.sum()), 0.0)


def test_better_on_every_block_is_better() -> None:
    before = scores(*[(50, 50, 50)] * 5)
    after = scores(*[(90, 10, 10)] * 5)
    found = compare(before, after, NAMES)
    assert found.verdict == "better"
    assert found.before == pytest.approx(0.5)
    assert found.after == pytest.approx(0.9)
    assert found.per_class == {"cell": (pytest.approx(0.5), pytest.approx(0.9))}
    assert found.low is not None
    assert found.low > 0
    assert "0.50 before and 0.90 after" in found.text
    assert "5 region(s)" in found.text
    assert "flatters" in found.text
    back = compare(after, before, NAMES)
    assert back.verdict == "worse"
    assert "worse" in back.text
    assert "flatters" not in back.text


def test_blocks_that_contradict_each_other_are_too_close_to_call() -> None:
    before = scores((50, 50, 50), (90, 10, 10), (50, 50, 50), (90, 10, 10))
    after = scores((90, 10, 10), (50, 50, 50), (92, 10, 10), (50, 50, 50))
    found = compare(before, after, NAMES)
    assert found.verdict == "too close to call"
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_two_blocks_are_too_few() -> None:
    found = compare(scores((1, 9, 9), (1, 9, 9)), scores((9, 1, 1), (9, 1, 1)), NAMES)
    assert found.verdict == "too close to call"
    assert "too few regions" in found.text


def test_nothing_held_out_is_said() -> None:
    found = compare(None, None, NAMES, "Too little is painted to hold some of it out.")
    assert found.verdict == "not compared"
    assert found.text.startswith("Too little is painted")
    assert found.after is None


def test_the_interval_is_the_same_each_time() -> None:
    before, after = np.array([[5.0, 1, 1]] * 4), np.array([[6.0, 1, 0]] * 4)
    assert interval(before, after) == interval(before, after)


def test_an_interval_that_is_surer_is_wider() -> None:
    before, after = (
        np.random.default_rng(s).integers(1, 90, (12, 3)).astype(float) for s in (0, 1)
    )
    low, high = interval(before, after)
    wider = interval(before, after, chance=0.005)
    assert wider[0] < low < high < wider[1]


def test_only_pixels_that_count_are_scored(tiny_model: Model) -> None:
    rng = np.random.default_rng(0)
    labels = np.full((40, 50), IGNORE, np.int32)
    labels[5:10, 5:20], labels[20:30, 5:20] = 0, 1
    image = rng.random((1, 40, 50), dtype=np.float32)
    weights = np.ones(labels.shape, np.float32)
    weights[25:] = 0.5
    sample = Sample(image, labels, kind="classes", pixel_weights=weights, merged=True)
    found = score(tiny_model.network, [sample], (2,), product_loss)
    assert found.pixels == 15 * 15
    true, _, missed = found.foreground[0]
    assert true + missed == pytest.approx(5 * 15 + 5 * 15 * 0.5)
    assert found.loss > 0
    other = np.where(labels == IGNORE, 1, labels)
    weights = np.where(labels == IGNORE, np.float32(0), weights)
    changed = Sample(image, other, kind="classes", pixel_weights=weights, merged=True)
    again = score(tiny_model.network, [changed], (2,), product_loss)
    np.testing.assert_array_equal(found.foreground, again.foreground)
    assert again.loss == pytest.approx(found.loss)


def test_a_derived_class_counts_as_the_painted_one(tiny_model: Model) -> None:
    class Boundary(torch.nn.Module):
        num_classes, in_channels = 3, 1

        def __init__(self) -> None:
            super().__init__()
            self.some = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            logits = torch.tensor([0.0, 1.0, 5.0])[None, :, None, None]
            return [logits.expand(1, 3, *x.shape[-2:])] * 4

    sample = Sample(np.zeros((1, 16, 16), np.float32), np.ones((16, 16), np.int32), kind="classes")
    found = score(Boundary(), [sample], (2,))  # type: ignore[arg-type]
    assert found.dice == 1
    assert list(found.classes) == [1]
    assert found.mean_dice == 1


@pytest.mark.parametrize(
    ("live", "dead", "verdict", "told"),
    [
        ((70, 71), (80, 5), "worse", "worse at: dead"),
        ((60, 95), (80, 5), "worse", "worse at: dead"),  # though the whole got better
        ((60, 58), (10, 90), "better", "better at: dead"),
        ((60, 61), (60, 61), "too close to call", "Too close"),
    ],
)
def test_a_class_that_got_worse_is_seen(
    live: tuple[int, int], dead: tuple[int, int], verdict: str, told: str
) -> None:
    rng = np.random.default_rng(0)

    def made(which: int) -> Scores:
        counts = {}
        for k, value in ((1, live[which]), (2, dead[which])):
            true = value + rng.integers(-4, 5, 12)
            counts[k] = np.stack([true, 100 - true, 100 - true], axis=1).astype(float)
        return Scores(30 * counts[1] + counts[2], counts, 1000, 0.0)

    found = compare(made(0), made(1), {1: "live", 2: "dead"})
    assert found.verdict == verdict
    assert told in found.text
