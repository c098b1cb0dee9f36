"""The loop in the window: paint, train, see it, keep it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.cards import Member

WAIT = 20_000


def over(qtbot: Any, widget: Any) -> None:
    """Wait until no job runs."""
    qtbot.waitUntil(lambda: not widget.trainer.state.busy, timeout=WAIT)


def stepping(qtbot: Any, widget: Any) -> None:
    """Wait until a training makes steps."""
    qtbot.waitUntil(lambda: widget.trainer.state.done > 0, timeout=WAIT)


def messages(widget: Any) -> str:
    """Return the text of the message area."""
    return str(widget.train.messages.label.text())


def test_paint_train_and_keep(qtbot: Any, painted: Any, training: Any) -> None:
    viewer, widget, layer = painted
    assert viewer.layers.selection.active == layer
    assert layer.mode == "paint"
    widget.train.train.click()
    over(qtbot, widget)
    pairs, plan = training.trained[0]
    assert (plan.model, plan.name, plan.classes) == ("fake", "cells", None)
    assert pairs[0].annotation.labels[8, 8] == 2
    assert pairs[0].annotation.meaning == "strokes"
    result = widget.train.result
    assert "better" in result.verdict.text()
    assert "0.610" in result.values[0].text()
    assert "0.780" in result.values[1].text()
    assert "3412 held-out pixels" in result.text.text()
    assert result.name.text() == "cells"
    result.name.setText("my cells")
    result.new_button.click()
    over(qtbot, widget)
    assert training.kept == ["my cells"]
    assert widget.train.start.model == "my cells"
    assert widget.segment.model.entry.card.name == "my cells"
    assert result.buttons.isHidden()
    assert training.discarded  # its state is of no more use


def test_a_worse_model_is_not_kept_unless_one_says_so(
    qtbot: Any, painted: Any, training: Any
) -> None:
    _, widget, _ = painted
    training.verdict = "worse"
    widget.train.train.click()
    over(qtbot, widget)
    result = widget.train.result
    assert "worse" in result.verdict.text()
    assert result.start_button.isDefault()
    result.start_button.click()
    assert not training.kept
    assert widget.train.start.model == "fake"


@pytest.mark.parametrize("how", ["done", "stop"])
def test_curves_steps_and_preview(qtbot: Any, painted: Any, training: Any, how: str) -> None:
    viewer, widget, layer = painted
    training.pace = 0.03
    if how == "stop":
        training.steps = 10_000
    widget.train.train.click()
    qtbot.waitUntil(lambda: "cells training preview" in viewer.layers, timeout=WAIT)
    assert "step" in widget.train.progress.text()
    assert viewer.layers.selection.active == layer  # painting goes on
    if how == "stop":
        widget.train.stop.click()
        assert not widget.train.stop.isEnabled()
    over(qtbot, widget)
    assert training.step < 10_000
    history = widget.trainer.history
    assert history.curve("training loss")
    assert len(history.curve("validation Dice")) >= 2
    assert widget.trainer.result is not None


def test_pause_and_go_on(qtbot: Any, painted: Any, training: Any) -> None:
    _, widget, _ = painted
    training.steps, training.pace = 10_000, 0.01
    widget.train.train.click()
    stepping(qtbot, widget)
    widget.train.pause.click()
    assert "Paused" in widget.train.progress.text()
    qtbot.wait(100)
    resting = training.step
    qtbot.wait(200)
    assert training.step == resting
    widget.train.pause.click()
    qtbot.waitUntil(lambda: training.step > resting, timeout=WAIT)
    widget.train.pause.click()
    widget.train.stop.click()  # stopping while it rests
    over(qtbot, widget)
    assert widget.trainer.result is not None


def test_a_full_disk_at_the_end_loses_nothing(
    qtbot: Any, painted: Any, training: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    _, widget, _ = painted
    widget.train.train.click()
    over(qtbot, widget)
    training.save_error = OSError(28, "No space left on device")
    result = widget.train.result
    assert result.elsewhere_button.isHidden()
    result.new_button.click()
    over(qtbot, widget)
    assert "free disk space" in messages(widget)
    assert not result.elsewhere_button.isHidden()
    assert not training.discarded
    target = tmp_path / "other.safetensors"
    monkeypatch.setattr(
        "napari_sa2net.gui.training.widget.QFileDialog.getSaveFileName",
        lambda *_: (str(target), ""),
    )
    result.elsewhere_button.click()
    over(qtbot, widget)
    assert training.saved == [target]
    assert widget.trainer.result.decision == "new"


def test_what_cannot_be_trained_on_is_said_and_nothing_runs(
    qtbot: Any, open_tab: Any, training: Any, things: Any
) -> None:
    viewer, widget = open_tab()
    widget.train.train.click()
    assert "no painting to learn from" in messages(widget)
    widget.train.annotate.new.click()
    assert "Open an image first" in messages(widget)
    viewer.add_image(things, name="cells")
    widget.train.annotate.correct.click()
    assert "press Segment first" in messages(widget)
    widget.train.annotate.new.click()
    widget.train.train.click()  # nothing is painted
    over(qtbot, widget)
    assert not training.trained
    assert "painted" in messages(widget)


def test_a_layer_deleted_during_training_ends_nothing(
    qtbot: Any, painted: Any, training: Any
) -> None:
    viewer, widget, layer = painted
    training.steps, training.pace = 10_000, 0.01
    widget.train.train.click()
    stepping(qtbot, widget)
    viewer.layers.remove(layer)
    viewer.layers.remove("cells")
    assert "was removed. The training goes on" in messages(widget)
    before = training.step
    qtbot.waitUntil(lambda: training.step > before + 20, timeout=WAIT)
    widget.train.stop.click()
    over(qtbot, widget)
    assert widget.trainer.result is not None


def test_one_heavy_job_at_a_time(qtbot: Any, painted: Any, training: Any, backend: Any) -> None:
    _, widget, _ = painted
    training.gate.clear()
    widget.train.train.click()
    qtbot.waitUntil(lambda: training.running == 1, timeout=WAIT)
    widget.segment.segment.click()
    assert "is being fine-tuned" in widget.segment.messages.label.text()
    assert not backend.requests
    widget.segment.preview.click()  # a preview may run beside it
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=WAIT)
    assert len(backend.requests) == 1
    widget.train.stop.click()
    training.gate.set()
    over(qtbot, widget)
    backend.gate.clear()
    widget.segment.segment.click()
    widget.train.train.click()
    assert "is being segmented" in messages(widget)
    backend.gate.set()
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=WAIT)


def test_the_training_outlives_the_dock(
    qtbot: Any, painted: Any, open_tab: Any, training: Any
) -> None:
    viewer, widget, _ = painted
    training.steps, training.pace = 10_000, 0.01
    widget.train.train.click()
    stepping(qtbot, widget)
    viewer.window.remove_dock_widget(widget)
    _, again = open_tab(viewer)
    assert again.trainer is widget.trainer
    assert again.train.stop.isEnabled()
    assert again.trainer.history.curve("training loss")
    assert len(again.train.pairs.rows) == 1
    again.train.stop.click()
    over(qtbot, again)
    assert not again.train.result.box.isHidden()


def test_closing_the_viewer_stops_within_a_step(qtbot: Any, painted: Any, training: Any) -> None:
    viewer, widget, _ = painted
    trainer = widget.trainer
    widget.show()
    trainer.watch_window_of(widget)
    training.steps, training.pace = 10_000, 0.01
    widget.train.train.click()
    stepping(qtbot, widget)
    widget.train.pause.click()  # even while it rests
    task = trainer._task
    viewer.close()
    qtbot.waitUntil(lambda: task.cancelling, timeout=WAIT)
    assert task.wait(10)
    assert training.running == 0
    assert not training.discarded  # its state is for another time


def test_a_training_left_over_is_offered(
    qtbot: Any, open_tab: Any, training: Any, left_over: Any, monkeypatch: Any
) -> None:
    _, widget = open_tab()
    offers = widget.train.trainings
    assert len(offers.buttons) == 2
    monkeypatch.setattr(type(widget.train), "ask", lambda *_: True)
    offers.buttons[1][1].click()
    assert training.discarded == [left_over[1].path]
    assert len(offers.buttons) == 1
    offers.buttons[0][0].click()
    over(qtbot, widget)
    assert training.resumed == [left_over[0].path]
    assert widget.train.result.name.text() == left_over[0].name
    assert offers.isHidden()  # it is shown below, to be decided on


def test_one_object_size_in_both_tabs(open_tab: Any) -> None:
    viewer, widget = open_tab()
    widget.segment.scale.spin.setValue(31)
    assert widget.train.scale.diameter() == 31
    widget.train.scale.spin.setValue(17)
    assert widget.segment.scale.diameter() == 17
    viewer.window.remove_dock_widget(widget)
    _, again = open_tab(viewer)
    assert again.segment.scale.diameter() == again.train.scale.diameter() == 17


def test_the_pixel_size_that_is_given_is_that_of_the_paintings(
    qtbot: Any, painted: Any, training: Any, backend: Any
) -> None:
    _, widget, _ = painted
    entry = training.entry("sem")
    there = [*backend.models(), replace(entry, card=replace(entry.card, pixel_size=0.2))]
    backend.models = lambda: there
    widget.controller.models_changed.emit("")
    tab = widget.train
    tab.start.choose("sem")
    assert tab.scale.label.text() == "Pixel size"
    tab.scale.spin.setValue(0.1)
    assert tab.controller.preview._shown.image.pixel_size == pytest.approx(0.1)
    assert tab.controller.preview._shown.zoom == pytest.approx(0.5)
    tab.train.click()
    over(qtbot, widget)
    assert training.trained[-1][0][0].pixel_size == (0.1, 0.1)
    tab.start.button.click()
    over(qtbot, widget)
    assert training.asked[-1][0][0].pixel_size == (0.1, 0.1)
    tab.start.choose("sem")
    tab.where.button.click()
    over(qtbot, widget)
    assert backend.requests[-1].options["pixel_size"] == pytest.approx((0.1, 0.1))


def test_other_classes_and_from_scratch(qtbot: Any, painted: Any, training: Any) -> None:
    _, widget, _ = painted
    start = widget.train.start
    start.define.setChecked(True)
    start.add.click()
    start.rows[1].name.setText("cell")
    start.rows[2].name.setText("cell")
    widget.train.train.click()
    assert "same name" in messages(widget)
    start.rows[2].name.setText("debris")
    start.rows[2].set_color("#123456")
    assert "debris" in widget.train.pairs.rows[0].values.text()
    widget.train.train.click()
    over(qtbot, widget)
    names = [info.name for info in training.trained[-1][1].classes]
    assert names == ["background", "cell", "debris"]
    start.combo.setCurrentIndex(start.combo.count() - 1)
    widget.train.train.click()
    over(qtbot, widget)
    plan = training.trained[-1][1]
    assert plan.model is None
    assert [info.name for info in plan.classes] == names  # what a person named stays
    start.define.setChecked(False)
    widget.train.train.click()
    over(qtbot, widget)
    plan = training.trained[-1][1]
    assert [info.name for info in plan.classes] == ["background", "object", "boundary"]


def test_an_ensemble_is_no_start(painted: Any, training: Any, backend: Any) -> None:
    _, widget, _ = painted
    entry = training.entry("folds")
    members = (Member("fold-a"), Member("fold-b"))
    there = [*backend.models(), replace(entry, card=replace(entry.card, members=members))]
    backend.models = lambda: there
    widget.controller.models_changed.emit("folds")
    assert widget.segment.model.entry.card.name == "folds"
    start = widget.train.start
    assert start.model == "fake"  # it does not follow there
    start.choose("folds")
    told = "start from one of its members (fold-a, fold-b)"
    assert told in start.about.text()
    widget.train.train.click()
    assert told in messages(widget)
    assert not training.trained


def test_the_meaning_of_a_painting_is_guessed_and_can_be_changed(
    qtbot: Any, open_tab: Any, training: Any, things: Any
) -> None:
    viewer, widget = open_tab()
    viewer.add_image(things, name="cells")
    viewer.add_labels((things > 100).astype(np.uint8), name="mask")
    widget.train.pairs.add.click()
    row = widget.train.pairs.rows[0]
    assert row.meaning.currentData() == "mask"
    assert "guess" in row.values.text()
    row.of.setCurrentIndex(row.of.findData("instances"))
    row.of.activated.emit(row.of.currentIndex())
    assert "guess" not in row.values.text()
    shapes = viewer.add_shapes([np.array([[0, 0], [0, 20], [20, 20], [20, 0]])], name="here")
    row.region.setCurrentIndex(1)
    row.region.activated.emit(1)
    widget.train.train.click()
    over(qtbot, widget)
    annotation = training.trained[0][0][0].annotation
    assert (annotation.meaning, annotation.of) == ("mask", "instances")
    assert annotation.weights[40, 40] == 0
    assert annotation.weights[10, 10] == 1
    viewer.layers.remove(shapes)
    assert "now counts everywhere" in messages(widget)


def test_a_model_elsewhere_shows_its_licence_and_is_fetched_only_if_one_says_so(
    painted: Any, training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, widget, _ = painted
    asked: list[Any] = []
    questions: list[str] = []
    monkeypatch.setattr(widget.train.where, "ask", lambda *of: asked.append(of[0].card.name))
    monkeypatch.setattr(widget.train, "ask", questions.append)  # None: no
    assert "On images it has not seen: Dice 0.91" in widget.train.start.about.text()
    widget.train.start.choose("far")
    assert "<b>Licence: For research only" in widget.train.start.about.text()
    widget.train.where.button.click()
    widget.train.train.click()
    endings = ["then show the next place?", "then train?"]
    assert [q.endswith(end) for q, end in zip(questions, endings, strict=True)] == [True, True]
    assert all("80.0 MB" in q and "For research only" in q for q in questions)
    assert not asked
    assert not training.trained
    monkeypatch.setattr(widget.train, "ask", lambda question: True)
    widget.train.where.button.click()
    assert asked == ["far"]
