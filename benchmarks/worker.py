"""Does the network run slower in a thread beside napari's event loop, or in a process?

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/worker.py

Times one 256² tile (median of the runs) of the network alone, in napari's ``thread_worker``
and in a spawned process, the latter two beside an idle window and beside one whose canvas is
redrawn 30 times a second. The rounds are interleaved. Nothing else heavy may run meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np


def tiles(width: int, runs: int) -> Iterator[float]:
    """Yield the seconds each tile takes."""
    import torch

    from napari_sa2net.engine.network import SA2Net

    torch.manual_seed(0)
    network = SA2Net(3, 3, width).eval().to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for run in range(runs + 2):
            began = time.perf_counter()
            network(x)
            seconds = time.perf_counter() - began
            if run >= 2:
                yield seconds


def child(width: int, runs: int) -> float:
    """Return the median of a process of its own, while Qt's events are served here."""
    from qtpy.QtWidgets import QApplication

    process = subprocess.Popen(
        [sys.executable, __file__, "--child", "--width", str(width), "--runs", str(runs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        QApplication.processEvents()
        time.sleep(0.002)
    return float(process.communicate()[0])


def thread(width: int, runs: int) -> float:
    """Return the median in a ``thread_worker``, while Qt's events are served here."""
    from napari.qt.threading import create_worker
    from qtpy.QtCore import QEventLoop

    seconds: list[float] = []
    loop = QEventLoop()
    worker = create_worker(tiles, width, runs, _start_thread=False)
    worker.yielded.connect(seconds.append)
    worker.finished.connect(loop.quit)
    worker.start()
    loop.exec()
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    width, runs = arguments.width, arguments.runs
    if arguments.child:
        print(statistics.median(tiles(width, runs)))
        return

    import napari
    from qtpy.QtCore import QTimer

    viewer = napari.Viewer()
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (2048, 2048), dtype=np.uint8))
    layer = viewer.layers[0]
    redraw = QTimer()
    redraw.setInterval(33)
    redraw.timeout.connect(lambda: setattr(layer, "gamma", 1.5 - layer.gamma % 1.0))
    figures: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        figures.setdefault("alone", []).append(statistics.median(tiles(width, runs)))
        for name, run in (("thread", thread), ("process", child)):
            for state in ("idle", "redrawn 30 times a second"):
                if state != "idle":
                    redraw.start()
                figures.setdefault(f"{name}, window {state}", []).append(run(width, runs))
                redraw.stop()
    alone = statistics.median(figures["alone"])
    print(f"| width {width}, 256² tile | median s | of alone |")
    print("|---|---|---|")
    for name, seconds in figures.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.3f} | {median / alone:.2f} |")
    viewer.close()


if __name__ == "__main__":
    main()
