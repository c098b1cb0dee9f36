"""A network in PyTorch, on any device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import layout_for
from ..network import SA2Net
from .base import Backend
from .folding import folded
from .maps import Maps
from .precision import Precision, agree, computing


class TorchBackend(Backend):
    """A network in PyTorch.

    Parameters
    ----------
    network, device, everything
        As for :func:`.backends.make_backend`.
    precision
        With what numbers it computes.
    """

    def __init__(
        self,
        network: SA2Net,
        device: str,
        everything: bool,
        precision: Precision = Precision.SINGLE,
    ) -> None:
        self._layout = layout_for(device)
        self._device = device
        maps = Maps(folded(network), everything)
        self._maps = maps.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]
        self.precision = precision
        """Of the next batch; no longer ``AUTO`` once the first one has shown which it is."""

    @property
    def half(self) -> bool:
        """Whether it computes in half precision."""
        return self.precision is Precision.HALF

    def maps(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps of tiles."""
        with torch.inference_mode():
            inputs = torch.from_numpy(np.ascontiguousarray(x)).to(
                self._device, memory_format=self._layout
            )
            out: NDArray[np.float32] = self._run(inputs).cpu().numpy()
        return self._checked(out, x, self.precision)

    def _run(self, inputs: Tensor) -> Tensor:
        """Return the maps of tiles, all on the device."""
        if self.precision is not Precision.AUTO:
            return self._at(self.precision, inputs)
        single = self._at(Precision.SINGLE, inputs)
        same = agree(single, self._at(Precision.HALF, inputs))
        self.precision = Precision.HALF if same else Precision.SINGLE
        return single

    def _at(self, precision: Precision, inputs: Tensor) -> Tensor:
        with computing(precision, inputs.device):
            out: Tensor = self._maps(inputs)
        return out.float()

    def _checked(
        self, out: NDArray[np.float32], x: NDArray[np.float32], used: Precision
    ) -> NDArray[np.float32]:
        """Return the maps of tiles, computed again if numbers grew too large for half precision."""
        if used is Precision.HALF and not np.isfinite(out.sum()):
            self.precision = Precision.SINGLE
            return self.maps(x)
        return out
