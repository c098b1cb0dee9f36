"""What runs a network: PyTorch on any device, ONNX Runtime on the CPU where it is installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from ..errors import InputError
from ..network import SA2Net
from .base import Backend
from .cuda import CudaBackend
from .onnx_runtime import OnnxBackend
from .precision import precision_for
from .pytorch import TorchBackend

logger = logging.getLogger(__name__)


def make_backend(
    network: SA2Net,
    device: str,
    everything: bool,
    wanted: str = "auto",
    precision: str = "auto",
) -> Backend:
    """Return what runs a network on a device.

    Parameters
    ----------
    network
        It is copied.
    device
        As PyTorch names it.
    everything
        Whether stages and attention maps are wanted besides the probabilities.
    wanted
        One of :data:`~napari_sa2net.engine.segmentation.BACKENDS`.
    precision
        One of :data:`~napari_sa2net.engine.segmentation.PRECISIONS`.

    Raises
    ------
    InputError
        If ONNX Runtime is asked for and is not installed, or for another device than the CPU.
    """
    if wanted == "onnxruntime":
        _check_onnxruntime(device)
    if device.startswith("cuda"):
        return CudaBackend(network, device, everything, precision_for(device, precision))
    possible = device == "cpu" and type(network) is SA2Net
    if wanted == "torch" or not possible or not onnxruntime_installed():
        return TorchBackend(network, device, everything)
    if wanted == "onnxruntime":
        return OnnxBackend(network, everything)
    try:
        return OnnxBackend(network, everything)
    except Exception:
        # An installation that is broken or too old must not keep a person from segmenting.
        logger.warning("ONNX Runtime cannot be used: going on with PyTorch", exc_info=True)
        return TorchBackend(network, device, everything)


def _check_onnxruntime(device: str) -> None:
    if device != "cpu":
        raise InputError(f"ONNX Runtime runs on the device cpu only, not on {device}.")
    if not onnxruntime_installed():
        raise InputError('ONNX Runtime is not installed: pip install "napari-sa2net[fast]"')


def onnxruntime_installed() -> bool:
    """Tell whether the packages of the extra ``fast`` are there, without loading them."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "onnx"))
