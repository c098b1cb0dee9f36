"""Arrays of all kinds that somebody may take for an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cases.drawing import Draw, odd_value

SIDES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 48, 64)
USUAL = ("u1", "u1", "u2", "u2", "f4", "f4", "f8", "?", "i2", "i4")
RARE = (
    "i1", "u4", "i8", "u8", "f2", "g", "c8", "c16", "O", "S3", "U2", "M8[s]", "m8[s]", "V4",
    ">u2", ">f4", ">i8", ">f8", "S", "record",
)  # fmt: skip
MOST = 2**15
"""Pixels of an image: a case should take a moment only."""


def some_array(draw: Draw, *, usual: float = 0.6) -> tuple[np.ndarray, str]:
    """Return an image as a NumPy array, and its axes (empty where it has none that fit)."""
    shape, axes = some_shape(draw, usual)
    array = some_values(draw, shape, draw.chance(usual))
    draw.say(f"{array.dtype.str if array.dtype.fields is None else 'record'} {shape} {axes}")
    return array, axes


def some_shape(draw: Draw, usual: float) -> tuple[tuple[int, ...], str]:
    """Return a shape, and axes that fit it if it can be an image's."""
    if draw.chance(usual):
        axes = draw.weighted(
            {"YX": 5, "YXC": 3, "CYX": 2, "ZYX": 2, "TYX": 1, "ZCYX": 1, "TZYX": 1, "TZCYX": 1,
             "CZYX": 1, "ZYXC": 1, "XY": 0.3, "TCZYX": 0.5, "YCX": 0.2}
        )  # fmt: skip
        few = {"C": draw.among(1, 2, 3, 3, 3, 4, 5), "T": draw.among(1, 2, 3)}
        few["Z"] = draw.among(1, 2, 3, 5)
        sides = [few.get(letter) or draw.among(16, 24, 31, 32, 33, 40, 48) for letter in axes]
        return tuple(sides), axes
    kind = draw.weighted({"any": 5, "flat": 1, "pixel": 1, "empty": 1, "few axes": 1, "many": 1})
    if kind == "flat":
        long = draw.among(500, 3000, 9000)
        return draw.among((1, long), (long, 1), (2, long), (long, 3), (3, 2, long)), ""
    if kind == "pixel":
        return (1,) * draw.randrange(1, 6), ""
    if kind == "few axes":
        return draw.among((), (1,), (7,), (0,), (100,)), ""
    if kind == "many":
        return tuple(draw.among(1, 1, 2, 3, 8) for _ in range(draw.among(5, 6, 7))), ""
    shape = [draw.among(*SIDES) for _ in range(draw.among(2, 2, 3, 3, 4, 5))]
    if kind == "empty":
        shape[draw.randrange(len(shape))] = 0
    while np.prod(shape) > MOST:
        shape[int(np.argmax(shape))] //= 2
    return tuple(shape), ""


def some_values(draw: Draw, shape: tuple[int, ...], usual: bool = True) -> np.ndarray:
    """Return an array of a shape, usual or not in its values and their type."""
    kind = draw.among(*(USUAL if usual else (*RARE, *USUAL)))
    base = draw.numpy.random(shape)
    if len(shape) >= 2:  # some blobs, so that there is something to find
        y = np.arange(shape[-2])[:, None] % 13 < 6
        base = base * 0.3 + 0.6 * (y & (np.arange(shape[-1]) % 11 < 6))
    if kind == "record":
        record = np.zeros(shape, [("a", "u1"), ("b", "f4")])
        record["b"] = base
        return record
    dtype = np.dtype(kind)
    if dtype.kind in "SUOV":
        if dtype.kind == "O":
            out = np.empty(shape, object)
            out[...] = draw.among(None, 1, "text", 2.5, b"x")
            return out if draw.chance(0.5) else base.astype(object)
        return np.zeros(shape, dtype)
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        low, high = draw.among((0, info.max), (info.min, info.max), (0, 100), (0, 1))
        values = base * (float(high) - float(low)) + float(low)
        return values.clip(float(info.min), float(info.max) * 0.999).astype(dtype)
    if dtype.kind == "b":
        return (base > 0.5).astype(dtype)
    if dtype.kind in "Mm":
        return (base * 1000).astype("i8").astype(dtype)
    with np.errstate(all="ignore"):
        return _special(draw, base).astype(dtype)


def _special(draw: Draw, base: np.ndarray) -> np.ndarray:
    """Return real values that are special in some of the cases."""
    how = draw.weighted(
        {"": 6, "scaled": 3, "shifted": 2, "constant": 1, "nan": 1, "inf": 1, "all nan": 0.5,
         "all inf": 0.3, "negative": 1, "one differs": 0.5}
    )  # fmt: skip
    if how:
        draw.say(how)
    if how == "scaled":
        return np.asarray(base * 10.0 ** draw.randrange(-320, 308))
    if how == "shifted":
        return np.asarray(base + draw.among(1e5, -1e7, 1e16, 1e30, 1e300))
    if how == "constant":
        return np.full(base.shape, draw.among(0, 1, -1, 0.5, 1e30, 1e-30, 3e38, 1e308))
    if how == "negative":
        return np.asarray(-base)
    places = draw.numpy.random(base.shape) < draw.among(0.01, 0.3, 0.9)
    if how == "nan":
        return np.where(places, np.nan, base)
    if how == "inf":
        return np.where(places, draw.among(np.inf, -np.inf), base)
    if how == "all nan":
        return np.full(base.shape, np.nan)
    if how == "all inf":
        return np.full(base.shape, np.inf)
    if how == "one differs" and base.size:
        out = np.zeros(base.shape)
        out.flat[draw.randrange(base.size)] = draw.among(1, 1e30, -1e30, 1e-30, np.inf, np.nan)
        return out
    return base


def wrapped(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    """Return an array in one of the forms in which it may be handed over."""
    how = draw.weighted(
        {"as it is": 8, "fortran": 1, "backwards": 1, "every second": 1, "read-only": 1,
         "masked": 1, "dask": 2, "dask of unknown size": 0.5, "zarr": 1, "list": 0.5,
         "channels": 1, "tensor": 1, "memmap": 0.5, "matrix": 0.2, "transposed": 1,
         "broadcast": 0.5, "something else": 0.5}
    )  # fmt: skip
    draw.say(how)
    try:
        return _FORMS[how](draw, array, folder) if how in _FORMS else array
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        draw.say(f"not possible ({type(error).__name__})")  # of that array
        return array


def _masked(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    share = draw.among(0.0, 0.1, 0.5, 1.0)
    return np.ma.masked_array(array, draw.numpy.random(array.shape) < share)


def _dask(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    import dask.array

    chunks = tuple(max(1, draw.randrange(n + 1)) if n else 0 for n in array.shape)
    return dask.array.from_array(array, chunks=chunks)


def _dask_unknown(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    import dask.array

    lazy = dask.array.from_array(array, chunks=-1)
    return lazy[dask.array.from_array(np.ones(array.shape[0], bool), chunks=-1)]


def _zarr(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    import zarr

    chunks = tuple(max(1, draw.randrange(n + 1)) for n in array.shape)
    version = draw.among(2, 3)
    made = zarr.create_array(
        folder / "array.zarr", shape=array.shape, chunks=chunks, dtype=array.dtype,
        zarr_format=version,
    )  # fmt: skip
    made[...] = array
    return made


def _memmap(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    np.save(folder / "array.npy", array, allow_pickle=False)
    return np.load(folder / "array.npy", mmap_mode=draw.among("r", "r+", "c"))


def _tensor(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    import torch

    tensor = torch.as_tensor(array)
    return tensor.requires_grad_() if draw.chance(0.2) and tensor.is_floating_point() else tensor


def _something_else(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    value = odd_value(draw)
    draw.say(repr(value))
    return value


def _read_only(draw: Draw, array: np.ndarray, folder: Path) -> Any:
    array.flags.writeable = False
    return array


_FORMS: dict[str, Any] = {
    "fortran": lambda draw, array, folder: np.asfortranarray(array),
    "backwards": lambda draw, array, folder: array[..., ::-1],
    "every second": lambda draw, array, folder: array[..., ::2],
    "read-only": _read_only,
    "masked": _masked,
    "dask": _dask,
    "dask of unknown size": _dask_unknown,
    "zarr": _zarr,
    "list": lambda draw, array, folder: array.tolist(),
    "channels": lambda draw, array, folder: [array] * draw.among(1, 2, 3),
    "tensor": _tensor,
    "memmap": _memmap,
    "matrix": lambda draw, array, folder: np.matrix(array),
    "transposed": lambda draw, array, folder: array.T,
    "broadcast": lambda draw, array, folder: np.broadcast_to(array, (2, *array.shape)),
    "something else": _something_else,
}
