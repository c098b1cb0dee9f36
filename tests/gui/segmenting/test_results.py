"""Writing results: placed, coloured and noted rightly, found again, never over an edit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.testing import assert_allclose, assert_array_equal

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.gui.layers import is_result, note_of, read_image, source_layer
from napari_sa2net.gui.segmenting.results import (
    Note,
    describe_bytes,
    estimate_map_bytes,
    is_edited,
    too_large,
    write_labels,
    write_maps,
    write_plane,
)

NOTE = Note("nuclei", {"threshold": 0.5}, "0.1.0")
CLASSES = (
    ClassInfo("background", "#000000"),
    ClassInfo("nucleus", "#e69f00"),
    ClassInfo("boundary", "#56b4e9", derived=True),
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, size=shape, dtype=np.int32)


def show(viewer: ViewerModel, shape: tuple[int, ...], axes: str = "", **kwargs: Any) -> Any:
    layer = viewer.add_image(np.zeros(shape), name="cells", **kwargs)
    image = read_image(layer)
    return image.with_axes(axes) if axes else image


# --- labels -----------------------------------------------------------------------------------


def test_labels_carry_transform_features_and_note(viewer: ViewerModel) -> None:
    image = show(
        viewer,
        (20, 30),
        scale=(0.5, -0.5),
        translate=(3, 4),
        rotate=20,
        units=("um", "um"),
        axis_labels=("y", "x"),
    )
    table = {"index": np.array([1, 2]), "class": np.array(["a", "a"]), "area": np.array([5, 6])}
    labels = numbers(20, 30)
    written = write_labels(viewer, image, labels, note=NOTE, features=table)
    layer, source = written.layer, viewer.layers["cells"]
    assert written.created
    assert written.message == ""
    assert isinstance(layer, Labels)
    assert layer.name == "cells labels"
    assert_array_equal(layer.data, labels)
    assert_allclose(layer.data_to_world((3, 4)), source.data_to_world((3, 4)))
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels
    assert list(layer.features.columns) == ["index", "class", "area"]
    note = note_of(layer)
    assert note is not None
    expected = {
        "model": "nuclei",
        "settings": {"threshold": 0.5},
        "version": "0.1.0",
        "source": "cells",
        "kind": "labels",
    }
    assert expected.items() <= note.items()
    assert is_result(layer)
    assert not is_result(source)
    assert source_layer(viewer, layer) == source


def test_labels_are_a_copy(viewer: ViewerModel) -> None:
    labels = numbers(20, 30)
    layer = write_labels(viewer, show(viewer, (20, 30)), labels, note=NOTE).layer
    before = labels.copy()
    layer.data[:] = 9
    assert_array_equal(labels, before)


def test_class_colours_and_names(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    layer = write_labels(
        viewer, image, numbers(20, 30) % 3, note=NOTE, result="classes", classes=CLASSES
    ).layer
    assert isinstance(layer.colormap, DirectLabelColormap)
    assert_allclose(layer.get_color(1), (230 / 255, 159 / 255, 0, 1), atol=1e-6)
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    assert list(layer.features["class_name"]) == ["nucleus"]  # the boundary is no class to find
    # Instances of the next run are coloured as numbers again.
    write_labels(viewer, image, numbers(20, 30), note=NOTE, classes=CLASSES)
    assert not isinstance(layer.colormap, DirectLabelColormap)


def test_a_channel_axis_stays_visible_at_every_channel(viewer: ViewerModel) -> None:
    image = show(viewer, (4, 3, 20, 30), "TCYX")
    layer = write_labels(viewer, image, numbers(4, 20, 30), note=NOTE).layer
    assert layer.data.shape == (4, 1, 20, 30)
    # One step that reaches from before the first channel's centre to behind the last one's.
    assert_allclose(layer.extent.world[:, 1], (1, 1), atol=1e-6)
    assert_allclose(layer.data_to_world((1, -0.5, 2, 3)), (1, -0.5, 2, 3))
    assert_allclose(layer.data_to_world((1, 0.5, 2, 3)), (1, 2.5, 2, 3))
    for channel in range(3):
        viewer.dims.point = (2, channel, 0, 0)
        assert layer.get_value((2, channel, 5, 6), world=True) == layer.data[2, 0, 5, 6]


def test_running_again_updates_the_layer(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    first = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    first.opacity, first.name = 0.3, "my name"
    again = write_labels(
        viewer, image, numbers(20, 30, seed=1), note=Note("other"), features={"index": [1]}
    )
    assert not again.created
    assert again.layer == first
    assert len(viewer.layers) == 2
    assert_array_equal(first.data, numbers(20, 30, seed=1))
    assert (first.opacity, first.name) == (0.3, "my name")
    assert note_of(first)["model"] == "other"
    assert len(first.features) == 1


def test_the_source_may_be_renamed_or_moved(viewer: ViewerModel) -> None:
    layer = write_labels(viewer, show(viewer, (20, 30)), numbers(20, 30), note=NOTE).layer
    source = viewer.layers["cells"]
    source.name, source.translate = "renamed", (5, 6)
    again = write_labels(viewer, read_image(source), numbers(20, 30), note=NOTE)
    assert again.layer == layer
    assert_allclose(layer.translate, (5, 6))


def test_a_duplicate_is_left_alone(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    first = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    copy = Labels.create(*first.as_layer_data_tuple())  # as napari's Duplicate does
    viewer.layers.append(copy)
    assert write_labels(viewer, image, numbers(20, 30, seed=1), note=NOTE).layer == first
    assert_array_equal(copy.data, numbers(20, 30))


def test_another_image_of_the_same_name_has_its_own_result(viewer: ViewerModel) -> None:
    first = write_labels(viewer, show(viewer, (20, 30)), numbers(20, 30), note=NOTE).layer
    viewer.layers.remove("cells")
    again = write_labels(viewer, show(viewer, (20, 30)), numbers(20, 30, seed=1), note=NOTE)
    assert again.created
    assert_array_equal(first.data, numbers(20, 30))


def test_a_preview_has_a_layer_of_its_own_at_its_place(viewer: ViewerModel) -> None:
    image = show(viewer, (5, 20, 30), "ZYX", scale=(2, 1, 1))
    whole = write_labels(viewer, image, numbers(5, 20, 30), note=NOTE).layer
    part = image.crop((slice(3, 4), slice(5, 15), slice(10, 30)))
    preview = write_labels(viewer, part, numbers(1, 10, 20), note=NOTE, preview=True)
    assert preview.created
    assert preview.layer.name == "cells preview"
    assert_allclose(preview.layer.data_to_world((0, 0, 0)), (6, 5, 10))
    elsewhere = image.crop((slice(0, 1), slice(0, 8), slice(0, 9)))
    again = write_labels(viewer, elsewhere, numbers(1, 8, 9), note=NOTE, preview=True)
    assert again.layer == preview.layer
    assert again.layer.data.shape == (1, 8, 9)
    assert_allclose(again.layer.data_to_world((0, 0, 0)), (0, 0, 0))
    assert_array_equal(whole.data, numbers(5, 20, 30))


# --- edits ------------------------------------------------------------------------------------


def paint(layer: Any) -> None:
    layer.data_setitem((np.array([2]), np.array([3])), np.array([77]))


def test_an_edit_is_never_overwritten(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    first = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    assert not is_edited(first)
    paint(first)
    kept = first.data.copy()
    again = write_labels(viewer, image, numbers(20, 30, seed=1), note=NOTE)
    assert again.created
    assert first.name in again.message
    assert again.layer.name in again.message
    assert_array_equal(first.data, kept)
    # From now on the new layer is updated, which is out of sight.
    third = write_labels(viewer, image, numbers(20, 30, seed=2), note=NOTE)
    assert third.layer == again.layer
    assert not third.created
    assert "hidden" in third.message
    third.layer.visible = True
    assert third.message == ""
    assert_array_equal(first.data, kept)


def test_an_edit_that_napari_does_not_tell_of(viewer: ViewerModel) -> None:
    layer = write_labels(viewer, show(viewer, (4, 20, 30), "ZYX"), numbers(4, 20, 30), note=NOTE)
    layer.layer.data[3, 2, 1] += 1
    assert is_edited(layer.layer)
    assert is_edited(layer.layer, (3,))
    assert not is_edited(layer.layer, (2,))


def test_an_edit_that_was_undone_is_none(viewer: ViewerModel) -> None:
    layer = write_labels(viewer, show(viewer, (20, 30)), numbers(20, 30), note=NOTE).layer
    paint(layer)
    layer.undo()
    assert not is_edited(layer)


def test_old_strokes_do_not_come_back(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    layer = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    paint(layer)
    layer.undo()  # so that there is something to redo, and the layer is ours again
    layer.mode = "paint"
    write_labels(viewer, image, numbers(20, 30, seed=1), note=NOTE)
    layer.redo()
    layer.undo()
    assert_array_equal(layer.data, numbers(20, 30, seed=1))
    assert layer.mode == "paint"
    assert layer.editable


def test_one_plane_is_written_in_place(viewer: ViewerModel) -> None:
    image = show(viewer, (2, 3, 4, 20, 30), "ZCTYX")
    layer = write_labels(viewer, image, numbers(2, 4, 20, 30), note=NOTE).layer
    plane = numbers(20, 30, seed=1)
    assert not write_plane(viewer, image, plane, (3, 1), layer)  # T 3, Z 1
    assert_array_equal(layer.data[1, 0, 3], plane)
    assert_array_equal(layer.data[1, 0, 2], numbers(2, 4, 20, 30)[1, 2])
    assert not is_edited(layer)
    layer.data[1, 0, 3, 0, 0] = 99
    assert layer.name in write_plane(viewer, image, plane, (3, 1), layer)
    assert layer.data[1, 0, 3, 0, 0] == 99


def test_a_plane_of_a_layer_that_is_gone(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    layer = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    viewer.layers.remove(layer)
    assert "removed" in write_plane(viewer, image, numbers(20, 30), (), layer)


# --- maps -------------------------------------------------------------------------------------


def maps(*shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "probabilities": rng.random((3, *shape)).astype(np.float16),
        "stages": rng.random((4, *shape)).astype(np.float16),
        "attention": rng.random((4, *shape)).astype(np.float32),
        "disagreement": rng.random(shape).astype(np.float16),
    }


def test_maps_are_layers_of_their_own(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30), scale=(0.5, 0.5), units=("um", "um"))
    values = maps(20, 30)
    labels = write_labels(viewer, image, numbers(20, 30), note=NOTE).layer
    written = write_maps(viewer, image, values, note=NOTE, classes=CLASSES)
    names = [one.layer.name for one in written]
    assert names == [
        "cells p(background)",
        "cells p(nucleus)",
        "cells p(boundary)",
        *(f"cells stage {i}" for i in range(1, 5)),
        *(f"cells attention {i}" for i in range(1, 5)),
        "cells disagreement",
    ]
    for one in written:
        assert isinstance(one.layer, Image)
        assert one.layer.data.dtype == np.float16
        assert_allclose(one.layer.scale, (0.5, 0.5))
        assert one.layer.units == viewer.layers["cells"].units
        assert tuple(one.layer.contrast_limits) == (0, 1)
    assert_array_equal(viewer.layers["cells stage 2"].data, values["stages"][1])
    assert_allclose(written[1].layer.colormap.colors[-1][:3], (230 / 255, 159 / 255, 0), atol=1e-6)
    # They lie between the image and the labels, which stay active; of each kind one can be seen.
    assert viewer.layers[0].name == "cells"
    assert viewer.layers[-1] == labels
    assert viewer.layers.selection.active == labels
    assert [one.layer.name for one in written if one.layer.visible] == [
        f"cells {title}" for title in ("p(nucleus)", "stage 1", "attention 1", "disagreement")
    ]
    assert {one.layer.blending for one in written} == {"additive"}


def test_maps_are_updated(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    first = write_maps(viewer, image, maps(20, 30), note=NOTE, classes=CLASSES)
    first[3].layer.colormap = "gray"
    first[3].layer.contrast_limits = (0.2, 0.7)
    changed = {"stages": maps(20, 30)["stages"] / 2}
    again = write_maps(viewer, image, changed, note=Note("other"), classes=CLASSES)
    assert note_of(first[3].layer)["model"] == "other"  # type: ignore[index]
    assert note_of(first[0].layer)["model"] == "nuclei"  # type: ignore[index]
    assert [one.layer for one in again] == [one.layer for one in first[3:7]]
    assert not any(one.created for one in again)
    assert_array_equal(first[3].layer.data, changed["stages"][0])
    assert_allclose(first[3].layer.contrast_limits, (0.2, 0.7))
    assert first[3].layer.colormap.name == "gray"


def test_the_class_of_another_model_has_its_own_colour_and_name(viewer: ViewerModel) -> None:
    image = show(viewer, (20, 30))
    values = {"probabilities": maps(20, 30)["probabilities"]}
    layer = write_maps(viewer, image, values, note=NOTE, classes=CLASSES)[1].layer
    other = (CLASSES[0], ClassInfo("gland", "#0000ff"), CLASSES[2])
    again = write_maps(viewer, image, values, note=NOTE, classes=other)[1].layer
    assert again == layer
    assert layer.name == "cells p(gland)"
    assert_allclose(layer.colormap.colors[-1][:3], (0, 0, 1))


def test_maps_of_one_plane_lie_at_that_plane(viewer: ViewerModel) -> None:
    image = show(viewer, (5, 2, 20, 30), "TCYX", scale=(3, 1, 1, 1))
    part = image.crop((slice(4, 5), slice(0, 2), slice(0, 20), slice(0, 30)))
    whole = {"disagreement": maps(20, 30)["disagreement"]}  # without T
    layer = write_maps(viewer, part, whole, note=NOTE)[0].layer
    assert layer.data.shape == (1, 1, 20, 30)
    assert_allclose(layer.data_to_world((0, 0, 0, 0)), (12, 0.5, 0, 0))


# --- memory -----------------------------------------------------------------------------------


def test_memory_of_maps(viewer: ViewerModel) -> None:
    image = show(viewer, (5, 3, 20, 30), "TCYX")
    written = write_maps(viewer, image, maps(5, 20, 30), note=NOTE, classes=CLASSES)
    size = sum(one.layer.data.nbytes for one in written)
    keep = frozenset(maps(1, 1))
    assert estimate_map_bytes(image, keep, 3, all_planes=True) == size
    assert estimate_map_bytes(image, keep, 3, all_planes=False) * 5 == size
    assert estimate_map_bytes(image, frozenset(), 3, all_planes=True) == 0
    assert not too_large(10**9)
    assert too_large(10**9 + 1)
    assert [describe_bytes(n) for n in (999, 2_000, 1.26e6, 1.26e9)] == [
        "999 bytes",
        "2 kB",
        "1 MB",
        "1.3 GB",
    ]
