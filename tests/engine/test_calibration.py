"""Pixel sizes as files state them: every unit, every spelling, and none that ends a run."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pint
import pytest
import tifffile

from napari_sa2net import api
from napari_sa2net.cli import main
from napari_sa2net.engine import calibration
from napari_sa2net.engine.calibration import Calibration, micrometres, read_sizes, unit_size
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import read_image, read_info, write_image, write_labels
from napari_sa2net.engine.weights import Model, save_model

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)

# All units of length of the OME schema 2016-06, and what pint calls them.
OME_UNITS = {f"{prefix}m": f"{prefix}m" for prefix in "YZEPTGMkhdcmµnpfazy"} | {
    "m": "m", "dam": "dam", "Å": "angstrom", "thou": "thou", "li": "inch / 12", "in": "inch",
    "ft": "foot", "yd": "yard", "mi": "mile", "ua": "astronomical_unit", "ly": "light_year",
    "pc": "parsec", "pt": "point",
}  # fmt: skip


def in_ome(path: Path, pixels: str, *, encoding: str = "utf-8", declared: str = "UTF-8") -> Path:
    """Write an OME-TIFF whose description has ``pixels`` among the attributes of its image."""
    xml = (
        f'<?xml version="1.0" encoding="{declared}"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="64" SizeY="48" '
        f'SizeC="1" SizeZ="1" SizeT="1" {pixels}><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, IMAGE, description=xml.encode(encoding), metadata=None)
    return path


def square(value: str, unit: str | None = None) -> str:
    units = "" if unit is None else "".join(f' PhysicalSize{a}Unit="{unit}"' for a in "XY")
    return f'PhysicalSizeX="{value}" PhysicalSizeY="{value}"{units}'


# --- Units and numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("unit", OME_UNITS)
def test_units_of_ome_are_those_of_pint(tmp_path: Path, unit: str) -> None:
    true = pint.UnitRegistry()(OME_UNITS[unit]).to("micrometer").magnitude
    assert micrometres(2, unit) == pytest.approx(2 * true, rel=1e-9)
    image = read_image(in_ome(tmp_path / "a.ome.tif", square("2", unit)))
    assert image.calibration == pytest.approx({"Y": 2 * true, "X": 2 * true}, rel=1e-9)


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        *((name, 1.0) for name in (
            "µm", "μm", "um", "UM", "micron", "microns", "Micron", "micrometer", "micrometre",
            "Micrometers", "micromètre", "micrómetros", "Mikrometer", "µ", "㎛", "мкм",
            "\\u00B5m", "\\u00b5m", "\\xb5m", "&micro;m", "&#181;m", "&#xB5;m",
            "Âµm", "Î¼m", "Ã‚Âµm", " µm ", "µm\0", "µm/pixel", "um/px", "µm per pixel",
        )),
        *((name, 1e-3) for name in ("nm", "NM", "nanometer", "Nanometre", "nanometers", "нм")),
        *((name, 1e-4) for name in ("Å", "Å", "A", "angstrom", "Ångström", "Ã…", "Ã\x85")),
        *((name, 25400) for name in ("inch", "inches", "in", "IN", '"')),
        ("mm", 1e3), ("MM", 1e3), ("Mm", 1e12), ("Pm", 1e21), ("pm", 1e-6), ("feet", 304800),
        ("centimeter", 1e4), ("kilometre", 1e9), ("hectometer", 1e8), ("yoctometer", 1e-18),
        ("dekameter", 1e7), ("mil", 25.4),
    ],
)  # fmt: skip
def test_spellings_and_encodings(unit: str, size: float) -> None:
    assert unit_size(unit) == (pytest.approx(size), False)


@pytest.mark.parametrize("unit", ["?m", "�m", "??m", "¬µm", "┬╡m", "碌m"])
def test_a_broken_micro_sign_is_taken_for_one_and_told(unit: str) -> None:
    sizes, remark = read_sizes({"Y": (0.5, unit), "X": (0.5, unit)})
    assert sizes == {"Y": 0.5, "X": 0.5}
    assert "taken for 0.5 µm" in remark


@pytest.mark.parametrize(
    ("value", "number"),
    [("0,65", 0.65), ("6,5E-1", 0.65), ("0.65 µm", 0.65), ("650 nm", 0.65), ("650nm", 0.65),
     (" 0.65 ", 0.65), (".65", 0.65), ("65e-2", 0.65), (0.65, 0.65), (np.float32(0.5), 0.5)],
)  # fmt: skip
def test_numbers(value: object, number: float) -> None:
    assert micrometres(value, "µm") == pytest.approx(number)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        *((value, "µm") for value in (
            "0", 0, "-0.5", -0.5, "nan", "inf", "-inf", math.inf, math.nan, "1e400", "1e-50",
            "abc", "1.234,5", "1,234.5", "0.65;", 10**400, "1_000",
        )),
        (0.5, "furlong"), (0.5, "reference frame"), (0.5, "pixel"), (3, "px"), (0.5, "s"),
        (0.5, "m²"), (0.5, "µm²"), (0.5, "?"), (0.5, "x" * 1000), (0.5, "\x1b[31mred"),
    ],
)  # fmt: skip
def test_what_is_no_size_is_told(value: object, unit: str) -> None:
    sizes, remark = read_sizes({"Z": (2, "µm"), "Y": (value, unit), "X": (value, unit)})
    assert sizes == {"Z": 2.0}
    assert "along Y and X" in remark
    assert "not used" in remark
    assert remark.isprintable()
    assert len(remark) < 200


@pytest.mark.parametrize("value", [None, "", 1])
@pytest.mark.parametrize("unit", [None, "", "pixel", "Pixels", "none"])
def test_what_is_not_calibrated_is_not_worth_a_word(value: object, unit: object) -> None:
    assert read_sizes(dict.fromkeys("YX", (value, unit))) == ({}, "")


@pytest.mark.parametrize("size", [1e-30, 1.08e-7, 1e7, 1e30])
def test_a_size_that_can_hardly_be_is_kept_and_told(tmp_path: Path, size: float) -> None:
    image = read_image(in_ome(tmp_path / "a.ome.tif", square(str(size))))
    assert image.calibration == pytest.approx({"Y": size, "X": size})
    assert "a.ome.tif: the size of a pixel along Y and X" in image.remark
    assert "check the unit" in image.remark
    assert ("in metres it would be 0.108 µm" in image.remark) == (size == 1.08e-7)
    assert read_info(image.path).doubt == image.remark


def test_one_side_alone_is_told(tmp_path: Path) -> None:
    image = read_image(in_ome(tmp_path / "a.ome.tif", 'PhysicalSizeX="0.5" PhysicalSizeZ="2"'))
    assert image.calibration == {"Z": 2.0}
    assert "along X is known, but not along the other side" in image.remark


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "sizes"),
    [
        (square("0,65"), {"Y": 0.65, "X": 0.65}),
        (square("6.5E-8", "m"), {"Y": 0.065, "X": 0.065}),
        ('PhysicalSizeX="0.3" PhysicalSizeY="600" PhysicalSizeYUnit="nm" PhysicalSizeZ="1E-5" '
         'PhysicalSizeZUnit="dm"', {"Z": 1.0, "Y": 0.6, "X": 0.3}),
    ],
)  # fmt: skip
def test_ome(tmp_path: Path, pixels: str, sizes: Calibration) -> None:
    image = read_image(in_ome(tmp_path / "a.ome.tif", pixels))
    assert (image.calibration, image.remark) == (pytest.approx(sizes), "")


@pytest.mark.parametrize(
    ("encoding", "declared"), [("latin-1", "UTF-8"), ("utf-8", "iso-8859-1"), ("utf-8", "UTF-8")]
)
def test_ome_in_another_encoding_than_it_says(tmp_path: Path, encoding: str, declared: str) -> None:
    path = in_ome(
        tmp_path / "a.ome.tif", square("0.65", "µm"), encoding=encoding, declared=declared
    )
    assert read_image(path).pixel_size == pytest.approx((0.65, 0.65))


def test_ome_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = in_ome(tmp_path / "a.ome.tif", square("0.65", "&micro;m"))
    image = read_image(path)
    assert image.pixel_size is None
    assert "its OME description, with the size of a pixel, cannot be read" in image.remark


@pytest.mark.parametrize(
    ("metadata", "sizes"),
    [
        ({"unit": "nm", "yunit": "nm", "zunit": "micron", "spacing": 2.0},
         {"Z": 2.0, "Y": 0.0005, "X": 0.00025}),
        ({"unit": "µm", "yunit": "nm", "spacing": 2.0}, {"Z": 2.0, "Y": 0.0005, "X": 0.25}),
        ({"unit": "\\u00B5m", "spacing": "0,5"}, {"Z": 0.5, "Y": 0.5, "X": 0.25}),
        ({"unit": "inch", "spacing": 2.0}, {}),
        ({"unit": "inch", "zunit": "micron", "spacing": 2.0}, {"Z": 2.0}),
        ({"spacing": 2.0}, {}),
    ],
)  # fmt: skip
def test_imagej(metadata: dict[str, Any], sizes: Calibration) -> None:
    found = calibration.from_imagej(metadata, ((2, 1), (4, 1)))
    assert found == (pytest.approx(sizes), "")


def test_an_imagej_file(tmp_path: Path) -> None:
    told = {"axes": "ZYX", "unit": "nm", "yunit": "nm", "zunit": "micron", "spacing": 2.0}
    path, stack = tmp_path / "a.tif", np.stack([IMAGE] * 3)
    tifffile.imwrite(path, stack, imagej=True, resolution=(4, 2), metadata=told)
    assert read_image(path).calibration == pytest.approx({"Z": 2.0, "Y": 0.0005, "X": 0.00025})
    assert read_info(path).calibration == read_image(path).calibration


def test_an_unknown_unit_of_imagej_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, imagej=True, resolution=(4, 4), metadata={"unit": "furlong"})
    assert "0.25 furlong, which is no known length" in read_image(path).remark


@pytest.mark.parametrize(
    ("unit", "dots", "size"),
    [(2, 25400, 1.0), (3, 20000, 0.5), (4, 4000, 0.25), (5, 4, 0.25), (5, 0.01, 100.0),
     (4, 2, 500.0), (1, 4, None), (2, 300, None), (3, 72, None)],
)  # fmt: skip
@pytest.mark.parametrize("imagej", [False, True])
def test_resolution_units(
    tmp_path: Path, unit: int, dots: float, size: float | None, imagej: bool
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, imagej=imagej, resolution=(dots, dots), resolutionunit=unit)
    image = read_image(path)
    assert image.calibration == ({} if size is None else pytest.approx({"Y": size, "X": size}))
    assert image.remark == ""


def test_a_resolution_of_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, resolution=(0, 0), resolutionunit=5)
    image = read_image(path)
    assert image.calibration == {}
    assert "inf micrometer, which is no size" in image.remark
    assert calibration.from_dots(((0, 0), (0, 0)), "micrometer")[0] == {}


FEI = "[User]\nDate=1\n[{section}]\nPixelWidth={x}\nPixelHeight={y}\n"
ZEISS = "\r\n".join(["0", "{key}", "{name} = {size}", "DP_SCAN_ROT", "Scan Rot = Off"])
META = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="{state}"/>'
    '<prop id="spatial-calibration-x" type="float" value="0.65"/>'
    '<prop id="spatial-calibration-y" type="float" value="0.65"/>'
    '<prop id="spatial-calibration-units" type="string" value="um"/></PlaneInfo></MetaData>'
)


@pytest.mark.parametrize(
    ("tag", "text", "sizes", "told"),
    [
        (34682, FEI.format(section="Scan", x="1e-08", y="2e-08"), (0.02, 0.01), ""),
        (34680, FEI.format(section="EScan", x="1e-08", y="1e-08"), (0.01, 0.01), ""),
        (34682, FEI.format(section="Scan", x="1,5e-08", y="1,5e-08"), (0.015, 0.015), ""),
        (34682, FEI.format(section="Scan", x="0", y="0"), None, "no size"),
        (34682, FEI.format(section="Beam", x="", y=""), None, ""),
        (34118, ZEISS.format(key="AP_IMAGE_PIXEL_SIZE", name="Image Pixel Size", size="5.5 nm"),
         (0.0055, 0.0055), ""),
        (34118, ZEISS.format(key="AP_PIXEL_SIZE", name="Pixel Size", size="1.25 µm"),
         (1.25, 1.25), ""),
        (34118, ZEISS.format(key="AP_PIXEL_SIZE", name="Pixel Size", size="1,25 µm"),
         (1.25, 1.25), ""),
        (34118, ZEISS.format(key="AP_PIXEL_SIZE", name="Pixel Size", size="3 parsnips"), None,
         "3 parsnips, which is no known length"),
    ],
)  # fmt: skip
def test_tags_of_microscopes(
    tmp_path: Path, tag: int, text: str, sizes: tuple[float, float] | None, told: str
) -> None:
    path = tmp_path / "a.tif"
    data = text.encode("cp1252")
    tifffile.imwrite(path, IMAGE, extratags=[(tag, "s", len(data) + 1, data, True)], metadata=None)
    image = read_image(path)
    assert image.pixel_size == (None if sizes is None else pytest.approx(sizes))
    assert told in image.remark
    assert bool(told) == bool(image.remark)


@pytest.mark.parametrize(("state", "size"), [("on", (0.65, 0.65)), ("off", None)])
def test_metamorph(tmp_path: Path, state: str, size: tuple[float, float] | None) -> None:
    path = tmp_path / "a.tif"
    told = META.format(state=state)
    tifffile.imwrite(path, IMAGE, description=told, software="MetaSeries", metadata=None)
    assert read_image(path).pixel_size == size


@pytest.mark.parametrize("tag", [34680, 34682, 34118, 33560, 33471])
def test_damaged_tags_of_microscopes_do_not_hide_the_image(tmp_path: Path, tag: int) -> None:
    path = tmp_path / "a.tif"
    data = b"\x00\xff\x81 nonsense"
    tifffile.imwrite(path, IMAGE, extratags=[(tag, "B", len(data), data, True)], metadata=None)
    np.testing.assert_array_equal(np.asarray(read_image(path).array), IMAGE)


def test_the_metadata_of_olympus() -> None:
    sizes, _ = calibration.from_sis({"pixelsizex": 6.5e-8, "pixelsizey": 6.5e-8})
    assert sizes == pytest.approx({"Y": 0.065, "X": 0.065})


def test_svs_with_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, IMAGE, description="Aperio Image |AppMag = 20|MPP = 0,4990")
    assert read_image(path).pixel_size == pytest.approx((0.499, 0.499))


def test_zarr_units_in_doubt_are_told(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=(48, 64), dtype="uint8", chunks=(48, 64))
    axes = [{"name": name, "type": "space", "unit": "furlong"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes,
         "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]  # fmt: skip
    image = read_image(tmp_path / "a.zarr")
    assert image.calibration == {}
    assert "0.5 furlong, which is no known length" in image.remark
    assert read_info(tmp_path / "a.zarr").doubt == image.remark


# --- Writing --------------------------------------------------------------------------------------

EXTREME = [1e-36, 1e-30, 1.08e-7, 2.3e-6, 1e-5, 0.1, 1e3, 1e7, 1e30, 1e36]


@pytest.mark.parametrize("size", EXTREME)
def test_every_size_is_written_and_read_again(tmp_path: Path, size: float) -> None:
    path = write_labels(tmp_path / "a.ome.tif", IMAGE, "YX", (size, size / 3))
    assert read_image(path).pixel_size == pytest.approx((size, size / 3))
    with tifffile.TiffFile(path) as tiff:  # what readers see that do not know OME
        tags = tiff.pages[0].tags
        if tags["ResolutionUnit"].value == 3:
            top, bottom = tags["XResolution"].value
            assert 1e4 * bottom / top == pytest.approx(size / 3, rel=1e-3)
        else:
            assert size <= 1e-5 or size >= 1e7


@pytest.mark.parametrize("size", [0.0, -1.0, math.inf, math.nan, 1e-50, 1e300])
def test_what_is_no_size_is_not_written(tmp_path: Path, size: float) -> None:
    sizes = {"Z": size, "Y": size, "X": size}
    path = write_image(tmp_path / "a.ome.tif", IMAGE[None], "ZYX", sizes)
    image = read_image(path)
    assert (image.calibration, image.remark) == ({}, "")


@pytest.mark.parametrize(
    "given", [0.5, (0.5, 0.25), [0.5, 0.25], np.array([0.5, 0.25]), {"Y": 1, "X": 1}]
)
def test_sizes_may_be_given_in_any_form(tmp_path: Path, given: Any) -> None:
    path = write_labels(tmp_path / "a.ome.tif", IMAGE, "YX", given)
    assert read_image(path).pixel_size in ((0.5, 0.5), (0.5, 0.25), (1, 1))


# --- Runs -----------------------------------------------------------------------------------------


def by_pixel_size(model: Model, size: float | None = 0.5) -> Model:
    return Model(model.network, model.card.__class__(**{**vars(model.card), "pixel_size": size}))


@pytest.fixture
def model_file(tiny_model: Model, tmp_path: Path) -> str:
    (tmp_path / "models").mkdir()
    return str(save_model(tiny_model, tmp_path / "models" / "tiny.safetensors"))


@pytest.mark.parametrize("value", ["1e-30", "1.08e-7", "1e30", "inf", "nan", "0", "-1"])
def test_no_pixel_size_ends_a_run(
    tmp_path: Path, model_file: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = in_ome(tmp_path / "a.ome.tif", square(value))
    given = ["segment", str(path), "--model", model_file, "--device", "cpu"]
    save = ["--save", "table,geojson,rois,probabilities"]
    assert main([*given, "-o", str(tmp_path / "out"), *save]) == 0
    assert main([*given, "-o", str(tmp_path / "out.zarr"), "--save", "table"]) == 0
    assert "the size of a pixel along Y and X is stated as" in capsys.readouterr().err
    size = float(value) if 0 < float(value) < math.inf else None
    for result in ("out/a_labels.ome.tif", "out/a_probabilities.ome.tif", "out.zarr"):
        found = read_image(tmp_path / result).pixel_size
        assert found == (None if size is None else pytest.approx((size, size)))
    for table in ("out/a_table.csv", "out_table.csv"):
        rows = list(csv.DictReader((tmp_path / table).open(encoding="utf-8")))
        assert ("area_um2" in rows[0]) == (size is not None)
        if size is not None:
            assert float(rows[0]["area_um2"]) == pytest.approx(int(rows[0]["area"]) * size**2)


@pytest.mark.parametrize("size", [0, -1, math.nan, math.inf, 1e-300, 1e300, "wide", (1, 2, 3), ()])
@pytest.mark.parametrize("call", ["segment", "segment_to_zarr", "segment_files", "fine_tune"])
def test_what_is_no_pixel_size_is_refused_before_the_work(
    tmp_path: Path, tiny_model: Model, size: Any, call: str
) -> None:
    path = in_ome(tmp_path / "a.ome.tif", square("0.5"))
    given: dict[str, tuple[Any, ...]] = {
        "segment": (path, tiny_model, "cpu"),
        "segment_to_zarr": (path, tmp_path / "a.zarr", tiny_model, "cpu"),
        "segment_files": (path, tmp_path / "out", tiny_model, "cpu"),
        "fine_tune": (IMAGE, IMAGE % 3, tiny_model, "cpu"),
    }
    with pytest.raises(InputError, match=r"pixel_size is .*: give a length above 0"):
        getattr(api, call)(*given[call], pixel_size=size)
    assert {p.name for p in tmp_path.iterdir()} == {"a.ome.tif"}


@pytest.mark.parametrize("size", [0.5, np.float64(0.5), [0.5, 0.5], np.array([0.5]), (0.5, 0.5)])
def test_a_pixel_size_may_be_given_in_any_form(
    tmp_path: Path, tiny_model: Model, size: Any
) -> None:
    path = in_ome(tmp_path / "a.ome.tif", square("0.25"))
    result = api.segment_to_zarr(path, tmp_path / "a.zarr", tiny_model, "cpu", pixel_size=size)
    assert read_image(result.path).pixel_size == (0.5, 0.5)
    done = api.segment_files(path, tmp_path / "out", tiny_model, "cpu", pixel_size=size)
    assert done.failed == ()
    assert read_image(tmp_path / "out" / "a_labels.ome.tif").pixel_size == (0.5, 0.5)


UNKNOWN = r"works at 0\.5 µm a pixel, and the size of the image's pixels is not known"


@pytest.mark.parametrize(
    "call", ["segment", "segment_to_zarr", "segment_files", "evaluate", "fine_tune"]
)
def test_a_model_by_pixel_size_warns_of_an_image_without(
    tmp_path: Path, tiny_model: Model, call: str
) -> None:
    model = by_pixel_size(tiny_model)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE)
    calls: dict[str, Any] = {
        "segment": lambda **more: api.segment(path, model, "cpu", **more),
        "segment_to_zarr": lambda **more: api.segment_to_zarr(
            path, tmp_path / "a.zarr", model, "cpu", overwrite=True, **more
        ),
        "segment_files": lambda **more: api.segment_files(
            path, tmp_path / "out", model, "cpu", existing="replace", **more
        ),
        "evaluate": lambda **more: api.evaluate(IMAGE, IMAGE % 2, model, "cpu", **more),
        "fine_tune": lambda **more: api.fine_tune(
            np.stack([IMAGE] * 3), IMAGE // 86, model, "cpu", steps=1, axes="CYX",
            validation=0, **more,
        ),
    }  # fmt: skip
    with pytest.warns(UserWarning, match=UNKNOWN):
        calls[call]()
    said: list[Any] = []
    calls[call](pixel_size=0.5, on_event=said.append)
    assert not any("is not known" in getattr(event, "text", "") for event in said)


def test_the_command_line_warns_of_it_too(
    tmp_path: Path, tiny_model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(by_pixel_size(tiny_model), tmp_path / "tiny.safetensors")
    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    given = ["segment", str(tmp_path / "a.tif"), "--model", str(model), "--device", "cpu", "-q"]
    assert main([*given, "-o", str(tmp_path / "out")]) == 0
    assert "Warning: The model works at 0.5 µm a pixel" in capsys.readouterr().err
    assert main([*given, "-o", str(tmp_path / "again"), "--pixel-size", "0.5"]) == 0
    assert capsys.readouterr().err == ""


def test_a_model_with_a_diameter_or_without_a_scale_does_not(tiny_model: Model) -> None:
    image = np.stack([IMAGE] * 3)
    for change in ({}, {"pixel_size": 0.5, "diameter": 20.0}):
        card = tiny_model.card.__class__(**{**vars(tiny_model.card), **change})
        result = api.segment(image, Model(tiny_model.network, card), "cpu", axes="CYX")
        assert not any("µm" in text for text in result.messages)
