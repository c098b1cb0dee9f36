"""Reading images from layers: pixels, axes, pixel size, and every part of the transform."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels
from numpy.testing import assert_allclose

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.images import to_planes
from napari_sa2net.gui.layers import LayerImage, read_image


def world(layer: Any, point: Any) -> np.ndarray:
    return np.asarray(layer.data_to_world(point), dtype=float)


def oblique(ndim: int, seed: int = 0) -> dict[str, Any]:
    """Return a transform with every part: rotation, shear, a mirrored axis, an affine."""
    rng = np.random.default_rng(seed)
    affine = np.eye(ndim + 1)
    affine[:-1] += rng.normal(scale=0.2, size=(ndim, ndim + 1))
    return {
        "scale": [2.0, -0.7, 0.5, 1.5][-ndim:],
        "translate": rng.normal(size=ndim) * 10,
        "rotate": np.linalg.qr(rng.normal(size=(ndim, ndim)))[0],
        "shear": rng.normal(scale=0.3, size=ndim * (ndim - 1) // 2),
        "affine": affine,
        "units": ("micrometer",) * ndim,
        "axis_labels": ("t", "z", "y", "x")[-ndim:],
    }


def test_grey_image() -> None:
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6)
    image = read_image(Image(pixels, name="cells"))
    assert (image.axes, image.rgb, image.name, image.pixel_size) == ("YX", False, "cells", None)
    assert_allclose(image.data, pixels)


def test_pixels_are_a_view_nobody_can_write_to() -> None:
    pixels = np.zeros((5, 6))
    image = read_image(Image(pixels))
    assert np.shares_memory(image.data, pixels)
    with pytest.raises(ValueError, match="read-only"):
        image.data[0, 0] = 1
    pixels[0, 0] = 1  # the layer's own array stays as it was


@pytest.mark.parametrize("colours", [3, 4])
def test_rgb(colours: int) -> None:
    image = read_image(Image(np.zeros((20, 30, colours), np.uint8), rgb=True))
    assert (image.axes, image.rgb, image.layer_axes) == ("YXC", True, "YX")
    assert image.result_shape() == (20, 30)


def test_full_resolution_of_a_multiscale_layer() -> None:
    levels = [np.zeros((64, 48)), np.zeros((32, 24))]
    assert read_image(Image(levels, multiscale=True)).data.shape == (64, 48)


def test_lazy_stays_lazy() -> None:
    def never(block: np.ndarray) -> np.ndarray:
        if block.size:  # dask tries the function on an empty block
            raise AssertionError("computed")
        return block

    lazy = da.zeros((7, 20, 30), chunks=(1, 20, 30)).map_blocks(never, dtype=float)
    layer = Image(da.zeros((7, 20, 30)), contrast_limits=(0, 1))
    other = Image(da.zeros((7, 20, 30)), contrast_limits=(0, 1))
    # Not given to the constructors, which compute the plane shown.
    for one in (layer, other):
        one.visible = False
        one.data = lazy
    image = read_image([layer, other])
    assert image.data.shape == (2, 7, 20, 30)
    assert hasattr(image.data, "dask")
    assert image.crop((slice(2, 3), slice(0, 5), slice(0, 5))).data.shape == (2, 1, 5, 5)


def test_zarr_is_cropped_lazily() -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(store={}, shape=(4, 20, 30), chunks=(1, 20, 30), dtype="uint8")
    image = read_image(Image(array, contrast_limits=(0, 255)))
    assert not isinstance(image.data, np.ndarray)
    part = image.crop((slice(1, 2), slice(0, 9), slice(3, 30)))
    assert part.data.shape == (1, 9, 27)
    assert hasattr(part.data, "dask")


def test_axis_labels_tell_the_axes() -> None:
    layer = Image(np.zeros((4, 20, 30)), axis_labels=("t", "y", "x"))
    assert read_image(layer).axes == "TYX"


def test_a_person_corrects_the_axes() -> None:
    image = read_image(Image(np.zeros((3, 20, 30)))).with_axes("tyx")
    assert image.axes == "TYX"
    assert image.result_shape() == (3, 20, 30)


@pytest.mark.parametrize("axes", ["YX", "TTYX", "QYX", "TCX"])
def test_axes_that_do_not_fit(axes: str) -> None:
    with pytest.raises(InputError):
        read_image(Image(np.zeros((3, 20, 30)))).with_axes(axes)


def test_colours_stay_the_last_axis() -> None:
    image = read_image(Image(np.zeros((20, 30, 3), np.uint8), rgb=True))
    with pytest.raises(InputError, match="colour"):
        image.with_axes("YXZ")


# --- several layers ---------------------------------------------------------------------------


def test_layers_as_channels() -> None:
    layers = [Image(np.full((20, 30), i), name=f"c{i}", scale=(2, 2)) for i in range(3)]
    image = read_image(layers)
    assert (image.axes, image.layer_axes, image.names) == ("CYX", "YX", ("c0", "c1", "c2"))
    assert_allclose(image.data[:, 0, 0], [0, 1, 2])
    assert image.expand(np.zeros((20, 30))).shape == (20, 30)
    assert_allclose(image.result_transform().matrix(), np.diag([2, 2, 1]))


def test_layers_of_stacks_as_channels() -> None:
    # Three planes would be taken for channels, but the layers are the channels.
    image = read_image([Image(np.zeros((3, 20, 30))), Image(np.zeros((3, 20, 30)))])
    assert image.axes == "CZYX"
    assert image.result_shape() == (3, 20, 30)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (Image(np.zeros((20, 31))), "equal shapes"),
        (Image(np.zeros((20, 30)), scale=(2, 1)), "equal transforms"),
        (Image(np.zeros((20, 30)), translate=(0, 1)), "equal transforms"),
        (Image(np.zeros((20, 30)), units=("mm", "mm")), "equal transforms"),
        (Image(np.zeros((20, 30, 3)), rgb=True), "colour"),
        (Labels(np.zeros((20, 30), int)), "not an Image layer"),
    ],
)
def test_layers_that_are_no_channels_of_one_image(other: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_image([Image(np.zeros((20, 30))), other])


def test_no_image_is_chosen() -> None:
    with pytest.raises(InputError, match="open an image"):
        read_image([])


# --- pixel size -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [
        ((0.5, 0.5), "micrometer", 0.5),
        ((250, 250), "nanometer", 0.25),
        ((0.002, -0.002), "mm", 2.0),
        ((0.5, 0.5), "pixel", None),
    ],
)
def test_pixel_size(scale: Any, unit: str, expected: float | None) -> None:
    image = read_image(Image(np.zeros((20, 30)), scale=scale, units=(unit, unit)))
    assert image.pixel_size == (None if expected is None else pytest.approx(expected))
    assert image.notes == ()


def test_pixels_that_are_not_square() -> None:
    image = read_image(Image(np.zeros((20, 30)), scale=(1, 4), units=("um", "um")))
    assert image.pixel_size_yx == pytest.approx((1, 4))
    assert image.pixel_size == pytest.approx(2)
    assert "not square" in image.notes[0]


def test_rotation_and_affine_count_in_the_pixel_size() -> None:
    affine = np.diag([3.0, 3.0, 1.0])
    layer = Image(
        np.zeros((20, 30)), scale=(0.5, 0.5), rotate=30, affine=affine, units=("um", "um")
    )
    assert read_image(layer).pixel_size == pytest.approx(1.5)


def test_time_may_have_another_unit() -> None:
    layer = Image(np.zeros((5, 20, 30)), scale=(60, 0.5, 0.5), units=("s", "um", "um"))
    assert read_image(layer).with_axes("TYX").pixel_size == pytest.approx(0.5)


# --- transforms -------------------------------------------------------------------------------


def result_layer(image: LayerImage) -> Any:
    data = image.expand(np.zeros(image.result_shape(), np.int32))
    return Labels(data, **image.result_transform().kwargs())


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_the_whole_transform_is_copied(ndim: int) -> None:
    source = Image(np.zeros((2, 6, 20, 30)[-ndim:]), **oblique(ndim))
    image = read_image(source).with_axes("TZYX"[-ndim:])
    result = result_layer(image)
    for point in np.random.default_rng(1).uniform(-5, 40, size=(5, ndim)):
        assert_allclose(world(result, point), world(source, point))
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_a_crop_lies_where_it_was_cut(ndim: int) -> None:
    source = Image(np.random.default_rng(0).random((2, 6, 20, 30)[-ndim:]), **oblique(ndim))
    image = read_image(source).with_axes("TZYX"[-ndim:])
    slices = (slice(1, 2), slice(4, 6), slice(3, 17), slice(7, 30))[-ndim:]
    start = np.array([part.start for part in slices])
    part = image.crop(slices)
    assert_allclose(part.data, source.data[slices])
    result = result_layer(part)
    for point in np.random.default_rng(1).uniform(-5, 40, size=(5, ndim)):
        assert_allclose(world(result, point), world(source, point + start))
    again = part.crop((slice(0, 1),) * (ndim - 2) + (slice(2, 5), slice(1, 9)))
    assert again.region[-2:] == (slice(5, 8), slice(8, 16))


@pytest.mark.parametrize(("axes", "channel"), [("TCYX", 1), ("CZYX", 0), ("TYXC", 3)])
def test_a_dropped_channel_axis_is_one_step_over_its_extent(axes: str, channel: int) -> None:
    shape = dict(zip("TZCYX", (2, 3, 5, 20, 30), strict=True))
    source = Image(np.zeros([shape[axis] for axis in axes]), rgb=False, **oblique(4))
    image = read_image(source).with_axes(axes)
    result = result_layer(image)
    assert result.data.shape[channel] == 1
    for point in np.random.default_rng(1).uniform(-5, 40, size=(5, 4)):
        for edge, source_edge in ((-0.5, -0.5), (0.5, 4.5), (0, 2)):
            on_result, on_source = point.copy(), point.copy()
            on_result[channel], on_source[channel] = edge, source_edge
            assert_allclose(world(result, on_result), world(source, on_source))


def test_a_plain_channel_axis_gives_the_scale_and_place_expected() -> None:
    source = Image(np.zeros((7, 4, 20, 30)), scale=(1, 3, 2, 2), translate=(0, 10, 5, 5))
    transform = read_image(source).with_axes("TCYX").result_transform()
    assert_allclose(transform.scale, (1, 12, 2, 2))
    assert_allclose(transform.translate, (0, 14.5, 5, 5))


def test_applying_a_transform_to_a_layer_that_has_another() -> None:
    source = Image(np.zeros((6, 20, 30)), **oblique(3))
    other = Labels(np.zeros((6, 20, 30), int), **oblique(3, seed=5))
    read_image(source).transform.apply(other)
    assert_allclose(world(other, (1, 2, 3)), world(source, (1, 2, 3)))
    assert_allclose(other.affine.affine_matrix, source.affine.affine_matrix)


def test_a_result_of_another_shape_is_refused() -> None:
    image = read_image(Image(np.zeros((20, 30))))
    with pytest.raises(ValueError, match="does not fit"):
        image.expand(np.zeros((20, 31)))


def test_a_mask_of_a_layer_stays_with_its_pixels() -> None:
    values = np.random.default_rng(0).random((20, 30))
    layers = [Image(np.ma.masked_less(values, 0.2 - i / 10), name=str(i)) for i in range(2)]
    for image in (read_image(layers[0]), read_image(layers)):
        planes = to_planes(image.data, image.axes, None, 2 if image.stacked else 1)
        np.testing.assert_array_equal(planes.outside(0), values < 0.2)
