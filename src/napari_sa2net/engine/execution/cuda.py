"""A network in PyTorch on an NVIDIA card, which is kept busy while tiles come and go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ..network import SA2Net
from .precision import Precision
from .pytorch import TorchBackend


class CudaBackend(TorchBackend):
    """A network on an NVIDIA card.

    Tiles go up and maps come down in streams of their own, so that the card computes one batch
    while the next is cut out and goes up, and the last comes down and is stitched.

    Parameters
    ----------
    network, device, everything, precision
        As for :class:`.pytorch.TorchBackend`.
    """

    ahead = 1

    def __init__(
        self, network: SA2Net, device: str, everything: bool, precision: Precision
    ) -> None:
        super().__init__(network, device, everything, precision)
        self._up, self._down = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def start(self, x: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
        """Begin with tiles; return what waits for their maps."""
        with torch.inference_mode(), torch.cuda.device(self._device):
            compute = torch.cuda.current_stream()
            # Only what lies in pinned memory is copied while something else goes on.
            host = torch.from_numpy(np.ascontiguousarray(x)).pin_memory()
            with torch.cuda.stream(self._up):
                arrived = host.to(self._device, non_blocking=True)
            compute.wait_stream(self._up)
            arrived.record_stream(compute)
            found = self._run(arrived.contiguous(memory_format=self._layout))
            used = self.precision  # by the time of the result a later batch may have changed it
            self._down.wait_stream(compute)
            out = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            with torch.cuda.stream(self._down):
                out.copy_(found, non_blocking=True)
                found.record_stream(self._down)
                ready = self._down.record_event()

        def finish() -> NDArray[np.float32]:
            ready.synchronize()
            return self._checked(out.numpy(), x, used)

        return finish
