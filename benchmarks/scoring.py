"""Scoring models on the data sets of their recipes, at the scale that the recipes work at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from skimage.io import imread

from napari_sa2net.engine.evaluation import Evaluation, Row, evaluate
from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.datasets import DataSet, median_diameter
from napari_sa2net.engine.training.recipes import Recipe
from napari_sa2net.engine.weights import Model

Scale = Literal["recipe", "none", "objects"]
"""As the recipe says; as the images are; or each by the size of its own true objects."""

RESAMPLES = 2000
"""Of the images, for an interval."""


def names_of(data: Path, dataset: DataSet) -> list[str]:
    """Return the names, without ending, of a data set's images."""
    return sorted(path.stem for path in (data / dataset.folder / "images").iterdir())


def score(
    data: Path,
    recipe: Recipe,
    dataset: DataSet,
    model: Model,
    names: Sequence[str],
    scale: Scale = "recipe",
    **options: Any,
) -> Evaluation:
    """Return the figures of a model on some images of a data set, in the order of the names."""
    folder = data / dataset.folder
    groups: dict[tuple[tuple[str, float], ...], list[str]] = defaultdict(list)
    for name in names:
        groups[tuple(scale_options(folder, recipe, dataset, name, scale).items())].append(name)
    parts = [
        run(
            evaluate(
                [folder / "images"],
                [folder / "masks"],
                model,
                names=of,
                options={"device": "cpu", **dict(given), **options},
            )
        )
        for given, of in groups.items()
    ]
    return together(parts)


def scale_options(
    folder: Path, recipe: Recipe, dataset: DataSet, name: str, scale: Scale = "recipe"
) -> dict[str, float]:
    """Return the option that tells the network how large things are in an image."""
    card = recipe.card
    if scale == "none":
        return {}
    if scale == "objects":
        mask = imread(next((folder / "masks").glob(f"{name}.*")))
        diameter = median_diameter(mask.astype(np.int64))
        return {"diameter": diameter} if diameter else {}
    zoom = dataset.zoom_of(name, card)
    if zoom == 1:
        return {}
    if card.diameter is not None:
        return {"diameter": card.diameter / zoom}
    if card.pixel_size is not None:
        return {"pixel_size": card.pixel_size * zoom}
    raise SystemExit(f"The card of {card.name} has neither a diameter nor a pixel size.")


def together(parts: Iterable[Evaluation]) -> Evaluation:
    """Return the rows of several evaluations as one, sorted by name."""
    parts = list(parts)
    for part in parts:
        for name, reason in part.failed:
            raise SystemExit(f"{name}: {reason}")
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: row.name)
    return replace(parts[0], rows=tuple(rows))


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean over images, by resampling them."""
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values)[draws].mean(1), (2.5, 97.5))
    return float(low), float(high)


def mean_and_interval(values: Sequence[float]) -> str:
    """Return the mean with its interval as text; a dash where there is no figure."""
    if not len(values) or np.isnan(values).any():
        return "–"
    low, high = interval(values)
    return f"{np.mean(values):.3f} ({low:.3f}–{high:.3f})"


def head(rows: Sequence[Row]) -> list[str]:
    """Return the names of the figures that rows have."""
    return [
        "Dice",
        "IoU",
        "AP at 0.5",
        *dict.fromkeys(name for row in rows for name in row.classes),
    ]


def figures(rows: Sequence[Row]) -> list[str]:
    """Return the mean of each figure, with its interval, as text."""
    values = [
        [row.dice for row in rows],
        [row.iou for row in rows],
        [row.average_precision for row in rows],
        *([row.classes[name] for row in rows] for name in head(rows)[3:]),
    ]
    return [mean_and_interval(of) for of in values]
