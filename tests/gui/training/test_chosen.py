"""What the window shows of a painting and of its image is what the training gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.gui.keeping import keeper_of

WAIT = 20_000


def strokes(layer: Any) -> None:
    layer.data[..., 3:9, 3:60] = 1
    layer.data[..., 30:40, 3:60] = 2
    layer.refresh()


@pytest.fixture
def learn(qtbot: Any, training: Any) -> Callable[..., list[Any]]:
    """Return a function that presses Fine-tune and returns what is learned from."""

    def press(widget: Any) -> list[Any]:
        widget.train.train.click()
        qtbot.waitUntil(lambda: not widget.trainer.state.busy, timeout=WAIT)
        pairs: list[Any] = training.trained[-1][0]
        return pairs

    return press


@pytest.fixture
def choose_card(training: Any, backend: Any) -> Callable[..., None]:
    """Return a function that chooses a model with other values in its card."""

    def choose(widget: Any, **values: Any) -> None:
        entry = training.entry("another")
        there = [*backend.models(), replace(entry, card=replace(entry.card, **values))]
        backend.models = lambda: there
        widget.controller.models_changed.emit("")
        widget.train.start.choose("another")

    return choose


def test_a_layer_from_elsewhere_is_learned_as_its_row_says(
    open_tab: Any, things: Any, learn: Any, choose_card: Any
) -> None:
    viewer, widget = open_tab()
    names = ("background", "live", "dead")
    classes = tuple(ClassInfo(name, "#00ff00") for name in names)
    choose_card(widget, classes=classes, num_classes=3)
    viewer.add_image(things, name="cells")
    mine = np.zeros(things.shape, np.uint8)
    for value in (1, 2, 3):
        mine[12 * value : 12 * value + 4] = value
    viewer.add_labels(mine, name="mine")
    widget.train.pairs.add.click()
    row = widget.train.pairs.rows[0]
    assert "A guess: It has the value 3" in row.values.text()
    shown = (row.meaning.currentData(), row.of.currentData())
    annotation = learn(widget)[0].annotation
    assert shown == (annotation.meaning, annotation.of) == ("strokes", "classes")
    # Two classes: three numbers can only be objects.
    widget.train.start.choose("fake")
    row = widget.train.pairs.rows[0]
    assert "A guess: It has numbers up to 3" in row.values.text()
    shown = (row.meaning.currentData(), row.of.currentData())
    annotation = learn(widget)[0].annotation
    assert shown == (annotation.meaning, annotation.of) == ("mask", "instances")
    # What a person says stays, and is no guess any more.
    row.meaning.setCurrentIndex(row.meaning.findData("strokes"))
    row.meaning.activated.emit(row.meaning.currentIndex())
    widget.train.start.choose("another")
    row = widget.train.pairs.rows[0]
    assert (row.meaning.currentData(), row.of.currentData()) == ("strokes", "instances")
    assert "guess" not in row.values.text()


def choose(tab: Any, number: int) -> None:
    """Tick one channel alone, as a person does."""
    for row, box in enumerate(tab.image.channels.boxes):
        box.setChecked(row == number)


def begin_on_channels(viewer: Any, tab: Any) -> None:
    """Add an image of four channels, say that the third is meant, and begin a painting on it."""
    viewer.add_image(np.zeros((4, 64, 64), np.float32), name="cells")
    tab.image.axes.setText("CYX")
    tab.image.axes.textEdited.emit("CYX")
    choose(tab, 2)
    tab.annotate.new.click()


def test_a_restored_painting_has_its_channels(open_tab: Any, learn: Any) -> None:
    viewer, widget = open_tab()
    tab = widget.train
    begin_on_channels(viewer, tab)
    layer = tab.controller.pairs.pairs[0].painting
    strokes(layer)
    keeper = keeper_of(viewer)
    keeper.flush(5)
    viewer.layers.remove(layer)
    keeper.flush(5)
    choose(tab, 1)  # said of the image without the painting
    assert tab.image.channels.value() == (1,)
    tab.kept.refresh()
    tab.kept.restore(tab.kept.offered[0])
    assert (tab.image.axes.text(), tab.image.channels.value()) == ("CYX", (2,))
    assert (learn(widget)[0].axes, learn(widget)[0].channels) == ("CYX", (2,))


def test_looking_at_another_image_changes_nothing(open_tab: Any, learn: Any) -> None:
    viewer, widget = open_tab()
    tab = widget.train
    begin_on_channels(viewer, tab)
    strokes(tab.controller.pairs.pairs[0].painting)
    viewer.add_image(np.zeros((64, 64), np.float32), name="other")
    viewer.layers.selection.active = viewer.layers["other"]
    assert (learn(widget)[0].axes, learn(widget)[0].channels) == ("CYX", (2,))
    viewer.layers.selection.active = viewer.layers["cells"]
    assert (tab.image.axes.text(), tab.image.channels.value()) == ("CYX", (2,))
    assert learn(widget)[0].channels == (2,)
    choose(tab, 1)
    assert learn(widget)[0].channels == (1,)


def test_a_size_is_that_of_the_image_it_was_given_for(
    open_tab: Any, things: Any, learn: Any, choose_card: Any
) -> None:
    viewer, widget = open_tab()
    tab = widget.train
    choose_card(widget, pixel_size=0.2)
    viewer.add_image(things, name="plain")
    tab.scale.spin.setValue(0.5)
    tab.annotate.new.click()
    strokes(viewer.layers["plain annotation"])
    viewer.add_image(things, name="own", scale=(0.1, 0.1), units=("um", "um"))
    viewer.layers.selection.active = viewer.layers["own"]
    tab.annotate.new.click()
    strokes(viewer.layers["own annotation"])
    assert "0.5000 µm given for “plain” are of that image alone" in tab.scale.hint.text()
    assert tab.scale.spin.value() == 0
    assert [pair.pixel_size for pair in learn(widget)] == [(0.5, 0.5), (0.1, 0.1)]
    viewer.layers.selection.active = viewer.layers["plain"]
    assert tab.scale.spin.value() == pytest.approx(0.5)
    viewer.layers.selection.active = viewer.layers["own"]
    assert tab.scale.spin.value() == 0
    tab.scale.spin.setValue(0.3)  # of this image too, if a person says so
    assert [pair.pixel_size for pair in learn(widget)] == [(0.5, 0.5), (0.3, 0.3)]


def test_a_size_given_for_an_image_without_paintings_is_not_lost(painted: Any, things: Any) -> None:
    viewer, widget, _ = painted
    tab = widget.train
    viewer.add_image(things, name="other")
    viewer.layers.selection.active = viewer.layers["other"]
    tab.scale.spin.setValue(30)
    viewer.layers.selection.active = viewer.layers["cells"]
    assert tab.scale.diameter() is None
    viewer.layers.selection.active = viewer.layers["other"]
    assert tab.scale.diameter() == 30
    assert widget.segment.scale.diameter() == 30
