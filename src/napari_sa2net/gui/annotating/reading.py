"""From a painting in the viewer to what a training learns from: copies, on the main thread.

Only what is painted is copied, block by block, into arrays whose other pages take no memory, so
that a few strokes on 20,000² pixels cost what the strokes do.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from ...engine.errors import InputError
from ..layers import LayerImage
from .areas import Areas, read_areas
from .grids import Box, Grid, PlaneMap
from .layers import BINARY, meaning_of
from .originals import Original, blocks_of, original_of
from .weights import (
    Weights,
    fill,
    grow,
    near,
    tight,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.training.painting import TrainingPair
    from ...engine.training.pairs import Meaning, Of

MARGIN = 8
"""Pixels around an edit that count with it: the model must see where it ends."""

CONTEXT = 64
"""Pixels around an edit of which the labels are copied too: objects go on beyond the margin."""

Edit = tuple[Box, NDArray[np.bool_]]
"""A part of a plane, and which of its pixels a person changed."""


def read_pair_steps(
    viewer: ViewerModel,
    image: LayerImage,
    layer: Any,
    meaning: Meaning,
    of: Of,
    *,
    region: Any = None,
    accepted: float = 0.0,
    channels: tuple[int, ...] | None = None,
    diameter: float | None = None,
    margin: int = MARGIN,
) -> Generator[None, None, TrainingPair]:
    """Copy an image's painting, so that a worker can learn from it.

    Parameters
    ----------
    viewer
        The layers must be in it.
    image
        The image, whose pixels are handed on and not copied.
    layer
        A Labels layer.
    meaning, of
        What its values mean. ``of`` classes in a mask of 0 and 255, the latter is class 1.
    region
        A Shapes layer outside of which nothing counts; None: everything counts.
    accepted
        Of a correction, how much its unedited pixels count; 0 not at all.
    channels, diameter
        As a person gave them for the image.
    margin
        Of a correction, pixels around an edit that count with it.

    Yields
    ------
    None
        After each piece of some milliseconds, all on the main thread: between two of them the
        window may draw.

    Returns
    -------
    TrainingPair

    Raises
    ------
    InputError
        If a layer is gone or of the wrong kind, if it does not fit the image, or if nothing is
        painted.
    """
    from ...engine.training.painting import Annotation, TrainingPair

    check_annotation(viewer, layer)
    if region is not None and region not in viewer.layers:
        raise InputError(
            "The Shapes layer that a painting counts inside was removed: choose another under "
            "Counts, or “everywhere”."
        )
    areas = None if region is None else read_areas(region, image)
    reader = _Reader(image, layer, meaning, areas, accepted, margin)
    labels = yield from reader.read()
    if meaning == "mask" and of == "classes" and reader.binary:
        # 0 and 255 is how other programs save a mask.
        np.minimum(labels, 1, out=labels)
    return TrainingPair(
        image=image.data,
        annotation=Annotation(labels, meaning, of, reader.weights),
        name=f"{image.name} ({layer.name})",
        axes=image.axes,
        rgb=image.rgb,
        channels=None if channels is None else tuple(channels),
        diameter=diameter,
        pixel_size=image.pixel_size_yx,
        planes=tuple(sorted(reader.used)),
    )


def check_annotation(viewer: ViewerModel, layer: Any) -> None:
    """Raise unless ``layer`` is a Labels layer of the viewer.

    Raises
    ------
    InputError
        If it is gone, or of another kind.
    """
    if layer is None or layer not in viewer.layers:
        name = getattr(layer, "name", "The annotation layer")
        raise InputError(
            f"{name} was removed from the viewer: choose another annotation layer, or press New "
            "annotation layer."
        )
    if isinstance(layer, Labels):
        return
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    kind = str(getattr(data, "dtype", ""))
    if kind.startswith("float"):
        raise InputError(
            f"{layer.name} holds fractions ({kind}), but an annotation holds whole numbers, one "
            "for each class or object: choose a Labels layer."
        )
    raise InputError(
        f"{layer.name} is not a Labels layer: choose one, or turn it into one (right click on "
        "the layer, Convert to Labels)."
    )


def painted_mask(image: LayerImage, layer: Any, number: int) -> NDArray[np.bool_]:
    """Return (H, W): where a plane of the image is painted, or its prediction corrected.

    Parameters
    ----------
    image, layer
        The image, and a Labels layer over it.
    number
        Of the plane, counted over T, then Z.

    Raises
    ------
    InputError
        If the layer does not fit the image.
    """
    known = meaning_of(layer)
    reader = _Reader(image, layer, known[0] if known else "strokes", None, 0.0, 0)
    out = np.zeros(reader.grid.stack.plane_shape, dtype=bool)
    mapped = reader.grid.plane_map(number)
    if mapped is None:
        return out
    if reader.original is not None:
        found: Iterator[Any] = reader.edits(mapped)
    else:
        found = reader.blocks(mapped)
    for part in found:
        if part is not None:
            out[part[0]] |= part[1] != 0
    return out


class _Reader:
    """One run of :func:`read_pair_steps`."""

    def __init__(
        self,
        image: LayerImage,
        layer: Any,
        meaning: Meaning,
        areas: Areas | None,
        accepted: float,
        margin: int,
    ) -> None:
        self.areas, self.accepted, self.margin = areas, accepted, margin
        self.layer, self.image = layer, image
        self.strokes = meaning == "strokes"
        self.grid = Grid(layer, image)
        # Strokes are what a person painted anyway.
        self.original: Original | None = None if self.strokes else original_of(layer)
        self._check_original()
        self.weights: Weights | None = None
        self.used: list[int] = []
        """Planes with something painted."""
        self.binary = True
        """Whether all values are 0 and 255."""

    def read(self) -> Generator[None, None, NDArray[Any]]:
        """Return the labels; afterwards the weights and the planes used are known too."""
        grid = self.grid
        planes = list(grid.planes())
        self._check_fit(planes)
        partly = not self.strokes and not all(grid.covers(mapped) for _, mapped in planes)
        # Of strokes only those in the region are copied, so that they need no weights.
        if self.original is not None or partly or (self.areas is not None and not self.strokes):
            self.weights = np.zeros(grid.stack.shape, np.float16)
        dtype = np.uint8 if grid.data.dtype == bool else grid.data.dtype
        # Pages of zeros take no memory until something is written to them.
        labels = np.zeros(grid.stack.shape, dtype)
        for number, mapped in planes:
            yield from self._plane(number, mapped, grid.stack.view(labels, number))
        if not self.used:
            raise InputError(self._nothing())
        return labels

    def blocks(self, mapped: PlaneMap) -> Iterator[tuple[Box, NDArray[Any]] | None]:
        """Yield what is painted in a plane: where in the image, and its values there.

        Yields None after each strip of the plane, as looking at nothing takes time too.
        """
        plane = self.grid.plane(mapped)
        if plane.dtype == bool:
            plane = plane.view(np.uint8)
        signed = plane.dtype.kind == "i"
        for rows, columns in blocks_of(plane.shape):
            if columns.start == 0:
                yield None
                # The extremes are found many times quicker than whether any pixel is not 0.
                strip = plane[rows]
                empty = not strip.max() and not (signed and strip.min())
            block = plane[rows, columns]
            if empty or (not block.max() and not (signed and block.min())):
                continue
            origin = (rows.start, columns.start)
            placed = mapped.place(block, origin, self.grid.stack.plane_shape)
            if placed is None:
                continue
            box, patch, _ = placed
            if self.strokes:
                patch = mapped.scatter(block, origin, patch, box)
            yield box, patch

    def edits(self, mapped: PlaneMap) -> Iterator[Edit | None]:
        """Yield where a person changed a predicted plane, in small parts; None where nothing."""
        if self.original is None:
            return
        plane = self.grid.plane(mapped)
        places = iter(mapped.index)
        index = tuple(
            0 if letter == "C" else next(places) for letter in self.grid.axes if letter not in "YX"
        )
        for rows, columns in blocks_of(plane.shape):
            changed = self.original.edited(plane, index, rows, columns)
            placed = None
            if changed is not None:
                origin = (rows.start, columns.start)
                placed = mapped.place(changed, origin, self.grid.stack.plane_shape)
            if placed is None or not placed[1].any():
                yield None
            else:
                yield tight(placed[0], placed[1])

    def _plane(
        self, number: int, mapped: PlaneMap, out: NDArray[Any]
    ) -> Generator[None, None, None]:
        edits: list[Edit] = []
        for edit in self.edits(mapped):
            if edit is not None:
                edits.append(edit)
            yield
        boxes = [box for box, _ in edits]
        only_edits = self.original is not None and self.accepted <= 0
        if only_edits and not edits:
            return
        painted, reach = bool(edits), self.margin + CONTEXT
        for block in self.blocks(mapped):
            if block is not None and (not only_edits or near(block[0], boxes, reach)):
                painted = self._copy(number, *block, out) or painted
            yield
        if painted:
            self.used.append(number)
            yield from self._weigh(number, mapped, edits)

    def _copy(self, number: int, box: Box, patch: NDArray[Any], out: NDArray[Any]) -> bool:
        """Copy a block, and return whether anything in the region is painted."""
        where = patch != 0
        inner = where if self.areas is None else where & self.areas.mask(number, *box)
        np.copyto(out[box], patch, where=inner if self.strokes else where)
        self.binary = self.binary and bool((patch[where] == BINARY).all())
        return bool(inner.any())

    def _weigh(
        self, number: int, mapped: PlaneMap, edits: list[Edit]
    ) -> Generator[None, None, None]:
        """Note how much the pixels of a plane count."""
        if self.weights is None:
            return
        weights = self.grid.stack.view(self.weights, number)
        value = 1.0 if self.original is None else self.accepted
        if value > 0:
            outline = None if self.grid.covers(mapped) else self.grid.outline(mapped)
            yield from fill(weights, number, value, areas=self.areas, outline=outline)
        for box, edited in edits:
            grow(weights, number, box, edited, self.margin, self.areas)
            yield

    def _check_original(self) -> None:
        if self.original is None:
            return
        sides = (self.grid.axes.index("Y"), self.grid.axes.index("X"))
        channels = [
            n for n, a in zip(self.grid.data.shape, self.grid.axes, strict=True) if a == "C"
        ]
        if self.original.sides != sides or max(channels, default=1) > 1:
            raise InputError(
                f"{self.layer.name} was made for other axes than {self.image.axes}: correct the "
                f"axes of {self.image.name}, or press Correct the prediction again."
            )

    def _check_fit(self, planes: Sequence[tuple[int, PlaneMap]]) -> None:
        """Raise unless the layers' transforms say how painting and image lie on each other."""
        name, shape = self.layer.name, tuple(self.grid.data.shape)
        if self.grid.unexplained and not (
            self.strokes and all(self.grid.covers(mapped) for _, mapped in planes)
        ):
            raise InputError(
                f"{name} has the shape {shape} and {self.image.name} has {self.image.layer_shape}, "
                "and nothing tells how they fit: give the annotation layer the scale and the "
                "position that lay it on the image, or press New annotation layer."
            )
        if not planes or not any(self._overlaps(mapped) for _, mapped in planes):
            raise InputError(
                f"{name} lies beside {self.image.name}: choose the image it was painted on, or "
                "correct the position of the layers."
            )

    def _overlaps(self, mapped: PlaneMap) -> bool:
        ends = self.grid.outline(mapped)
        limits = np.array(self.grid.stack.plane_shape) - 0.5
        return bool((ends.max(axis=0) > -0.5).all() and (ends.min(axis=0) < limits).all())

    def _nothing(self) -> str:
        name = self.layer.name
        where = "" if self.areas is None else f" inside {self.areas.name}"
        if self.original is not None:
            return (
                f"Nothing is changed in {name}{where}: correct the labels, or let what you did not "
                "change count as accepted."
            )
        return f"Nothing is painted in {name}{where}: paint a few strokes of each class."
