"""SA2-Net without one of its parts: what the ablations compare.

Each change takes a network as it is made and replaces sub-modules in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sa2net.engine.network import STAGES, ConvBNReLU, DoubleConv, SA2Net
from napari_sa2net.engine.operators import resize

STAGE_WEIGHTS = (1.0,) * STAGES


@dataclass(frozen=True)
class Variant:
    """A network to compare, and how its stages are trained."""

    change: Callable[[SA2Net], None]
    stage_weights: tuple[float, ...] = STAGE_WEIGHTS
    """Of the loss, finest first."""

    def make(self, in_channels: int, classes: int, width: int) -> SA2Net:
        """Return a fresh network."""
        network = SA2Net(in_channels, classes, width)
        self.change(network)
        return network


class OpenGates(nn.Module):
    """In place of global scale attention: every gate is one."""

    def forward(self, scales: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return torch.ones_like(scales[0]), _open(scales[0])


class Concatenation(nn.Module):
    """In place of SA2: all scales concatenated and mixed by plain convolutions.

    As in SA2 the scales meet at the size of the third. What was mixed is concatenated with each
    scale's own features.
    """

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        c = base_channels
        self.mix = ConvBNReLU(STAGES * c, c)
        self.out = nn.ModuleList(nn.Conv2d(2 * c, c * 2**i, 3, padding=1) for i in range(STAGES))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        mixed = self.mix(torch.cat([resize(f, i - 2) for i, f in enumerate(features)], 1))
        outputs = [
            out(torch.cat([resize(mixed, 2 - i), f], 1))
            for i, (out, f) in enumerate(zip(self.out, features, strict=True))
        ]
        return outputs, _open(mixed)


class PlainUp(nn.Module):
    """In place of adaptive up-attention: a U-Net's decoder stage.

    Without the attention map nothing of the deeper feature would reach the output, so it is
    concatenated with the skip connection.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.blocks = DoubleConv(channels, out_channels)

    def forward(self, deep: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        up = F.interpolate(deep, scale_factor=2.0, mode="nearest")
        feature = self.blocks(self.proj(torch.cat([up, skip], 1)) + skip)
        return feature, torch.ones_like(feature[:, :1])


def _open(x: Tensor) -> list[Tensor]:
    """Return a gate of ones for each scale, of the height and width of (B, C, H, W)."""
    return [torch.ones_like(x[:, :1])] * STAGES


def unchanged(network: SA2Net) -> None:
    """Leave the network as it is."""


def without_local_attention(network: SA2Net) -> None:
    """Hand each scale's features to the global attention as they are."""
    network.attention.local_attention = nn.ModuleList(nn.Identity() for _ in range(STAGES))


def without_global_attention(network: SA2Net) -> None:
    """Leave all gates open."""
    network.attention.global_attention = OpenGates()


def without_up_attention(network: SA2Net) -> None:
    """Decode as a U-Net does."""
    c = network.base_channels
    widths = (c, c, 2 * c, 4 * c)
    network.decoder = nn.ModuleList(PlainUp(c * 2**i, widths[i]) for i in range(STAGES))


def with_concatenation(network: SA2Net) -> None:
    """Concatenate the scales instead of attending to them."""
    network.attention = Concatenation(network.base_channels)


def with_standard_convolutions(network: SA2Net) -> None:
    """Mix the channels in every convolution that keeps them apart."""
    for parent in list(network.modules()):
        for name, old in list(parent.named_children()):
            if isinstance(old, nn.Conv2d) and old.groups > 1:
                new = nn.Conv2d(
                    old.in_channels, old.out_channels, old.kernel_size, padding=old.padding
                )
                setattr(parent, name, new)


FULL = "SA2-Net"

VARIANTS: Mapping[str, Variant] = {
    FULL: Variant(unchanged),
    "without LSA": Variant(without_local_attention),
    "without GSA": Variant(without_global_attention),
    "without AuA's attention": Variant(without_up_attention),
    "without deep supervision": Variant(unchanged, (1.0, 0.0, 0.0, 0.0)),
    "concatenation instead of SA2": Variant(with_concatenation),
    "standard convolutions": Variant(with_standard_convolutions),
}
