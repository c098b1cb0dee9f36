"""Images as the network wants them: planes, channels, normalised values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .axes import AXES, Stack, check_axes, guess_axes
from .errors import InputError
from .fields import check_fields

__all__ = [
    "AXES",
    "Normalization",
    "Planes",
    "Stack",
    "check_axes",
    "guess_axes",
    "normalize",
    "to_planes",
    "value_limits",
]


_LARGEST = 1e30
"""Values are limited to this, far from where float32 overflows."""

_SMALL = 5e-3
"""A smaller range of values is brought to 0 … 255 first where a plane is read whole."""

_NOTHING = 1e-30
"""A smaller range of values is none."""

_LARGEST_INPUT = 1e6
"""What the network is fed is limited to this: of much larger values it makes NaN."""


@dataclass(frozen=True)
class Normalization:
    """How pixel values are brought to about 0 … 1, channel by channel."""

    method: Literal["percentile", "minmax", "scale", "none"] = "percentile"
    low: float = field(default=1.0, metadata={"min": 0, "max": 100})
    """Percentile that becomes 0 (``percentile`` only)."""
    high: float = field(default=99.8, metadata={"min": 0, "max": 100})
    """Percentile that becomes 1 (``percentile`` only)."""
    eps: float = field(default=1e-6, metadata={"min": _NOTHING, "max": 1e6})
    """Added to the range, so that a constant image gives 0."""
    clip: tuple[float, float] = field(
        default=(-1.0, 3.0), metadata={"min": -_LARGEST_INPUT, "max": _LARGEST_INPUT}
    )
    """Normalised values are limited to this range."""
    divisor: float = field(default=255.0, metadata={"min": 1e-6, "max": 1e30})
    """By what values are divided (``scale`` only)."""
    joint: bool = False
    """One range for all channels, which keeps the colours (``minmax`` only)."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name, (low, high) in (("low, high", (self.low, self.high)), ("clip", self.clip)):
            if not low < high:
                raise InputError(f"{name} are {low:g} and {high:g}: the first must be the smaller.")


def value_limits(
    planes: NDArray[Any], normalization: Normalization, samples: int = 2**22
) -> list[tuple[float, float]]:
    """Return, channel by channel of (C, H, W), the values that become 0 and 1.

    Percentiles of more than ``samples`` pixels are those of a regular grid of pixels, the
    same each time.
    """
    if normalization.method == "minmax" and normalization.joint:
        return [(float(planes.min()), float(planes.max()))] * len(planes)
    limits = []
    for channel in planes:
        if normalization.method == "minmax":
            limits.append((float(channel.min()), float(channel.max())))
            continue
        step = max(1, math.ceil(math.sqrt(channel.size / samples)))
        low, high = np.percentile(channel[::step, ::step], (normalization.low, normalization.high))
        limits.append((float(low), float(high)))
    return limits


def normalize(
    planes: NDArray[Any],
    normalization: Normalization,
    limits: Sequence[tuple[float, float]] | None = None,
) -> NDArray[np.float32]:
    """Return ``planes`` (C, H, W) as float32, each channel normalised by its own range.

    Parameters
    ----------
    planes
        Finite values, see :meth:`Planes.read`.
    normalization
        How.
    limits
        The values that become 0 and 1 in each channel; those of :func:`value_limits` if not
        given.
    """
    x = np.asarray(planes, dtype=np.float32)
    if len(x) > 1 and x.strides[0] == 0:  # one channel, repeated
        one = normalize(x[:1], normalization, None if limits is None else limits[:1])
        return np.repeat(one, len(x), axis=0)
    if normalization.method in ("none", "scale"):
        by = normalization.divisor if normalization.method == "scale" else 1
        whole: NDArray[np.float32] = (x / np.float32(by)).clip(-_LARGEST_INPUT, _LARGEST_INPUT)
        return whole
    if limits is None:
        limits = value_limits(x, normalization)
    out = np.empty_like(x)
    for channel, target, (low, high) in zip(x, out, limits, strict=True):
        np.subtract(channel, np.float32(low), out=target)
        target /= np.float32(_divisor(high - low, normalization.eps))
        np.clip(target, *normalization.clip, out=target)
    return out


def _divisor(span: float, eps: float) -> float:
    """Return what a range is divided by.

    ``eps`` is for a range of nothing. Of a small range, as that of values in SI units, it would
    take the contrast; and whole planes of such values come here enlarged, parts of them not.
    """
    return span if _NOTHING < span < _SMALL else span + eps


@dataclass(frozen=True)
class Planes:
    """The planes of an image, read one at a time. Made by :func:`to_planes`."""

    arrays: tuple[Any, ...]
    """One array, or one for each channel."""
    axes: str
    stack: Stack
    channels: tuple[int, ...]
    """The channels of the image that are read, in this order."""
    in_channels: int
    """The channels that a plane has: a single one is repeated, colours are made grey for 1."""
    exact: bool = False
    """Leave values as they are, even where float32 holds them badly."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of results: the image's without its channel axis."""
        return self.stack.shape

    def __len__(self) -> int:
        return len(self.stack)

    def index(self, i: int) -> tuple[int, ...]:
        """Return where plane ``i`` lies along T and Z."""
        return self.stack.index(i)

    def read(
        self,
        i: int,
        window: tuple[slice, slice] | None = None,
        ends: Sequence[tuple[float, float]] | None = None,
    ) -> NDArray[np.float32]:
        """Read plane ``i`` as (in_channels, H, W), all values finite; not to be written to.

        Of a ``window`` (rows, columns) nothing else is read, and the values are left as they
        are, as with :attr:`exact`.

        NaN becomes the lowest finite value of its channel, infinities the lowest and highest:
        in a window those of the window, or the ``ends`` of each of the in_channels.

        Raises
        ------
        InputError
            If the image's source cannot be read.
        """
        raw = self._source(i, window)
        known: Sequence[tuple[float, float] | None] = ends or ()
        if len(known) < len(raw):  # they are of what colours become
            known = [None] * len(raw)
        out = np.empty((len(raw), *raw[0].shape), np.float32)
        for source, target, pair in zip(raw, out, known, strict=False):
            target[...] = _clean(source, self.exact or window is not None, pair)
        if len(out) > self.in_channels == 1:
            weights = np.array([0.2125, 0.7154, 0.0721], np.float32)  # of skimage's rgb2gray
            return np.tensordot(weights, out, 1)[None].astype(np.float32)
        if len(out) >= self.in_channels:
            return out
        return np.broadcast_to(out, (self.in_channels, *out.shape[1:]))

    def values(self, i: int, window: tuple[slice, slice] | None = None) -> NDArray[Any]:
        """Return :attr:`channels` of plane ``i`` as (C, H, W), with the image's own values.

        Of a ``window`` (rows, columns) nothing else is read.

        Raises
        ------
        InputError
            If the image's source cannot be read.
        """
        return np.stack(self._source(i, window))

    def _source(self, i: int, window: tuple[slice, slice] | None) -> list[NDArray[Any]]:
        try:
            return self._raw(i, window)
        except Exception as error:  # a lazy array can raise anything at all
            if isinstance(error, MemoryError):
                raise
            raise InputError(
                f"Plane {i + 1} of {len(self)} of the image cannot be read: {error}. Check that "
                "its file is still there and whole."
            ) from error

    def _raw(self, i: int, window: tuple[slice, slice] | None) -> list[NDArray[Any]]:
        where: dict[str, Any] = dict(zip(self.stack.plane_axes, self.index(i), strict=True))
        where |= dict(zip("YX", window, strict=True)) if window is not None else {}
        flip = self.axes.index("X") < self.axes.index("Y")

        def get(array: Any, channel: Any = None) -> NDArray[Any]:
            key = tuple(
                channel if letter == "C" else where.get(letter, slice(None)) for letter in self.axes
            )
            return np.asarray(array[key])

        if "C" not in self.axes:
            found = [get(self.arrays[c]) for c in self.channels]
        else:
            first, last = min(self.channels), max(self.channels) + 1
            if last - first > 2 * len(self.channels):
                found = [get(self.arrays[0], c) for c in self.channels]
            else:  # at once: channels often share a chunk
                block = get(self.arrays[0], slice(first, last))
                at = "".join(letter for letter in self.axes if letter in "CYX").index("C")
                found = [block.take(c - first, axis=at) for c in self.channels]
        return [plane.T if flip else plane for plane in found]


def to_planes(
    image: Any,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    in_channels: int = 3,
    *,
    rgb: bool = False,
    colour_order: Sequence[int] | None = None,
    exact: bool = False,
) -> Planes:
    """Prepare an image for reading plane by plane.

    Parameters
    ----------
    image
        A NumPy, dask or zarr array, or a list of arrays of one shape, one a channel.
    axes
        A letter of ``"TZCYX"`` for each axis of ``image`` (of each array of a list);
        guessed if not given.
    channels
        Which channels to use, in the order the model wants them. If not given: the three
        colours of RGB(A), a single channel as often as the model wants, or all if there
        are as many as the model wants.
    in_channels
        How many channels the model wants.
    rgb
        Whether the channels are colours.
    colour_order
        Where each channel of the model is in a red, green, blue image, if not in this order.
    exact
        Keep values as they are. Otherwise a channel of huge or tiny values is brought to
        0 … 255 first, which a normalisation by range does not notice.

    Raises
    ------
    InputError
        If shape, axes, channels or data type do not fit; says what to pass.
    """
    several = isinstance(image, list | tuple) and bool(image) and np.ndim(image[0]) >= 2
    arrays = tuple(_as_array(part) for part in (image if several else [image]))
    shape = tuple(int(n) for n in arrays[0].shape)
    for array in arrays:
        if tuple(array.shape) != shape:
            raise InputError(
                f"Images used as channels need one shape, got {shape} and {tuple(array.shape)}."
            )
        _check_dtype(array)
    if axes is None:
        axes = guess_axes(shape, rgb=rgb)
        if several and "C" in axes:
            axes = axes.replace("C", "Z") if "Z" not in axes else axes.replace("C", "T")
    axes = axes.upper()
    check_axes(axes, shape)
    if several and "C" in axes:
        raise InputError(
            "Several images can be the channels only if none of them has channels of its own: "
            f"with axes {axes!r} give one image."
        )
    count = len(arrays) if several else shape[axes.index("C")] if "C" in axes else 1
    # What ends in colours by its shape is taken for colours.
    colours = not several and "C" in axes and count in (3, 4) and (rgb or axes.endswith("C"))
    if channels is None and colours and in_channels == 3 and colour_order is not None:
        channels = colour_order
    chosen = _choose_channels(count, channels, in_channels, colours)
    results = [(a, n) for a, n in zip(axes, shape, strict=True) if a != "C"]
    stack = Stack("".join(a for a, _ in results), tuple(n for _, n in results))
    return Planes(arrays, axes, stack, chosen, in_channels, exact)


def _as_array(image: Any) -> Any:
    # A lazy array stays lazy; a tensor or a list, whose types are not NumPy's, is copied.
    return image if isinstance(getattr(image, "dtype", None), np.dtype) else np.asarray(image)


def _check_dtype(array: Any) -> None:
    kind = np.dtype(array.dtype).kind
    if kind not in "buif":
        raise InputError(
            f"An image of {array.dtype} values cannot be segmented: convert it to whole or real "
            "numbers first" + (", for example to absolute values." if kind == "c" else ".")
        )


def _choose_channels(
    count: int, channels: Sequence[int] | None, wanted: int, colours: bool
) -> tuple[int, ...]:
    if channels is None:
        if colours and wanted in (1, 3):
            return (0, 1, 2)
        if count in (1, wanted):
            return tuple(range(count))
        several, example = "", "channel 0"
        if 1 < wanted < count:
            several = f"{wanted} of them, or "
            example = "channels " + ", ".join(map(str, range(wanted)))
        raise InputError(
            f"The image has {count} channels and the model takes {wanted}: name {several}one to be "
            f"used alone, for example {example}. If these are planes of a stack, "
            "correct the axes: Z is depth, T is time, C are channels."
        )
    chosen = tuple(int(c) for c in channels)
    outside = [c for c in chosen if not 0 <= c < count]
    if outside:
        raise InputError(
            f"The image has no channel {outside[0]}: its channels are 0 to {count - 1}."
        )
    grey = wanted == 1 and colours and chosen == (0, 1, 2)
    if len(chosen) not in (1, wanted) and not grey:
        raise InputError(
            f"The model takes {wanted} channels, or one to be used alone: {len(chosen)} were named."
        )
    return chosen


def _clean(
    values: NDArray[Any], exact: bool, ends: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Replace what is not finite; bring what float32 holds badly to 0 … 255."""
    if values.dtype.kind == "b" or (values.dtype.kind in "ui" and values.dtype.itemsize < 4):
        return values
    finite = np.isfinite(values) if values.dtype.kind == "f" else None
    whole = finite is None or bool(finite.all())
    known = values if whole else values[finite]
    if known.size == 0 and ends is None:
        return np.zeros(values.shape, np.float32)
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if not whole:
        lowest, highest = ends or (low, high)
        values = np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest)
    largest = max(-low, high)
    bottom, top = (low, high) if exact else _usual_range(known, low, high)
    # float64 of a difference of two float64 can overflow: halves cannot.
    span = top / 2 - bottom / 2
    if exact or span == 0 or (span > _SMALL and largest < 1e6):
        return np.clip(values, -_LARGEST, _LARGEST) if largest > _LARGEST else values
    with np.errstate(over="ignore"):
        scaled = (values.astype(np.float64) / 2 - bottom / 2) * (255 / span)
    out: NDArray[Any] = np.clip(scaled, -_LARGEST, _LARGEST)
    return out


def _usual_range(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Return the range of most values, so that a few huge ones do not hide the others."""
    sample = values.ravel()[:: max(1, values.size // 2**18)].astype(np.float64)
    # Of quarters, because the differences that percentiles are made from can overflow too.
    bottom, top = (4 * float(value) for value in np.percentile(sample / 4, (0.5, 99.5)))
    return (bottom, top) if top > bottom else (low, high)
