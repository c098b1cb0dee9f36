"""Which paintings belong to which images, and what they mean; without the window."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from ...engine.errors import InputError
from ..jobs.lifetime import unwrap
from ..layers import (
    LayerImage,
    read_image,
)
from ..scale_field import Scale, by_pixel_size
from . import layers as annotation_layers
from .painted_on import OFF, PaintedOn, recall, remember, table_of, write

if TYPE_CHECKING:
    from ...engine.cards import ModelCard

NOTHING = (
    "There is no painting to learn from: press “New annotation layer”, paint a few strokes of "
    "each class, and try again."
)


@dataclass(eq=False)
class Pair:
    """An image and a Labels layer painted over it."""

    painting: Any
    """The Labels layer."""
    sources: list[Any]
    """The image's layers."""
    axes: str
    """Of the image, as a person corrected them."""
    channels: tuple[int, ...] | None = None
    diameter: float | None = None
    """Of objects in pixels of the image, as a person gave it for this image."""
    pixel_size: float | None = None
    """In µm, likewise."""
    on: bool = True
    """Whether it is trained on."""
    region: Any = None
    """A Shapes layer outside which nothing counts, or None."""
    accepted: float = 0.0
    """How much a corrected prediction counts where it was not edited."""

    def image(self) -> LayerImage:
        """Read the image as it is now.

        Raises
        ------
        InputError
            If its layers have changed so that they do not fit any more.
        """
        return read_image(self.sources).with_axes(self.axes)

    def scale(self, card: ModelCard | None) -> Scale:
        """Return how large things are in the image: of what was given, what a model goes by."""
        if by_pixel_size(card):
            return Scale(pixel_size=self.pixel_size)
        return Scale(diameter=self.diameter)


class PairList(QObject):  # type: ignore[misc]
    """The pairs of one viewer.

    ``changed`` is emitted when there are others, ``lost`` with the name of a painting whose
    layer, or that of its image, was removed, and ``told`` with what a person should know.
    """

    changed = Signal()
    lost = Signal(str)
    told = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        viewer = unwrap(viewer)
        self._viewer = weakref.ref(viewer)
        self.pairs: list[Pair] = []
        self.card: ModelCard | None = None
        """Of the model that is to learn: its classes are what the paintings mean."""
        viewer.layers.events.removed.connect(self._on_removed)

    def of(self, painting: Any) -> Pair | None:
        """Return the pair of a Labels layer, None if it is in none."""
        return next((pair for pair in self.pairs if pair.painting == painting), None)

    def on(self, sources: list[Any]) -> list[Pair]:
        """Return the pairs of an image, given by its layers."""
        return [pair for pair in self.pairs if pair.sources == sources]

    def set_card(self, card: ModelCard) -> None:
        """Tell which classes are painted: with another number of them, guesses are made again."""
        before, self.card = self.card, card
        if before is not None and _classes(before) == _classes(card):
            return
        for pair in self.pairs:
            if annotation_layers.guessed(pair.painting):
                known = annotation_layers.meaning_of(pair.painting)
                self._guess(pair.painting)
                if annotation_layers.meaning_of(pair.painting) != known:
                    self.told.emit(
                        f"With these classes “{pair.painting.name}” is taken for something else: "
                        f"{_meaning_text(pair.painting)}. Say in the list what it is if that is "
                        "wrong."
                    )

    def add(
        self, painting: Any, image: LayerImage, sources: list[Any], channels: Any = None
    ) -> Pair:
        """Add a pair, or return the one there is of this painting.

        What the painting means is guessed now, unless that is known, and stays so.
        """
        pair = self.of(painting)
        if pair is None:
            self._settle(painting)
            pair = Pair(painting, list(sources), image.axes, channels)
            self._append(pair)
        return pair

    def adopt(self, painting: Any) -> Pair | None:
        """Add a painting that knows its own image, as one that was made or restored here does.

        Axes, channels and sizes are those that it was painted with.
        """
        known, viewer = self.of(painting), self._viewer()
        if known is not None or viewer is None or table_of(painting) is None:
            return known
        found, texts = recall(painting, viewer)
        if found is None:
            return None
        self._settle(painting)
        pair = Pair(painting, **vars(found))
        self._append(pair)
        for text in texts:
            self.told.emit(text)
        return pair

    def adopt_all(self) -> None:
        """Adopt the paintings in the viewer that a person has not taken off the list."""
        viewer = self._viewer()
        for layer in [] if viewer is None else list(viewer.layers):
            table = table_of(layer)
            if table is not None and not table.get(OFF):
                self.adopt(layer)

    def change(self, pairs: list[Pair], **values: Any) -> None:
        """Give pairs other axes, channels, diameters or pixel sizes, and remember them."""
        for pair in pairs:
            for name, value in values.items():
                setattr(pair, name, value)
            _remember(pair)

    def remove(self, pair: Pair) -> None:
        """Take a pair off the list; its layers stay."""
        if pair in self.pairs:
            self.pairs.remove(pair)
            write(pair.painting, {OFF: True})
            self.changed.emit()

    def painted(self) -> bool:
        """Return whether something is painted, under the names of the classes there are."""
        return any(annotation_layers.is_painted(pair.painting) for pair in self.pairs)

    def clear(self) -> None:
        """Let go of all layers."""
        self.pairs = []
        viewer = self._viewer()
        if viewer is not None:
            viewer.layers.events.removed.disconnect(self._on_removed)

    def wanted(self) -> list[Pair]:
        """Return the pairs that are ticked.

        Raises
        ------
        InputError
            If there is none.
        """
        wanted = [pair for pair in self.pairs if pair.on]
        if not wanted:
            raise InputError("Tick at least one painting in the list." if self.pairs else NOTHING)
        return wanted

    def read(self, viewer: Any) -> Generator[None, None, list[Any]]:
        """Copy what is painted, for a training; on the main thread, in short pieces.

        Each is read with the meaning that stands in it, and each image with its own size.

        Returns
        -------
        list of TrainingPair
            Of the pairs that are ticked.

        Raises
        ------
        InputError
            If there is none, or one cannot be used; the message names it.
        """
        from . import reading as annotation_reading

        read = []
        wanted = self.wanted()
        images = [pair.image() for pair in wanted]
        scales = self._scales(wanted, images)
        for pair, image, scale in zip(wanted, images, scales, strict=True):
            meaning, of = self._settle(pair.painting)
            steps = annotation_reading.read_pair_steps(
                viewer,
                scale.on(image),
                pair.painting,
                meaning,
                of,
                region=pair.region,
                accepted=pair.accepted,
                channels=None if image.rgb else pair.channels,
                diameter=scale.diameter,
            )
            read.append((yield from steps))
        return read

    def _scales(self, pairs: list[Pair], images: list[LayerImage]) -> list[Scale]:
        """Return how large things are in each image; one without any size takes another's."""
        scales = [pair.scale(self.card) for pair in pairs]
        given = [
            (pair, scale) for pair, scale in zip(pairs, scales, strict=True) if scale != Scale()
        ]
        if not given:
            return scales
        other, shared = given[0]
        if shared.diameter is not None and self.card is not None and self.card.diameter is None:
            return scales  # the model makes no use of it
        told = set()
        for i, image in enumerate(images):
            if scales[i] != Scale() or has_size(image, self.card):
                continue
            scales[i] = shared
            if image.name not in told:
                told.add(image.name)
                what = (
                    f"pixels of {shared.pixel_size:g} µm"
                    if shared.diameter is None
                    else f"objects of {shared.diameter:g} px"
                )
                self.told.emit(
                    f"No size was given for “{image.name}”: it is taken to have {what}, as "
                    f"“{other.sources[0].name}” has. Choose it above and give its own if that is "
                    "wrong."
                )
        return scales

    def _append(self, pair: Pair) -> None:
        self.pairs.append(pair)
        _remember(pair)
        self.changed.emit()

    def _settle(self, painting: Any) -> tuple[Any, Any]:
        """Return what a painting means; what nobody has said is guessed, and noted in it."""
        return annotation_layers.meaning_of(painting) or self._guess(painting)

    def _guess(self, painting: Any) -> tuple[Any, Any]:
        found = annotation_layers.guess_by_values(painting, self.card)
        # What is empty yet is for strokes, like a layer made here, and stays so.
        why = "" if found.empty else found.why
        card = self.card if found.of == "classes" else None
        annotation_layers.set_meaning(painting, found.meaning, found.of, card, why)
        return found.meaning, found.of

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        gone = [p for p in self.pairs if p.painting == layer or layer in p.sources]
        for pair in self.pairs:
            if pair.region is not None and pair.region == layer:
                pair.region = None
                self.told.emit(
                    f"“{layer.name}” was removed: “{pair.painting.name}” now counts everywhere."
                )
                self.changed.emit()
        for pair in gone:
            self.pairs.remove(pair)
            self.lost.emit(str(pair.painting.name))
        if gone:
            self.changed.emit()


def has_size(image: LayerImage, card: ModelCard | None) -> bool:
    """Tell whether an image says how large things are in it, such that a model goes by it."""
    return image.pixel_size is not None and (card is None or card.pixel_size is not None)


def _classes(card: ModelCard) -> int:
    return len(annotation_layers.painted_classes(card))


def _meaning_text(painting: Any) -> str:
    meaning, of = annotation_layers.meaning_of(painting) or ("strokes", "classes")
    what = "strokes" if meaning == "strokes" else "a full mask"
    return f"{what} of {'classes' if of == 'classes' else 'objects'}"


def _remember(pair: Pair) -> None:
    found = PaintedOn(pair.sources, pair.axes, pair.channels, pair.diameter, pair.pixel_size)
    remember(pair.painting, found)
