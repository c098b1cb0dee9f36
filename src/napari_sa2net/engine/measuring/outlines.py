"""Outlines of objects along the edges of their pixels, as polygons with holes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .objects import Objects

Ring = list[tuple[int, int]]
"""Corners (x, y) of pixels, the first not repeated; the corner of the first pixel is (0, 0)."""

Polygon = list[Ring]
"""The outer ring, in the sense of GeoJSON counter-clockwise, then the holes, clockwise."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Right, down, left, up: along the four edges of a pixel, which lies to the right."""


@dataclass(frozen=True)
class Outline:
    """One object in one plane."""

    number: int
    """In the labels."""
    polygons: list[Polygon]
    """One for each part of the object whose pixels share edges."""


@dataclass(frozen=True)
class Part:
    """Some of the outlines of an image."""

    plane: int
    """The number of the plane they lie in."""
    outlines: Iterable[Outline]
    """Traced or read only as they are taken."""
    mark: str = ""
    """Added to the names of ROIs, where an object has outlines in several parts."""


def planes_of(objects: Objects) -> list[Part]:
    """Return the outlines of all planes, a part a plane."""
    return [Part(number, plane_outlines(objects, number)) for number in range(len(objects.stack))]


def plane_outlines(objects: Objects, plane: int) -> Iterator[Outline]:
    """Yield the outline of each object in a plane, by their numbers.

    Outlines follow the edges of pixels exactly: filled, they give the labels again.
    """
    labels = np.ascontiguousarray(objects.stack.view(objects.labels, plane))
    numbers = np.unique(labels)
    # Numbers of a stack are high in its last planes, and find_objects makes a list of them all.
    compact = np.searchsorted(numbers, labels)
    if not len(numbers) or numbers[0] != 0:
        compact += 1
    present = numbers[numbers != 0]
    for place, box in enumerate(ndimage.find_objects(compact)):
        inside = compact[box] == place + 1
        y, x = (int(part.start) + at for part, at in zip(box, objects.origin, strict=True))
        yield Outline(int(present[place]), polygons_of(inside, (x, y)))


def polygons_of(mask: NDArray[np.bool_], start: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Return the polygons that cover the pixels of a mask exactly.

    Parameters
    ----------
    mask
        (H, W).
    start
        The place (x, y) of the mask's first pixel.
    """
    parts, count = ndimage.label(mask)  # pixels that share an edge
    polygons = []
    for number, box in enumerate(ndimage.find_objects(parts, count), start=1):
        corner = (start[0] + box[1].start, start[1] + box[0].start)
        rings = [ring for walk in _walks(parts[box] == number, corner) for ring in _simple(walk)]
        # Only the outer ring runs counter-clockwise.
        polygons.append(sorted(rings, key=_twice_the_area, reverse=True))
    return polygons


def _walks(mask: NDArray[np.bool_], start: tuple[int, int]) -> Iterator[Ring]:
    """Follow the edges between a mask and what is around it; yield the corners of each walk."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    first = ((0, 0), (1, 0), (1, 1), (0, 1))  # where the edge above, right, below, left begins
    edges: dict[tuple[int, int], list[int]] = {}
    for direction, (neighbour, (dx, dy)) in enumerate(zip(outside, first, strict=True)):
        rows, columns = np.nonzero(inner & ~neighbour)
        for corner in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            edges.setdefault(corner, []).append(direction)
    for begin in list(edges):
        while begin in edges:
            yield _walk(edges, begin, start)


def _walk(
    edges: dict[tuple[int, int], list[int]], corner: tuple[int, int], start: tuple[int, int]
) -> Ring:
    """Follow edges from a corner until there are none, and take them out."""
    ring: Ring = []
    before = -1
    while corner in edges:
        ways = edges[corner]
        # Where two pixels meet at a corner only, stay at the edge of the same one.
        turn = (before + 1) % 4
        direction = turn if before >= 0 and turn in ways else ways[0]
        ways.remove(direction)
        if not ways:
            del edges[corner]
        if direction != before:
            ring.append((corner[0] + start[0], corner[1] + start[1]))
        before = direction
        corner = (corner[0] + _STEPS[direction][0], corner[1] + _STEPS[direction][1])
    return ring


def _simple(walk: Ring) -> Iterator[Ring]:
    """Split a walk that comes to a corner twice into rings that do not."""
    path: Ring = []
    places: dict[tuple[int, int], int] = {}
    for corner in walk:
        if corner in places:
            loop = path[places[corner] :]
            for passed in loop:
                del places[passed]
            del path[len(path) - len(loop) :]
            yield loop
        places[corner] = len(path)
        path.append(corner)
    yield path


def _twice_the_area(ring: Ring) -> int:
    """Return twice the area, below 0 for a ring that runs clockwise (Y counted upwards)."""
    following = [*ring[1:], ring[0]]
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, following, strict=True))
