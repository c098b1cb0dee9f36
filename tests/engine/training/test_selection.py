from __future__ import annotations

import numpy as np
import torch

from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.scoring import Scores
from napari_sa2net.engine.training.selection import (
    FEWEST_REGIONS,
    Selection,
    clearly_worse,
    half_way,
)

GOOD, POOR = (90, 10, 10), (50, 50, 50)


def scores(*blocks: tuple[float, float, float]) -> Scores:
    counts = np.array(blocks, float)
    return Scores(counts, {1: counts}, int(counts.sum()), 0.0)


def after(*evaluations: Scores) -> Selection:
    selection = Selection()
    for step, found in enumerate(evaluations, 1):
        selection.note(step, found, {"w": torch.tensor(float(step))})
    return selection


def test_weights_that_were_better_everywhere_are_kept() -> None:
    selection = after(scores(*[POOR] * 12), scores(*[GOOD] * 12), scores(*[POOR] * 12))
    assert selection.clearly_better()
    assert selection.step == 2
    assert selection.weights is not None
    assert selection.weights["w"] == 2


def test_the_last_weights_are_kept_where_chance_may_have_chosen() -> None:
    few = FEWEST_REGIONS - 1
    assert not after(scores(*[GOOD] * few), scores(*[POOR] * few)).clearly_better()
    mixed = [GOOD, POOR, POOR, GOOD, GOOD, POOR] * 2
    assert not after(scores(*mixed), scores(*mixed[1:], POOR)).clearly_better()
    assert not after(scores(*[POOR] * 12), scores(*[GOOD] * 12)).clearly_better()
    assert not after().clearly_better()


def test_the_evaluations_since_the_best_are_counted() -> None:
    assert after(scores(GOOD), scores(POOR), scores(POOR)).waited == 2
    assert after(scores(POOR), scores(GOOD)).waited == 0


def test_it_goes_on_from_its_state() -> None:
    first = after(scores(*[GOOD] * 12), scores(*[POOR] * 12))
    again = Selection()
    again.go_on(first.state())
    assert again.clearly_better()
    assert (again.step, again.waited) == (first.step, first.waited)
    assert again.note(3, scores(*[(99, 1, 1)] * 12), {"w": torch.tensor(3.0)})


def test_half_way_lies_between_the_start_and_what_was_trained() -> None:
    torch.manual_seed(0)
    start, trained = SA2Net(1, 2, 4), SA2Net(1, 2, 4)
    trained.encoder.stem.norm.running_mean += 1
    before = trained.heads[0].weight.clone()
    half = half_way(start, trained)
    middle = (start.heads[0].weight + before) / 2
    assert torch.allclose(half.heads[0].weight, middle)
    assert torch.allclose(
        half.encoder.stem.norm.running_mean, start.encoder.stem.norm.running_mean + 0.5
    )
    assert torch.equal(trained.heads[0].weight, before)


def test_only_what_is_worse_beyond_doubt_is_clearly_worse() -> None:
    assert clearly_worse(scores(*[GOOD] * 4), scores(*[POOR] * 4))
    assert not clearly_worse(scores(*[POOR] * 4), scores(*[GOOD] * 4))
    mixed = scores(GOOD, POOR, GOOD, POOR)
    assert not clearly_worse(mixed, scores(POOR, GOOD, POOR, GOOD))
    one_class = Scores(mixed.foreground, {1: scores(*[POOR] * 4).foreground}, 1, 0.0)
    better = Scores(mixed.foreground, {1: scores(*[GOOD] * 4).foreground}, 1, 0.0)
    assert clearly_worse(better, one_class)
