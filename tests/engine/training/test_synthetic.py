"""Images that are drawn: they are what they say, always new, and the same with the same seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from napari_sa2net.engine.parts import label
from napari_sa2net.engine.training import synthetic
from napari_sa2net.engine.training.recipes import load_samples, read_recipe
from napari_sa2net.engine.training.samples import draw_batch
from napari_sa2net.engine.training.synthetic import draw_scene


@pytest.mark.parametrize("seed", range(12))
def test_scenes_are_images_with_their_objects(seed: int) -> None:
    image, labels = draw_scene(np.random.default_rng(seed), 96, 20)
    assert image.shape in ((1, 96, 96), (3, 96, 96))
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert labels.shape == (96, 96)
    assert labels.min() >= 0
    again = draw_scene(np.random.default_rng(seed), 96, 20)
    assert np.array_equal(image, again[0])
    assert np.array_equal(labels, again[1])


@pytest.mark.parametrize("shape", synthetic._SHAPES)
@pytest.mark.parametrize("diameter", [12.0, 36.0])
def test_every_shape_has_about_the_size_asked_for(shape: object, diameter: float) -> None:
    sizes = []
    for seed in range(6):
        labels = shape(np.random.default_rng(seed), 300, diameter)  # type: ignore[operator]
        inner = set(np.unique(labels[1:-1, 1:-1])) - set(np.unique(labels[[0, -1]])) - {0}
        inner -= set(np.unique(labels[:, [0, -1]]))
        sizes += [np.sqrt((labels == number).sum() * 4 / np.pi) for number in inner]
    assert 0.6 * diameter < np.median(sizes) < 1.4 * diameter


def test_objects_can_be_told_from_the_background() -> None:
    """In most scenes an object differs from what is around it; else nothing could be learnt."""
    clear = 0
    for seed in range(40):
        image, labels = draw_scene(np.random.default_rng(seed), 128, 25)
        inside, outside = image[:, labels > 0], image[:, labels == 0]
        if inside.size and outside.size:
            spread = image.std(axis=(1, 2)) + 1e-6
            clear += bool((np.abs(inside.mean(1) - outside.mean(1)) / spread).max() > 0.3)
    assert clear >= 28


def test_packed_cells_are_whole() -> None:
    labels = synthetic._packed(np.random.default_rng(5), 150, 25)
    assert label(labels).max() == len(np.unique(labels)) - 1


def test_a_drawn_set_needs_no_folder_and_is_new_each_time(
    shared_data: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(Path(__file__).parents[3] / "recipes" / "generalist-2.toml")
    drawn = tuple(d for d in recipe.datasets if d.drawn)
    some = tuple(d for d in recipe.datasets if d.folder == "dsb2018_brightfield")
    assert len(drawn) == len(some) == 1
    recipe = dataclasses.replace(recipe, datasets=drawn + some)
    samples = load_samples(recipe, shared_data)
    assert [sample.drawn for sample in samples].count(True) == 1
    assert not any(sample.drawn for sample in load_samples(recipe, shared_data, recipe.held_out))
    only = [sample for sample in samples if sample.drawn]
    batch = draw_batch(
        only, np.ones(1), 3, recipe.training, recipe.augmentation, np.random.default_rng(0)
    )
    side = recipe.training.crop
    assert batch.images.shape == (recipe.training.batch, 3, side, side)
    assert len({image.numpy().tobytes() for image in batch.images}) == recipe.training.batch
