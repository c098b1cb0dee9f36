"""The network's operators, each in the form that is quick where it runs.

All forms of one give the same but for rounding. PyTorch is quickest with the channels last in
memory, Apple's graphics cards need them first. What reads an ONNX file lays channels out in blocks
for its convolutions and goes back to plain ones for many other operators, which costs more than
these do: there, what can be a convolution is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def on_apple(x: Tensor) -> bool:
    """Tell whether a tensor is on an Apple graphics card."""
    return x.device.type == "mps"


def _in_graph() -> bool:
    """Tell whether the network is being written down as an ONNX graph."""
    return bool(torch.onnx.is_in_onnx_export())


def _channels_first(x: Tensor) -> bool:
    """Tell whether the channels must stay the first of an image's axes in memory.

    Programs that read an ONNX file have them first, and would move them. Apple's backend has had
    wrong gradients and wrong convolutions with channels last (PyTorch issues 175189, 180984).
    """
    return on_apple(x) or _in_graph()


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel of a (B, C, H, W) tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        if _in_graph():
            return self._of_convolutions(x)
        if on_apple(x):  # torch's own operator needs the channels last
            centred = x - x.mean(1, keepdim=True)
            deviation = torch.sqrt((centred * centred).mean(1, keepdim=True) + self.eps)
            return centred / deviation * self.weight[:, None, None] + self.bias[:, None, None]
        # A channels-last tensor is already laid out as (B, H, W, C): the permutes are views.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _of_convolutions(self, x: Tensor) -> Tensor:
        c = self.channels
        centred = F.conv2d(x, (torch.eye(c) - 1 / c)[:, :, None, None])
        variance = F.conv2d(centred * centred, torch.full((1, c, 1, 1), 1 / c))
        x = centred * torch.reciprocal(torch.sqrt(variance + self.eps))
        return F.conv2d(x, self.weight[:, None, None, None], self.bias, groups=c)


class PointwiseConv(nn.Conv2d):
    """Convolution 1×1, computed as a matrix product over the channels.

    On a channels-last tensor the permutes are views, and the gradient of the product is
    several times faster on a CPU than that of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight.flatten(1), self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a 1×1 convolution of (B, C, H, W) with a matrix (out, C)."""
    if _channels_first(x):  # a matrix product needs them last
        return F.conv2d(x, weight[:, :, None, None], bias)
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def take_channels(x: Tensor, first: int, count: int = 1, *, repeat: int = 1) -> Tensor:
    """Return ``count`` channels of (B, C, H, W) from ``first`` on, or a single one.

    Parameters
    ----------
    repeat
        How often the single one will be needed: a graph gives it as often, where PyTorch
        spreads it by itself.
    """
    if _in_graph():
        rows = torch.eye(int(x.shape[1]))[first : first + count]
        return F.conv2d(x, rows.repeat(repeat, 1)[:, :, None, None])
    return x[:, first : first + count]


def resize(x: Tensor, doublings: int) -> Tensor:
    """Bring (B, C, H, W) to ``2 ** doublings`` times its height and width, bilinearly.

    Pixels are areas, as with ``align_corners=False``. When made smaller, the sides must be
    multiples of what they are divided by.
    """
    if doublings == 0:
        return x
    if doublings < 0 and _in_graph():
        # The centre of an even square of pixels lies between the four in its middle.
        side, channels = 2**-doublings, int(x.shape[1])
        middle = slice(side // 2 - 1, side // 2 + 1)
        kernel = torch.zeros(channels, 1, side, side)
        kernel[:, :, middle, middle] = 1 / 4
        return F.conv2d(x, kernel, stride=side, groups=channels)
    return F.interpolate(x, scale_factor=2.0**doublings, mode="bilinear", align_corners=False)


def depthwise(channels: int, kernel: int) -> nn.Conv2d:
    """Return a depthwise convolution that keeps height and width."""
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


def depthwise_on_upsampled(x: Tensor, conv: nn.Conv2d) -> Iterator[Tensor]:
    """Compute what a depthwise 11×11 convolution gives on a nearest-upsampled (B, C, h, w).

    Yields
    ------
    Tensor
        Four times (B, C, h, w): the result's pixels of even rows and columns, of even rows and
        odd columns, of odd rows and even columns, and of odd ones.
    """
    height, width = x.shape[-2:]
    for row, column, kernel in _parity_kernels(conv.weight):
        if _in_graph():  # there, padding becomes a part of the convolution
            padded = F.pad(x, (3 - column, 2 + column, 3 - row, 2 + row))
            yield F.conv2d(padded, kernel, conv.bias, groups=conv.groups)
        else:
            whole = F.conv2d(x, kernel, conv.bias, padding=3, groups=conv.groups)
            yield whole[:, :, row : row + height, column : column + width]


def _parity_kernels(weight: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Split an 11×11 kernel on a nearest-upsampled map into four 6×6 ones on the map itself.

    An output pixel of row ``2 i + row`` and column ``2 j + column`` meets each pixel of the map
    below several times; the weights it is met with are summed.

    Yields
    ------
    tuple
        ``row`` and ``column``, 0 or 1, and a kernel (..., 6, 6). With a padding of 3, its result
        (h + 1, w + 1) has the wanted pixels (h, w) from ``row`` and ``column`` on.
    """
    for row, column in itertools.product((0, 1), repeat=2):
        # Even pixels start at the second of two equal ones, odd ones at the first.
        padded = F.pad(weight, (1 - column, column, 1 - row, row))
        yield row, column, padded.unflatten(-1, (6, 2)).sum(-1).unflatten(-2, (6, 2)).sum(-2)
