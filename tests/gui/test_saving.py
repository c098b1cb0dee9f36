"""Results saved from layers: what a reader finds in the file, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from numpy.testing import assert_allclose, assert_array_equal

from napari_sa2net.engine.errors import InputError, SA2NetError
from napari_sa2net.engine.files import read_image as read_file
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.saving import default_name, named, read_result, save_layer, save_result
from napari_sa2net.gui.segmenting.results import Note, write_labels, write_maps


def result(axes: str, shape: tuple[int, ...], **kwargs: Any) -> tuple[Any, np.ndarray]:
    """Return a Labels layer as a run makes it, and the labels."""
    viewer = ViewerModel()
    image = read_image(viewer.add_image(np.zeros(shape), name="cells", **kwargs)).with_axes(axes)
    labels = np.arange(np.prod(image.result_shape()), dtype=np.int32) % 999
    labels = labels.reshape(image.result_shape())
    return write_labels(viewer, image, labels, note=Note("nuclei")).layer, labels


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "a.ome.tif", "a.OME.TIFF"])
def test_labels_with_pixel_size(tmp_path: Path, name: str) -> None:
    layer, labels = result("YX", (20, 30), scale=(0.5, -0.25), units=("um", "um"))
    path = save_layer(layer, tmp_path / name)
    assert path == tmp_path / name
    file = read_file(path)
    assert_array_equal(np.asarray(file.array), labels)
    assert file.axes == "YX"
    assert_allclose(file.pixel_size, (0.5, 0.25))
    # Readers that know nothing of OME find it in the TIFF's own tags.
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        per_cm = [n / d for n, d in (tags["XResolution"].value, tags["YResolution"].value)]
    assert_allclose(per_cm, (1e4 / 0.25, 1e4 / 0.5), rtol=1e-3)


def test_a_stack_keeps_its_axes_and_drops_the_stretched_channel(tmp_path: Path) -> None:
    layer, labels = result(
        "ZCYX", (4, 3, 20, 30), scale=(2, 1, 0.5, 0.5), units=("um", "pixel", "um", "um")
    )
    path = save_layer(layer, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="2.0"' in (tiff.ome_metadata or "")
        assert_array_equal(tiff.asarray(), labels)


def test_no_pixel_size_is_made_up(tmp_path: Path) -> None:
    layer, _ = result("YX", (20, 30), scale=(0.5, 0.5))
    assert read_file(save_layer(layer, tmp_path / "a.tif")).pixel_size is None


def test_a_map_is_written_as_float32(tmp_path: Path) -> None:
    viewer = ViewerModel()
    image = read_image(viewer.add_image(np.zeros((20, 30))))
    values = np.random.default_rng(0).random((20, 30)).astype(np.float16)
    layer = write_maps(viewer, image, {"disagreement": values}, note=Note("nuclei"))[0].layer
    saved = tifffile.imread(save_layer(layer, tmp_path / "a.ome.tif"))
    assert saved.dtype == np.float32
    assert_array_equal(saved, values.astype(np.float32))


def test_what_is_saved_was_copied_before(tmp_path: Path) -> None:
    layer, labels = result("YX", (20, 30))
    job = read_result(layer)
    layer.data[:] = 0
    assert_array_equal(tifffile.imread(save_result(job, tmp_path / "a.tif")), labels)


def test_a_layer_of_somebody_else(tmp_path: Path) -> None:
    layer = Labels(np.ones((5, 20, 30), int))
    assert tifffile.imread(save_layer(layer, tmp_path / "a.tif")).shape == (5, 20, 30)


def test_an_ending_is_added(tmp_path: Path) -> None:
    layer, _ = result("YX", (20, 30))
    assert save_layer(layer, tmp_path / "a").name == "a.ome.tif"


def test_an_existing_file_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, _ = result("YX", (20, 30))
    path = save_layer(layer, tmp_path / "a.tif")
    before = path.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(SA2NetError, match="No space left"):
        save_layer(layer, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.tif"]


def test_what_is_refused(tmp_path: Path) -> None:
    layer, _ = result("YX", (20, 30))
    with pytest.raises(InputError, match=r"\.ome\.tif"):
        save_layer(layer, tmp_path / "a.png")
    with pytest.raises(InputError, match=r"save it for example as a\.ome\.tif"):
        save_layer(layer, tmp_path / "a.ome.zarr")
    with pytest.raises(InputError, match="folder"):
        save_layer(layer, tmp_path)
    with pytest.raises(InputError, match="no result"):
        save_layer(Points(np.zeros((1, 2))), tmp_path / "a.tif")
    with pytest.raises(InputError, match="no result"):
        save_layer(Image(np.zeros((9, 9, 3)), rgb=True), tmp_path / "a.tif")
    assert os.listdir(tmp_path) == []


def test_a_name_that_every_system_takes() -> None:
    assert default_name(Labels(np.ones((2, 2), int), name='a/b: "c" ')) == "a_b_ _c_.ome.tif"


@pytest.mark.parametrize(
    ("given", "chosen", "wanted"),
    [
        ("cells labels.ome.tif", "Measurements (*.csv)", "cells labels.csv"),
        ("cells labels.ome.tif", "OME-TIFF (*.ome.tif *.ome.tiff)", "cells labels.ome.tif"),
        ("other.csv", "OME-TIFF (*.ome.tif *.ome.tiff)", "other.csv"),
        ("other", "Measurements (*.csv)", "other.csv"),
        ("other", "Outlines for QuPath (*.geojson)", "other.geojson"),
        ("other", "OME-TIFF (*.ome.tif *.ome.tiff)", "other.ome.tif"),
        ("plate 1.2", "Measurements (*.csv)", "plate 1.2.csv"),
        ("other.CSV", "Measurements (*.csv)", "other.CSV"),
        ("other.png", "OME-TIFF (*.ome.tif *.ome.tiff)", "other.png"),
        ("other.ome.zarr", "OME-TIFF (*.ome.tif *.ome.tiff)", "other.ome.zarr"),
        ("other", "", "other"),
        ("v1.2.ome.tif", "", "v1.2.ome.tif"),
    ],
)
def test_the_kind_that_is_chosen_names_the_file(given: str, chosen: str, wanted: str) -> None:
    assert named(Path("folder") / given, "cells labels.ome.tif", chosen).name == wanted


def test_a_long_name_of_a_layer_makes_a_name_that_files_can_have(tmp_path: Path) -> None:
    layer = Labels(np.ones((2, 2), int), name="é" * 120)
    assert save_layer(layer, tmp_path / default_name(layer)).exists()
    with pytest.raises(SA2NetError, match="too long for a name"):
        save_layer(layer, tmp_path / f"{layer.name * 2}.ome.tif")


def test_the_home_folder_of_nobody_is_told() -> None:
    with pytest.raises(SA2NetError, match="home folder"):
        save_layer(Labels(np.ones((2, 2), int)), "~nobody-of-this-name/a.tif")
