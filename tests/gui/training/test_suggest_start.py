"""The button "Suggest a start"."""

from __future__ import annotations

from typing import Any

import pytest

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import WeightsError
from napari_sa2net.engine.training.ranking import Ranked, Suggestion

WAIT = 20_000


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
