"""What a network gives for a tile: probabilities, and on request the stages and attention."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..network import SA2Net


def probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities (B, K, H, W) of logits, background first.

    A single logit is that of the only object class: its two classes are returned.
    """
    if logits.shape[1] == 1:
        p = torch.sigmoid(logits)
        return torch.cat([1 - p, p], dim=1)
    if torch.onnx.is_in_onnx_export():
        # A softmax over anything but the last axis is slow there.
        powers = torch.exp(logits - logits.amax(dim=1, keepdim=True))
        return powers / powers.sum(dim=1, keepdim=True)
    return torch.softmax(logits, dim=1)


def half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return values as float16. NumPy takes many times as long for those near 0."""
    out: NDArray[np.float16] = torch.from_numpy(values).half().numpy()
    return out


class Maps(nn.Module):
    """A network with its activations.

    Parameters
    ----------
    network
        It is not copied.
    everything
        Whether the stages and the attention maps are wanted besides the probabilities.
    """

    def __init__(self, network: SA2Net, everything: bool) -> None:
        super().__init__()
        self.network = network
        self.everything = everything

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, maps, H, W) in [0, 1].

        The probability of each class at the finest stage; then, if wanted, the foreground at
        each stage, finest first, and the attention map ψ of each AuA, finest first.
        """
        if not self.everything:
            return probabilities(self.network.finest(x))
        found = self.network.explain(x)
        stages = [1 - probabilities(stage)[:, :1] for stage in found.logits]
        return torch.cat([probabilities(found.logits[0]), *stages, *found.attention], dim=1)
