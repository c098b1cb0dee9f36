"""Make docs/images/screenshot.png: the real window, model and image.

Run it where there is a display, or without one under Xvfb:
``xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshot.py``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_sa2net.gui.main_widget import MainWidget
from napari_sa2net.gui.sample_data import SAMPLES, load_sample

ROOT = Path(__file__).resolve().parents[1]


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
    """Let the window work until something is true; False if ``seconds`` have passed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        if until():
            return True
        time.sleep(0.01)
    return False


def segment(viewer: napari.Viewer, sample: str) -> MainWidget:
    """Open a sample, open the window, press Segment, and wait for the results."""
    viewer.add_image(load_sample(sample), name=SAMPLES[sample].title)
    widget = MainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SA2-Net")
    viewer.window.resize(1560, 960)
    wait(1)
    widget.segment.keep["stages"].setChecked(True)
    widget.segment.keep["disagreement"].setChecked(True)
    widget.segment.segment.click()
    if not wait(300, lambda: not widget.controller.state.busy):
        raise TimeoutError("The segmentation took more than five minutes.")
    return widget


def arrange(viewer: napari.Viewer) -> None:
    """Show image, labels, disagreement and stages beside each other, with their names."""
    for layer in viewer.layers:
        layer.visible = True
        layer.blending = "translucent"
        if hasattr(layer, "interpolation2d"):
            layer.interpolation2d = "nearest"
    labels = viewer.layers[-1]
    labels.opacity = 1
    image = viewer.layers[0]
    image.contrast_limits = tuple(np.percentile(image.data, (0.5, 99.5)))
    # Labels and disagreement follow the image; the stages come below.
    viewer.layers.move(len(viewer.layers) - 1, 1)
    viewer.layers.move(len(viewer.layers) - 1, 2)
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid  # since 0.9
    grid.enabled = True
    grid.shape = (4, 2)
    grid.stride = 1
    viewer.reset_view()
    viewer.layers.selection.active = viewer.layers[0]


def main() -> int:
    """Write the picture and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", choices=sorted(SAMPLES), default="fluorescence")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/screenshot.png")
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    widget = segment(viewer, arguments.sample)
    arrange(viewer)
    wait(2)
    errors = [note.text for note in widget.controller.notes if note.level == "error"]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    viewer.screenshot(str(arguments.output), canvas_only=False, flash=False)
    viewer.close()
    sys.stdout.write("\n".join([*errors, f"{arguments.output}\n"]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
