"""Several networks as one: their probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .network import STAGES, Explanation, SA2Net


class Ensemble(nn.Module):
    """Networks of one shape that give the mean of their probabilities, at every stage.

    It is used as a :class:`~napari_sa2net.engine.network.SA2Net` is: its logits are those of the
    mean probabilities. The members run one after another, so that activations take no more
    memory than those of one.

    Parameters
    ----------
    members
        Two or more, of the same channels, classes and width; they are not copied.

    Raises
    ------
    InputError
        If there are fewer than two, or they differ in shape.
    """

    def __init__(self, members: Sequence[SA2Net]) -> None:
        super().__init__()
        shapes = {(m.in_channels, m.num_classes, m.base_channels) for m in members}
        if len(members) < 2 or len(shapes) > 1:
            raise InputError(
                "An ensemble needs two or more networks of the same input channels, classes and "
                f"width, got {len(members)} of {len(shapes)} kind(s)."
            )
        self.in_channels = members[0].in_channels
        self.num_classes = members[0].num_classes
        self.base_channels = members[0].base_channels
        self.members = nn.ModuleList(members)

    @property
    def networks(self) -> list[SA2Net]:
        """The members."""
        return [cast(SA2Net, member) for member in self.members]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' logits, finest first, as ``SA2Net.forward`` does."""
        logs: list[Tensor] = []
        for member in self.networks:
            logs = _added(logs, [_log_probabilities(stage) for stage in member(x)], _log_add)
        return [self._logits(stage) for stage in logs]

    def explain(self, x: Tensor) -> Explanation:
        """Return the logits, and the means of the members' attention maps and gates."""
        logs: list[Tensor] = []
        maps: list[Tensor] = []
        for member in self.networks:
            found = member.explain(x)
            logs = _added(logs, [_log_probabilities(s) for s in found.logits], _log_add)
            maps = _added(maps, [*found.attention, *found.gates], torch.add)
        means = [total / len(self.members) for total in maps]
        return Explanation([self._logits(s) for s in logs], means[:STAGES], means[STAGES:])

    def _logits(self, logs: Tensor) -> Tensor:
        """Return the logits (B, num_classes, H, W) of summed probabilities, given as logarithms.

        Softmax and sigmoid take the sum for the mean: only ratios count.
        """
        return logs[:, 1:] - logs[:, :1] if self.num_classes == 1 else logs


Network: TypeAlias = SA2Net | Ensemble
"""What a model can hold."""


def members_of(network: Network) -> list[SA2Net]:
    """Return the members of an ensemble, or a single network alone."""
    return network.networks if isinstance(network, Ensemble) else [network]


def _log_probabilities(logits: Tensor) -> Tensor:
    """Return the logarithms of the probabilities (B, K, H, W); a single logit has two classes."""
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return F.log_softmax(logits, dim=1)


def _log_add(a: Tensor, b: Tensor) -> Tensor:
    # Not torch.logaddexp, which cannot be exported as ONNX.
    return torch.logsumexp(torch.stack([a, b]), dim=0)


def _added(
    total: list[Tensor], new: list[Tensor], add: Callable[[Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """Return ``new`` added to ``total``, map by map; an empty ``total`` is nothing yet."""
    return [add(a, b) for a, b in zip(total, new, strict=True)] if total else new
