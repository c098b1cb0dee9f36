"""Outlines as ImageJ ROIs, in a zip file that ImageJ's ROI Manager opens."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SA2NetError
from ..events import Event, Progress
from ..files import replacing
from .objects import Objects
from .outlines import Outline, Part, planes_of

ROIS_EXTRA = 'pip install "napari-sa2net[rois]"'

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
"""The steps of a path of ImageJ's composite ROIs."""


def check_rois() -> None:
    """Check that ROIs can be written.

    Raises
    ------
    SA2NetError
        If the package roifile is not installed.
    """
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise SA2NetError(
            f"Writing ImageJ ROIs needs the package roifile: install it with  {ROIS_EXTRA}"
        ) from error


def write_rois(
    path: str | Path, objects: Objects, parts: Sequence[Part] | None = None
) -> Generator[Event, None, Path]:
    """Write the outlines of objects as a zip file of ImageJ ROIs, a part at a time.

    Every object of a plane is a ROI: a polygon, or a composite one if it has holes or several
    parts. It carries the name of its class and its number, the class's colour, and its position
    along Z and time, if the image has these axes; it is on all channels. An existing file is
    replaced, only when the new one is complete.

    Parameters
    ----------
    path, objects, parts
        See :func:`~napari_sa2net.engine.measuring.geojson.write_geojson`.

    Yields
    ------
    Event
        A :class:`Progress` after each part.

    Raises
    ------
    SA2NetError
        If roifile is not installed, or the file cannot be written; nothing is left behind then.
    """
    check_rois()
    path, parts = Path(path), planes_of(objects) if parts is None else parts
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
        for done, part in enumerate(parts, start=1):
            place = objects.place(part.plane)
            for outline in part.outlines:
                roi = _roi(outline, objects, place, part.mark)
                file.writestr(f"{roi.name}.roi", roi.tobytes())
            yield Progress(done, len(parts), "part", "writing outlines")
    return path


def _roi(outline: Outline, objects: Objects, place: dict[str, int], mark: str) -> Any:
    from roifile import ROI_TYPE, ImagejRoi

    rings = [ring for polygon in outline.polygons for ring in polygon]
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(np.array(rings[0]))
        roi.roitype = ROI_TYPE.POLYGON
    else:
        path: list[float] = []
        for ring in rings:
            for step, corner in zip([_MOVE, *[_LINE] * (len(ring) - 1)], ring, strict=True):
                path += (step, *corner)
            path.append(_CLOSE)
        roi = ImagejRoi(roitype=ROI_TYPE.RECT)
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
    corners = np.array([corner for ring in rings for corner in ring])
    # ImageJ's bounds end where the last pixel does.
    roi.left, roi.top = (int(value) for value in corners.min(axis=0))
    roi.right, roi.bottom = (int(value) for value in corners.max(axis=0))
    info = objects.info(outline.number)
    where = "".join(f"_{letter.lower()}{place[letter] + 1}" for letter in "TZ" if letter in place)
    roi.name = f"{_plain(info.name) or 'object'}_{objects.title(outline.number)}{where}{mark}"
    if info.name:
        roi.stroke_color = bytes((255, *bytes.fromhex(info.color[1:])))
    _place(roi, objects, place)
    return roi


def _place(roi: Any, objects: Objects, place: dict[str, int]) -> None:
    """Say in which plane of an image's stack a ROI lies, on whatever channel.

    ImageJ numbers the planes of a stack along its only axis, and places ROIs in a hyperstack,
    which has several, along each of them.
    """
    stack = objects.stack
    along = [a for a, n in zip(stack.plane_axes, stack.lengths, strict=True) if n > 1]
    if len(along) + (objects.channels > 1) > 1:
        roi.z_position, roi.t_position = (place[a] + 1 if a in place else 0 for a in "ZT")
    elif along:
        roi.position = place[along[0]] + 1


def _plain(name: str) -> str:
    """Return a class's name without what a file's name in a zip cannot have."""
    return "".join(c if c.isalnum() or c in " -." else "-" for c in name).strip()
