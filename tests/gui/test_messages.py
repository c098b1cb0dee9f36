"""The message area."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QContextMenuEvent, QGuiApplication
from qtpy.QtWidgets import QMenu, QVBoxLayout, QWidget

from napari_sa2net.gui.jobs.state import Note
from napari_sa2net.gui.messages import MessageArea

PATH = "/home/someone/2026-01-12_plateA_well03_site2_DAPI_confocal_maxproj.ome.tif"


@pytest.fixture
def area(qtbot: Any) -> Iterator[MessageArea]:
    """Return a message area in a narrow window."""
    window = QWidget()
    qtbot.addWidget(window)
    area = MessageArea()
    column = QVBoxLayout(window)
    column.addStretch(1)
    column.addWidget(area)
    window.resize(320, 400)
    window.show()
    qtbot.waitExposed(window)
    yield area
    window.close()


def test_the_last_of_many_messages_is_in_sight(qtbot: Any, area: MessageArea) -> None:
    bar = area.verticalScrollBar()
    notes = []
    for number in range(12):
        notes.append(Note(f"Message {number}, which is long enough for two lines of such a window"))
        area.show_notes(notes)
        height = area.label.heightForWidth(area.viewport().width())
        qtbot.waitUntil(lambda height=height: area.label.height() >= height - 1)
        assert bar.value() == bar.maximum()
    assert bar.maximum() > 0


def test_a_file_name_is_copied_as_it_is(qtbot: Any, area: MessageArea) -> None:
    area.show_notes([Note(f"{PATH} cannot be read.", "error")])
    area.label.setFocus()
    area.label.setSelection(0, len(f"■ Problem: {PATH} cannot be read."))
    qtbot.keyClick(area.label, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    clipboard = QGuiApplication.clipboard()
    assert clipboard.text().startswith(f"■ Problem: {PATH}")
    clipboard.clear()
    place = area.label.rect().center()
    qtbot.mouseMove(area.label, place)
    mouse = QContextMenuEvent.Reason.Mouse
    event = QContextMenuEvent(mouse, place, area.label.mapToGlobal(place))
    QGuiApplication.sendEvent(area.label, event)
    (menu,) = area.label.findChildren(QMenu)
    (copy,) = menu.actions()
    copy.trigger()
    menu.close()
    assert clipboard.text().startswith(f"■ Problem: {PATH}")
