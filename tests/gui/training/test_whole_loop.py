"""The whole loop with the real network, in a real window: paint, fine-tune, compare, keep, use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import disk

from napari_sa2net.gui.compat import camera
from napari_sa2net.gui.main_widget import MainWidget

WAIT = 120_000
SIDE = 256
PAINTED = 128
"""Columns from there on are not painted: the place to go to next."""


def striped() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return an image of striped discs that are no brighter than what is around, and its truth."""
    rng = np.random.default_rng(3)
    truth = np.zeros((SIDE, SIDE), bool)
    for row in range(32, SIDE, 64):
        for column in range(32, SIDE, 64):
            truth[disk((row, column), 20, shape=truth.shape)] = True
    stripes = 60 * np.where(np.arange(SIDE) // 3 % 2, 1, -1)[None, :]
    image = 120 + stripes * truth + rng.normal(0, 8, truth.shape)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def dice(labels: Any, truth: NDArray[np.bool_]) -> float:
    """Return the Dice of a labels layer's foreground."""
    found = np.asarray(labels.data) > 0
    return float(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))


def test_from_a_few_strokes_to_a_better_result(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    image, truth = striped()
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(image, name="cells")
    widget = MainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SA2-Net")
    page, trainer = widget.train, widget.trainer

    def segment() -> float:
        widget.tabs.setCurrentWidget(widget.segment)
        viewer.layers.selection.active = viewer.layers["cells"]
        widget.segment.segment.click()
        qtbot.waitUntil(lambda: not widget.controller.state.busy, timeout=WAIT)
        assert widget.controller.shown is not None, widget.segment.messages.label.text()
        return dice(viewer.layers["cells labels"], truth)

    before = segment()

    widget.tabs.setCurrentWidget(page)
    viewer.layers.selection.active = viewer.layers["cells"]
    page.annotate.new.click()
    painting = viewer.layers["cells annotation"]
    assert viewer.layers.selection.active == painting
    painting.brush_size = 4
    for value, first in ((2, 32), (1, 64)):
        page.annotate.picker.pick(value)
        for row in range(first, SIDE, 64):
            for column in range(first, PAINTED, 64):
                for step in range(-10, 11, 2):
                    painting.paint((row + step, column + step // 2), painting.selected_label)

    page.where.button.click()
    qtbot.waitUntil(lambda: not trainer.state.busy, timeout=WAIT)
    assert camera(viewer).center[-1] > PAINTED, page.messages.label.text()

    page.preview.setChecked(True)
    quick = replace(
        page.settings.value(), budget="steps", steps=60, batch=4, patch=64, validation=0.3, seed=1
    )
    page.settings.set_value(quick)
    page.train.click()
    qtbot.waitUntil(lambda: trainer.state.done > 2, timeout=WAIT)
    page.pause.click()
    assert page.pause.text() == "Res&ume"
    rested = trainer.state.done
    qtbot.wait(500)
    assert trainer.state.done <= rested + 1  # the step at work was finished
    page.pause.click()
    qtbot.waitUntil(lambda: not trainer.state.busy, timeout=WAIT)
    assert trainer.result is not None, page.messages.label.text()
    compared = trainer.result.tuned.comparison
    assert compared.verdict != "worse"
    assert page.result.verdict.text()
    assert trainer.history.curve("training loss")[-1][0] == 60

    page.result.name.setText("striped cells")
    page.result.new_button.click()
    qtbot.waitUntil(lambda: not trainer.state.busy, timeout=WAIT)
    assert page.start.model == "striped-cells"  # as a file may be called
    assert widget.segment.model.entry.card.name == "striped-cells"
    assert not trainer.offers()  # nothing is left of the training's state

    after = segment()
    assert after > before  # 0.97 and 0.92 where this was written
    assert after > 0.9

    viewer.close()
    qtbot.wait(100)  # what watches for the closing is told of it in the event loop
