from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from napari_sa2net.engine.training.losses import (
    IGNORE,
    Target,
    cross_entropy_dice,
    deep_supervision,
    soft_dice,
)


def confident(target: torch.Tensor, classes: int) -> torch.Tensor:
    return 40.0 * F.one_hot(target, classes).movedim(-1, 1).float()


def test_a_perfect_prediction_costs_nothing() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    assert cross_entropy_dice(confident(target, 3), Target(target)).item() == pytest.approx(
        0, abs=1e-3
    )


def test_a_wrong_prediction_costs_more_than_an_undecided_one() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    wrong = cross_entropy_dice(confident((target + 1) % 3, 3), Target(target))
    undecided = cross_entropy_dice(torch.zeros(2, 3, 8, 8), Target(target))
    assert wrong > undecided > 0.5


def test_ignored_pixels_have_no_gradient() -> None:
    target = torch.randint(0, 3, (1, 8, 8))
    target[0, :4] = IGNORE
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    cross_entropy_dice(logits, Target(target)).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :4] == 0).all()
    assert (logits.grad[:, :, 4:] != 0).any()


def test_nothing_painted_costs_nothing() -> None:
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    loss = cross_entropy_dice(logits, Target(torch.full((1, 8, 8), IGNORE)))
    loss.backward()
    assert loss.item() == 0


def test_a_class_that_is_absent_does_not_count_in_the_dice() -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    assert soft_dice(confident(target, 3), target).item() == pytest.approx(0, abs=1e-3)


def test_every_stage_counts_with_its_weight() -> None:
    target = torch.randint(0, 2, (1, 8, 8))
    good, bad = confident(target, 2), confident(1 - target, 2)
    first = deep_supervision([bad, good, good, good], Target(target), weights=(1, 0, 0, 0))
    rest = deep_supervision([bad, good, good, good], Target(target), weights=(0, 1, 1, 1))
    even = deep_supervision([bad, good, good, good], Target(target))
    assert rest.item() == pytest.approx(0, abs=1e-3)
    assert even.item() == pytest.approx(first.item() / 4, rel=1e-3)
