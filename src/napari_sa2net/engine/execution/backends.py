"""What runs a network: PyTorch on any device, ONNX Runtime on the CPU where it is installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import is_out_of_memory
from ..errors import DeviceError, InputError
from ..network import SA2Net
from .folding import folded
from .graphs import INPUT, with_weights
from .maps import Maps

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """Runs one network."""

    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps (B, maps, H, W) of tiles (B, C, H, W), see :class:`.maps.Maps`."""


def make_backend(network: SA2Net, device: str, everything: bool, wanted: str = "auto") -> Backend:
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

    Raises
    ------
    InputError
        If ONNX Runtime is asked for and is not installed, or for another device than the CPU.
    """
    if wanted == "onnxruntime":
        _check_onnxruntime(device)
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


class TorchBackend:
    """A network in PyTorch.

    Parameters
    ----------
    network, device, everything
        As for :func:`make_backend`.
    """

    def __init__(self, network: SA2Net, device: str, everything: bool) -> None:
        # Quicker with channels last, but Apple's backend has had wrong results with it.
        last = device != "mps"
        self._layout = torch.channels_last if last else torch.contiguous_format
        self._device = device
        maps = Maps(folded(network), everything)
        self._maps = maps.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]

    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps of tiles."""
        with torch.inference_mode():
            inputs = torch.from_numpy(np.ascontiguousarray(x)).to(
                self._device, memory_format=self._layout
            )
            out: NDArray[np.float32] = self._maps(inputs).float().cpu().numpy()
        return out


class OnnxBackend:
    """A network in ONNX Runtime, with the exact results of PyTorch but for rounding.

    Parameters
    ----------
    network, everything
        As for :func:`make_backend`.
    """

    def __init__(self, network: SA2Net, everything: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # takes half as much again, and saves no time
        self._session: Any = onnxruntime.InferenceSession(
            with_weights(folded(network), everything),
            options,
            providers=["CPUExecutionProvider"],
        )

    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps of tiles."""
        try:
            out: NDArray[np.float32] = self._session.run(None, {INPUT: np.ascontiguousarray(x)})[0]
        except Exception as error:  # its own kinds, which are no RuntimeErrors
            if is_out_of_memory(RuntimeError(str(error))):
                raise MemoryError(str(error)) from error
            raise DeviceError(
                f"ONNX Runtime failed: {error}. Choose the backend torch, or uninstall onnxruntime."
            ) from error
        return out
