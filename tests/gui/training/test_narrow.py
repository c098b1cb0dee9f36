"""Both tabs in a narrow dock: long names, and the curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_sa2net.gui.jobs.state import History
from napari_sa2net.gui.training.plots import HEIGHT, LearningPlot

from .conftest import Saved

NAME = "2026-01-12_plateA_well03_site2_DAPI_confocal_maxproj_denoised.ome.tif"


def widths(qtbot: Any, widget: Any) -> list[int]:
    """Return the least widths of both pages and of their messages."""
    qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=20_000)
    found = []
    for tab, page in (
        (widget.segment, widget.segment.page),
        (widget.train, widget.train.scroll.widget()),
    ):
        widget.tabs.setCurrentWidget(tab)
        qtbot.wait(100)  # what is laid out is laid out again
        found += [part.minimumSizeHint().width() for part in (page, tab.messages.label)]
    return found


def work(qtbot: Any, viewer: Any, widget: Any, image: Any, name: str) -> list[int]:
    """Segment an image of this name and correct the labels; return the widths then."""
    viewer.add_image(image, name=name)
    widget.segment.segment.click()
    found = widths(qtbot, widget)
    widget.train.annotate.correct.click()
    widget.train.annotate.new.click()
    for controller in (widget.controller, widget.trainer):
        controller.note(f"The file {name} cannot be read.", "error")
    return [max(pair) for pair in zip(found, widths(qtbot, widget), strict=True)]


def test_a_long_name_needs_no_wider_dock(
    qtbot: Any,
    open_tab: Any,
    make_napari_viewer_proxy: Callable[..., Any],
    things: Any,
    training: Any,
) -> None:
    training.left = [Saved(Path("one"), "cells")]
    viewer, widget = open_tab(make_napari_viewer_proxy(show=True))
    usual = work(qtbot, viewer, widget, things, "cells")
    assert NAME not in widget.segment.acts_on.text()
    training.left = [Saved(Path("one"), NAME)]
    training.kept = [NAME]
    widget.trainer.offers_changed.emit()
    widget.controller.models_changed.emit("")
    widget.train.start.choose(NAME)
    long = work(qtbot, viewer, widget, things, NAME)
    assert NAME in widget.segment.acts_on.text()
    assert NAME in widget.train.pairs.rows[-1].title.text()
    assert NAME in widget.train.settings.summary.text()
    assert long == usual
    viewer.close()
    qtbot.wait(100)  # what watches for the closing is told of it in the event loop


def test_the_words_at_the_curves_lie_beside_the_numbers(qtbot: Any) -> None:
    plot = LearningPlot()
    qtbot.addWidget(plot)
    plot.resize(320, 300)
    history = History()
    for step in range(1, 60):
        history.point("training loss", step, 1500 / step)
        history.point("training Dice", step, step / 60)
    plot.show()
    plot.show_history(history)
    qtbot.waitExposed(plot)
    loss, dice = (plot._plots[name] for name in ("loss", "Dice"))
    qtbot.waitUntil(lambda: plot._graphics.height() == HEIGHT)
    qtbot.waitUntil(lambda: HEIGHT / 2 < dice.sceneBoundingRect().bottom() <= HEIGHT)
    for side in (loss.getAxis("left"), dice.getAxis("left")):
        word = side.label.sceneBoundingRect()
        numbers = plot.fontMetrics().horizontalAdvance("1000") + side.style["tickTextOffset"][0]
        assert word.right() <= side.sceneBoundingRect().right() - numbers
    step = dice.getAxis("bottom").label.sceneBoundingRect()
    assert step.bottom() <= plot._graphics.viewport().height()
