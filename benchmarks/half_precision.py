"""Does half precision change labels?

    python benchmarks/half_precision.py DATA [--device cuda] [--images 3] [--side 512]

For each model of the registry, the middle of some images of its recipe, at the model's scale, held
out ones where there are some: the probabilities in half precision (float16 wherever PyTorch's
`autocast` takes it) against those in single precision, and the labels that come of them. On the
processor half precision is slow and stands in for a card's: only the results are compared.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sa2net import load_model
from napari_sa2net.engine.execution.cuda import CudaBackend
from napari_sa2net.engine.execution.maps import half
from napari_sa2net.engine.execution.precision import TOLERANCE, Precision
from napari_sa2net.engine.execution.pytorch import TorchBackend
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.instances import label_plane
from napari_sa2net.engine.metrics import average_precision
from napari_sa2net.engine.preparation import prepare
from napari_sa2net.engine.segmentation import SegmentOptions, derived_classes
from napari_sa2net.engine.tiling import pad
from napari_sa2net.engine.training.recipes import Recipe, read_recipe
from napari_sa2net.engine.weights import Model
from records import CORES, table
from scoring import names_of, scale_options

RECIPES = Path(__file__).resolve().parents[1] / "recipes"

MODELS = ("nuclei", "cells-phase-contrast", "axons-sem", "membranes-em", "glands-glas")

STRICT = 0.9
"""Objects must share this much with another to count as the same."""


@dataclass(frozen=True)
class Difference:
    """What half precision changes in one image."""

    largest: float
    """Difference of a probability."""
    share: float
    """Of the pixels that become or cease to be an object's, or of another class."""
    objects: int
    objects_half: int
    same: float
    """Average precision of the objects at :data:`STRICT`."""


def pictures(data: Path, recipe: Recipe, count: int) -> list[tuple[Path, SegmentOptions]]:
    """Return files of images, in turns from the recipe's data sets, and how large things are."""
    found = []
    for dataset in recipe.datasets:
        names = names_of(data, dataset)
        held_out = [name for name in names if name in recipe.held_out] or names
        folder = data / dataset.folder
        found.append(
            [
                (
                    next((folder / "images").glob(f"{name}.*")),
                    SegmentOptions(**scale_options(folder, recipe, dataset, name)),  # type: ignore[arg-type]
                )
                for name in held_out[:count]
            ]
        )
    turns = [picture for turn in zip_longest(*found) for picture in turn if picture is not None]
    return turns[:count]


def tile_of(path: Path, options: SegmentOptions, model: Model, side: int) -> NDArray[np.float32]:
    """Return the middle (1, C, h, w) of an image as the network gets it."""
    image = read_image(path)
    given = replace(options, axes=image.axes, rgb=image.rgb)
    plane = pad(prepare(np.asarray(image.array), model.card, given)[0].plane(0))
    top, left = (max(0, (n - side) // 2) for n in plane.shape[1:])
    return plane[None, :, top : top + side, left : left + side]


def compare(model: Model, x: NDArray[np.float32], device: str) -> Difference:
    """Return what half precision changes in a tile."""
    backend = CudaBackend if device.startswith("cuda") else TorchBackend
    single, halved = (
        half(backend(model.network, device, False, precision).maps(x)[0])
        for precision in (Precision.SINGLE, Precision.HALF)
    )
    settings, derived = model.card.labelling, derived_classes(model.card)
    before, after = (label_plane(p, settings, derived=derived) for p in (single, halved))
    classes = settings.result == "classes"
    changed = before != after if classes else (before > 0) != (after > 0)
    return Difference(
        largest=float(np.abs(single.astype(np.float32) - halved).max()),
        share=float(changed.mean()),
        objects=len(np.unique(before)) - 1,
        objects_half=len(np.unique(after)) - 1,
        same=average_precision(after, before, STRICT),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--side", type=int, default=512, help="most pixels of a side")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(CORES)
    rows = []
    for name in arguments.models:
        model, recipe = load_model(name), read_recipe(RECIPES / f"{name}.toml")
        found = [
            compare(model, tile_of(path, options, model, arguments.side), arguments.device)
            for path, options in pictures(arguments.data, recipe, arguments.images)
        ]
        largest = max(one.largest for one in found)
        rows.append(
            (
                name,
                len(found),
                f"{largest:.4f}",
                "half" if largest <= TOLERANCE else "single",
                f"{1e6 * np.mean([one.share for one in found]):.0f}",
                sum(one.objects for one in found),
                sum(one.objects_half for one in found),
                f"{np.mean([one.same for one in found]):.4f}",
            )
        )
        print(rows[-1], flush=True)
    head = ("model", "images", "largest difference", "taken", "pixels of a million that change",
            "objects", "in half precision", f"AP at {STRICT} between them")  # fmt: skip
    print(table(head, rows))


if __name__ == "__main__":
    main()
