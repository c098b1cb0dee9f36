"""Batch normalisation folded into the convolution before it.

A trained normalisation is a scale and a shift for each channel; a convolution can do both itself.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from ..network import AdaptiveUpAttention, ConvBNReLU, SA2Net


def folded(network: SA2Net) -> SA2Net:
    """Return a copy of a network for evaluation only, without the normalisations that can go.

    The one before the global scale attention's convolution stays: the border that the
    convolution adds is of zeros after it, and would be of other values before it.

    Parameters
    ----------
    network
        It is copied, to the CPU. Must be a plain :class:`SA2Net`.
    """
    copied = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for module in copied.modules():
        if isinstance(module, ConvBNReLU):
            _fold(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
        elif isinstance(module, AdaptiveUpAttention):
            _fold(module.psi_conv, module.psi_norm)
            module.psi_norm = nn.Identity()  # type: ignore[assignment]
    return copied


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the scale and the shift of the normalisation after it."""
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] * torch.rsqrt(state["running_var"] + norm.eps)
    bias = conv.state_dict()["bias"].double()
    conv.bias = _constant((bias - state["running_mean"]) * scale + state["bias"])
    conv.weight = _constant(conv.weight.double() * scale[:, None, None, None])


def _constant(value: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(value.float(), requires_grad=False)
