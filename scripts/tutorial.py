"""Make the pictures of docs/fine-tune.md: the real window, pressed as a person would.

Run it where there is a display, or without one under Xvfb:
``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/tutorial.py``

The model and the painting go to a temporary folder, and nothing of yours is touched.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_sa2net.engine.folders import HOME_VARIABLE
from napari_sa2net.gui.main_widget import MainWidget
from napari_sa2net.gui.sample_data import SAMPLES, load_sample
from screenshot import ROOT, wait

SAMPLE = "phase_contrast"
NAME = "my-cells"
Line = list[tuple[int, int]]

CELLS: list[Line] = [
    [(140, 130), (142, 155), (147, 178)],
    [(176, 233), (165, 252), (154, 270)],
    [(198, 152), (206, 178), (214, 200)],
    [(272, 145), (263, 160), (254, 172)],
    [(434, 93), (450, 97), (464, 102)],
    [(306, 378), (330, 384), (360, 376)],
    [(240, 428), (258, 450), (274, 466)],
    [(56, 312), (66, 322), (75, 330)],
    [(326, 190), (342, 196), (357, 208)],
    [(356, 16), (366, 24), (378, 42)],
]
"""Strokes inside cells: points (x, y) in pixels of the sample."""

BACKGROUND: list[Line] = [
    [(50, 34), (80, 40), (105, 46)],
    [(58, 170), (76, 195), (90, 212)],
    [(440, 168), (455, 200), (480, 226)],
    [(212, 94), (240, 108), (270, 112)],
    [(95, 372), (120, 396), (150, 424)],
    [(424, 424), (450, 436), (480, 452)],
    [(284, 118), (296, 114), (304, 124)],
    [(420, 148), (424, 170), (426, 196)],
    [(150, 418), (146, 440), (160, 470)],
    [(332, 462), (380, 470), (420, 456)],
]
"""Strokes where no cell is."""


class Tutorial:
    """The window, and the steps that the pictures are taken of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer = napari.Viewer()
        self.image = self.viewer.add_image(load_sample(SAMPLE), name=SAMPLES[SAMPLE].title)
        self.image.contrast_limits = tuple(np.percentile(self.image.data, (0.5, 99.5)))
        self.widget = MainWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="SA2-Net")
        self.viewer.window.resize(1400, 900)
        wait(1)
        self.viewer.reset_view()

    def shoot(self, name: str) -> None:
        """Save a picture of the window."""
        wait(1)
        self.viewer.screenshot(
            str(self.folder / f"fine-tune-{name}.png"), canvas_only=False, flash=False
        )

    def segment(self, model: str) -> None:
        """Segment the sample with a model and show nothing but the labels over it."""
        self.widget.tabs.setCurrentWidget(self.widget.segment)
        self.viewer.layers.selection.active = self.image
        models = self.widget.segment.model.combo
        if models.findText(model) < 0:
            raise RuntimeError(f"The model {model!r} is not in the list.")
        models.setCurrentIndex(models.findText(model))
        wait(1)
        self.widget.segment.segment.click()
        self._until(lambda: not self.widget.controller.state.busy, "The segmentation")
        for layer in self.viewer.layers:
            layer.visible = layer is self.image
        self.viewer.layers[f"{self.image.name} labels"].visible = True

    def paint(self) -> None:
        """Make an annotation layer and paint the strokes."""
        self.widget.tabs.setCurrentWidget(self.widget.train)
        self.viewer.layers.selection.active = self.image
        for layer in self.viewer.layers:
            layer.visible = layer is self.image
        wait(1)
        self.widget.train.annotate.new.click()
        painting = self.viewer.layers.selection.active
        painting.brush_size = 5
        for value, lines in ((2, CELLS), (1, BACKGROUND)):
            painting.selected_label = value
            for line in lines:
                with painting.block_history():
                    for start, end in pairwise(line):
                        _stroke(painting, start, end)
        share = np.count_nonzero(painting.data) / painting.data.size
        sys.stdout.write(f"{share:.2%} of the pixels are painted.\n")

    def train(self, seconds: float) -> None:
        """Press Fine-tune, with a picture when half is done."""
        page, trainer = self.widget.train, self.widget.trainer
        settings = replace(page.settings.value(), budget="minutes", minutes=seconds / 60)
        page.settings.set_value(settings)
        page.preview.setChecked(True)
        page.train.click()
        wait(seconds / 2 + 15)
        self.shoot("3-training")
        self._until(lambda: not trainer.state.busy, "The training")
        if trainer.result is None:
            raise RuntimeError("The training ended without a result.")

    def keep(self) -> None:
        """Give the model its name and keep it."""
        result = self.widget.train.result
        result.name.setText(NAME)
        result.new_button.click()
        self._until(lambda: not self.widget.trainer.state.busy, "Keeping the model")

    @property
    def errors(self) -> list[str]:
        """What went wrong, as the window says it."""
        notes = [*self.widget.controller.notes, *self.widget.trainer.notes]
        return [note.text for note in notes if note.level == "error"]

    def _until(self, done: Any, what: str) -> None:
        wait(0.5)
        if not wait(600, done):
            raise TimeoutError(f"{what} took more than ten minutes.")
        if self.errors:
            raise RuntimeError("\n".join(self.errors))


def _stroke(painting: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    steps = int(np.hypot(end[0] - start[0], end[1] - start[1]))
    for share in np.linspace(0, 1, steps + 1):
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        painting.paint((round(y), round(x)), painting.selected_label)


def main() -> int:
    """Make the pictures and say where they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images")
    parser.add_argument("--seconds", type=float, default=120, help="of training")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ[HOME_VARIABLE] = home
        steps = Tutorial(arguments.output)
        steps.segment("nuclei")
        steps.shoot("1-before")
        steps.paint()
        steps.shoot("2-strokes")
        steps.train(arguments.seconds)
        steps.shoot("4-comparison")
        steps.keep()
        steps.segment(NAME)
        steps.shoot("5-after")
        errors = steps.errors
        steps.viewer.close()
    sys.stdout.write("\n".join([*errors, f"{arguments.output}\n"]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
