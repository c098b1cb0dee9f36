"""The list of paintings: what is shown of one is what is learned from, also after a restart."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.gui.annotating.layers import guess, guessed, meaning_of, set_meaning
from napari_sa2net.gui.annotating.layers import new_annotation as new
from napari_sa2net.gui.annotating.pairs import Pair, PairList
from napari_sa2net.gui.layers import read_image

NAMES = ("background", "live", "dead")
TWO = ModelCard(
    name="two",
    num_classes=2,
    classes=tuple(ClassInfo(name, "#00ff00") for name in NAMES[:2]),
    diameter=20.0,
    pixel_size=0.5,
)
THREE = replace(
    TWO, name="three", num_classes=3, classes=tuple(ClassInfo(name, "#00ff00") for name in NAMES)
)
BY_PIXELS = replace(TWO, name="pixels", diameter=None)


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def pairs(viewer: ViewerModel) -> PairList:
    made = PairList(viewer)
    made.set_card(TWO)
    return made


@pytest.fixture
def told(pairs: PairList) -> list[str]:
    texts: list[str] = []
    pairs.told.connect(texts.append)
    return texts


def learned(viewer: ViewerModel, pairs: PairList) -> list[Any]:
    """Return what a training gets."""
    steps = pairs.read(viewer)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def paint(layer: Any) -> None:
    layer.data[..., 3:9, 3:60] = 1
    layer.data[..., 50:60, 3:60] = 2


def painted(viewer: ViewerModel, pairs: PairList, *names: str, **options: Any) -> Pair:
    """Open images, paint over the first of them, and list that."""
    shape = options.pop("shape", (64, 64))
    layers = [viewer.add_image(np.zeros(shape), name=name, **options) for name in names]
    image = read_image(layers)
    layer = new(viewer, layers[0], image, TWO)
    paint(layer)
    return pairs.add(layer, image, layers)


def reopened(viewer: ViewerModel, pair: Pair) -> Any:
    """Delete a painting and restore it: another layer with what was kept of it."""
    note = copy.deepcopy(pair.painting.metadata)
    layer = Labels(pair.painting.data, name=pair.painting.name, metadata=note)
    viewer.layers.remove(pair.painting)
    viewer.layers.append(layer)
    return layer


# --- what a painting means ----------------------------------------------------------------------


def foreign(viewer: ViewerModel, pairs: PairList, *values: int) -> Labels:
    """List a Labels layer made elsewhere, with large areas of some values."""
    image = viewer.add_image(np.zeros((64, 64)), name="cells")
    layer = viewer.add_labels(np.zeros((64, 64), np.uint8), name="mine")
    for place, value in enumerate(values):
        layer.data[15 * place : 15 * place + 12] = value
    pairs.add(layer, read_image(image), [image])
    return layer


@pytest.mark.parametrize(
    ("card", "values", "meaning"),
    [
        (THREE, (1, 2), ("mask", "classes")),
        (THREE, (1, 2, 3), ("strokes", "classes")),
        (TWO, (1, 2), ("strokes", "classes")),
        (TWO, (1, 2, 3), ("mask", "instances")),
    ],
)
def test_the_classes_of_the_model_count_for_a_guess_and_it_is_what_is_learned(
    viewer: ViewerModel,
    pairs: PairList,
    card: ModelCard,
    values: tuple[int, ...],
    meaning: tuple[str, str],
) -> None:
    pairs.set_card(card)
    layer = foreign(viewer, pairs, *values)
    shown = guess(layer, card)
    assert (shown.meaning, shown.of) == meaning
    annotation = learned(viewer, pairs)[0].annotation
    assert (annotation.meaning, annotation.of) == meaning


def test_a_layer_that_was_added_empty_is_for_strokes_and_stays_so(
    viewer: ViewerModel, pairs: PairList
) -> None:
    pairs.set_card(THREE)
    layer = foreign(viewer, pairs)
    layer.data[10:50, :20], layer.data[10:50, 30:50] = 1, 2  # dense as a mask, but painted
    assert guess(layer, THREE).meaning == "strokes"
    assert learned(viewer, pairs)[0].annotation.meaning == "strokes"
    pairs.set_card(TWO)
    assert guess(layer, TWO).meaning == "strokes"


def test_other_classes_make_another_guess_but_only_of_what_nobody_said(
    viewer: ViewerModel, pairs: PairList, told: list[str]
) -> None:
    layer = foreign(viewer, pairs, 1, 2, 3)
    assert meaning_of(layer) == ("mask", "instances")
    pairs.set_card(replace(TWO, name="other"))
    assert not told
    pairs.set_card(THREE)
    assert meaning_of(layer) == ("strokes", "classes")
    assert "“mine” is taken for something else: strokes of classes" in told[0]
    set_meaning(layer, "mask", "instances")
    assert not guessed(layer)
    pairs.set_card(TWO)
    pairs.set_card(THREE)
    assert meaning_of(layer) == ("mask", "instances")


def test_a_table_that_a_layer_came_with_stays(viewer: ViewerModel, pairs: PairList) -> None:
    image = viewer.add_image(np.zeros((64, 64)))
    data = np.zeros((64, 64), np.uint8)
    data[:40] = 255
    features = {"index": [255], "area": [2560.0]}
    layer = viewer.add_labels(data, features=features)
    pairs.add(layer, read_image(image), [image])
    assert list(layer.features["area"]) == [2560.0]
    assert tuple(layer.get_color(255)[:3]) == (0, 1, 0)  # that of class 1, as it will be read


# --- what it was painted on ---------------------------------------------------------------------


def test_channels_axes_and_sizes_come_back(viewer: ViewerModel, pairs: PairList) -> None:
    layer = viewer.add_image(np.zeros((3, 64, 64)), name="cells")
    image = read_image(layer).with_axes("CYX")
    painting = new(viewer, layer, image, TWO)
    paint(painting)
    pair = pairs.add(painting, image, [layer], (2,))
    pairs.change([pair], channels=(2, 0), diameter=12.0, pixel_size=0.3)
    again = pairs.adopt(reopened(viewer, pair))
    assert again is not None
    assert (again.axes, again.channels) == ("CYX", (2, 0))
    assert (again.diameter, again.pixel_size) == (12.0, 0.3)
    assert learned(viewer, pairs)[0].channels == (2, 0)


def test_all_layers_of_a_split_image_come_back(
    viewer: ViewerModel, pairs: PairList, told: list[str]
) -> None:
    pair = painted(viewer, pairs, "red", "green", "blue")
    pairs.change([pair], channels=(0, 2))
    sources = pair.sources
    again = pairs.adopt(reopened(viewer, pair))
    assert again is not None
    assert again.sources == sources
    assert not told
    # In another napari the layers have other ids, and the files the same names.
    layer = reopened(viewer, again)
    for name in ("red", "green", "blue"):
        viewer.layers.remove(name)
    others = [viewer.add_image(np.zeros((64, 64)), name=n) for n in ("blue", "green", "red")]
    again = pairs.adopt(layer)
    assert again is not None
    assert again.sources == others[::-1]
    assert again.channels == (0, 2)


def test_missing_layers_of_a_split_image_are_told(
    viewer: ViewerModel, pairs: PairList, told: list[str]
) -> None:
    pair = painted(viewer, pairs, "red", "green", "blue")
    pairs.change([pair], channels=(0, 2))
    layer = reopened(viewer, pair)
    viewer.layers.remove("green")
    again = pairs.adopt(layer)
    assert again is not None
    assert [source.name for source in again.sources] == ["red", "blue"]
    assert again.channels == (0, 1)
    assert "of which “green” cannot be found" in told[0]
    layer = reopened(viewer, again)
    viewer.layers.remove("blue")
    again = pairs.adopt(layer)
    assert again is not None
    assert ([x.name for x in again.sources], again.axes, again.channels) == (["red"], "YX", None)
    assert "only “red” is used for training" in told[-1]
    assert learned(viewer, pairs)[0].axes == "YX"


def test_axes_that_do_not_fit_any_more_are_told(
    viewer: ViewerModel, pairs: PairList, told: list[str]
) -> None:
    pair = painted(viewer, pairs, "cells", shape=(3, 64, 64))
    layer = reopened(viewer, pair)
    viewer.layers["cells"].data = np.zeros((64, 64))
    again = pairs.adopt(layer)
    assert again is not None
    assert again.axes == "YX"
    assert "Check the axes" in told[0]


def test_what_was_taken_off_the_list_stays_off_unless_restored(
    viewer: ViewerModel, pairs: PairList
) -> None:
    kept, off = painted(viewer, pairs, "a"), painted(viewer, pairs, "b")
    pairs.remove(off)
    other = PairList(viewer)
    other.adopt_all()
    assert [pair.painting for pair in other.pairs] == [kept.painting]
    assert other.adopt(off.painting) is not None


# --- how large things are -----------------------------------------------------------------------


def test_each_image_keeps_its_own_size(
    viewer: ViewerModel, pairs: PairList, told: list[str]
) -> None:
    pairs.set_card(BY_PIXELS)
    plain = painted(viewer, pairs, "plain")
    painted(viewer, pairs, "own", scale=(0.1, 0.1), units=("um", "um"))
    pairs.change([plain], pixel_size=0.5)
    assert [pair.pixel_size for pair in learned(viewer, pairs)] == [(0.5, 0.5), (0.1, 0.1)]
    pairs.set_card(TWO)
    pairs.change([plain], diameter=40.0)
    found = [(pair.diameter, pair.pixel_size) for pair in learned(viewer, pairs)]
    assert found == [(40.0, None), (None, (0.1, 0.1))]
    assert not told


@pytest.mark.parametrize(
    ("card", "size", "text"),
    [
        (TWO, {"diameter": 40.0}, "objects of 40 px, as “plain” has"),
        (BY_PIXELS, {"pixel_size": 0.5}, "pixels of 0.5 µm, as “plain” has"),
    ],
)
def test_an_image_without_any_size_takes_that_of_another_and_it_is_told(
    viewer: ViewerModel,
    pairs: PairList,
    told: list[str],
    card: ModelCard,
    size: dict[str, float],
    text: str,
) -> None:
    pairs.set_card(card)
    painted(viewer, pairs, "bare")
    plain = painted(viewer, pairs, "plain")
    learned(viewer, pairs)
    assert not told
    pairs.change([plain], **size)
    first, second = learned(viewer, pairs)
    assert (first.diameter, first.pixel_size) == (second.diameter, second.pixel_size)
    assert len(told) == 1
    assert "No size was given for “bare”" in told[0]
    assert text in told[0]
