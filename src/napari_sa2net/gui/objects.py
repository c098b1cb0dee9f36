"""The objects of a Labels layer as its pixels are now: their table, and those in several pieces.

Nothing is known of where a person painted (see :mod:`~napari_sa2net.gui.segmenting.edits`), so
planes are compared by their checksums, and only those that changed are looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from ..engine.errors import InputError
from ..engine.measuring.pieces import connected, separate
from . import classes
from .layers import is_result, made_by
from .segmenting.edits import checksum, written_to

Index = tuple[int, ...]
"""Of a plane over the axes of a layer other than Y and X."""

NAMED = 3
"""Objects in several pieces that are named; of more their number is told."""


@dataclass(frozen=True, eq=False)
class _Plane:
    """What a plane of labels holds."""

    checksum: int
    numbers: NDArray[np.int64]
    """Of the objects."""
    areas: NDArray[np.int64]
    pieces: NDArray[np.int64]
    """The object of each piece."""


class Census:
    """The objects of one Labels layer; brought up to date by :meth:`steps`.

    Parameters
    ----------
    layer
        Made by this package, with a NumPy array.
    """

    def __init__(self, layer: Any) -> None:
        letters = str(made_by(layer)["axes"])
        self._layer = layer
        self.sides = letters.index("Y"), letters.index("X")
        others = [letter for letter in letters if letter not in "YX"]
        through_z = classes.shows(layer) == "objects" and is_linked(layer, "z") and "Z" in others
        self.depth = others.index("Z") if through_z else None
        self._objects = classes.shows(layer) == "objects"
        self._planes: dict[Index, _Plane] = {}
        self._touching: dict[Index, NDArray[np.int64]] = {}
        """Of a plane and the next along Z: the pieces that lie on each other."""
        self.pieces: dict[int, int] = {}
        """How many pieces an object is in, of those in several."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the objects."""
        found = [plane.numbers for plane in self._planes.values()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def steps(self) -> Generator[None, None, None]:
        """Look at the planes that have changed, one after the other."""
        planes = np.moveaxis(self._layer.data, self.sides, (-2, -1))
        written = written_to(self._layer)
        indices = list(np.ndindex(planes.shape[:-2]))
        changed: list[Index] = []
        for index in indices:
            mark, before = checksum(planes[index]), self._planes.get(index)
            if before is None or before.checksum != mark:
                # What a model made is in one piece, through linked planes too.
                ours = written is not None and mark == written.planes[index]
                whole = not self._objects or (ours and self.depth is None)
                self._planes[index] = _look(planes[index], mark, whole)
                changed.append(index)
            yield
        if not changed:
            return
        if self.depth is not None:
            yield from self._link(planes, changed)
        self.pieces = self._count()

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the features of the layer: number, class, area and class name of each object."""
        numbers = self.numbers
        areas = np.zeros(len(numbers), np.int64)
        for plane in self._planes.values():
            areas[np.searchsorted(numbers, plane.numbers)] += plane.areas
        return table(self._layer, numbers, areas)

    def _link(self, planes: NDArray[Any], changed: list[Index]) -> Generator[None, None, None]:
        """Find which pieces of planes and the next along Z lie on each other."""
        depth = self.depth or 0
        below = {_moved(index, depth, -1) for index in changed}
        last: tuple[Index, NDArray[Any]] | None = None
        # Through Z first, so that the pieces of a plane serve for both of its neighbours.
        upwards = sorted(below | set(changed), key=lambda i: (i[:depth], i[depth + 1 :], i[depth]))
        for index in upwards:
            above = _moved(index, depth, 1)
            if index in self._planes and above in self._planes:
                here = last[1] if last and last[0] == index else connected(planes[index])[0]
                there = connected(planes[above])[0]
                both = (planes[index] == planes[above]) & (planes[index] != 0)
                self._touching[index] = _pairs(here[both], there[both])
                last = above, there
            yield

    def _count(self) -> dict[int, int]:
        """Count the pieces of each object, where it is in several."""
        if self.depth is None:
            found: dict[int, int] = {}
            for plane in self._planes.values():
                for number, count in zip(*np.unique(plane.pieces, return_counts=True), strict=True):
                    found[int(number)] = max(found.get(int(number), 1), int(count))
            return {number: count for number, count in sorted(found.items()) if count > 1}
        return self._count_solids(self.depth)

    def _count_solids(self, depth: int) -> dict[int, int]:
        indices = sorted(self._planes)
        ends = np.cumsum([0, *(len(self._planes[index].pieces) for index in indices)])
        start = dict(zip(indices, ends.tolist(), strict=False))
        pairs = [np.zeros((2, 0), np.int64)]
        for index, touching in self._touching.items():
            starts = [[start[index] - 1], [start[_moved(index, depth, 1)] - 1]]
            pairs.append(touching + np.array(starts))
        rows, columns = np.concatenate(pairs, axis=1)
        size = int(ends[-1])
        graph = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), (size, size))
        _, solid = connected_components(graph, directed=False)
        numbers = np.concatenate([self._planes[index].pieces for index in indices])
        # A number at another time is another object.
        others = [tuple(np.delete(index, depth)) for index in indices]
        times = {other: place for place, other in enumerate(dict.fromkeys(others))}
        lengths = np.diff(ends)
        time = np.repeat([times[other] for other in others], lengths)
        solids = np.unique(np.stack([time, numbers, solid]), axis=1)
        objects, counts = np.unique(solids[:2], axis=1, return_counts=True)
        several = zip(objects[1][counts > 1].tolist(), counts[counts > 1].tolist(), strict=True)
        found: dict[int, int] = {}
        for number, count in sorted(several):
            found[number] = max(found.get(number, 0), count)
        return found


def is_counted(layer: Any) -> bool:
    """Return whether the table of ``layer`` follows its pixels: a model's labels, in memory.

    That of a painting of classes tells what the values mean.
    """
    plain = isinstance(layer, Labels) and not layer.multiscale
    if not plain or not isinstance(layer.data, np.ndarray):
        return False
    made = made_by(layer)
    if made.get("kind") != "labels" or len(made["axes"]) != layer.data.ndim:
        return False
    return classes.shows(layer) == "objects" or is_result(layer)


def is_linked(layer: Any, axis: str) -> bool:
    """Return whether numbers go through the planes of ``layer`` along ``"z"`` or ``"t"``."""
    labelling = made_by(layer).get("settings", {}).get("labelling", {})
    return bool(labelling.get("link") == axis)


def table(layer: Any, numbers: NDArray[Any], areas: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the features of objects; ``index`` is what napari's status bar goes by."""
    infos = classes.classes_of(layer)
    kinds = [classes.class_of(layer, number) for number in numbers.tolist()]
    names = [infos[kind].name if kind < len(infos) else "" for kind in kinds]
    return {
        "index": np.asarray(numbers, np.int64),
        "class": np.array(kinds, np.int64),
        "area": np.asarray(areas, np.int64),
        "class_name": np.array(names, object),
    }


def write_table(layer: Any, census: Census) -> bool:
    """Let the features of ``layer`` say what is in it now; tell whether they said otherwise.

    Columns that somebody added stay.
    """
    classes.settle(layer, census.numbers.tolist())
    columns, before = census.table(), layer.features
    same = set(columns) <= set(before) and len(before) == len(columns["index"])
    if same and all(np.array_equal(before[name], column) for name, column in columns.items()):
        return False
    others = [name for name in before if name not in columns]
    if others and "index" in before:
        kept = before.drop_duplicates("index").set_index("index")[others]
        columns |= {name: kept[name].reindex(columns["index"]).to_numpy() for name in others}
    layer.features = columns
    return True


def separate_pieces(layer: Any, census: Census) -> int:
    """Make every piece of an object of ``layer`` an object of its own; return how many are new.

    The census must be up to date. One press of Ctrl+Z takes it back.

    Raises
    ------
    InputError
        If the pixels of the layer cannot hold as many numbers.
    """
    planes = np.moveaxis(layer.data, census.sides, (-2, -1))
    order = [axis for axis in range(layer.ndim) if axis not in census.sides] + list(census.sides)
    first, depth = int(layer.data.max(initial=0)) + 1, census.depth
    most = sum(census.pieces.values()) * math.prod(planes.shape[:-2])
    if first + most > np.iinfo(layer.data.dtype).max:
        raise InputError(
            f"The pixels of “{layer.name}” cannot hold more numbers: right click on it, Convert "
            "data type, int32."
        )
    new: dict[int, tuple[int, int]] = {}
    with layer.block_history():
        for index in np.ndindex(planes.shape[:-2]):
            if depth is not None and index[depth]:
                continue
            place: tuple[Any, ...] = index
            if depth is not None:
                place = (*index[:depth], slice(None), *index[depth + 1 :])
            inside = np.isin(planes[place], list(census.pieces))
            for box in ndimage.find_objects(inside.astype(np.uint8)):
                part = np.where(inside[box], planes[place][box], 0)
                part, found = separate(part, first + len(new))
                for number in found:
                    own = zip(np.nonzero(part == number), box, strict=True)
                    _write(layer, place, [n + side.start for n, side in own], order, number)
                new.update(found)
    classes.inherit(layer, {number: old for number, (old, _) in new.items()})
    return len(new)


def pieces_text(pieces: Mapping[int, int]) -> str:
    """Say which objects are in several pieces; empty if none is."""
    if not pieces:
        return ""
    if len(pieces) == 1:
        ((number, count),) = pieces.items()
        return f"Object {number} is in {count} pieces."
    if len(pieces) <= NAMED:
        *most, last = map(str, pieces)
        return f"Objects {', '.join(most)} and {last} are in several pieces."
    return f"{len(pieces)} objects are in several pieces: {', '.join(map(str, [*pieces][:NAMED]))}…"


def saved_pieces_text(pieces: Mapping[int, int], ending: str) -> str:
    """Say what became of objects in several pieces in a file of an ending."""
    said = pieces_text(pieces).rstrip(".")
    if ending.lower() == ".csv":
        return f"{said}: in the table each piece has a row."
    if ending.lower() in (".geojson", ".zip"):
        return f"{said}: in the file each piece has an outline."
    return (
        f"{said}: in the file their pieces share a number, so that they count as one. Press "
        "“Separate the pieces” and save again to make them objects of their own."
    )


def _write(layer: Any, place: tuple[Any, ...], at: Any, order: list[int], number: int) -> None:
    """Write a number where a part of ``layer`` has pixels, such that it can be undone."""
    inside = iter(at)
    size = len(at[0])
    everywhere = [
        next(inside) if isinstance(one, slice) else np.full(size, one, np.intp) for one in place
    ]
    everywhere += list(inside)
    indices = [np.zeros(0, np.intp)] * layer.ndim
    for axis, values in zip(order, everywhere, strict=True):
        indices[axis] = values
    layer.data_setitem(tuple(indices), number)


def _look(plane: NDArray[Any], mark: int, whole: bool) -> _Plane:
    """Count the pixels and the pieces of each number of a plane."""
    highest = int(plane.max(initial=0))
    if highest < 2**24:
        sizes = np.bincount(plane.ravel(), minlength=1)
        sizes[0] = 0
        numbers = np.flatnonzero(sizes)
        areas = sizes[numbers]
    else:  # a count for each number up to the highest would need too much memory
        numbers, areas = np.unique(plane[plane != 0], return_counts=True)
    pieces = numbers if whole else connected(plane)[1][1:]
    return _Plane(mark, *(found.astype(np.int64) for found in (numbers, areas, pieces)))


def _pairs(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """Return which values of two lists stand at one place, each pair once."""
    base = int(other.max(initial=0)) + 1
    codes = one.astype(np.int64) * base + other
    runs = codes[np.flatnonzero(np.diff(codes, prepend=-1))]  # far fewer to sort
    return np.stack(np.divmod(np.unique(runs), base))


def _moved(index: Index, axis: int, by: int) -> Index:
    return (*index[:axis], index[axis] + by, *index[axis + 1 :])
