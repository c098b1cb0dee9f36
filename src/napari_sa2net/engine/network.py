"""SA2-Net: the scale-aware attention network, in plain PyTorch.

Source: Fiaz, Heidari, Anwer, Cholakkal, "SA2-Net: Scale-aware Attention
Network for Microscopic Image Segmentation", BMVC 2023, arXiv:2309.16661.
Where the paper's figure and the authors' released program differ, this follows
the program, because published checkpoints fit the program.

Scales are numbered as in the paper, 1 the finest: scale ``i`` has stride
``2 ** (i - 1)`` and ``C_i = c, 2c, 4c, 8c`` channels. *Stage* ``i`` is the
output of the decoder at scale ``i``.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError
from .operators import (
    ChannelLayerNorm,
    PointwiseConv,
    depthwise,
    depthwise_on_upsampled,
    on_apple,
    pointwise,
    resize,
    take_channels,
)

STRIDE = 16
"""Height and width of an input must be multiples of this many pixels."""

STAGES = 4
"""Number of decoder stages, each with an output of its own."""


class Explanation(NamedTuple):
    """What :meth:`SA2Net.explain` returns; all maps have the input's height and width."""

    logits: list[Tensor]
    """Four tensors (B, num_classes, H, W), finest stage first."""
    attention: list[Tensor]
    """The attention map ψ of each AuA, in [0, 1]: four tensors (B, 1, H, W), finest first."""
    gates: list[Tensor]
    """The global scale attention's gate of each scale: four tensors (B, 1, H, W), finest first."""


class ConvBNReLU(nn.Module):
    """Convolution 3×3 → batch normalisation → ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class DoubleConv(nn.Sequential):
    """Two :class:`ConvBNReLU` in a row."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvBNReLU(in_channels, out_channels), ConvBNReLU(out_channels, out_channels)
        )


class Encoder(nn.Module):
    """U-Net encoder without a pretrained backbone, and the side convolutions.

    Returns the scales' features F1..F4 (c channels each, strides 1, 2, 4, 8) and
    the bottom feature x5 (8c channels, stride 16).
    """

    def __init__(self, in_channels: int, base_channels: int) -> None:
        super().__init__()
        c = base_channels
        self.stem = ConvBNReLU(in_channels, c)
        widths = (c, 2 * c, 4 * c, 8 * c, 8 * c)
        self.down = nn.ModuleList(DoubleConv(i, o) for i, o in itertools.pairwise(widths))
        self.side = nn.ModuleList(nn.Conv2d(k * c, c, 3, padding=1) for k in (2, 4, 8))
        self.side_bottom = nn.Conv2d(8 * c, 8 * c, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        x = self.stem(x)  # (B, c, H, W)
        features = [x]
        for level, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2))
            if level < STAGES - 1:
                features.append(self.side[level](x))  # (B, c, H/2^(level+1), W/2^(level+1))
        return features, self.side_bottom(x)  # (B, 8c, H/16, W/16)


class LocalScaleAttention(nn.Module):
    """Local scale attention (LSA): a 3×3 branch gated by a 5×5 branch (paper, section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project_in = PointwiseConv(channels, 4 * channels)
        self.dwconv3x3 = depthwise(4 * channels, 3)
        self.dwconv5x5 = depthwise(4 * channels, 5)
        self.project_out = PointwiseConv(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        z = self.project_in(x)  # (B, 4c, h, w)
        gate = torch.sigmoid(F.relu(self.dwconv5x5(z)))
        out: Tensor = self.project_out(F.relu(self.dwconv3x3(z)) * gate)
        return out


class GlobalScaleAttention(nn.Module):
    """Global scale attention (GSA): one gate map a scale and one map shared by all scales."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.BatchNorm2d(STAGES * channels)
        self.conv = nn.Conv2d(STAGES * channels, channels + STAGES, 3, padding=1)
        self.qconv = depthwise(channels, 5)

    def forward(self, scales: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the shared map (B, c, h, w) and the four gates, each to be multiplied with it."""
        c = self.channels
        u = F.gelu(self.conv(self.norm(torch.cat(scales, 1))))  # (B, c + 4, h, w)
        shared = take_channels(u, 0, c)
        if on_apple(u):  # whose convolutions have misread parts of a tensor's channels
            shared = shared.contiguous()
        gates = [take_channels(u, c + i, repeat=c) for i in range(STAGES)]
        return F.gelu(self.qconv(shared)), gates


class ScaleMLP(nn.Module):
    """The residual feed-forward block at the end of SA2, with a depthwise positional term."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelLayerNorm(channels)
        self.pos = depthwise(channels, 3)
        self.fc1 = PointwiseConv(channels, 4 * channels)
        self.fc2 = PointwiseConv(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm(x)
        n = n + F.gelu(self.pos(n))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(n)))
        return out


class ScaleAwareAttention(nn.Module):
    """The scale-aware attention module (SA2): LSA on each scale, GSA across scales, an MLP each.

    All local attention is computed at scale 3's size, whatever the scale.
    """

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        c = base_channels
        self.local_attention = nn.ModuleList(LocalScaleAttention(c) for _ in range(STAGES))
        self.global_attention = GlobalScaleAttention(c)
        self.mlp = nn.ModuleList(ScaleMLP(c) for _ in range(STAGES))
        self.out = nn.ModuleList(nn.Conv2d(c, c * 2**i, 3, padding=1) for i in range(STAGES))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return O1..O4 (B, C_i, H/2^(i-1), W/2^(i-1)) and four gates (B, 1, H/4, W/4)."""
        local = [
            attend(resize(feature, level - 2))
            for level, (attend, feature) in enumerate(
                zip(self.local_attention, features, strict=True)
            )
        ]
        shared, gates = self.global_attention(local)
        outputs = []
        for level, feature in enumerate(features):
            gated = local[level] * (gates[level] * shared)
            x = resize(gated, 2 - level) + feature
            outputs.append(self.out[level](self.mlp[level](x)))
        return outputs, [gate[:, :1] for gate in gates]


class AdaptiveUpAttention(nn.Module):
    """Adaptive up-attention (AuA): a decoder stage steered by a one-channel attention map ψ.

    The deeper feature reaches the output only through ψ.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = ChannelLayerNorm(channels)
        self.up_proj = PointwiseConv(channels, channels)
        self.up_dwconv = depthwise(channels, 11)
        self.skip_dwconv = depthwise(channels, 5)
        self.psi_conv = PointwiseConv(2 * channels, 1)
        self.psi_norm = nn.BatchNorm2d(1)
        self.proj = nn.Conv2d(channels, channels, 3, padding=1)
        self.blocks = DoubleConv(channels, out_channels)

    def forward(self, deep: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stage's feature (B, out_channels, h, w) and ψ (B, 1, h, w).

        ``deep`` is (B, channels, h/2, w/2), ``skip`` (B, channels, h, w).
        """
        # Everything up to the depthwise convolution works on single pixels, so it commutes
        # with nearest upsampling and is done before it, on a quarter of the pixels.
        g = F.gelu(self.up_proj(self.norm(deep)))
        o = self.skip_dwconv(skip)
        # The 1×1 convolution of a concatenation is the sum of two 1×1 convolutions. What comes
        # from below is brought to full size as the one channel it ends as.
        w_g, w_o = self.psi_conv.weight.flatten(1).chunk(2, dim=1)
        parts = [pointwise(F.gelu(part), w_g) for part in depthwise_on_upsampled(g, self.up_dwconv)]
        psi = F.pixel_shuffle(torch.cat(parts, 1), 2) + pointwise(
            F.gelu(o), w_o, self.psi_conv.bias
        )
        psi = torch.sigmoid(self.psi_norm(psi))  # (B, 1, h, w)
        return self.blocks(self.proj(psi * o) + skip), psi


class SA2Net(nn.Module):
    """The scale-aware attention network.

    Parameters
    ----------
    in_channels
        Channels of an input image.
    num_classes
        Channels of each output: 1 for a binary model (sigmoid outside), otherwise
        the number of classes, background included (softmax outside).
    base_channels
        Width ``c``; 64 in the paper.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1, base_channels: int = 64) -> None:
        super().__init__()
        if min(in_channels, num_classes, base_channels) < 1:
            raise InputError(
                "SA2Net needs at least one input channel, one class and one base channel, got "
                f"in_channels={in_channels}, num_classes={num_classes}, "
                f"base_channels={base_channels}."
            )
        c = base_channels
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.base_channels = base_channels
        self.encoder = Encoder(in_channels, c)
        self.attention = ScaleAwareAttention(c)
        widths = [c, c, 2 * c, 4 * c]  # channels of the stages' features, finest first
        self.decoder = nn.ModuleList(
            AdaptiveUpAttention(c * 2**i, widths[i]) for i in range(STAGES)
        )
        self.heads = nn.ModuleList(PointwiseConv(w, num_classes) for w in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' logits, finest first, in training and evaluation alike.

        Parameters
        ----------
        x
            Normalised images (B, in_channels, H, W); H and W multiples of 16.

        Returns
        -------
        list of Tensor
            Four tensors (B, num_classes, H, W), before any activation.

        Raises
        ------
        InputError
            If the channels or the sides do not fit; the message names a size that does.
        """
        return self._run(x)[0]

    def finest(self, x: Tensor) -> Tensor:
        """Return the finest stage's logits (B, num_classes, H, W) alone, the same in less time."""
        return self._run(x, outputs=1)[0][0]

    def explain(self, x: Tensor) -> Explanation:
        """Return the logits together with the attention maps and gates behind them."""
        logits, attention, gates = self._run(x)
        return Explanation(
            logits,
            [resize(psi, level) for level, psi in enumerate(attention)],
            [resize(gate, 2) for gate in gates],
        )

    def _run(
        self, x: Tensor, outputs: int = STAGES
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the logits of the ``outputs`` finest stages, ψ of all stages, and the gates."""
        self._check(x)
        features, deep = self.encoder(x)
        skips, gates = self.attention(features)
        logits: list[Tensor] = []
        attention: list[Tensor] = []
        for i in reversed(range(STAGES)):
            deep, psi = self.decoder[i](deep, skips[i])
            if i < outputs:
                # A 1×1 head commutes with the bilinear resize and is cheaper before it.
                logits.insert(0, resize(self.heads[i](deep), i))
            attention.insert(0, psi)
        return logits, attention, gates

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise InputError(
                f"SA2Net needs a (batch, {self.in_channels}, height, width) tensor, "
                f"got shape {tuple(x.shape)}."
            )
        h, w = x.shape[-2:]
        if h % STRIDE or w % STRIDE or not (h and w):
            fit_h, fit_w = (max(1, -(-side // STRIDE)) * STRIDE for side in (h, w))
            raise InputError(
                f"SA2Net needs a height and a width that are multiples of {STRIDE}, "
                f"got {h} × {w}: pad the image to {fit_h} × {fit_w}."
            )
