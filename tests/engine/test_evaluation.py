from __future__ import annotations

import json
import unicodedata
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from napari_sa2net.engine import evaluation, inference
from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.evaluation import evaluate, true_classes, true_labels
from napari_sa2net.engine.events import Event, Message, Progress, run
from napari_sa2net.engine.files import write_labels
from napari_sa2net.engine.weights import Model, ModelCard


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the image be its own segmentation, so that figures can be told in advance."""

    def segment(image: Any, model: Any, options: Any) -> Generator[Event, None, Any]:
        if np.asarray(image).max() == 255:
            raise InputError("too bright")
        yield Message("running")
        yield inference.TileDone(1, 1)
        return SimpleNamespace(labels=np.asarray(image).astype(np.int32))

    monkeypatch.setattr(evaluation.inference, "segment", segment)


def _labels(*runs: tuple[int, int]) -> np.ndarray:
    return np.repeat([n for n, _ in runs], [k for _, k in runs]).astype(np.uint8)[None]


def _save(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return folder


@pytest.mark.usefixtures("echo")
def test_a_mask_whose_source_fails_is_told_and_the_others_count(tiny_model: Any) -> None:
    class Gone:
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise RuntimeError("chunk gone")

    good = _labels((1, 4))
    evaluation = run(evaluate([good, good], [Gone(), good], tiny_model))
    assert evaluation.failed == (("image 0", "chunk gone"),)
    assert evaluation.means["dice"] == 1.0


@pytest.mark.usefixtures("echo")
def test_means_are_over_images_not_pixels(tiny_model: Any) -> None:
    full, empty = _labels((1, 4)), _labels((0, 400))
    wrong = _labels((1, 4), (0, 396))
    evaluation = run(evaluate([full, wrong], [full, empty], tiny_model))
    assert [row.dice for row in evaluation.rows] == [1.0, 0.0]
    assert evaluation.means == {"dice": 0.5, "iou": 0.5, "average_precision": 0.5}


@pytest.mark.usefixtures("echo")
def test_counts_of_a_merged_pair(tiny_model: Any) -> None:
    result = _labels((1, 10), (0, 2), (2, 4))
    truth = _labels((1, 6), (2, 4), (0, 2), (3, 4))
    (row,) = run(evaluate(result, truth, tiny_model)).rows
    assert (row.true_positives, row.found, row.true) == (2, 2, 3)
    assert row.average_precision == pytest.approx(2 / 3)
    strict = run(evaluate(result, truth, tiny_model, iou_threshold=0.7))
    assert strict.rows[0].average_precision == pytest.approx(1 / 4)


@pytest.mark.parametrize("named", [None, "NFC", "NFD"])
def test_names_are_alike_however_their_letters_are_written(
    tmp_path: Path, tiny_model: Any, named: Literal["NFC", "NFD"] | None
) -> None:
    for folder, form in (("i", "NFC"), ("m", "NFD")):
        for name in ("é", "über"):
            path = tmp_path / folder / f"{unicodedata.normalize(form, name)}.tif"
            write_labels(path, np.ones((32, 32), np.uint8), "YX")
    names = None if named is None else [unicodedata.normalize(named, "é")]
    events: list[Any] = []
    found = run(evaluate(tmp_path / "i", tmp_path / "m", tiny_model, names=names), events.append)
    assert [row.name for row in found.rows] == (["é", "über"] if named is None else ["é"])
    assert not [event for event in events if "No image is called" in getattr(event, "text", "")]


def test_a_mask_that_is_no_file_fails_alone(tmp_path: Path, tiny_model: Any) -> None:
    for folder in "im":
        for name in "ab":
            write_labels(tmp_path / folder / f"{name}.tif", np.ones((32, 32), np.uint8), "YX")
    (tmp_path / "m" / "a.tif").unlink()
    (tmp_path / "m" / "a.tif").symlink_to(tmp_path / "gone.tif")
    found = run(evaluate(tmp_path / "i", tmp_path / "m", tiny_model))
    assert [row.name for row in found.rows] == ["b"]
    ((name, reason),) = found.failed
    assert name == "a"
    assert "broken link" in reason


@pytest.mark.usefixtures("echo")
def test_files_pair_by_name_and_failures_do_not_stop(tmp_path: Path, tiny_model: Any) -> None:
    good, bright = _labels((0, 5), (3, 5)), _labels((0, 5), (255, 5))
    images = _save(tmp_path / "images", b=good, a=good, bad=bright)
    masks = _save(tmp_path / "masks", a=good, b=good, bad=good, extra=good)
    seen: list[Event] = []
    evaluation = run(evaluate(images, masks, tiny_model), seen.append)
    assert [row.name for row in evaluation.rows] == ["a", "b"]
    assert evaluation.failed == (("bad", "too bright"),)
    assert evaluation.means["dice"] == 1.0
    assert [e.done for e in seen if type(e) is Progress] == [0, 1, 2, 3]
    assert any(isinstance(e, Message) and e.warning and "bad" in e.text for e in seen)


@pytest.mark.usefixtures("echo")
def test_names_choose_images(tmp_path: Path, tiny_model: Any) -> None:
    image = _labels((0, 5), (3, 5))
    images = _save(tmp_path / "images", a=image, b=image, nomask=image)
    masks = _save(tmp_path / "masks", a=image, b=image)
    seen: list[Event] = []
    names = ["b", "of another set"]
    evaluation = run(evaluate(images, masks, tiny_model, names=names), seen.append)
    assert [row.name for row in evaluation.rows] == ["b"]
    told = [event.text for event in seen if isinstance(event, Message)]
    assert any("No image is called of another set" in text for text in told)
    with pytest.raises(InputError, match="nowhere does not exist"):
        run(evaluate(images, tmp_path / "nowhere", tiny_model))
    with pytest.raises(InputError, match="no mask for nomask"):
        run(evaluate(images, masks, tiny_model))
    with pytest.raises(InputError, match="None of the images"):
        run(evaluate(images, masks, tiny_model, names=["of another set"]))


@pytest.mark.usefixtures("echo")
def test_one_file_each_needs_no_common_name(tmp_path: Path, tiny_model: Any) -> None:
    image = _labels((0, 5), (3, 5))
    folder = _save(tmp_path / "both", picture=image, truth=image)
    evaluation = run(evaluate(folder / "picture.png", folder / "truth.png", tiny_model))
    assert [row.name for row in evaluation.rows] == ["picture"]


@pytest.mark.usefixtures("echo")
def test_table_and_json(tiny_model: Any) -> None:
    image = _labels((0, 5), (3, 5))
    evaluation = run(evaluate([image], [image], tiny_model, options={"threshold": 0.4}))
    table = evaluation.table()
    assert "AP@0.5" in table
    assert "mean of 1" in table
    content = json.loads(evaluation.to_json())
    assert content["means"]["average_precision"] == 1.0
    assert content["images"][0]["true"] == 1
    assert content["settings"] == {"threshold": 0.4}


@pytest.mark.usefixtures("echo")
def test_classes_have_no_average_precision(tiny_model: Any) -> None:
    image = _labels((0, 5), (2, 5))
    evaluation = run(evaluate(image, image, tiny_model, options={"result": "classes"}))
    assert evaluation.means["dice"] == 1.0
    assert np.isnan(evaluation.means["average_precision"])
    assert json.loads(evaluation.to_json())["means"]["average_precision"] is None
    assert "–" in evaluation.table()


@pytest.fixture
def tissue(tiny_model: Any) -> Model:
    """A model of two classes beside the background, whose result is classes."""
    classes = (ClassInfo("background"), ClassInfo("myelin"), ClassInfo("axon"))
    card = ModelCard("tissue", num_classes=3, classes=classes, result="classes")
    return Model(tiny_model.network, card)


@pytest.mark.usefixtures("echo")
def test_classes_are_compared_one_by_one(tissue: Model) -> None:
    result = _labels((0, 4), (1, 4), (2, 4))
    truth = _labels((0, 4), (1, 8))
    evaluation = run(evaluate([result, result], [truth, result], tissue))
    first, second = evaluation.rows
    assert first.classes == {"myelin": pytest.approx(2 / 3), "axon": 0.0}
    assert first.dice == pytest.approx(1 / 3)
    assert first.iou == pytest.approx(1 / 4)
    assert second.classes == {"myelin": 1.0, "axon": 1.0}
    assert evaluation.class_means == {"myelin": pytest.approx(5 / 6), "axon": 0.5}
    assert "myelin" in evaluation.table().splitlines()[0]
    assert json.loads(evaluation.to_json())["class_means"]["axon"] == 0.5


@pytest.mark.usefixtures("echo")
def test_a_mask_of_other_numbers_counts_as_a_mask(tissue: Model) -> None:
    seen: list[Event] = []
    work = evaluate(_labels((0, 4), (1, 4)), _labels((0, 4), (9, 2), (7, 2)), tissue)
    evaluation = run(work, seen.append)
    assert evaluation.rows[0].dice == 1.0
    assert not evaluation.class_means
    assert any("not the model's classes (0 background, 1" in str(event) for event in seen)


def test_a_mask_of_one_number_is_that_of_the_only_class() -> None:
    card = ModelCard("membranes", num_classes=2, result="classes")
    mask = _labels((0, 3), (255, 2), (0, 1), (255, 1))
    classes, remark = true_classes(mask, card)
    assert classes.tolist() == [[0, 0, 0, 1, 1, 0, 1]]
    assert not remark


def test_wrong_calls(tiny_model: Any, tmp_path: Path) -> None:
    image = np.zeros((4, 4))
    for images, masks, text in (
        ([image], [image, image], "1 images and 2 masks"),
        ([], [], "no image"),
        (image, tmp_path, "both as paths"),
    ):
        with pytest.raises(InputError, match=text):
            run(evaluate(images, masks, tiny_model))
    with pytest.raises(InputError, match="Unknown option"):
        run(evaluate(image, image, tiny_model, options={"nonsense": 1}))
    with pytest.raises(InputError, match="threshold"):
        run(evaluate(image, image, tiny_model, iou_threshold=2))


def test_masks_that_are_not_labels(tmp_path: Path) -> None:
    binary = _labels((0, 2), (255, 2), (0, 1), (255, 3))
    labels, remark = true_labels(binary)
    assert labels.tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]
    assert "2 pieces" in remark
    colours = np.zeros((1, 5, 3), np.uint8)
    colours[0, 1], colours[0, 2:4] = (255, 0, 0), (0, 0, 9)
    Image.fromarray(colours).save(tmp_path / "c.png")
    labels, remark = true_labels(tmp_path / "c.png")
    assert len(set(labels.ravel())) == 3
    assert labels[0, 0] == labels[0, 4] == 0
    assert "colour" in remark
    with pytest.raises(InputError, match="fractions"):
        true_labels(np.array([[0.5, 1]]))


def test_real_model_beats_chance(real_image: np.ndarray, shared_data: Path) -> None:
    """The bundled model on an image of a data set; how good it must be is told elsewhere."""
    from napari_sa2net.engine.weights import find_model, load_model

    if find_model("nuclei").path is None:
        pytest.skip("the bundled model is not there")
    folder = shared_data / "dsb2018_fluorescence"
    name = "00071198d059ba7f.png"
    pair = (folder / "images" / name, folder / "masks" / name)
    evaluation = run(evaluate(*pair, load_model("nuclei"), options={"device": "cpu"}))
    assert evaluation.means["dice"] > 0.8


def test_colours_of_a_mask_are_no_classes(tmp_path: Path, tiny_model: Any) -> None:
    """A palette has their numbers; mere colours could be any of them."""
    numbers = _labels((0, 4), (1, 5), (2, 3))
    picture = Image.fromarray(numbers.astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "palette.png")
    picture.convert("RGB").save(tmp_path / "colours.png")
    found, remark = true_classes(tmp_path / "palette.png", tiny_model.card)
    np.testing.assert_array_equal(found, numbers)
    assert not remark
    with pytest.raises(InputError, match="which of them is which class"):
        true_classes(tmp_path / "colours.png", tiny_model.card)


@pytest.mark.parametrize("which", ["image", "mask", "both"])
def test_what_is_masked_does_not_count(tiny_model: Any, which: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    truth = np.zeros((64, 64), np.int32)
    outside = np.zeros((64, 64), bool)
    truth[:20, :20], outside[:30, :30] = 1, True
    image: Any = np.ma.masked_array(values, outside) if which != "mask" else values
    mask: Any = np.ma.masked_array(truth, outside) if which != "image" else truth
    (row,) = run(evaluate(image, mask, tiny_model, options={"threshold": 0.99})).rows
    assert (row.found, row.true) == (0, 0)
    assert row.dice == 1
