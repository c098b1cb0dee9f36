"""From a painting to a training pair: each stroke where it was painted, nothing else."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.testing import assert_array_equal

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui.annotating.areas import box_of, inside, read_areas
from napari_sa2net.gui.annotating.layers import correct_prediction, new_annotation
from napari_sa2net.gui.annotating.reading import painted_mask, read_pair_steps
from napari_sa2net.gui.layers import read_image

CARD = ModelCard(
    name="nuclei",
    num_classes=3,
    classes=(
        ClassInfo("background", "#000000"),
        ClassInfo("nucleus", "#e69f00"),
        ClassInfo("boundary", "#56b4e9", derived=True),
    ),
)
TURNED = {"scale": (0.5, 0.25), "rotate": 30, "shear": [0.2], "translate": (7, -3)}


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def show(viewer: ViewerModel, shape: tuple[int, ...], axes: str = "", **kwargs: Any) -> Any:
    layer = viewer.add_image(np.zeros(shape), name="cells", **kwargs)
    image = read_image(layer)
    return layer, image.with_axes(axes) if axes else image


def strokes(shape: tuple[int, ...]) -> np.ndarray:
    data = np.zeros(shape, np.uint16)
    data[..., 10:13, 5:30], data[..., 20:23, 5:30] = 1, 2
    return data


def read_pair(*given: Any, **options: Any) -> Any:
    """Return what the steps come to."""
    steps = read_pair_steps(*given, **options)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


# --- on the image's own grid ------------------------------------------------------------------


def test_strokes_are_copied(viewer: ViewerModel) -> None:
    layer, image = show(viewer, (40, 50), **TURNED)
    made = new_annotation(viewer, layer, image, CARD)
    made.data[...] = strokes((40, 50))
    pair = read_pair(viewer, image, made, "strokes", "classes", channels=None, diameter=12.0)
    assert pair.annotation.weights is None
    assert (pair.annotation.meaning, pair.annotation.of) == ("strokes", "classes")
    assert (pair.axes, pair.rgb, pair.planes, pair.diameter) == ("YX", False, (0,), 12.0)
    assert "cells" in pair.name
    made.data[...] = 0  # what is painted while a worker reads it changes nothing
    assert_array_equal(pair.annotation.labels, strokes((40, 50)))


def test_undo_is_seen(viewer: ViewerModel) -> None:
    layer, image = show(viewer, (40, 50))
    made = new_annotation(viewer, layer, image, CARD)
    made.paint((10, 10), 1)
    made.paint((30, 30), 2)
    made.undo()
    labels = read_pair(viewer, image, made, "strokes", "classes").annotation.labels
    assert set(np.unique(labels)) == {0, 1}
    made.redo()
    labels = read_pair(viewer, image, made, "strokes", "classes").annotation.labels
    assert set(np.unique(labels)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((4, 3, 40, 50), "TCYX"), ((3, 4, 40, 50), "CZYX"), ((2, 2, 3, 40, 50), "TZCYX")],
)
def test_planes_of_stacks_with_channels(
    viewer: ViewerModel, shape: tuple[int, ...], axes: str
) -> None:
    layer, image = show(viewer, shape, axes, scale=(2,) * (len(shape) - 2) + (0.5, 0.5))
    made = new_annotation(viewer, layer, image, CARD)
    where = tuple(0 if letter == "C" else 1 for letter in axes if letter not in "YX")
    made.data[where] = strokes((40, 50))
    pair = read_pair(viewer, image, made, "strokes", "classes")
    labels = pair.annotation.labels
    assert labels.shape == image.result_shape()
    assert pair.planes == ((3,) if axes == "TZCYX" else (1,))
    planes = labels.reshape(-1, 40, 50)
    assert_array_equal(planes[pair.planes[0]], strokes((40, 50)))
    assert np.count_nonzero(planes) == np.count_nonzero(strokes((40, 50)))


def test_colours_and_stacked_layers(viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((40, 50, 3), np.uint8), rgb=True)
    made = new_annotation(viewer, layer, read_image(layer), CARD)
    made.data[...] = strokes((40, 50))
    pair = read_pair(viewer, read_image(layer), made, "strokes", "classes")
    assert (pair.rgb, pair.axes, pair.annotation.labels.shape) == (True, "YXC", (40, 50))
    channels = [viewer.add_image(np.zeros((40, 50))) for _ in range(2)]
    image = read_image(channels)
    made = new_annotation(viewer, channels[0], image, CARD)
    made.data[...] = strokes((40, 50))
    assert read_pair(viewer, image, made, "strokes", "classes").axes == "CYX"


def test_labels_of_another_order_of_axes(viewer: ViewerModel) -> None:
    layer, image = show(viewer, (50, 40), "XY")
    made = new_annotation(viewer, layer, image, CARD)
    made.data[...] = strokes((40, 50)).T
    pair = read_pair(viewer, image, made, "strokes", "classes")
    assert_array_equal(pair.annotation.labels, strokes((40, 50)).T)


def test_flat_labels_over_channels(viewer: ViewerModel) -> None:
    _, image = show(viewer, (3, 40, 50), "CYX")
    pair = read_pair(viewer, image, viewer.add_labels(strokes((40, 50))), "strokes", "classes")
    assert_array_equal(pair.annotation.labels, strokes((40, 50)))
    # As napari's own button makes them: with the channels.
    own = np.zeros((3, 40, 50), int)
    own[2] = strokes((40, 50))
    pair = read_pair(viewer, image, viewer.add_labels(own), "strokes", "classes")
    assert_array_equal(pair.annotation.labels, strokes((40, 50)))


def test_lazy_and_multiscale_masks(viewer: ViewerModel) -> None:
    _, image = show(viewer, (4, 40, 50), "TYX")
    mask = (strokes((4, 40, 50)) > 0).astype(int)
    lazy = viewer.add_labels(da.from_array(mask, chunks=(1, 40, 50)))
    pair = read_pair(viewer, image, lazy, "mask", "classes")
    assert_array_equal(pair.annotation.labels, mask)
    assert pair.planes == (0, 1, 2, 3)
    _, flat = show(viewer, (40, 50))
    layer = viewer.add_labels([mask[0], mask[0, ::2, ::2]])
    assert_array_equal(read_pair(viewer, flat, layer, "mask", "classes").annotation.labels, mask[0])


def test_a_mask_of_0_and_255(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50))
    mask = viewer.add_labels((strokes((40, 50)) > 0).astype(np.uint8) * 255)
    pair = read_pair(viewer, image, mask, "mask", "classes")
    assert set(np.unique(pair.annotation.labels)) == {0, 1}
    assert mask.data.max() == 255


def test_a_large_annotation_is_read_in_small_steps(viewer: ViewerModel) -> None:
    size = 8000
    layer = Image(da.zeros((size, size), chunks=1000), visible=False, contrast_limits=(0, 1))
    viewer.layers.append(layer)
    image = read_image(layer)
    made = new_annotation(viewer, layer, image, CARD)
    made.data[700:710, 900:1300], made.data[7990:, 7990:] = 1, 2
    steps = read_pair_steps(viewer, image, made, "strokes", "classes")
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            pair = stop.value
            break
        count += 1
    assert count >= size // 512
    assert_array_equal(pair.annotation.labels, made.data)


# --- on another grid --------------------------------------------------------------------------


def test_an_annotation_of_a_part(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50), scale=(0.5, 0.5), translate=(1, 1))
    part = viewer.add_labels(strokes((40, 50))[8:30], scale=(0.5, 0.5), translate=(5, 1))
    pair = read_pair(viewer, image, part, "strokes", "classes")
    assert_array_equal(pair.annotation.labels, strokes((40, 50)))
    mask = read_pair(viewer, image, part, "mask", "instances")
    weights = np.zeros((40, 50))
    weights[8:30] = 1  # outside of it nobody knows
    assert_array_equal(mask.annotation.weights, weights)


def test_a_coarser_mask_is_resampled(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50), rotate=30)
    small = np.random.default_rng(0).integers(0, 4, (20, 25))
    layer = viewer.add_labels(small)
    layer.scale = (2, 2)
    layer.rotate = 30
    turn = np.array(
        [[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]]
    )
    layer.translate = turn @ (0.5, 0.5)
    pair = read_pair(viewer, image, layer, "mask", "instances")
    assert_array_equal(pair.annotation.labels, np.kron(small, np.ones((2, 2))))
    assert pair.annotation.weights is None


def test_thin_strokes_of_a_finer_painting_stay(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50), scale=(4, 4))
    fine = np.zeros((160, 200), int)
    fine[:, 7], fine[41, :] = 1, 2
    layer = viewer.add_labels(fine, translate=(-1.5, -1.5))
    labels = read_pair(viewer, image, layer, "strokes", "classes").annotation.labels
    assert (labels[:, 1] > 0).all()
    assert (labels[10, 2:] == 2).all()
    assert np.count_nonzero(labels) == 40 + 49


def test_turned_against_the_image(viewer: ViewerModel) -> None:
    _, image = show(viewer, (60, 60))
    layer = viewer.add_labels(np.ones((20, 20), int), rotate=45, translate=(30, 30))
    pair = read_pair(viewer, image, layer, "strokes", "classes")
    corners = layer.data_to_world((-0.5, -0.5)), layer.data_to_world((19.5, 19.5))
    assert abs(np.count_nonzero(pair.annotation.labels) - 400) < 25
    assert pair.annotation.labels[round(np.mean([c[0] for c in corners])), 30] == 1


def test_every_third_plane(viewer: ViewerModel) -> None:
    _, image = show(viewer, (9, 40, 50), "ZYX")
    labels = np.zeros((3, 40, 50), int)
    labels[2] = strokes((40, 50))
    layer = viewer.add_labels(labels, scale=(3, 1, 1), translate=(1, 0, 0))
    assert read_pair(viewer, image, layer, "strokes", "classes").planes == (6, 7, 8)


# --- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"data": np.zeros((30, 20), int)}, "nothing tells how they fit"),
        ({"data": np.zeros((4, 40, 50), int)}, "choose the image"),
        ({"data": np.ones((40, 50), int), "translate": (90, 0)}, "beside"),
        ({"data": np.zeros((40, 50), int)}, "Nothing is painted"),
    ],
)
def test_what_does_not_fit(viewer: ViewerModel, kwargs: dict[str, Any], text: str) -> None:
    _, image = show(viewer, (40, 50))
    layer = viewer.add_labels(**kwargs)
    with pytest.raises(InputError, match=text):
        read_pair(viewer, image, layer, "strokes", "classes")


def test_a_larger_mask_needs_a_transform(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50))
    layer = viewer.add_labels(np.ones((80, 100), int))
    with pytest.raises(InputError, match="scale"):
        read_pair(viewer, image, layer, "mask", "classes")
    # Strokes were painted where they are seen.
    assert read_pair(viewer, image, layer, "strokes", "classes").planes == (0,)
    layer.scale = (0.5, 0.5)
    assert read_pair(viewer, image, layer, "mask", "classes").annotation.weights is None


def test_planes_that_are_not_those_of_the_image(viewer: ViewerModel) -> None:
    _, image = show(viewer, (4, 40, 50), "TYX")
    flat = viewer.add_labels(strokes((40, 50)))
    with pytest.raises(InputError, match="all 4 planes"):
        read_pair(viewer, image, flat, "strokes", "classes")
    turned = viewer.add_labels(strokes((4, 40, 50)), rotate=[20, 0, 0])
    tilted = np.eye(4)
    tilted[0, 1] = 0.2
    turned.affine = tilted
    with pytest.raises(InputError, match="turned"):
        read_pair(viewer, image, turned, "strokes", "classes")
    _, channels = show(viewer, (4, 3, 40, 50), "TCYX")
    frames = viewer.add_labels(strokes((4, 40, 50)))
    with pytest.raises(InputError, match="channels"):
        read_pair(viewer, channels, frames, "strokes", "classes")


def test_layers_of_another_kind_or_gone(viewer: ViewerModel) -> None:
    layer, image = show(viewer, (40, 50))
    with pytest.raises(InputError, match="fractions"):
        read_pair(viewer, image, layer, "strokes", "classes")
    with pytest.raises(InputError, match="Convert to Labels"):
        read_pair(viewer, image, viewer.add_image(strokes((40, 50))), "strokes", "classes")
    made = viewer.add_labels(strokes((40, 50)))
    region = viewer.add_shapes([np.array([[0, 0], [0, 9], [9, 9]])], shape_type="polygon")
    viewer.layers.remove(region)
    with pytest.raises(InputError, match="counts inside was removed: choose another under Counts"):
        read_pair(viewer, image, made, "strokes", "classes", region=region)
    viewer.layers.remove(made)
    with pytest.raises(InputError, match="removed"):
        read_pair(viewer, image, made, "strokes", "classes")


# --- corrections ------------------------------------------------------------------------------


def test_only_what_was_edited_counts(viewer: ViewerModel) -> None:
    _, image = show(viewer, (1200, 60))
    labels = np.zeros((1200, 60), np.int32)
    labels[500:530, 10:40], labels[900:930, 10:40] = 1, 2
    made = correct_prediction(viewer, viewer.add_labels(labels))
    with pytest.raises(InputError, match="Nothing is changed"):
        read_pair(viewer, image, made, "mask", "instances")
    made.data[505:512, 20] = 0
    made.data[511:520, 20] = 3  # across the border of two blocks
    pair = read_pair(viewer, image, made, "mask", "instances", margin=4)
    weights = np.zeros((1200, 60))
    weights[501:524, 16:25] = 1
    assert_array_equal(pair.annotation.weights, weights)
    near = pair.annotation.labels[440:580]
    assert_array_equal(near, made.data[440:580])  # objects are whole about the edit
    made.undo()  # nothing to undo: written by hand
    made.data[...] = labels
    with pytest.raises(InputError, match="Nothing is changed"):
        read_pair(viewer, image, made, "mask", "instances")


def test_the_rest_may_count_as_accepted(viewer: ViewerModel) -> None:
    _, image = show(viewer, (3, 60, 60), "TYX")
    labels = np.zeros((3, 60, 60), np.int32)
    labels[:2, 10:40, 10:40] = 1
    made = correct_prediction(viewer, viewer.add_labels(labels))
    made.data[1, 20, 20] = 0
    pair = read_pair(viewer, image, made, "mask", "instances", accepted=0.25, margin=2)
    assert_array_equal(pair.annotation.labels, made.data)
    weights = pair.annotation.weights
    assert pair.planes == (0, 1)  # the last has no label that could be accepted
    assert set(np.unique(weights[0])) == {0.25}
    assert weights[1].sum() == 25 + 0.25 * (3600 - 25)
    assert read_pair(viewer, image, made, "mask", "instances").planes == (1,)


def test_painted_places(viewer: ViewerModel) -> None:
    layer, image = show(viewer, (3, 60, 60), "TYX")
    labels = np.zeros((3, 60, 60), np.int32)
    labels[:, 10:40, 10:40] = 1
    made = correct_prediction(viewer, viewer.add_labels(labels))
    made.data[1, 20:22, 20] = 0
    assert not painted_mask(image, made, 0).any()
    assert_array_equal(np.argwhere(painted_mask(image, made, 1)), [[20, 20], [21, 20]])
    plain = new_annotation(viewer, layer, image, CARD)
    plain.data[2, 5, 6] = 1
    assert_array_equal(np.argwhere(painted_mask(image, plain, 2)), [[5, 6]])


# --- regions ----------------------------------------------------------------------------------


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices(shape)
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def test_a_polygon_is_filled_by_pixel_centres() -> None:
    square = np.array([[2.5, 3.5], [2.5, 7.5], [6.5, 7.5], [6.5, 3.5]])
    whole = inside((square,), slice(0, 12), slice(0, 10))
    wanted = np.zeros((12, 10), bool)
    wanted[3:7, 4:8] = True
    assert_array_equal(whole, wanted)
    assert_array_equal(inside((square,), slice(4, 9), slice(5, 10)), wanted[4:9, 5:10])
    assert box_of(square, (12, 10)) == (slice(3, 7), slice(4, 8))
    assert box_of(square + 50, (12, 10)) is None
    bow = np.array([[0, 0], [0, 8], [8, 0], [8, 8]]) + 0.25  # crosses itself
    assert inside((bow,), slice(0, 12), slice(0, 10)).sum() < 40


@pytest.mark.parametrize("transform", [{}, TURNED, {"scale": (-1, 3)}])
def test_every_shape_through_world_coordinates(
    viewer: ViewerModel, transform: dict[str, Any]
) -> None:
    layer, image = show(viewer, (60, 80), **transform)

    def to_shapes(points: Any, shapes: Any) -> np.ndarray:
        return np.array([shapes.world_to_data(layer.data_to_world(p)) for p in points])

    for kind in ("rectangle", "ellipse", "polygon"):
        shapes = viewer.add_shapes(ndim=2, scale=(3, 3), translate=(2, 5))
        box = [(9.5, 19.5), (9.5, 49.5), (39.5, 49.5), (39.5, 19.5)]
        shapes.add(to_shapes(box, shapes), shape_type=kind)
        mask = read_areas(shapes, image).mask(0, slice(0, 60), slice(0, 80))
        wanted = np.zeros((60, 80), bool)
        wanted[10:40, 20:50] = True
        if kind == "ellipse":
            wanted = disc((60, 80), (24.5, 34.5), 15)
        assert np.count_nonzero(mask != wanted) <= (8 if kind == "ellipse" else 0)


def test_a_turned_rectangle_and_several_shapes(viewer: ViewerModel) -> None:
    _, image = show(viewer, (60, 80))
    shapes = viewer.add_shapes(
        [np.array([[10, 30], [30, 50], [50, 30], [30, 10.0]])], shape_type="rectangle"
    )
    shapes.add_ellipses(np.array([[40, 60], [40, 76], [56, 76], [56, 60.0]]))
    shapes.add_lines(np.array([[0, 0], [59, 79]]))  # has no inside
    mask = read_areas(shapes, image).mask(0, slice(0, 60), slice(0, 80))
    y, x = np.indices((60, 80))
    wanted = (np.abs(y - 30) + np.abs(x - 30) < 20) | disc((60, 80), (48, 68), 8)
    assert np.count_nonzero(mask != wanted) < 100
    assert mask[30, 30]
    assert not mask[12, 12]


def test_outside_a_region_nothing_counts(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50))
    shapes = viewer.add_shapes(
        [np.array([[-1, -1], [-1, 14.5], [60, 14.5], [60, -1.0]])], shape_type="rectangle"
    )
    made = viewer.add_labels(strokes((40, 50)))
    labels = read_pair(viewer, image, made, "strokes", "classes", region=shapes).annotation.labels
    assert_array_equal(labels[:, :15], strokes((40, 50))[:, :15])
    assert not labels[:, 15:].any()
    pair = read_pair(viewer, image, made, "mask", "instances", region=shapes)
    weights = np.zeros((40, 50))
    weights[:, :15] = 1
    assert_array_equal(pair.annotation.weights, weights)
    assert_array_equal(pair.annotation.labels, strokes((40, 50)))  # whole objects
    corrected = correct_prediction(viewer, made)
    corrected.data[30, 14] = 5
    pair = read_pair(viewer, image, corrected, "mask", "instances", region=shapes, margin=2)
    assert pair.annotation.weights.sum() == 15
    far = viewer.add_shapes([np.array([[0, 40], [9, 40], [9, 49.0]])], shape_type="polygon")
    with pytest.raises(InputError, match=r"painted in Labels inside Shapes \[1\]"):
        read_pair(viewer, image, made, "strokes", "classes", region=far)


def test_regions_of_stacks(viewer: ViewerModel) -> None:
    _, image = show(viewer, (4, 3, 40, 50), "TCYX", scale=(2, 1, 0.5, 0.5))
    flat = viewer.add_shapes([np.array([[0, 0], [0, 5], [5, 5], [5, 0.0]])])
    areas = read_areas(flat, image)
    assert [areas.mask(t, slice(0, 40), slice(0, 50)).sum() for t in range(4)] == [100] * 4
    box = np.array([[2, 1, 0, 0], [2, 1, 0, 9], [2, 1, 9, 9], [2, 1, 9, 0.0]])
    deep = viewer.add_shapes([box], scale=(2, 1, 0.5, 0.5))
    areas = read_areas(deep, image)
    assert [areas.mask(t, slice(0, 40), slice(0, 50)).sum() for t in range(4)] == [0, 0, 81, 0]
    across = viewer.add_shapes(
        [np.array([[0, 1, 0, 0], [3, 1, 0, 9], [3, 1, 9, 9.0]])], shape_type="polygon"
    )
    with pytest.raises(InputError, match=r"across the planes.*set Counts to “everywhere”"):
        read_areas(across, image)


def test_a_region_without_an_inside(viewer: ViewerModel) -> None:
    _, image = show(viewer, (40, 50))
    shapes = viewer.add_shapes(ndim=2)
    with pytest.raises(InputError, match=r"draw a rectangle.*set Counts to “everywhere”"):
        read_areas(shapes, image)
    shapes.add_lines(np.array([[0, 0], [9, 9]]))
    with pytest.raises(InputError, match="draw a rectangle"):
        read_areas(shapes, image)
    with pytest.raises(InputError, match="not a Shapes layer"):
        read_areas(Labels(np.zeros((9, 9), int)), image)
