"""What a person painted over an image, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..calibration import LENGTH
from ..fields import check_fields
from ..images import CHANNELS

Meaning = Literal["strokes", "mask"]
Of = Literal["classes", "instances"]


@dataclass(frozen=True)
class Annotation:
    """What a person painted over an image, and what its values mean."""

    labels: Any
    """Whole numbers, of the image's shape without its channel axis."""
    meaning: Meaning = "strokes"
    """Strokes: 0 is not painted, 1 background, 2 … the classes. Mask: 0 is background."""
    of: Of = "classes"
    """Classes: strokes of v are the painted class v - 1, of a mask v. Instances: every value
    from 2 (strokes) or 1 (mask) on is one object of the first painted class."""
    weights: Any = None
    """How much each pixel counts, 0 not at all; of the labels' shape. None: all alike."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class TrainingPair:
    """An image and what was painted over it."""

    image: Any
    """An array, or a list of equal arrays as channels, as :func:`segment` takes it."""
    annotation: Annotation
    name: str = ""
    """For messages."""
    axes: str | None = None
    rgb: bool = False
    channels: tuple[int | str, ...] | None = field(default=None, metadata=CHANNELS)
    diameter: float | None = field(default=None, metadata=LENGTH)
    pixel_size: float | tuple[float, float] | None = field(default=None, metadata=LENGTH)
    planes: tuple[int, ...] | None = field(default=None, metadata={"min": 0})
    """Numbers of the planes of a stack to use; None: those with something painted."""

    def __post_init__(self) -> None:
        check_fields(self)


def same_array(a: Any, b: Any) -> bool:
    """Tell whether two arrays are the same one; of NumPy's, whether they lie in one place."""
    if a is b:
        return True
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        places = [array.__array_interface__["data"][0] for array in (a, b)]
        return bool(places[0] == places[1] and a.strides == b.strides)
    # The name of a dask array tells what it is made of.
    names = [getattr(array, "name", None) for array in (a, b)]
    return type(a) is type(b) and bool(names[0]) and names[0] == names[1]
