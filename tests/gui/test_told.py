"""Axes, colours and pixel size that a layer's file tells, and napari does not."""

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
from PIL import Image

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import read_image as read_file
from napari_sa2net.engine.images import to_planes
from napari_sa2net.gui.image_panel import ImagePanel, describe
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.measuring import read_objects, save_objects
from napari_sa2net.gui.notes import Note, make_note
from napari_sa2net.gui.regions import current_plane
from napari_sa2net.gui.saving import image_sizes, read_result, save_result

STACK = np.zeros((4, 30, 40), np.uint8)
NUMBERS = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


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


@pytest.mark.parametrize(
    ("split", "expected"), [(False, (0, 2)), (True, (0, 2)), (None, (2, 0))], ids=str
)
def test_outlines_of_a_hyperstack_are_on_all_its_channels(
    viewer: ViewerModel, npe2pm: Any, tmp_path: Path, split: bool | None, expected: tuple[int, int]
) -> None:
    roifile = pytest.importorskip("roifile")
    pixels = np.zeros((5, 2, 30, 40) if split is not None else (5, 30, 40), np.uint8)
    path = tmp_path / "stack.tif"
    axes = "ZCYX" if split is not None else "ZYX"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes})
    if split:  # as readers do that make a layer of each channel
        with npe2pm.tmp_plugin(name="splits") as plugin:

            @plugin.contribute.reader(filename_patterns=["*.tif"])
            def read(path: Any) -> Any:
                return lambda _: [(pixels[:, c], {"name": str(c)}, "image") for c in range(2)]

            source = viewer.open(path, plugin="splits")[0]
    else:
        source = opened(viewer, path)
    image = read_image(source)
    sizes = zip(image.layer_axes, source.data.shape, strict=True)
    labels = np.zeros([1 if letter == "C" else side for letter, side in sizes], np.int32)
    labels[1, ..., 3:8, 3:9] = 1
    note = make_note(Note("model"), image, "labels", "labels")
    layer = viewer.add_labels(labels, metadata={"napari-sa2net": note})
    save_objects(read_objects(viewer, layer), tmp_path / "o.zip")
    (roi,) = roifile.roiread(tmp_path / "o.zip")
    assert (roi.position, roi.z_position) == expected
    assert roi.t_position == roi.c_position == 0


def _palette(path: Path) -> Path:
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(path, NUMBERS, photometric="palette", colormap=table)
    return path


def _grey_palette(path: Path) -> Path:
    table = np.tile(np.arange(255, -1, -1) * 257, (3, 1)).astype(np.uint16)
    tifffile.imwrite(path, NUMBERS, photometric="palette", colormap=table)
    return path


def _one_bit_palette(path: Path) -> Path:
    colours = np.array([[255, 0], [0, 255], [9, 90]], np.uint16) * 257
    tags = [(320, "H", 6, colours.ravel().tolist(), True)]
    tifffile.imwrite(path, NUMBERS > 99, extratags=tags, software="another program")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    return path


def _lookup_table(path: Path) -> Path:
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(path, NUMBERS, imagej=True, colormap=table)
    return path


def _white_is_zero(path: Path) -> Path:
    tifffile.imwrite(path, NUMBERS, photometric="miniswhite")
    return path


def _cmyk(path: Path) -> Path:
    inks = np.random.default_rng(0).integers(0, 256, (40, 50, 4)).astype(np.uint8)
    tifffile.imwrite(path, inks, photometric="separated")
    return path


def _cmyk_jpeg(path: Path) -> Path:
    path = path.with_suffix(".jpg")
    Image.fromarray(np.stack([NUMBERS] * 4, axis=-1), "CMYK").save(path)
    return path


def _with_opacity(path: Path) -> Path:
    path = path.with_suffix(".png")
    Image.fromarray(NUMBERS).convert("LA").save(path)
    return path


def _palette_png(path: Path) -> Path:
    path = path.with_suffix(".png")
    picture = Image.fromarray(NUMBERS % 3, mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(path)
    return path


KINDS = [_palette, _grey_palette, _one_bit_palette, _lookup_table, _white_is_zero, _cmyk,
         _cmyk_jpeg, _with_opacity, _palette_png]  # fmt: skip


@pytest.mark.parametrize("made", KINDS)
def test_an_image_is_the_same_in_the_window_as_in_its_file(
    viewer: ViewerModel, tmp_path: Path, made: Any
) -> None:
    path = made(tmp_path / "image.tif")
    layer, file = opened(viewer, path), read_file(path)
    image = read_image(layer)
    options = {"in_channels": 3, "exact": True}
    here = to_planes(image.data, image.axes, rgb=image.rgb, **options)
    there = to_planes(file.array, file.axes, rgb=file.rgb, **options)
    np.testing.assert_array_equal(here.read(0), there.read(0))
    assert image.rgb == file.rgb
    shown = image.expand(np.zeros(image.result_shape(), int))
    assert shown.ndim == layer.ndim
    assert len(current_plane(viewer, layer, image.axes)) == layer.ndim
    assert read_image(layer).with_axes(image.axes).axes == image.axes


def test_grey_layers_used_as_channels_are_what_they_show(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    white = opened(viewer, _white_is_zero(tmp_path / "white.tif"))
    black = viewer.add_image(NUMBERS)
    np.testing.assert_array_equal(read_image([white, black]).data, [255 - NUMBERS, NUMBERS])
    palette = opened(viewer, _palette(tmp_path / "palette.tif"))
    with pytest.raises(InputError, match="palette is a colour image"):
        read_image([black, palette])


def test_missing_planes_and_further_images_are_told(viewer: ViewerModel, tmp_path: Path) -> None:
    whole = ome(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(whole) as file:
        told = file.ome_metadata
    part = tmp_path / "b.ome.tif"
    tifffile.imwrite(part, STACK[:3], description=told, metadata=None, photometric="minisblack")
    image = read_image(opened(viewer, part))
    assert "1 of 4 planes of b.ome.tif are missing" in describe(image)
    assert not read_image(opened(viewer, whole)).notes
    several = tmp_path / "c.ome.tif"
    with tifffile.TiffWriter(several, ome=True) as file:
        for _ in range(3):
            file.write(STACK, metadata={"axes": "ZYX"})
    image = read_image(opened(viewer, several))
    assert "Its file holds 3 images, of which this is the first." in describe(image)


@pytest.mark.parametrize("by", ["file", "labels"])
def test_several_positions_are_refused_with_what_to_do(
    viewer: ViewerModel, tmp_path: Path, by: str
) -> None:
    stage = np.zeros((3, 4, 30, 40), np.uint8)
    path = tmp_path / "stage.tif"
    tifffile.imwrite(path, stage, metadata={"axes": "RTYX"})
    layer = opened(viewer, path)
    if by == "labels":
        layer = viewer.add_image(stage, name="stage", axis_labels=("scene", "time", "y", "x"))
    image = read_image(layer)
    assert image.axes == "RTYX"
    with pytest.raises(InputError, match=r"R \(position\) with 3 entries\. Write Z") as error:
        image.check_axes()
    assert f"viewer.layers['{layer.name}'].data[0]" in str(error.value)
    assert image.with_axes("ZTYX").axes == "ZTYX"
    with pytest.raises(InputError, match="holds several images"):
        image.with_axes("QTYX")
    panel = ImagePanel(viewer)
    panel.choose(layer)
    assert panel.image is None
    assert "R (position) with 3 entries" in panel.problem
    panel.correct("ZTYX", "")
    assert panel.image is not None
    alone = viewer.add_image(stage[:1], axis_labels=("scene", "time", "y", "x"))
    assert read_image(alone).axes == "ZTYX"  # one position is no more than one plane


def test_axes_with_colours_may_be_typed(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "rgb.tif"
    pixels = np.zeros((4, 40, 50, 3), np.uint8)
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYXS"})
    image = read_image(opened(viewer, path))
    assert (image.axes, image.rgb) == ("ZYXC", True)
    assert image.with_axes("TYXS").axes == "TYXC"
    assert image.with_axes("cyxs").axes == "ZYXC"
    assert read_image(viewer.add_image(np.zeros((64, 80, 5)))).axes == "YXC"


def test_the_metadata_of_a_zarr_folder_are_told(viewer: ViewerModel, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3.0")
    zarr.create_array(tmp_path / "a.zarr", data=STACK[:3], dimension_names=("t", "y", "x"))
    assert read_image(opened(viewer, tmp_path / "a.zarr")).axes == "TYX"
    root = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    one = root.create_group("0")
    one.create_array("0", data=STACK[:3])
    one.create_array("1", data=STACK[:3, ::2, ::2])
    axes = [{"name": "t", "type": "time"}]
    axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    levels = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, s, s]}]}
        for n, s in enumerate((0.25, 0.5))
    ]
    one.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    image = read_image(opened(viewer, tmp_path / "b.zarr"))
    assert image.axes == "TYX"
    assert image.pixel_size_yx == (0.25, 0.25)
