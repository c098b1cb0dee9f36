"""The table of measurements: a row an object, with scikit-image, plane by plane."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration import Calibration
from ..errors import InputError
from ..events import Event, Progress, run
from ..files import replacing
from .objects import Channels, Objects, values_of

Table = dict[str, NDArray[Any]]
"""Columns of one length by their names."""

STATISTICS = ("mean", "min", "max")


def measure(
    objects: Objects, channels: Channels | None = None, sizes: Calibration | None = None
) -> Generator[Event, None, Table]:
    """Measure objects, a plane at a time.

    Parameters
    ----------
    objects
        What is measured. Each object of a plane has a row, or each object of a Z-stack where
        its planes were linked; of a time series, each at every time.
    channels
        The image, to measure intensities; without it there are none.
    sizes
        Size of a step along ``Z``, ``Y`` and ``X`` in µm, where it is known.

    Yields
    ------
    Event
        A :class:`Progress` after each plane.

    Returns
    -------
    dict
        Columns: ``index`` (the number in the labels), ``piece`` (counted from 1) if some objects
        are given in pieces, ``class``, ``class_name``; ``t`` and ``z``
        (counted from 0) where the image has these axes; ``area`` in pixels or voxels, and
        ``area_um2`` or ``volume_um3`` if the sizes are known; ``centroid_y_um`` … or
        ``centroid_y_px`` … (the middle of the first pixel is 0); ``bbox_y0_px`` to
        ``bbox_y1_px`` …, of which the end is not included; ``intensity_mean_NAME``, ``_min_``
        and ``_max_`` for each channel.

    Raises
    ------
    InputError
        If labels and image have different shapes, or the image cannot be read.
    """
    if channels is not None and channels.shape != objects.labels.shape:
        raise InputError(
            f"The labels have the shape {objects.labels.shape} and the image, without its "
            f"channels, {channels.shape}: measure labels on the image they belong to."
        )
    stack = objects.stack
    parts: list[Table] = []
    for number in range(len(stack)):
        plane = stack.view(objects.labels, number)
        values = None if channels is None else channels.values(number)
        parts.append(placed(_plane(plane, values, objects.origin), objects, number))
        yield Progress(number + 1, len(stack), "plane", "measuring")
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if objects.through_z:
        table = _through_z(table)
    if objects.piece_of:
        table = _by_object(table, objects)
    return columns(table, objects, channels.names if channels else (), sizes or {})


def write_table(path: str | Path, table: Table) -> Path:
    """Write a table as CSV with one line of column names; an existing file is replaced.

    Raises
    ------
    SA2NetError
        If the file cannot be written; nothing is left behind then.
    """
    return run(write_tables(path, [table], 1))


def write_tables(
    path: str | Path, tables: Iterable[Table], count: int
) -> Generator[Event, None, Path]:
    """Write the rows of ``count`` tables of the same columns into one file.

    They are taken one after the other, so that only one of them is in memory. Otherwise as
    :func:`write_table`.

    Yields
    ------
    Event
        A :class:`Progress` after each table.
    """
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for done, table in enumerate(tables, start=1):
            if done == 1:
                writer.writerow(table)
            writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
            yield Progress(done, count, "part", "writing the table")
    return Path(path)


def placed(table: Table, objects: Objects, plane: int) -> Table:
    """Return the measurements of a plane's objects, in pixels, with their place in the stack."""
    place, rows = objects.place(plane), len(table["index"])
    t, z = (np.full(rows, place.get(letter, 0), np.int64) for letter in "TZ")
    return {**table, "t": t, "z": z, "z0": z, "z1": z + 1, "cz": z.astype(float)}


def _plane(labels: NDArray[Any], values: NDArray[Any] | None, origin: tuple[int, int]) -> Table:
    """Measure one plane, in pixels; intensities have the shape (objects, channels)."""
    from skimage.measure import regionprops_table  # slow to import

    properties = ["label", "area", "centroid", "bbox"]
    count = 0 if values is None else len(values)
    if count:
        properties += [f"intensity_{name}" for name in STATISTICS]
    found = regionprops_table(
        np.ascontiguousarray(labels),
        None if values is None else values_of(values),
        properties=properties,
    )
    table: Table = {
        "index": found["label"].astype(np.int64),
        "area": found["area"].astype(np.int64),
    }
    for axis, (letter, start) in enumerate(zip("yx", origin, strict=True)):
        table[f"c{letter}"] = found[f"centroid-{axis}"] + start
        table[f"{letter}0"] = found[f"bbox-{axis}"].astype(np.int64) + start
        table[f"{letter}1"] = found[f"bbox-{axis + 2}"].astype(np.int64) + start
    for name in STATISTICS if count else ():
        table[name] = np.stack([found[f"intensity_{name}-{c}"] for c in range(count)], axis=-1)
    return table


def _through_z(table: Table) -> Table:
    """Join the rows of one object and time: sums, means by area, least and most."""
    order = np.lexsort((table["index"], table["t"]))
    table = {name: column[order] for name, column in table.items()}
    keys = np.stack([table["t"], table["index"]])
    starts = np.flatnonzero(np.any(np.diff(keys, prepend=-1), axis=0))
    area = np.add.reduceat(table["area"], starts)
    joined: Table = {"area": area}
    for name, column in table.items():
        if name in ("cz", "cy", "cx", "mean"):
            rest = (1,) * (column.ndim - 1)
            sums = np.add.reduceat(column * table["area"].reshape(-1, *rest), starts)
            joined[name] = sums / area.reshape(-1, *rest)
        elif name in ("z1", "y1", "x1", "max"):
            joined[name] = np.maximum.reduceat(column, starts)
        elif name in ("z0", "y0", "x0", "min"):
            joined[name] = np.minimum.reduceat(column, starts)
        elif name in ("t", "index"):
            joined[name] = column[starts]
    return joined


def _by_object(table: Table, objects: Objects) -> Table:
    """Put the pieces of an object one after the other, where it stands in the table."""
    own, piece = np.array([objects.piece(n) for n in table["index"].tolist()]).reshape(-1, 2).T
    places = [table[name] for name in ("z", "t") if name in table]
    order = np.lexsort((piece, own, *places))
    return {name: column[order] for name, column in table.items()}


def columns(table: Table, objects: Objects, names: tuple[str, ...], sizes: Calibration) -> Table:
    """Return a table as :func:`measure` does: columns named, lengths in µm if that is known.

    Parameters
    ----------
    table
        What :func:`placed` returns, of one or several planes: a value, or for ``mean``, ``min``
        and ``max`` (objects, channels), for each object.
    names
        Of the channels.
    """
    numbers = table["index"].tolist()
    out: Table = {"index": np.array([objects.piece(n)[0] for n in numbers], np.int64)}
    if objects.piece_of:
        out["piece"] = np.array([objects.piece(n)[1] for n in numbers], np.int64)
    out["class"] = np.array([objects.class_of.get(n, 0) for n in numbers], np.int64)
    out["class_name"] = np.array([objects.info(n).name for n in numbers], dtype=object)
    for letter in "TZ":
        if letter in objects.axes and (letter == "T" or not objects.through_z):
            out[letter.lower()] = table[letter.lower()]
    out["area"] = table["area"]
    sides = "ZYX" if objects.through_z else "YX"
    if all(letter in sizes for letter in sides):
        name = "volume_um3" if objects.through_z else "area_um2"
        out[name] = table["area"] * float(np.prod([sizes[letter] for letter in sides]))
    letters = [letter for letter in "ZYX" if letter in objects.axes]
    for letter in letters:
        unit = "um" if letter in sizes else "px"
        name = letter.lower()
        out[f"centroid_{name}_{unit}"] = table[f"c{name}"] * sizes.get(letter, 1.0)
    for end in "01":
        for letter in letters:
            name = f"{letter.lower()}{end}"
            out[f"bbox_{name}_px"] = table[name]
    for channel, name in enumerate(names):
        for statistic in STATISTICS:
            out[f"intensity_{statistic}_{name}"] = table[statistic][:, channel]
    return out
