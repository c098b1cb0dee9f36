"""Layers to paint in: made over the image, named and coloured by the classes, never misread."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.settings import get_settings
from napari.utils.theme import get_theme
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtGui import QColor

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui.annotating import originals as annotation_originals
from napari_sa2net.gui.annotating.class_picker import ERASER, NEW_OBJECT, ClassPicker
from napari_sa2net.gui.annotating.layers import (
    class_colours,
    correct_prediction,
    describe,
    guess,
    is_annotation,
    meaning_of,
    new_annotation,
    painted_classes,
    set_meaning,
)
from napari_sa2net.gui.annotating.originals import Original, blocks_of, original_of
from napari_sa2net.gui.layers import is_result, read_image
from napari_sa2net.gui.look import keep_style
from napari_sa2net.gui.segmenting.results import Note, write_labels

NUCLEI = ModelCard(
    name="nuclei",
    num_classes=3,
    classes=(
        ClassInfo("background", "#000000"),
        ClassInfo("nucleus", "#e69f00"),
        ClassInfo("boundary", "#56b4e9", derived=True),
    ),
    diameter=24.0,
)
CELLS = ModelCard(
    name="cells",
    num_classes=4,
    classes=(
        ClassInfo("background", "#000000"),
        ClassInfo("boundary", "#56b4e9", derived=True),
        ClassInfo("alive", "#3b7dd8"),
        ClassInfo("dead", "#d55e00"),
    ),
    result="classes",
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def labels_of(layer: Any, value: int) -> Any:
    return layer.colormap.map(np.array([value]))[0]


# --- new layers -------------------------------------------------------------------------------


def test_a_new_layer_is_ready_to_paint(viewer: ViewerModel) -> None:
    layer = viewer.add_image(
        np.zeros((40, 50)), name="cells", scale=(0.5, -2), rotate=20, units=("um", "um")
    )
    made = new_annotation(viewer, layer, read_image(layer), NUCLEI, diameter=30)
    assert (made.name, made.data.shape) == ("cells annotation", (40, 50))
    assert viewer.layers.selection.active == made
    assert (str(made.mode), made.brush_size, made.selected_label) == ("paint", 10, 2)
    assert_allclose(made.data_to_world((7, 9)), layer.data_to_world((7, 9)))
    assert made.units == layer.units
    assert meaning_of(made) == ("strokes", "classes")
    assert is_annotation(made)
    assert not is_result(made)  # or it would be taken for the image's labels


def test_a_derived_class_is_not_offered(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((40, 50)))
    made = new_annotation(viewer, layer, read_image(layer), NUCLEI)
    assert [info.name for info in painted_classes(NUCLEI)] == ["background", "nucleus"]
    assert list(made.features["class"]) == ["not painted", "background", "nucleus"]
    assert_allclose(labels_of(made, 2)[:3], (0xE6 / 255, 0x9F / 255, 0), atol=0.01)
    assert labels_of(made, 0)[3] == 0
    assert labels_of(made, 1)[:3].max() > 0.3  # black strokes would not be seen


def test_background_never_looks_like_a_class() -> None:
    colours = class_colours("strokes", CELLS)
    assert colours[2] == "#3b7dd8"
    assert colours[1] not in ("#3b7dd8", "#000000")
    assert class_colours("mask", CELLS) == {1: "#3b7dd8", 2: "#d55e00"}


def test_channels_are_painted_as_one(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((4, 3, 40, 50)), scale=(2, 1, 1, 1))
    image = read_image(layer).with_axes("TCYX")
    made = new_annotation(viewer, layer, image, NUCLEI)
    assert made.data.shape == (4, 1, 40, 50)
    # One step over all channels, so that it is seen whichever is shown.
    assert_allclose(made.data_to_world((2, -0.5, 7, 9)), (4, -0.5, 7, 9))
    assert_allclose(made.data_to_world((2, 0.5, 7, 9)), (4, 2.5, 7, 9))


def test_the_brush_follows_the_object_size(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((400, 500)))
    image = read_image(layer)
    assert new_annotation(viewer, layer, image, NUCLEI).brush_size == 8
    assert new_annotation(viewer, layer, image, NUCLEI, diameter=4).brush_size == 3
    nothing = ModelCard(name="any", num_classes=2)
    assert new_annotation(viewer, layer, image, nothing).brush_size == 7


def test_an_image_that_is_gone(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((40, 50)))
    image = read_image(layer)
    viewer.layers.clear()
    with pytest.raises(InputError, match="removed"):
        new_annotation(viewer, layer, image, NUCLEI)


# --- corrections ------------------------------------------------------------------------------


def predicted(viewer: ViewerModel, labels: np.ndarray, card: ModelCard = NUCLEI) -> Any:
    layer = viewer.add_image(np.zeros(labels.shape), name="cells", scale=(0.5,) * labels.ndim)
    return write_labels(
        viewer,
        read_image(layer),
        labels,
        note=Note(card.name),
        result=card.result,
        classes=card.classes,
    ).layer


def test_a_correction_is_a_copy_that_remembers(viewer: ViewerModel) -> None:
    labels = np.zeros((40, 50), np.int32)
    labels[5:20, 5:20], labels[25:35, 5:20] = 1, 2
    prediction = predicted(viewer, labels)
    made = correct_prediction(viewer, prediction, card=NUCLEI)
    assert made.name == "cells labels corrected"
    assert meaning_of(made) == ("mask", "instances")
    assert (made.selected_label, str(made.mode)) == (3, "paint")
    assert not prediction.visible
    assert_allclose(made.scale, prediction.scale)
    made.data[6, 6] = 0
    assert_array_equal(prediction.data, labels)
    original = original_of(made)
    assert original is not None
    found = original.edited(made.data, (), *next(blocks_of(made.data.shape)))
    assert found is not None
    assert_array_equal(np.argwhere(found), [[6, 6]])
    # A second run neither updates nor counts it.
    assert not is_result(made)


def test_an_edited_prediction_is_compared_with_what_was_predicted(viewer: ViewerModel) -> None:
    labels = np.zeros((40, 50), np.int32)
    prediction = predicted(viewer, labels.copy())
    prediction.data[3, 4] = 1
    original = original_of(correct_prediction(viewer, prediction, original=labels))
    assert original is not None
    assert original.edited(prediction.data, (), slice(0, 40), slice(0, 50)) is not None


@pytest.mark.parametrize("card", [CELLS, None])  # None: of a run before the last
def test_classes_of_a_model_become_those_of_a_mask(
    viewer: ViewerModel, card: ModelCard | None
) -> None:
    labels = np.zeros((40, 50), np.int32)
    labels[:10], labels[10:20] = 2, 3
    made = correct_prediction(viewer, predicted(viewer, labels, CELLS), card=card)
    assert meaning_of(made) == ("mask", "classes")
    assert (made.data[0, 0], made.data[15, 0], made.data[30, 0]) == (1, 2, 0)
    assert list(made.features["class"]) == ["background", "alive", "dead"]


def test_nothing_to_correct(viewer: ViewerModel) -> None:
    with pytest.raises(InputError, match="press Segment"):
        correct_prediction(viewer, None)
    with pytest.raises(InputError, match="not a Labels layer"):
        correct_prediction(viewer, viewer.add_image(np.zeros((9, 9))))


@pytest.mark.parametrize("shape", [(700, 900), (3, 40, 50), (40, 3, 50)])
def test_originals_are_exact_and_small(shape: tuple[int, ...]) -> None:
    sides = (0, 2) if shape == (40, 3, 50) else (len(shape) - 2, len(shape) - 1)
    labels = np.kron(
        np.random.default_rng(0).integers(0, 9, [n // 10 + 1 for n in shape]),
        np.ones([10] * len(shape), int),
    )[tuple(slice(0, n) for n in shape)].astype(np.int32)
    original = Original(labels, sides)
    halfway = original.pack()
    next(halfway)  # comparing works at any time
    for _ in range(2):
        planes = np.moveaxis(labels, sides, (-2, -1))
        for index in np.ndindex(planes.shape[:-2]):
            for part in blocks_of(planes[index].shape):
                assert original.edited(planes[index], index, *part) is None
                changed = planes[index].copy()
                changed[part[0].stop - 1, part[1].start] += 1
                found = original.edited(changed, index, *part)
                assert found is not None
                assert found.sum() == 1
        for _ in halfway:
            pass
    blocks = original.packed()
    assert blocks is not None
    assert sum(len(packed) for _, packed in blocks.values()) < labels.nbytes / 4
    assert copy.deepcopy({"kept": original})["kept"] is original


def test_large_originals_are_compressed_beside_the_window(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    monkeypatch.setattr(annotation_originals, "AT_ONCE", 0)
    made = correct_prediction(viewer, predicted(viewer, np.zeros((40, 50), np.int32)))
    made.data[1, 1] = 5
    original = original_of(made)
    assert original is not None
    assert original.edited(made.data, (), slice(0, 40), slice(0, 50)) is not None
    qtbot.waitUntil(lambda: original.packed() is not None, timeout=10_000)
    assert original.edited(made.data, (), slice(0, 40), slice(0, 50)) is not None


# --- meanings ---------------------------------------------------------------------------------


def test_each_value_is_told() -> None:
    assert describe("strokes", "classes", NUCLEI) == "0 not painted · 1 background · 2 nucleus"
    assert describe("mask", "classes", CELLS) == "0 background · 1 alive · 2 dead"
    assert describe("strokes", "instances", NUCLEI) == (
        "0 not painted · 1 background · 2… nucleus, each number an object of its own"
    )
    assert describe("mask", "instances", NUCLEI).startswith("0 background · 1… nucleus")


def test_switching_the_meaning_changes_no_pixel(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((40, 50)))
    made = new_annotation(viewer, layer, read_image(layer), NUCLEI)
    made.data[2, 2:9] = 2
    before = made.data.copy()
    set_meaning(made, "mask", "classes", NUCLEI)
    assert describe(*meaning_of(made), NUCLEI) == "0 background · 1 nucleus"
    assert_array_equal(made.data, before)
    assert meaning_of(made) == ("mask", "classes")
    assert_allclose(labels_of(made, 1)[:3], (0xE6 / 255, 0x9F / 255, 0), atol=0.01)
    assert guess(made, NUCLEI).meaning == "mask"


def painting(kind: str) -> np.ndarray:
    data = np.zeros((200, 200), np.int32)
    if kind == "strokes":
        data[10:13, 10:60], data[50:53, 10:60] = 1, 2
    elif kind == "instances":
        for i in range(9):
            data[20 * i + 3 : 20 * i + 15, 20:180] = i + 1
    elif kind == "few":
        data[10:20, 10:60], data[50:180, 10:160] = 1, 1
    elif kind == "binary":
        data[50:180, 10:160] = 255
    return data


@pytest.mark.parametrize(
    ("kind", "meaning", "of"),
    [
        ("strokes", "strokes", "classes"),
        ("instances", "mask", "instances"),
        ("few", "mask", "classes"),
        ("binary", "mask", "classes"),
        ("empty", "strokes", "classes"),
    ],
)
def test_guesses(kind: str, meaning: str, of: str) -> None:
    found = guess(Labels(painting(kind)), NUCLEI)
    assert (found.meaning, found.of) == (meaning, of)
    assert found.why.endswith(".")


def test_a_guess_knows_results_and_stacks(viewer: ViewerModel) -> None:
    prediction = predicted(viewer, painting("few"))
    assert (guess(prediction, NUCLEI).meaning, guess(prediction, NUCLEI).of) == (
        "mask",
        "instances",
    )
    stack = np.zeros((40, 200, 200), np.int32)
    stack[20] = painting("instances")
    assert guess(Labels(stack, axis_labels=("t", "y", "x")), NUCLEI).of == "instances"
    assert guess(Labels([painting("few"), painting("few")[::2, ::2]]), NUCLEI).meaning == "mask"


# --- the picker -------------------------------------------------------------------------------


def test_the_picker_sets_and_follows_the_label(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_image(np.zeros((40, 50)))
    made = new_annotation(viewer, layer, read_image(layer), NUCLEI)
    picker = ClassPicker(viewer)
    qtbot.addWidget(picker)
    picker.set_layer(made, NUCLEI)
    texts = {value: button.text() for value, button in picker.buttons.items()}
    assert texts == {1: "background", 2: "nucleus", ERASER: "erase"}
    assert picker.buttons[2].isChecked()
    picker.buttons[1].click()
    assert (made.selected_label, str(made.mode)) == (1, "paint")
    picker.buttons[ERASER].click()
    assert str(made.mode) == "erase"
    made.mode = "paint"
    made.selected_label = 2
    assert picker.buttons[2].isChecked()
    viewer.layers.selection.active = layer
    picker.buttons[1].click()
    assert viewer.layers.selection.active == made
    viewer.layers.remove(made)
    assert picker.buttons == {}
    picker.pick(1)  # nothing to paint in


def test_the_class_picked_has_a_frame(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_image(np.zeros((40, 50)))
    picker = ClassPicker(viewer)
    qtbot.addWidget(picker)
    keep_style(picker)  # as the window around it does
    text = QColor(get_theme(get_settings().appearance.theme).text.as_hex())
    picker.set_layer(new_annotation(viewer, layer, read_image(layer), NUCLEI), NUCLEI)
    for picked in (1, 2):
        picker.pick(picked)
        for value in (1, 2):
            button = picker.buttons[value]
            edge = button.grab().toImage().pixelColor(1, button.height() // 2)
            assert (edge == text) is (value == picked)


def test_the_picker_offers_new_objects(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_labels(painting("instances"))
    set_meaning(layer, "mask", "instances", NUCLEI)
    picker = ClassPicker(viewer)
    qtbot.addWidget(picker)
    picker.set_layer(layer, NUCLEI)
    picker.buttons[NEW_OBJECT].click()
    assert layer.selected_label == 10
    assert set(picker.buttons) == {NEW_OBJECT, ERASER}
