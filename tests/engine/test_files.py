from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sa2net.engine import files, tiff
from napari_sa2net.engine.errors import InputError, SA2NetError
from napari_sa2net.engine.files import list_images, read_image, read_info, write_image, write_labels


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


# --- Finding -----------------------------------------------------------------------------------


def test_a_folder_lists_its_images_in_natural_order(tmp_path: Path) -> None:
    for name in ("a10.tif", "a2.PNG", "a1.jpeg", "notes.txt", ".hidden.tif"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "plate.ome.zarr").mkdir()
    (tmp_path / "plate.ome.zarr" / ".zattrs").write_text("{}")
    names = [path.name for path in list_images([tmp_path])]
    assert names == ["a1.jpeg", "a2.PNG", "a10.tif", "plate.ome.zarr"]


def test_patterns_and_repetitions(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("x.tif", "y.tif", "x_labels.ome.tif"):
        (tmp_path / "in" / name).touch()
    given = [tmp_path / "in" / "y.tif", tmp_path / "**" / "*.tif", tmp_path / "in"]
    found = list_images(given, skip_endings=("_labels.ome.tif",))
    assert [path.name for path in found] == ["y.tif", "x.tif"]
    # What is named outright is never left out.
    own = tmp_path / "in" / "x_labels.ome.tif"
    assert list_images([own], skip_endings=("_labels.ome.tif",)) == [own]


def test_what_does_not_exist_is_listed_and_fails_when_read(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.tif", tmp_path / "*.tif"):
        (listed,) = list_images([missing])
        with pytest.raises(InputError, match="does not exist"):
            read_image(listed)
    with pytest.raises(InputError, match="without images"):
        read_image(list_images([tmp_path])[0])


def odd(folder: Path) -> dict[str, tuple[str, str]]:
    """Make what is no image of every kind; return a path each, and what is said of it."""
    (folder / "broken.tif").symlink_to(folder / "gone.tif")
    (folder / "loop.tif").symlink_to(folder / "loop.tif")
    os.mkfifo(folder / "pipe.tif")
    (folder / "zeros.tif").symlink_to("/dev/zero")
    (folder / "part").mkdir()
    return {
        "broken link": (str(folder / "broken.tif"), "is a broken link: there is no .*gone.tif"),
        "loop": (str(folder / "loop.tif"), "cannot be opened"),
        "below a loop": (str(folder / "loop.tif" / "a.tif"), "cannot be opened"),
        "pipe": (str(folder / "pipe.tif"), "is no file but a pipe"),
        "device": (str(folder / "zeros.tif"), "is no file but a pipe, a socket or a device"),
        "long": (str(folder / f"{'x' * 300}.tif"), "cannot be opened .*too long"),
        "long pattern": (str(folder / f"{'x' * 300}*.tif"), "cannot be opened .*too long"),
        "nobody": ("~nobody-of-this-name/a.tif", "does not exist"),
        "null": (str(folder / "a\0b.tif"), "cannot be opened"),
        "folder": (str(folder / "part"), "is a folder without images"),
        "below a file": (str(Path(__file__) / "a.tif"), "does not exist"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither pipes nor /dev/zero")
def test_what_is_no_image_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    for path, said in odd(tmp_path).values():
        (listed,) = list_images([path])
        assert str(listed) == path
        with pytest.raises(InputError, match=said):
            read_image(listed)
        with pytest.raises(InputError, match=said):
            read_info(listed)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither pipes nor /dev/zero")
def test_what_is_no_image_is_listed_of_a_folder_too(tmp_path: Path, grey: np.ndarray) -> None:
    odd(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", grey)
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    names = [path.name for path in list_images([tmp_path])]
    assert names == ["a.tif", "broken.tif", "loop.tif", "pipe.tif", "zeros.tif"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("x[1].tif", ["x[1].tif"]),  # there is such a file
        ("x[12].tif", ["x1.tif", "x2.tif"]),
        ("x[1]*.tif", ["x1.tif"]),
        ("y[1]*.tif", ["y[1] a.tif", "y[1] b.tif"]),  # as a pattern it is none
        ("plate[1]/*.tif", ["of plate[1].tif"]),
        ("plate[1]", ["of plate[1].tif"]),
        ("plate[12]/*.tif", ["of plate1.tif"]),
        ("**/of plate[[]1].tif", ["of plate[1].tif"]),
        ("z[[]1].tif", ["z[1].tif"]),
    ],
)
def test_brackets_are_of_a_name_or_of_a_pattern(
    tmp_path: Path, given: str, found: list[str]
) -> None:
    for name in ("x[1].tif", "x1.tif", "x2.tif", "y[1] a.tif", "y[1] b.tif", "z[1].tif"):
        (tmp_path / name).touch()
    for name in ("plate[1]", "plate1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of {name}.tif").touch()
    assert [path.name for path in list_images([tmp_path / given])] == found


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, grey: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    tifffile.imwrite(tmp_path / "a.tif", grey)
    assert list_images(["~/*.tif"]) == [tmp_path / "a.tif"]
    np.testing.assert_array_equal(read_image("~/a.tif").array, grey)


# --- TIFF --------------------------------------------------------------------------------------


def test_ome_tiff_keeps_axes_and_pixel_size_in_both_directions(tmp_path: Path) -> None:
    labels = np.arange(2 * 3 * 8 * 9, dtype=np.int32).reshape(2, 3, 8, 9)
    sizes = {"Z": 2.0, "Y": 0.25, "X": 0.5}
    path = write_labels(tmp_path / "new" / "r.ome.tif", labels, "TZYX", sizes)
    image = read_image(path)
    assert np.array_equal(image.array, labels)
    assert (image.axes, image.kind, image.name) == ("TZYX", "OME-TIFF", "r")
    assert image.calibration == sizes
    assert image.pixel_size == (0.25, 0.5)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert tiff.pages[0].dtype == np.uint16
    assert [p.name for p in path.parent.iterdir()] == ["r.ome.tif"]


def test_many_labels_need_more_than_16_bits(tmp_path: Path) -> None:
    labels = np.array([[0, 70000], [1, 2]], np.int64)
    assert np.array_equal(read_image(write_labels(tmp_path / "a.tif", labels, "YX")).array, labels)


def test_axes_are_brought_to_rows_and_columns_last(tmp_path: Path) -> None:
    labels = np.arange(24, dtype=np.int32).reshape(4, 3, 2)
    image = read_image(write_labels(tmp_path / "a.ome.tif", labels, "YXZ"))
    assert image.axes == "ZYX"
    assert np.array_equal(image.array, labels.transpose(2, 0, 1))


def test_ome_tiff_tells_the_names_of_its_channels(tmp_path: Path, grey: np.ndarray) -> None:
    stack = np.stack([grey, grey])
    named = write_image(tmp_path / "n.ome.tif", stack, "CYX", channel_names=("DAPI", "actin"))
    assert read_image(named).channel_names == ("DAPI", "actin")
    plain = write_image(tmp_path / "p.ome.tif", stack, "CYX")
    assert not any(read_image(plain).channel_names)
    tifffile.imwrite(tmp_path / "t.tif", grey)
    assert read_image(tmp_path / "t.tif").channel_names == ()


def test_float16_maps_are_written_as_ome_allows(tmp_path: Path) -> None:
    maps = np.linspace(0, 1, 4 * 5 * 6, dtype=np.float16).reshape(4, 5, 6)
    path = write_image(tmp_path / "m.ome.tif", maps, "CYX", channel_names=["a", "b", "c", "d"])
    image = read_image(path)
    assert image.axes == "CYX"
    assert image.array.dtype == np.float32
    assert np.array_equal(image.array, maps.astype(np.float32))


def test_ome_units_other_than_micrometres(tmp_path: Path, grey: np.ndarray) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 0.00065, "PhysicalSizeYUnit": "mm"}  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata=metadata)
    assert read_image(tmp_path / "a.ome.tif").pixel_size == pytest.approx((0.65, 0.65))


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_hyperstack(tmp_path: Path, unit: str) -> None:
    stack = np.zeros((2, 3, 4, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(4, 4),
                     metadata={"axes": "TZCYX", "unit": unit, "spacing": 1.5})  # fmt: skip
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.kind) == ("TZCYX", "ImageJ TIFF")
    assert image.calibration == pytest.approx({"Z": 1.5, "Y": 0.25, "X": 0.25})


def test_pixels_without_a_unit_have_no_size(tmp_path: Path, grey: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, resolution=(1, 1),
                     metadata={"unit": "pixel"})  # fmt: skip
    assert read_image(tmp_path / "a.tif").pixel_size is None


def test_print_resolutions_are_not_believed(tmp_path: Path, grey: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "print.tif", grey, resolution=(300, 300), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "scope.tif", grey, resolution=(20000, 20000),
                     resolutionunit="CENTIMETER")  # fmt: skip
    tifffile.imwrite(tmp_path / "ij.tif", grey, imagej=True, resolution=(72, 72),
                     metadata={"unit": "inch"})  # fmt: skip
    assert read_image(tmp_path / "print.tif").pixel_size is None
    assert read_image(tmp_path / "ij.tif").pixel_size is None
    assert read_image(tmp_path / "scope.tif").pixel_size == pytest.approx((0.5, 0.5))


def test_plain_stack_and_colours(tmp_path: Path, colour: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((12, 20, 30), np.uint8))
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    planar = np.ascontiguousarray(colour.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate")
    assert read_image(tmp_path / "stack.tif").axes == "ZYX"
    for name, axes, array in (("rgb.tif", "YXC", colour), ("planar.tif", "CYX", planar)):
        image = read_image(tmp_path / name)
        assert (image.axes, image.rgb) == (axes, True)
        assert np.array_equal(image.array, array)


def test_uncompressed_tiff_is_not_loaded(tmp_path: Path, grey: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey)
    assert isinstance(read_image(tmp_path / "a.tif").array, np.memmap)


@pytest.mark.parametrize("compression", ["lzw", "jpeg", "zlib"])
@pytest.mark.parametrize("kind", ["ome", "svs", "plain"])
def test_a_large_compressed_tiff_is_read_part_by_part(
    tmp_path: Path, compression: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr", minversion="3.0")
    pytest.importorskip("imagecodecs")
    monkeypatch.setattr(tiff, "LARGE", 0)
    data = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 150, 3))
    path = tmp_path / {"ome": "a.ome.tif", "svs": "a.svs", "plain": "a.tif"}[kind]
    described = {"description": "Aperio Image Library v12|MPP = 0.25|AppMag = 40"}
    with tifffile.TiffWriter(path, ome=kind == "ome") as file:
        file.write(
            data,
            photometric="rgb",
            compression=compression,
            tile=(64, 64),
            metadata={"axes": "YXS"} if kind == "ome" else None,
            **(described if kind == "svs" else {}),
        )
    image = read_image(path)
    assert not isinstance(image.array, np.ndarray)
    assert (image.axes, image.rgb, image.name) == ("YXC", True, "a")
    assert image.kind == {"ome": "OME-TIFF", "svs": "SVS", "plain": "TIFF"}[kind]
    assert image.calibration == ({"Y": 0.25, "X": 0.25} if kind == "svs" else {})
    part = np.asarray(image.array[60:90, 30:40]).astype(int)
    assert np.abs(part - data[60:90, 30:40]).max() <= (3 if compression == "jpeg" else 0)


def test_palettes_and_white_is_zero(tmp_path: Path, grey: np.ndarray) -> None:
    colormap = np.random.default_rng(2).integers(0, 2**16, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", grey, photometric="palette", colormap=colormap)
    tifffile.imwrite(tmp_path / "w.tif", grey, photometric="miniswhite")
    palette = read_image(tmp_path / "p.tif")
    assert palette.rgb
    assert np.array_equal(palette.array, np.moveaxis(colormap[:, grey], 0, -1))
    assert np.array_equal(read_image(tmp_path / "w.tif").array, 255 - grey)


def test_a_missing_codec_names_the_extra(tmp_path: Path, grey: np.ndarray) -> None:
    Image.fromarray(grey).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    if find_spec("imagecodecs"):
        assert np.array_equal(read_image(tmp_path / "lzw.tif").array, grey)
    else:
        with pytest.raises(InputError, match=r'pip install "napari-sa2net\[formats\]"'):
            read_image(tmp_path / "lzw.tif")


# --- Pictures ----------------------------------------------------------------------------------


def test_grey_and_colour_pictures(tmp_path: Path, grey: np.ndarray, colour: np.ndarray) -> None:
    Image.fromarray(grey).save(tmp_path / "g.png")
    Image.fromarray(colour).save(tmp_path / "c.png")
    Image.fromarray(colour).save(tmp_path / "c.jpg")
    assert np.array_equal(read_image(tmp_path / "g.png").array, grey)
    image = read_image(tmp_path / "c.png")
    assert (image.axes, image.rgb, image.kind) == ("YXC", True, "PNG")
    assert np.array_equal(image.array, colour)
    assert read_image(tmp_path / "c.jpg").array.shape == (20, 30, 3)


def test_a_16_bit_png_keeps_its_values(tmp_path: Path) -> None:
    values = np.array([[0, 1000], [40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    array = read_image(tmp_path / "a.png").array
    assert np.array_equal(array, values)


def test_one_bit_palette_and_alpha_pngs(tmp_path: Path, grey: np.ndarray) -> None:
    bits = Image.fromarray(grey > 128)
    assert bits.mode == "1"
    bits.save(tmp_path / "1.png")
    image = read_image(tmp_path / "1.png")
    assert image.axes == "YX"
    assert np.array_equal(image.array > 0, grey > 128)
    palette = Image.fromarray(grey % 4).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.save(tmp_path / "p.png")
    image = read_image(tmp_path / "p.png")
    assert image.rgb
    assert np.array_equal(image.array[grey % 4 == 1], [[0, 255, 0]] * np.sum(grey % 4 == 1))
    Image.fromarray(grey).convert("LA").save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png").array, grey)


def test_damaged_and_unknown_files(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.jpg"):
        (tmp_path / name).write_bytes(b"this is no image")
        with pytest.raises(InputError, match="cannot be read"):
            read_image(tmp_path / name)
    (tmp_path / "a.czi").write_bytes(b"x")
    with pytest.raises(InputError, match="unknown kind"):
        read_image(tmp_path / "a.czi")


# --- OME-Zarr ----------------------------------------------------------------------------------

AXES = [{"name": "c", "type": "channel"}] + [
    {"name": name, "type": "space", "unit": unit}
    for name, unit in (("z", "micrometer"), ("y", "micrometer"), ("x", "nanometer"))
]


def _make_zarr(path: Path, version: str) -> np.ndarray:
    zarr = pytest.importorskip("zarr", minversion="3.0")
    data = np.random.default_rng(3).integers(0, 99, (2, 3, 16, 20)).astype(np.uint16)
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for name, array in (("0", data), ("1", data[..., ::2, ::2])):
        group.create_array(name, data=np.ascontiguousarray(array))
    levels = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for name, scale in (("0", [1, 2, 0.5, 500]), ("1", [1, 2, 1, 1000]))
    ]
    multiscales = [{"axes": AXES, "datasets": levels, "version": version}]
    channels = {"channels": [{"label": "DAPI"}, {"color": "00ff00"}]}
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
        group.attrs["omero"] = channels
    else:
        described = {"version": version, "multiscales": multiscales, "omero": channels}
        group.attrs["ome"] = described
    return data


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    data = _make_zarr(tmp_path / "a.ome.zarr", version)
    assert list_images([tmp_path]) == [tmp_path / "a.ome.zarr"]
    image = read_image(tmp_path / "a.ome.zarr")
    assert (image.axes, image.kind, image.name) == ("CZYX", "OME-Zarr", "a")
    assert image.calibration == pytest.approx({"Z": 2, "Y": 0.5, "X": 0.5})
    assert image.channel_names == ("DAPI", "")
    assert not isinstance(image.array, np.ndarray)
    assert np.array_equal(np.asarray(image.array[1, 2]), data[1, 2])


def test_axes_of_an_ome_zarr_have_any_known_name(tmp_path: Path) -> None:
    _make_zarr(tmp_path / "a.zarr", "0.4")
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    axes = attributes["multiscales"][0]["axes"]
    axes[0]["name"], axes[1]["name"] = "channel", "Depth"
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(attributes))
    assert read_image(tmp_path / "a.zarr").axes == "CZYX"
    axes[2]["name"] = "lifetime"
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match=r"axes channel, Depth, lifetime, x of a\.zarr are not"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("scale", [[1, 2, 0.5], [1, 2, "wide", 0.5]])
def test_a_scale_that_does_not_fit_is_explained(tmp_path: Path, scale: list[Any]) -> None:
    _make_zarr(tmp_path / "series" / "0", "0.4")
    attributes = json.loads((tmp_path / "series" / "0" / ".zattrs").read_text())
    level = attributes["multiscales"][0]["datasets"][0]
    level["coordinateTransformations"][0]["scale"] = scale
    (tmp_path / "series" / "0" / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match=r"The scale .* of series/0 .* axes C, Z, Y, X"):
        read_image(tmp_path / "series" / "0")


def test_zarr_that_is_no_image(tmp_path: Path) -> None:
    _make_zarr(tmp_path / "a.zarr", "0.4")
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    del attributes["multiscales"][0]["datasets"]
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match="incomplete"):
        read_image(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".zattrs").write_text("{}")
    with pytest.raises(InputError, match="it holds 0, 1"):
        read_image(tmp_path / "a.zarr")


def test_without_zarr_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zgroup").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r'pip install "napari-sa2net\[zarr\]"'):
        read_image(tmp_path / "a.zarr")


# --- Writing -----------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_labels(tmp_path / "a.ome.tif", np.ones((4, 4), int), "YX")
    before = path.read_bytes()

    def full(file: Path, *_: object, **__: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tifffile, "imwrite", full)
    with pytest.raises(SA2NetError, match="No space left"):
        write_labels(path, np.zeros((4, 4), int), "YX")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_axes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="axes"):
        write_labels(tmp_path / "a.tif", np.zeros((4, 4), int), "ZYX")


def test_what_a_plain_tiff_cannot_hold_becomes_a_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((20, 30), np.int32)
    with tifffile.TiffFile(write_labels(tmp_path / "a.ome.tif", labels, "YX")) as small:
        assert not small.is_bigtiff
    monkeypatch.setattr(files, "BIG", 100)
    with tifffile.TiffFile(write_labels(tmp_path / "b.ome.tif", labels, "YX")) as big:
        assert big.is_bigtiff


def test_frames_written_one_by_one_are_all_read(tmp_path: Path, grey: np.ndarray) -> None:
    frames = np.stack([grey, grey // 2, grey // 3])
    with tifffile.TiffWriter(tmp_path / "frames.tif") as file:
        for frame in frames:
            file.write(frame)
    image = read_image(tmp_path / "frames.tif")
    np.testing.assert_array_equal(image.array, frames)
    assert image.axes[1:] == "YX"
    assert not image.remark


def test_further_images_that_do_not_fit_are_told(tmp_path: Path, grey: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(grey)
        file.write(grey[:10])
    with tifffile.TiffWriter(tmp_path / "positions.ome.tif", ome=True) as file:
        for _ in range(3):
            file.write(grey, metadata={"axes": "YX"})
    for name, count in (("two.tif", 2), ("positions.ome.tif", 3)):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, grey)
        assert f"{name} holds {count} images, of which the first is used" in image.remark


def test_masks_are_read_as_numbers(tmp_path: Path) -> None:
    """Whatever colour, and whichever of black and white, they are shown in."""
    mask = np.zeros((12, 16), np.uint8)
    mask[2:5, 3:9] = 255
    tifffile.imwrite(tmp_path / "bool.tif", mask > 0)
    tifffile.imwrite(tmp_path / "imagej.tif", mask, imagej=True, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "white.tif", mask, photometric="miniswhite")
    for name in ("bool.tif", "imagej.tif", "white.tif"):
        found = read_image(tmp_path / name, numbers=True).array
        np.testing.assert_array_equal(np.asarray(found) > 0, mask > 0)
        shown = np.asarray(read_image(tmp_path / name).array) > 0
        np.testing.assert_array_equal(shown, (mask == 0) if name == "white.tif" else (mask > 0))
    Image.fromarray(mask).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png", numbers=True).array, mask > 0)
    colours = Image.fromarray(mask // 255 * 2, mode="P")
    colours.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    colours.save(tmp_path / "classes.png")
    found = read_image(tmp_path / "classes.png", numbers=True)
    np.testing.assert_array_equal(found.array, mask // 255 * 2)
    assert read_image(tmp_path / "classes.png").rgb


def test_colours_of_16_bits_are_not_cut_to_8(tmp_path: Path) -> None:
    row = b"\x00" + bytes(6 * 4)
    chunks = b""
    for kind, content in (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ):
        check = struct.pack(">I", zlib.crc32(kind + content))
        chunks += struct.pack(">I", len(content)) + kind + content + check
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(InputError, match="16 bits a colour"):
        read_image(tmp_path / "deep.png")


def test_a_palette_of_8_bits_gives_8_bits(tmp_path: Path) -> None:
    """A TIFF holds its colours in 16 bits, whatever they were."""
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    for step in (256, 257):
        table = (colours * step).astype(np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=table)
        array = read_image(tmp_path / "a.tif").array
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, np.moveaxis(colours[:, numbers], 0, -1))


# --- Large pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [40, 10])  # Pillow warns above it, and fails above its double
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_picture_may_be_larger_than_pillow_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, most: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    values = np.full((6, 10), 90, np.uint8)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}").array, values)


def test_a_picture_that_memory_does_not_hold_is_refused(tmp_path: Path) -> None:
    content = b""
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0)),
        (b"IDAT", b""),
    ):
        check = struct.pack(">I", zlib.crc32(kind + data))
        content += struct.pack(">I", len(data)) + kind + data + check
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(InputError, match=r"bomb.png has 1073741824 × 1073741824 pixels.* free"):
        read_image(tmp_path / "bomb.png")
