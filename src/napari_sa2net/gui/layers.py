"""Reading an image from napari's layers.

Everything a worker needs is copied out of the layers here, on the main thread, into plain
values: workers never touch layers. Pixels are not copied: numpy arrays are handed on as
read-only views, dask and zarr arrays stay lazy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from ..engine.axes import as_image_axes, check_axes, describe_axis, further_axes, guess_axes
from ..engine.errors import InputError
from .told import info_of_data, told_axes, told_channels, told_notes, told_sizes
from .transforms import Transform, pixel_size

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = [
    "NOTE",
    "LayerImage",
    "Transform",
    "is_result",
    "note_of",
    "read_image",
    "source_layer",
]

NOTE = "napari-sa2net"
"""Key of a layer's ``metadata`` under which a result's note stands."""

KIND = "annotation"
"""Key in the note of a layer that is painted in, under which its meaning stands."""

PREDICTION = "prediction"
"""Key in the note of a correction under which the note of the labels stands that it is of."""

STACK_IN_MEMORY = 2**28
"""Bytes up to which several numpy layers are stacked by copying; above, lazily."""

ANISOTROPY = 0.02
"""Relative difference of a pixel's sides that is worth a word."""

Slices = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class LayerImage:
    """An image as read from one layer, or from several layers as its channels."""

    data: Any
    """One array, numpy (read-only view) or lazy; several layers lie along a leading C axis."""
    axes: str
    """A letter from "TZCYX" for each axis of ``data``; a guess until :meth:`with_axes`, which
    may have other letters: see :meth:`check_axes`."""
    rgb: bool
    transform: Transform
    """Of the layer: it has no RGB axis and no axis for stacked layers."""
    name: str
    names: tuple[str, ...]
    source_id: str = ""
    """napari's own id of the (first) layer, so that renaming it does not lose its results."""
    source_ids: tuple[str, ...] = ()
    """Of all layers."""
    pixel_size_yx: tuple[float, float] | None = None
    """Micrometres; None when the layer's units are no lengths."""
    told: Mapping[str, float] = field(default_factory=dict)
    """Micrometres of a step along Z, Y and X at full resolution, in place of the layer's: as a
    person gave them, or of a layer without units as its file tells."""
    stacked: bool = False
    """Whether several layers are the channels."""
    doubt: str = ""
    """What is to be said of the pixel size that its file tells."""
    told_channels: tuple[str, ...] = ()
    """Names of the channels, as the layer or its file tells them."""
    notes: tuple[str, ...] = ()
    """What a person should know about this image."""
    file_notes: tuple[str, ...] = ()
    """Those of them that are about its file."""
    region: Slices = ()
    """Where a crop lies in the layer, one slice an axis of the layer; empty for all of it."""
    levels: tuple[Any, ...] = ()
    """The coarser levels of a multiscale layer, none for others."""
    factors: tuple[float, ...] = ()
    """By what each axis of the layer is reduced in ``data``; empty for full resolution."""

    @property
    def pixel_size(self) -> float | None:
        """Micrometres a pixel, the geometric mean of Y and X; None if unknown."""
        if self.pixel_size_yx is None:
            return None
        return float(np.sqrt(self.pixel_size_yx[0] * self.pixel_size_yx[1]))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels; empty if they have none, or are colours."""
        if self.stacked:
            return self.names
        count = self.data.shape[self.axes.index("C")] if "C" in self.axes else 0
        return self.told_channels if count == len(self.told_channels) and not self.rgb else ()

    @property
    def layer_axes(self) -> str:
        """The letters of the layer's own axes: no RGB axis, none for stacked layers."""
        return axes_of_layer(self.axes, rgb=self.rgb, stacked=self.stacked)

    @property
    def layer_shape(self) -> tuple[int, ...]:
        """Sizes of the layer's own axes."""
        shape = tuple(int(n) for n in self.data.shape)
        return shape[1:] if self.stacked else shape[:-1] if self.rgb else shape

    def with_axes(self, axes: str) -> LayerImage:
        """Return this image with ``axes`` as a person corrected them.

        Raises
        ------
        InputError
            If the letters do not fit the image.
        """
        axes = axes.strip().upper()
        shape = tuple(int(n) for n in self.data.shape)
        check_axes(axes, shape)
        axes = _without_ones(as_image_axes(axes, shape), shape)
        replace(self, axes=axes).check_axes()
        if self.rgb and not axes.endswith("C"):
            raise InputError(
                f"{self.name} is a colour image, so its last axis is C, not {axes[-1]}: "
                f"write for example {self.axes}."
            )
        if self.stacked and not axes.startswith("C"):
            raise InputError(
                f"The chosen layers are the channels, so the axes begin with C: "
                f"write for example {self.axes}."
            )
        return _with_pixel_size(replace(self, axes=axes))

    def check_axes(self) -> None:
        """See that there is one image, and not several along an axis such as that of positions.

        Raises
        ------
        InputError
            If there are several; says what to do.
        """
        further = [i for i, letter in enumerate(self.axes) if further_axes(letter)]
        if not further:
            return
        named = " and ".join(
            f"{describe_axis(self.axes[i])} with {self.data.shape[i]} entries" for i in further
        )
        free = [letter for letter in "ZT" if letter not in self.axes]
        planes = f"Write {free[0]} for it to take them as planes, or show" if free else "Show"
        index = ", ".join("0" if i in further else ":" for i in range(max(further) + 1))
        raise InputError(
            f"{self.name} (axes {self.axes}) holds several images: besides T, Z, C, Y and X it has "
            f"the axis {named}. {planes} one as a layer of its own (in napari's console: "
            f"viewer.add_image(viewer.layers['{self.name}'].data[{index}])). Folder of images… "
            "segments all positions of files."
        )

    def with_pixel_size(self, size: float) -> LayerImage:
        """Return this image with pixels of ``size`` micrometres, whatever its layer says."""
        told = {**self.told, "Y": size, "X": size}
        return _with_pixel_size(replace(self, told=told, doubt=""))

    @property
    def told_sizes(self) -> dict[str, float]:
        """What is :attr:`told`, of the pixels of ``data``."""
        factors = dict(zip(self.layer_axes, self.factors, strict=False))
        return {letter: size * factors.get(letter, 1.0) for letter, size in self.told.items()}

    def crop(self, slices: Slices) -> LayerImage:
        """Return a part of this image.

        Parameters
        ----------
        slices
            One for each axis of the layer, without steps, as
            :func:`~napari_sa2net.gui.regions.visible_region` gives them.
        """
        shape = self.layer_shape
        if len(slices) != len(shape):
            raise ValueError(f"{len(slices)} slices for a layer of {len(shape)} axes")
        bounds = [part.indices(n)[:2] for part, n in zip(slices, shape, strict=True)]
        inner = tuple(slice(start, max(start, stop)) for start, stop in bounds)
        everything = (slice(None),)
        index = everything + inner if self.stacked else inner + everything * self.rgb
        before = self.region or tuple(slice(0, n) for n in shape)
        return replace(
            self,
            data=_lazy(self.data)[index],
            transform=self.transform.offset([part.start for part in inner]),
            region=tuple(
                slice(outer.start + part.start, outer.start + part.stop)
                for outer, part in zip(before, inner, strict=True)
            ),
        )

    def level(self, number: int) -> LayerImage:
        """Return the image as a coarser level of its layer has it, from 1 on."""
        data = self.levels[number - 1]
        axes = range(len(self.layer_shape))
        factors = tuple(self.data.shape[i] / data.shape[i] for i in axes)
        transform = self.transform
        for axis, factor in enumerate(factors):
            transform = transform.stretched(axis, factor)
        moved = replace(self, data=data, transform=transform, levels=(), factors=factors)
        return _with_pixel_size(moved)

    def result_shape(self) -> tuple[int, ...]:
        """Return the shape of a result as the engine gives it: without channels."""
        return tuple(
            int(n) for n, axis in zip(self.data.shape, self.axes, strict=True) if axis != "C"
        )

    def expand(self, result: Any) -> Any:
        """Return ``result`` (shape as :meth:`result_shape`) with the axes of the layer.

        A channel axis of the layer comes back with length 1. Axes of length 1 may be missing
        in the result, as those of T and Z are when one plane was taken out of a stack.
        """
        shape, wanted = tuple(result.shape), self.result_shape()
        if [n for n in shape if n != 1] != [n for n in wanted if n != 1]:
            raise ValueError(
                f"a result of shape {shape} does not fit the image {self.name}, whose results "
                f"have the shape {wanted}"
            )
        result = result.reshape(wanted)
        channel = self.layer_axes.find("C")
        return result if channel < 0 else np.expand_dims(result, channel)

    def result_transform(self) -> Transform:
        """Return the transform of an array given by :meth:`expand`."""
        channel = self.layer_axes.find("C")
        if channel < 0:
            return self.transform
        return self.transform.stretched(channel, self.layer_shape[channel])


def axes_of_layer(axes: str, *, rgb: bool, stacked: bool) -> str:
    """Return the letters of the layer's own axes from those of the image read from it."""
    return axes[1:] if stacked else axes[:-1] if rgb else axes


def read_image(layers: Layer | Sequence[Layer]) -> LayerImage:
    """Read an image from one Image layer, or from several as its channels.

    Parameters
    ----------
    layers
        One layer, or several of equal shape and transform. Of a multiscale layer the full
        resolution is read.

    Returns
    -------
    LayerImage
        With guessed axes; nothing lazy is computed.

    Raises
    ------
    InputError
        If a layer is no image, or the layers do not fit together.
    """
    chosen = [layers] if isinstance(layers, Layer) else list(layers)
    if not chosen:
        raise InputError("No image is chosen: open an image and select its layer.")
    for layer in chosen:
        _check(layer)
    first = chosen[0]
    transform = Transform.from_layer(first)
    levels: tuple[Any, ...] = ()
    if len(chosen) == 1:
        data, axes, rgb = _shown(first)
        levels = tuple(first.data)[1:] if first.multiscale else ()
    else:
        _check_equal(chosen, transform)
        shown = [_shown(layer) for layer in chosen]
        data, rgb = _stack([part for part, _, _ in shown]), False
        # The layers are the channels, so no axis of a layer can be C.
        inner = shown[0][1]
        axes = "C" + inner.replace("C", "T" if "Z" in inner else "Z")
    image = LayerImage(
        data=data,
        axes=axes,
        rgb=rgb,
        transform=transform,
        name=str(first.name),
        names=tuple(str(layer.name) for layer in chosen),
        source_id=layer_id(first),
        source_ids=tuple(map(layer_id, chosen)),
        stacked=len(chosen) > 1,
        levels=levels,
        file_notes=told_notes(first, tuple(_pixels(first).shape)),
        told_channels=told_channels(first, tuple(_pixels(first).shape)) if len(chosen) == 1 else (),
    )
    height, width = (image.layer_axes.index(letter) for letter in "YX")
    if pixel_size(transform, (height, width)) is None:
        told, doubt = told_sizes(first, image.layer_shape[height], image.layer_shape[width])
        image = replace(image, told=told, doubt=doubt)
    return _with_pixel_size(image)


def guess_layer_axes(layer: Any, shape: Sequence[int], *, rgb: bool = False) -> str:
    """Guess the axes of an array of ``shape``: as real axis labels say, or the layer's file."""
    labels = tuple(str(label) for label in layer.axis_labels)
    # napari's defaults count from the end: "-2", or "axis -2".
    named = any(not label.removeprefix("axis").strip().startswith("-") for label in labels)
    shape = tuple(int(n) for n in shape)
    told = "" if named else told_axes(layer, shape, rgb=rgb)
    axes = told or guess_axes(shape, rgb=rgb, axis_labels=labels if named else None)
    return _without_ones(axes, shape)


def _without_ones(axes: str, shape: Sequence[int]) -> str:
    """Return axes where those of length 1 that are of no image are called Z or T, if these are
    not there: a single position is no more than a single plane."""
    for letter, n in zip(axes, shape, strict=True):
        free = next((other for other in "ZT" if other not in axes), "")
        if n == 1 and further_axes(letter) and free:
            axes = axes.replace(letter, free)
    return axes


def _shown(layer: Any) -> tuple[Any, str, bool]:
    """Return the pixels of ``layer``, their axes, and whether they are colours.

    Where napari has read mere numbers from a file, as of a palette or of inks, it is what these
    show, as everywhere else.
    """
    data, rgb = _pixels(layer), bool(layer.rgb)
    axes = guess_layer_axes(layer, data.shape, rgb=rgb)
    colours, samples = info_of_data(layer, tuple(data.shape)).colours, axes.find("C")
    if colours is None or (colours.of_samples and samples < 0):  # or its axes are named otherwise
        return data, axes, rgb
    image = colours.image(data, samples)
    return (image, axes + "C", True) if colours.adds_axis else (image, axes, rgb)


def layer_id(layer: Layer) -> str:
    """Return napari's id of ``layer``, which renaming does not change."""
    return str(getattr(layer, "unique_id", ""))


def look_of(layer: Any) -> str:
    """Return by what the pixels of an image layer are known again, in another session too.

    It is a hash of pixels all over the image; empty where they are not in memory.
    """
    data = layer.data[-1] if layer.multiscale else layer.data
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "buif" or not data.size:
        return ""
    most = {2: 64, 3: 16, 4: 8}.get(data.ndim, 6)
    sample = data[tuple(slice(None, None, max(1, side // most)) for side in data.shape)]
    content = np.ascontiguousarray(sample, dtype=np.float64).tobytes()
    return hashlib.sha256(str(data.shape).encode() + content).hexdigest()[:20]


def may_be(layer: Any, look: str, path: str | None = None) -> bool:
    """Tell whether a layer may show the image that is known by its look, else by its file."""
    now = look_of(layer) if look else ""
    if now:
        return now == look
    mine = getattr(layer.source, "path", None)
    return not path or mine is None or str(mine) == path


def note_of(layer: Any) -> dict[str, Any] | None:
    """Return the note this package left in ``layer.metadata``, None if it is not ours."""
    note = getattr(layer, "metadata", {}).get(NOTE)
    return note if isinstance(note, dict) else None


def is_result(layer: Any) -> bool:
    """Return whether ``layer`` is a result of this package, rather than a tool of it."""
    return "source" in (note_of(layer) or {})


def is_ours(layer: Any) -> bool:
    """Return whether ``layer`` is a result, a correction or a painting, and no tool."""
    return is_result(layer) or isinstance((note_of(layer) or {}).get(KIND), dict)


def made_by(layer: Any) -> dict[str, Any]:
    """Return the note of the run that made the pixels of ``layer``; empty if none did.

    That of a correction is the one of the labels that it is a copy of.
    """
    note = note_of(layer) or {}
    found = note.get(PREDICTION, note) if "source" not in note else note
    return found if isinstance(found, dict) and "source" in found else {}


def lies_on(layer: Any, ids: Sequence[str], name: str) -> bool:
    """Return whether a result, correction or painting is of the image of these layers.

    Parameters
    ----------
    layer
        Of any kind.
    ids
        Of the layers of the image (:func:`layer_id`).
    name
        Of the first.
    """
    made, table = made_by(layer), (note_of(layer) or {}).get(KIND)
    marks = [made] if made else []
    if isinstance(table, dict):
        marks.append({"source": table.get("image"), "source_id": table.get("image_id")})
    if set(ids) & set(made.get("source_ids", ())):
        return True
    return any(comes_from(mark, next(iter(ids), ""), name) for mark in marks)


def source_layers(viewer: ViewerModel, layer: Any) -> list[Layer]:
    """Return the layers that ``layer`` was made from, as far as they are still there.

    They are several where layers were the channels of one image.
    """
    here = list(viewer.layers)
    images = [other for other in here if isinstance(other, Image) and not is_result(other)]
    ids = made_by(layer).get("source_ids", ())
    found = [other for other in images if layer_id(other) in ids]
    return (
        found
        or [other for other in images if lies_on(layer, [layer_id(other)], str(other.name))][:1]
    )


def source_layer(viewer: ViewerModel, layer: Any) -> Layer | None:
    """Return the first of :func:`source_layers`, None if they are gone."""
    return next(iter(source_layers(viewer, layer)), None)


def comes_from(note: dict[str, Any], source_id: str, name: str) -> bool:
    """Return whether a result with ``note`` was made from the layer of this id and name.

    The id decides where both are known: a new image under an old name is another image.
    """
    if note.get("source_id") and source_id:
        return bool(note["source_id"] == source_id)
    return bool(note.get("source") == name)


def _check(layer: Any) -> None:
    """Raise if ``layer`` cannot be segmented."""
    if not isinstance(layer, Image):
        name = getattr(layer, "name", layer)
        raise InputError(
            f"{name} is not an Image layer: choose an Image layer (a Labels layer can be turned "
            "into one by a right click on it, Convert to Image)."
        )
    shape = tuple(_pixels(layer).shape)
    if 0 in shape:
        raise InputError(f"{layer.name} is empty (shape {shape}): open an image.")


def _check_equal(layers: Sequence[Any], transform: Transform) -> None:
    """Raise unless ``layers`` can be the channels of one image."""
    first = layers[0]
    for layer in layers:
        if layer.rgb or _shown(layer)[2]:
            raise InputError(
                f"{layer.name} is a colour image and holds its channels already: choose it "
                "alone, or split it (right click, Split RGB) and choose the parts."
            )
        shape, wanted = tuple(_pixels(layer).shape), tuple(_pixels(first).shape)
        if shape != wanted:
            raise InputError(
                f"Layers used as channels need equal shapes, but {first.name} has {wanted} and "
                f"{layer.name} has {shape}: choose layers of one image."
            )
        other = Transform.from_layer(layer)
        same = np.allclose(other.matrix(), transform.matrix()) and other.units == transform.units
        if not same:
            raise InputError(
                f"Layers used as channels need equal transforms, but {first.name} and "
                f"{layer.name} differ in scale, position or units: align them first (right "
                "click on the layer, Copy scale and transforms), or choose one layer."
            )


def _pixels(layer: Any) -> Any:
    """Return the full-resolution array of ``layer``; numpy as a read-only view."""
    data = layer.data[0] if layer.multiscale else layer.data
    if isinstance(data, np.ndarray):
        # What is masked is not image, so a mask stays.
        data = data.view(np.ma.MaskedArray if isinstance(data, np.ma.MaskedArray) else np.ndarray)
        data.flags.writeable = False
    return data


def _lazy(data: Any) -> Any:
    """Return ``data`` such that indexing it reads nothing (zarr arrays would)."""
    if isinstance(data, np.ndarray) or hasattr(data, "dask"):
        return data
    from dask import array

    return array.from_array(data, chunks=getattr(data, "chunks", None) or "auto")


def _stack(arrays: list[Any]) -> Any:
    """Stack ``arrays`` of one shape along a new first axis, without filling the memory."""
    plain = all(isinstance(data, np.ndarray) for data in arrays)
    if plain and sum(data.nbytes for data in arrays) <= STACK_IN_MEMORY:
        masked = any(isinstance(data, np.ma.MaskedArray) for data in arrays)
        return np.ma.stack(arrays) if masked else np.stack(arrays)
    from dask import array

    # One chunk a plane, so that reading a plane computes that plane only.
    lazy = [
        array.from_array(data, chunks=(1,) * (data.ndim - 2) + data.shape[-2:])
        if isinstance(data, np.ndarray)
        else _lazy(data)
        for data in arrays
    ]
    return array.stack(lazy)


def _with_pixel_size(image: LayerImage) -> LayerImage:
    """Return ``image`` with the pixel size that is told or its units give, and a note on it."""
    sides = (image.layer_axes.index("Y"), image.layer_axes.index("X"))
    told = image.told_sizes
    size = (told["Y"], told["X"]) if "Y" in told else pixel_size(image.transform, sides)
    notes = (*image.file_notes, image.doubt) if image.doubt else image.file_notes
    if size is not None and abs(size[0] - size[1]) > ANISOTROPY * max(size):
        notes += (
            f"The pixels of {image.name} are not square ({size[0]:.4g} × {size[1]:.4g} µm in "
            "Y × X); a model with a pixel size is given square ones.",
        )
    return replace(image, pixel_size_yx=size, notes=notes)
