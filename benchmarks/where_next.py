"""Do the places that "Where next?" shows teach more than random ones?

    python benchmarks/where_next.py DATA --out where-next.json

Each seed begins as in ``fine_tuning.py``: a few strokes, a first training. From there two
annotators go on from the same model, with the same number of strokes: one is sent to the places
where the four stages disagree most, the other to random places that are not painted yet. Both
draw one stroke at each place: at the largest error in view, and where there is none one of the
commonest class in view. After each round both models are trained on as long.

Two cores, nothing else running: about 35 minutes (phase contrast) or 25 (axons) for five seeds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator import Annotator
from fields import DATA_SETS, read_fields
from napari_sa2net.engine.training.suggest import next_place
from protocol import Session, Setup, add_options, lengths, predict, read_settings, score
from records import Case, Records, medians, spread, table, tell

WINDOW = 128
ARMS = ("where next", "random")


def one_seed(
    data: Path, setup: Setup, images: int, seconds: float, rounds: int, places: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of both annotators after each round; the first is common to both."""
    painted, others = read_fields(data, setup.data_set, images)
    classes = len(setup.data_set.classes)
    common = Session(setup, painted, seed, rounds)
    common.paint()
    first_length, *further = lengths(seconds, rounds)
    learned = common.train(first_length)
    first = figures(common, score(learned.model, others, classes))
    found: dict[str, list[dict[str, Any]]] = {}
    for arm in ARMS:
        session = common.branch()
        found[arm] = [first]
        visited: list[list[tuple[int, int]]] = [[] for _ in painted]
        for length in further:
            session.turn += 1
            for annotator, seen in zip(session.annotators, visited, strict=True):
                visit(session, annotator, seen, places, arm)
            learned = session.train(length)
            found[arm].append(figures(session, score(learned.model, others, classes)))
        tell(f"  {setup.data_set.folder} seed {seed} {arm} {found[arm]}")
    return found


def figures(session: Session, dice: float) -> dict[str, Any]:
    """Return what is known after a round."""
    strokes = sum(annotator.strokes for annotator in session.annotators)
    return {"strokes": strokes, "painted": session.painted, "dice": dice}


def visit(
    session: Session,
    annotator: Annotator,
    visited: list[tuple[int, int]],
    places: int,
    arm: str,
) -> None:
    """Draw a stroke at each of some places."""
    predicted, found = predict(session.model, annotator.truth, {"disagreement"})
    disagreement = np.asarray(found.disagreement, np.float32)
    for left in range(places, 0, -1):
        painted = annotator.painting > 0
        if arm == "random":
            # The same rules for what is painted and visited, and chance for the rest.
            disagreement = annotator.rng.random((8, 8), np.float32)
            disagreement = np.kron(disagreement, np.ones([-(-n // 8) for n in painted.shape]))
            disagreement = disagreement[: painted.shape[0], : painted.shape[1]]
        place = next_place(disagreement, painted, visited, WINDOW)
        if place is None:  # everywhere has been seen once
            visited.clear()
            place = tuple(int(annotator.rng.integers(n)) for n in painted.shape)
        visited.append(place)
        annotator.look(predicted, view_at(place, painted.shape), session.turn, left)


def view_at(place: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return what is in view around a place."""
    view = np.zeros(shape, bool)
    slices = tuple(slice(max(0, c - WINDOW // 2), c + WINDOW // 2) for c in place)
    view[slices] = True
    return view


def show(folder: str, start: str, seeds: list[dict[str, list[dict[str, Any]]]]) -> None:
    """Print the table of one data set."""
    print(f"\n### {folder}, from {start}, {len(seeds)} seeds\n")
    rows = []
    for turn in range(len(seeds[0][ARMS[0]])):
        by_arm = {arm: [seed[arm][turn] for seed in seeds] for arm in ARMS}
        dice = {arm: [row["dice"] for row in by_arm[arm]] for arm in ARMS}
        gains = [a - b for a, b in zip(dice[ARMS[0]], dice[ARMS[1]], strict=True)]
        better = sum(gain > 0 for gain in gains)
        counts = [
            " / ".join(f"{medians(by_arm[a], n):.0f}" for a in ARMS) for n in ("strokes", "painted")
        ]
        last = [f"{statistics.median(gains):+.3f}", f"{better} of {len(gains)}"]
        rows.append(
            [turn + 1, *counts, *(spread(dice[arm]) for arm in ARMS), *(last if turn else "––")]
        )
    head = ["round", "strokes", "painted pixels", "where next: Dice", "random: Dice"]
    print(table([*head, "difference", "seeds in which better"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, list(DATA_SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120.0, help="of training in all rounds")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--places", type=int, default=4, help="on each image, each round")
    arguments = parser.parse_args()
    settings = read_settings(parser, arguments.set)
    records = Records(arguments.out)
    chosen = arguments.data_set or list(DATA_SETS)
    names: dict[str, list[str]] = {}
    cases: list[Case] = []
    for folder in chosen:
        setup = Setup(DATA_SETS[folder], arguments.start, settings)
        numbers = (arguments.images, arguments.seconds, arguments.rounds, arguments.places)
        begin = ", ".join([setup.name, *map(str, numbers)])
        names[folder] = [f"{begin}, seed {seed}" for seed in range(arguments.seeds)]
        for seed, name in enumerate(names[folder]):
            cases.append((name, one_seed, (arguments.data, setup, *numbers, seed)))
    each = arguments.seconds * (2 - 1 / arguments.rounds) + 2 * arguments.rounds * 15
    total = len(cases) * each / 60 / arguments.workers
    tell(f"About {total:.0f} minutes with two idle cores a process.")
    records.measure(cases, arguments.workers)
    for folder in chosen:
        show(folder, arguments.start, [records.values[name] for name in names[folder]])


if __name__ == "__main__":
    main()
