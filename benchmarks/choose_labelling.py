"""Choose threshold, seed threshold and minimum size of a model on its *training* images.

    python benchmarks/choose_labelling.py DATA [--recipe recipes/nuclei.toml] [--images 24]

Runs the network once on some training images of each data set and labels the probabilities
with every combination. Prints the mean Dice and AP of each data set, best mean first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from napari_sa2net import load_model, segment
from napari_sa2net.engine.evaluation import true_labels
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.instances import label_plane
from napari_sa2net.engine.metrics import dice, match
from napari_sa2net.engine.segmentation import derived_classes
from napari_sa2net.engine.training.recipes import image_pairs, read_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.toml"
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
SEED_THRESHOLDS = (0.6, 0.7, 0.8)
MIN_SIZES = (10, 20, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--images", type=int, default=24)
    arguments = parser.parse_args()
    recipe, model = read_recipe(arguments.recipe), load_model(arguments.model)
    derived = derived_classes(model.card)
    table: dict[tuple[float, float, int], list[tuple[float, float]]] = {}
    for dataset in recipe.datasets:
        pairs = image_pairs(arguments.data / dataset.folder)
        pairs = [pair for pair in pairs if pair[0].stem not in recipe.held_out]
        chosen = np.random.default_rng(0).permutation(len(pairs))[: arguments.images]
        cases = []
        for index in chosen[: 3 if "brightfield" in dataset.folder else None]:
            image = read_image(pairs[index][0])
            found = segment(image.array, model, rgb=image.rgb, keep={"probabilities"})
            cases.append((found.probabilities, true_labels(pairs[index][1])[0]))
        for setting in product(THRESHOLDS, SEED_THRESHOLDS, MIN_SIZES):
            threshold, seed_threshold, min_size = setting
            labelling = replace(
                model.card.labelling,
                threshold=threshold,
                seed_threshold=seed_threshold,
                min_size=min_size,
            )
            scores = []
            for probabilities, truth in cases:
                labels = label_plane(probabilities, labelling, derived=derived)
                scores.append((dice(labels, truth), match(labels, truth).average_precision))
            table.setdefault(setting, []).append(tuple(np.mean(scores, axis=0)))
    names = " | ".join(f"{d.folder} Dice / AP" for d in recipe.datasets)
    print(f"| threshold | seed threshold | minimum size | mean | {names} |")
    print("|---" * (4 + len(recipe.datasets)) + "|")
    for setting, rows in sorted(table.items(), key=lambda item: -np.mean(item[1]))[:12]:
        cells = " | ".join(f"{d:.3f} / {a:.3f}" for d, a in rows)
        print(f"| {setting[0]} | {setting[1]} | {setting[2]} | {np.mean(rows):.4f} | {cells} |")


if __name__ == "__main__":
    main()
