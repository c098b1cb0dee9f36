from __future__ import annotations

import numpy as np
import torch

from napari_sa2net.engine.training.scoring import Scores
from napari_sa2net.engine.training.selection import FEWEST_REGIONS, Selection

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
