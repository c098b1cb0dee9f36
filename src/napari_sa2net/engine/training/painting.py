"""Painted labels as training samples."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..axes import Stack
from ..cards import ModelCard
from ..errors import InputError
from ..events import Event, Message, Progress
from ..images import is_dask, to_planes, with_known_shape
from ..preparation import Preparation, needs_exact_values
from ..scaling import choose_zoom, resample, zoomed_shape
from ..segmentation import SegmentOptions
from .losses import IGNORE
from .pairs import Annotation, Meaning, Of, TrainingPair, same_array
from .pieces import (
    block_grid,
    bounding,
    components,
    rarest_first,
    renumbered,
    rescale_labels,
    rescale_weights,
)
from .samples import Sample

__all__ = ["Annotation", "Meaning", "Of", "TrainingPair", "prepare"]

_WHOLE = 1024
"""A plane of at most this side squared, at working scale, is not cut into pieces."""

_BLOCK = 512
"""Side of the blocks of others, at working scale."""

_READ_WHOLE = 2**24
"""Planes of more pixels than this are never read as a whole."""

_MOST = 2**25
"""About as many pixels of pieces, at working scale, are held in memory."""


def prepare(
    pairs: Sequence[TrainingPair], card: ModelCard, in_channels: int, patch: int = 128
) -> Generator[Event, None, list[Sample]]:
    """Turn painted images into training samples.

    Images are normalised and resampled as for segmenting. Only painted planes are read, and of
    large ones only what lies around painted pixels, so that the memory that is needed grows
    with the painting and not with the image; the range of values of a huge plane is then
    estimated from windows all over it.

    Parameters
    ----------
    pairs
        Images and their annotations.
    card
        Of the model to train: its classes, normalisation and working scale.
    in_channels
        Of the network to train.
    patch
        Side of the crops to be drawn: so much is kept around painted pixels.

    Yields
    ------
    Event
        Messages on scale, what is left out and what is estimated, and progress by piece.

    Raises
    ------
    InputError
        If an annotation does not fit its image or the model, or too little is painted.
    """
    sources = [_Source(i, pair, card, in_channels) for i, pair in enumerate(pairs)]
    for source in sources:
        source.image = next(other.number for other in sources if other.shows_what(source))
    yield from _say_scales(sources)
    jobs: list[_Job] = []
    for source in sources:
        found = list(source.jobs(patch))
        jobs += found
        if not found:
            yield Message(f"{source.who}: nothing is painted, so it is left out.", warning=True)
        yield Progress(source.number + 1, len(sources), "image", "Looking for what is painted")
    yield from _check_classes(sources, card)
    area = sum(job.area for job in jobs)
    if area > _MOST:
        shuffled = np.random.default_rng(0).permutation(len(jobs))
        order = [shuffled[i] for i in rarest_first([jobs[i].classes for i in shuffled])]
        ends = np.cumsum([jobs[i].area for i in order])
        chosen = sorted(order[: max(1, int((ends <= _MOST).sum()))])
        yield Message(
            f"So much is painted that it would take too much memory: {len(chosen)} of "
            f"{len(jobs)} pieces, chosen at random from each class, are trained on.",
            warning=True,
        )
        jobs = [jobs[i] for i in chosen]
    samples = []
    reader = _Reader()
    for done, job in enumerate(jobs, 1):
        image = reader.read(job)
        if reader.estimated:
            yield Message(
                f"{job.source.who}: the range of values of such a large plane is estimated from "
                "parts of it."
            )
        samples.append(job.source.sample(job, image))
        yield Progress(done, len(jobs), "piece", "Preparing")
    return samples


@dataclass(frozen=True)
class _Job:
    """A piece to make a sample of."""

    source: _Source
    plane: int
    block: tuple[slice, slice]
    """Whose painted pixels count, in pixels of the image."""
    window: tuple[slice, slice]
    """What is read, around them."""
    area: float
    """In pixels at working scale."""
    classes: frozenset[int]
    """Painted in the block, by their place among the painted classes."""


class _Source:
    """A checked pair: reads its labels in class numbers of the model."""

    def __init__(self, number: int, pair: TrainingPair, card: ModelCard, in_channels: int) -> None:
        self.number, self.pair, self.annotation = number, pair, pair.annotation
        self.who = f"Image {number + 1}" + (f" ({pair.name})" if pair.name else "")
        self.names = [info.name for info in card.classes if not info.derived]
        self.classes = np.array([k for k, c in enumerate(card.classes) if not c.derived], np.int64)
        self.derived = [k for k, info in enumerate(card.classes) if info.derived]
        self.counts = np.zeros(len(self.classes), np.int64)
        """Painted pixels of each painted class, known after :meth:`jobs`."""
        self.strokes = self.annotation.meaning == "strokes"
        try:
            options = SegmentOptions(diameter=pair.diameter, pixel_size=pair.pixel_size)
            planes = to_planes(
                pair.image,
                pair.axes,
                pair.channels,
                in_channels,
                rgb=pair.rgb,
                colour_order=card.colour_order,
                exact=needs_exact_values(card.normalization),
            )
            self.zoom, self.about_scale = choose_zoom(planes.stack.plane_shape, card, options)
        except InputError as error:
            raise InputError(f"{self.who}: {error}") from error
        self.image = number
        """The first source that shows the same image."""
        self.stack: Stack = planes.stack
        self.preparation = Preparation(planes, card, self.zoom)
        self.labels, self.weights = self._check_annotation()
        self.planes = self._check_planes()

    def jobs(self, patch: int) -> Iterable[_Job]:
        """Find what is painted, checking its values: the pieces to make samples of."""
        shape = self.stack.plane_shape
        sides: tuple[int, int] = shape
        if math.prod(zoomed_shape(shape, self.zoom)) > _WHOLE**2:
            sides = (math.ceil(_BLOCK / self.zoom[0]), math.ceil(_BLOCK / self.zoom[1]))
        margin = (math.ceil(patch / self.zoom[0]), math.ceil(patch / self.zoom[1]))
        for plane in self.planes:
            found = []
            objects = 0
            before = self.counts.copy()
            for block in block_grid(shape, sides):
                values, weights = self._read(plane, block)
                counted = (
                    values != IGNORE if weights is None else (values != IGNORE) & (weights > 0)
                )
                if not counted.any():
                    continue
                classes = np.minimum(values, 1) if self._instances else values
                there = np.bincount(classes[counted], minlength=len(self.counts))
                self.counts += there
                objects += int((classes[counted] > 0).sum())
                whole = sides == shape
                window = block if whole else bounding(counted, block, margin, shape)
                area = math.prod(s.stop - s.start for s in window) * math.prod(self.zoom)
                known = frozenset(map(int, np.flatnonzero(there)))
                found.append(_Job(self, plane, block, window, area, known))
            if not self.strokes and self.pair.planes is None and not objects:
                # An empty mask is far more often one not yet painted than one of no objects.
                self.counts = before
                continue
            yield from found

    def sample(self, job: _Job, image: NDArray[np.float32]) -> Sample:
        """Make the sample of a piece; ``image`` is (C, H, W), normalised, at the image's scale."""
        values, weights = self._read(job.plane, job.window)
        inside = np.zeros(values.shape, bool)
        rows, columns = (
            slice(b.start - w.start, b.stop - w.start)
            for b, w in zip(job.block, job.window, strict=True)
        )
        inside[max(0, rows.start) : rows.stop, max(0, columns.start) : columns.stop] = True
        kind: Literal["instances", "classes"] = "classes"
        lookup = None
        if self.derived and self._instances:
            kind, values = "instances", renumbered(values)
            lookup = np.append(0, np.full(int(values.max(initial=0)), self.classes[1]))
        elif self.derived and not self.strokes:
            kind, (values, lookup) = "instances", components(values)
            lookup = self.classes[lookup]
        else:
            values = np.minimum(values, 1) if self._instances else values
            values = np.where(values < 0, IGNORE, self.classes[values]).astype(np.int32)
        if kind == "classes":
            # Beyond the block another piece has them.
            values = np.where(inside, values, IGNORE)
            if weights is not None:
                values = np.where(weights > 0, values, IGNORE)
        elif weights is not None or not inside.all():
            # What counts for nothing still shows where objects touch and end.
            weights = inside.astype(np.float32) * (1 if weights is None else weights)
        shape = zoomed_shape((values.shape[0], values.shape[1]), self.zoom)
        grey = len(self.preparation.planes.channels) == 1
        return Sample(
            image=resample(image[:1] if grey else image, shape),
            labels=rescale_labels(values.astype(np.int32), shape),
            kind=kind,
            pixel_weights=None if weights is None else rescale_weights(weights, shape),
            merged=self.strokes and bool(self.derived),
            painted=True,
            lookup=lookup,
            boundary=self.derived[0] if self.derived else 2,
            pair=self.image,
            origin=(
                job.plane,
                round(job.window[0].start * self.zoom[0]),
                round(job.window[1].start * self.zoom[1]),
            ),
            name=self.pair.name,
        )

    def shows_what(self, other: _Source) -> bool:
        """Tell whether it is of the same image: what is held out of it is so for both."""
        if self.stack != other.stack or self.zoom != other.zoom:
            return self is other
        mine, theirs = self.preparation.planes.arrays, other.preparation.planes.arrays
        return any(same_array(one, another) for one in mine for another in theirs)

    @property
    def _instances(self) -> bool:
        return self.annotation.of == "instances"

    def _read(
        self, plane: int, window: tuple[slice, slice]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32] | None]:
        """Read numbers of painted classes or instances, 0 background, and weights, of a part."""
        raw = self._part(self.labels, plane, window)
        if raw.dtype.kind == "i" and raw.size and np.ma.filled(raw, 0).min() < 0:
            raise InputError(
                f"{self.who}: the annotation has values below 0. Use 0 and more, as the painting "
                "tools do."
            )
        highest = int(np.ma.filled(raw, 0).max(initial=0))
        if self._instances and highest >= 2**31:
            raise InputError(f"{self.who}: number the objects anew from 1 on, not up to {highest}.")
        if not self._instances and highest > len(self.names) - (not self.strokes):
            raise InputError(
                f"{self.who}: the value {highest} is painted, but the model has no class for it: "
                f"{self._meanings()}. Paint these, say that the values are instances, or give the "
                "model more classes."
            )
        values = np.ma.filled(raw, 0).astype(np.int32) - (1 if self.strokes else 0)
        weights = None
        if self.weights is not None:
            weights = np.ma.filled(self._part(self.weights, plane, window), 0).astype(np.float32)
            if not (np.isfinite(weights) & (weights >= 0)).all():
                raise InputError(f"{self.who}: weights must be 0 or more, and finite.")
        outside = np.ma.getmaskarray(raw)
        of_image = self.preparation.planes.outside(plane, window)
        outside = outside if of_image is None else outside | of_image
        if outside.any():  # what is masked there counts for nothing
            if self.strokes:
                values = np.where(outside, np.int32(IGNORE), values)
            else:
                weights = np.where(outside, np.float32(0), 1 if weights is None else weights)
        return values, weights

    def _part(self, array: Any, plane: int, window: tuple[slice, slice]) -> NDArray[Any]:
        where: dict[str, Any] = dict(
            zip(self.stack.plane_axes, self.stack.index(plane), strict=True)
        )
        where |= dict(zip("YX", window, strict=True))
        try:
            part = array[tuple(where[letter] for letter in self.stack.axes)]
            part = cast("NDArray[Any]", np.asanyarray(part.compute() if is_dask(part) else part))
        except Exception as error:  # a lazy array can raise anything at all
            if isinstance(error, MemoryError):
                raise
            raise InputError(f"{self.who}: the annotation cannot be read: {error}.") from error
        return part if self.stack.axes.index("Y") < self.stack.axes.index("X") else part.T

    def _check_annotation(self) -> tuple[Any, Any]:
        given = self.annotation
        arrays = []
        for what, array in (("annotation", given.labels), ("weights", given.weights)):
            lazy = isinstance(getattr(array, "dtype", None), np.dtype)
            array = with_known_shape(array) if lazy else array
            left_out = what == "weights" and array is None
            array = array if lazy or left_out else np.asanyarray(array)
            if array is not None and tuple(array.shape) != tuple(self.stack.shape):
                raise InputError(
                    f"{self.who}: the {what} has the shape {tuple(array.shape)}, but its image, "
                    f"without channels, {tuple(self.stack.shape)} (axes {self.stack.axes})."
                )
            arrays.append(array)
        if arrays[0].dtype.kind not in "bui":
            raise InputError(
                f"{self.who}: the annotation holds {arrays[0].dtype} values, not whole numbers. "
                "Convert it to whole numbers first."
            )
        return arrays[0], arrays[1]

    def _check_planes(self) -> tuple[int, ...]:
        count = len(self.stack)
        if self.pair.planes is None:
            return tuple(range(count))
        outside = [plane for plane in self.pair.planes if not 0 <= plane < count]
        if outside:
            raise InputError(
                f"{self.who}: there is no plane {outside[0]}: planes are 0 to {count - 1}."
            )
        return tuple(sorted(set(self.pair.planes)))

    def _meanings(self) -> str:
        start = 1 if self.strokes else 0
        words = [f"{value} is {name}" for value, name in enumerate(self.names, start)]
        return ", ".join(["0 is not painted"] * start + words)


class _Reader:
    """Reads normalised pieces; keeps the plane read last if it is not too large."""

    def __init__(self) -> None:
        self.estimated = False
        """Whether the piece read last is the first of a plane whose range was estimated."""
        self._known: tuple[int, int] | None = None
        self._plane: NDArray[np.float32] | None = None
        self._limits: list[tuple[float, float]] = []

    def read(self, job: _Job) -> NDArray[np.float32]:
        """Return (C, h, w) of a job's window, normalised, at the image's scale."""
        source, key = job.source, (job.source.number, job.plane)
        preparation = source.preparation
        self.estimated = False
        try:
            if key != self._known:
                self._plane = None
                if math.prod(source.stack.plane_shape) <= _READ_WHOLE:
                    self._plane = preparation.normalised(job.plane)
                else:
                    self._limits = preparation.limits(job.plane)
                    self.estimated = True
                self._known = key
            if self._plane is not None:
                return self._plane[:, job.window[0], job.window[1]]
            return preparation.window(job.plane, job.window, self._limits)
        except InputError as error:
            raise InputError(f"{source.who}: {error}") from error


def _say_scales(sources: Sequence[_Source]) -> Generator[Event, None, None]:
    yield from dict.fromkeys(source.about_scale for source in sources if source.about_scale)


def _check_classes(sources: Sequence[_Source], card: ModelCard) -> Generator[Event, None, None]:
    """Check that there is something to tell apart."""
    names = [info.name for info in card.classes if not info.derived]
    counts = np.sum([source.counts for source in sources], axis=0) if sources else np.zeros(1)
    painted = np.flatnonzero(counts)
    who = ", ".join(source.who for source in sources) or "There is no image"
    if not len(painted):
        raise InputError(
            f"{who}: nothing is painted. Paint some background and some of each class."
        )
    if len(painted) == 1:
        wanted = names[0] if painted[0] else " or ".join(names[1:])
        raise InputError(
            f"{who}: only {names[painted[0]]!r} is painted. Paint some {wanted!r} too, so that "
            "the model can learn the difference."
        )
    missing = [name for k, name in enumerate(names) if not counts[k]]
    if missing:
        yield Message(
            f"Nothing of {', '.join(map(repr, missing))} is painted: the model may forget it.",
            warning=True,
        )
