"""How long does the window stand still while a model is trained in it?

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/window_stalls.py

A real napari window with the tab "Correct & fine-tune" open, its plot and its preview on. A
timer of 5 ms beats in the event loop, and the intervals between its beats are kept. The same
scripted actions (pan, zoom, strokes in the annotation layer, slices of a stack) run without and
with a training in the window's worker, in turns; the first of each pair changes. napari stalls by
itself, most where the screen is drawn in software, so what counts is the difference of the two:
that of the medians over all rounds, for the 99th percentile of the intervals and the longest.

About 2 minutes for five rounds of 12 s each way, on two cores and nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from records import spread, table, tell

PLANES, REPEATS = 6, (2, 2)
INTERVAL = 50
"""Milliseconds between two actions."""
BEAT = 5
TARGET = 50.0
STEPS = 3
"""Steps of a training that are awaited before anything is measured."""


class Beats:
    """Intervals between the beats of a timer in the event loop, in milliseconds."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self._times: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(BEAT)
        self._timer.timeout.connect(lambda: self._times.append(time.perf_counter()))

    def during(self, wait: Callable[[], None]) -> dict[str, float]:
        """Return the figures of what happens while ``wait`` serves the event loop."""
        self._times.clear()
        self._timer.start()
        wait()
        self._timer.stop()
        gaps = 1000 * np.array([b - a for a, b in pairwise(self._times)])
        return {"p99": float(np.percentile(gaps, 99)), "longest": float(gaps.max())}


class Desk:
    """A window with a stack of images, an annotation layer and the training tab."""

    def __init__(self) -> None:
        import napari

        from napari_sa2net.gui.sample_data import load_sample

        self.viewer = napari.Viewer()
        plane = np.tile(load_sample("fluorescence"), REPEATS)
        stack = np.stack([np.roll(plane, 31 * z, axis=1) for z in range(PLANES)])
        self.layer = self.viewer.add_image(stack, name="cells")
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-sa2net")
        self.widget.tabs.setCurrentWidget(self.widget.train)
        self.trainer = self.widget.trainer
        self.widget.train.preview.setChecked(True)
        serve(0.5)
        self.widget.train.annotate.new.click()
        self.painting = self.viewer.layers[-1]
        self.rng = np.random.default_rng(0)
        bright = stack[0] > np.percentile(stack[0], 90)
        for value, where in ((1, ~bright), (2, bright)):
            places = np.argwhere(where)
            for y, x in self.rng.choice(places, 40):
                self.painting.paint((0, int(y), int(x)), value)
        serve(0.5)

    def start(self) -> None:
        """Begin a training that would last an hour, and wait for its first steps."""
        from napari_sa2net.gui.training.backend import Plan

        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        self.trainer.progressed.connect(count)
        settings = replace(self.trainer.backend.settings(), minutes=60.0)
        self.trainer.train(Plan("nuclei", settings, "stalls", device="cpu"), None)
        # It is emitted once when a training begins.
        until(lambda: steps > STEPS or not self.trainer.state.busy)
        self.trainer.progressed.disconnect(count)
        if not self.trainer.state.busy:
            raise RuntimeError(" ".join(str(note.text) for note in self.trainer.notes))

    def stop(self) -> None:
        """End the training and let go of its result."""
        self.trainer.stop()
        until(lambda: not self.trainer.state.busy)
        self.trainer.keep_start()

    def act(self, cycles: int) -> None:
        """Run the script: one action after the other, at a fixed pace."""
        from qtpy.QtCore import QTimer

        script = self._script(cycles)
        timer = QTimer()
        timer.setInterval(INTERVAL)
        timer.timeout.connect(lambda: script.pop()() if script else None)
        timer.start()
        until(lambda: not script)
        timer.stop()
        serve(0.2)

    def _script(self, cycles: int) -> list[Callable[[], None]]:
        """Return the actions, the last first."""
        from napari_sa2net.gui import compat

        camera = compat.camera(self.viewer)
        size = self.layer.data.shape[1:]
        rng = np.random.default_rng(1)
        actions: list[Callable[[], None]] = []

        def pan(by: float) -> None:
            center = camera.center
            camera.center = (*center[:-2], center[-2] + by, center[-1] + by)

        def zoom(by: float) -> None:
            camera.zoom *= by

        def slice_to(z: int) -> None:
            self.viewer.dims.set_current_step(0, z)

        def dab(y: float, x: float, value: int) -> None:
            z = int(self.viewer.dims.current_step[0])
            self.painting.paint((z, int(y), int(x)), value)

        for cycle in range(cycles):
            actions += [lambda: pan(20), lambda: pan(20), lambda: zoom(1.5), lambda: pan(-40)]
            y, x = (rng.uniform(60, n - 60) for n in size)
            for place in range(5):
                actions.append(lambda y=y + 5 * place, x=x, v=1 + cycle % 2: dab(y, x, v))
            actions += [lambda: zoom(1 / 1.5), lambda z=(cycle + 1) % PLANES: slice_to(z)]
        actions.append(lambda: slice_to(0))
        return actions[::-1]


def until(done: Callable[[], bool]) -> None:
    """Serve the event loop until ``done``."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    timer = QTimer()
    timer.setInterval(20)
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start()
    loop.exec()
    timer.stop()


def serve(seconds: float) -> None:
    """Serve the event loop for some time."""
    end = time.perf_counter() + seconds
    until(lambda: time.perf_counter() > end)


def measure(rounds: int, cycles: int) -> dict[str, list[dict[str, float]]]:
    """Return the figures of every round, by what was measured."""
    desk, beats = Desk(), Beats()
    desk.act(2)  # what is slow only the first time
    found: dict[str, list[dict[str, float]]] = {}

    def note(name: str, figures: dict[str, float]) -> None:
        found.setdefault(name, []).append(figures)
        tell(f"{name}: {figures}")

    def without() -> None:
        note("without", beats.during(lambda: desk.act(cycles)))

    def with_training() -> None:
        note("starting", beats.during(desk.start))
        note("with", beats.during(lambda: desk.act(cycles)))
        note("stopping", beats.during(desk.stop))

    for turn in range(rounds):
        for part in (without, with_training)[:: -1 if turn % 2 else 1]:
            part()
    desk.viewer.close()
    return found


def show(found: dict[str, list[Any]]) -> None:
    """Print the tables."""
    columns = ("p99", "longest")
    names = {
        "without": "the actions alone",
        "with": "the actions during a training",
        "starting": "from the press to the third step, no actions",
        "stopping": "from Stop to the result, no actions",
    }
    rows = [
        [text, *(spread([figures[c] for figures in found[name]], 0) for c in columns)]
        for name, text in names.items()
    ]
    print(table(["", "99th percentile, ms", "longest, ms"], rows))
    print()
    rows = []
    for column, text in zip(columns, ("99th percentile", "longest"), strict=True):
        middle = {
            name: statistics.median(figures[column] for figures in found[name])
            for name in ("without", "with")
        }
        more = middle["with"] - middle["without"]
        good = "reached" if more <= TARGET else "**missed**"
        rows.append([f"{text}: at most {TARGET:.0f} ms above", f"{more:+.0f} ms", good])
    print(table(["target", "value", ""], rows))
    print(f"\nMedians of {len(found['with'])} rounds, with the lowest and highest.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=20, help="of eleven actions each")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    pace = arguments.cycles * 11 * INTERVAL / 1000
    tell(f"About {arguments.rounds * (2 * pace + 15) / 60 + 1:.0f} minutes on an idle machine.")
    with tempfile.TemporaryDirectory() as home:
        # Nothing of the person's own is read or changed.
        os.environ["NAPARI_SA2NET_HOME"] = home
        found = measure(arguments.rounds, arguments.cycles)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    show(found)


if __name__ == "__main__":
    main()
