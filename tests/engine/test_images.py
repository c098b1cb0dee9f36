"""Axes, channels, dtypes, odd values, lazy arrays, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_sa2net.engine.axes import Stack
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.images import (
    Normalization,
    channel_numbers,
    check_axes,
    guess_axes,
    normalize,
    to_planes,
    value_limits,
)


@pytest.mark.parametrize(
    ("shape", "rgb", "labels", "axes"),
    [
        ((5, 7), False, None, "YX"),
        ((1, 1), False, None, "YX"),
        ((64, 64, 3), False, None, "YXC"),
        ((64, 64, 4), True, None, "YXC"),
        ((9, 64, 64, 3), True, None, "ZYXC"),
        ((3, 64, 64), False, None, "CYX"),
        ((30, 64, 64), False, None, "ZYX"),
        ((1, 64, 64), False, None, "ZYX"),
        ((10, 2, 64, 64), False, None, "ZCYX"),
        ((2, 10, 64, 64), False, None, "CZYX"),
        ((10, 12, 64, 64), False, None, "TZYX"),
        ((10, 12, 3, 64, 64), False, None, "TZCYX"),
        ((10, 3, 12, 64, 64), False, None, "TCZYX"),
        ((3, 64, 64), False, ("time", "y", "x"), "TYX"),
        ((3, 64, 64, 3), True, ("t", "y", "x"), "TYXC"),
        ((30, 64, 64), False, ("-3", "-2", "-1"), "ZYX"),
        ((30, 64, 64), False, ("y", "y", "x"), "ZYX"),
        # A last axis far shorter than the two before it holds channels.
        ((128, 160, 1), False, None, "YXC"),
        ((5, 7, 1), False, None, "YXC"),
        ((64, 64, 2), False, None, "YXC"),
        ((64, 64, 5), False, None, "YXC"),
        ((64, 80, 16), False, None, "YXC"),
        ((9, 64, 64, 5), False, None, "ZYXC"),
        ((5, 64, 64), False, None, "ZYX"),
        ((50, 3, 64, 16), False, None, "ZCYX"),
        ((64, 64, 30), False, None, "ZYX"),
        # Names go before shapes, and an axis that is of no image is none of TZCYX.
        ((64, 64, 5), False, ("z", "y", "x"), "ZYX"),
        ((3, 64, 64), False, ("frame", "row", "col"), "TYX"),
        ((3, 64, 64), False, ("position", "y", "x"), "RYX"),
        ((3, 2, 64, 64), False, ("well", "channel", "y", "x"), "QCYX"),
        ((3, 64, 64, 3), True, ("scene", "y", "x"), "RYXC"),
        ((2, 2, 3, 2, 64, 64), False, ("p", "t", "z", "c", "y", "x"), "PTZCYX"),
        ((4, 64, 64, 3), False, ("c", "y", "x", "s"), "ZYXC"),
    ],
)
def test_guess_axes(
    shape: tuple[int, ...], rgb: bool, labels: Sequence[str] | None, axes: str
) -> None:
    assert guess_axes(shape, rgb=rgb, axis_labels=labels) == axes


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5, 6, 7)])
def test_shapes_that_are_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"axes, for example TZCYX\."):
        guess_axes(shape)


@pytest.mark.parametrize(
    ("axes", "shape", "says"),
    [
        ("YX1", (4, 4, 4), r"axes 'YX1' do not fit: .* letters .* Write for example TYX\."),
        ("YYX", (4, 4, 4), "once"),
        ("TZX", (4, 4, 4), "Y and X"),
        ("YX", (4, 4, 4), "3 axes"),
        ("YX", (0, 4), "empty"),
    ],
)
def test_wrong_axes_are_explained(axes: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_axes(axes, shape)


@pytest.mark.parametrize(
    "dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
def test_any_dtype_keeps_its_order_of_values(dtype: str) -> None:
    image = (np.arange(12).reshape(3, 4) % 2 if dtype == "bool" else np.arange(12)).reshape(3, 4)
    plane = to_planes(image.astype(dtype)).read(0)
    assert plane.shape == (3, 3, 4)
    assert plane.dtype == np.float32
    np.testing.assert_allclose(np.argsort(plane[0], axis=None, kind="stable"),
                               np.argsort(image, axis=None, kind="stable"))  # fmt: skip


@pytest.mark.parametrize("dtype", ["c8", "U3", "M8[s]"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(InputError, match="cannot be segmented"):
        to_planes(np.zeros((4, 4), dtype))


def test_nan_and_infinity_become_finite_ends() -> None:
    image = np.array([[np.nan, 1, 2], [np.inf, -np.inf, 3]])
    np.testing.assert_array_equal(to_planes(image).read(0)[0], [[1, 1, 2], [3, 1, 3]])
    assert not to_planes(np.full((2, 2), np.nan)).read(0).any()


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-9, 0.0), (1e300, 0.0), (1.0, 1e9), (1.7e308, -0.5)]
)
def test_extreme_values_keep_their_contrast(scale: float, offset: float) -> None:
    plain = np.random.default_rng(0).random((20, 20))
    expected = normalize(to_planes(plain * 255).read(0), Normalization())
    extreme = plain * scale + offset
    got = normalize(to_planes(extreme).read(0), Normalization())
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("outlier", [1.0, 1e12, 1e300, -1e300])
@pytest.mark.parametrize("scale", [1e-7, 1.0])
def test_a_few_wild_values_do_not_hide_the_others(outlier: float, scale: float) -> None:
    image = np.random.default_rng(0).random((40, 50)) * scale
    image[0, 0] = image[0, 1]
    plain = normalize(to_planes(image).read(0), Normalization())
    image[0, 0] = outlier
    wild = normalize(to_planes(image).read(0), Normalization())
    assert np.isfinite(wild).all()
    np.testing.assert_allclose(wild[:, 1:], plain[:, 1:], atol=0.02)


def test_images_of_other_libraries_are_read() -> None:
    import torch

    image = torch.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(to_planes(image, "YX").read(0)[0], image.numpy())


def test_exact_values_are_left_alone() -> None:
    image = np.full((2, 2), 3e6) + np.arange(4).reshape(2, 2)
    np.testing.assert_array_equal(to_planes(image, exact=True).read(0)[0], image)


def test_every_axis_order_gives_the_same_planes() -> None:
    image = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5, 6), np.uint8)  # TZCYX
    want = to_planes(image, "TZCYX", (3, 1), 2)
    other = to_planes(image.transpose(2, 4, 1, 3, 0), "CXZYT", (3, 1), 2)
    assert len(want) == len(other) == 6
    assert want.shape == (2, 3, 5, 6)
    assert other.shape == (6, 3, 5, 2)
    for i in range(6):
        t, z = want.index(i)
        assert other.index(i) == (t, z)
        np.testing.assert_array_equal(want.read(i), image[t, z, [3, 1]])
        np.testing.assert_array_equal(want.read(i), other.read(i))


def test_results_are_written_through_views() -> None:
    stack = Stack("XZY", (3, 2, 4))
    result = np.zeros((7, 3, 2, 4))
    stack.view(result, 1)[...] = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(result[5, :, 1], np.arange(12).reshape(4, 3).T)
    assert not result[:, :, 0].any()
    assert stack.ordered(result[0]).shape == (1, 2, 4, 3)


class Chunky:
    """A lazy array that remembers what was read."""

    def __init__(self, data: np.ndarray[Any, Any]) -> None:
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.read: list[int] = []

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        part = self.data[key]
        self.read.append(part.size)
        return part


def test_lazy_arrays_are_read_a_plane_at_a_time() -> None:
    data = np.random.default_rng(0).random((5, 3, 8, 8)).astype(np.float32)
    lazy = Chunky(data)
    planes = to_planes(lazy, "TCYX")
    assert not lazy.read
    np.testing.assert_array_equal(planes.read(2), data[2])
    assert sum(lazy.read) == 3 * 8 * 8
    chunks = da.from_array(data, chunks=(1, 1, 4, 4))
    np.testing.assert_array_equal(to_planes(chunks, "TCYX").read(4), data[4])


def test_zarr(tmp_path: Any) -> None:
    zarr = pytest.importorskip("zarr")
    data = np.arange(2 * 70 * 8 * 8, dtype=np.uint16).reshape(2, 70, 8, 8)
    array = zarr.open(str(tmp_path / "a.zarr"), mode="w", shape=data.shape, dtype=data.dtype)
    array[...] = data
    planes = to_planes(array, "TCYX", (69, 0, 3), 3)
    np.testing.assert_array_equal(planes.read(1), data[1, [69, 0, 3]])


def test_a_source_that_fails_is_explained() -> None:
    class Broken(Chunky):
        def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
            raise RuntimeError("chunk gone")

    with pytest.raises(InputError, match="chunk gone"):
        to_planes(Broken(np.zeros((4, 4)))).read(0)


def test_channels() -> None:
    rgba = np.random.default_rng(0).integers(0, 255, (9, 10, 4), np.uint8)
    np.testing.assert_array_equal(
        to_planes(rgba, rgb=True).read(0), np.moveaxis(rgba[..., :3], -1, 0)
    )
    np.testing.assert_array_equal(
        to_planes(rgba, rgb=True, colour_order=(2, 1, 0)).read(0),
        np.moveaxis(rgba[..., 2::-1], -1, 0),
    )
    grey = to_planes(rgba, rgb=True, in_channels=1).read(0)
    assert grey.shape == (1, 9, 10)
    assert rgba[..., :3].min(-1).sum() < grey.sum() < rgba[..., :3].max(-1).sum()
    np.testing.assert_array_equal(
        to_planes(rgba, "YXC", (1,)).read(0), np.stack([rgba[..., 1]] * 3)
    )
    np.testing.assert_array_equal(to_planes(rgba, "YXC", in_channels=4).read(0)[3], rgba[..., 3])


def test_channels_that_do_not_fit_are_explained() -> None:
    two = np.zeros((2, 9, 9))
    with pytest.raises(InputError, match=r"2 channels and the model takes 3.*--channels 0 \("):
        to_planes(two, "CYX")
    with pytest.raises(InputError, match=r"which 3 to use.*--channels 0,1,2 \("):
        to_planes(np.zeros((5, 9, 9)), "CYX")
    with pytest.raises(InputError, match="no channel 2"):
        to_planes(two, "CYX", (0, 1, 2))
    with pytest.raises(InputError, match="2 were named"):
        to_planes(two, "CYX", (0, 1))


def test_one_channel_too_many_is_said_in_words() -> None:
    with pytest.raises(InputError, match=r"^The model takes one channel: 2 were named\.$"):
        to_planes(np.zeros((2, 9, 9)), "CYX", (0, 1), 1)


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        ((1, "DAPI"), ("DAPI", "actin"), (1, 0)),
        (("dapi",), ("actin", "DAPI"), (1,)),
        ((488,), ("405", "488"), (1,)),
        ((0,), ("1", "0"), (0,)),  # a number that is one goes before a name
        (("0",), ("1", "0"), (1,)),
        ((7,), (), (7,)),  # of which the image says that it is not there
    ],
)
def test_channels_are_found_by_name(asked: Any, names: Any, found: Any) -> None:
    assert channel_numbers(asked, names) == found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "have no names"),
        (("", ""), "have no names"),
        (("DAPI", ""), r"no channel is called 'actin'.*are DAPI, \(no name\)"),
        (("Actin", "ACTIN"), "several channels are called"),
    ],
)
def test_a_name_that_no_channel_has_is_explained(names: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        channel_numbers(("actin",), names)


def test_several_images_are_channels() -> None:
    parts = [np.full((4, 6, 6), i, np.uint8) for i in range(3)]
    planes = to_planes(parts)
    assert planes.shape == (4, 6, 6)
    assert len(planes) == 4
    np.testing.assert_array_equal(planes.read(3)[:, 0, 0], [0, 1, 2])
    np.testing.assert_array_equal(to_planes(parts, channels=(2, 2, 0)).read(0)[:, 0, 0], [2, 2, 0])
    with pytest.raises(InputError, match="one shape"):
        to_planes([np.zeros((4, 6)), np.zeros((4, 7))])
    with pytest.raises(InputError, match="Several images"):
        to_planes([np.zeros((3, 4, 6))] * 2, "CYX")


def test_normalisation_maps_percentiles_to_0_and_1() -> None:
    image = np.arange(10001, dtype=np.float32).reshape(1, 73, 137)
    out = normalize(image, Normalization(low=1, high=99, clip=(-1, 3)))
    assert out[0].flat[100] == pytest.approx(0, abs=1e-5)
    assert out[0].flat[9900] == pytest.approx(1, abs=1e-5)
    assert normalize(image * 0, Normalization()).any() == False  # noqa: E712
    out = normalize(image, Normalization("minmax"))
    assert (out.min(), out.max()) == (0, pytest.approx(1))
    np.testing.assert_array_equal(normalize(image, Normalization("none")), image)


def test_statistics_of_a_large_plane_come_from_a_fixed_grid() -> None:
    image = np.random.default_rng(0).random((1, 300, 300)).astype(np.float32)
    exact = value_limits(image, Normalization())[0]
    near = value_limits(image, Normalization(), samples=10_000)
    assert near == value_limits(image, Normalization(), samples=10_000)
    assert near[0] != exact
    np.testing.assert_allclose(near[0], exact, atol=0.01)
    limits = [(0.0, 2.0)]
    np.testing.assert_allclose(normalize(image, Normalization(), limits), image / 2, atol=1e-5)


@pytest.mark.parametrize("method", ["percentile", "minmax", "scale", "none"])
def test_a_repeated_channel_is_normalised_like_any_other(method: Any) -> None:
    image = np.random.default_rng(0).integers(0, 200, (40, 50)).astype(np.uint8)
    normalization = Normalization(method)
    repeated = to_planes(image, "YX", in_channels=3).read(0)
    assert repeated.shape == (3, 40, 50)
    np.testing.assert_array_equal(
        normalize(repeated, normalization), normalize(repeated.copy(), normalization)
    )
    limits = [(3.0, 150.0)] * 3
    np.testing.assert_array_equal(
        normalize(repeated, normalization, limits),
        normalize(repeated.copy(), normalization, limits),
    )


# --- Shapes that are not known, and masks --------------------------------------------------------


def test_dask_chunks_of_unknown_size_are_measured() -> None:
    values = np.arange(7 * 6 * 5, dtype=np.uint16).reshape(7, 6, 5)
    lazy = da.from_array(values, chunks=(2, 3, 5))
    chosen = lazy[da.from_array(np.arange(7) % 2 == 0, chunks=2)]
    assert np.isnan(chosen.shape[0])
    planes = to_planes(chosen, "ZYX", in_channels=1)
    assert planes.shape == (4, 6, 5)
    np.testing.assert_array_equal(planes.read(3)[0], values[6])
    assert np.isnan(chosen.shape[0])  # the caller's own is as it was


def test_a_shape_that_cannot_be_computed_is_told() -> None:
    def fail(block: Any) -> Any:
        raise OSError("the disk is gone")

    lazy = da.ones((4, 4), chunks=2).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    lazy = lazy[lazy[:, 0] > 0]
    with pytest.raises(InputError, match="not known and cannot be computed: the disk is gone"):
        to_planes(lazy)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, bool])
def test_what_is_masked_is_no_value_of_the_image(dtype: Any, lazy: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2, (3, 8, 9)).astype(dtype)
    mask = np.zeros(values.shape, bool)
    mask[1, 2:5, 3:6] = True
    mask[2, 0, 0] = True
    hidden = values.copy()
    hidden[mask] = np.asarray(250, dtype)
    masked: Any = np.ma.masked_array(hidden, mask)
    masked = da.from_array(masked, chunks=(1, 4, 9)) if lazy else masked
    planes = to_planes(masked, "CYX", in_channels=3)
    assert planes.masked
    for window in (None, (slice(1, 7), slice(2, 8))):
        outside = planes.outside(0, window)
        np.testing.assert_array_equal(outside, mask.any(axis=0)[window or ...])
        read = planes.read(0, window)
        expected = np.where(mask, values.min(), values).astype(np.float32)
        np.testing.assert_array_equal(read, expected[(slice(None), *(window or ()))])
    assert to_planes(values, "CYX", in_channels=3).outside(0) is None


def test_percentiles_are_of_what_is_not_masked() -> None:
    values = np.random.default_rng(0).random((2, 40, 50)).astype(np.float32)
    outside = np.zeros((40, 50), bool)
    outside[:, :30] = True
    dirty = np.where(outside, np.float32(99), values)
    expected = value_limits(values[:, :, 30:], Normalization())
    found = value_limits(dirty, Normalization(), outside=outside)
    np.testing.assert_allclose(found, expected)
    nothing = value_limits(dirty, Normalization(), outside=np.ones((40, 50), bool))
    assert nothing == [(0, 0)] * 2


@pytest.mark.parametrize("image", [[[1, 2], True], [[1], [2, 3]], [["a"], [[1]]]])
def test_what_is_no_array_is_told(image: object) -> None:
    with pytest.raises(InputError, match="is no image: give an array of numbers"):
        to_planes(image)
