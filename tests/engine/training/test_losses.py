from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from napari_sa2net.engine.training.losses import (
    IGNORE,
    LOSSES,
    Target,
    cross_entropy_dice,
    deep_supervision,
    painted_log_probabilities,
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


def strokes() -> Target:
    """Two images with strokes of the classes 0 and 1, and pixels that weigh nothing."""
    classes = torch.full((2, 32, 32), IGNORE)
    classes[0, 4, 2:30], classes[0, 9, 2:30], classes[1, 20, 5:9] = 0, 1, 1
    weights = torch.rand(2, 32, 32) + 0.1
    weights[0, :, 15:] = 0
    return Target(classes, weights, torch.tensor([True, False]), (2,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_painted_has_no_gradient_at_any_stage(name: str, channels: int) -> None:
    target = replace(strokes(), derived=(2,) if channels == 3 else ())
    stages = [(30 * torch.randn(2, channels, 32, 32)).requires_grad_() for _ in range(4)]
    deep_supervision(stages, target, LOSSES[name]).backward()
    for stage in stages:
        assert stage.grad is not None
        of_pixels = stage.grad.abs().sum(1)
        assert (of_pixels[~target.counted] == 0).all()
        assert (of_pixels[target.counted] > 0).float().mean() > 0.3
        assert torch.isfinite(stage.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_with_nothing_painted_has_no_gradient(name: str) -> None:
    logits = torch.full((1, 3, 8, 8), torch.inf, requires_grad=True)
    for target in (
        Target(torch.full((1, 8, 8), IGNORE)),
        Target(torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8)),
    ):
        loss = deep_supervision([logits] * 4, target, LOSSES[name])
        loss.backward()
        assert loss.item() == 0
        assert logits.grad is not None
        assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_right_costs_least_and_only_one_class_is_no_problem(name: str) -> None:
    target = torch.randint(0, 3, (2, 16, 16))
    costs = [
        LOSSES[name](logits, Target(target)).item()
        for logits in (
            confident(target, 3),
            torch.zeros(2, 3, 16, 16),
            confident((target + 1) % 3, 3),
        )
    ]
    assert costs[0] == pytest.approx(0, abs=1e-2)
    assert costs[0] < costs[1] < costs[2]
    for k in (0, 1):
        alone = LOSSES[name](torch.zeros(1, 3, 8, 8), Target(torch.full((1, 8, 8), k)))
        assert torch.isfinite(alone)


@pytest.mark.parametrize("name", LOSSES)
def test_of_strokes_the_derived_class_counts_as_the_object(name: str) -> None:
    target = torch.randint(0, 2, (1, 16, 16))
    merged = Target(target, merged=torch.tensor([True]), derived=(2,))
    boundary = confident(torch.where(target == 1, 2, 0), 3)
    assert LOSSES[name](boundary, merged).item() == pytest.approx(0, abs=1e-2)
    assert LOSSES[name](boundary, Target(target, derived=(2,))).item() > 1
    wrong = LOSSES[name](confident(torch.full_like(target, 2), 3), merged)
    assert wrong.item() > 1, "a boundary on painted background is wrong"


def test_merging_keeps_how_object_and_boundary_share() -> None:
    log_odds = []
    for z in (0.0, 2.0):
        logits = torch.tensor([0.5, z, 0.0]).view(1, 3, 1, 1).requires_grad_()
        one = Target(torch.ones(1, 1, 1, dtype=torch.long), None, torch.tensor([True]), (2,))
        LOSSES["product"](logits, one).backward()
        assert logits.grad is not None
        log_odds.append(logits.grad.flatten())
    even, object_first = log_odds
    assert even[1] == pytest.approx(even[2].item())
    assert object_first[1] / object_first[2] == pytest.approx(torch.tensor(2.0).exp().item(), 1e-3)


def test_merged_probabilities_are_those_of_the_painted_classes() -> None:
    target = Target(torch.tensor([[[0, 1, 3]]]), None, torch.tensor([True]), (2,))
    q = painted_log_probabilities(torch.randn(1, 4, 1, 3), target).exp()
    assert torch.allclose(q.sum(1), torch.ones(3))
    assert (q[:, 2] == 0).all()


def test_a_rare_class_counts_for_more_than_its_pixels_and_less_than_the_others() -> None:
    target = torch.zeros(1, 16, 16, dtype=torch.long)
    target[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 16, 16, requires_grad=True)
    LOSSES["product"](logits, Target(target)).backward()
    assert logits.grad is not None
    pull = logits.grad[0, 1].abs()
    assert pull[0, 0] > 10 * pull[5:].max()
    assert pull[0, 0] < 0.5 * pull.sum()


def test_one_logit_is_the_same_as_two() -> None:
    target = strokes()
    z = torch.randn(2, 1, 32, 32)
    binary = Target(target.classes, target.weights)
    for loss in LOSSES.values():
        two = loss(torch.cat([torch.zeros_like(z), z], 1), binary)
        assert loss(z, binary).item() == pytest.approx(two.item(), rel=1e-5)


def test_the_loss_of_a_binary_model_is_that_of_its_two_classes() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 8, 8), Target(torch.randint(0, 2, (2, 8, 8)))
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    assert torch.equal(cross_entropy_dice(logits, target), cross_entropy_dice(both, target))
