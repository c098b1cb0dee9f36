"""Single or half precision: the quicker one if the first tiles come out nearly alike in both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

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
        with _without_tf32:
            yield
    else:
        yield


class _WithoutTF32:
    """Products of single precision, as long as anyone is inside; TF32 has no more digits than half.

    What PyTorch holds for this is one for all threads. What it was comes back with the last one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = [getattr(place, name) for place, name, _ in _switches()]
                for place, name, exact in _switches():
                    setattr(place, name, exact)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for (place, name, _), before in zip(_switches(), self._before, strict=True):
                    setattr(place, name, before)


_without_tf32 = _WithoutTF32()


def _switches() -> list[tuple[Any, str, Any]]:
    """Return where it is set how convolutions and matrix products are computed, and exactly how."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):  # from PyTorch 2.9 on, where reading the older ones may be an error
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]


def agree(single: Tensor, half: Tensor) -> bool:
    """Tell whether maps (B, maps, H, W) differ by :data:`TOLERANCE` at most."""
    return bool(((single - half).abs() <= TOLERANCE).all())  # not where there is no number
