"""Reading OME-Zarr images (0.4 and 0.5), lazily and at full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .axes import axis_letter, guess_axes
from .calibration import Calibration, read_sizes
from .errors import InputError
from .image_file import ImageFile

ZARR_EXTRA = 'pip install "napari-sa2net[zarr]"'


def read_zarr(path: Path) -> ImageFile:
    """Read an OME-Zarr image or a plain zarr array; nothing is loaded before it is indexed.

    Raises
    ------
    InputError
        If zarr is not installed or the folder holds no image that is understood.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            f"{path.name} is a zarr folder, and reading it needs the package zarr: install it "
            f"with  {ZARR_EXTRA}"
        ) from error
    try:
        node = zarr.open(str(path), mode="r")
    except Exception as error:  # zarr raises many kinds, some of them its own
        raise InputError(f"{path.name} cannot be opened as zarr: {error}") from error
    if hasattr(node, "shape"):
        return ImageFile(node, guess_axes(node.shape), path=path, kind="zarr")
    attributes = dict(node.attrs)
    metadata = attributes.get("ome", attributes)
    multiscales = metadata.get("multiscales")
    if not multiscales:
        inner = ", ".join(sorted(str(key) for key in node)[:5])
        raise InputError(
            f"{path.name} is no OME-Zarr image (it has no 'multiscales'). If it is a plate or a "
            f"collection, give the image inside it{f': it holds {inner}' if inner else '.'}"
        )
    try:
        image = _first_level(node, multiscales[0], path)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"The description of {path.name} is incomplete ({type(error).__name__}: {error}): "
            "write it again as OME-Zarr 0.4 or 0.5."
        ) from error
    return replace(image, channel_names=_channel_names(metadata.get("omero")))


def _first_level(node: Any, multiscale: Mapping[str, Any], path: Path) -> ImageFile:
    level = multiscale["datasets"][0]
    array = node[level["path"]]
    described = multiscale.get("axes") or []
    names = [str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in described]
    axes = "".join(axis_letter(name) for name in names)
    if not described:
        axes = "TCZYX"[-len(array.shape) :]  # before 0.3 the axes were always these
    known = len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes) <= set("TZCYX")
    if len(axes) != len(array.shape) or not known:
        raise InputError(
            f"The axes {', '.join(names)} of {_told(path)} are not understood: T, Z, C, Y and X "
            "are, or time, depth, channel, row and column."
        )
    units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in described]
    scale = [
        a * b
        for a, b in zip(
            _scale(level.get("coordinateTransformations"), axes, path),
            _scale(multiscale.get("coordinateTransformations"), axes, path),
            strict=True,
        )
    ]
    sizes: Calibration = {}
    doubt = ""
    if units:
        by_axis = zip(axes, scale, units, strict=True)
        sizes, doubt = read_sizes({a: (s, u) for a, s, u in by_axis if a in "ZYX"})
    remark = f"{path.name}: {doubt}. Give the pixel size if you know it." if doubt else ""
    return ImageFile(array, axes, calibration=sizes, path=path, kind="OME-Zarr", remark=remark)


def _channel_names(described: Any) -> tuple[str, ...]:
    channels = described.get("channels") if isinstance(described, Mapping) else None
    if not isinstance(channels, Sequence):
        return ()
    return tuple(str(c.get("label", "")) if isinstance(c, Mapping) else "" for c in channels)


def _scale(
    transformations: Sequence[Mapping[str, Any]] | None, axes: str, path: Path
) -> list[float]:
    for transformation in transformations or ():
        if transformation["type"] == "scale" and "scale" in transformation:
            given = transformation["scale"]
            try:
                scale = [float(value) for value in given]
            except ValueError:
                scale = []
            if len(scale) != len(axes):
                raise InputError(
                    f"The scale {given} of {_told(path)} does not have a number for each of its "
                    f"axes {', '.join(axes)}: write it again as OME-Zarr 0.4 or 0.5."
                )
            return scale
    return [1.0] * len(axes)


def _told(path: Path) -> str:
    """Return an image's name; of one in a series, that of the series too."""
    return f"{path.parent.name}/{path.name}" if path.name.isdigit() else path.name
