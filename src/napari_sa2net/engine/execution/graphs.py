"""The network as an ONNX graph, made once an architecture; a model's weights are put into it.

Tracing takes most of a second, exchanging weights some hundredths: a model that was just
fine-tuned is as ready as any other.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from .. import network as network_module
from .. import operators
from ..errors import SA2NetError
from ..files import replacing
from ..folders import cache_folder
from ..network import STRIDE, SA2Net
from . import folding, maps
from .folding import folded
from .maps import Maps

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)

OPSET = 17
"""Of the ONNX operators."""

INPUT = "image"
MAPS = "maps"


class Architecture(NamedTuple):
    """What the graph depends on."""

    in_channels: int
    num_classes: int
    base_channels: int
    everything: bool
    """Whether stages and attention maps are given too, see :class:`.maps.Maps`."""


def trace(
    module: nn.Module, in_channels: int, outputs: Sequence[str], *, keep_weights: bool = False
) -> bytes:
    """Return a module as a serialised ONNX model.

    Its input is ``image`` (batch, in_channels, height, width), of which only the channels are
    fixed.

    Parameters
    ----------
    keep_weights
        Keep the weights as they are, under the names they have in the module's state. Otherwise
        what depends on weights alone is computed beforehand.
    """
    import onnx

    free = {0: "batch", 2: "height", 3: "width"}
    example = torch.rand(1, in_channels, 4 * STRIDE, 4 * STRIDE)
    written = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The checks of an input's sides are Python's, and are not wanted in the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            written,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=dict.fromkeys((INPUT, *outputs), free),
            opset_version=OPSET,
            do_constant_folding=not keep_weights,
            dynamo=False,  # the newer exporter takes 40 times as long for the same graph
        )
    model = onnx.load_from_string(written.getvalue())
    for node in model.graph.node:
        _say_plainly(node)
    serialised: bytes = model.SerializeToString()
    return serialised


def _say_plainly(node: onnx.NodeProto) -> None:
    """Put a node into the words that ONNX Runtime knows quicker ways for, of the same meaning."""
    while node.input and not node.input[-1]:  # left out, and said so
        del node.input[-1]
    for attribute in node.attribute:
        # They differ only for a result of a single pixel.
        if node.op_type == "Resize" and attribute.s == b"pytorch_half_pixel":
            attribute.s = b"half_pixel"


def with_weights(network: SA2Net, everything: bool) -> bytes:
    """Return a network's graph with its weights, from image to maps.

    Parameters
    ----------
    network
        From :func:`.folding.folded`.
    everything
        See :class:`.maps.Maps`.

    Returns
    -------
    bytes
        A serialised ONNX model with the output ``maps``.
    """
    import onnx

    shape = network.in_channels, network.num_classes, network.base_channels
    graph = onnx.load_from_string(_graph(Architecture(*shape, everything)))
    state = Maps(network, everything).state_dict()
    for tensor in graph.graph.initializer:
        tensor.raw_data = state[tensor.name].contiguous().numpy().tobytes()
    serialised: bytes = graph.SerializeToString()
    return serialised


@functools.lru_cache(maxsize=8)
def _graph(architecture: Architecture) -> bytes:
    """Return an architecture's graph without weights, from the cache folder if it is there."""
    path = cache_folder() / "graphs" / f"{_digest(architecture)}.onnx"
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    if _whole(kept):
        return kept
    made = _without_weights(architecture)
    _keep(path, made)
    return made


def _whole(content: bytes) -> bool:
    """Tell whether these are the bytes of a graph, and not of a file that was cut short."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return bool(onnx.load_from_string(content).graph.node)
    except DecodeError:
        return False


def _without_weights(architecture: Architecture) -> bytes:
    import onnx

    network = folded(SA2Net(*architecture[:3]))
    for number, weight in enumerate(network.state_dict().values()):
        weight.fill_(number)  # equal ones would become one
    graph = onnx.load_from_string(
        trace(
            Maps(network, architecture.everything),
            architecture.in_channels,
            [MAPS],
            keep_weights=True,
        )
    )
    for tensor in graph.graph.initializer:
        tensor.raw_data = b""
    made: bytes = graph.SerializeToString()
    return made


def _keep(path: Path, content: bytes) -> None:
    """Write a file that only saves time: it is done without if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(content)
    except (OSError, SA2NetError):
        logger.info("The graph could not be kept as %s", path, exc_info=True)


def _digest(architecture: Architecture) -> str:
    """Return a name that changes whenever the graph may."""
    digest = hashlib.sha256(repr((tuple(architecture), OPSET, torch.__version__)).encode())
    for module in (network_module, operators, maps, folding):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:32]
