""" "Where next?": shows the unpainted place where the next stroke would teach most.

That is where the four stages of the network disagree most. The disagreement is taken from a
result that is there already, else the network is run on the plane shown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ...engine.axes import Stack
from ...engine.errors import InputError
from .. import compat, regions
from ..layers import (
    LayerImage,
    Slices,
    comes_from,
    note_of,
)
from ..segmenting.backend import Request, plane_number
from .grids import Grid
from .reading import check_annotation, painted_mask

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.events import Event
    from ...engine.weights import ModelCard

WINDOW = 128
"""Side of a place in pixels at the model's scale."""

MOST = 4096
"""Side of the largest part that the network is run on: of a larger plane what is in view."""

Compute = Callable[[Request], "Generator[Event, None, Any]"]
"""Runs the network, as :meth:`~napari_sa2net.gui.segmenting.backend.Backend.segment` does."""

Run = Callable[[Callable[[], "Generator[Event, None, Any]"], Callable[[Any], None]], None]
"""Starts work in the background, and calls the second with its result on the main thread."""


@dataclass(frozen=True, eq=False)
class Query:
    """Where to look, as the window shows it."""

    layer: Any
    """The (first) layer of the image."""
    image: LayerImage
    annotations: Sequence[Any]
    """The Labels layers painted in; may be none."""
    card: ModelCard
    """Of the model that is asked."""
    channels: tuple[int, ...] | None = None
    diameter: float | None = None
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class _Map:
    """Disagreement of a plane, or of a part of it."""

    values: NDArray[Any]
    """(h, w)"""
    origin: tuple[int, int]
    whole: bool


class WhereNext:
    """Visits places of a viewer's images, one a press.

    Parameters
    ----------
    viewer
        Whose camera moves.
    compute
        Runs the network where no result tells the disagreement.
    """

    def __init__(self, viewer: ViewerModel, compute: Compute) -> None:
        self._viewer = viewer
        self._compute = compute
        self._visited: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._last: tuple[Any, _Map] | None = None

    def press(self, query: Query, run: Run, say: Callable[[str], None]) -> None:
        """Move the camera to the next place of the plane shown.

        Parameters
        ----------
        query
            Image, paintings and model.
        run
            Called only if the network must be run first.
        say
            Called with a sentence once the camera has moved.

        Raises
        ------
        InputError
            If a layer is gone, or there is nothing to look at.
        """
        self._check(query)
        index = regions.plane_index(self._viewer, query.image, query.layer)
        known = self._known(query, index)
        if known is not None:
            say(self._visit(query, index, known))
            return
        part, whole = self._part(query)
        key = self._key(query, index)

        def finish(ran: Any) -> None:
            crop = query.image.crop(part)
            stack = Stack(crop.axes.replace("C", ""), crop.result_shape())
            values = stack.view(np.asarray(ran.maps["disagreement"]).reshape(stack.shape), 0)
            letters = query.image.layer_axes
            origin = (part[letters.index("Y")].start, part[letters.index("X")].start)
            found = _Map(np.array(values), origin, whole)
            self._last = (key, found)
            self._check(query)
            say(self._visit(query, index, found))

        request = _request(query, part)
        run(lambda: self._compute(request), finish)

    def _check(self, query: Query) -> None:
        if query.layer not in self._viewer.layers:
            raise InputError(f"{query.image.name} was removed: choose another image.")
        for layer in query.annotations:
            check_annotation(self._viewer, layer)

    def _key(self, query: Query, index: tuple[int, ...]) -> Any:
        image = query.image
        where = (image.source_id or image.name, image.data.shape, image.axes, index)
        return where, query.card.name, query.channels, query.diameter, image.pixel_size_yx

    def _known(self, query: Query, index: tuple[int, ...]) -> _Map | None:
        """Return the disagreement from the last press, or from a result of this model."""
        if self._last is not None and self._last[0] == self._key(query, index):
            last = self._last[1]
            if last.whole or self._in_view(query, last):
                return last
        for layer in reversed(list(self._viewer.layers)):
            note = note_of(layer) or {}
            ours = note.get("kind") == "disagreement" and isinstance(layer, Image)
            if not ours or note.get("model") != query.card.name:
                continue
            if comes_from(note, query.image.source_id, query.image.name):
                found = _from_layer(layer, query.image, _number(query.image, index))
                if found is not None:
                    return found
        return None

    def _in_view(self, query: Query, last: _Map) -> bool:
        """Return whether the part looked at holds the centre of the view."""
        part = regions.visible_region(self._viewer, query.layer, query.image.axes)
        letters = query.image.layer_axes
        for letter, start, n in zip("YX", last.origin, last.values.shape, strict=True):
            side = part[letters.index(letter)]
            if not start <= (side.start + side.stop) // 2 < start + n:
                return False
        return True

    def _part(self, query: Query) -> tuple[Slices, bool]:
        """Return what to run the network on: the plane shown, or what is in view of it."""
        image = query.image
        plane = regions.current_plane(self._viewer, query.layer, image.axes)
        letters = image.layer_axes
        sides = [letters.index("Y"), letters.index("X")]
        if all(image.layer_shape[side] <= MOST for side in sides):
            return plane, True
        part = list(regions.visible_region(self._viewer, query.layer, image.axes))
        for side in sides:
            seen, n = part[side], image.layer_shape[side]
            start = max(0, min((seen.start + seen.stop - MOST) // 2, n - MOST))
            # At least a few windows, however near the view is.
            part[side] = slice(start, min(n, start + MOST))
        return tuple(part), False

    def _visit(self, query: Query, index: tuple[int, ...], found: _Map) -> str:
        """Choose the place, go there and say so."""
        from ...engine.training.suggest import next_place  # may be the first use of the engine

        image, (y, x) = query.image, found.origin
        number = _number(image, index)
        box = (slice(y, y + found.values.shape[0]), slice(x, x + found.values.shape[1]))
        painted = np.zeros(found.values.shape, dtype=bool)
        for layer in query.annotations:
            painted |= painted_mask(image, layer, number)[box]
        window = _window(query, found.values.shape)
        visited = self._visited.setdefault((image.source_id or image.name, number), [])
        values = found.values.astype(np.float32)
        again = False
        place = next_place(values, painted, [(a - y, b - x) for a, b in visited], window)
        if place is None and visited:
            visited.clear()
            again = True
            place = next_place(values, painted, [], window)
        if place is None:
            return "Everything here is painted: go to another plane or another image."
        centre = (place[0] + y, place[1] + x)
        visited.append(centre)
        self._go(query, index, centre, window)
        half = window // 2
        seen = values[
            max(0, place[0] - half) : place[0] + half, max(0, place[1] - half) : place[1] + half
        ]
        text = f"Place {len(visited)}: the stages disagree by {float(seen.mean()):.2f} here."
        if again:
            text += " All places were visited, so this is the first again."
        if not found.whole:
            text += " The image is large: only the part about the view was looked at."
        return text

    def _go(
        self, query: Query, index: tuple[int, ...], centre: tuple[int, int], window: int
    ) -> None:
        """Move the camera so that the window fills the view."""
        layer, letters = query.layer, query.image.layer_axes
        first = query.image.region or tuple(slice(0, n) for n in query.image.layer_shape)
        where = dict(zip((a for a in "TZ" if a in letters), index, strict=True))
        where |= {"Y": centre[0], "X": centre[1]}
        point = np.asarray(layer.world_to_data(self._viewer.dims.point), dtype=float)
        for axis, letter in enumerate(letters):
            if letter in where:  # the channel shown stays
                point[axis] = where[letter] + first[axis].start
        world = np.array(self._viewer.dims.point, dtype=float)
        corners = []
        for step in np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * window / 2:
            corner = point.copy()
            corner[[letters.index("Y"), letters.index("X")]] += step
            end = world.copy()
            end[-len(point) :] = layer.data_to_world(corner)
            corners.append(end[list(self._viewer.dims.displayed)])
        world[-len(point) :] = layer.data_to_world(point)
        compat.fill_view(self._viewer, layer, np.array(corners))
        compat.move_to(self._viewer, tuple(float(value) for value in world))


def _request(query: Query, part: Slices) -> Request:
    crop = query.image.crop(part)
    options: dict[str, Any] = {
        "axes": crop.axes,
        "rgb": crop.rgb,
        "channels": query.channels,
        "device": query.device,
        "pixel_size": crop.pixel_size_yx,
        "diameter": query.diameter,
    }
    keep = frozenset({"disagreement"})
    return Request(crop.data, query.card.name, options, None, keep)


def _from_layer(layer: Any, image: LayerImage, number: int) -> _Map | None:
    """Return a plane of a disagreement layer, None if it does not hold all of the plane."""
    try:
        grid = Grid(layer, image)
    except InputError:
        return None  # moved since, or of another crop: the network is asked again
    mapped = grid.plane_map(number)
    if mapped is None or not mapped.exact or not grid.covers(mapped):
        return None
    placed = mapped.place(grid.plane(mapped), (0, 0), grid.stack.plane_shape)
    return None if placed is None else _Map(placed[1], (0, 0), True)


def _number(image: LayerImage, index: tuple[int, ...]) -> int:
    """Return the number of a plane, counted over T, then Z."""
    return plane_number(tuple(image.data.shape), image.axes, index)


def _window(query: Query, shape: tuple[int, ...]) -> int:
    """Return the side of a place in pixels of the image."""
    from ...engine.scaling import choose_zoom
    from ...engine.segmentation import SegmentOptions

    options = SegmentOptions(diameter=query.diameter, pixel_size=query.image.pixel_size_yx)
    zoom, _ = choose_zoom((shape[0], shape[1]), query.card, options)
    return int(np.clip(round(WINDOW / min(zoom)), 8, max(8, min(shape))))
