"""What does each part of SA2-Net bring, and what does it cost?

    python benchmarks/ablations.py --data DATA --out ablations.json

Every variant (``variants.py``) is trained by the protocol of ``paper.py`` on three of the five
folds; the fourth says which epoch's weights are kept, and the fifth, which nothing was chosen by,
is scored. All variants of a seed see the same images in the same order. Dice and IoU are medians
of the seeds, with lowest and highest; the differences are medians of each seed's own. Seconds are
medians and, like memory, of a process that does nothing else: run this alone.

Default: GlaS, width 8, 60 epochs (the fall of the rate begins anew every ten), three seeds.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from costs import in_own_process
from napari_sa2net.engine.devices import choose_device
from napari_sa2net.engine.events import Event, StepDone, run
from napari_sa2net.engine.training.epochs import fit_epochs, foreground, score
from napari_sa2net.engine.training.recipes import load_samples
from paper import PUBLISHED, Protocol, protocol
from records import Case, Records, medians, spread, table, tell
from variants import FULL, VARIANTS

CHOOSING, SCORED = "4", "5"
"""The folds that choose the epoch, and that are scored."""


def one(data: Path, chosen: Protocol, name: str, seed: int, device: str) -> dict[str, Any]:
    """Train a variant with one seed and return its figures."""
    recipe = chosen.recipe.without(SCORED).without(CHOOSING)
    variant = VARIANTS[name]
    samples = load_samples(recipe, data)
    choosing, scored = (
        load_samples(recipe, data, chosen.recipe.images_of(fold)) for fold in (CHOOSING, SCORED)
    )
    card = recipe.card
    torch.manual_seed(seed)
    network = variant.make(card.in_channels, card.num_classes, card.base_channels).to(device)
    settings = replace(recipe.training, seed=seed, stage_weights=variant.stage_weights)
    seconds: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, StepDone):
            seconds.append(event.seconds)

    work = fit_epochs(network, samples, choosing, settings, recipe.augmentation)
    network, epoch = run(work, on_event)
    scores = [score(foreground(network, s.image), s.labels) for s in scored]
    dice, iou = np.mean(scores, axis=0).tolist()
    row = {"dice": dice, "iou": iou, "epoch": epoch, "steps": len(seconds), "s": sum(seconds)}
    tell(f"  {name}, seed {seed}: {row}")
    return row


def show(
    chosen: Protocol,
    costs: dict[str, dict[str, float]],
    rows: dict[str, list[dict[str, Any]]],
    device: str,
) -> None:
    """Print the table of one data set."""
    seeds = len(next(iter(rows.values())))
    card, training = chosen.recipe.card, chosen.recipe.training
    images = {fold: len(chosen.recipe.images_of(fold)) for fold in (CHOOSING, SCORED)}
    trained = len(chosen.recipe.folds) - sum(images.values())
    print(
        f"\n### {chosen.name}, width {card.base_channels}, at most {training.epochs} epochs, "
        f"{seeds} seeds, {device}\n\nTrained on {trained} images, the epoch chosen on "
        f"{images[CHOOSING]}, scored on {images[SCORED]}.\n"
    )
    lines = []
    for name, found in rows.items():
        cost = costs[name]
        gains = [a["dice"] - b["dice"] for a, b in zip(found, rows[FULL], strict=True)]
        lines.append(
            [
                name,
                f"{cost['parameters'] / 1e6:.3f}",
                f"{cost['flops'] / 1e9:.2f}",
                f"{cost['step']:.2f}",
                f"{cost['image']:.3f}",
                f"{cost['memory'] / 2**20:.0f}",
                f"{medians(found, 'epoch'):.0f}",
                spread([row["dice"] for row in found]),
                spread([row["iou"] for row in found]),
                "" if name == FULL else f"{statistics.median(gains):+.3f}",
            ]
        )
    head = [
        "variant",
        "million parameters",
        "GFLOP an image",
        f"s a step of {training.batch}",
        "s an image",
        "MB a step",
        "epoch",
        "Dice",
        "IoU",
        "Dice to SA2-Net",
    ]
    print(table(head, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data set's")
    parser.add_argument("--data-set", choices=list(PUBLISHED), default="glas")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60, help="at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=0, help="for a try: of so many; 0: all")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="beside SA2-Net")
    parser.add_argument("--out", type=Path, help="JSON file; what is in it is not run again")
    arguments = parser.parse_args()
    chosen = protocol(
        arguments.data_set, arguments.width, arguments.epochs, images=arguments.images
    )
    device = choose_device(arguments.device).device
    names = [name for name in VARIANTS if name in {FULL, *(arguments.only or VARIANTS)}]
    training = chosen.recipe.training
    size = (arguments.width, training.batch, training.crop, device)
    paid = {name: f"costs, {name}, {size}" for name in names}
    seeds = {
        name: [f"{chosen.title}, {device}, {name}, seed {s}" for s in range(arguments.seeds)]
        for name in names
    }
    records = Records(arguments.out)
    cases: list[Case] = [(paid[name], in_own_process, (name, *size)) for name in names]
    for seed in range(arguments.seeds):  # so that a run that was stopped has whole seeds
        for name in names:
            call = (arguments.data, chosen, name, seed, device)
            cases.append((seeds[name][seed], one, call))
    records.measure(cases, 1)
    values = records.values
    show(
        chosen,
        {name: values[paid[name]] for name in names},
        {name: [values[title] for title in seeds[name]] for name in names},
        device,
    )


if __name__ == "__main__":
    main()
