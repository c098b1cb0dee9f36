"""What is measured and outlined: labels, with what their numbers stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Stack, check_axes
from ..cards import ClassInfo
from ..errors import InputError
from ..images import Planes, to_planes
from ..segmentation import Segmentation
from ..tiling import Box

_UNKNOWN = ClassInfo("")


@dataclass(frozen=True, eq=False)
class Objects:
    """Labels, and what their numbers stand for.

    Raises
    ------
    InputError
        If the axes do not fit the labels.
    """

    labels: Any
    """Whole numbers over :attr:`axes`, 0 background: a NumPy array, or where only their shape
    matters a zarr array."""
    axes: str
    """A letter of ``"TZYX"`` for each axis of the labels."""
    classes: tuple[ClassInfo, ...] = ()
    """The classes there are, background first."""
    class_of: Mapping[int, int] = field(default_factory=dict)
    """The class of each number, as far as it is known."""
    through_z: bool = False
    """Whether a number in several planes of a Z-stack is one object; else each plane has its
    own."""
    regions: bool = False
    """Whether the numbers are classes, not objects."""
    origin: tuple[int, int] = (0, 0)
    """Row and column in the image of the labels' first pixel; places are told in the image."""
    channels: int = 1
    """Channels of the image as ImageJ counts them, see :attr:`Channels.in_imagej`."""
    piece_of: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Of numbers that stand for a piece of an object: that of the object, and which piece it is,
    from 1 on. See :func:`~napari_sa2net.engine.measuring.pieces.pieces_apart`."""

    def __post_init__(self) -> None:
        check_axes(self.axes, self.labels.shape)
        if set(self.axes) - set("TZYX"):
            raise InputError(
                f"Labels have no channels and no positions, but their axes are {self.axes}."
            )
        if "Z" not in self.axes:
            object.__setattr__(self, "through_z", False)

    @property
    def stack(self) -> Stack:
        """Shape and planes of the labels."""
        return Stack(self.axes, self.labels.shape)

    def place(self, plane: int) -> dict[str, int]:
        """Return where a plane lies along ``T`` and ``Z``, as far as there are these axes."""
        stack = self.stack
        return dict(zip(stack.plane_axes, stack.index(plane), strict=True))

    def piece(self, number: int) -> tuple[int, int]:
        """Return the object that a number stands for, and which piece of it."""
        return self.piece_of.get(number, (number, 1))

    def title(self, number: int) -> str:
        """Return what an object is called: its number, and which piece it is, as "12-2"."""
        own, piece = self.piece(number)
        return f"{own}-{piece}" if number in self.piece_of else str(own)

    def info(self, number: int) -> ClassInfo:
        """Return the class of a number; one without a name where it is not known."""
        known = self.class_of.get(number, -1)
        return self.classes[known] if 0 <= known < len(self.classes) else _UNKNOWN


def objects_of(result: Segmentation, *, edited: bool = False) -> Objects:
    """Return the objects of a segmentation.

    Parameters
    ----------
    result
        The segmentation.
    edited
        Whether its labels may have been changed since it was made.
    """
    numbers, classes = result.features["index"], result.features["class"]
    settings = result.labelling
    regions = settings.result == "classes"
    class_of = dict(zip(numbers.tolist(), classes.tolist(), strict=True))
    possible = [n for n, info in enumerate(result.card.classes) if n and not info.derived]
    if len(possible) == 1 and not regions:
        # Who has numbered labels otherwise since has objects of the one class there is.
        present = np.unique(result.labels).tolist() if edited else ()
        class_of = dict.fromkeys(present, possible[0]) | class_of
    return Objects(
        result.labels,
        result.axes,
        result.card.classes,
        class_of,
        through_z=settings.link == "z" and not regions,
        regions=regions,
        origin=result.options.region[:2] if result.options.region is not None else (0, 0),
    )


@dataclass(frozen=True, eq=False)
class Channels:
    """All channels of an image, read a plane at a time. Made by :func:`channels_of`."""

    planes: Planes
    names: tuple[str, ...]
    """Of the channels; none alike."""
    region: Box | None = None
    """The part of each plane that the labels are of; all of it if None."""
    rgb: bool = False
    """Whether they are colours."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the labels that are measured on it."""
        stack = self.planes.stack
        return stack.shape if self.region is None else stack.part(self.region).shape

    @property
    def in_imagej(self) -> int:
        """How many of them ImageJ counts: red, green and blue of 8 bits are one image there."""
        colours = self.rgb and np.dtype(self.planes.arrays[0].dtype) == np.uint8
        return 1 if colours else len(self.names)

    def values(self, number: int) -> NDArray[Any]:
        """Return a plane as (C, H, W); of a region nothing else is read."""
        if self.region is None:
            return self.planes.values(number)
        top, left, bottom, right = self.region
        return self.planes.values(number, (slice(top, bottom), slice(left, right)))


def channels_of(
    image: Any,
    axes: str,
    *,
    rgb: bool = False,
    names: Sequence[str] = (),
    region: Box | None = None,
    position: int | None = None,
) -> Channels:
    """Prepare an image for measuring the intensity of its channels.

    Parameters
    ----------
    image
        A NumPy, dask or zarr array.
    axes
        A letter for each of its axes.
    rgb
        Whether the channels are colours.
    names
        Of the channels. Without them they are numbered from 0, or named by their colours.
    region
        The part of each plane that the labels are of; all of it if not given.
    position
        Which of several images it is, see :func:`~napari_sa2net.engine.images.to_planes`.
    """
    planes = to_planes(image, axes, (0,), 1, rgb=rgb, position=position)
    channels = all_channels(planes, rgb or "S" in axes, names)
    return replace(channels, region=region)


def all_channels(planes: Planes, rgb: bool = False, names: Sequence[str] = ()) -> Channels:
    """Return all channels of an image of which some may be read already.

    Parameters
    ----------
    planes
        Of any channels.
    rgb, names
        See :func:`channels_of`.
    """
    array = planes.arrays[0]
    count = int(array.shape[planes.axes.index("C")]) if "C" in planes.axes else len(planes.arrays)
    if not any(names) and rgb and count in (3, 4):
        names = ("red", "green", "blue", "alpha")[:count]
    numbers = [str(number) for number in range(count)]
    unique: list[str] = []
    for number, given in zip(numbers, [*map(str, names), *[""] * count], strict=False):
        name = given.strip()
        unique.append(number if not name or name in (*unique, *numbers) else name)
    everything = replace(planes, channels=tuple(range(count)), in_channels=count)
    return Channels(everything, tuple(unique), rgb=rgb)


def values_of(plane: NDArray[Any]) -> NDArray[Any]:
    """Return (C, H, W) as (H, W, C) in a type that sums and means can be made of."""
    wide = {"b": np.uint8, "f": np.float64}.get(plane.dtype.kind)
    values = plane if wide is None else plane.astype(wide)
    return np.moveaxis(values, 0, -1)
