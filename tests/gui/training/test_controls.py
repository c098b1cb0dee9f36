"""What a keyboard and a screen reader find: mnemonics and names of every control."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QScrollBar,
    QTabBar,
    QWidget,
)

from napari_sa2net.engine.cards import ClassInfo, Figure, ModelCard
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.engine.training.comparison import Comparison
from napari_sa2net.gui.asking import message_box, text_dialog
from napari_sa2net.gui.forms import BESIDE, Number
from napari_sa2net.gui.jobs.state import JobState
from napari_sa2net.gui.training.job import Finished

SHORTCUTS = Path(__file__).parents[3] / "docs" / "segment.md"


@pytest.fixture
def everything(open_tab: Callable[..., Any], things: Any, left_over: Any) -> tuple[Any, Any]:
    """Return a viewer and the widget, with as many controls as there can be."""
    viewer, widget = open_tab()
    stack = np.stack([things] * 6).reshape(3, 2, 64, 64)
    viewer.add_image(stack, name="stack", axis_labels=("z", "c", "y", "x"))
    viewer.add_image(stack, name="other", axis_labels=("z", "c", "y", "x"))
    viewer.add_shapes(name="part", ndim=4)
    viewer.add_labels(np.zeros((3, 1, 64, 64), np.uint8), name="painted elsewhere")
    viewer.layers.selection.active = viewer.layers["stack"]
    widget.train.annotate.new.click()
    widget.train.start.define.setChecked(True)
    widget.train.settings.advanced.button.setChecked(True)
    return viewer, widget


def windows(widget: Any) -> Iterator[tuple[str, QWidget]]:
    """Return every page and window of the plugin, with its name."""
    yield "segment", widget.segment
    yield "train", widget.train
    yield "folder", widget.segment.folder.open_dialog()
    yield "models", widget.segment.model.manage_button.open_manager()


def letter(text: str) -> str:
    """Return the letter after a single “&”, small."""
    found = re.search(r"&(\w)", text.replace("&&", ""))
    return found[1].lower() if found else ""


def mnemonics(page: QWidget) -> list[tuple[str, QWidget]]:
    """Return the letters of a page, with the control that each belongs to."""
    found = []
    for child in page.findChildren(QWidget):
        shows = isinstance(child, (QAbstractButton, QLabel)) and "<" not in child.text()
        if shows and letter(child.text()):
            control = child if isinstance(child, QAbstractButton) else child.buddy()
            found.append((letter(child.text()), control))
    return found


def taken_by_napari(window: Any) -> set[str]:
    """Return the letters that napari uses with Alt alone: for its menus and its actions."""
    menus = window.menuBar().actions()
    found = {letter(action.text()) for action in menus}
    while menus:
        action = menus.pop()
        if action.menu() is not None:
            action.menu().aboutToShow.emit()
            menus += action.menu().actions()
        for keys in action.shortcuts():
            alone = re.fullmatch(r"Alt\+(\w)", keys.toString())
            found.add(alone[1].lower() if alone else "")
    return found - {""}


def test_no_mnemonic_is_napari_s_or_given_twice(everything: tuple[Any, Any]) -> None:
    _, widget = everything
    taken = taken_by_napari(widget.window())
    assert {"f", "s", "c"} <= taken  # File, Save screenshot, Copy screenshot
    for name, page in windows(widget):
        letters = [each for each, _ in mnemonics(page)]
        assert len(letters) >= 5, name
        assert not taken & set(letters), name
        assert len(set(letters)) == len(letters), (name, letters)


def test_the_docs_list_every_mnemonic(everything: tuple[Any, Any]) -> None:
    _, widget = everything
    rows = re.findall(r"^\| `Alt\+(\w)` \|(.*)\|$", SHORTCUTS.read_text("utf-8"), re.MULTILINE)
    listed = {
        (key.lower(), column)
        for key, row in rows
        for column, cell in enumerate(row.split("|"))
        if cell.strip()
    }
    found = {
        (each, column)
        for column, (_, page) in enumerate(windows(widget))
        for each, _ in mnemonics(page)
    }
    assert found == listed


def test_every_mnemonic_has_a_control_that_takes_the_focus(everything: tuple[Any, Any]) -> None:
    _, widget = everything
    for name, page in windows(widget):
        for each, control in mnemonics(page):
            assert control is not None, (name, each)
            # Qt passes over a label whose field takes none, though a part of it would.
            assert control.focusPolicy() != Qt.FocusPolicy.NoFocus, (name, each)


def name_of(control: QWidget) -> str:
    """Return what a screen reader says of a control; a label beside it is not heard by all."""
    if control.accessibleName():
        return str(control.accessibleName())
    told = isinstance(control, QAbstractButton) and re.search(r"\w", control.text())
    return str(control.text()) if told else ""


def inner(control: QWidget) -> bool:
    """Return whether a widget is a part of a control of Qt's."""
    up = control.parentWidget()
    while up is not None:
        if isinstance(up, (QComboBox, QAbstractSpinBox, QTabBar)):
            return True
        up = up.parentWidget()
    return isinstance(control, QScrollBar) or control.objectName().startswith("qt_")


def test_every_control_has_a_name(everything: tuple[Any, Any]) -> None:
    _, widget = everything
    pages = dict(windows(widget))
    pages["tabs"] = widget
    for name, page in pages.items():
        controls = [
            child
            for child in page.findChildren(QWidget)
            if child.focusPolicy() != Qt.FocusPolicy.NoFocus
            and child.focusProxy() is None
            and not inner(child)
        ]
        assert len(controls) >= 8, name
        unnamed = [child for child in controls if not name_of(child).strip()]
        assert not unnamed, (name, [(type(c).__name__, c.toolTip()) for c in unnamed])
        assert not [c for c in controls if "&" in c.accessibleName()], name


HOSTILE = '<b>x</b><img src="file:///no.png">&amp; &Z 50%p'


def misread(root: QWidget) -> list[str]:
    """Return texts of controls and tooltips of which a part is read as HTML or a mnemonic."""
    found = []
    for child in [root, *root.findChildren(QWidget)]:
        if "<img" in child.toolTip():  # a tooltip is HTML if it looks like that
            found.append(child.toolTip())
        if isinstance(child, QLabel) and "<img" in child.text():
            if child.textFormat() != Qt.TextFormat.PlainText:
                found.append(child.text())
            if child.buddy() is not None and letter(child.text()):
                found.append(child.text())
        if isinstance(child, QAbstractButton) and "<img" in child.text() and letter(child.text()):
            found.append(child.text())
    return found


def test_names_are_text(
    everything: tuple[Any, Any], backend: Any, training: Any, qtbot: Any, monkeypatch: Any
) -> None:
    viewer, widget = everything
    assert not misread(widget)
    classes = (ClassInfo(HOSTILE + "0"), ClassInfo(HOSTILE))
    card = ModelCard(
        name=HOSTILE,
        description=HOSTILE,
        modality=HOSTILE,
        licence=HOSTILE,
        citation=HOSTILE,
        training_data=HOSTILE,
        restricted=True,
        num_classes=2,
        classes=classes,
        extra={"note": HOSTILE},
        figures=(Figure(HOSTILE, 1.0),),
    )
    entries = [
        ModelEntry(replace(card, name=name), "trained", Path(HOSTILE))
        for name in (HOSTILE, HOSTILE + "2")
    ]
    backend.models = lambda: entries
    for layer in viewer.layers:
        layer.name = HOSTILE
    training.left[0] = replace(training.left[0], name=HOSTILE)
    widget.controller.models_changed.emit(HOSTILE)
    widget.controller.note(HOSTILE, "error")
    widget.trainer.note(HOSTILE, "error")
    widget.train.annotate.new.click()
    widget.train.start.define.setChecked(True)
    comparison = Comparison(0.5, 0.6, "better", HOSTILE, {HOSTILE: (0.5, 0.6), "b": (None, 0.1)}, 9)
    widget.trainer.result = Finished(SimpleNamespace(comparison=comparison), Path("state"), HOSTILE)
    widget.trainer.device = widget.controller.device = HOSTILE
    widget.controller.device_asked = "auto"
    for host in (widget.trainer, widget.controller):
        host._set_state(JobState("segment", HOSTILE, 1, 2))
    for name, page in windows(widget):
        assert not misread(page), name
        if name == "models":
            page.list.selectAll()
            page.say(HOSTILE)
            assert not misread(page), name
    for box in (message_box(widget, HOSTILE), text_dialog(widget, "t", HOSTILE, HOSTILE)):
        assert any(HOSTILE.split("&")[0] in label.text() for label in box.findChildren(QLabel))
        assert not misread(box)
    for host in (widget.trainer, widget.controller):
        host._set_state(JobState())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_control_at_work_has_a_frame_in_every_theme(
    everything: tuple[Any, Any], theme: str
) -> None:
    _, widget = everything
    manager = widget.segment.model.manage_button.open_manager()
    look = get_settings().appearance
    look.theme = "dark" if theme == "light" else "light"
    look.theme = theme
    text = get_theme(theme).text.as_hex()
    for window in (widget, manager):
        assert f"QCheckBox::indicator:focus {{ border: 2px solid {text}" in window.styleSheet()


@pytest.mark.parametrize("size", [9, 14, 20])
def test_nothing_is_wider_than_the_dock_in_any_font(
    everything: tuple[Any, Any], size: int, qtbot: Any
) -> None:
    _, widget = everything
    get_settings().appearance.font_size = size
    qtbot.wait(100)
    for tab, scroll in (
        (widget.segment, widget.segment.page.parent().parent()),
        (widget.train, widget.train.scroll),
    ):
        widget.tabs.setCurrentWidget(tab)
        qtbot.wait(100)
        assert scroll.minimumSizeHint().width() > scroll.widget().minimumSizeHint().width()
        for spin in tab.findChildren(Number):
            room = spin.sizeHint().width() - spin.fontMetrics().horizontalAdvance(spin.text())
            assert room >= BESIDE
    assert widget.sizeHint().width() >= widget.minimumSizeHint().width()


@pytest.mark.parametrize("size", [9, 14, 20])
def test_lists_show_whole_rows_in_any_font(
    everything: tuple[Any, Any], size: int, qtbot: Any
) -> None:
    """Also when the font changes while they are shown."""
    viewer, widget = everything
    viewer.add_image(np.zeros((4, 40, 50), np.uint8), name="channels", axis_labels=("c", "y", "x"))
    get_settings().appearance.font_size = size
    qtbot.wait(200)
    for tab in (widget.segment, widget.train):
        chooser = tab.image.channels
        assert len(chooser.boxes) == 4
        height = max(box.sizeHint().height() for box in chooser.boxes)
        assert chooser._scroll.height() >= 4 * height >= 4 * chooser.boxes[0].fontMetrics().height()
