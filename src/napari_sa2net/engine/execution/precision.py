"""Single or half precision: the quicker one of the two that gives the same labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import torch
from torch import Tensor

TOLERANCE = 0.02
"""Most that probabilities may differ by: as much as where an image is cut into tiles can change.

In `benchmarks/half_precision.py` differences up to 0.0125 left every object as it was.
"""

TENSOR_CORES = (7, 0)
"""Compute capability from which on NVIDIA's cards are quicker in half precision."""


class Precision(Enum):
    """With what numbers a network computes."""

    SINGLE = "single"
    HALF = "half"
    AUTO = "auto"
    """Half, if the first tiles come out alike in both."""


def precision_for(device: str, wanted: str) -> Precision:
    """Return with what numbers to compute on a device.

    Parameters
    ----------
    device
        As PyTorch names it.
    wanted
        One of :data:`~napari_sa2net.engine.segmentation.PRECISIONS`. Half precision is for
        NVIDIA's cards; other devices always compute in single precision.
    """
    chosen = Precision(wanted)
    if not device.startswith("cuda"):
        return Precision.SINGLE
    if chosen is Precision.AUTO and torch.cuda.get_device_capability(device) < TENSOR_CORES:
        return Precision.SINGLE
    return chosen


def note(device: str, wanted: str) -> str:
    """Return a sentence, with a space before it, if a device cannot do what is wanted."""
    if Precision(wanted) is Precision.HALF and not device.startswith("cuda"):
        return " Half precision is for NVIDIA GPUs: it computes in single precision."
    return ""


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute with these numbers."""
    if precision is Precision.HALF:
        with torch.autocast(device.type, torch.float16):
            yield
    elif device.type == "cuda":
        cudnn = torch.backends.cudnn
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
            allow_tf32=False,  # it has no more digits than half precision
        ):
            yield
    else:
        yield


def agree(single: Tensor, half: Tensor) -> bool:
    """Tell whether maps (B, maps, H, W) are near enough for the same labels."""
    return bool(((single - half).abs() <= TOLERANCE).all())  # not where there is no number
