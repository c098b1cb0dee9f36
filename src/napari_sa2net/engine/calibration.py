"""Pixel sizes in micrometres, as image files of all kinds state them, and names of channels."""

from __future__ import annotations

import html
import logging
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any
from xml.etree import ElementTree

from .fields import check_value

logger = logging.getLogger(__name__)

LARGEST_FROM_DPI = 20.0
"""Largest pixel in µm that is believed where a file only states dots per inch or centimetre.

72 dpi (353 µm) and 300 dpi (85 µm) are what programs write for printing when they know nothing
about the sample.
"""

LEAST, MOST = 1e-37, 1e37
"""Between these is what files of 32-bit numbers can hold, and of which a volume can be told."""

LENGTH: dict[str, Any] = {"min": LEAST, "max": MOST, "what": "a length above 0"}
"""What holds of an option that is a length, see :mod:`~napari_sa2net.engine.fields`."""

USUAL = 1e-6, 1e6
"""Sizes in µm beyond which a unit was surely mistaken: a hundredth of an atom, a metre."""

Calibration = dict[str, float]
"""Size of a step along ``Z``, ``Y``, ``X`` in µm; axes without a known size are missing."""

_PREFIXES = {
    "Y": ("yotta", 24), "Z": ("zetta", 21), "E": ("exa", 18), "P": ("peta", 15), "T": ("tera", 12),
    "G": ("giga", 9), "M": ("mega", 6), "k": ("kilo", 3), "h": ("hecto", 2), "da": ("deca", 1),
    "": ("", 0), "d": ("deci", -1), "c": ("centi", -2), "m": ("milli", -3), "u": ("micro", -6),
    "n": ("nano", -9), "p": ("pico", -12), "f": ("femto", -15), "a": ("atto", -18),
    "z": ("zepto", -21), "y": ("yocto", -24),
}  # fmt: skip
_INCH, _METRE = 25400.0, 1e6
_OTHERS = {
    ("Å", "angstrom", "A"): 1e-4,
    ("li", "line"): _INCH / 12,
    ("thou", "mil"): _INCH / 1000,
    ("pt", "point"): _INCH / 72,
    ("in", "inch", "inche", '"'): _INCH,
    ("ft", "foot", "feet"): 12 * _INCH,
    ("yd", "yard"): 36 * _INCH,
    ("mi", "mile"): 63360 * _INCH,
    ("ua", "au", "astronomical unit"): 149597870700 * _METRE,
    ("ly", "light year", "lightyear", "light-year"): 9460730472580800 * _METRE,
    ("pc", "parsec"): 3.085677581491367e16 * _METRE,
    # Other ways to write the two that microscopes use.
    ("u", "mu", "micron", "mikron", "мкм"): 1.0,
    ("нм",): 1e-3,
}
_SYMBOLS = {f"{symbol}m": float(f"1e{power + 6}") for symbol, (_, power) in _PREFIXES.items()}
"""Micrometres of a unit by its symbol, in which capital letters matter: ``Mm`` is no ``mm``."""
_WORDS = {f"{word}meter": float(f"1e{power + 6}") for word, power in _PREFIXES.values()}
_WORDS |= {"dekameter": 1e7, "mikrometer": 1.0}
for _names, _size in _OTHERS.items():
    _SYMBOLS |= dict.fromkeys(_names, _size)
    _WORDS |= dict.fromkeys((name.lower() for name in _names if name != "A"), _size)
_WORDS |= {name: _SYMBOLS[name] for name in ("nm", "um", "mm", "cm", "m")}

_NO_UNIT = {"", "none", "null", "unknown", "undefined", "uncalibrated", "pixel", "px", "voxel"}
"""What stands for a unit where there is none."""

_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s.,+-].*)?")


# --- One length --------------------------------------------------------------------------------


def unit_size(unit: object) -> tuple[float | None, bool]:
    """Return how many micrometres a unit has, None if it is no length; and whether that is a guess.

    Symbols and names in several languages are known, with a micro sign however it was written or
    in a wrong encoding: ``µm``, ``\\\\u00b5m``, ``Âµm``. Of ``?m`` it is a guess.
    """
    name = _mended(str(unit or ""))
    if name in _SYMBOLS:
        return _SYMBOLS[name], False
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = re.sub(r"met(re|ro)(?=s?$)", "meter", plain.lower())
    for word in (name.lower(), plain, plain.removesuffix("s")):
        if word in _WORDS:
            return _WORDS[word], False
    if re.fullmatch(r"(?:[^\x00-\x7f]|\?){1,4}u?m", name):
        return 1.0, True  # of the common ones only µm begins with what is no letter
    return None, False


def _mended(unit: str) -> str:
    """Return a unit as it was meant, its micro sign as ``u``."""
    unit = html.unescape(unit[:100].strip(" \t\r\n\0"))
    unit = re.sub(
        r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1] or m[2], 16)), unit
    )
    for _ in range(2):  # UTF-8 that was read as another encoding, and perhaps written again
        for encoding in ("cp1252", "latin-1"):
            with suppress(UnicodeError):
                unit = unit.encode(encoding).decode("utf-8")
                break
    unit = unicodedata.normalize("NFKC", unit).replace("μ", "u").strip()
    return re.sub(r"\s*(/|\bper\b)\s*(px|pixel|voxel)s?$", "", unit)


def _number(value: object) -> tuple[float, str]:
    """Return a number, NaN if it is none, and the unit written behind it; a comma is a point."""
    if isinstance(value, Real):
        try:
            return float(value), ""
        except OverflowError:
            return math.inf, ""
    match = _NUMBER.fullmatch(str(value).strip()[:100])
    if match is None:
        return math.nan, ""
    return float(match[1].replace(",", ".")), match[2] or ""


def is_size(value: float) -> bool:
    """Tell whether a number of µm can be a size at all."""
    return LEAST <= value <= MOST  # not if it is NaN


def micrometres(value: object, unit: object) -> float | None:
    """Return a length in µm, or None if the unit is no length or the value is no size."""
    number, behind = _number(value)
    factor, _ = unit_size(behind or unit)
    return number * factor if factor is not None and is_size(number * factor) else None


def sizes_yx(given: Any) -> Calibration:
    """Return height and width of a pixel, given as (Y, X) or as one number for both.

    Raises
    ------
    InputError
        If it is no size.
    """
    size = check_value("pixel_size", given, float | tuple[float, float], **LENGTH)
    y, x = size if isinstance(size, tuple) else (size, size)
    return {"Y": float(y), "X": float(x)}


# --- What a file states ------------------------------------------------------------------------


def keep_known(sizes: Mapping[str, float | None]) -> Calibration:
    """Return the sizes that are known; Y and X only together."""
    known = {axis: size for axis, size in sizes.items() if size is not None}
    if not {"Y", "X"} <= set(known):
        known.pop("Y", None)
        known.pop("X", None)
    return known


def read_sizes(stated: Mapping[str, tuple[object, object]]) -> tuple[Calibration, str]:
    """Return the sizes that a file states, and what is to be said of those in doubt.

    Parameters
    ----------
    stated
        Value and unit for axes of ``ZYX``. Value or unit is None where there is none.

    Returns
    -------
    tuple
        Sizes in µm; and a text for a person, empty if there is nothing to say. A value without
        a unit is no calibration, and not in doubt.
    """
    sizes: dict[str, float | None] = {}
    remarks: dict[str, list[str]] = {}
    for axis, (value, unit) in stated.items():
        sizes[axis], remark = _read_size(value, unit)
        if remark:
            remarks.setdefault(remark, []).append(axis)
    known = keep_known(sizes)
    alone = [axis for axis in "YX" if sizes.get(axis) is not None and axis not in known]
    if alone:
        remarks.setdefault("known, but not along the other side: neither is used", []).extend(alone)
    texts = [f"the size of a pixel along {' and '.join(a)} is {r}" for r, a in remarks.items()]
    return known, "; ".join(texts)


def about(name: str, doubt: str) -> str:
    """Return a sentence on what is doubtful in the sizes that a file states, or nothing."""
    return f"{name}: {doubt}. Give the pixel size if you know it." if doubt else ""


def _read_size(value: object, unit: object) -> tuple[float | None, str]:
    """Return a size in µm if it is known, and what is to be said of it."""
    if value is None or value == "":
        return None, ""
    number, behind = _number(value)
    unit = behind or unit
    plain = str(unit or "").strip().strip("\0").lower()
    if plain.removesuffix("s") in _NO_UNIT and (not plain or number == 1):
        return None, ""
    told = _plain(f"{value} {'' if behind else unit or ''}")
    factor, guessed = unit_size(unit)
    if factor is None:
        return None, f"stated as {told}, which is no known length: it is not used"
    size = number * factor
    if not is_size(size):
        return None, f"stated as {told}, which is no size: it is not used"
    if guessed:
        return size, f"stated as {told}, which is taken for {size:.4g} µm"
    if not USUAL[0] <= size <= USUAL[1]:
        metres = f", in metres it would be {number * 1e6:.4g} µm" if 1e-9 < number < 1e-3 else ""
        return size, f"stated as {told}, which can hardly be: check the unit{metres}"
    return size, ""


def _plain(text: str) -> str:
    """Return a text of a file as one line that does nothing to a terminal."""
    short = " ".join(text.split())
    short = short if len(short) <= 40 else f"{short[:40]}…"
    return "".join(letter if letter.isprintable() else "�" for letter in short)


def from_ome(xml: str) -> tuple[Calibration, str]:
    """Read the pixel size of the first image of an OME-XML description; as :func:`read_sizes`."""
    try:
        pixels = _pixels(xml)
    except ElementTree.ParseError as error:
        return {}, f"its OME description, with the size of a pixel, cannot be read ({error})"
    if pixels is None:
        return {}, ""
    return read_sizes(
        {
            axis: (
                pixels.get(f"PhysicalSize{axis}"),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),
            )
            for axis in "ZYX"
        }
    )


def channel_names(xml: str) -> tuple[str, ...]:
    """Read the names of the channels of the first image of an OME-XML description."""
    try:
        pixels = _pixels(xml)
    except ElementTree.ParseError as error:
        logger.info("The OME description cannot be read: %s", error)
        return ()
    if pixels is None:
        return ()
    channels = [e for e in pixels if e.tag.rpartition("}")[2] == "Channel"]
    return tuple(channel.get("Name", "") for channel in channels)


def _pixels(xml: str) -> ElementTree.Element | None:
    root = ElementTree.fromstring(xml)
    return next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)


def from_imagej(
    metadata: Mapping[str, Any], resolution: tuple[Any, Any], dots: str = ""
) -> tuple[Calibration, str]:
    """Read the pixel size of an ImageJ TIFF; as :func:`read_sizes`.

    Parameters
    ----------
    metadata
        Of the description: ``unit``, and ``yunit`` and ``zunit`` where they differ.
    resolution
        The tags' (Y, X) pixels a unit.
    dots
        The tag's unit, which counts if the description has none.
    """
    unit = metadata.get("unit") or dots
    z = {"Z": (metadata.get("spacing"), metadata.get("zunit") or metadata.get("unit"))}
    if unit in ("inch", "in", "cm", "centimeter"):  # ImageJ writes so what was meant for printing
        sizes, remark = from_dots(resolution, unit)
        depth, more = read_sizes(z if metadata.get("zunit") else {})
        return sizes | depth, "; ".join(filter(None, (remark, more)))
    y, x = (_per_pixel(value) for value in resolution)
    return read_sizes({**z, "Y": (y, metadata.get("yunit") or unit), "X": (x, unit)})


def from_dots(resolution: tuple[Any, Any], unit: str) -> tuple[Calibration, str]:
    """Read a pixel size from dots (Y, X) per ``unit``; as :func:`read_sizes`.

    Per inch or centimetre they are believed where they can be a microscope's.
    """
    stated = [(_per_pixel(value), unit or None) for value in resolution]
    if unit in ("inch", "in", "cm", "centimeter"):
        sizes = [micrometres(*one) for one in stated]
        if any(size is None or size > LARGEST_FROM_DPI for size in sizes):
            return {}, ""
    return read_sizes(dict(zip("YX", stated, strict=True)))


def from_fei(metadata: Mapping[str, Any]) -> tuple[Calibration, str]:
    """Read the pixel size of an electron microscope of FEI, in metres; as :func:`read_sizes`."""
    sections = [metadata.get(name) for name in ("Scan", "EScan", "IScan")]
    for section in [*sections, *metadata.values()]:
        if isinstance(section, Mapping) and "PixelWidth" in section:
            x = section["PixelWidth"]
            return read_sizes({"Y": (section.get("PixelHeight", x), "m"), "X": (x, "m")})
    return {}, ""


def from_zeiss_sem(metadata: Mapping[str, Any]) -> tuple[Calibration, str]:
    """Read the pixel size of an electron microscope of Zeiss; as :func:`read_sizes`.

    Entries are (name, value) or (name, value, unit); the unnamed ones have metres.
    """
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = metadata.get(key)
        if entry is not None and len(entry) > 1:
            size = (entry[1], entry[2] if len(entry) > 2 else None)
            return read_sizes({"Y": size, "X": size})
    unnamed: Sequence[Any] = metadata.get("") or ()
    size = (unnamed[3] or None, "m") if len(unnamed) > 3 else (None, None)
    return read_sizes({"Y": size, "X": size})


def from_sis(metadata: Mapping[str, Any]) -> tuple[Calibration, str]:
    """Read the pixel size of an Olympus SIS file, in metres; as :func:`read_sizes`."""
    return read_sizes({axis: (metadata.get(f"pixelsize{axis.lower()}"), "m") for axis in "YX"})


def from_metaseries(metadata: Mapping[str, Any]) -> tuple[Calibration, str]:
    """Read the pixel size of a MetaMorph file; as :func:`read_sizes`."""
    plane = metadata.get("PlaneInfo") or {}
    if not plane.get("spatial-calibration-state", True):
        return {}, ""
    unit = plane.get("spatial-calibration-units")
    return read_sizes(
        {axis: (plane.get(f"spatial-calibration-{axis.lower()}"), unit) for axis in "YX"}
    )


def _per_pixel(resolution: Any) -> float | None:
    """Return the length of a pixel from pixels per length, a number or a (top, bottom) pair."""
    try:
        if isinstance(resolution, (tuple, list)):
            top, bottom = resolution
            return float(bottom) / float(top)
        return 1 / float(resolution)
    except ZeroDivisionError:
        return math.inf
    except (TypeError, ValueError, OverflowError):
        return None
