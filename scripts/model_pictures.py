"""Draw the pictures of docs/models.md: an image that the model has not seen, and its result.

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

from napari_sa2net import segment
from napari_sa2net.engine.files import read_image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIDE = 420
"""Pixels of each of the two pictures."""


@dataclass(frozen=True)
class Picture:
    """What is drawn for a model."""

    model: str
    image: str
    """File in the data folder."""
    corner: tuple[int, int] = (0, 0)
    """Row and column of what is cut out."""
    options: tuple[tuple[str, float], ...] = ()


PICTURES = (
    Picture("nuclei", "dsb2018_fluorescence/images/98a463483fe3a56d.png"),
    Picture(
        "cells-phase-contrast",
        "usiigaci_phase_contrast/images/set11.png",
        (300, 300),
        (("diameter", 56.0),),
    ),
    Picture(
        "axons-sem",
        "axondeepseg_sem/images/sub-rat4_sample-data12_SEM.png",
        (0, 0),
        (("pixel_size", 0.1),),
    ),
)


def draw(picture: Picture, data: Path) -> NDArray[np.uint8]:
    """Return the image and, beside it, the same with its result over it."""
    file = read_image(data / picture.image)
    options: dict[str, Any] = {"axes": file.axes, "rgb": file.rgb, **dict(picture.options)}
    found = segment(file.array, picture.model, device="cpu", **options)
    grey = np.asarray(file.array, np.float32)
    low, high = np.percentile(grey, (0.5, 99.8))
    shown = np.clip((grey - low) / (high - low), 0, 1)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    colors = None
    if found.labelling.result == "classes":
        colors = [_rgb(info.color) for info in found.card.classes[1:]]
    over = label2rgb(found.labels, shown, colors=colors, alpha=0.35, bg_label=0)
    over[find_boundaries(found.labels, mode="inner")] = 1.0
    top, left = picture.corner
    part = (slice(top, top + SIDE), slice(left, left + SIDE))
    gap = np.ones((shown[part].shape[0], 6, 3))
    both = np.concatenate([shown[part], gap, over[part]], axis=1)
    return (255 * both).round().astype(np.uint8)


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", help="models (default: all)")
    arguments = parser.parse_args()
    for picture in PICTURES:
        if arguments.names and picture.model not in arguments.names:
            continue
        target = IMAGES / f"model-{picture.model}.png"
        imsave(target, draw(picture, arguments.data), check_contrast=False)
        print(target)


if __name__ == "__main__":
    main()
