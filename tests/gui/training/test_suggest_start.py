"""The button "Suggest a start"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import WeightsError
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.engine.training.ranking import Ranked, Suggestion

WAIT = 20_000
FAKE = ModelCard(
    name="fake",
    num_classes=2,
    classes=(ClassInfo("background", "#000000"), ClassInfo("thing", "#ff0000")),
)


@pytest.fixture
def tab(painted: tuple[Any, Any, Any], training: Any) -> Any:
    """Return the widget with strokes on an image, and the models "fake" and "own"."""
    _, widget, _ = painted
    training.kept.append("own")
    widget.controller.models_changed.emit("")
    assert widget.train.start.model == "fake"
    return widget


def over(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs."""
    qtbot.waitUntil(lambda: not widget.trainer.state.busy, timeout=WAIT)


def messages(widget: Any) -> str:
    """Return the text of the message area."""
    return str(widget.train.messages.label.text())


def test_the_best_model_is_chosen_and_the_scores_are_said(
    qtbot: Any, tab: Any, training: Any
) -> None:
    tab.train.settings.device.setCurrentIndex(tab.train.settings.device.findData("cpu"))
    tab.train.start.button.click()
    assert not tab.train.start.button.isEnabled()
    over(qtbot, tab)
    assert tab.train.start.model == "own"
    assert "it tells apart 93 %" in messages(tab)
    assert "“fake” 61 %" in messages(tab)
    assert tab.train.start.button.isEnabled()
    ((pairs, device),) = training.asked
    assert pairs[0].annotation.labels[8, 8] == 2
    assert device == "cpu"
    assert tab.trainer.result is None
    tab.train.train.click()  # and the next job may begin
    over(qtbot, tab)
    assert training.trained[0][1].model == "own"


def test_where_no_model_knows_the_images_the_choice_stays(
    qtbot: Any, tab: Any, training: Any
) -> None:
    training.suggestion = Suggestion((Ranked("own", 0.55, 0.45, 0.6, 20, 0.5),))
    tab.train.start.button.click()
    over(qtbot, tab)
    assert tab.train.start.model == "fake"
    assert "From scratch may do as well" in messages(tab)


def test_own_classes_stay_as_they_were_painted(qtbot: Any, tab: Any) -> None:
    classes = (ClassInfo("nothing"), ClassInfo("axon"), ClassInfo("myelin"))
    tab.train.start.set_classes(classes)
    tab.train.start.button.click()
    over(qtbot, tab)
    assert tab.train.start.model == "own"
    assert tab.train.start.classes() == classes


def test_the_classes_of_a_model_are_its_own_if_there_are_enough(qtbot: Any, tab: Any) -> None:
    tab.train.start.take("own")
    assert tab.train.start.classes() is None
    assert "thing" in tab.train.start.about.text()


@pytest.mark.parametrize("way", ["suggested", "chosen"])
def test_names_in_which_something_is_painted_stay(
    qtbot: Any, tab: Any, training: Any, backend: Any, way: str
) -> None:
    gland = replace(FAKE, name="glands", classes=(FAKE.classes[0], ClassInfo("gland", "#00ff00")))
    models = backend.models
    backend.models = lambda: [*models(), ModelEntry(gland, "bundled", Path("glands"))]
    tab.controller.models_changed.emit("")
    training.suggestion = Suggestion((Ranked("glands", 0.97, 0.95, 0.99, 20, 0.5),))
    if way == "suggested":
        tab.train.start.button.click()
        over(qtbot, tab)
    else:
        tab.train.start.combo.setCurrentText("glands")
    assert tab.train.start.model == "glands"
    assert [info.name for info in tab.train.start.classes()] == ["background", "thing"]
    picked = [button.text() for button in tab.train.annotate.picker.buttons.values()]
    assert "thing" in picked
    assert "gland" not in picked
    layer = tab.trainer.pairs.pairs[0].painting
    assert list(layer.features["class"]) == ["not painted", "background", "thing"]
    tab.train.train.click()
    over(qtbot, tab)
    plan = training.trained[0][1]
    assert [info.name for info in plan.classes] == ["background", "thing"]
    tab.train.start.define.setChecked(False)  # a person may still have the model's own
    assert tab.train.start.classes() is None


def test_names_that_a_person_gave_stay_before_anything_is_painted(
    qtbot: Any, open_tab: Any, things: Any, training: Any
) -> None:
    viewer, widget = open_tab()
    viewer.add_image(things, name="cells")
    start = widget.train.start
    start.choose(None)
    assert start.classes()[1].name == "object"
    start.choose("fake")
    assert start.classes() is None  # nobody named an “object”
    named = (ClassInfo("background"), ClassInfo("neuron"))
    start.set_classes(named)
    start.choose("far")
    assert start.classes() == named


@pytest.mark.parametrize(
    ("names", "image", "wanted"),
    [
        (("axon", "myelin"), "sem_1", "axon-myelin-sem_1"),
        (("object",), "cells", "cells"),  # tells nothing
        (("Class 1", "class 2"), "cells", "cells"),
        (("gland",), "<b>a</b> & b", "gland-b-a-b-b"),
        (("far",), "", "far-2"),  # that one is there
    ],
)
def test_the_proposed_name_tells_what_a_model_is_of(
    qtbot: Any, tab: Any, names: tuple[str, ...], image: str, wanted: str
) -> None:
    tab.train.start.set_classes((ClassInfo("background"), *map(ClassInfo, names)))
    assert tab.train.start.new_name(image) == wanted


def test_a_licence_that_forbids_is_said(qtbot: Any, tab: Any, training: Any) -> None:
    ranked = Ranked("own", 0.93, 0.9, 0.95, 20, 0.5, licence="CC BY-NC 4.0")
    training.suggestion = Suggestion((ranked,))
    tab.train.start.button.click()
    over(qtbot, tab)
    assert "The licence of “own”, CC BY-NC 4.0, forbids some uses." in messages(tab)
    assert tab.train.start.as_is.isHidden()  # 93 % is not enough


def test_what_is_good_enough_is_taken_as_it_is_by_one_click(
    qtbot: Any, tab: Any, training: Any
) -> None:
    training.suggestion = Suggestion((Ranked("own", 0.994, 0.98, 1.0, 20, 0.5),))
    tab.train.start.button.click()
    over(qtbot, tab)
    assert "you can use it as it is" in messages(tab)
    assert not tab.train.start.as_is.isHidden()
    tab.train.start.as_is.click()
    assert tab.tabs.currentWidget() is tab.segment
    assert tab.segment.model.name == "own"
    assert tab.segment.image.layer == tab.train.image.layer
    tab.train.start.choose("fake")
    assert tab.train.start.as_is.isHidden()  # it was said of the other


def test_it_can_be_stopped(qtbot: Any, tab: Any, training: Any) -> None:
    training.gate.clear()
    tab.train.start.button.click()
    qtbot.waitUntil(lambda: training.running == 1, timeout=WAIT)
    assert "Trying the models" in tab.train.progress.text()
    assert not tab.train.pause.isEnabled()
    tab.train.stop.click()
    training.gate.set()
    over(qtbot, tab)
    assert training.running == 0
    assert tab.train.start.model == "fake"
    assert not training.discarded
    assert "Problem" not in messages(tab)


def test_nothing_painted_is_said(qtbot: Any, open_tab: Any, things: Any, training: Any) -> None:
    viewer, widget = open_tab()
    viewer.add_image(things, name="cells")
    widget.train.start.button.click()
    assert "There is no painting to learn from" in messages(widget)
    widget.train.annotate.new.click()  # a layer in which nothing is painted
    widget.train.start.button.click()
    over(qtbot, widget)
    assert "nothing is painted" in messages(widget).lower()
    assert not training.asked


def test_it_waits_for_a_segmentation(qtbot: Any, tab: Any, backend: Any, training: Any) -> None:
    backend.gate.clear()
    tab.segment.segment.click()
    qtbot.waitUntil(lambda: backend.running == 1, timeout=WAIT)
    tab.train.start.button.click()
    assert "being segmented" in messages(tab)
    backend.gate.set()
    qtbot.waitUntil(lambda: not tab.controller.state.busy, timeout=WAIT)
    assert not training.asked


def test_what_goes_wrong_is_said(qtbot: Any, tab: Any, training: Any) -> None:
    training.error = WeightsError("The model file is damaged.")
    tab.train.start.button.click()
    over(qtbot, tab)
    assert "The model file is damaged." in messages(tab)
    assert tab.train.start.model == "fake"
