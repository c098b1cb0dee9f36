"""Pairs of images and annotations from arrays and files."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import write_image, write_labels
from napari_sa2net.engine.pairing import match_annotations
from napari_sa2net.engine.training.pairs import Annotation
from napari_sa2net.engine.training.reading import read_labels, read_pairs

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 30), dtype=np.uint8)
STROKES = np.zeros(IMAGE.shape, np.uint8)
STROKES[2:4, 2:20], STROKES[10:12, 2:20] = 1, 2


def folder_of(folder: Path, names: list[str], array: Any = IMAGE) -> Path:
    folder.mkdir()
    for name in names:
        Image.fromarray(array).save(folder / name)
    return folder


# --- names -----------------------------------------------------------------------------------


def test_files_of_one_name_belong_together(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", ["a.png", "b.tif", "c.jpg", "d.png", "e_x.png"])
    painted = folder_of(
        tmp_path / "painted", ["a.tif", "b_labels.ome.tif", "c annotation.png", "e_x-Mask.png"]
    )
    pairs, alone = match_annotations(images, str(painted / "*"))
    assert alone == 1
    assert [(name, image.name, label.name) for name, image, label in pairs] == [
        ("a", "a.png", "a.tif"),
        ("b", "b.tif", "b_labels.ome.tif"),
        ("c", "c.jpg", "c annotation.png"),
        ("e_x", "e_x.png", "e_x-Mask.png"),
    ]


@pytest.mark.parametrize(("image", "painted"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_alike_however_their_letters_are_written(
    tmp_path: Path, image: Literal["NFC", "NFD"], painted: Literal["NFC", "NFD"]
) -> None:
    files = {}
    for folder, form, ending in (("i", image, ""), ("m", painted, "_labels")):
        (tmp_path / folder).mkdir()
        for name in ("é", "über"):
            path = tmp_path / folder / f"{unicodedata.normalize(form, name)}{ending}.tif"
            tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
            files[folder, name] = path
    pairs, alone = match_annotations(tmp_path / "i", tmp_path / "m")
    assert {tuple(pair[1:]) for pair in pairs} == {
        (files["i", name], files["m", name]) for name in ("é", "über")
    }
    assert alone == 0


def test_one_file_each_always_belongs_together(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", ["image.png", "anything.png"])
    pairs, alone = match_annotations(folder / "image.png", [folder / "anything.png"])
    assert [pair[0] for pair in pairs] == ["image"]
    assert alone == 0


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", ["a.png", "b.png"])
    painted = folder_of(tmp_path / "painted", ["c.png"])
    with pytest.raises(InputError, match=r"no image for the annotation .*c\.png.*quotes"):
        match_annotations(images, painted)
    (painted / "c.png").rename(painted / "a.png")
    Image.fromarray(IMAGE).save(painted / "a_labels.png")
    with pytest.raises(InputError, match=r"a has two annotations"):
        match_annotations(images, painted)
    with pytest.raises(InputError, match="both image and annotation"):
        match_annotations(images, images)
    with pytest.raises(InputError, match="the same name"):
        match_annotations([images, painted / "a.png"], painted)


# --- label files -----------------------------------------------------------------------------


def test_numbers_survive_every_kind_of_file(tmp_path: Path) -> None:
    picture = Image.fromarray(STROKES)
    picture.save(tmp_path / "grey.png")
    picture.convert("RGB").save(tmp_path / "rgb.png")
    coloured = Image.fromarray(STROKES, "P")
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    coloured.save(tmp_path / "palette.png")
    tifffile.imwrite(tmp_path / "float.tif", STROKES.astype(np.float32))
    write_labels(tmp_path / "big.ome.tif", STROKES.astype(np.int32) * 40_000, "YX")
    for name in ("grey.png", "rgb.png", "palette.png", "float.tif"):
        labels, axes = read_labels(tmp_path / name)
        assert np.array_equal(labels, STROKES), name
        assert labels.dtype.kind in "iu"
        assert axes == "YX"
    assert read_labels(tmp_path / "big.ome.tif")[0].max() == 80_000


def test_colours_and_fractions_are_no_labels(tmp_path: Path) -> None:
    Image.fromarray(np.stack([STROKES, STROKES * 0, STROKES], -1)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match=r"c\.png is a picture in colours"):
        read_labels(tmp_path / "c.png")
    for value in (0.5, np.nan, 1e20):
        tifffile.imwrite(tmp_path / "f.tif", np.full((4, 4), value, np.float32))
        with pytest.raises(InputError, match=r"f\.tif holds fractions"):
            read_labels(tmp_path / "f.tif")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.png cannot be read"):
        read_labels(tmp_path / "bad.png")


# --- pairs -----------------------------------------------------------------------------------


def test_files_bring_axes_colours_and_pixel_size(tmp_path: Path) -> None:
    stack = np.stack([IMAGE, IMAGE[::-1]])
    write_image(tmp_path / "a.ome.tif", stack, "TYX", {"Y": 0.5, "X": 0.25})
    write_labels(tmp_path / "a_labels.ome.tif", np.stack([STROKES, STROKES]), "TYX")
    (pair,), remarks = read_pairs(tmp_path / "a.ome.tif", tmp_path / "a_labels.ome.tif")
    assert (pair.name, pair.axes, pair.rgb, pair.pixel_size) == ("a", "TYX", False, (0.5, 0.25))
    assert pair.annotation.labels.shape == (2, *IMAGE.shape)
    assert (pair.annotation.meaning, pair.annotation.of) == ("strokes", "classes")
    assert remarks == []
    (pair,), _ = read_pairs(
        tmp_path / "a.ome.tif", tmp_path / "a_labels.ome.tif", "strokes", "instances",
        axes="ZYX", diameter=12.0, planes=1, channels=None,
    )  # fmt: skip
    assert (pair.axes, pair.diameter, pair.planes, pair.channels) == ("ZYX", 12.0, (1,), None)
    assert pair.annotation.of == "instances"


def test_annotations_are_turned_to_the_image(tmp_path: Path) -> None:
    image = np.stack([np.stack([IMAGE] * 3)] * 2)  # (2, 3, 24, 30)
    write_image(tmp_path / "a.ome.tif", image, "CZYX")
    zarr = pytest.importorskip("zarr", minversion="3.0")
    labels = np.stack([STROKES, STROKES * 0, STROKES])
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=labels.transpose(1, 0, 2)[None])
    group.attrs["multiscales"] = [{"axes": list("cyzx"), "datasets": [{"path": "0"}]}]
    (pair,), _ = read_pairs(tmp_path / "a.ome.tif", tmp_path / "a.ome.zarr")
    assert np.array_equal(pair.annotation.labels, labels)


def test_rgb_images_take_flat_annotations(tmp_path: Path) -> None:
    Image.fromarray(np.stack([IMAGE] * 3, -1)).save(tmp_path / "a.png")
    Image.fromarray(STROKES).save(tmp_path / "s.png")
    (pair,), _ = read_pairs(str(tmp_path / "a.png"), str(tmp_path / "s.png"))
    assert pair.rgb
    assert pair.axes == "YXC"
    assert pair.annotation.labels.shape == IMAGE.shape
    assert not read_pairs(tmp_path / "a.png", tmp_path / "s.png", axes="YCX")[0][0].rgb


def test_a_mask_of_black_and_white_is_of_the_first_class(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray((STROKES > 0).astype(np.uint8) * 255).save(tmp_path / "m.png")
    (pair,), remarks = read_pairs(tmp_path / "a.png", tmp_path / "m.png", "mask", "instances")
    assert pair.annotation.of == "classes"
    assert np.array_equal(pair.annotation.labels, STROKES > 0)
    assert "255" in remarks[0]
    Image.fromarray(STROKES).save(tmp_path / "m.png")
    (pair,), remarks = read_pairs(tmp_path / "a.png", tmp_path / "m.png", "mask", "instances")
    assert (pair.annotation.of, remarks) == ("instances", [])


def test_images_without_annotation_are_counted(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", ["a.png", "b.png", "c.png"])
    painted = folder_of(tmp_path / "painted", ["b.png"], STROKES)
    pairs, remarks = read_pairs(images, painted)
    assert [pair.name for pair in pairs] == ["b"]
    assert "1 of 3 images" in remarks[0]


def test_arrays_pair_up() -> None:
    pairs, _ = read_pairs([IMAGE, IMAGE], [STROKES, Annotation(STROKES, "mask")], diameter=9)
    assert [pair.name for pair in pairs] == ["image 1", "image 2"]
    assert [pair.annotation.meaning for pair in pairs] == ["strokes", "mask"]
    assert [pair.diameter for pair in pairs] == [9, 9]
    channels, _ = read_pairs([IMAGE, IMAGE], STROKES)  # one annotation: these are channels
    assert len(channels) == 1
    assert len(channels[0].image) == 2
    for images, painted in (([IMAGE], [STROKES, STROKES]), (IMAGE, [STROKES])):
        with pytest.raises(InputError, match=r"There are 1 images and \d annotations"):
            read_pairs(images, painted) if isinstance(images, list) else read_pairs(
                images, [*painted, STROKES]
            )
    with pytest.raises(InputError, match="both as arrays or both as paths"):
        read_pairs("a.png", STROKES)


def test_channels_are_found_by_their_names_in_the_file(tmp_path: Path) -> None:
    image = np.zeros((2, 20, 30), np.uint8)
    names = ("DAPI", "actin")
    write_image(tmp_path / "a.ome.tif", image, "CYX", {}, channel_names=names)
    write_labels(tmp_path / "a_labels.ome.tif", image[0], "YX", {})
    paths = (tmp_path / "a.ome.tif", tmp_path / "a_labels.ome.tif")
    for channels in ("actin", ("actin",), 1, (1,)):
        (pair,), _ = read_pairs(*paths, channels=channels)
        assert pair.channels == (1,)
    with pytest.raises(InputError, match="no channel is called 'GFP'"):
        read_pairs(*paths, channels="GFP")
