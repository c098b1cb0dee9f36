"""Pixel sizes in micrometres, as TIFF, OME and ImageJ files state them, and names of channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

logger = logging.getLogger(__name__)

_MICROMETRES = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
}

LARGEST_FROM_DPI = 20.0
"""Largest pixel in µm that is believed where a file only states dots per inch or centimetre.

72 dpi (353 µm) and 300 dpi (85 µm) are what programs write for printing when they know nothing
about the sample.
"""

Calibration = dict[str, float]
"""Size of a step along ``Z``, ``Y``, ``X`` in µm; axes without a known size are missing."""


def micrometres(value: object, unit: object) -> float | None:
    """Return a length in µm, or None if the unit is no length or the value is no size."""
    name = str(unit or "").replace("\\u00B5", "u").strip().lower()
    name = name.replace("µ", "u").replace("μ", "u").replace("metre", "meter")
    factor = _MICROMETRES.get(name) or _MICROMETRES.get(name.removesuffix("s"))
    try:
        size = float(value) * (factor or 0.0)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def keep_known(sizes: Mapping[str, float | None]) -> Calibration:
    """Return the sizes that are known; Y and X only together."""
    known = {axis: size for axis, size in sizes.items() if size is not None}
    if not {"Y", "X"} <= set(known):
        known.pop("Y", None)
        known.pop("X", None)
    return known


def sizes_yx(given: float | Sequence[float]) -> Calibration:
    """Return height and width of a pixel, given as (Y, X) or as one number for both."""
    y, x = given if isinstance(given, Sequence) else (given, given)
    return {"Y": float(y), "X": float(x)}


def from_ome(xml: str) -> Calibration:
    """Read the pixel size of the first image of an OME-XML description."""
    pixels = _pixels(xml)
    if pixels is None:
        return {}
    return keep_known(
        {
            axis: micrometres(
                pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
            )
            for axis in "ZYX"
        }
    )


def channel_names(xml: str) -> tuple[str, ...]:
    """Read the names of the channels of the first image of an OME-XML description."""
    pixels = _pixels(xml)
    if pixels is None:
        return ()
    channels = [e for e in pixels if e.tag.rpartition("}")[2] == "Channel"]
    return tuple(channel.get("Name", "") for channel in channels)


def _pixels(xml: str) -> ElementTree.Element | None:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        logger.info("The OME description cannot be read: %s", error)
        return None
    return next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)


def from_imagej(metadata: Mapping[str, Any], resolution: tuple[Any, Any]) -> Calibration:
    """Read the pixel size of an ImageJ TIFF: ``resolution`` is the tags' (Y, X) pixels a unit."""
    unit = metadata.get("unit")
    if unit in ("inch", "in", "cm"):  # ImageJ writes so what another program said for printing
        return from_dots(resolution, unit)
    y, x = (_per_pixel(value) for value in resolution)
    return keep_known(
        {
            "Z": micrometres(metadata.get("spacing"), unit),
            "Y": micrometres(y, unit),
            "X": micrometres(x, unit),
        }
    )


def from_dots(resolution: tuple[Any, Any], unit: str) -> Calibration:
    """Read a pixel size from dots (Y, X) per ``unit``, where they can be a microscope's."""
    sizes = [micrometres(_per_pixel(value), unit) for value in resolution]
    if any(size is None or size > LARGEST_FROM_DPI for size in sizes):
        return {}
    return keep_known(dict(zip("YX", sizes, strict=True)))


def _per_pixel(resolution: Any) -> float | None:
    """Return the length of a pixel from pixels per length, a number or a (top, bottom) pair."""
    try:
        if isinstance(resolution, (tuple, list)):
            top, bottom = resolution
            return float(bottom) / float(top)
        return 1 / float(resolution)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
