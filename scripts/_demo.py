"""Segment a bundled image with the bundled model; runs in the environment try_it.py made.

With ``--window`` in napari, otherwise into files.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = "fluorescence"
MAPS = ("stages", "disagreement")


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
    from skimage.io import imread, imsave

    import napari_sa2net
    from napari_sa2net.engine.files import write_labels

    folder.mkdir(parents=True, exist_ok=True)
    samples = files("napari_sa2net") / "gui" / "samples"
    name = min(entry.name for entry in samples.iterdir() if SAMPLE in entry.name)
    with as_file(samples / name) as path:
        image = imread(path)
    result = napari_sa2net.segment(image, model="nuclei", progress=sys.stderr.isatty())
    stem = name.rpartition(".")[0]
    targets = [folder / f"{stem}_labels.tif", folder / f"{stem}_overlay.png"]
    write_labels(targets[0], result.labels, result.axes)
    imsave(targets[1], overlay(image, result.labels), check_contrast=False)
    print(f"{name}: {len(result.features['index'])} objects found.")
    return targets


def in_window(viewer: Any) -> Any:
    """Open the sample and the dock widget in a viewer, press Segment, return the widget."""
    viewer.open_sample("napari-sa2net", SAMPLE)
    _, widget = viewer.window.add_plugin_dock_widget("napari-sa2net", "SA2-Net")
    page = widget.segment
    for name in MAPS:
        page.keep[name].setChecked(True)
    page.segment.click()
    return widget


def main() -> int:
    """Show or write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("segmented"))
    arguments = parser.parse_args()
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
