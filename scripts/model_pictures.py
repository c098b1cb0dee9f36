"""Draw the pictures of docs/models.md: images, and what a model makes of them.

    python scripts/model_pictures.py DATA [NAME …]

DATA holds the data sets of the recipes. Only data that may be shown is drawn.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import label2rgb
from skimage.io import imsave
from skimage.segmentation import find_boundaries
from skimage.transform import downscale_local_mean

from napari_sa2net import segment
from napari_sa2net.engine.files import read_image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIDE = 420
"""Height of a picture in pixels."""

GAP = 6
"""White pixels between parts of a picture."""


@dataclass(frozen=True)
class Field:
    """A part of an image."""

    image: str
    """File in the data folder."""
    corner: tuple[int, int] = (0, 0)
    """Row and column of what is cut out."""
    options: tuple[tuple[str, float], ...] = ()
    shrink: int = 1
    """Pixels that become one."""


PICTURES = {
    "nuclei": [Field("dsb2018_fluorescence/images/98a463483fe3a56d.png")],
    "cells-phase-contrast": [
        Field("usiigaci_phase_contrast/images/set11.png", (300, 300), (("diameter", 56.0),))
    ],
    "axons-sem": [
        Field(
            "axondeepseg_sem/images/sub-rat4_sample-data12_SEM.png",
            options=(("pixel_size", 0.1),),
        )
    ],
    "generalist": [
        Field("dsb2018_fluorescence/images/aaa52100fafaa508.png"),
        Field("dsb2018_histology/images/4ca5081854df7bbc.png"),
        Field("usiigaci_phase_contrast/images/set10.png", (450, 256), (("diameter", 56.0),), 2),
        Field("axondeepseg_sem/images/sub-rat2_sample-data5_SEM.png", (220, 320)),
    ],
}


def picture_of(name: str, data: Path) -> NDArray[np.uint8]:
    """Return the picture of a model: one field, or four in two rows."""
    fields = PICTURES[name]
    rows = 1 if len(fields) == 1 else 2
    side = SIDE // rows
    drawn = [draw(name, field, data, side) for field in fields]
    columns = len(drawn) // rows
    lines = [_joined(drawn[i * columns : (i + 1) * columns], axis=1) for i in range(rows)]
    return (255 * _joined(lines, axis=0)).round().astype(np.uint8)


def draw(name: str, field: Field, data: Path, side: int) -> NDArray[np.float64]:
    """Return the field and, beside it, the same with the model's result over it."""
    file = read_image(data / field.image)
    options: dict[str, Any] = {"axes": file.axes, "rgb": file.rgb, **dict(field.options)}
    released = ROOT / "weights" / f"{name}.safetensors"
    found = segment(file.array, released if released.exists() else name, device="cpu", **options)
    grey = np.asarray(file.array, np.float32)
    low, high = np.percentile(grey, (0.5, 99.8))
    shown = np.clip((grey - low) / (high - low), 0, 1)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    colors = None
    if found.labelling.result == "classes":
        colors = [_rgb(info.color) for info in found.card.classes[1:]]
    over = label2rgb(found.labels, shown, colors=colors, alpha=0.35, bg_label=0, saturation=1)
    over[find_boundaries(found.labels, mode="inner")] = 1.0
    top, left = field.corner
    part = (slice(top, top + side * field.shrink), slice(left, left + side * field.shrink))
    size = (field.shrink, field.shrink, 1)
    return _joined([downscale_local_mean(image[part], size) for image in (shown, over)], axis=1)


def _joined(images: list[NDArray[np.float64]], axis: int) -> NDArray[np.float64]:
    """Put images side by side, or below each other, with a gap between."""
    shape = list(images[0].shape)
    shape[axis] = GAP
    parts = [part for image in images for part in (np.ones(shape), image)]
    return np.concatenate(parts[1:], axis)


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)} (default: all)")
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        target = IMAGES / f"model-{name}.png"
        imsave(target, picture_of(name, arguments.data), check_contrast=False)
        print(target)


if __name__ == "__main__":
    main()
