"""Images among several: along axes that are not of an image, as the positions of a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axes import describe_axis, further_axes
from .errors import InputError
from .fields import check_value

ALL = "all"
"""In place of a position's number: each is an image with results of its own."""


def count_positions(axes: str, shape: Sequence[int]) -> int:
    """Return how many images an array holds along axes that are none of ``"TZCYX"``."""
    return math.prod(int(n) for a, n in zip(axes, shape, strict=True) if further_axes(a))


def first_of(what: str, count: int, axes: str = "") -> str:
    """Say that of several images the first is used.

    Parameters
    ----------
    what
        What holds them.
    count
        How many there are.
    axes
        If they lie along axes that are none of ``"TZCYX"``, the letters of these.
    """
    along = " and ".join(describe_axis(letter) for letter in axes)
    return (
        f"{what} holds {count} images{f' along {along}' if along else ''}, of which the first is "
        "used: --position 1 (position=1) takes the next, --position all each of them."
    )


def check_position(position: Any, count: int, what: str) -> int:
    """Return the number of the image that is used, the first if none is asked for.

    Raises
    ------
    InputError
        If there is no such image.
    """
    if position is None:
        return 0
    if isinstance(position, str) and position == ALL:
        raise InputError(
            f"position is {ALL!r}: give the number of one image, from 0 on (all of them are for "
            "segment_files)."
        )
    position = check_value("position", position, int)
    if not 0 <= position < count:
        raise InputError(
            f"There is no position {position}: {what} holds {count} image{'s' * (count > 1)}, "
            + (f"numbered 0 to {count - 1}." if count > 1 else "number 0.")
        )
    return int(position)


def choose_image(
    images: Sequence[tuple[str, Sequence[int]]], position: int | None, what: str
) -> tuple[int, int, str]:
    """Choose one image of a file.

    Parameters
    ----------
    images
        Axes and shape of each array in the file.
    position
        As a person counts the images: over the arrays, and in each over its further axes.
    what
        The file's name.

    Returns
    -------
    int
        Which array.
    int
        Which image in it.
    str
        What a person should know, if anything.

    Raises
    ------
    InputError
        If there is no such image.
    """
    counts = [count_positions(axes, shape) for axes, shape in images]
    number = check_position(position, sum(counts), what)
    remark = ""
    if position is None and sum(counts) > 1:
        axes, shape = images[0]
        further = [a for a, n in zip(axes, shape, strict=True) if further_axes(a) and n > 1]
        remark = first_of(what, sum(counts), "".join(further) if len(images) == 1 else "")
    for which, count in enumerate(counts):
        if number < count:
            return which, number, remark
        number -= count
    raise AssertionError


def one_position(array: Any, axes: str, position: int | None) -> Any:
    """Return the part of an array that is one image; its further axes are left with length 1.

    Nothing of a lazy array is read.

    Parameters
    ----------
    array
        Anything that can be indexed, with a shape.
    axes
        A letter for each axis, as :func:`~napari_sa2net.engine.axes.check_axes` wants them.
    position
        Number of the image, counted over the further axes in their order; the first if None.
        Of an array that holds one image it is that one.

    Raises
    ------
    InputError
        If there is no such image.
    """
    shape = tuple(int(n) for n in array.shape)
    count = count_positions(axes, shape)
    if count == 1:
        return array
    lengths = [n for a, n in zip(axes, shape, strict=True) if further_axes(a)]
    number = check_position(position, count, "the image")
    places = iter(np.unravel_index(number, lengths))
    index = tuple(int(next(places)) if further_axes(a) else None for a in axes)
    if isinstance(array, np.ndarray):
        return array[tuple(slice(None) if i is None else slice(i, i + 1) for i in index)]
    return Part(array, index)


class Part:
    """One entry of some axes of a lazy array, which keep length 1; read when it is indexed.

    Parameters
    ----------
    array
        A zarr or dask array, or whatever else can be indexed with whole numbers and slices.
    index
        The entry of each axis, None where all of them are there.
    """

    def __init__(self, array: Any, index: Sequence[int | None]) -> None:
        self._array, self._index = array, tuple(index)
        sides = zip(array.shape, self._index, strict=True)
        self.shape = tuple(int(n) if i is None else 1 for n, i in sides)
        self.dtype = np.dtype(array.dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            middle = (slice(None),) * (self.ndim - len(keys) + 1)
            keys = (*keys[:at], *middle, *keys[at + 1 :])
        keys = (*keys, *(slice(None),) * (self.ndim - len(keys)))
        inner = tuple(
            wanted if i is None else slice(i, i + 1)
            for wanted, i in zip(keys, self._index, strict=True)
        )
        read = np.asarray(self._array[inner])
        # What is left of the axes after whole numbers have taken theirs away.
        return read[
            tuple(
                slice(None) if i is None else wanted
                for wanted, i in zip(keys, self._index, strict=True)
                if i is not None or isinstance(wanted, slice)
            )
        ]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)
