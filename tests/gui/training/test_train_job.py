"""The loop in the window: paint, train, see it, keep it."""

from __future__ import annotations

from typing import Any

import pytest

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
    assert "step" in widget.train.status.text()
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
    assert "Paused" in widget.train.status.text()
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
