"""zarr folders of all kinds: named dimensions, OME-Zarr up to 0.6, bioformats2raw's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sa2net.cli import main
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import read_image, read_info
from napari_sa2net.engine.model_files import save_model

zarr = pytest.importorskip("zarr", minversion="3.0")

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 24, 32), dtype=np.uint8)
SPACE = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]


def _ome(
    path: Path, described: dict[str, Any], pixels: np.ndarray = PIXELS, *, version: str = "0.6.dev3"
) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=pixels)
    group.attrs["ome"] = {"version": version, "multiscales": [described]}
    return path


def _system(name: str, first: str, kind: str) -> dict[str, Any]:
    return {"name": name, "axes": [{"name": first, "type": kind}, *SPACE]}


def _level(transformation: dict[str, Any], output: Any = "physical") -> list[dict[str, Any]]:
    given = {"input": "0", "output": output, **transformation}
    return [{"path": "0", "coordinateTransformations": [given]}]


SCALE = {"type": "scale", "scale": [1, 0.25, 0.5]}


@pytest.mark.parametrize("names", [("t", "y", "x"), ("z", "y", "x"), ("c", "row", "column")])
@pytest.mark.parametrize("version", [2, 3])
def test_names_of_dimensions_are_the_axes(
    tmp_path: Path, names: tuple[str, ...], version: int
) -> None:
    path = tmp_path / "a.zarr"
    if version == 3:
        zarr.create_array(path, data=PIXELS, dimension_names=names)
    else:
        array = zarr.create_array(path, data=PIXELS, zarr_format=2)
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    image = read_image(path)
    assert image.axes == f"{names[0].upper()}YX"
    assert (read_info(path).axes, read_info(path).shape) == (image.axes, PIXELS.shape)
    assert read_image(path, axes="ZYX").axes == "ZYX"


def test_a_dimension_of_another_name_is_positions(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, dimension_names=("position", "y", "x"))
    image = read_image(tmp_path / "a.zarr")
    assert "a.zarr holds 3 images along R (position)" in image.remark
    second = read_image(tmp_path / "a.zarr", position=1)
    np.testing.assert_array_equal(np.squeeze(second.array), PIXELS[1])


def test_a_data_set_of_xarray_is_read(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("image", data=PIXELS).attrs["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    group.create_array("x", data=np.arange(32)).attrs["_ARRAY_DIMENSIONS"] = ["x"]
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "TYX"
    np.testing.assert_array_equal(np.asarray(image.array), PIXELS)


@pytest.mark.parametrize("output", ["physical", {"name": "physical"}])
def test_coordinate_systems_of_0_6_are_read(tmp_path: Path, output: Any) -> None:
    described = {
        "coordinateSystems": [_system("other", "z", "space"), _system("physical", "t", "time")],
        "datasets": _level(SCALE, output),
    }
    image = read_image(_ome(tmp_path / "a.zarr", described))
    assert (image.axes, image.remark) == ("TYX", "")
    assert image.calibration == {"Y": 0.25, "X": 0.5}


@pytest.mark.parametrize(
    ("transformation", "known"),
    [
        ({"type": "sequence", "transformations": [SCALE, {"type": "translation"}]}, True),
        ({"type": "affine", "affine": [[1, 0, 0, 9], [0, 0.25, 0, 9], [0, 0, 0.5, 9]]}, True),
        ({"type": "affine", "affine": [[1, 0, 0, 9], [0, 0.2, 0.1, 9], [0, 0, 0.5, 9]]}, False),
        ({"type": "rotation", "rotation": [[1, 0, 0], [0, 0, 1], [0, -1, 0]]}, False),
        ({"type": "sequence", "transformations": [SCALE, {"type": "displacements"}]}, False),
    ],
)
def test_transformations_are_read_or_told(
    tmp_path: Path, transformation: dict[str, Any], known: bool
) -> None:
    described = {
        "coordinateSystems": [_system("physical", "c", "channel")],
        "datasets": _level(transformation),
    }
    image = read_image(_ome(tmp_path / "a.zarr", described))
    assert image.axes == "CYX"
    assert image.calibration == ({"Y": 0.25, "X": 0.5} if known else {})
    assert ("pixel size of a.zarr is not known" in image.remark) == (not known)


@pytest.mark.parametrize("written", [True, False])
def test_a_scale_given_by_path(tmp_path: Path, written: bool) -> None:
    described = {
        "axes": [{"name": "z", "type": "space", "unit": "micrometer"}, *SPACE],
        "datasets": _level({"type": "scale", "path": "sizes"}),
    }
    path = _ome(tmp_path / "a.zarr", described, version="0.5")
    if written:
        zarr.open_group(path, mode="r+").create_array("sizes", data=np.array([2.0, 0.25, 0.5]))
    image = read_image(path)
    assert image.calibration == ({"Z": 2, "Y": 0.25, "X": 0.5} if written else {})
    assert ("its array sizes cannot be read" in image.remark) == (not written)


def test_a_newer_version_is_refused_by_its_number(tmp_path: Path) -> None:
    described = {"coordinateSystems": [_system("p", "c", "channel")], "datasets": _level(SCALE)}
    path = _ome(tmp_path / "a.zarr", described, version="0.7")
    with pytest.raises(InputError, match=r"a\.zarr is OME-Zarr 0\.7, and versions up to 0\.6"):
        read_image(path)


def test_the_type_of_an_axis_goes_before_its_name(tmp_path: Path) -> None:
    axes = [{"name": "dye", "type": "channel"}, *SPACE]
    described = {"axes": axes, "datasets": _level(SCALE)}
    assert read_image(_ome(tmp_path / "a.zarr", described, version="0.5")).axes == "CYX"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [True, False])
def test_the_layout_of_bioformats2raw(
    tmp_path: Path, version: str, listed: bool, tiny_model: Any
) -> None:
    root = tmp_path / "slide.zarr"
    form = 2 if version == "0.4" else 3
    group = zarr.open_group(root, mode="w", zarr_format=form)
    layout = {"bioformats2raw.layout": 3}
    group.attrs.update(layout if form == 2 else {"ome": {"version": version, **layout}})
    for number in range(2):
        one = group.create_group(str(number))
        one.create_array("0", data=PIXELS[:, number:])
        axes = [{"name": "t", "type": "time"}, *SPACE]
        multiscales = [{"axes": axes, "datasets": _level(SCALE), "version": version}]
        told = {"multiscales": multiscales}
        one.attrs.update(told if form == 2 else {"ome": {"version": version, **told}})
    ome = group.create_group("OME")
    if listed:
        series = {"series": ["1", "0"]}
        ome.attrs.update(series if form == 2 else {"ome": {"version": version, **series}})
    order = (1, 0) if listed else (0, 1)
    first = read_image(root)
    assert (first.axes, first.calibration) == ("TYX", {"Y": 0.25, "X": 0.5})
    assert "slide.zarr holds 2 images, of which the first is used" in first.remark
    for position, number in enumerate(order):
        image = read_image(root, position=position)
        np.testing.assert_array_equal(np.asarray(image.array), PIXELS[:, number:])
    info = read_info(root)
    assert (info.shape, info.images) == ((3, 24 - order[0], 32), 2)
    model = tmp_path / "tiny.safetensors"
    save_model(tiny_model, model)
    arguments = ["--model", str(model), "--device", "cpu", "-q", "--position", "all"]
    assert main(["segment", str(root), "-o", str(tmp_path / "out"), *arguments]) == 0
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["slide_p0_labels.ome.tif", "slide_p1_labels.ome.tif"]


def test_what_is_written_names_its_dimensions(tmp_path: Path, tiny_model: Any) -> None:
    from napari_sa2net import segment_to_zarr

    result = segment_to_zarr(PIXELS, tmp_path / "a.ome.zarr", tiny_model, "cpu", axes="TYX",
                             channels=(0,))  # fmt: skip
    told = json.loads((result.path / "0" / "zarr.json").read_text())
    assert told["dimension_names"] == ["t", "y", "x"]
    assert read_image(result.path / "0").axes == "TYX"
