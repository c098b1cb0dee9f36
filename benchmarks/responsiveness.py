"""How long does a person wait for the window?

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/responsiveness.py [--repeats 9]

import
    ``import napari_sa2net`` in a new process, less an empty Python.
open
    The plugin's window in an empty napari, from the click to its first drawing, each time in a
    new process; torch must not be loaded by then.
slider
    The threshold of a 2048² result of the bundled model and image is moved. Until the canvas
    has drawn the new labels, with and without splitting, and until the whole layer has them.
segment
    An image of 2048² by the button Segment, canvas idle, until its labels are shown, against
    the same by :func:`napari_sa2net.segment`, in turns.

Figures are medians. Nothing else may run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from records import CORES, table

TARGETS = {
    "import, ms": 50,
    "opening the window, ms": 1000,
    "slider until drawn, ms": 100,
    "slider until drawn, with splitting, ms": 300,
    "slider until the whole layer is right, ms": 2000,
    "Segment in the window against a script": 1.1,
}


def serve(until: Callable[[], bool], every: int = 1, seconds: float = 120.0) -> None:
    """Let the window work, or sleep, until something is true; look ``every`` milliseconds."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, looking = QEventLoop(), QTimer()
    end = time.monotonic() + seconds
    looking.timeout.connect(lambda: loop.exit() if until() or time.monotonic() > end else None)
    looking.start(every)
    loop.exec()
    if time.monotonic() > end:
        raise TimeoutError("The window did not do what was waited for.")


def importing(repeats: int) -> float:
    """Return the milliseconds of an import."""

    def timed(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    both = [(timed("import napari_sa2net"), timed("pass")) for _ in range(repeats)]
    return 1000 * statistics.median(with_it - empty for with_it, empty in both)


def opening() -> float:
    """Return the milliseconds until the window of the plugin is drawn; for a new process."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    end = time.monotonic() + 2
    serve(lambda: time.monotonic() > end)
    began = time.perf_counter()
    viewer.window.add_plugin_dock_widget("napari-sa2net")
    QApplication.processEvents()
    seconds = time.perf_counter() - began
    if "torch" in sys.modules:
        raise RuntimeError("Opening the window has loaded torch.")
    viewer.close()
    return 1000 * seconds


class Desk:
    """A window with an image of 2048² and the plugin."""

    def __init__(self) -> None:
        import napari

        from napari_sa2net.gui.sample_data import load_sample

        sample = load_sample("fluorescence")
        sides = [-(-2048 // side) for side in sample.shape]
        self.image = np.tile(sample, sides)[:2048, :2048]
        self.viewer = napari.Viewer()
        self.viewer.add_image(self.image, name="cells")
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-sa2net")
        canvas = self.viewer.window._qt_viewer.canvas._scene_canvas
        self.drawn = 0.0
        canvas.events.draw.connect(self._on_draw)

    def _on_draw(self, _: Any = None) -> None:
        self.drawn = time.perf_counter()

    def segment(self) -> float:
        """Press Segment; return the seconds until its labels are drawn."""
        began = time.perf_counter()
        self.widget.segment.segment.click()
        # As seldom as does not matter: each look takes the processor from the network.
        serve(lambda: not self.widget.controller.state.busy, every=10)
        ended = time.perf_counter()
        serve(lambda: self.drawn > ended or time.perf_counter() > ended + 0.2)
        return ended - began

    def move(self, value: float, split: bool) -> tuple[float, float]:
        """Move the threshold; return seconds until drawn and until the whole layer is right."""
        controller, form = self.widget.controller, self.widget.segment.labelling
        labels = self.viewer.layers[-1]
        changed = [0.0]

        def note(_: Any = None) -> None:
            changed[0] = changed[0] or time.perf_counter()

        labels.events.set_data.connect(note)
        wanted = form.value().__class__(**{**vars(form.value()), "split": split})
        form.set_value(wanted)
        began = time.perf_counter()
        form.controls["threshold"]._spin.setValue(value)
        serve(lambda: changed[0] > 0 and self.drawn > changed[0])
        drawn = self.drawn - began
        serve(lambda: controller.shown.labelling == form.value())
        labels.events.set_data.disconnect(note)
        return drawn, max(drawn, time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(opening())
        return
    found = {"import, ms": importing(arguments.repeats)}
    child = [sys.executable, __file__, "--child"]
    opened = [
        float(subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()[-1])
        for _ in range(max(3, arguments.repeats // 3))
    ]
    found["opening the window, ms"] = statistics.median(opened)

    import torch

    from napari_sa2net import segment

    torch.set_num_threads(CORES)
    desk = Desk()
    desk.segment()
    objects = int(desk.viewer.layers[-1].data.max())
    whole = []
    for split in (False, True):
        moves = [desk.move(0.3 + 0.02 * turn, split) for turn in range(arguments.repeats)]
        name = "slider until drawn, with splitting, ms" if split else "slider until drawn, ms"
        found[name] = 1000 * statistics.median(drawn for drawn, _ in moves)
        whole += [seconds for _, seconds in moves]
    found["slider until the whole layer is right, ms"] = 1000 * max(whole)
    pairs = []
    for _ in range(max(3, arguments.repeats // 2)):
        began = time.perf_counter()
        segment(desk.image, "nuclei", "cpu")
        script = time.perf_counter() - began
        pairs.append((desk.segment(), script))
    found["Segment in the window against a script"] = statistics.median(a / b for a, b in pairs)
    print(f"{objects} objects; Segment {statistics.median(a for a, _ in pairs):.2f} s\n")
    rows = [
        (name, f"{found[name]:.2f}" if target < 10 else f"{found[name]:.0f}", target,
         "reached" if found[name] <= target else "**missed**")
        for name, target in TARGETS.items()
    ]  # fmt: skip
    print(table(("what", "median", "at most", ""), rows))
    desk.viewer.close()


if __name__ == "__main__":
    main()
