"""The network as the formulas have it, step by step and at full size: the baseline of speed.

It has the parameters of :class:`napari_sa2net.engine.network.SA2Net` under the same names and
computes the same, without any of what makes that one quick: channels first, nearest upsampling
before what commutes with it, concatenations before the convolution that ends them, heads after
the resizing, and all four stages whatever is wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sa2net.engine.network import STAGES, SA2Net


class Literal(nn.Module):
    """The formulas of SA2-Net on the parameters of a network, which are not copied.

    Parameters
    ----------
    network
        Gives the parameters and the normalisations. Its own ``forward`` is never called.
    """

    def __init__(self, network: SA2Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four stages' logits (B, num_classes, H, W), finest first."""
        size = x.shape[-2:]
        features, deep = self._encoder(x)
        skips = self._attention(features)
        logits = []
        for i in reversed(range(STAGES)):
            deep = self._up_attention(self.network.decoder[i], deep, skips[i])
            logits.insert(0, _convolution(self.network.heads[i], _bilinear(deep, size)))
        return logits

    def _encoder(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        encoder = self.network.encoder
        x = _block(encoder.stem, x)
        features = [x]
        for level, down in enumerate(encoder.down):
            x = F.max_pool2d(x, 2)
            for block in down:
                x = _block(block, x)
            if level < STAGES - 1:
                features.append(_convolution(encoder.side[level], x))
        return features, _convolution(encoder.side_bottom, x)

    def _attention(self, features: list[Tensor]) -> list[Tensor]:
        attention = self.network.attention
        size = features[2].shape[-2:]
        local = []
        for lsa, feature in zip(attention.local_attention, features, strict=True):
            z = _convolution(lsa.project_in, _bilinear(feature, size))
            a = F.relu(_convolution(lsa.dwconv3x3, z))
            b = F.relu(_convolution(lsa.dwconv5x5, z))
            local.append(_convolution(lsa.project_out, a * torch.sigmoid(b)))
        gsa = attention.global_attention
        u = F.gelu(_convolution(gsa.conv, gsa.norm(torch.cat(local, 1))))
        shared = F.gelu(_convolution(gsa.qconv, u[:, : gsa.channels]))
        outputs = []
        for i, feature in enumerate(features):
            gate = u[:, gsa.channels + i : gsa.channels + i + 1]
            e = _bilinear(local[i] * gate * shared, feature.shape[-2:]) + feature
            mlp = attention.mlp[i]
            n = _layer_norm(mlp.norm, e)
            n = n + F.gelu(_convolution(mlp.pos, n))
            m = e + _convolution(mlp.fc2, F.gelu(_convolution(mlp.fc1, n)))
            outputs.append(_convolution(attention.out[i], m))
        return outputs

    def _up_attention(self, aua: nn.Module, deep: Tensor, skip: Tensor) -> Tensor:
        g = F.interpolate(deep, scale_factor=2.0, mode="nearest")
        g = F.gelu(_convolution(aua.up_proj, _layer_norm(aua.norm, g)))
        g = _convolution(aua.up_dwconv, g)
        o = _convolution(aua.skip_dwconv, skip)
        both = F.gelu(torch.cat([g, o], 1))
        psi = torch.sigmoid(aua.psi_norm(_convolution(aua.psi_conv, both)))
        x = _convolution(aua.proj, psi * o) + skip
        for block in aua.blocks:
            x = _block(block, x)
        return x


def _convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.padding, groups=layer.groups)


def _block(block: nn.Module, x: Tensor) -> Tensor:
    return F.relu(block.norm(_convolution(block.conv, x)))


def _layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).square().mean(1, keepdim=True)
    normal = (x - mean) / torch.sqrt(variance + norm.eps)
    return normal * norm.weight[:, None, None] + norm.bias[:, None, None]


def _bilinear(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
