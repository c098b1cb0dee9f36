"""Questions to a person. What they tell is text: a name in it is never read as HTML."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QLabel, QMessageBox, QWidget

from .plain import no_mnemonic

TITLE = "SA2-Net"
Button = QMessageBox.StandardButton


def ask(
    parent: QWidget,
    question: str,
    *,
    title: str = TITLE,
    agree: QMessageBox.StandardButton = Button.Yes,
    refuse: QMessageBox.StandardButton = Button.No,
    default: QMessageBox.StandardButton | None = None,
) -> bool:
    """Ask whether something may be done; ``default`` is what Return answers."""
    box = message_box(parent, question, title)
    box.setStandardButtons(agree | refuse)
    box.setDefaultButton(agree if default is None else default)
    return bool(box.exec() == agree)


def message_box(parent: QWidget, text: str, title: str = TITLE) -> QMessageBox:
    """Return a question that shows ``text`` as it is."""
    box = QMessageBox(parent)
    box.setWindowTitle(title)
    box.setIcon(QMessageBox.Icon.Question)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(text)
    return box


def ask_text(parent: QWidget, title: str, label: str, text: str) -> str:
    """Ask for a line of text; empty if the person gave up."""
    dialog = text_dialog(parent, title, label, text)
    agreed = dialog.exec() == QInputDialog.DialogCode.Accepted
    return str(dialog.textValue()).strip() if agreed else ""


def text_dialog(parent: QWidget, title: str, label: str, text: str) -> QInputDialog:
    """Return a question for a line of text that shows ``label`` as it is."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setTextValue(text)
    dialog.setLabelText(no_mnemonic(label))  # it makes the label, which has a buddy
    for shown in dialog.findChildren(QLabel):
        shown.setTextFormat(Qt.TextFormat.PlainText)
    return dialog
