"""The curves of a training: how wrong the model is (loss) and how well it segments (Dice)."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from ..jobs.state import History, Point

TRAINING, VALIDATION = "#e69f00", "#56b4e9"
"""Colours of the two curves, told apart also by the colour-blind."""

HEIGHT = 230
MOST = 400
"""Points drawn of one curve; a longer one is averaged."""
SPAN = 20
"""Steps over which a training loss is averaged: a batch tells little."""

CURVES = {
    "loss": (("training loss", TRAINING), ("validation loss", VALIDATION)),
    "Dice": (("training Dice", TRAINING), ("validation Dice", VALIDATION)),
}
LEGEND = (
    f'<span style="color: {TRAINING}">━</span> training &nbsp; '
    f'<span style="color: {VALIDATION}">━</span> validation, on painted blocks that are not '
    "trained on"
)


def thinned(points: list[Point]) -> list[Point]:
    """Return at most about :data:`MOST` points: neighbours averaged."""
    size = -(-len(points) // MOST) if points else 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def smoothed(points: list[Point]) -> list[Point]:
    """Return ``points`` with each value the mean of the last :data:`SPAN`."""
    found, total = [], 0.0
    for at, (x, y) in enumerate(points):
        total += y - (points[at - SPAN][1] if at >= SPAN else 0.0)
        found.append((x, total / min(at + 1, SPAN)))
    return found


class LearningPlot(QWidget):  # type: ignore[misc]
    """Two small plots, made when there is something to show: pyqtgraph takes a while to load."""

    def __init__(self) -> None:
        super().__init__()
        self._graphics: Any = None
        self._items: dict[str, Any] = {}
        self._plots: dict[str, Any] = {}
        self.legend = QLabel(LEGEND)
        self.legend.setWordWrap(True)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self.legend)
        self.setAccessibleName("Loss and Dice of the training")
        self.hide()

    def show_history(self, history: History) -> None:
        """Show what is known so far; nothing is shown of nothing."""
        known = any(history.curve(name) for curves in CURVES.values() for name, _ in curves)
        self.setVisible(known)
        if not known:
            return
        if self._graphics is None:
            self._make()
        for plot, curves in CURVES.items():
            drawn = False
            for name, _ in curves:
                points = history.curve(name)
                points = smoothed(points) if name == "training loss" else points
                points = thinned(points)
                drawn = drawn or bool(points)
                self._items[name].setData([x for x, _ in points], [y for _, y in points])
            self._plots[plot].setVisible(drawn)

    def _make(self) -> None:
        import pyqtgraph

        palette = self.palette()
        text = palette.color(QPalette.ColorRole.WindowText)
        graphics = pyqtgraph.GraphicsLayoutWidget()
        graphics.setBackground(palette.color(QPalette.ColorRole.Window))
        graphics.setFixedHeight(HEIGHT)
        graphics.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        graphics.ci.layout.setContentsMargins(0, 0, 4, 6)
        graphics.ci.layout.setVerticalSpacing(2)
        for row, (title, curves) in enumerate(CURVES.items()):
            plot = graphics.addPlot(row=row, col=0)
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.setMouseEnabled(False, False)
            plot.showGrid(x=False, y=True, alpha=0.2)
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(text)
                axis.setTextPen(text)
                axis.enableAutoSIPrefix(False)
            plot.getAxis("left").setWidth(60)  # four digits and a point, beside the title
            plot.setLabel("left", title)
            self._plots[title] = plot
            for name, colour in curves:
                symbol = "o" if name.startswith("validation") else None
                self._items[name] = plot.plot(
                    pen=pyqtgraph.mkPen(colour, width=2),
                    symbol=symbol,
                    symbolSize=5,
                    symbolBrush=colour,
                    symbolPen=None,
                )
        self._plots["Dice"].setLabel("bottom", "step")
        self._plots["Dice"].setXLink(self._plots["loss"])
        self._layout.insertWidget(0, graphics)
        self._graphics = graphics
