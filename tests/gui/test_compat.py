"""What differs between versions of Qt."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtWidgets import QFormLayout, QLineEdit, QWidget

from napari_sa2net.gui.compat import set_row_visible


class _Before64:
    """A form of a Qt that cannot hide rows."""

    def __init__(self, form: QFormLayout) -> None:
        self.labelForField = form.labelForField


@pytest.mark.parametrize("old", [False, True])
def test_a_row_is_hidden_and_shown(qtbot: Any, old: bool) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    form, named, alone = QFormLayout(window), QLineEdit(), QLineEdit()
    form.addRow("Name", named)
    form.addRow(alone)
    label = form.labelForField(named)
    for visible in (False, True):
        for field in (named, alone):
            set_row_visible(_Before64(form) if old else form, field, visible)
        shown = [widget.isVisibleTo(window) for widget in (named, label, alone)]
        assert shown == [visible] * 3
