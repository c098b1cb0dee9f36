"""The benchmark that scores released models, on made-up images."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imsave

from napari_sa2net import train

RECIPE = """
folds = "folds.txt"

[[datasets]]
folder = "discs"
masks = "classes"
pixel_sizes = { a = 1.0, b = 0.5 }

[training]
steps = 2
batch = 1
crop = 32

[card]
name = "discs"
base_channels = 4
in_channels = 1
num_classes = 3
pixel_size = 1.0
result = "classes"
classes = [
    { name = "background" },
    { name = "disc" },
    { name = "spot" },
]
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the benchmark, a script beside the package, for one test."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    yield importlib.import_module("accuracy")
    for name in ("accuracy", "scoring", "records"):
        sys.modules.pop(name, None)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with one image in each of two folds."""
    for kind in ("images", "masks"):
        (tmp_path / "discs" / kind).mkdir(parents=True)
    y, x = np.mgrid[:48, :64]
    mask = ((y - 20) ** 2 + (x - 25) ** 2 < 100).astype(np.uint8)
    for name in "ab":
        imsave(tmp_path / "discs" / "images" / f"{name}.png", mask * 200, check_contrast=False)
        imsave(tmp_path / "discs" / "masks" / f"{name}.png", mask, check_contrast=False)
    (tmp_path / "folds.txt").write_text("a first\nb second\n")
    (tmp_path / "discs.toml").write_text(RECIPE)
    return tmp_path / "discs.toml"


def _main(bench: Any, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, arguments)])
    bench.main()


def test_each_fold_is_scored_by_the_model_that_has_not_seen_it(
    bench: Any,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = recipe.parent
    for fold in ("first", "second"):
        train(recipe, data, data / f"discs-fold-{fold}.safetensors", "cpu", fold=fold)
    command = (bench, monkeypatch, data, "--recipe", recipe, "--folds", data)
    _main(*command)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| data set | images | Dice | IoU | AP at 0.5 | disc | spot |"
    assert lines[2].startswith("| discs | 2 |")
    assert [line.split()[1] for line in lines[-2:]] == ["a", "b"]
    # The model of another fold has seen the image.
    first, second = (data / f"discs-fold-{fold}.safetensors" for fold in ("first", "second"))
    second.write_bytes(first.read_bytes())
    bench._fold_model.cache_clear()
    with pytest.raises(SystemExit, match="fold second was made by another recipe"):
        _main(*command)


def test_images_are_scored_at_the_recipes_scale(bench: Any, recipe: Path) -> None:
    scoring = sys.modules["scoring"]
    read = bench.read_recipe(recipe)
    (dataset,) = read.datasets
    folder = recipe.parent / "discs"
    assert scoring.scale_options(folder, read, dataset, "a", "recipe") == {}
    assert scoring.scale_options(folder, read, dataset, "b", "recipe") == {"pixel_size": 0.5}
    assert scoring.scale_options(folder, read, dataset, "b", "none") == {}
    diameter = scoring.scale_options(folder, read, dataset, "b", "objects")["diameter"]
    assert diameter == pytest.approx(20, abs=1)


def test_the_interval_holds_the_mean_and_narrows_with_more_images(bench: Any) -> None:
    scoring = sys.modules["scoring"]
    few, many = [0.2, 0.8], [0.2, 0.8] * 50
    assert scoring.interval(few)[0] <= 0.5 <= scoring.interval(few)[1]
    widths = [high - low for low, high in map(scoring.interval, (few, many))]
    assert widths[1] < widths[0] / 3
    assert scoring.mean_and_interval([0.5, float("nan")]) == "–"


def test_widths_are_compared_fold_by_fold(
    bench: Any,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    widths = importlib.import_module("widths")
    out = recipe.parent / "widths.json"
    command = [recipe.parent, "--recipe", recipe, "--widths", 2, 4, "--steps", 1, "--out", out]
    monkeypatch.setattr(sys, "argv", ["widths.py", *map(str, command)])
    widths.main()
    printed = capsys.readouterr().out
    assert "### discs, 1 steps, 2 trainings of each width" in printed
    assert "| width | parameters | s a step | Dice | to width 4 |" in printed
    # Nothing is run again, and no AP is shown where there are no objects.
    monkeypatch.setattr(widths, "train", None)
    widths.main()
    assert capsys.readouterr().out == printed
    sys.modules.pop("widths")


def test_the_smallest_width_within_a_point_is_taken(bench: Any) -> None:
    widths = importlib.import_module("widths")

    def trained(dice: float, ap: float) -> list[dict[str, Any]]:
        return [{"images": {"a": {"dice": dice, "ap": ap}}}]

    found = {16: trained(0.895, 0.70), 32: trained(0.90, 0.75), 64: trained(0.90, 0.755)}
    assert widths.smallest(found, ["dice"]) == 16
    assert widths.smallest(found, ["dice", "ap"]) == 32
    sys.modules.pop("widths")
