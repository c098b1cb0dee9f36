"""Score a model on the images its recipe held out.

    python benchmarks/accuracy.py DATA [--recipe recipes/nuclei.toml] [--model nuclei] [--flips]

DATA holds the recipe's data sets. Prints a table of means, then a row an image, as Markdown.
Dice is that of the mask ``labels > 0``; AP is TP / (TP + FP + FN) of the objects at an
intersection over union above 0.5; every image counts alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_sa2net import load_model
from napari_sa2net.engine.evaluation import Evaluation, evaluate
from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.recipes import read_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--training", type=int, metavar="N", help="score N training images a set")
    parser.add_argument("--flips", action="store_true", help="average over mirror images")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    model = load_model(arguments.model)
    results: dict[str, Evaluation] = {}
    for dataset in recipe.datasets:
        folder = arguments.data / dataset.folder
        stems = sorted(path.stem for path in (folder / "images").iterdir())
        names = [stem for stem in stems if stem in recipe.held_out]
        if arguments.training:
            seen = [stem for stem in stems if stem not in recipe.held_out]
            names = seen[:: max(1, len(seen) // arguments.training)]
        results[dataset.folder] = run(
            evaluate(
                [folder / "images"],
                [folder / "masks"],
                model,
                names=names,
                options={"flips": arguments.flips},
            )
        )
    print("| data set | images | Dice | IoU | AP at 0.5 |")
    print("|---|---|---|---|---|")
    for name, result in results.items():
        figures = " | ".join(f"{value:.3f}" for value in result.means.values())
        print(f"| {name} | {len(result.rows)} | {figures} |")
    print("\n| image | data set | Dice | AP at 0.5 | found | true |")
    print("|---|---|---|---|---|---|")
    for name, result in results.items():
        for row in result.rows:
            print(
                f"| {row.name} | {name} | {row.dice:.3f} | {row.average_precision:.3f} "
                f"| {row.found} | {row.true} |"
            )


if __name__ == "__main__":
    main()
