"""Choose threshold, seed threshold and minimum size of a model on its *training* images.

    python benchmarks/choose_labelling.py DATA [--recipe recipes/nuclei.toml] [--images 24]

Runs the network once on some training images of each data set and labels the probabilities
with every combination; the minimum size is in pixels at the model's scale, as in its card. Prints
the mean Dice and AP of each data set, best mean first; of a model whose result is classes, the
mean Dice of the classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sa2net import load_model, segment
from napari_sa2net.engine.evaluation import true_classes, true_labels
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.metrics import dice, match
from napari_sa2net.engine.relabelling import relabel
from napari_sa2net.engine.scaling import default_labelling
from napari_sa2net.engine.segmentation import Segmentation, derived_classes
from napari_sa2net.engine.training.datasets import DataSet, image_pairs
from napari_sa2net.engine.training.recipes import Recipe, read_recipe
from napari_sa2net.engine.weights import Model
from records import table
from scoring import scale_options

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.toml"
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
SEED_THRESHOLDS = (0.6, 0.7, 0.8)

Case = tuple[Segmentation, NDArray[Any]]
"""A result with its probabilities, and the true labels of an image."""


def read_cases(data: Path, recipe: Recipe, dataset: DataSet, model: Model, most: int) -> list[Case]:
    """Run the network on some training images of a data set."""
    folder = data / dataset.folder
    pairs = [p for p in image_pairs(folder) if p[0].stem not in recipe.held_out]
    chosen = np.random.default_rng(0).permutation(len(pairs))[:most]
    cases = []
    for image_path, mask_path in (pairs[index] for index in chosen):
        image = read_image(image_path)
        scale = scale_options(folder, recipe, dataset, image_path.stem)
        found = segment(image.array, model, rgb=image.rgb, keep={"probabilities"}, **scale)
        if model.card.result == "classes":
            truth = true_classes(mask_path, model.card)[0]
        else:
            truth = true_labels(mask_path)[0]
        cases.append((found, truth))
    return cases


def figures(cases: Sequence[Case], labelling: LabelSettings, model: Model) -> tuple[float, ...]:
    """Return the mean Dice and AP, or the mean Dice of the classes."""
    card = replace(model.card, labelling=labelling)
    scores: list[tuple[float, ...]] = []
    for found, truth in cases:
        labels = relabel(found, default_labelling(card, found.options))
        if model.card.result == "classes":
            of = range(1, len(model.card.classes))
            scores.append((float(np.mean([dice(labels == k, truth == k) for k in of])),))
        else:
            scores.append((dice(labels, truth), match(labels, truth).average_precision))
    return tuple(float(value) for value in np.mean(scores, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--model", help="name or file (default: the recipe's name)")
    parser.add_argument("--images", type=int, default=24, help="at most, of a data set")
    parser.add_argument("--min-sizes", type=int, nargs="+", default=(10, 20, 30), metavar="PIXELS")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    model = load_model(arguments.model or recipe.card.name)
    seeds = SEED_THRESHOLDS if derived_classes(model.card) else (0.5,)
    found: dict[tuple[float, float, int], list[tuple[float, ...]]] = {}
    for dataset in recipe.datasets:
        most = min(arguments.images, 3) if "brightfield" in dataset.folder else arguments.images
        cases = read_cases(arguments.data, recipe, dataset, model, most)
        for setting in product(THRESHOLDS, seeds, arguments.min_sizes):
            labelling = replace(
                model.card.labelling,
                threshold=setting[0],
                seed_threshold=setting[1],
                min_size=setting[2],
            )
            found.setdefault(setting, []).append(figures(cases, labelling, model))
    what = "Dice" if model.card.result == "classes" else "Dice / AP"
    names = [f"{dataset.folder} {what}" for dataset in recipe.datasets]
    lines = [
        [*setting, f"{np.mean(rows):.4f}", *(" / ".join(f"{x:.3f}" for x in row) for row in rows)]
        for setting, rows in sorted(found.items(), key=lambda item: -np.mean(item[1]))[:12]
    ]
    print(table(["threshold", "seed threshold", "minimum size", "mean", *names], lines))


if __name__ == "__main__":
    main()
