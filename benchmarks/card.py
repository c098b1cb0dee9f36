"""How fast does the network run on a graphics card, against the card's own matrix product?

    python benchmarks/card.py [--device cuda] [--widths 64 32 16] [--repeats 10] [--compile]

tiles
    Batches of tiles of 512², three channels and classes, from and to the computer's memory, in
    single and in half precision: one batch after the other, and with the next begun before the
    last is fetched, as segmenting does. Beside each: tiles a second; the literal network's
    operations a second as a share of those of a matrix product of the same precision (without
    TF32), and the largest difference of a probability from single precision.
calls
    What the calls from Python cost, in half precision with all data on the card: batches of one
    tile of 256² and of eight of 512², called as ever and replayed as a CUDA graph; with
    ``--compile`` also what ``torch.compile`` makes of the network, and how long that takes.
steps
    A training step of four crops of 256²: seconds and memory with either order of channels, with
    cuDNN trying its ways first, and with bfloat16.
plane
    An image of 4096² of the bundled sample, segmented with the bundled model in single, half and
    automatic precision: halo, blending and labels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from costs import flops, median_seconds, memory_now, memory_peak, training_step
from literal import Literal
from napari_sa2net import load_model, segment
from napari_sa2net.engine.devices import free_memory
from napari_sa2net.engine.execution.backends import make_backend
from napari_sa2net.engine.execution.base import Backend
from napari_sa2net.engine.execution.folding import folded
from napari_sa2net.engine.execution.maps import Maps
from napari_sa2net.engine.execution.pipeline import in_order
from napari_sa2net.engine.prediction import BATCHES
from napari_sa2net.engine.training.losses import Target
from napari_sa2net.gui.sample_data import load_sample
from records import table
from speed import trained

SIDE = 8192
"""Of the matrices."""

TILE = 512

BATCH = BATCHES["cuda"]

CROP = 256
"""Of a training step."""


class Pace:
    """Batches one after the other, or begun ahead."""

    batch = 1

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead


def product(device: str, kind: torch.dtype, repeats: int) -> float:
    """Return the operations a second of a matrix product."""
    a = torch.rand(SIDE, SIDE, device=device).to(kind)
    return 2 * SIDE**3 / median_seconds(lambda: a @ a, repeats, device)


def batches_a_second(backend: Backend, x: NDArray[np.float32], ahead: int, repeats: int) -> float:
    """Return how many batches go through."""

    def begin(numbers: Any) -> Callable[[], NDArray[np.float32]]:
        return backend.start(x + 0)  # cut out anew, as every batch is

    for count in (2, repeats):  # the first ones warm up
        began = time.perf_counter()
        for _ in in_order(deque(range(count)), begin, Pace(ahead)):
            pass
    return repeats / (time.perf_counter() - began)


def tiles(device: str, widths: list[int], repeats: int) -> None:
    """Compare tiles."""
    products = {
        "single": product(device, torch.float32, repeats),
        "half": product(device, torch.float16, repeats),
    }
    for name, found in products.items():
        print(f"the product in {name} precision runs at {found / 1e12:.1f} TFLOP/s", flush=True)
    x = np.random.default_rng(0).random((BATCH, 3, TILE, TILE), np.float32)
    rows = []
    for width in widths:
        network = trained(width)
        operations = flops(Literal(network).eval(), torch.rand(1, 3, TILE, TILE))  # type: ignore[arg-type]
        expected = None
        for precision, most in products.items():
            backend = make_backend(network, device, False, "torch", precision)
            maps = backend.maps(x)
            expected = maps if expected is None else expected
            for ahead in sorted({0, backend.ahead}):
                rate = BATCH * batches_a_second(backend, x, ahead, repeats)
                rows.append(
                    (
                        width,
                        precision,
                        "ahead" if ahead else "one by one",
                        f"{rate:.1f}",
                        f"{rate * operations / most:.2f}",
                        f"{np.abs(maps - expected).max():.0e}",
                    )
                )
    head = ("width", "precision", "batches", "tiles a second", "of the product", "difference")
    print(table(head, rows), flush=True)


def replayed(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a CUDA graph of a call that has run before."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def calls(device: str, widths: list[int], repeats: int, compiling: bool) -> None:
    """Compare ways to call a network."""
    rows = []
    for width in widths:
        maps = Maps(folded(trained(width)), False).to(device).half()
        maps = maps.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for count, side in ((1, 256), (BATCH, TILE)):
            x = torch.rand(count, 3, side, side, device=device).half()
            x = x.contiguous(memory_format=torch.channels_last)

            def eager(maps: Any = maps, x: torch.Tensor = x) -> torch.Tensor:
                found: torch.Tensor = maps(x)
                return found

            with torch.inference_mode():
                row = [median_seconds(call, repeats, device) for call in (eager, replayed(eager))]
                taken = "–"
                if compiling:
                    began = time.perf_counter()
                    made = torch.compile(maps, dynamic=False)
                    made(x)
                    torch.cuda.synchronize()
                    taken = f"{time.perf_counter() - began:.1f}"
                    row.append(median_seconds(lambda made=made, x=x: made(x), repeats, device))
            rates = [f"{count / seconds:.1f}" for seconds in row]
            rows.append((width, f"{count} × {side}²", *rates, *["–"] * (3 - len(rates)), taken))
    head = ("width", "batch", "called", "CUDA graph", "compiled, tiles a second", "to compile, s")
    print(table(head, rows), flush=True)


def steps(device: str, widths: list[int], repeats: int) -> None:
    """Compare ways to train."""
    first, last = torch.contiguous_format, torch.channels_last
    ways = {
        "channels first": (first, False, torch.float32),
        "channels last": (last, False, torch.float32),
        "channels last, cuDNN tuned": (last, True, torch.float32),
        "channels last, bfloat16": (last, False, torch.bfloat16),
    }
    rows = []
    for width in widths:
        for name, (layout, tuned, numbers) in ways.items():
            free_memory(device)
            before = memory_now(device)
            network = trained(width).to(device, memory_format=layout)  # type: ignore[call-overload]
            images = torch.rand(4, 3, CROP, CROP).to(device, memory_format=layout)
            target = Target((torch.rand(4, CROP, CROP) > 0.5).long()).to(device)
            step = training_step(network, network, images, target, numbers=numbers)
            with torch.backends.cudnn.flags(
                enabled=torch.backends.cudnn.enabled,
                benchmark=tuned,
                deterministic=torch.backends.cudnn.deterministic,
                allow_tf32=torch.backends.cudnn.allow_tf32,
            ):
                seconds = median_seconds(step, repeats, device)
            memory = (memory_peak(device) - before) / 2**30
            rows.append((width, name, f"{1000 * seconds:.1f}", f"{memory:.2f}"))
            del network, images, target, step
    print(table(("width", "training step", "ms", "GiB at most"), rows), flush=True)


def plane(device: str, side: int, repeats: int) -> None:
    """Compare an image."""
    sample = load_sample("fluorescence")
    image = np.tile(sample, [-(-side // n) for n in sample.shape])[:side, :side]
    model = load_model("nuclei")
    rows = []
    for precision in ("single", "half", "auto"):
        seconds = []
        for _ in range(max(2, repeats // 3) + 1):
            began = time.perf_counter()
            result = segment(image, model, device, precision=precision)
            seconds.append(time.perf_counter() - began)
        taken = statistics.median(seconds[1:])
        rows.append((precision, f"{taken:.2f}", result.labels.max()))
    print(table((f"{side}² in precision", "s", "objects"), rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 32, 16])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda"):
        print(torch.cuda.get_device_name(arguments.device))
    tiles(arguments.device, arguments.widths, arguments.repeats)
    if arguments.device.startswith("cuda"):
        calls(arguments.device, arguments.widths, arguments.repeats, arguments.compile)
    steps(arguments.device, arguments.widths, arguments.repeats)
    plane(arguments.device, 4096, arguments.repeats)


if __name__ == "__main__":
    main()
