"""What is best done with the seconds of a training: choices one by one, at equal time.

    python benchmarks/training_choices.py DATA --out choices.json

Every choice gets the same strokes, drawn without looking at any model (five of each class on
each of three images, as a person would begin), the same seconds of training on two cores, and the
window's default settings but for the one thing that is changed. Dice of the foreground on images
that are not painted on: medians of the seeds, with lowest and highest, and the median of the
differences to the defaults, seed by seed.

Two cores, nothing else running: about 70 minutes for three seeds of 60 s on phase contrast.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator import Annotator
from fields import DATA_SETS, read_fields
from protocol import Setup, add_options, learn, read_settings, score
from records import Case, Records, medians, spread, table, tell

DEFAULT = "the defaults"

STROKES = 5


def choices(settings: Any) -> dict[str, tuple[str | None, Any]]:
    """Return what is compared: a start (None: the one given) and settings, by name."""
    changed: dict[str, dict[str, Any]] = {
        "encoder frozen": {"frozen": "encoder"},
        "all but the heads frozen": {"frozen": "all but the heads"},
        "patch 96": {"patch": 96},
        "patch 160": {"patch": 160},
        "batch 2": {"batch": 2},
        "batch 8": {"batch": 8},
        "augmentation light": {"augmentation": "light"},
        "no augmentation": {"augmentation": "none"},
        "loss of the authors": {"loss": "authors"},
        "loss of the paper": {"loss": "paper"},
        "batch statistics": {"statistics": "batch"},
        "statistics of all patches": {"statistics": "model"},
        "no averaging of weights": {"average": 0.0},
        "not half way back": {"half_way": False},
        "nothing held out": {"validation": 0.0},
        "rate 5e-4": {"learning_rate": 5e-4},
        "rate 4e-3": {"learning_rate": 4e-3},
    }
    found = {name: (None, replace(settings, **values)) for name, values in changed.items()}
    starts = {"from nuclei": ("nuclei", settings), "from scratch": ("scratch", settings)}
    return {DEFAULT: (None, settings), **starts, **found}


def one(data: Path, setup: Setup, images: int, seconds: float, seed: int) -> dict[str, Any]:
    """Return the figures of one choice and one seed of strokes."""
    painted, others = read_fields(data, setup.data_set, images)
    labels = []
    for place, field in enumerate(painted):
        annotator = Annotator(field, np.random.default_rng([seed, place]))
        annotator.first(STROKES)
        labels.append(annotator.painting)
    learned = learn(setup, painted, labels, setup.settings_for(seconds, seed))
    dice = score(learned.model, others, len(setup.data_set.classes))
    row = {"dice": dice, "steps": learned.steps, "seconds": learned.seconds, "wall": learned.wall}
    tell(f"  {row}")
    return row


def show(folder: str, rows: dict[str, list[dict[str, Any]]], seconds: float) -> None:
    """Print the table of one data set, best first."""
    seeds = len(rows[DEFAULT])
    print(f"\n### {folder}, {seconds:g} s, {seeds} seeds\n")
    lines = []
    for name, found in sorted(rows.items(), key=lambda item: -medians(item[1], "dice")):
        gains = [a["dice"] - b["dice"] for a, b in zip(found, rows[DEFAULT], strict=True)]
        difference = "" if name == DEFAULT else f"{statistics.median(gains):+.3f}"
        dice = spread([row["dice"] for row in found])
        lines.append([name, f"{medians(found, 'steps'):.0f}", dice, difference])
    print(table(["choice", "steps", "Dice", "to the defaults"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, list(DATA_SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("--only", action="append", help="choices to measure, by name")
    arguments = parser.parse_args()
    settings = read_settings(parser, arguments.set)
    known = choices(settings)
    same = {"nuclei": "from nuclei", "scratch": "from scratch"}.get(arguments.start, "")
    known.pop(same, None)  # the defaults already
    if arguments.only:
        unknown = sorted(set(arguments.only) - set(known))
        if unknown:
            parser.error(f"--only: there is no {', '.join(unknown)}; known: {', '.join(known)}")
        known = {name: known[name] for name in known if name in {DEFAULT, *arguments.only}}
    records = Records(arguments.out)
    cases: list[Case] = []
    names: dict[tuple[str, str], list[str]] = {}
    chosen = arguments.data_set or ["usiigaci_phase_contrast"]
    for folder in chosen:
        for choice, (start, changed) in known.items():
            setup = Setup(DATA_SETS[folder], start or arguments.start, changed)
            numbers = (arguments.images, arguments.seconds)
            begin = ", ".join([setup.name, *map(str, numbers)])
            names[folder, choice] = [f"{begin}, seed {s}" for s in range(arguments.seeds)]
            for seed, name in enumerate(names[folder, choice]):
                cases.append((name, one, (arguments.data, setup, *numbers, seed)))
    total = len(cases) * (arguments.seconds + 12) / 60 / arguments.workers
    tell(f"About {total:.0f} minutes with two idle cores a process.")
    records.measure(cases, arguments.workers)
    for folder in chosen:
        rows = {c: [records.values[name] for name in names[folder, c]] for c in known}
        show(folder, rows, arguments.seconds)


if __name__ == "__main__":
    main()
