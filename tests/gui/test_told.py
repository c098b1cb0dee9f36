"""Axes and pixel size that a layer's file tells, and napari does not."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManifest

from napari_sa2net.engine.files import read_image as read_file
from napari_sa2net.gui.image_panel import describe
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.measuring import read_objects, save_objects
from napari_sa2net.gui.notes import Note, make_note
from napari_sa2net.gui.saving import image_sizes, read_result, save_result

STACK = np.zeros((4, 30, 40), np.uint8)


@pytest.fixture
def viewer(qapp: Any, npe2pm: Any) -> ViewerModel:
    npe2pm.register(PluginManifest.from_distribution("napari"))  # for its own readers
    return ViewerModel()


def opened(viewer: ViewerModel, path: Path) -> Any:
    return viewer.open(path, plugin="napari")[0]


def ome(path: Path, pixels: np.ndarray = STACK, size: float = 0.65) -> Path:
    metadata = {
        "axes": "ZYX"[-pixels.ndim :],
        **{f"PhysicalSize{a}": s for a, s in zip("ZYX", (2.0, size, size), strict=True)},
    }
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata)
    return path


def imagej(path: Path) -> Path:
    tifffile.imwrite(
        path, STACK[0], imagej=True, resolution=(4, 2), metadata={"unit": "um", "axes": "YX"}
    )
    return path


def test_the_file_of_a_layer_tells_its_pixel_size(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = opened(viewer, ome(tmp_path / "stack.ome.tif"))
    image = read_image(layer)
    assert image.pixel_size_yx == pytest.approx((0.65, 0.65))
    assert image_sizes(image) == pytest.approx({"Z": 2.0, "Y": 0.65, "X": 0.65})
    assert "0.65 µm a pixel, as its file says" in describe(image)
    other = read_image(opened(viewer, imagej(tmp_path / "plane.tif")))
    assert other.pixel_size_yx == pytest.approx((0.5, 0.25))


def test_the_file_of_a_layer_tells_its_axes(viewer: ViewerModel, tmp_path: Path) -> None:
    assert read_image(viewer.add_image(STACK)).axes == "CYX"  # a guess: four of something
    layer = opened(viewer, ome(tmp_path / "stack.ome.tif"))
    assert read_image(layer).axes == "ZYX"
    path = tmp_path / "time.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TYX"})
    layer = opened(viewer, path)
    assert read_image(layer).axes == "TYX"
    layer.axis_labels = ("z", "y", "x")
    assert read_image(layer).axes == "ZYX"
    colours = tmp_path / "colours.tif"
    tifffile.imwrite(colours, np.zeros((50, 40, 3), np.uint8), photometric="rgb")
    image = read_image(opened(viewer, colours))
    assert (image.axes, image.rgb) == ("YXC", True)


def test_units_and_a_person_go_before_the_file(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = opened(viewer, ome(tmp_path / "stack.ome.tif"))
    assert image_sizes(read_image(layer).with_pixel_size(0.1)) == pytest.approx(
        {"Z": 2.0, "Y": 0.1, "X": 0.1}
    )
    layer.units, layer.scale = ("um",) * 3, (3.0, 0.3, 0.3)
    image = read_image(layer)
    assert image_sizes(image) == pytest.approx({"Z": 3.0, "Y": 0.3, "X": 0.3})
    assert "file" not in describe(image)


def test_a_file_of_another_image_tells_nothing(viewer: ViewerModel, tmp_path: Path) -> None:
    path = ome(tmp_path / "stack.ome.tif")
    layer = opened(viewer, path)
    assert read_image(layer).pixel_size is not None
    layer.data = STACK[:, :20]
    assert read_image(layer).pixel_size is None
    layer.data = STACK
    assert read_image(layer).pixel_size is not None
    ome(path, size=0.2)  # written anew
    os.utime(path, ns=(1, 1))
    assert read_image(layer).pixel_size == pytest.approx(0.2)
    path.write_bytes(b"no TIFF any more")
    assert read_image(layer).pixel_size is None
    path.unlink()
    assert read_image(layer).pixel_size is None
    assert read_image(viewer.add_image(STACK)).pixel_size is None


def test_a_png_tells_nothing(viewer: ViewerModel, tmp_path: Path) -> None:
    from skimage.io import imsave

    imsave(tmp_path / "plane.png", STACK[0], check_contrast=False)
    assert read_image(opened(viewer, tmp_path / "plane.png")).pixel_size is None


def test_results_are_saved_and_measured_with_it(viewer: ViewerModel, tmp_path: Path) -> None:
    image = read_image(opened(viewer, ome(tmp_path / "stack.ome.tif")))
    labels = np.zeros(STACK.shape, np.int32)
    labels[1, 3:8, 3:9] = 1
    note = make_note(Note("model"), image, "labels", "labels")
    layer = viewer.add_labels(labels, metadata={"napari-sa2net": note})
    saved = save_result(read_result(layer), tmp_path / "labels.tif")
    assert read_file(saved).calibration == pytest.approx({"Z": 2.0, "Y": 0.65, "X": 0.65})
    save_objects(read_objects(viewer, layer), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["area_um2"]) == pytest.approx(30 * 0.65**2)
