"""A network in ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import is_out_of_memory
from ..errors import DeviceError
from ..network import SA2Net
from .base import Backend
from .folding import folded
from .graphs import INPUT, with_weights


class OnnxBackend(Backend):
    """A network in ONNX Runtime, with the exact results of PyTorch but for rounding.

    Parameters
    ----------
    network
        It is copied.
    everything
        Whether stages and attention maps are wanted besides the probabilities.
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
