"""The image chosen in the window, and what its paintings know of it: kept in step."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from ..annotating.pairs import PairList, has_size
from ..image_panel import ImagePanel, parse_channels
from ..layers import layer_id
from ..scale_field import ObjectSize

SIZES = ("diameter", "pixel_size")


class Chosen(QObject):  # type: ignore[misc]
    """Takes what a person says of the image chosen to its paintings, and shows it again.

    What the window shows is that of the image chosen; the paintings of others keep theirs.

    Parameters
    ----------
    panel
        Shows the image, its axes and channels.
    size
        How large things are, as the window shows it.
    pairs
        The paintings.
    """

    def __init__(self, panel: ImagePanel, size: ObjectSize, pairs: PairList) -> None:
        super().__init__()
        self._panel, self._size, self._pairs = panel, size, pairs
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
            self._show(self._pairs.on(sources))
            self._shown = self._values()
            return
        before, self._shown = self._shown, self._values()
        changed = {name: v for name, v in self._shown.items() if v != before.get(name)}
        if changed:
            self._pairs.change(self._pairs.on(sources), **changed)
        if any(name in changed for name in SIZES):
            self._pairs.given[image] = {name: self._shown[name] for name in SIZES}

    def take(self, painting: Any) -> None:
        """Give a new painting the size shown, unless that was given for another image."""
        pair, image = self._pairs.of(painting), self._panel.image
        if pair is None or image is None:
            return
        self.follow()
        sizes = {name: getattr(self._size, name) for name in SIZES}
        first = len(self._pairs.on(pair.sources)) == 1
        if first and self._pairs.given and self._image not in self._pairs.given:
            own = {
                "diameter": has_size(image, self._pairs.card),
                "pixel_size": image.pixel_size is not None,
            }
            if any(own[name] and sizes[name] is not None for name in SIZES):
                self._pairs.told.emit(
                    f"“{image.name}” has pixels of {image.pixel_size:.3g} µm by its units, and "
                    "these count: the size shown before was given for another image. Give it "
                    "again if it is that of this image too."
                )
            sizes = {name: None if own[name] else sizes[name] for name in SIZES}
        self._pairs.change([pair], **sizes)
        self._show_sizes(sizes)
        self._shown = self._values()

    def restored(self, painting: Any) -> None:
        """Add a painting that was restored, and show what it knows of the image chosen."""
        pair = self._pairs.adopt(painting)
        if pair is not None and self._pairs.on(pair.sources) == [pair]:
            self._image = ()
            self._panel.changed.emit()

    def _values(self) -> dict[str, Any]:
        image, channels = self._panel.image, None
        try:
            channels = parse_channels(self._panel.channels.text())
        except ValueError:  # still being typed
            channels = None
        axes = {} if image is None else {"axes": image.axes}
        return {**axes, "channels": channels, **{n: getattr(self._size, n) for n in SIZES}}

    def _show(self, pairs: list[Any]) -> None:
        """Show what is known of the image chosen, from its paintings or from before."""
        sizes = self._pairs.given.get(self._image)
        if pairs:
            sizes = {name: getattr(pairs[0], name) for name in SIZES}
            channels = ", ".join(str(number) for number in pairs[0].channels or ())
            self._showing = True
            try:
                self._panel.correct(pairs[0].axes, channels)
            finally:
                self._showing = False
        if sizes is not None:
            self._show_sizes(sizes)

    def _show_sizes(self, sizes: dict[str, Any]) -> None:
        self._showing = True
        try:
            for name, value in sizes.items():
                self._size.set(name, value)
        finally:
            self._showing = False
