"""What a segmentation is asked for and what it gives. Nothing here needs torch."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .axes import Stack
from .batch.kinds import MAPS
from .calibration import LENGTH
from .errors import InputError
from .events import Event, Progress
from .fields import check_fields
from .found import classes_text, objects_text, plane_lengths, unlinked_axes
from .images import CHANNELS
from .instances import LabelSettings
from .parts import Labels
from .tiling import GRID, check_tiling

if TYPE_CHECKING:
    from .cards import ModelCard

BACKENDS = ("auto", "torch", "onnxruntime")
"""What can run the network; ``auto`` is ONNX Runtime on the CPU if it is there, else PyTorch."""

PRECISIONS = ("auto", "single", "half")
"""With what numbers an NVIDIA card computes; ``auto`` is half if that makes little difference."""

LARGE = 10**9
"""Maps of more bytes than this are warned of."""


TILES = ((16, 736), (math.inf, 512))
"""Longest side of a tile in pixels for models up to a width. A tile takes about 1 GB."""


def tile_for(options: SegmentOptions, base_channels: int) -> int:
    """Return the longest side of a tile in pixels for a model of a width."""
    asked = options.tile or next(side for width, side in TILES if base_channels <= width)
    return asked // GRID * GRID


@dataclass(frozen=True)
class SegmentOptions:
    """How an image is segmented. Everything is checked when it is made."""

    axes: str | None = field(
        default=None,
        metadata={
            "help": "A letter for each axis of the image, guessed if empty: T, Z, C, Y, X, S for "
            "colours, and any other for an axis of which one entry is used, as R for positions."
        },
    )
    position: int | None = field(
        default=None,
        metadata={
            "help": "Which image of several, from 0 on: positions, scenes, or what else a file or "
            "array holds along axes other than T, Z, C, Y and X. The first if empty.",
            "min": 0,
            "max": sys.maxsize,
        },
    )
    rgb: bool = field(
        default=False, metadata={"help": "The channels are the colours red, green and blue."}
    )
    channels: tuple[int | str, ...] | None = field(
        default=None,
        metadata={
            "help": "Channels to use, in the order the model wants them; one is used alone. "
            "Numbers from 0 on, or their names in the image's file. "
            "If empty: the colours, or all if the model takes as many.",
            **CHANNELS,
        },
    )
    device: str = field(
        default="auto",
        metadata={
            "help": "auto, cpu, cuda, cuda:1, mps. Auto takes the fastest.",
            "longest": 100,
        },
    )
    pixel_size: float | tuple[float, float] | None = field(
        default=None,
        metadata={
            "help": "Size of a pixel in µm (or of its height and width); the image is resampled "
            "to the model's pixel size.",
            **LENGTH,
        },
    )
    diameter: float | None = field(
        default=None,
        metadata={
            "help": "Usual diameter of an object in pixels of this image; the image is resampled "
            "so that it has the model's. Goes before the pixel size.",
            **LENGTH,
        },
    )
    tile: int | None = field(
        default=None,
        metadata={
            "help": "Longest side of a tile in pixels. Larger is quicker and needs more memory; "
            "if empty, what suits the width of the model.",
            "min": 64,
            "max": 8192,
            "step": 16,
        },
    )
    discard: int = field(
        default=16,
        metadata={
            "help": "Pixels thrown away at the inner border of each tile. With 96 it is that of "
            "the whole image within 0.001, on images of the kinds that the model knows.",
            "min": 0,
            "max": 512,
            "step": 16,
        },
    )
    blend: int = field(
        default=48,
        metadata={
            "help": "Pixels over which neighbouring tiles fade into each other.",
            "min": 0,
            "max": 512,
            "step": 16,
        },
    )
    batch: int | None = field(
        default=None,
        metadata={
            "help": "Tiles computed at a time; if empty 1 on the CPU and more on a GPU.",
            "min": 1,
            "max": 256,
        },
    )
    backend: str = field(
        default="auto",
        metadata={
            "help": "What runs the network: auto, torch, onnxruntime. Auto is ONNX Runtime on the "
            "CPU, if it is installed. The results are the same.",
            "choices": BACKENDS,
        },
    )
    precision: str = field(
        default="auto",
        metadata={
            "help": "On an NVIDIA GPU: auto, single, half. Half is quicker; auto takes it if the "
            "first tiles come out alike in both. Elsewhere it is always single.",
            "choices": PRECISIONS,
        },
    )
    flips: bool = field(
        default=False,
        metadata={
            "help": "Average over the image and its three mirror images, which takes four times "
            "as long."
        },
    )
    labelling: LabelSettings | None = field(
        default=None,
        metadata={"help": "How probabilities become labels; the model's own if empty."},
    )
    keep: frozenset[str] = field(
        default=frozenset(),
        metadata={
            "help": "Maps to keep besides the labels: stages, attention, disagreement.",
            "choices": MAPS,
        },
    )
    planes: tuple[int, ...] | None = field(
        default=None,
        metadata={
            "help": "Numbers of the planes to segment, counted over T, then Z; all if empty",
            "min": 0,
        },
    )
    region: tuple[int, int, int, int] | None = field(
        default=None,
        metadata={
            "help": "Segment only this part of each plane: first row, first column, last row + 1, "
            "last column + 1. The result has its size.",
            "min": 0,
            "what": "4 whole numbers of 0 or more: first row, first column, last row + 1 and last "
            "column + 1",
        },
    )
    map_planes: tuple[int, ...] | None = field(
        default=None,
        metadata={
            "help": "Numbers of the planes whose stages, attention and disagreement are kept; "
            "all if empty.",
            "min": 0,
        },
    )
    relabel: bool = field(
        default=True,
        metadata={
            "help": "Keep the probabilities, so that threshold, size and splitting can be changed "
            "without running the network again (2 bytes a class and pixel)."
        },
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_tiling(self.tile or TILES[-1][1], self.discard, self.blend)
        if self.region is not None:
            _check_corners(self.region)


def _check_corners(region: tuple[int, int, int, int]) -> None:
    """Check that a region has pixels in it."""
    y0, x0, y1, x1 = region
    if not (y0 < y1 and x0 < x1):
        raise InputError(
            f"region is {region}: give first row, first column, last row + 1 and last column + 1, "
            "counted from 0, as (100, 200, 612, 712)."
        )


@dataclass(frozen=True)
class TileDone(Progress):
    """A tile has gone through the network; ``done`` and ``total`` count those of all planes."""

    plane: int = 0
    """The plane's number."""


@dataclass(frozen=True)
class PlaneDone(Event):
    """A plane is finished."""

    plane: int
    """Its number, counted over T, then Z."""
    index: tuple[int, ...]
    """Where it lies along T and Z, as far as the image has these axes."""
    labels: Labels = field(repr=False, compare=False)
    """(H, W), a copy; numbers are unique across planes, and linking is yet to come."""


@dataclass(frozen=True)
class Segmentation:
    """The result of :func:`~napari_sa2net.engine.inference.segment`.

    All arrays have the image's shape without its channel axis (``*shape`` below): planes not
    asked for are 0. Only with a ``region`` the rows and columns are those of the region: what
    lies outside of it has not been looked at, and is not to be taken for background.
    """

    labels: Labels
    """(*shape) int32: instance numbers, unique across planes, or class numbers; 0 background."""
    probabilities: NDArray[np.float16] | None
    """(K, *shape): probability of each class, background first; a binary model has two classes.
    None only if neither kept nor wanted for relabelling."""
    stages: NDArray[np.float16] | None
    """(4, *shape): 1 − probability of background at each stage, finest first, if kept."""
    attention: NDArray[np.float16] | None
    """(4, *shape): attention map ψ of each AuA, finest first, in [0, 1], if kept."""
    disagreement: NDArray[np.float16] | None
    """(*shape): largest minus smallest of the four stages, in [0, 1], if kept."""
    features: dict[str, NDArray[Any]]
    """Columns ``index``, ``class`` and ``area`` (pixels, voxels), a row for each number."""
    axes: str
    """A letter of ``"TZYX"`` for each axis of ``labels``."""
    card: ModelCard
    """The model's card."""
    options: SegmentOptions
    """As given, with ``labelling`` and ``axes`` as they were used."""
    device: str
    """Where the network ran; the last one if it had to change."""
    planes: tuple[int, ...]
    """Numbers of the planes that were segmented."""
    zoom: tuple[float, float]
    """By what the image was resampled for the network (height, width)."""
    messages: tuple[str, ...] = ()
    """What a person should know: choices, fallbacks, warnings."""
    version: str = ""
    """Version of this package."""
    masked: bool = False
    """Whether the image had a mask: where it is set the probabilities are NaN, the labels 0."""

    @property
    def stack(self) -> Stack:
        """Shape and planes of the arrays."""
        return Stack(self.axes, self.labels.shape)

    @property
    def labelling(self) -> LabelSettings:
        """The settings that made ``labels``."""
        return self.options.labelling or self.card.labelling

    @property
    def text(self) -> str:
        """What was found, in words."""
        names = [self.card.classes[number].name for number in self.features["class"]]
        if self.labelling.result == "classes":
            return classes_text(names, self.plane_lengths)
        return objects_text(len(names), self.plane_lengths, self.labelling, Counter(names))

    @property
    def unlinked(self) -> str:
        """The axes, of ``"TZ"``, through which an object has another number in each plane."""
        return unlinked_axes(self.plane_lengths, self.labelling)

    @property
    def plane_lengths(self) -> dict[str, int]:
        """How many planes were segmented along ``T`` and ``Z``, as far as there are these axes."""
        return plane_lengths(self.stack, self.planes)


def derived_classes(card: ModelCard) -> tuple[int, ...]:
    """Return the numbers of the card's derived classes."""
    return tuple(i for i, info in enumerate(card.classes) if info.derived)


def map_bytes(shape: Sequence[int], num_classes: int, options: SegmentOptions) -> int:
    """Return how many bytes a segmentation's maps take, labels included.

    Parameters
    ----------
    shape
        Of the result: the image's without its channel axis. Give one plane's for maps of a
        single plane.
    num_classes
        Of the model.
    options
        What is kept.
    """
    pixels = math.prod(int(n) for n in shape)
    maps = max(2, num_classes) if options.relabel or "probabilities" in options.keep else 0
    maps += 4 * (("stages" in options.keep) + ("attention" in options.keep))
    maps += "disagreement" in options.keep
    return pixels * (4 + 2 * maps)
