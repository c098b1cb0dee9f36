"""Where to paint next: a button that goes there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from ...engine.errors import InputError
from ..annotating.pairs import PairList
from ..annotating.where_next import Query
from ..image_panel import ImagePanel
from ..scale_field import Scale


class WhereNextPanel(QWidget):  # type: ignore[misc]
    """Asks for the next place. ``failed`` carries why that is not possible."""

    failed = Signal(object)

    def __init__(self, image: ImagePanel, pairs: PairList) -> None:
        super().__init__()
        self._image, self._pairs = image, pairs
        about = QLabel("Goes to an unpainted place where the model is unsure: paint there next.")
        about.setWordWrap(True)
        self.button = QPushButton("Show the next place")
        self.button.setToolTip(
            "<qt>Where the network's four stages disagree most, the next stroke teaches most. "
            "Press again for further places.</qt>"
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(about)
        column.addWidget(self.button)

    def ask(
        self,
        entry: Any,
        scale: Scale,
        device: str,
        go: Callable[[Query], None],
    ) -> None:
        """Call ``go`` with what is chosen, for the model ``entry`` (None: a new network)."""
        image = self._image.image
        if image is None or entry is None:
            nothing = self._image.problem or "Open an image first."
            scratch = "A new network cannot be asked: choose a model under “Start from” first."
            self.failed.emit(InputError(nothing if image is None else scratch))
            return
        problem = self._image.channels.problem_for(entry.card)
        if problem:
            self.failed.emit(InputError(problem))
            return
        sources = self._image.layers()
        go(
            Query(
                layer=self._image.layer,
                image=scale.on(image),
                annotations=[p.painting for p in self._pairs.pairs if p.sources == sources],
                card=entry.card,
                channels=self._image.channels.value(),
                diameter=scale.diameter,
                device=device,
            )
        )
