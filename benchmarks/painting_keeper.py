"""What does saving a painting as one works cost, on a layer of 20,000²?

    QT_QPA_PLATFORM=offscreen python benchmarks/painting_keeper.py

Strokes of 40 mouse moves are painted into a Labels layer with and without the keeper, by turns;
the events are those of napari. There is no window, as drawing would hide the keeper's share.
Then undo, a direct assignment, closing and restoring are timed, and the bytes counted. Of the
keeper's handlers the processor's time is given as well, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MOVES = 40
"""Mouse moves of a stroke."""


class Clock:
    """Notes the seconds that functions take, each call's by itself."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.processor: list[float] = []

    def wrap(self, owner: Any, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **more: Any) -> Any:
            began, busy = time.perf_counter(), time.thread_time()
            try:
                return inner(*args, **more)
            finally:
                self.calls.append(time.perf_counter() - began)
                self.processor.append(time.thread_time() - busy)

        setattr(owner, name, timed)


def stroke(layer: Any, rng: np.random.Generator, value: int) -> float:
    """Paint a stroke as the mouse does; return the seconds it took."""
    place = rng.uniform(100, np.array(layer.data.shape) - 500)
    began = time.perf_counter()
    with layer.block_history():
        for move in range(MOVES):
            layer.paint(tuple(place + move * 8), value)
    return time.perf_counter() - began


def table(rows: list[tuple[str, str]]) -> None:
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


def spread(seconds: list[float]) -> str:
    """Return median, 99th percentile and longest in milliseconds."""
    values = np.array(seconds) * 1e3
    return f"{np.median(values):.2f} · {np.percentile(values, 99):.2f} · {values.max():.2f} ms"


def until_written(keeper: Any) -> float:
    """Return the seconds until a block on the disk is another."""

    def state() -> set[tuple[str, int]]:
        return {(p.name, p.stat().st_mtime_ns) for p in keeper.saver.folder.glob("*/*.block")}

    began, before = time.perf_counter(), state()
    keeper.hand_over()
    while state() == before:
        time.sleep(0.005)
        if time.perf_counter() - began > 300:
            raise SystemExit("not saved within five minutes")
    return time.perf_counter() - began


def waited(keeper: Any) -> float:
    """Return the seconds until all is on the disk."""
    began = time.perf_counter()
    if not keeper.flush(300):
        raise SystemExit("not saved within five minutes")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--strokes", type=int, default=60)
    parser.add_argument("--dtype", default="uint16")
    arguments = parser.parse_args()

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from napari_sa2net.gui.keeping import PaintingKeeper
    from napari_sa2net.gui.keeping.watch import Watch

    application = QApplication([])
    events, hand_overs = Clock(), Clock()
    for name in ("on_labels_update", "on_paint", "on_set_data"):
        events.wrap(Watch, name)
    hand_overs.wrap(PaintingKeeper, "hand_over")
    folder = Path(tempfile.mkdtemp())
    viewers = [ViewerModel(), ViewerModel()]
    shape = (arguments.side, arguments.side)
    layers = [v.add_labels(np.zeros(shape, arguments.dtype), name="painting") for v in viewers]
    keeper = PaintingKeeper(viewers[0], folder)
    keeper.watch(layers[0])
    first = waited(keeper)
    rng = np.random.default_rng(0)
    for layer in layers:
        layer.brush_size = 20
        stroke(layer, rng, 1)
    events.calls.clear()
    hand_overs.calls.clear()
    events.processor.clear()
    hand_overs.processor.clear()
    took: dict[str, list[float]] = {"with": [], "without": []}
    own, processor, latency = [], [], []
    for number in range(arguments.strokes):
        for name, layer in zip(took, layers, strict=True):
            before, busy = sum(events.calls), sum(events.processor)
            took[name].append(stroke(layer, rng, 1 + number % 2))
            if name == "with":
                own.append(sum(events.calls) - before)
                processor.append(sum(events.processor) - busy)
                application.processEvents()
                if number % 10 == 9:
                    latency.append(waited(keeper))
    painted = int(np.count_nonzero(layers[0].data))
    rows = [
        ("one look at the whole layer", f"{first:.2f} s"),
        ("a stroke without the keeper (median · 99 % · longest)", spread(took["without"])),
        ("a stroke with it", spread(took["with"])),
        ("of that in the keeper's own event handlers", spread(own)),
        ("the same, processor's time", spread(processor)),
        ("handing over to the thread, at most 2.5 times a second", spread(hand_overs.calls)),
        ("the same, processor's time", spread(hand_overs.processor)),
        ("until ten strokes are on the disk", f"{statistics.median(latency):.2f} s"),
    ]
    layers[0].undo()
    rows.append(("until an undo is", f"{until_written(keeper):.2f} s"))
    waited(keeper)
    layers[0].data[-3000:-2000, :1000] = 2
    layers[0].refresh()
    rows.append(
        ("until an assignment somewhere else begins to be", f"{until_written(keeper):.2f} s")
    )
    waited(keeper)
    stroke(layers[0], rng, 2)
    began = time.perf_counter()
    keeper.shut_down()
    rows.append(("closing with a stroke not yet saved", f"{time.perf_counter() - began:.2f} s"))
    again = PaintingKeeper(viewers[1], folder)
    (kept,) = again.offers()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    files = len(list(folder.rglob("*.block")))
    rows.append(
        (f"{kept.pixels:,} pixels painted ({painted:,} by strokes)", f"{size / 1e6:.2f} MB")
    )
    rows.append(("blocks", f"{files}"))
    began = time.perf_counter()
    layer = again.restore(kept)
    rows.append(("restoring", f"{time.perf_counter() - began:.2f} s"))
    rows.append(("equal to what was painted", str(np.array_equal(layer.data, layers[0].data))))
    again.shut_down()
    print(f"{arguments.side:,}² {arguments.dtype}, {arguments.strokes} strokes of {MOVES} moves\n")
    table(rows)


if __name__ == "__main__":
    main()
