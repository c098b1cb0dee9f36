from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.io import imsave

from napari_sa2net.engine.errors import InputError, TrainingError
from napari_sa2net.engine.events import run
from napari_sa2net.engine.training.datasets import image_pairs, median_diameter
from napari_sa2net.engine.training.recipes import load_samples, read_recipe, train
from napari_sa2net.engine.weights import load_model, save_model

RECIPE = """
held_out = "held-out.txt"

[[datasets]]
folder = "discs"

[training]
steps = 3
batch = 1
crop = 32

[card]
name = "discs"
base_channels = 4
in_channels = 3
num_classes = 3
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with two images, of which one is held out."""
    for kind in ("images", "masks"):
        (tmp_path / "discs" / kind).mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    mask = ((y - 20) ** 2 + (x - 25) ** 2 < 100).astype(np.uint16)
    for name, value in (("seen", 200), ("unseen", 100)):
        imsave(tmp_path / "discs" / "images" / f"{name}.png", (mask * value).astype(np.uint8))
        imsave(tmp_path / "discs" / "masks" / f"{name}.png", mask, check_contrast=False)
    (tmp_path / "held-out.txt").write_text("# by look\nunseen\n")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


def test_a_recipe_makes_a_model_that_can_be_saved(recipe: Path, tmp_path: Path) -> None:
    model = run(train(recipe, tmp_path, device="cpu"))
    saved = load_model(save_model(model, tmp_path / "discs.safetensors"))
    assert saved.card.name == "discs"
    assert saved.card.extra["recipe_sha256"] == read_recipe(recipe).sha256
    for a, b in zip(model.network.parameters(), saved.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_systems_leave_in_a_folder_is_no_image(recipe: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        for name in (".DS_Store", "._seen.png", "Thumbs.db", "desktop.ini"):
            (tmp_path / "discs" / kind / name).write_bytes(b"\x00")
    assert [image.name for image, _ in image_pairs(tmp_path / "discs")] == [
        "seen.png",
        "unseen.png",
    ]


def test_images_of_a_large_group_of_one_look_are_drawn_less_often(
    recipe: Path, tmp_path: Path
) -> None:
    for name in ("twin", "alone"):
        for kind in ("images", "masks"):
            folder = tmp_path / "discs" / kind
            (folder / f"{name}.png").write_bytes((folder / "seen.png").read_bytes())
    (tmp_path / "looks.txt").write_text("# by look\nseen a\ntwin a\nalone b\n")
    recipe.write_text('looks = "looks.txt"\nlook_balance = 1.0\n' + RECIPE)
    weights = [sample.weight for sample in load_samples(read_recipe(recipe), tmp_path)]
    assert weights == pytest.approx([0.5, 0.25, 0.25])  # alone, seen, twin


def test_a_state_belongs_to_one_training_at_a_time(recipe: Path, tmp_path: Path) -> None:
    """Two that write one state would each go on from the other's, or find it gone."""
    state = tmp_path / "state.pt"
    first = train(recipe, tmp_path, "cpu", state)
    next(first)
    with pytest.raises(TrainingError, match="running already"):
        run(train(recipe, tmp_path, "cpu", state))
    first.close()
    run(train(recipe, tmp_path, "cpu", state))
    assert sorted(path.name for path in tmp_path.glob("state*")) == ["state.pt"]


def test_held_out_images_are_not_read(recipe: Path, tmp_path: Path) -> None:
    samples = load_samples(read_recipe(recipe), tmp_path)
    assert len(samples) == 1
    assert samples[0].diameter == pytest.approx(20, abs=1)


def test_names_are_alike_however_their_letters_are_written(recipe: Path, tmp_path: Path) -> None:
    for kind, form in (("images", "NFC"), ("masks", "NFD")):
        for name in ("seen", "unseen"):
            path = tmp_path / "discs" / kind / f"{name}.png"
            path.rename(path.with_stem(unicodedata.normalize(form, f"{name} é")))  # type: ignore[arg-type]
    held_out = unicodedata.normalize("NFD", "unseen é")
    (tmp_path / "held-out.txt").write_text(f"{held_out}\n", encoding="utf-8")
    (sample,) = load_samples(read_recipe(recipe), tmp_path)
    assert sample.name == "seen é"


def test_large_pictures_are_read(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    assert len(load_samples(read_recipe(recipe), tmp_path)) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes")
def test_a_pipe_is_not_waited_for(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "discs" / "masks" / "seen.png").unlink()
    os.mkfifo(tmp_path / "discs" / "masks" / "seen.png")
    with pytest.raises(TrainingError, match="no file but a pipe"):
        load_samples(read_recipe(recipe), tmp_path)


def test_another_held_out_list_is_another_recipe(recipe: Path) -> None:
    before = read_recipe(recipe).sha256
    (recipe.parent / "held-out.txt").write_text("seen\n")
    assert read_recipe(recipe).sha256 != before


def _two_classes(recipe: Path, tmp_path: Path, more: str = "") -> None:
    """Turn the discs into a mask of classes, of which the third is in no image."""
    recipe.write_text(RECIPE.replace('"discs"\n', f'"discs"\nmasks = "classes"\n{more}', 1))


def test_masks_of_classes_are_taken_as_they_are(recipe: Path, tmp_path: Path) -> None:
    _two_classes(recipe, tmp_path)
    (sample,) = load_samples(read_recipe(recipe), tmp_path)
    assert sample.kind == "classes"
    assert sample.diameter == 0
    assert set(np.unique(sample.labels)) == {0, 1}
    model = run(train(recipe, tmp_path, device="cpu"))
    assert model.card.name == "discs"


def test_the_pieces_of_a_class_can_be_the_objects(recipe: Path, tmp_path: Path) -> None:
    mask = np.zeros((48, 48), np.uint8)
    mask[4:20, 4:20], mask[30:46, 30:46], mask[4:20, 30:46] = 2, 2, 1
    imsave(tmp_path / "discs" / "masks" / "seen.png", mask, check_contrast=False)
    _two_classes(recipe, tmp_path, "objects = 2\n")
    (sample,) = load_samples(read_recipe(recipe), tmp_path)
    assert sample.kind == "instances"
    assert sorted(np.bincount(sample.labels.ravel()).tolist()[1:]) == [256, 256]
    assert sample.diameter == pytest.approx(2 * np.sqrt(256 / np.pi))


def test_a_recipe_may_start_from_a_model(recipe: Path, tmp_path: Path) -> None:
    first = run(train(recipe, tmp_path, device="cpu"))
    save_model(first, tmp_path / "first.safetensors")
    slow = RECIPE.replace("steps = 3", "steps = 1\nlearning_rate = 1e-9")
    recipe.write_text(f'start = "{(tmp_path / "first.safetensors").as_posix()}"\n' + slow)
    second = run(train(recipe, tmp_path, device="cpu"))
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    recipe.write_text(recipe.read_text().replace("base_channels = 4", "base_channels = 8"))
    with pytest.raises(InputError, match="another width than the recipe's card"):
        run(train(recipe, tmp_path, device="cpu"))


def test_a_mask_of_objects_is_no_mask_of_classes(recipe: Path, tmp_path: Path) -> None:
    _two_classes(recipe, tmp_path)
    mask = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)
    imsave(tmp_path / "discs" / "masks" / "seen.png", mask, check_contrast=False)
    with pytest.raises(TrainingError, match=r"number 2303.*0 to 2: is it a mask of instances"):
        load_samples(read_recipe(recipe), tmp_path)


def test_images_are_brought_to_the_working_pixel_size(recipe: Path, tmp_path: Path) -> None:
    sizes = "zoom = 0.5\npixel_size = 1.0\npixel_sizes = { seen = 0.5 }\n"
    text = RECIPE.replace('"discs"\n', f'"discs"\n{sizes}', 1)
    recipe.write_text(text.replace('held_out = "held-out.txt"', "") + "pixel_size = 0.5\n")
    seen, unseen = load_samples(read_recipe(recipe), tmp_path)
    assert seen.image.shape == (1, 24, 24)  # 0.5 of zoom, and its own size is the card's
    assert seen.labels.shape == (24, 24)
    assert seen.diameter == pytest.approx(10, abs=1)
    assert unseen.image.shape == (1, 48, 48)  # twice the card's pixel size
    assert seen.image[0, 10, 12] > 0.9  # the disc is where it was


def test_a_fold_is_held_out(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "folds.txt").write_text("# by hand\nseen a\nunseen b\n")
    recipe.write_text(RECIPE.replace('held_out = "held-out.txt"', 'folds = "folds.txt"'))
    whole = read_recipe(recipe)
    assert len(load_samples(whole, tmp_path)) == 2
    part = whole.without("b")
    assert part.held_out == {"unseen"}
    assert part.sha256 not in (whole.sha256, whole.without("a").sha256)
    assert len(load_samples(part, tmp_path)) == 1
    model = run(train(recipe, tmp_path, device="cpu", fold="b"))
    assert model.card.extra["recipe_sha256"] == part.sha256
    with pytest.raises(InputError, match=r"no fold 'c'. Its folds: a, b"):
        run(train(recipe, tmp_path, device="cpu", fold="c"))


RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_released_recipes_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.card.name == path.stem
    assert recipe.card.file == f"{path.stem}.safetensors"
    assert recipe.card.licence
    assert recipe.card.citation
    assert recipe.held_out or recipe.folds, "no figure of the model would be a held-out one"


def test_what_weights_do_not_depend_on_leaves_a_state_usable(recipe: Path) -> None:
    before = read_recipe(recipe).sha256
    recipe.write_text(RECIPE + 'description = "Discs."\nlabelling = { min_size = 3 }\n')
    assert read_recipe(recipe).sha256 == before
    recipe.write_text(RECIPE.replace("batch = 1", "batch = 2"))
    assert read_recipe(recipe).sha256 != before


def test_the_released_recipe_reads_and_names_its_held_out_images() -> None:
    released = read_recipe(Path(__file__).parents[3] / "recipes" / "nuclei.toml")
    assert released.card.name == "nuclei"
    assert len(released.held_out) == 71 + 14 + 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("steps = 3", "stepz = 3", "unknown field stepz"),
        ("steps = 3", "steps =", "cannot be read"),
        ('"discs"', '"discs"\nmasks = "both"', "masks is 'both'"),
        ('"discs"', '"discs"\nzoom = 0', "zoom is 0"),
        ('"discs"', '"discs"\nobjects = 2', "objects goes with masks of classes"),
        ('held_out = "held-out.txt"', 'held_out = "nowhere.txt"', "nowhere.txt"),
        ("[[datasets]]", "[[data]]", "lacks the setting 'datasets'"),
    ],
)
def test_a_wrong_recipe_is_explained(recipe: Path, before: str, after: str, message: str) -> None:
    recipe.write_text(RECIPE.replace(before, after, 1))
    with pytest.raises(InputError, match=message):
        read_recipe(recipe)


def test_missing_data_are_explained(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="images/ and masks/"):
        load_samples(read_recipe(recipe), tmp_path / "elsewhere")


def test_the_diameter_is_the_median_of_the_objects() -> None:
    labels = np.zeros((40, 40), int)
    labels[:10, :10], labels[20:30, 20:30], labels[35:, 35:] = 1, 2, 3
    assert median_diameter(labels) == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert median_diameter(np.zeros((4, 4), int)) == 0
