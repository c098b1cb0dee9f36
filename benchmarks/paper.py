"""The paper's protocol on GlaS and MoNuSeg: whole images at 224², five folds, their ensemble.

    python benchmarks/paper.py --data DATA --out paper.json [--test TEST]

Trains as ``recipes/paper-glas.toml`` and ``recipes/paper-monuseg.toml`` say, once for each fold:
it says when to stop and which weights are kept, the other four are trained on. Models are kept
beside the JSON file, in a folder of its name without ending.

On a GPU all of it, at width 64. On a CPU, if nothing else is asked for, one fold, width 16 and at
most 60 epochs; what differs from the protocol is said above the figures.

Figures are Dice and IoU of the foreground at 224², means over images, then mean and standard
deviation over folds. *Cross-validated* ones are of the fold that was held out. The epoch was
chosen on these very images, as the authors do, which flatters. So there is a second figure without
that: the epoch is chosen on every second image of the fold and scored on the others, and the other
way round. An ensemble (the mean of the folds' probabilities) would have seen every one of these
images: it needs others.

TEST holds the official test images, never used before the last line is computed: ``glas/`` and
``monuseg/`` with ``images/`` and ``masks/`` each, or these two alone for a single data set.

In what this differs from the authors' program: corners of a tilted image are mirrored, not
black, and tilted images interpolated; pixels are not rounded after resizing; training is not
stopped by the test images.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sa2net import load_model
from napari_sa2net.engine.devices import choose_device
from napari_sa2net.engine.events import Event, StepDone, run
from napari_sa2net.engine.training.datasets import image_pairs
from napari_sa2net.engine.training.epochs import EpochDone, Score, foreground, score
from napari_sa2net.engine.training.recipes import (
    Recipe,
    load_samples,
    read_recipe,
    train,
)
from napari_sa2net.engine.training.samples import Sample
from napari_sa2net.engine.weights import Model, save_model
from records import Case, Records, table, tell

RECIPES = Path(__file__).parents[1] / "recipes"

PUBLISHED = {
    "glas": [
        ("SA2-Net, published, test images", "91.38 ± 0.4", "84.90 ± 0.6"),
        ("U-Net, published, test images", "85.45", "74.78"),
    ],
    "monuseg": [
        ("U-Net, published, test images", "76.45", "62.86"),
        ("LViT-T, published, test images", "80.36", "67.31"),
    ],
}

ON_CPU = {"width": 16, "epochs": 60, "folds": 1}
"""What is asked of a processor if nothing else is said."""


@dataclass(frozen=True)
class Protocol:
    """A data set with its recipe, and what is changed of it."""

    name: str
    recipe: Recipe
    folds: tuple[str, ...]
    """Those that are trained."""
    images: int = 0
    """Images in all; 0: every one."""

    @property
    def title(self) -> str:
        """What results are kept under; other settings give another one."""
        made = self.recipe
        text = f"{self.name}, width {made.card.base_channels}, {made.training.epochs} epochs"
        return f"{text}, {self.images or 'all'} images, {made.sha256[:8]}"

    @property
    def titles(self) -> list[str]:
        """What the result of each fold is kept under."""
        return [f"{self.title}, fold {fold}" for fold in self.folds]

    @property
    def remark(self) -> str:
        """Tell in what this is not the protocol in full."""
        full = read_recipe(self.recipe.path)
        folds = len(set(full.folds.values()))
        width, epochs = self.recipe.card.base_channels, self.recipe.training.epochs
        said = []
        if len(self.folds) < folds:
            said.append(f"{len(self.folds)} of {folds} folds")
        if width != full.card.base_channels:
            said.append(f"width {width} and not {full.card.base_channels}")
        if epochs != full.training.epochs:
            said.append(f"at most {epochs} epochs and not {full.training.epochs}")
        if self.images:
            said.append(f"{len(self.recipe.folds)} of {len(full.folds)} images")
        if not said:
            return "The protocol in full."
        return f"**Not the paper's protocol in full**: {', '.join(said)}."


def protocol(
    name: str,
    width: int | None = None,
    epochs: int | None = None,
    folds: int | None = None,
    images: int = 0,
) -> Protocol:
    """Return the protocol of a data set, with what is given in place of the recipe's."""
    made = read_recipe(RECIPES / f"paper-{name}.toml")
    known = sorted(set(made.folds.values()))
    kept = made.folds
    if images:
        each = max(1, images // len(known))
        kept = {image: fold for fold in known for image in sorted(made.images_of(fold))[:each]}
    card = replace(made.card, base_channels=width or made.card.base_channels)
    training = replace(made.training, epochs=epochs or made.training.epochs)
    recipe = replace(
        made,
        card=card,
        training=training,
        folds=kept,
        held_out=made.held_out | (made.folds.keys() - kept.keys()),
    )
    return Protocol(name, recipe, tuple(known[: folds or len(known)]), images)


def model_file(folder: Path, title: str, fold: str) -> Path:
    """Return where the model of a fold is kept."""
    return folder / f"{title.replace(', ', '-').replace(' ', '-')}-fold-{fold}.safetensors"


def one_fold(data: Path, chosen: Protocol, fold: str, device: str, folder: Path) -> dict[str, Any]:
    """Train with one fold held out, keep the model, and return its figures."""
    path = model_file(folder, chosen.title, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = path.with_suffix(".state")
    passes: list[EpochDone] = []
    seconds: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, StepDone):
            seconds.append(event.seconds)
        elif isinstance(event, EpochDone):
            passes.append(event)
            if event.best:
                tell(f"  epoch {event.epoch}: {event.figures}")

    model = run(train(chosen.recipe, data, device, state, fold), on_event)
    save_model(model, path)
    state.unlink(missing_ok=True)
    best = passes[model.card.extra["epoch"] - 1].scores
    return {
        "device": choose_device(device).device,
        "images": len(best),
        "epochs": len(passes),
        "epoch": model.card.extra["epoch"],
        "step": statistics.median(seconds) if seconds else None,
        "figures": np.mean(best, axis=0).tolist(),
        "elsewhere": cross_fitted([one.scores for one in passes]),
    }


def cross_fitted(passes: Sequence[Sequence[Score]]) -> list[float] | None:
    """Return mean Dice and IoU where the epoch was chosen on other images.

    Every second image chooses the epoch for the others, and the other way round. None if there
    is only one.

    Parameters
    ----------
    passes
        Dice and IoU of each image after each epoch.
    """
    scores = np.array(passes)  # (epochs, images, 2)
    halves = [scores[:, start::2] for start in (0, 1)]
    if not all(half.shape[1] for half in halves):
        return None
    found = []
    for choosing, scored in (halves, halves[::-1]):
        found.append(scored[choosing[..., 0].mean(axis=1).argmax()])
    return np.concatenate(found).mean(axis=0).tolist()


def official_samples(chosen: Protocol, data: Path, folder: Path) -> list[Sample]:
    """Read the test images as the training's are read.

    Raises
    ------
    SystemExit
        If one of them is a training image.
    """
    (dataset,) = chosen.recipe.datasets
    training = image_pairs(data / dataset.folder)
    known = {hashlib.sha256(image.read_bytes()).digest(): image for image, _ in training}
    folder = folder.resolve()
    for image, _ in image_pairs(folder):
        same = known.get(hashlib.sha256(image.read_bytes()).digest())
        if same is not None:
            raise SystemExit(f"{image} is the training image {same}: give other test images.")
    other = replace(
        chosen.recipe,
        datasets=(replace(dataset, folder=folder.name),),
        held_out=frozenset(),
    )
    return load_samples(other, folder.parent)


def official_scores(models: Sequence[Model], samples: Sequence[Sample]) -> list[list[float]]:
    """Return mean Dice and IoU of each model, then of all together."""
    rows: list[list[Score]] = [[] for _ in range(len(models) + 1)]
    for sample in samples:
        found = [foreground(model.network, sample.image) for model in models]
        for row, one in zip(rows, [*found, np.mean(found, axis=0)], strict=True):
            row.append(score(one, sample.labels))
    return [np.mean(row, axis=0).tolist() for row in rows]


def percent(values: Sequence[float]) -> str:
    """Return the mean in per cent, with the standard deviation if there are several."""
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{deviation}"


def show(chosen: Protocol, rows: list[dict[str, Any]], tested: list[list[float]]) -> None:
    """Print the tables of one data set; ``tested`` is empty without test images."""
    devices = sorted({row["device"] for row in rows})
    print(f"\n### {chosen.name}\n\n{chosen.remark} Trained on: {', '.join(devices)}.\n")
    lines = [
        [
            fold,
            row["images"],
            f"{row['epoch']} of {row['epochs']}",
            "–" if row["step"] is None else f"{row['step']:.2f}",
            *(f"{100 * value:.2f}" for value in row["figures"]),
        ]
        for fold, row in zip(chosen.folds, rows, strict=True)
    ]
    print(table(["fold", "images", "epoch", "s a step", "Dice, %", "IoU, %"], lines))

    def line(name: str, values: Sequence[Sequence[float]]) -> list[str]:
        return [name, *(percent([one[k] for one in values]) for k in (0, 1))]

    lines = [line("cross-validated, epoch chosen on the same images", [r["figures"] for r in rows])]
    other = [row["elsewhere"] for row in rows]
    if all(other):
        lines.append(line("cross-validated, epoch chosen on other images", other))
    if tested:
        lines.append(line("test images, each fold's model", tested[:-1]))
        if len(tested) > 2:
            lines.append(line("test images, ensemble of the folds", tested[-1:]))
    lines += [list(known) for known in PUBLISHED[chosen.name]]
    print()
    print(table(["figure", "Dice, %", "IoU, %"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with glas/ and monuseg/")
    parser.add_argument("--data-set", choices=list(PUBLISHED), action="append")
    parser.add_argument("--test", type=Path, metavar="FOLDER", help="official test images")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--width", type=int, help="64, or 16 on a CPU")
    parser.add_argument("--epochs", type=int, help="at most; the recipe's, or 60 on a CPU")
    parser.add_argument("--folds", type=int, help="how many are trained; 5, or 1 on a CPU")
    parser.add_argument("--images", type=int, default=0, help="for a try: of so many; 0: all")
    parser.add_argument(
        "--workers", type=int, default=1, help="folds at a time, for a GPU with room for several"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("paper.json"), help="what is in it is not run again"
    )
    arguments = parser.parse_args()
    if not arguments.out.suffix:
        parser.error(
            f"--out: give the name of a file, as {arguments.out}.json: the models go into the "
            "folder of that name without its ending"
        )
    chosen_sets = arguments.data_set or list(PUBLISHED)
    device = choose_device(arguments.device).device
    given = {key: getattr(arguments, key) for key in ON_CPU}
    if device == "cpu":
        given = {key: value or ON_CPU[key] for key, value in given.items()}
    tests = {
        name: official_folder(parser, arguments.test, name, chosen_sets) for name in chosen_sets
    }
    records = Records(arguments.out)
    folder = arguments.out.with_suffix("")
    protocols = [protocol(name, images=arguments.images, **given) for name in chosen_sets]
    cases: list[Case] = [
        (title, one_fold, (arguments.data, chosen, fold, device, folder))
        for chosen in protocols
        for title, fold in zip(chosen.titles, chosen.folds, strict=True)
    ]
    records.measure(cases, arguments.workers)
    for chosen in protocols:
        tested: list[list[float]] = []
        place = tests[chosen.name]
        if place is not None:
            files = [model_file(folder, chosen.title, fold) for fold in chosen.folds]
            models = [load_model(file, device) for file in files]
            tested = official_scores(models, official_samples(chosen, arguments.data, place))
        show(chosen, [records.values[title] for title in chosen.titles], tested)


def official_folder(
    parser: argparse.ArgumentParser, folder: Path | None, name: str, chosen: Sequence[str]
) -> Path | None:
    """Return the folder with a data set's test images; wrong ones fail before the work."""
    if folder is None:
        return None
    for place in [folder / name, *([folder] if len(chosen) == 1 else [])]:
        if (place / "images").is_dir() and (place / "masks").is_dir():
            return place
    return parser.error(f"--test: {folder} has no {name}/images and {name}/masks")


if __name__ == "__main__":
    main()
