"""Reading OME-Zarr images (up to 0.6) and plain zarr arrays, lazily and at full resolution."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .axes import as_image_axes, axes_from_names, check_axes, guess_axes
from .calibration import Calibration, about, read_sizes
from .errors import InputError
from .image_file import FileInfo, ImageFile
from .positions import choose_image, count_positions, one_position

ZARR_EXTRA = 'pip install "napari-sa2net[zarr]"'

NEWEST = (0, 6)
"""The newest version of OME-Zarr that is understood."""

_WRITE_AGAIN = "write it again as OME-Zarr 0.4 or 0.5."


@dataclass(frozen=True)
class _Image:
    """An array in a zarr folder, and what is told of it."""

    array: Any
    axes: str
    calibration: Calibration
    kind: str
    channel_names: tuple[str, ...] = ()
    doubt: str = ""
    """What a person should know of the pixel size."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.array.shape))


def read_zarr(path: Path, axes: str | None = None, position: int | None = None) -> ImageFile:
    """Read an OME-Zarr image or a plain zarr array; nothing is loaded before it is indexed.

    Parameters
    ----------
    path
        The folder; of several images, as bioformats2raw writes them, the one around them.
    axes
        A letter for each axis, in place of what the file says.
    position
        Which image; the first if None.

    Raises
    ------
    InputError
        If zarr is not installed or the folder holds no image that is understood.
    """
    images = [_image(node, path) for node in _nodes(path)]
    letters = [_letters(image, axes) for image in images]
    sizes = [(a, image.shape) for a, image in zip(letters, images, strict=True)]
    which, inner, first = choose_image(sizes, position, _told(path))
    image, own = images[which], letters[which]
    array = one_position(image.array, own, inner)
    remark = " ".join(filter(None, (image.doubt, first)))
    return ImageFile(
        array, own, False, image.calibration, path, image.kind, image.channel_names, remark,
        {"axes": axes, "position": position},
    )  # fmt: skip


def read_zarr_info(path: Path) -> FileInfo:
    """Return what a zarr folder tells of its first image."""
    images = [_image(node, path) for node in _nodes(path)]
    sizes = [(image.axes, image.shape) for image in images]
    first = images[0]
    return FileInfo(
        first.axes,
        first.shape,
        first.calibration,
        first.doubt,
        images=sum(count_positions(*size) for size in sizes),
        arrays=len(images),
        channel_names=first.channel_names,
    )


def _letters(image: _Image, axes: str | None) -> str:
    """Return a letter for each axis: as asked for, or as the file says."""
    if axes is None:
        return image.axes
    check_axes(axes, image.shape)
    return as_image_axes(axes, image.shape)


def _nodes(path: Path) -> list[Any]:
    """Return the zarr nodes of the images in a folder."""
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
        return [node]
    metadata = _metadata(node)
    if "bioformats2raw.layout" in metadata and "multiscales" not in metadata:
        try:
            return [node[name] for name in _series(node)]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path.name} should hold the images that its description names, but one is "
                f"missing ({error}): copy the whole folder, or give the image inside it."
            ) from error
    return [node]


def _series(node: Any) -> list[str]:
    """Return the names of the images in bioformats2raw's layout."""
    listed = _metadata(node["OME"]).get("series") if "OME" in node else None
    if isinstance(listed, Sequence) and not isinstance(listed, str) and listed:
        return [str(name) for name in listed]
    names = sorted((str(k) for k in node.group_keys() if str(k).isdigit()), key=int)
    return names or ["0"]


def _metadata(node: Any) -> Mapping[str, Any]:
    attributes = dict(node.attrs)
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, Mapping) else {}


def _image(node: Any, path: Path) -> _Image:
    """Return the image that a node is: an array, or one of several resolutions."""
    if hasattr(node, "shape"):
        return _plain(node)
    metadata = _metadata(node)
    multiscales = metadata.get("multiscales")
    if not multiscales:
        arrays = [array for _, array in node.arrays() if len(array.shape) >= 2]
        if len(arrays) == 1 and _dimension_names(arrays[0]):  # as xarray writes one
            return _plain(arrays[0])
        inner = ", ".join(sorted(str(key) for key in node)[:5])
        raise InputError(
            f"{path.name} is no OME-Zarr image (it has no 'multiscales'). If it is a plate or a "
            f"collection, give the image inside it{f': it holds {inner}' if inner else '.'}"
        )
    version = _check_version(metadata, multiscales, path)
    try:
        return _first_level(node, multiscales[0], metadata, path)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"The description of {path.name}{version} is incomplete "
            f"({type(error).__name__}: {error}): {_WRITE_AGAIN}"
        ) from error


def _plain(array: Any) -> _Image:
    """Return a plain array with the axes that its dimensions are named by, if they are."""
    axes = guess_axes(array.shape, axis_labels=_dimension_names(array))
    return _Image(array, axes, {}, "zarr")


def _dimension_names(array: Any) -> list[str]:
    """Return the names of an array's dimensions: of zarr 3, or as xarray writes them into 2."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, Sequence) or isinstance(names, str):
        return []
    return ["" if name is None else str(name) for name in names]


def _check_version(
    metadata: Mapping[str, Any], multiscales: Sequence[Mapping[str, Any]], path: Path
) -> str:
    """Return the version for a message; raise if it is newer than what is understood."""
    version = str(metadata.get("version") or multiscales[0].get("version") or "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) > NEWEST:
        newest = ".".join(map(str, NEWEST))
        raise InputError(
            f"{_told(path)} is OME-Zarr {version}, and versions up to {newest} are understood: "
            f"{_WRITE_AGAIN}"
        )
    return f" (OME-Zarr {version})" if version else ""


def _first_level(
    node: Any, multiscale: Mapping[str, Any], metadata: Mapping[str, Any], path: Path
) -> _Image:
    level = multiscale["datasets"][0]
    array = node[level["path"]]
    described = _described_axes(multiscale, level)
    names = [str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in described]
    axes = as_image_axes(_letters_of(described, names), array.shape)
    if not described:
        axes = "TCZYX"[-len(array.shape) :]  # before 0.3 the axes were always these
    if len(axes) != len(array.shape) or len(set(axes)) < len(axes) or not {"Y", "X"} <= set(axes):
        raise InputError(
            f"The axes {', '.join(names)} of {_told(path)} are not understood: T, Z, C, Y and X "
            "are, or time, depth, channel, row and column."
        )
    units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in described]
    places = _Places(node, axes, path)
    inner = places.scale(level.get("coordinateTransformations"))
    # Of 0.6 the multiscale's own lead on from the axes that are used here.
    systems = "coordinateSystems" in multiscale
    outer = places.scale(() if systems else multiscale.get("coordinateTransformations"))
    sizes: Calibration = {}
    doubt = places.remark
    if units and inner and outer:
        scale = [a * b for a, b in zip(inner, outer, strict=True)]
        by_axis = zip(axes, scale, units, strict=True)
        sizes, problem = read_sizes({a: (s, u) for a, s, u in by_axis if a in "ZYX"})
        doubt = about(_told(path), problem)
    return _Image(array, axes, sizes, "OME-Zarr", _channel_names(metadata.get("omero")), doubt)


def _letters_of(described: Sequence[Any], names: Sequence[str]) -> str:
    """Return the letters of axes: by their types where these tell, else by their names."""
    types = [axis.get("type") if isinstance(axis, Mapping) else None for axis in described]
    typed = axes_from_names(
        [t if t in ("channel", "time") else n for t, n in zip(types, names, strict=True)]
    )
    return typed if len(set(typed)) == len(typed) else axes_from_names(names)


def _described_axes(multiscale: Mapping[str, Any], level: Mapping[str, Any]) -> Sequence[Any]:
    """Return the axes of a level: of 0.6 those of the coordinate system that it leads to."""
    systems = multiscale.get("coordinateSystems")
    if not systems:
        return multiscale.get("axes") or []
    transformations = level.get("coordinateTransformations") or [{}]
    wanted = transformations[0].get("output")
    wanted = wanted.get("name") if isinstance(wanted, Mapping) else wanted
    chosen = [system for system in systems if system.get("name") == wanted]
    return list((chosen or systems)[0]["axes"])


@dataclass
class _Places:
    """Reads where the pixels of an image lie."""

    node: Any
    axes: str
    path: Path
    remark: str = ""
    """What could not be read."""

    def scale(self, transformations: Sequence[Mapping[str, Any]] | None) -> list[float]:
        """Return the size of a step along each axis; empty if it is not known."""
        sizes = [1.0] * len(self.axes)
        for transformation in transformations or ():
            one = self._one(transformation)
            if not one:
                return []
            sizes = [a * b for a, b in zip(sizes, one, strict=True)]
        return sizes

    def _one(self, transformation: Mapping[str, Any]) -> list[float]:
        kind = str(transformation["type"])
        if kind in ("translation", "identity"):
            return [1.0] * len(self.axes)
        if kind == "sequence":
            return self.scale(transformation["transformations"])
        if kind == "scale" and ("scale" in transformation or "path" in transformation):
            return self._numbers(transformation)
        if kind == "affine" and "affine" in transformation:
            matrix = np.asarray(transformation["affine"], float)[: len(self.axes)]
            steps = matrix[:, : len(self.axes)]
            if steps.shape == (len(self.axes),) * 2 and not (steps - np.diag(np.diag(steps))).any():
                return [abs(float(step)) for step in np.diag(steps)]
        self.remark = (
            f"The pixel size of {_told(self.path)} is not known: it is told by a transformation of "
            f"the kind {kind!r}, which is not understood."
        )
        return []

    def _numbers(self, transformation: Mapping[str, Any]) -> list[float]:
        given: Any = transformation.get("scale")
        if given is None:
            where = str(transformation["path"])
            try:
                given = np.asarray(self.node[where]).ravel().tolist()
            except Exception as error:  # zarr raises many kinds, some of them its own
                self.remark = (
                    f"The pixel size of {_told(self.path)} is not known: its array {where} cannot "
                    f"be read ({type(error).__name__})."
                )
                return []
        try:
            sizes = [float(value) for value in given]
        except (TypeError, ValueError):
            sizes = []
        if len(sizes) != len(self.axes):
            raise InputError(
                f"The scale {given} of {_told(self.path)} does not have a number for each of its "
                f"axes {', '.join(self.axes)}: {_WRITE_AGAIN}"
            )
        return sizes


def _channel_names(described: Any) -> tuple[str, ...]:
    channels = described.get("channels") if isinstance(described, Mapping) else None
    if not isinstance(channels, Sequence):
        return ()
    return tuple(str(c.get("label", "")) if isinstance(c, Mapping) else "" for c in channels)


def _told(path: Path) -> str:
    """Return an image's name; of one in a series, that of the series too."""
    return f"{path.parent.name}/{path.name}" if path.name.isdigit() else path.name
