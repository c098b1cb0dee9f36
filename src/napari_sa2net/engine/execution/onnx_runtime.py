"""A network in ONNX Runtime, on the CPU.

Getting a session ready takes a tenth of a second, as long as a small image does. Those that were
used last are kept, without the memory that tiles take: for the next image of a folder or a script,
and the next *Segment*.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import is_out_of_memory
from ..errors import DeviceError
from ..model_files import network_digest
from ..network import STRIDE, SA2Net
from .base import Backend
from .folding import folded
from .graphs import INPUT, with_weights

logger = logging.getLogger(__name__)

KEPT = 2
"""Sessions that are kept, as with and without maps; each takes some 100 MB."""

LARGEST = 64_000_000
"""Bytes of the weights above which a session is not kept."""

_Key = tuple[int, bool, str]

_kept: OrderedDict[_Key, Any] = OrderedDict()
"""The session used last is at the end."""

_lock = threading.Lock()


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
        self._in_channels = network.in_channels
        self._session = _session(network, everything)

    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps of tiles."""
        return self._run(np.ascontiguousarray(x))

    def rest(self) -> None:
        """Give back the memory that tiles took."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            # It is given back at the end of a run.
            self._run(np.zeros((1, self._in_channels, STRIDE, STRIDE), np.float32), options)
        except (DeviceError, MemoryError):
            logger.warning("The memory of ONNX Runtime could not be freed", exc_info=True)

    def _run(self, x: NDArray[np.float32], options: Any = None) -> NDArray[np.float32]:
        try:
            out: NDArray[np.float32] = self._session.run(None, {INPUT: x}, options)[0]
        except Exception as error:  # its own kinds, which are no RuntimeErrors
            if is_out_of_memory(RuntimeError(str(error))):
                raise MemoryError(str(error)) from error
            raise DeviceError(
                f"ONNX Runtime failed: {error}. Choose the backend torch, or uninstall onnxruntime."
            ) from error
        return out


def forget_sessions() -> None:
    """Keep none of the sessions any longer; who uses one still has it."""
    with _lock:
        _kept.clear()


def _session(network: SA2Net, everything: bool) -> Any:
    """Return a session for a network as it is now: the kept one, or a new one."""
    threads = torch.get_num_threads()
    # By the weights as they are: training changes them in place.
    key = threads, everything, network_digest(network)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    session = _new_session(network, everything, threads)
    if sum(value.nbytes for value in network.state_dict().values()) <= LARGEST:
        with _lock:
            _kept[key] = session
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    return session


def _new_session(network: SA2Net, everything: bool, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # takes half as much again, and saves no time
    return onnxruntime.InferenceSession(
        with_weights(folded(network), everything), options, providers=["CPUExecutionProvider"]
    )
