"""Which weights of a training to keep: the last ones, earlier ones, or those half way back."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..network import SA2Net
from .comparison import interval
from .scoring import Scores

Weights = dict[str, Tensor]

FEWEST_REGIONS = 10
"""Of fewer held-out regions it is chance which weights look best."""

CHANCE = 0.005
"""With which earlier weights may seem better than the last ones without being so. One of many
evaluations always is the best by chance, so this is stricter than for a comparison of two."""


DOUBT = 0.2
"""With which weights half way back may seem worse than the new ones without being so."""

KNOWS = 0.5
"""A start whose Dice is less than this share of the new one's knows nothing worth keeping."""


def half_way(start: SA2Net, trained: SA2Net) -> SA2Net:
    """Return a network whose weights are the mean of those of two.

    Strokes are not a fair sample: a person paints where the model fails, and the new weights
    fit that. The mean with the weights before keeps more of what was right (weight-space
    ensembling; Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    network = copy.deepcopy(trained)
    weights = start.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(weights[name].to(value.device), 0.5)
    return network


def clearly_worse(before: Scores, after: Scores) -> bool:
    """Return whether the held-out regions speak for the first of two networks, in any class."""
    pairs = [(before.foreground, after.foreground)]
    pairs += [(before.classes[k], after.classes[k]) for k in before.classes]
    return any(interval(a, b, chance=DOUBT)[1] < 0 for a, b in pairs)


class Selection:
    """The best evaluation so far beside the last one.

    At the end of a budget the learning rate is nought and the weights are averaged, so the last
    ones are the best as a rule. A few strokes that were held out, most of them where the start
    model was wrong, would often prefer those of the first steps. Earlier weights are therefore
    kept only if the held-out regions, drawn again and again, hardly ever say otherwise.
    """

    def __init__(self) -> None:
        self.weights: Weights | None = None
        self.step = 0
        """At which these weights were."""
        self.waited = 0
        """Evaluations since."""
        self._dice = -1.0
        self._best: NDArray[np.float64] = np.zeros((0, 3))
        self._last: NDArray[np.float64] = np.zeros((0, 3))

    def note(self, step: int, found: Scores, weights: Weights) -> bool:
        """Take an evaluation in; tell whether it is the best so far."""
        self._last = found.foreground
        better = found.mean_dice > self._dice
        self.waited = 0 if better else self.waited + 1
        if better:
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
            self.step, self._dice, self._best = step, found.mean_dice, found.foreground
        return better

    def clearly_better(self) -> bool:
        """Return whether the best weights are better than the last, beyond chance."""
        if self.weights is None or not self.waited or len(self._best) < FEWEST_REGIONS:
            return False
        return interval(self._last, self._best, chance=CHANCE)[0] > 0

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors, for a checkpoint."""
        return {
            "weights": self.weights,
            "step": self.step,
            "waited": self.waited,
            "dice": self._dice,
            "best": self._best.tolist(),
            "last": self._last.tolist(),
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self.weights, self.step, self.waited = state["weights"], state["step"], state["waited"]
        self._dice = state["dice"]
        self._best, self._last = (
            np.asarray(state[name], np.float64).reshape(-1, 3) for name in ("best", "last")
        )
