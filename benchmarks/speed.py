"""How fast does the network run, against its own formulas and against the processor?

    python benchmarks/speed.py [--widths 64 32 16] [--repeats 15] [--only tile plane step]

Everything runs on two threads, in one process, in turns, so that what else the machine does
falls on all alike; figures are medians.

tile
    One tile of 256², three channels and classes: the literal network (`literal.py`: the
    formulas as they stand, channels first, all stages), the same rewritten in PyTorch, and in
    ONNX Runtime. Beside each: the literal network's operations a second as a share of those of
    a 4096² float32 matrix product on the same threads, and the largest difference from the
    literal network's probabilities.
plane
    An image of 2048² of the bundled sample, segmented with the bundled model: halo, blending
    and labels, against 64 tiles of 256² of the network alone, run by the same backend.
step
    A training step (forward, four stages' losses, backward, update; width 16, four crops of
    256²) against the same step of the literal network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from costs import flops, training_step
from literal import Literal
from napari_sa2net import load_model, segment
from napari_sa2net.engine.execution.backends import make_backend, onnxruntime_installed
from napari_sa2net.engine.execution.maps import probabilities
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.losses import Target
from napari_sa2net.gui.sample_data import load_sample
from records import CORES, table

SIDE = 4096
"""Of the matrices."""


def in_turns(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each call; a first round of all does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def backends() -> list[str]:
    """Return what can run the network here."""
    return ["torch", *(["onnxruntime"] if onnxruntime_installed() else [])]


def trained(width: int) -> SA2Net:
    """Return a network whose normalisations have seen data."""
    torch.manual_seed(0)
    network = SA2Net(3, 3, width)
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 64))
    return network.eval()


def tile(widths: list[int], repeats: int) -> None:
    """Compare one tile."""
    a = torch.rand(SIDE, SIDE)
    rows = []
    for width in widths:
        network = trained(width)
        literal = Literal(network).eval()
        x = torch.rand(1, 3, 256, 256)
        operations = flops(literal, x)  # type: ignore[arg-type]

        @torch.inference_mode()
        def formulas(literal: Literal = literal, x: torch.Tensor = x) -> np.ndarray:
            return probabilities(literal(x)[0]).numpy()

        made = {name: make_backend(network, "cpu", False, name) for name in backends()}
        calls: dict[str, Callable[[], Any]] = {"product": lambda: a @ a, "literal": formulas}
        for name, backend in made.items():
            calls[name] = lambda backend=backend, x=x: backend.maps(x.numpy())
        seconds = in_turns(calls, repeats)
        product = 2 * SIDE**3 / seconds["product"]
        expected = formulas()
        for name in ("literal", *made):
            apart = np.abs(calls[name]() - expected).max()
            rows.append(
                (
                    width,
                    name,
                    f"{operations / 1e9:.1f}",
                    f"{1000 * seconds[name]:.1f}",
                    f"{operations / seconds[name] / product:.2f}",
                    f"{seconds['literal'] / seconds[name]:.1f}",
                    f"{apart:.0e}",
                )
            )
        print(f"width {width}: the product runs at {product / 1e9:.0f} GFLOP/s", flush=True)
    head = ("width", "run by", "GFLOP", "ms", "of the product", "× literal", "difference")
    print(table(head, rows), flush=True)


def plane(side: int, repeats: int) -> None:
    """Compare an image of a side with as many tiles of 256² of the network alone."""
    sample = load_sample("fluorescence")
    times = [-(-side // length) for length in sample.shape]
    image = np.tile(sample, times)[:side, :side]
    count = (side // 256) ** 2
    model = load_model("nuclei")
    channels = model.card.in_channels
    x = np.repeat(image[None, None, :256, :256].astype(np.float32) / 255, channels, axis=1)
    rows = []
    for name in backends():
        backend = make_backend(model.network, "cpu", False, name)

        def alone(backend: Any = backend) -> None:
            for _ in range(count):
                backend.maps(x)

        def whole(name: str = name) -> Any:
            return segment(image, model, "cpu", backend=name)

        seconds = in_turns({"alone": alone, "whole": whole}, max(3, repeats // 3))
        rows.append(
            (
                name,
                f"{seconds['alone']:.3f}",
                f"{seconds['whole']:.3f}",
                f"{seconds['whole'] / seconds['alone']:.2f}",
                int(whole().labels.max()),
            )
        )
    head = ("run by", f"{count} tiles, s", f"{side}², s", "factor", "objects")
    print(table(head, rows), flush=True)


def step(repeats: int) -> None:
    """Compare a training step."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 256, 256)
    target = Target((torch.rand(4, 256, 256) > 0.5).long())

    literal = trained(16)
    quick = trained(16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = in_turns(
        {
            "literal": training_step(literal, Literal(literal), images, target),
            "ours": training_step(
                quick, quick, images.contiguous(memory_format=torch.channels_last), target
            ),
        },
        repeats,
    )
    rows = [(name, f"{s:.2f}", f"{seconds['literal'] / s:.2f}") for name, s in seconds.items()]
    print(table(("step of", "s", "× literal"), rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 32, 16])
    parser.add_argument("--side", type=int, default=2048, help="of the plane, 256 or more")
    parser.add_argument("--repeats", type=int, default=15)
    parts = ("tile", "plane", "step")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    arguments = parser.parse_args()
    torch.set_num_threads(CORES)
    if "tile" in arguments.only:
        tile(arguments.widths, arguments.repeats)
    if "plane" in arguments.only:
        plane(arguments.side, arguments.repeats)
    if "step" in arguments.only:
        step(arguments.repeats)


if __name__ == "__main__":
    main()
