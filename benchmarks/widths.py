"""How wide must a model be? The same recipe at several widths, with equal crops.

    python benchmarks/widths.py DATA --recipe recipes/axons-sem.toml --out widths.json

Each width is trained as the recipe says, or for ``--steps``, with the same crops and seeds: once
for each of the recipe's folds and scored on the images of that fold, or, where it holds images
out, with each of ``--seeds`` and scored on those. Prints the means with their 95 % intervals over
the images, the difference to the widest (pairs of the same image and training), and the
smallest width that is within one point of the best in Dice and, for objects, in AP.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sa2net.engine.events import Event, StepDone, run
from napari_sa2net.engine.training.recipes import Recipe, read_recipe, train
from records import Case, Records, table, tell
from scoring import mean_and_interval, names_of, score

POINT = 0.01
"""A difference that does not matter."""

FIGURES = {"dice": "Dice", "ap": "AP at 0.5"}


def parts(recipe: Recipe, seeds: int) -> list[tuple[str, Recipe, frozenset[str]]]:
    """Return name, recipe and scored images of each training of one width."""
    if recipe.folds:
        return [
            (f"fold {fold}", recipe.without(fold), frozenset(recipe.images_of(fold)))
            for fold in sorted(set(recipe.folds.values()))
        ]
    return [
        (
            f"seed {seed}",
            replace(recipe, training=replace(recipe.training, seed=seed)),
            recipe.held_out,
        )
        for seed in range(1, seeds + 1)
    ]


def one(data: Path, recipe: Recipe, scored: frozenset[str], device: str) -> dict[str, Any]:
    """Train and score once: figures of each image, parameters and seconds a step."""
    seconds: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, StepDone):
            seconds.append(event.seconds)

    model = run(train(recipe, data, device), on_event)
    rows = {}
    for dataset in recipe.datasets:
        names = [name for name in names_of(data, dataset) if name in scored]
        if not names:
            continue
        for row in score(data, recipe, dataset, model, names, device=device).rows:
            rows[row.name] = {"dice": row.dice, "ap": row.average_precision}
    parameters = sum(p.numel() for p in model.network.parameters())
    tell(f"  {rows}")
    return {"images": rows, "parameters": parameters, "step": statistics.median(seconds)}


def values(trainings: Sequence[dict[str, Any]], figure: str) -> list[float]:
    """Return a figure of all images of all trainings of a width, in one order."""
    return [one["images"][name][figure] for one in trainings for name in sorted(one["images"])]


def show(name: str, found: dict[int, list[dict[str, Any]]]) -> None:
    """Print the table of a recipe, and the width to take."""
    widths = sorted(found)
    figures = [f for f in FIGURES if not np.isnan(values(found[widths[0]], f)).any()]
    widest = {figure: values(found[widths[-1]], figure) for figure in figures}
    lines = []
    for width in widths:
        cells: list[Any] = [width, f"{found[width][0]['parameters']:,}"]
        cells.append(f"{statistics.median(t['step'] for t in found[width]):.2f}")
        for figure in figures:
            own = values(found[width], figure)
            gaps = [a - b for a, b in zip(own, widest[figure], strict=True)]
            cells += [
                mean_and_interval(own),
                mean_and_interval(gaps) if width != widths[-1] else "",
            ]
        lines.append(cells)
    heads = [text for f in figures for text in (FIGURES[f], f"to width {widths[-1]}")]
    print(f"\n### {name}, {len(found[widths[0]])} trainings of each width\n")
    print(table(["width", "parameters", "s a step", *heads], lines))
    print(f"\nThe smallest width within one point of the best: {smallest(found, figures)}.")


def smallest(found: dict[int, list[dict[str, Any]]], figures: Sequence[str]) -> int:
    """Return the smallest width that is within a point of the best in every figure."""
    means = {w: [np.mean(values(found[w], figure)) for figure in figures] for w in found}
    best = np.max(list(means.values()), axis=0)
    return min(w for w in found if (best - means[w] <= POINT).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--widths", type=int, nargs="+", default=(16, 32))
    parser.add_argument("--steps", type=int, help="in place of the recipe's")
    parser.add_argument("--seeds", type=int, default=3, help="where the recipe has no folds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--workers", type=int, default=1, help="trainings at a time, for a GPU with room for them"
    )
    parser.add_argument("--out", type=Path, help="JSON file; what is in it is not run again")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    if arguments.steps:
        recipe = replace(recipe, training=replace(recipe.training, steps=arguments.steps))
    records = Records(arguments.out)
    cases: list[Case] = []
    names: dict[int, list[str]] = {}
    for width in arguments.widths:
        of = replace(recipe, card=replace(recipe.card, base_channels=width))
        for part, made, scored in parts(of, arguments.seeds):
            name = f"{recipe.card.name}, width {width}, {part}, {made.sha256[:8]}"
            names.setdefault(width, []).append(name)
            cases.append((name, one, (arguments.data, made, scored, arguments.device)))
    records.measure(cases, arguments.workers)
    show(
        f"{recipe.card.name}, {recipe.training.steps} steps",
        {width: [records.values[name] for name in of] for width, of in names.items()},
    )


if __name__ == "__main__":
    main()
