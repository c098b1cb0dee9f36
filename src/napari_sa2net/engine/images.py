"""Images as the network wants them: planes, channels, normalised values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .axes import AXES, Stack, as_image_axes, check_axes, further_axes, guess_axes
from .errors import InputError
from .fields import check_fields, check_value, shown
from .positions import count_positions, first_of, one_position

__all__ = [
    "AXES",
    "Normalization",
    "Planes",
    "Stack",
    "channel_numbers",
    "check_axes",
    "default_channels",
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
    planes: NDArray[Any],
    normalization: Normalization,
    samples: int = 2**22,
    outside: NDArray[np.bool_] | None = None,
) -> list[tuple[float, float]]:
    """Return, channel by channel of (C, H, W), the values that become 0 and 1.

    Percentiles of more than ``samples`` pixels are those of a regular grid of pixels, the
    same each time; those ``outside`` (H, W), which are not image, do not count.
    """
    if normalization.method == "minmax" and normalization.joint:
        return [(float(planes.min()), float(planes.max()))] * len(planes)
    limits = []
    for channel in planes:
        if normalization.method == "minmax":
            limits.append((float(channel.min()), float(channel.max())))
            continue
        step = max(1, math.ceil(math.sqrt(channel.size / samples)))
        seen = channel[::step, ::step]
        if outside is not None:
            seen = seen[~outside[::step, ::step]]
        ends = (normalization.low, normalization.high)
        low, high = np.percentile(seen, ends) if seen.size else (0.0, 0.0)
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
        scaled: NDArray[np.float32] = x / np.float32(by)
        return scaled.clip(-_LARGEST_INPUT, _LARGEST_INPUT)
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
    """Of the arrays; letters that are none of ``"TZCYX"`` are of axes of length 1."""
    stack: Stack
    channels: tuple[int, ...]
    """The channels of the image that are read, in this order."""
    in_channels: int
    """The channels that a plane has: a single one is repeated, colours are made grey for 1."""
    exact: bool = False
    """Leave values as they are, even where float32 holds them badly."""
    given: str = ""
    """The axes as they were given or guessed: with the same, the same is made of the image."""
    remark: str = ""
    """What a person should know of what is read, if anything."""

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

    @property
    def masked(self) -> bool:
        """Whether there may be pixels that are not image."""
        return any(map(is_masked, self.arrays))

    def outside(
        self, i: int, window: tuple[slice, slice] | None = None
    ) -> NDArray[np.bool_] | None:
        """Return which pixels (H, W) of plane ``i`` are not image: masked in one of the channels.

        None if the image has no mask. Read as values, they are NaN, or lowest.
        """
        if not self.masked:
            return None
        masks = [np.ma.getmaskarray(plane) for plane in self._read(i, window)]
        return np.asarray(np.any(masks, axis=0))

    def _source(self, i: int, window: tuple[slice, slice] | None) -> list[NDArray[Any]]:
        return [_unmasked(plane) for plane in self._read(i, window)]

    def _read(self, i: int, window: tuple[slice, slice] | None) -> list[NDArray[Any]]:
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
        where |= {letter: 0 for letter in self.axes if letter not in AXES}
        flip = self.axes.index("X") < self.axes.index("Y")

        def get(array: Any, channel: Any = None) -> NDArray[Any]:
            key = tuple(
                channel if letter == "C" else where.get(letter, slice(None)) for letter in self.axes
            )
            part = array[key]
            # Where its mask is kept: dask drops it on the way to an array.
            return np.asanyarray(part.compute() if is_dask(part) else part)

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
    channels: Sequence[int | str] | None = None,
    in_channels: int = 3,
    *,
    rgb: bool = False,
    colour_order: Sequence[int] | None = None,
    exact: bool = False,
    position: int | None = None,
) -> Planes:
    """Prepare an image for reading plane by plane.

    Parameters
    ----------
    image
        A NumPy, dask or zarr array, or a list of arrays of one shape, one a channel.
    axes
        A letter for each axis of ``image`` (of each array of a list), as
        :func:`~napari_sa2net.engine.axes.check_axes` wants them; guessed if not given.
    channels
        Numbers of the channels to use, in the order the model wants them. If not given: the three
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
    position
        Which image is read, counted over axes that are none of ``"TZCYX"``; the first if None.

    Raises
    ------
    InputError
        If shape, axes, channels, position or data type do not fit; says what to pass.
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
    given = axes.upper()
    check_axes(given, shape)
    axes = as_image_axes(given, shape)
    rgb = rgb or axes != given
    images = count_positions(axes, shape)
    further = [a for a, n in zip(axes, shape, strict=True) if further_axes(a) and n > 1]
    first = images > 1 and position is None
    arrays = tuple(one_position(array, axes, position) for array in arrays)
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
    results = [(a, n) for a, n in zip(axes, shape, strict=True) if a in "TZYX"]
    stack = Stack("".join(a for a, _ in results), tuple(n for _, n in results))
    remark = first_of("The image", images, "".join(further)) if first else ""
    return Planes(arrays, axes, stack, chosen, in_channels, exact, given, remark)


def _as_array(image: Any) -> Any:
    # A lazy array stays lazy; a tensor or a list, whose types are not NumPy's, is copied.
    if hasattr(image, "detach"):  # of a tensor neither its gradient nor where it lies matters
        image = image.detach().cpu()
    if not isinstance(getattr(image, "dtype", None), np.dtype):
        try:
            return np.asanyarray(image)
        except (TypeError, ValueError) as error:
            raise InputError(f"{shown(image)} is no image: give an array of numbers.") from error
    return with_known_shape(image)


def with_known_shape(array: Any) -> Any:
    """Return an array whose lengths are all known; of a dask array, chunks are computed for it.

    Raises
    ------
    InputError
        If they cannot be computed.
    """
    if all(side == side for side in array.shape):  # dask's unknown ones are NaN
        return array
    try:
        return array.copy().compute_chunk_sizes()  # the caller's own stays as it is
    except Exception as error:  # a lazy array can raise anything at all
        if isinstance(error, MemoryError):
            raise
        raise InputError(
            f"The image's shape {tuple(array.shape)} is not known and cannot be computed: {error}. "
            "Give the array after compute_chunk_sizes(), or computed."
        ) from error


def is_dask(array: Any) -> bool:
    """Tell whether an array is one of dask's, without loading dask."""
    return type(array).__module__.partition(".")[0] == "dask"


def is_masked(array: Any) -> bool:
    """Tell whether an array may hold masked pixels, which are not image."""
    return isinstance(array._meta if is_dask(array) else array, np.ma.MaskedArray)


def _unmasked(plane: NDArray[Any]) -> NDArray[Any]:
    """Return a plane with NaN in place of what is masked, which is read as the lowest value."""
    mask = np.ma.getmask(plane)
    values = np.asarray(plane)
    if mask is np.ma.nomask or not mask.any():
        return values
    if values.dtype.kind != "f":
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    return np.where(mask, values.dtype.type(np.nan), values)


def _check_dtype(array: Any) -> None:
    kind = np.dtype(array.dtype).kind
    if kind not in "buif":
        raise InputError(
            f"An image of {array.dtype} values cannot be segmented: convert it to whole or real "
            "numbers first" + (", for example to absolute values." if kind == "c" else ".")
        )


CHANNELS = {"min": 0, "longest": 1024}
"""What holds of channels that are given, for :mod:`~napari_sa2net.engine.fields`."""


def channel_numbers(
    channels: int | str | Sequence[int | str], names: Sequence[str] = ()
) -> tuple[int, ...]:
    """Return the numbers of channels that are given by number or by name.

    Parameters
    ----------
    channels
        Numbers from 0 on, and names, in upper or lower case. A number beyond the channels there
        are may be a name, such as 488.
    names
        Of all channels of the image; empty if they have none.

    Raises
    ------
    InputError
        If there is no channel of a name, or there are several.
    """
    found = []
    for channel in check_value("channels", channels, tuple[int | str, ...], **CHANNELS):
        text = str(channel)
        is_name = isinstance(channel, str) or (len(names) <= channel and text in names)
        if not is_name:
            found.append(int(channel))
            continue
        same = [i for i, name in enumerate(names) if name == text]
        same = same or [i for i, name in enumerate(names) if name.lower() == text.lower()]
        if len(same) != 1:
            known = ", ".join(name or "(no name)" for name in names)
            what = "several channels are" if same else "no channel is"
            raise InputError(
                f"In the image {what} called {text!r}: its channels, from 0 on, are {known}."
                if any(names)
                else f"The channels of the image have no names: in place of {text!r} give the "
                "number, counted from 0."
            )
        found.append(same[0])
    return tuple(found)


def default_channels(count: int, wanted: int, *, colours: bool) -> tuple[int, ...] | None:
    """Return the channels that are used if none are named; None if some must be.

    Parameters
    ----------
    count
        Channels of the image.
    wanted
        Channels that the model takes.
    colours
        Whether those of the image are colours.
    """
    if colours and wanted in (1, 3):
        return (0, 1, 2)
    return tuple(range(count)) if count in (1, wanted) else None


def _choose_channels(
    count: int, channels: Sequence[int | str] | None, wanted: int, colours: bool
) -> tuple[int, ...]:
    if channels is None:
        chosen = default_channels(count, wanted, colours=colours)
        if chosen is not None:
            return chosen
        which = "which one to use"
        example: tuple[int, ...] = (0,)
        if 1 < wanted < count:
            which = f"which {wanted} to use, in the model's order, or one alone"
            example = tuple(range(wanted))
        option = ",".join(map(str, example))
        raise InputError(
            f"The image has {count} channels and the model takes {wanted}: say {which}, as "
            f"--channels {option} (in Python channels={example}). If these are planes of a stack, "
            "correct the axes: Z is depth, T is time, C are channels."
        )
    chosen = channel_numbers(channels)
    outside = [c for c in chosen if not 0 <= c < count]
    if outside:
        raise InputError(
            f"The image has no channel {outside[0]}: its channels are 0 to {count - 1}."
        )
    grey = wanted == 1 and colours and chosen == (0, 1, 2)
    if len(chosen) not in (1, wanted) and not grey:
        takes = "one channel" if wanted == 1 else f"{wanted} channels, or one to be used alone"
        raise InputError(f"The model takes {takes}: {len(chosen)} were named.")
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
