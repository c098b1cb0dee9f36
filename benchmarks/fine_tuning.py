"""How good is a model after two minutes of training on a few strokes?

    python benchmarks/fine_tuning.py DATA --out fine-tuning.json

A simulated annotator (``annotator.py``) paints on three images at half resolution: first three
strokes of each class on each, then, after every training but the last, five on each at the
model's largest errors, each class in turn. Each training goes on from the model before it, with
the window's default settings, and takes as long as all before it: 15, 15, 30 and 60 s. Only the
training steps count.
Images that are not painted on are scored: Dice of the foreground, on the axons the mean of the
two foreground classes.

Beside it, from the very same strokes and at the same resolution: a random forest
(``random_forest.py``), and the bundled model as it is, on the axons its mask against axon and
myelin together. The ceiling is the same network, start and resolution on the full masks of the
painted images. Figures are medians of all seeds of strokes, with lowest and highest.

Two cores, nothing else running: about 20 minutes a data set (phase contrast) or 12 (axons) for
five seeds, and 20 each for the ceiling.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import random_forest
from fields import DATA_SETS, mean_dice, read_fields
from protocol import (
    Session,
    Setup,
    add_options,
    learn_masks,
    lengths,
    read_settings,
    score,
    score_mask,
)
from records import Case, Records, medians, spread, table, tell


def one_seed(
    data: Path, setup: Setup, images: int, seconds: float, rounds: int, seed: int
) -> list[dict[str, Any]]:
    """Return the figures after each round of one seed of strokes."""
    painted, others = read_fields(data, setup.data_set, images)
    classes = len(setup.data_set.classes)
    session = Session(setup, painted, seed, rounds)
    rows = []
    for turn, length in enumerate(lengths(seconds, rounds), 1):
        session.paint()
        learned = session.train(length)
        forest = random_forest.fit(painted, session.paintings, seed)
        trees = [random_forest.predict(forest, image) for image in others]
        row = {
            "round": turn,
            "seconds": session.seconds,
            "steps": session.steps,
            "wall": session.wall,
            "verdict": learned.verdict,
            "strokes": sum(a.strokes for a in session.annotators),
            "painted": session.painted,
            "share": session.share,
            "dice": score(learned.model, others, classes),
            "forest": mean_dice(trees, others, classes),
        }
        tell(f"  {setup.data_set.folder} seed {seed} {row}")
        rows.append(row)
    return rows


def ceiling(data: Path, setup: Setup, images: int, seconds: float) -> dict[str, Any]:
    """Return the figures of training on full masks."""
    painted, others = read_fields(data, setup.data_set, images)
    learned = learn_masks(setup, painted, seconds, 0)
    dice = score(learned.model, others, len(setup.data_set.classes))
    return {"dice": dice, "seconds": learned.seconds, "steps": learned.steps}


def bundled(data: Path, setup: Setup, images: int) -> float:
    """Return the Dice of the bundled model's mask without any training."""
    return score_mask("nuclei", read_fields(data, setup.data_set, images)[1])


def show(setup: Setup, seeds: list[list[dict[str, Any]]], top: Any, plain: float) -> None:
    """Print the tables of one data set."""
    print(f"\n### {setup.data_set.folder}, from {setup.start}, {len(seeds)} seeds\n")
    lines = []
    for rows in zip(*seeds, strict=True):
        lines.append(
            [
                rows[0]["round"],
                f"{medians(rows, 'seconds'):.0f} ({medians(rows, 'wall'):.0f})",
                f"{medians(rows, 'steps'):.0f}",
                f"{medians(rows, 'strokes'):.0f}",
                f"{medians(rows, 'painted'):.0f} ({medians(rows, 'share'):.2%})",
                spread([row["dice"] for row in rows]),
                spread([row["forest"] for row in rows]),
            ]
        )
    head = [
        "round",
        "s of training (in all)",
        "steps",
        "strokes",
        "painted pixels",
        "Dice",
        "random forest",
    ]
    print(table(head, lines))
    last = [rows[-1] for rows in seeds]
    found, forest = medians(last, "dice"), medians(last, "forest")
    what = "" if setup.data_set.instances else " (mask against axon and myelin together)"
    print(f"\nBundled model without fine-tuning{what}: {plain:.3f}.")
    most = max(row["share"] for row in last)
    margin = setup.data_set.margin
    targets = [
        [
            f"≥ {margin:.2f} above the random forest",
            f"{found - forest:+.3f}",
            found - forest >= margin,
        ],
        ["under 1 % of the pixels painted", f"{most:.2%} at most", most < 0.01],
    ]
    if top is not None:
        share = found / top["dice"]
        minutes = top["seconds"] / 60
        print(
            f"Ceiling: {top['dice']:.3f} ({top['steps']} steps in {minutes:.0f} min, full masks)."
        )
        targets.append(["≥ 90 % of the ceiling", f"{share:.1%}", share >= 0.9])
    rows = [[name, value, "reached" if good else "**missed**"] for name, value, good in targets]
    print()
    print(table([f"target, after {medians(last, 'seconds'):.0f} s", "value", ""], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, list(DATA_SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120.0, help="of training in all rounds")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--ceiling", type=float, default=20.0, help="minutes; 0: none")
    arguments = parser.parse_args()
    settings = read_settings(parser, arguments.set)
    records = Records(arguments.out)
    chosen = arguments.data_set or list(DATA_SETS)
    cases: list[Case] = []
    names: dict[str, list[str]] = {}
    for folder in chosen:
        setup = Setup(DATA_SETS[folder], arguments.start, settings)
        common = (arguments.data, setup, arguments.images)
        scored = f"{folder}, {arguments.images} images"
        begin = f"{setup.name}, {arguments.images} images"
        rounds = f"{arguments.seconds:g} s in {arguments.rounds}"
        seeds: list[Case] = [
            (
                f"{begin}, {rounds}, seed {seed}",
                one_seed,
                (*common, arguments.seconds, arguments.rounds, seed),
            )
            for seed in range(arguments.seeds)
        ]
        top: Case = (
            f"{begin}, ceiling {arguments.ceiling:g} min",
            ceiling,
            (*common, 60 * arguments.ceiling),
        )
        cases += [(f"{scored}, bundled", bundled, common), *seeds]
        cases += [top] if arguments.ceiling else []
        names[folder] = [case[0] for case in seeds]
    tell(f"About {minutes(arguments, chosen):.0f} minutes with two idle cores a process.")
    records.measure(cases, arguments.workers)
    found = records.values
    for folder in chosen:
        setup = Setup(DATA_SETS[folder], arguments.start, settings)
        scored = f"{folder}, {arguments.images} images"
        begin = f"{setup.name}, {arguments.images} images"
        top_name = f"{begin}, ceiling {arguments.ceiling:g} min"
        seeds_found = [found[name] for name in names[folder]]
        show(setup, seeds_found, found.get(top_name), found[f"{scored}, bundled"])


def minutes(arguments: argparse.Namespace, chosen: list[str]) -> float:
    """Return about how long everything takes."""
    total = 0.0
    for folder in chosen:
        images = 3 if not DATA_SETS[folder].instances else arguments.images or 21
        each = arguments.seconds + arguments.rounds * (8 + 2.5 * images)
        total += arguments.seeds * each / 60 + arguments.ceiling
    return float(np.ceil(total / arguments.workers))


if __name__ == "__main__":
    main()
