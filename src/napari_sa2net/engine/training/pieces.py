"""Painted labels brought to a model's working scale, so that nothing painted is lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .losses import IGNORE


def rescale_labels(labels: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return (H, W) labels resampled to ``shape``.

    Enlarged, every pixel takes its nearest. Shrunk, it takes the value that most of the known
    pixels in it have; :data:`IGNORE` only if all are unknown. A value that would be lost where
    it was (a thin line, a small object) takes the pixel all the same.
    """
    if labels.shape == shape:
        return labels
    labels = _enlarged(labels, shape)
    if labels.shape == shape:
        return labels
    rows, columns = np.nonzero(labels != IGNORE)
    out = np.full(shape, IGNORE, np.int32)
    if not len(rows):
        return out
    values, number = np.unique(labels[rows, columns], return_inverse=True)
    into = _into(rows, labels.shape[0], shape[0]) * shape[1]
    into += _into(columns, labels.shape[1], shape[1])
    keys, votes = np.unique(into * len(values) + number, return_counts=True)
    into, number = np.divmod(keys, len(values))
    # The last of each pixel's entries, sorted by votes, has most.
    order = np.lexsort((votes, into))
    last = np.append(into[order][1:] != into[order][:-1], True)
    out.ravel()[into[order][last]] = values[number[order][last]]
    _restore(out, into, number, votes, values)
    return out


def _restore(
    out: NDArray[np.int32],
    into: NDArray[np.intp],
    number: NDArray[np.intp],
    votes: NDArray[np.intp],
    values: NDArray[np.int32],
) -> None:
    """Give values that were outvoted a pixel where none is left of them nearby."""
    beaten = out.ravel()[into] != values[number]
    for k in np.unique(number[beaten]):
        at = into[beaten & (number == k)]
        if len(values) > 64:
            # Objects: whether anything is left of it is enough.
            if not (out == values[k]).any():
                of = number == k
                out.ravel()[into[of][np.argmax(votes[of])]] = values[k]
            continue
        near = ndimage.maximum_filter(out == values[k], 3, mode="constant")
        out.ravel()[at[~near.ravel()[at]]] = values[k]


def rescale_weights(weights: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return (H, W) weights resampled to ``shape``; shrunk, the largest of each pixel."""
    weights = _enlarged(weights, shape)
    for axis in (0, 1):
        length = weights.shape[axis]
        if length > shape[axis]:
            into = _into(np.arange(length), length, shape[axis])
            starts = np.searchsorted(into, np.arange(shape[axis]))
            weights = np.maximum.reduceat(weights, starts, axis=axis)
    return weights


def _into(at: NDArray[np.intp], length: int, to: int) -> NDArray[np.intp]:
    """Return in which of ``to`` pixels those at ``at`` of ``length`` lie by their centres."""
    return (2 * at + 1) * to // (2 * length)


def _enlarged(values: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    for axis in (0, 1):
        length = values.shape[axis]
        if shape[axis] > length:
            values = values.take(_into(np.arange(shape[axis]), shape[axis], length), axis=axis)
    return values


def components(classes: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return connected parts of (H, W) classes as instances, and the class of each number."""
    instances = np.where(classes == IGNORE, IGNORE, 0).astype(np.int32)
    lookup = [0]
    for k in np.unique(classes[classes > 0]):
        parts, count = ndimage.label(classes == k)
        instances[parts > 0] = parts[parts > 0] + len(lookup) - 1
        lookup += [int(k)] * count
    return instances, np.array(lookup, np.int64)


def renumbered(instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return instances numbered from 1 on, so that none is too large for float32."""
    values, number = np.unique(instances, return_inverse=True)
    numbers = np.where(values > 0, np.cumsum(values > 0), values).astype(np.int32)
    return numbers[number.reshape(instances.shape)]


def block_grid(shape: tuple[int, int], side: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the blocks of at most ``side`` that a plane of ``shape`` is cut into."""
    return [
        (slice(y, min(y + side[0], shape[0])), slice(x, min(x + side[1], shape[1])))
        for y in range(0, shape[0], side[0])
        for x in range(0, shape[1], side[1])
    ]


def bounding(
    mask: NDArray[np.bool_], block: tuple[slice, slice], margin: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[slice, slice]:  # fmt: skip
    """Return the part of the plane around what is set in a block of it, with a margin."""
    out = []
    for axis in (0, 1):
        at = np.flatnonzero(mask.any(axis=1 - axis)) + block[axis].start
        low = max(0, int(at[0]) - margin[axis])
        out.append(slice(low, min(shape[axis], int(at[-1]) + 1 + margin[axis])))
    return out[0], out[1]


def rarest_first(painted: Sequence[Collection[int]]) -> list[int]:
    """Return the numbers of things in which classes are painted, each once.

    They come in their own order, but for the classes in turn, the rarest first: however many of
    them are taken, every class is among them as far as can be.

    Parameters
    ----------
    painted
        The classes in each.
    """
    classes = sorted({k for some in painted for k in some})
    having = [[i for i, some in enumerate(painted) if k in some] for k in classes]
    turns = zip_longest(*sorted(having, key=len))
    return list(dict.fromkeys(i for turn in turns for i in turn if i is not None))
