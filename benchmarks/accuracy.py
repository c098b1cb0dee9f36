"""Score a model on the images its recipe held out.

    python benchmarks/accuracy.py DATA [--recipe recipes/nuclei.toml] [--model nuclei]
    python benchmarks/accuracy.py DATA --recipe recipes/axons-sem.toml --folds FOLDER

DATA holds the recipe's data sets. Images are used at the scale that the recipe works at. With
``--folds``, FOLDER holds a model of each of the recipe's folds (``NAME-fold-a.safetensors``, made
by ``sa2net train --recipe … --fold a``), and each is scored on the images that it has not seen.

Prints a table of means with their 95 % intervals over the images, then a row an image, as
Markdown. Dice and IoU are those of the mask ``labels > 0``, or the means over the classes where
the result is classes; AP is TP / (TP + FP + FN) of the objects at an intersection over union above
0.5; every image counts alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

from napari_sa2net import load_model
from napari_sa2net.engine.evaluation import Evaluation
from napari_sa2net.engine.training.datasets import DataSet
from napari_sa2net.engine.training.recipes import Recipe, read_recipe
from napari_sa2net.engine.weights import Model
from records import table
from scoring import figures, head, names_of, score, together

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.toml"

Score = Callable[[DataSet, Model, list[str]], Evaluation]


def held_out(data: Path, recipe: Recipe, dataset: DataSet, training: int = 0) -> list[str]:
    """Return the names of the held-out images, or of about ``training`` others."""
    names = names_of(data, dataset)
    seen = [name for name in names if name not in recipe.held_out]
    if training:
        return seen[:: max(1, len(seen) // training)]
    return [name for name in names if name in recipe.held_out]


def cross_validated(
    data: Path, recipe: Recipe, dataset: DataSet, folder: Path, scored: Score
) -> Evaluation:
    """Score the model of each fold on the images of that fold."""
    parts = []
    for fold in sorted(set(recipe.folds.values())):
        model = _fold_model(folder / f"{recipe.card.name}-fold-{fold}.safetensors")
        unseen = recipe.without(fold)
        made_by = model.card.extra.get("recipe_sha256")
        if made_by != unseen.sha256:
            raise SystemExit(f"{folder}: the model of fold {fold} was made by another recipe.")
        names = [name for name in names_of(data, dataset) if recipe.folds.get(name) == fold]
        parts.append(scored(dataset, model, names))
    return together(parts)


@cache
def _fold_model(path: Path) -> Model:
    return load_model(path)


def show(results: dict[str, Evaluation]) -> None:
    """Print the means, and a row an image."""
    columns = head([row for result in results.values() for row in result.rows])
    lines = []
    for name, result in results.items():
        found = dict(zip(head(result.rows), figures(result.rows), strict=True))
        lines.append([name, len(result.rows), *(found.get(column, "–") for column in columns)])
    print(table(["data set", "images", *columns], lines))
    print("\n| image | data set | Dice | AP at 0.5 | found | true |")
    print("|---|---|---|---|---|---|")
    for name, result in results.items():
        for row in result.rows:
            print(
                f"| {row.name} | {name} | {row.dice:.3f} | {row.average_precision:.3f} "
                f"| {row.found} | {row.true} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--model", help="name or file (default: the recipe's name)")
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="models of the folds")
    parser.add_argument(
        "--training", type=int, default=0, metavar="N", help="score N training images a set"
    )
    parser.add_argument("--flips", action="store_true", help="average over mirror images")
    parser.add_argument(
        "--scale",
        choices=("recipe", "none", "objects"),
        default="recipe",
        help="scale of the images: the recipe's, their own, or by the size of their true objects",
    )
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)

    def scored(dataset: DataSet, model: Model, names: list[str]) -> Evaluation:
        return score(
            arguments.data, recipe, dataset, model, names, arguments.scale, flips=arguments.flips
        )

    if arguments.folds is not None:
        show(
            {
                d.folder: cross_validated(arguments.data, recipe, d, arguments.folds, scored)
                for d in recipe.datasets
            }
        )
        return
    model = load_model(arguments.model or recipe.card.name)
    results = {}
    for dataset in recipe.datasets:
        names = held_out(arguments.data, recipe, dataset, arguments.training)
        if names:
            results[dataset.folder] = scored(dataset, model, names)
    show(results)


if __name__ == "__main__":
    main()
