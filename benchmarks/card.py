"""How fast does the network run on a graphics card, against the card's own matrix product?

    python benchmarks/card.py [--device cuda] [--widths 64 32 16] [--repeats 10]

tiles
    Batches of tiles of 512², three channels and classes, from and to the computer's memory, in
    single and in half precision: one batch after the other, and with the next begun before the
    last is fetched, as segmenting does. Beside each: tiles a second; the literal network's
    operations a second as a share of those of a matrix product of the same precision (without
    TF32), and the largest difference of a probability from single precision.
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

from costs import flops
from literal import Literal
from napari_sa2net import load_model, segment
from napari_sa2net.engine.execution.backends import make_backend
from napari_sa2net.engine.execution.base import Backend
from napari_sa2net.engine.execution.pipeline import in_order
from napari_sa2net.engine.prediction import BATCHES
from napari_sa2net.gui.sample_data import load_sample
from records import table
from speed import trained

SIDE = 8192
"""Of the matrices."""

TILE = 512

BATCH = BATCHES["cuda"]


class Pace:
    """Batches one after the other, or begun ahead."""

    batch = 1

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead


def product(device: str, kind: torch.dtype, repeats: int) -> float:
    """Return the operations a second of a matrix product."""
    a = torch.rand(SIDE, SIDE, device=device).to(kind)
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        float((a @ a)[0, 0])  # waits for it
        seconds.append(time.perf_counter() - began)
    return 2 * SIDE**3 / statistics.median(seconds[1:])


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
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda"):
        print(torch.cuda.get_device_name(arguments.device))
    tiles(arguments.device, arguments.widths, arguments.repeats)
    plane(arguments.device, 4096, arguments.repeats)


if __name__ == "__main__":
    main()
