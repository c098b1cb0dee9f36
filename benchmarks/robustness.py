"""How well does a model do on damaged images, and where objects are crowded?

    python benchmarks/robustness.py --data DATA --out robustness.json

Scores a model on images that its recipe held out, damaged in the ways of ``damage.py``, and as
they are, by the number of objects per area. Dice is that of the mask ``labels > 0``, AP that of the
objects at an intersection over union above 0.5; means over images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.io import imread

from damage import DAMAGES
from napari_sa2net import load_model
from napari_sa2net.engine.evaluation import evaluate
from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.datasets import image_pairs
from napari_sa2net.engine.training.recipes import read_recipe
from records import Case, Records, table

RECIPE = Path(__file__).parents[1] / "recipes" / "nuclei.toml"

AREA = 10_000
"""Objects are counted per so many pixels."""

AS_IT_IS = ("none", 0.0)


def pairs_of(data: Path, recipe: Path, data_set: str, images: int) -> list[tuple[Path, Path]]:
    """Return the held-out images and masks of a data set; ``images`` spread over them, 0: all."""
    held_out = read_recipe(recipe).held_out
    pairs = [pair for pair in image_pairs(data / data_set) if pair[0].stem in held_out]
    if 0 < images < len(pairs):
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, images).round().astype(int)]
    return pairs


def one(
    pairs: Sequence[tuple[Path, Path]], model: str, device: str, kind: str, level: float, seed: int
) -> list[dict[str, Any]]:
    """Return the figures of each image, damaged in one way."""
    pictures, masks = [], []
    for place, (image, mask) in enumerate(pairs):
        picture = imread(image)
        if kind != AS_IT_IS[0]:
            rng = np.random.default_rng([seed, place])
            picture = DAMAGES[kind].apply(picture, level, rng)
        pictures.append(picture)
        masks.append(imread(mask))
    found = run(evaluate(pictures, masks, load_model(model), options={"device": device}))
    if found.failed:
        raise SystemExit(f"{found.failed[0][0]}: {found.failed[0][1]}")
    return [
        {
            "name": image.stem,
            "dice": row.dice,
            "ap": row.average_precision,
            "objects": row.true,
            "pixels": int(mask.size),
        }
        for (image, _), mask, row in zip(pairs, masks, found.rows, strict=True)
    ]


def crowding(rows: Sequence[dict[str, Any]], bins: int = 4) -> list[list[str]]:
    """Return a line for each part of the images, from sparse to crowded, of about equal size."""
    density = np.array([AREA * row["objects"] / row["pixels"] for row in rows])
    lines = []
    for part in np.array_split(np.argsort(density, kind="stable"), min(bins, len(rows))):
        low, high = density[part].min(), density[part].max()
        lines.append([f"{low:.1f}–{high:.1f}", str(len(part)), *means([rows[i] for i in part])])
    return lines


def means(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return mean Dice and AP."""
    return [f"{np.mean([row[name] for row in rows]):.3f}" for name in ("dice", "ap")]


def show(title: str, rows: dict[tuple[str, float], list[dict[str, Any]]]) -> None:
    """Print both tables."""
    plain = rows[AS_IT_IS]
    print(f"\n### {title}, {len(plain)} images\n")
    lines = [["as it is", "", *means(plain), ""]]
    for (kind, level), found in rows.items():
        if kind != AS_IT_IS[0]:
            lost = mean_dice(found) - mean_dice(plain)
            lines.append([kind, f"{level:g}", *means(found), f"{lost:+.3f}"])
    print(table(["damage", "strength", "Dice", "AP at 0.5", "Dice to as it is"], lines))
    print("\nStrengths: " + "; ".join(f"{k}: {d.what}" for k, d in DAMAGES.items()) + ".\n")
    head = [f"objects per {AREA:,} pixels", "images", "Dice", "AP at 0.5"]
    print(table(head, crowding(plain)))


def mean_dice(rows: Sequence[dict[str, Any]]) -> float:
    """Return the mean Dice."""
    return float(np.mean([row["dice"] for row in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data set's")
    parser.add_argument("--data-set", default="dsb2018_fluorescence")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="says which are held out")
    parser.add_argument("--model", default="nuclei", help="a name, or a file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--images", type=int, default=0, help="how many are scored; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, help="JSON file; what is in it is not run again")
    arguments = parser.parse_args()
    pairs = pairs_of(arguments.data, arguments.recipe, arguments.data_set, arguments.images)
    if not pairs:
        parser.error(f"{arguments.recipe} holds out no image of {arguments.data_set}")
    # Another file of the same name is another model.
    digest = load_model(arguments.model).card.sha256[:8]
    title = f"{arguments.model} {digest} on {arguments.data_set}"
    kinds = [AS_IT_IS, *((kind, level) for kind, d in DAMAGES.items() for level in d.levels)]
    names = {
        (kind, level): f"{title}, {len(pairs)} images, {kind} {level:g}, seed {arguments.seed}"
        for kind, level in kinds
    }
    cases: list[Case] = [
        (name, one, (pairs, arguments.model, arguments.device, *case, arguments.seed))
        for case, name in names.items()
    ]
    records = Records(arguments.out)
    records.measure(cases, 1)
    show(title, {case: records.values[name] for case, name in names.items()})


if __name__ == "__main__":
    main()
