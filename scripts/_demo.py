"""Segment a bundled image with the bundled model; runs in the environment try_it.py made.

With ``--window`` in napari, otherwise into files.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = "fluorescence"
MAPS = ("stages", "disagreement")
WEIGHTS = Path(__file__).parents[1] / "weights"
"""The released model files, which a clone has."""


def overlay(image: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the image with the outline of every object, (H, W, 3)."""
    from skimage.segmentation import find_boundaries

    grey = image.astype(np.float32)
    low, high = np.percentile(grey, (1, 99.8))
    shade = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255
    colours = shade if shade.ndim == 3 else np.repeat(shade[..., None], 3, axis=2)
    colours = colours.astype(np.uint8)
    colours[find_boundaries(labels, mode="outer")] = (255, 200, 0)
    return colours


def to_files(folder: Path) -> list[Path]:
    """Segment, write labels and overlay, and return their paths."""
    from skimage.io import imsave

    import napari_sa2net
    from napari_sa2net.engine.files import write_labels
    from napari_sa2net.gui.sample_data import load_sample

    folder.mkdir(parents=True, exist_ok=True)
    image = load_sample(SAMPLE)
    result = napari_sa2net.segment(image, model="nuclei", progress=sys.stderr.isatty())
    targets = [folder / f"{SAMPLE}_labels.tif", folder / f"{SAMPLE}_overlay.png"]
    write_labels(targets[0], result.labels, result.axes)
    imsave(targets[1], overlay(image, result.labels), check_contrast=False)
    print(f"{len(result.features['index'])} objects found in the sample image {SAMPLE!r}.")
    return targets


def grid(viewer: Any) -> Any:
    """Return the viewer's grid, which napari 0.9 moved to its canvas."""
    return getattr(viewer, "canvas", viewer).grid


def in_window(viewer: Any) -> Any:
    """Open the sample and the dock widget in a viewer, press Segment, return the widget.

    When the result is there, all layers are shown side by side.
    """
    viewer.open_sample("napari-sa2net", SAMPLE)
    _, widget = viewer.window.add_plugin_dock_widget("napari-sa2net", "SA2-Net")
    page = widget.segment
    for name in MAPS:
        page.keep[name].setChecked(True)
    controller = widget.controller

    def show() -> None:
        if controller.shown is None or controller.state.busy:
            return
        controller.changed.disconnect(show)
        for layer in viewer.layers:
            layer.visible = True
        grid(viewer).enabled = True
        viewer.reset_view()

    controller.changed.connect(show)
    page.segment.click()
    return widget


def main() -> int:
    """Show or write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("segmented"))
    arguments = parser.parse_args()
    if WEIGHTS.is_dir():  # no need to download what is here
        os.environ.setdefault("NAPARI_SA2NET_WEIGHTS_URL", str(WEIGHTS))
    if arguments.window:
        import napari

        in_window(napari.Viewer(title="napari-sa2net"))
        napari.run()
        return 0
    for path in to_files(arguments.output):
        print(f"Written: {path.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
