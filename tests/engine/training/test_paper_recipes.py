"""Recipes by the authors' protocol: binary masks, whole images, folds that say when to stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.io import imsave
from skimage.transform import resize

from napari_sa2net.engine.errors import InputError, TrainingError
from napari_sa2net.engine.events import Message, run
from napari_sa2net.engine.training.epochs import EpochDone
from napari_sa2net.engine.training.recipes import Recipe, load_samples, read_recipe, train
from napari_sa2net.engine.training.whole import squeeze
from napari_sa2net.engine.weights import load_model, save_model

RECIPES = Path(__file__).parents[3] / "recipes"

RECIPE = """
folds = "folds.txt"
fold = "1"

[[datasets]]
folder = "discs"
masks = "foreground"
resize = 32

[training]
epochs = 2
patience = 2
batch = 2
crop = 32
loss = "authors"

[augmentation]
zoom = 1.0
rotate = false
authors = true

[card]
name = "discs"
base_channels = 2
in_channels = 3
num_classes = 1
channels = ["blue", "green", "red"]
normalization = { method = "scale" }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with four red images of 40 × 60 in two folds; their masks have big numbers."""
    for kind in ("images", "masks"):
        (tmp_path / "discs" / kind).mkdir(parents=True)
    y, x = np.mgrid[:40, :60]
    for i, name in enumerate("abcd"):
        mask = ((y - 12 - 4 * i) ** 2 + (x - 25) ** 2 < 90).astype(np.uint16)
        image = np.stack([mask * 204, mask * 0, mask * 0], -1).astype(np.uint8)
        imsave(tmp_path / "discs" / "images" / f"{name}.png", image, check_contrast=False)
        imsave(tmp_path / "discs" / "masks" / f"{name}.png", mask * 300, check_contrast=False)
    (tmp_path / "folds.txt").write_text("a 1\nb 1\nc 2\nd 2\n")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def test_images_are_read_whole_in_the_models_colours(recipe: Path, tmp_path: Path) -> None:
    samples = load_samples(read_recipe(recipe), tmp_path)
    assert [sample.name for sample in samples] == ["a", "b", "c", "d"]
    for sample in samples:
        assert sample.image.shape == (3, 32, 32)
        assert set(np.unique(sample.labels)) == {0, 1}
        assert sample.image[2].max() == pytest.approx(0.8), "red comes last, divided by 255"
        assert not sample.image[:2].any()


def test_images_of_a_fold_are_read_by_name(recipe: Path, tmp_path: Path) -> None:
    made = read_recipe(recipe)
    held_out = load_samples(made.without("2"), tmp_path, made.images_of("2"))
    assert [sample.name for sample in held_out] == ["c", "d"]
    assert [sample.name for sample in load_samples(made.without("2"), tmp_path)] == ["a", "b"]
    with pytest.raises(TrainingError, match="no image of those that are held out"):
        load_samples(made, tmp_path, ["nobody"])


def test_squeezing_interpolates_linearly_and_keeps_what_touches_an_object() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.random((2, 50, 70)), np.zeros((50, 70), int)
    mask[20:30, 33] = 7
    out, small = squeeze(image, mask, 32)
    known = [resize(plane, (32, 32), order=1, mode="edge", anti_aliasing=False) for plane in image]
    assert np.allclose(out, known, atol=1e-5)
    touched = resize(mask / 7, (32, 32), order=1, mode="edge", anti_aliasing=False) > 1e-6
    assert np.array_equal(small, touched)
    assert small.sum() > (resize(mask > 0, (32, 32), order=0) > 0).sum()


@pytest.mark.parametrize("loss", ["cross-entropy", "product", "authors", "paper"])
def test_a_binary_model_learns_with_every_loss(recipe: Path, tmp_path: Path, loss: str) -> None:
    recipe.write_text(RECIPE.replace('"authors"', f'"{loss}"'))
    events = []
    model = run(train(recipe, tmp_path, device="cpu"), events.append)
    passes = [event for event in events if isinstance(event, EpochDone)]
    assert [len(event.scores) for event in passes] == [2, 2]
    extra = model.card.extra
    assert (extra["fold"], extra["training"]["loss"]) == ("1", loss)
    assert 1 <= extra["epoch"] <= 2
    saved = load_model(save_model(model, tmp_path / "discs.safetensors"))
    assert saved.card.colour_order == (2, 1, 0)
    for a, b in zip(model.network.parameters(), saved.network.parameters(), strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


def test_another_fold_can_say_when_to_stop(recipe: Path, tmp_path: Path) -> None:
    def told(fold: str | None) -> str:
        events = []
        model = run(train(read_recipe(recipe), tmp_path, "cpu", None, fold), events.append)
        assert any(
            isinstance(event, Message) and event.text.startswith("2 training images, 2 held out")
            for event in events
        )
        return str(model.card.extra["fold"])

    assert (told(None), told("2")) == ("1", "2")


def test_patience_needs_a_fold(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace('fold = "1"', ""))
    with pytest.raises(InputError, match="a fold say when to stop"):
        run(train(recipe, tmp_path, device="cpu"))
    with pytest.raises(InputError, match=r"no fold '3'\. Its folds: 1, 2"):
        run(train(recipe, tmp_path, device="cpu", fold="3"))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('masks = "foreground"', 'masks = "objects"', "instances, classes, foreground"),
        ('masks = "foreground"\nresize = 32', 'masks = "instances"', "third class"),
        ("resize = 32", "resize = 32\nzoom = 0.5", "not with zoom"),
        ("resize = 32", "resize = 32\npixel_size = 0.5", "pixel sizes"),
        ('masks = "foreground"', 'masks = "classes"', "resize goes with"),
    ],
)
def test_what_does_not_fit_is_explained(
    recipe: Path, before: str, after: str, message: str
) -> None:
    assert before in RECIPE
    recipe.write_text(RECIPE.replace(before, after))
    with pytest.raises(InputError, match=message):
        read_recipe(recipe)


@pytest.mark.parametrize(("name", "count"), [("glas", 85), ("monuseg", 30)])
def test_the_papers_recipes_are_those_of_the_authors(name: str, count: int) -> None:
    made = read_recipe(RECIPES / f"paper-{name}.toml")
    assert made.card.num_classes == 1
    assert made.card.base_channels == 64
    assert made.card.restricted
    assert made.datasets[0].resize == made.training.crop == 224
    sizes = [len(made.images_of(fold)) for fold in "12345"]
    assert sum(sizes) == len(made.folds) == count
    assert set(sizes) == {count // 5}


@pytest.mark.parametrize("name", ["glas", "monuseg"])
def test_the_folds_are_those_of_the_named_seed(name: str) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    made = read_recipe(RECIPES / f"paper-{name}.toml")
    names = sorted(made.folds)
    parts = selection.KFold(5, shuffle=True, random_state=999).split(names)
    for fold, (_, held_out) in enumerate(parts, 1):
        assert made.images_of(str(fold)) == {names[i] for i in held_out}


@pytest.mark.parametrize("name", ["glas", "monuseg"])
def test_the_papers_recipes_train(name: str, shared_data: Path, tmp_path: Path) -> None:
    made = read_recipe(RECIPES / f"paper-{name}.toml")
    chosen = [made_of for fold in "12" for made_of in sorted(made.images_of(fold))[:2]]
    small: Recipe = dataclasses.replace(
        made,
        held_out=frozenset(set(made.folds) - set(chosen)),
        folds={image: made.folds[image] for image in chosen},
        card=dataclasses.replace(made.card, base_channels=2),
        training=dataclasses.replace(made.training, epochs=1),
    )
    events = []
    run(train(small, shared_data, "cpu"), events.append)
    (done,) = (event for event in events if isinstance(event, EpochDone))
    assert len(done.scores) == 2
