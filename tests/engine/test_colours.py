"""Colours other than RGB, palettes, and which end is white: what the numbers of a file show."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab

from napari_sa2net.cli import main
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.model_files import save_model

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
NOT_SUBSAMPLED: dict[str, Any] = {"extratags": [(530, "H", 2, (1, 1), True)]}
GREY = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)


def _write(path: Path, array: np.ndarray, photometric: int, **more: Any) -> Path:
    """Write a TIFF file that says it has these colours, whatever the writer knows of them."""
    tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "separated",
                     **more)  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(photometric)
    return path


def _cmyk(rgb: np.ndarray) -> np.ndarray:
    top = np.iinfo(rgb.dtype).max
    ink = 1 - rgb.astype(float) / top
    black = ink.min(axis=-1, keepdims=True)
    parts = (ink - black) / np.maximum(1 - black, 1e-9)
    return np.rint(np.concatenate([parts, black], axis=-1) * top).astype(rgb.dtype)


def _lab(offset: int) -> np.ndarray:
    lab = rgb2lab(RGB)
    chroma = np.clip(np.rint(lab[..., 1:]), -128, 127).astype(int) + offset
    light = np.rint(lab[..., :1] * 2.55).astype(int)
    return (np.concatenate([light, chroma], axis=-1) % 256).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "within"),
    [("CMYK", 1), ("CMYK 16", 1), ("planar CMYK", 1), ("YCbCr", 3), ("CIELab", 24), ("ICCLab", 24)],
)
def test_other_colours_are_read_as_rgb(tmp_path: Path, kind: str, within: int) -> None:
    expected, path = RGB.astype(int), tmp_path / "a.tif"
    if kind == "CMYK 16":
        expected = expected * 257
        _write(path, _cmyk(expected.astype(np.uint16)), 5)
    elif kind == "planar CMYK":
        planar = np.moveaxis(_cmyk(RGB), -1, 0)
        tifffile.imwrite(path, planar, photometric="separated", planarconfig="separate")
    elif kind == "CMYK":
        _write(path, _cmyk(RGB), 5)
    elif kind == "YCbCr":
        _write(path, np.asarray(Image.fromarray(RGB).convert("YCbCr")), 6, **NOT_SUBSAMPLED)
    else:
        number, offset = {"CIELab": (8, 0), "ICCLab": (9, 128)}[kind]
        _write(path, _lab(offset), number)
    image = read_image(path)
    assert image.rgb
    assert image.axes == ("CYX" if kind == "planar CMYK" else "YXC")
    found = np.moveaxis(np.asarray(image.array), image.axes.index("C"), -1)
    assert found.dtype == (np.uint16 if kind == "CMYK 16" else np.uint8)
    assert np.abs(found - expected).max() <= within


def test_colours_that_a_decoder_has_converted_are_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    flat = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    path = tmp_path / "jpeg.tif"
    tifffile.imwrite(path, flat, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(np.asarray(read_image(path).array).astype(int) - flat).max() <= 4


@pytest.mark.parametrize(
    ("number", "says"),
    [(10, "ITU"), (32803, "CFA"), (32844, "LogL"), (32845, "LogLuv"), (34892, "LinearRaw")],
)
def test_colours_that_are_not_understood_are_refused_by_name(
    tmp_path: Path, number: int, says: str
) -> None:
    path = _write(tmp_path / "a.tif", RGB, number)
    with pytest.raises(InputError, match=rf"colours of a\.tif are .*{says}.* as RGB"):
        read_image(path)


def test_inks_other_than_those_of_cmyk_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tif", _cmyk(RGB), 5, extratags=[(332, "H", 1, 2, True)])
    with pytest.raises(InputError, match="are 4 inks"):
        read_image(path)


def test_colours_of_only_some_pixels_are_refused_by_name(tmp_path: Path) -> None:
    tags = [(530, "H", 2, (2, 2), True)]
    path = _write(tmp_path / "a.tif", RGB, 6, extratags=tags)
    with pytest.raises(InputError, match="chroma subsampling"):
        read_image(path)


def test_pictures_of_other_colours(tmp_path: Path) -> None:
    flat = Image.fromarray(np.full((24, 32, 3), (200, 40, 90), np.uint8))
    flat.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    flat.save(tmp_path / "ycbcr.jpg", quality=100)
    for name in ("cmyk.jpg", "ycbcr.jpg"):
        image = read_image(tmp_path / name)
        assert (image.axes, image.rgb) == ("YXC", True)
        assert np.abs(np.asarray(image.array).astype(int) - np.asarray(flat)).max() <= 4


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_of_any_depth(tmp_path: Path, bits: int) -> None:
    colours = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3))
    numbers = (GREY.astype(int) % (1 << bits)).astype(np.uint8)
    path = tmp_path / "p.tif"
    stored = numbers > 0 if bits == 1 else numbers
    table = {"colormap": (colours.T * 257).astype(np.uint16)} if bits == 8 else {}
    tags = [] if bits == 8 else [(320, "H", 3 << bits, (colours.T * 257).ravel().tolist(), True)]
    tifffile.imwrite(
        path, stored, photometric="palette" if bits == 8 else "minisblack", extratags=tags,
        bitspersample=bits if bits == 4 else None, software="another program", **table,
    )  # fmt: skip
    if bits < 8:
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    image = read_image(path)
    assert (image.axes, image.rgb) == ("YXC", True)
    np.testing.assert_array_equal(image.array, colours[numbers])
    np.testing.assert_array_equal(read_image(path, numbers=True).array, numbers)
    assert read_image(path, axes="YXS").rgb
    assert read_image(path, axes="YX").axes == "YXC"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_grey_palette_is_grey(tmp_path: Path, reverse: bool) -> None:
    ramp = np.arange(256)[:: -1 if reverse else 1]
    table = np.tile(ramp * 257, (3, 1)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "g.tif", GREY, photometric="palette", colormap=table)
    image = read_image(tmp_path / "g.tif")
    assert (image.axes, image.rgb) == ("YX", False)
    np.testing.assert_array_equal(image.array, ramp[GREY])


def test_a_lookup_table_of_imagej_is_no_colour(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "i.tif", GREY, imagej=True, colormap=table.astype(np.uint16) * 257)
    image = read_image(tmp_path / "i.tif")
    assert (image.axes, image.rgb) == ("YX", False)
    np.testing.assert_array_equal(image.array, GREY)


def test_white_is_zero_and_opacity(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "4.tif", GREY % 16, photometric="miniswhite", bitspersample=4,
                     software="another program")  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "4.tif").array, 15 - GREY % 16)
    both = np.stack([GREY, 255 - GREY], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", both, photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha"])  # fmt: skip
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YX"
    np.testing.assert_array_equal(image.array, GREY)
    tifffile.imwrite(tmp_path / "two.tif", both, photometric="minisblack", planarconfig="contig")
    assert read_image(tmp_path / "two.tif").axes == "YXC"


@pytest.mark.parametrize("kind", ["CMYK", "YCbCr", "palette"])
def test_channels_of_other_colours_have_their_names_in_the_table(
    tmp_path: Path, tiny_model: Any, kind: str
) -> None:
    path = tmp_path / "a.tif"
    if kind == "CMYK":
        _write(path, _cmyk(RGB), 5)
    elif kind == "YCbCr":
        _write(path, np.asarray(Image.fromarray(RGB).convert("YCbCr")), 6, **NOT_SUBSAMPLED)
    else:
        table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
        tifffile.imwrite(path, GREY, photometric="palette", colormap=table)
    save_model(tiny_model, tmp_path / "tiny.safetensors")
    model = str(tmp_path / "tiny.safetensors")
    assert main(["segment", str(path), "-o", str(tmp_path), "--model", model, "--device", "cpu",
                 "--save", "table", "-q"]) == 0  # fmt: skip
    with (tmp_path / "a_table.csv").open(encoding="utf-8") as file:
        columns = csv.DictReader(file).fieldnames or []
    means = [name for name in columns if "mean" in name]
    assert [name.rpartition("_")[2] for name in means] == ["red", "green", "blue"]
