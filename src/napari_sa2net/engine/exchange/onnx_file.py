"""A model as one ONNX file."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..ensemble import Network
from ..errors import SA2NetError, WeightsError
from ..execution.graphs import INPUT, trace
from ..execution.maps import probabilities
from ..files import replacing
from ..folders import target_of
from ..model_files import METADATA_KEY, Model
from ..network import STAGES, STRIDE
from .requirements import require

SUFFIX = ".onnx"

TOLERANCE = 1e-4
"""By which probabilities may differ from PyTorch's."""

CHECKED = ((1, STRIDE, STRIDE), (1, 3 * STRIDE, 5 * STRIDE), (2, 2 * STRIDE, 2 * STRIDE))
"""Batch, height and width of the inputs that an exported model is compared on."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported model agrees with PyTorch on one input."""

    shape: tuple[int, int, int, int]
    """Of the input, (B, C, H, W)."""
    largest: float
    """Largest absolute difference of the probabilities of all stages."""


def export_onnx(
    model: Model, path: str | Path, *, overwrite: bool = False
) -> tuple[Path, list[Agreement]]:
    """Write a model as one ONNX file, and compare it with PyTorch before it is kept.

    Its input ``image`` is (batch, in_channels, height, width) float32, normalised as the card
    says; batch, height and width are free, the latter two multiples of 16. Its outputs
    ``stage1`` (the finest) to ``stage4`` are probabilities (batch, classes, height, width),
    background first; a binary model gives two. The card is in the metadata.

    Parameters
    ----------
    path
        The file, to which ``.onnx`` is added if it has no such ending, or a folder that exists,
        in which the file gets the model's name.
    overwrite
        Replace a file that exists.

    Returns
    -------
    tuple
        The file that was written, and how far it agrees with PyTorch.

    Raises
    ------
    InputError
        If the packages ``onnx`` and ``onnxruntime`` are missing, or the file exists.
    WeightsError
        If the exported model does not agree with PyTorch within :data:`TOLERANCE`; no file is
        written then.
    SA2NetError
        If the file cannot be written.
    """
    require("ONNX files", "onnx", "onnx", "onnxruntime")
    target = target_of(model.card.name, path, SUFFIX, overwrite=overwrite)
    network = _Probabilities(copy.deepcopy(model.network).cpu()).eval()
    with replacing(target) as partial:
        _write(network, model, partial)
        found = [_compare(network, partial, shape) for shape in CHECKED]
        worst = max(found, key=lambda agreement: agreement.largest)
        if not worst.largest <= TOLERANCE:
            raise WeightsError(
                f"The exported model differs from PyTorch by {worst.largest:.1e} on an input of "
                f"{worst.shape}, more than {TOLERANCE:g}: it was not written. Please report this "
                "with the versions that 'sa2net doctor' prints."
            )
    return target, found


class _Probabilities(nn.Module):
    """The network with its activations: what is exported."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(probabilities(stage) for stage in self.network(x))


def _write(network: _Probabilities, model: Model, path: Path) -> None:
    import onnx

    try:
        outputs = [f"stage{number}" for number in range(1, STAGES + 1)]
        proto = onnx.load_from_string(trace(network, model.card.in_channels, outputs))
        onnx.helper.set_model_props(
            proto, {METADATA_KEY: json.dumps(model.card.to_dict(), sort_keys=True)}
        )
        proto.producer_name = "napari-sa2net"
        onnx.checker.check_model(proto)
        onnx.save(proto, str(path))
    except OSError:
        raise
    except Exception as error:  # the exporter and the checker have kinds of their own
        raise SA2NetError(f"The model {model.card.name!r} cannot be exported: {error}") from error


def _compare(network: _Probabilities, path: Path, shape: tuple[int, int, int]) -> Agreement:
    import onnxruntime

    batch, height, width = shape
    rng = np.random.default_rng(0)
    x = rng.random((batch, network.network.in_channels, height, width), np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {INPUT: x})
    with torch.inference_mode():
        wanted = network(torch.from_numpy(x))
    differences = [float(np.abs(a - b.numpy()).max()) for a, b in zip(found, wanted, strict=True)]
    return Agreement((batch, x.shape[1], height, width), float(np.max(differences)))
