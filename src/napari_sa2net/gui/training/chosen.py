"""The image chosen in the window, and what its paintings know of it: kept in step."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from ..annotating.pairs import PairList
from ..image_panel import ImagePanel
from ..image_values import ImageValues, Said
from ..layers import layer_id

SIZES = ("diameter", "pixel_size")


class Chosen(QObject):  # type: ignore[misc]
    """Takes what a person says of the image chosen to its paintings, and shows it again.

    What the window shows is that of the image chosen; the paintings of others keep theirs.

    Parameters
    ----------
    panel
        Shows the image, its axes and channels.
    values
        What was said of each image, of which the sizes.
    pairs
        The paintings.
    """

    def __init__(self, panel: ImagePanel, values: ImageValues, pairs: PairList) -> None:
        super().__init__()
        self._panel, self._said, self._pairs = panel, values, pairs
        self._image: tuple[str, ...] = ()
        """Of the image chosen, the ids of its layers."""
        self._shown: dict[str, Any] = {}
        self._showing = False

    def follow(self) -> None:
        """Take up what the window shows now; of another image than before, show what is known."""
        if self._showing or self._panel.image is None:
            return
        sources = self._panel.layers()
        image = tuple(layer_id(layer) for layer in sources)
        if image != self._image:
            self._image = image
            pairs = self._pairs.on(sources)
            if pairs:
                self._show(pairs[0], self._said.of(self._panel.layer))
            self._shown = self._values()
            self._pairs.change(pairs, **self._shown)
            return
        before, self._shown = self._shown, self._values()
        changed = {name: v for name, v in self._shown.items() if v != before.get(name)}
        if changed:
            self._pairs.change(self._pairs.on(sources), **changed)

    def take(self, painting: Any) -> None:
        """Give a new painting the size of its image."""
        pair = self._pairs.of(painting)
        if pair is None or self._panel.image is None:
            return
        self.follow()
        self._pairs.change([pair], **{name: self._shown[name] for name in SIZES})

    def restored(self, painting: Any) -> None:
        """Add a painting that was restored, and show what it knows of the image chosen."""
        pair = self._pairs.adopt(painting)
        if pair is None or self._pairs.on(pair.sources) != [pair]:
            return
        if pair.sources == self._panel.layers():
            self._show(pair, Said())
            self.follow()

    def _values(self) -> dict[str, Any]:
        said = self._said.of(self._panel.layer)
        sizes = {name: getattr(said, name) for name in SIZES}
        image = self._panel.image
        axes = {} if image is None else {"axes": image.axes}
        return {**axes, "channels": self._panel.channels.value(), **sizes}

    def _show(self, pair: Any, said: Said) -> None:
        """Show what a painting knows of the image chosen, where a person has not said else."""
        self._showing = True
        try:
            channels = self._panel.channels.value() if said.channels else pair.channels
            self._panel.correct(said.axes or pair.axes, channels)
            sizes = {name: getattr(said, name) or getattr(pair, name) for name in SIZES}
            self._said.set(self._panel.chosen_first(), **sizes)
        finally:
            self._showing = False
