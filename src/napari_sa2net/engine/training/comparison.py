"""Whether a trained model is better than its start model, on regions held out from training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .scoring import Scores, dice_of

Verdict = Literal["better", "worse", "too close to call", "not compared"]

FEWEST_BLOCKS = 3
"""Fewer regions than this tell nothing about chance."""

DRAWS = 2000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Comparison:
    """A start model and a trained one on the same held-out pixels."""

    before: float | None
    """Foreground Dice of the start model, if there is one that can be compared."""
    after: float | None
    """Foreground Dice of the trained model, None if nothing was held out."""
    verdict: Verdict
    text: str
    """For a person."""
    per_class: dict[str, tuple[float | None, float]] = field(default_factory=dict)
    """Dice of each painted class but the background, before and after."""
    pixels: int = 0
    """Painted pixels that were compared, at working scale."""
    blocks: int = 0
    """Held-out regions they lie in."""
    low: float | None = None
    """95 % interval of the difference, from drawing the regions again and again."""
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a card or a JSON file."""
        return {
            "before": self.before,
            "after": self.after,
            "verdict": self.verdict,
            "text": self.text,
            "per_class": {name: list(pair) for name, pair in self.per_class.items()},
            "pixels": self.pixels,
            "blocks": self.blocks,
            "interval": None if self.low is None else [self.low, self.high],
        }


def compare(
    before: Scores | None, after: Scores | None, names: dict[int, str], reason: str = ""
) -> Comparison:
    """Compare what two models made of the same held-out regions.

    Parameters
    ----------
    before, after
        Of the start model and the trained one. Without ``after`` nothing was held out.
    names
        Of the painted classes but the background, by number.
    reason
        Why there is nothing to compare.
    """
    if after is None:
        return Comparison(None, None, "not compared", _not_compared(reason))
    pixels, blocks = after.pixels, len(after.foreground)
    size = f"{pixels} held-out pixels in {blocks} region(s)"
    same = before is not None and before.classes.keys() == after.classes.keys()
    per_class = {
        names.get(k, f"class {k}"): (
            dice_of(before.classes[k].sum(0)) if before is not None and same else None,
            dice_of(counts.sum(0)),
        )
        for k, counts in after.classes.items()
    }
    if before is None:
        text = f"Dice {after.dice:.2f} on {size}. {reason or 'There is no start model to compare.'}"
        return Comparison(None, after.dice, "not compared", text, per_class, pixels, blocks)
    low, high = interval(before.foreground, after.foreground)
    verdict, which = _verdict(low, high, blocks), ""
    if same and len(after.classes) > 1:
        verdict, which = _of_all_classes(verdict, before, after, names)
    change = f"Dice {before.dice:.2f} before and {after.dice:.2f} after, on {size}. "
    text = change + _TEXTS[verdict] + which
    if verdict == "too close to call" and blocks < FEWEST_BLOCKS:
        text = change + "Too close to call: that is too few regions. Paint in further places."
    if after.dice > before.dice:
        text += _FLATTERED
    return Comparison(before.dice, after.dice, verdict, text, per_class, pixels, blocks, low, high)


_TEXTS: dict[Verdict, str] = {
    "better": "The new model is better.",
    "worse": "The new model is worse.",
    "too close to call": "Too close to call: the regions differ more than the models do.",
}

_FLATTERED = (
    " Strokes are mostly where the start model failed, which flatters the new one: look at both."
)


def _not_compared(reason: str) -> str:
    why = reason or "Nothing was held out."
    return f"{why} Whether the new model is better was not measured: look at its result."


def _verdict(low: float, high: float, blocks: int) -> Verdict:
    if blocks < FEWEST_BLOCKS or low <= 0 <= high:
        return "too close to call"
    return "better" if low > 0 else "worse"


def _of_all_classes(
    whole: Verdict, before: Scores, after: Scores, names: dict[int, str]
) -> tuple[Verdict, str]:
    """Return the verdict where there are classes of objects, and of which of them it is.

    A class that got worse makes a model worse, however well it tells objects from background.
    """
    found: dict[Verdict, list[str]] = {"better": [], "worse": []}
    for k, counts in after.classes.items():
        low, high = interval(before.classes[k], counts)
        here = int(counts[:, (0, 2)].any(axis=1).sum())  # regions in which there is something of it
        verdict = _verdict(low, high, here)
        if verdict in found:
            found[verdict].append(names.get(k, f"class {k}"))
    if found["worse"]:
        return "worse", f" It is worse at: {', '.join(found['worse'])}."
    if whole == "too close to call" and found["better"]:
        return "better", f" It is better at: {', '.join(found['better'])}."
    return whole, ""


def interval(
    before: NDArray[np.float64], after: NDArray[np.float64], chance: float = 0.05
) -> tuple[float, float]:
    """Return the bootstrap interval of the gain in Dice, of 95 % unless told otherwise.

    Parameters
    ----------
    before, after
        (blocks, 3) counts of the same blocks, which are drawn again with replacement.
    chance
        Of the gain to lie outside, half of it on either side.
    """
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(before), size=(DRAWS, len(before)))
    gains = [dice_of(after[at].sum(0)) - dice_of(before[at].sum(0)) for at in drawn]
    low, high = np.quantile(gains, (chance / 2, 1 - chance / 2))
    return float(low), float(high)
