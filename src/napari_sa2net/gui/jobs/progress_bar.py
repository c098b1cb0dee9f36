"""How far a job is: a bar and a line of text."""

from __future__ import annotations

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ..wrapping import WrappedLabel
from .state import JobState


class JobProgress(QWidget):  # type: ignore[misc]
    """A bar and a line of text, hidden while nothing runs.

    The window is drawn once for each state that is shown, and nothing else in it is moved: where
    it is drawn by the processor, each drawing takes that from the network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self._line = _Line()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        layout.addWidget(self._line)

    def show_state(self, state: JobState, verb: str) -> None:
        """Show what runs; ``verb`` says what it does."""
        self.setVisible(state.busy)
        if not state.busy:
            return
        self.setUpdatesEnabled(False)  # a bar draws itself at once, and the text later
        self._line.set_text(f"{verb}: {state.text}")
        self.bar.setRange(0, state.total if state.total > 1 else 0)
        self.bar.setValue(state.done)
        self.setUpdatesEnabled(True)

    def text(self) -> str:
        """Return the line that is shown."""
        return str(self._line.label.text())


class _Line(QWidget):  # type: ignore[misc]
    """Wrapped text that has the window laid out again only where it needs another height.

    A label in a layout has that done for each new text, and all around it drawn again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.label = WrappedLabel(parent=self)
        self._fit()

    def set_text(self, text: str) -> None:
        """Show another text."""
        if text != self.label.text():
            self.label.setText(text)
            self._fit()

    def resizeEvent(self, event: object) -> None:
        """Wrap the text anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        height = max(self.label.heightForWidth(self.width()), self.fontMetrics().height())
        self.label.resize(self.width(), height)
        if height != self.height():
            self.setFixedHeight(height)
