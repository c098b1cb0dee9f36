"""Outlines as GeoJSON, the way QuPath imports and exports objects."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ..cards import ClassInfo
from ..events import Event, Progress
from ..files import replacing
from .objects import Objects
from .outlines import Outline, Part, Polygon, planes_of

EVERY_CHANNEL = -1
"""QuPath's number of no channel in particular."""


def write_geojson(
    path: str | Path, objects: Objects, parts: Sequence[Part] | None = None
) -> Generator[Event, None, Path]:
    """Write the outlines of objects as a GeoJSON FeatureCollection, a part at a time.

    Coordinates are pixels; the corner of the first pixel is (0, 0). Every object of a plane is
    a feature with its number as ``name`` (a piece of one as "12-2"), and with the name and
    colour of its class. Objects become detections in QuPath, regions of a class annotations.
    QuPath's ``plane`` tells Z and time. An existing file is replaced, only when the new one is
    complete.

    Parameters
    ----------
    path
        The file to write.
    objects
        What the outlines' numbers stand for.
    parts
        The outlines; those of all planes, traced now, if not given.

    Yields
    ------
    Event
        A :class:`Progress` after each part.

    Raises
    ------
    SA2NetError
        If the file cannot be written; nothing is left behind then.
    """
    path, parts = Path(path), planes_of(objects) if parts is None else parts
    with replacing(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        comma = "\n"
        for done, part in enumerate(parts, start=1):
            place = objects.place(part.plane)
            for outline in part.outlines:
                feature = _feature(outline, objects, place)
                file.write(comma + json.dumps(feature, ensure_ascii=False))
                comma = ",\n"
            yield Progress(done, len(parts), "part", "writing outlines")
        file.write("\n]}\n")
    return path


def _feature(outline: Outline, objects: Objects, place: dict[str, int]) -> dict[str, Any]:
    parts = [_closed(polygon) for polygon in outline.polygons]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": parts[0]}
    if len(parts) > 1:
        geometry = {"type": "MultiPolygon", "coordinates": parts}
    if place:
        geometry["plane"] = {
            "c": EVERY_CHANNEL, "z": place.get("Z", 0), "t": place.get("T", 0)
        }  # fmt: skip
    properties: dict[str, Any] = {
        "objectType": "annotation" if objects.regions else "detection",
        "name": objects.title(outline.number),
    }
    info = objects.info(outline.number)
    if info.name:
        properties["classification"] = {"name": info.name, "color": _rgb(info)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(polygon: Polygon) -> list[list[tuple[int, int]]]:
    """Return the rings with the first corner repeated, as GeoJSON wants them."""
    return [[*ring, ring[0]] for ring in polygon]


def _rgb(info: ClassInfo) -> list[int]:
    return [int(info.color[at : at + 2], 16) for at in (1, 3, 5)]
