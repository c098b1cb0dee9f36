"""Objects in several pieces: what is left of one after a line was erased through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .objects import Objects


def connected(part: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Number the pieces of a plane or a volume: pixels of one number that share sides.

    Returns
    -------
    tuple of ndarray
        The piece of each pixel, 0 for background; and the number of each piece, 0 first.
    """
    from skimage.measure import label  # slow to import

    pieces, count = label(part, background=0, return_num=True, connectivity=1)
    number_of = np.zeros(count + 1, part.dtype)
    number_of[pieces.ravel()] = part.ravel()
    return pieces, number_of


def separate(part: NDArray[Any], first: int) -> tuple[NDArray[Any], dict[int, tuple[int, int]]]:
    """Give each piece of an object a number of its own; the largest keeps that of the object.

    Parameters
    ----------
    part
        A plane, or a volume in which numbers go through the planes.
    first
        The first new number.

    Returns
    -------
    tuple
        The labels; and of each new number that of the object, and which of its pieces it is,
        from 2 on. The labels are ``part`` itself if every object is in one piece.
    """
    pieces, number_of = connected(part)
    numbers, counts = np.unique(number_of[1:], return_counts=True)
    new: dict[int, tuple[int, int]] = {}
    if (counts <= 1).all():
        return part, new
    sizes = np.bincount(pieces.ravel(), minlength=len(number_of))
    table = number_of.copy()
    for number in numbers[counts > 1]:
        own = np.flatnonzero(number_of == number)
        for place, piece in enumerate(own[np.argsort(-sizes[own], kind="stable")][1:], start=2):
            table[piece] = first + len(new)
            new[first + len(new)] = int(number), place
    return table[pieces], new


def pieces_apart(objects: Objects) -> Objects:
    """Return the objects with each piece as one of its own; regions of classes stay.

    The pieces keep the number of the object they are of, in :attr:`Objects.piece_of`.
    """
    if objects.regions:
        return objects
    labels = np.asarray(objects.labels)
    labels = labels.astype(np.promote_types(labels.dtype, np.int32))
    first = int(labels.max(initial=0)) + 1
    new: dict[int, tuple[int, int]] = {}
    for part in _parts(objects, labels):
        part[...], found = separate(part, first + len(new))
        new.update(found)
    if not new:
        return objects
    whole = {number: (number, 1) for number, _ in new.values()}
    known = objects.class_of
    classes = {n: known[number] for n, (number, _) in new.items() if number in known}
    return replace(objects, labels=labels, class_of={**known, **classes}, piece_of={**whole, **new})


def _parts(objects: Objects, labels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield what a number is one object in: planes, or volumes where they were linked."""
    stack = objects.stack
    if objects.through_z:
        yield from stack.ordered(labels)
    else:
        yield from (stack.view(labels, number) for number in range(len(stack)))
