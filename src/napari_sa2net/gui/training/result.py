"""Better or worse? The start model and the new one side by side, and which to keep."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..wrapping import WrappedLabel

VERDICTS = {
    "better": ("The new model is better.", "#4caf50"),
    "worse": (
        "The new model is worse. The start model stays, unless you say otherwise.",
        "#e05353",
    ),
    "too close to call": ("Too close to call.", "#e0a030"),
    "not compared": ("They could not be compared.", "#e0a030"),
}
COLOURS = ("#8a8a8a", "#56b4e9")
"""Of the bars of the start model and the new one."""
NOTHING = "After a training, the start model and the new one are compared here."


def classes_text(comparison: Any) -> str:
    """Return a line for each class, where there are several."""
    table = comparison.per_class
    lines = []
    for name, (before, after) in table.items() if len(table) > 1 else ():
        start = "–" if before is None else f"{before:.2f}"
        lines.append(f"{name}: {start} → {after:.2f}")
    return "\n".join(lines)


class ResultPanel(QWidget):  # type: ignore[misc]
    """Shows a :class:`~napari_sa2net.gui.training.job.Finished` and asks what to keep.

    ``keep`` carries the name typed, ``keep_start`` and ``elsewhere`` nothing.
    """

    keep = Signal(str)
    keep_start = Signal()
    elsewhere = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._result: Any = None
        self.nothing = QLabel(NOTHING)
        self.nothing.setWordWrap(True)
        self.box = QWidget()
        self.verdict, self.figures = QLabel(), QWidget()
        self.names = (QLabel("Start model"), QLabel("New model"))
        self.values = (QLabel(), QLabel())
        self.bars = (QProgressBar(), QProgressBar())
        self.verdict.setWordWrap(True)
        self.text, self.classes = WrappedLabel(), WrappedLabel()
        self.name = QLineEdit()
        self.name.setAccessibleName("Name of the new model")
        self.name.setToolTip("Under this name the new model is in the list of models.")
        self.new_button = QPushButton("Keep the new model")
        self.start_button = QPushButton("Keep the start model")
        self.start_button.setToolTip("The new model is not saved.")
        self.elsewhere_button = QPushButton("Save it elsewhere…")
        self.elsewhere_button.setToolTip("Save the new model as a file in another place.")
        self._lay_out()
        self.new_button.clicked.connect(lambda _: self.keep.emit(self.name.text()))
        self.name.returnPressed.connect(lambda: self.keep.emit(self.name.text()))
        self.start_button.clicked.connect(lambda _: self.keep_start.emit())
        self.elsewhere_button.clicked.connect(lambda _: self.elsewhere.emit())
        self.show_result(None, busy=False)

    def _lay_out(self) -> None:
        grid = QGridLayout(self.figures)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        for row in range(2):
            bar = self.bars[row]
            bar.setRange(0, 1000)
            bar.setTextVisible(False)
            bar.setFixedHeight(10)
            bar.setStyleSheet(f"QProgressBar::chunk {{ background-color: {COLOURS[row]}; }}")
            grid.addWidget(self.names[row], row, 0)
            grid.addWidget(bar, row, 1)
            grid.addWidget(self.values[row], row, 2)
        self.naming = QWidget()
        row = QHBoxLayout(self.naming)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Name"))
        row.addWidget(self.name, 1)
        self.buttons = QWidget()
        row = QHBoxLayout(self.buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.new_button, 1)
        row.addWidget(self.start_button, 1)
        column = QVBoxLayout(self.box)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.verdict, self.figures, self.classes, self.text):
            column.addWidget(widget)
        for widget in (self.naming, self.buttons, self.elsewhere_button):
            column.addWidget(widget)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.nothing)
        outer.addWidget(self.box)

    def show_result(self, result: Any, *, busy: bool) -> None:
        """Show a result, or that there is none (None); ``busy``: nothing can be decided now."""
        self.nothing.setVisible(result is None)
        self.box.setVisible(result is not None)
        if result is None:
            self._result = None
            return
        if result is not self._result:
            self._result = result
            self.name.setText(result.name)
            self._compare(result.tuned.comparison)
        open_ = not result.decision
        self.naming.setVisible(open_)
        self.buttons.setVisible(open_)
        self.elsewhere_button.setVisible(open_ and result.save_failed)
        for widget in (self.name, self.new_button, self.start_button, self.elsewhere_button):
            widget.setEnabled(not busy)

    def _compare(self, comparison: Any) -> None:
        said, colour = VERDICTS[comparison.verdict]
        self.verdict.setText(f'<b><span style="color: {colour}">■</span> {said}</b>')
        self.figures.setVisible(comparison.after is not None)
        for place, value in enumerate((comparison.before, comparison.after)):
            known = value is not None
            self.bars[place].setValue(round(1000 * value) if known else 0)
            self.values[place].setText(f"Dice <b>{value:.3f}</b>" if known else "–")
        for label, text in (
            (self.classes, classes_text(comparison)),
            (self.text, comparison.text),
        ):
            label.setText(text)
            label.setVisible(bool(text))
        worse = comparison.verdict == "worse"
        self.new_button.setText("Keep the new one anyway" if worse else "Keep the new model")
        self.start_button.setDefault(worse)
        self.new_button.setDefault(not worse)
