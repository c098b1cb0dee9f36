"""Several images in one file or array: positions, scenes, and axes of any other letter."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_sa2net as sa2net
from napari_sa2net.cli import main
from napari_sa2net.engine import tiff
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Message
from napari_sa2net.engine.files import read_image, read_numbers, write_labels
from napari_sa2net.engine.images import to_planes
from napari_sa2net.engine.model_files import save_model
from napari_sa2net.engine.positions import Part
from napari_sa2net.engine.training.reading import read_pairs

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 3, 2, 24, 32), dtype=np.uint8)
"""Over T, R, Z, Y and X."""

SOME = {"device": "cpu", "threshold": 0.7168, "min_size": 0}
"""With these the tiny model finds something, and not everything."""
SOME_ARGUMENTS = ["--device", "cpu", "--threshold", "0.7168", "--min-size", "0"]


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    path = tmp_path / "stage.tif"
    tifffile.imwrite(path, PIXELS, metadata={"axes": "TRZYX"})
    return path


@pytest.mark.parametrize("letter", list("RPAHELVMQI"))
def test_an_axis_of_any_letter_is_never_channels(tmp_path: Path, letter: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, metadata={"axes": f"T{letter}ZYX"})
    image = read_image(path)
    assert image.axes == "TZYX"
    np.testing.assert_array_equal(image.array, PIXELS[:, 0])
    assert f"a.tif holds 3 images along {letter}" in image.remark
    assert "--position 1" in image.remark
    second = read_image(path, position=1)
    np.testing.assert_array_equal(second.array, PIXELS[:, 1])
    assert not second.remark
    with pytest.raises(InputError, match=r"no position 3: a\.tif holds 3 images, numbered 0 to 2"):
        read_image(path, position=3)


def test_axes_that_are_asked_for_go_before_those_of_the_file(stage: Path) -> None:
    image = read_image(stage, axes="rtzyx", position=1)
    assert image.axes == "RTZYX"
    np.testing.assert_array_equal(image.array, PIXELS[1:2])
    assert read_image(stage, axes="TCZYX").array.shape == PIXELS.shape
    for axes, says in (("TZYX", "5 axes"), ("TTZYX", "once"), ("TRZY1", "letters")):
        with pytest.raises(InputError, match=says):
            read_image(stage, axes=axes)


@pytest.mark.parametrize("axes", [None, "CYXS", "ZYXS", "ZYXC"])
def test_colours_of_each_channel_are_pictures(tmp_path: Path, axes: str | None) -> None:
    path = tmp_path / "rgb.tif"
    pixels = np.random.default_rng(1).integers(0, 255, (4, 24, 32, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYXS"})
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "CYXS"
    image = read_image(path, axes=axes)
    assert (image.axes, image.rgb) == ("ZYXC", True)
    np.testing.assert_array_equal(image.array, pixels)
    assert bool(image.remark) == (axes in (None, "CYXS"))
    if axes is not None:
        planes = to_planes(pixels, axes)
        assert (planes.shape, planes.channels) == ((4, 24, 32), (0, 1, 2))


def test_planes_of_an_array_are_of_one_position() -> None:
    planes = to_planes(PIXELS, "TRZYX", position=2)
    assert planes.shape == (2, 2, 24, 32)
    np.testing.assert_array_equal(planes.values(3)[0], PIXELS[1, 2, 1])
    first = to_planes(PIXELS, "TRZYX")
    assert "3 images along R (position)" in first.remark
    np.testing.assert_array_equal(first.values(0)[0], PIXELS[0, 0, 0])
    two = to_planes(PIXELS, "RAZYX", position=4)  # the second of R, the second of three of A
    np.testing.assert_array_equal(two.values(1)[0], PIXELS[1, 1, 1])
    with pytest.raises(InputError, match="no position 6"):
        to_planes(PIXELS, "RAZYX", position=6)


def test_a_lazy_part_reads_only_what_is_asked_for() -> None:
    class Watched:
        shape, dtype = PIXELS.shape, PIXELS.dtype
        read: tuple[int, ...] = ()

        def __getitem__(self, key: Any) -> Any:
            self.read = PIXELS[key].shape
            return PIXELS[key]

    watched = Watched()
    part = Part(watched, (None, 1, None, None, None))
    assert part.shape == (2, 1, 2, 24, 32)
    np.testing.assert_array_equal(part[1, 0, 0, 2:5], PIXELS[1, 1, 0, 2:5])
    assert np.prod(watched.read) == 3 * 32
    np.testing.assert_array_equal(part[..., 0], PIXELS[:, 1:2, ..., 0])
    np.testing.assert_array_equal(np.asarray(part), PIXELS[:, 1:2])


def test_scenes_of_an_ome_tiff_are_positions(tmp_path: Path) -> None:
    path = tmp_path / "scenes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(3):
            file.write(PIXELS[0, number, :, : 24 - number], metadata={"axes": "ZYX"})
    assert "scenes.ome.tif holds 3 images, of which the first" in read_image(path).remark
    for number in range(3):
        found = read_image(path, position=number)
        np.testing.assert_array_equal(found.array, PIXELS[0, number, :, : 24 - number])


def test_a_thumbnail_is_no_position(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(PIXELS[0, 0, 0])
        file.write(PIXELS[0, 0, 0, ::4, ::4], subfiletype=1)
    assert not read_image(path).remark
    with pytest.raises(InputError, match=r"a\.tif holds 1 image, number 0"):
        read_image(path, position=1)


def test_a_compressed_position_is_read_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr", minversion="3.0")
    monkeypatch.setattr(tiff, "LARGE", 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, metadata={"axes": "TRZYX"}, compression="zlib")
    image = read_image(path, position=2)
    assert not isinstance(image.array, np.ndarray)
    planes = to_planes(image.array, image.axes)
    np.testing.assert_array_equal(planes.values(2)[0], PIXELS[1, 2, 0])


def test_the_mask_of_a_position(tmp_path: Path) -> None:
    labels = (PIXELS > 100).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", labels, metadata={"axes": "TRZYX"})
    found = read_numbers(tmp_path / "m.tif", 1)
    assert found.axes == "TZYX"
    np.testing.assert_array_equal(found.array, labels[:, 1])
    write_labels(tmp_path / "one.tif", labels[:, 1], "TZYX")  # the mask of one is that of any
    np.testing.assert_array_equal(read_numbers(tmp_path / "one.tif", 1).array, labels[:, 1])
    tifffile.imwrite(tmp_path / "i.tif", PIXELS, metadata={"axes": "TRZYX"})
    (pair,), remarks = read_pairs(tmp_path / "i.tif", tmp_path / "m.tif", "mask", position=1)
    np.testing.assert_array_equal(pair.image, PIXELS[:, 1])
    np.testing.assert_array_equal(pair.annotation.labels, labels[:, 1])
    assert not remarks
    _, remarks = read_pairs(tmp_path / "i.tif", tmp_path / "m.tif", "mask")
    assert "3 images along R" in remarks[0]
    (pair,), _ = read_pairs(PIXELS, labels[:, 2], "mask", axes="TRZYX", position=2)
    np.testing.assert_array_equal(np.squeeze(pair.image), PIXELS[:, 2])


@pytest.mark.parametrize("given", ["path", "array", "file"])
def test_a_position_is_segmented_and_measured(stage: Path, tiny_model: Any, given: str) -> None:
    options = {"channels": (0,), **SOME}
    image = {"path": stage, "array": PIXELS, "file": read_image(stage)}[given]
    more = {"axes": "TRZYX"} if given == "array" else {}
    alone = sa2net.segment(PIXELS[:, 1], tiny_model, axes="TZYX", **options)
    found = sa2net.segment(image, tiny_model, position=1, **more, **options)
    assert found.axes == "TZYX"
    np.testing.assert_array_equal(found.probabilities, alone.probabilities)
    assert sa2net.measure(found, image).keys() == sa2net.measure(alone, PIXELS[:, 1]).keys()
    assert 0 < (alone.labels > 0).mean() < 1
    for column, values in sa2net.measure(alone, PIXELS[:, 1]).items():
        np.testing.assert_array_equal(sa2net.measure(found, image)[column], values)
    for wrong in (3, -1, "all", 1.5):
        with pytest.raises(InputError, match="position"):
            sa2net.segment(image, tiny_model, position=wrong, **more, **options)


def test_the_first_of_an_array_is_told(tiny_model: Any) -> None:
    events: list[Any] = []
    sa2net.segment(PIXELS[0, :, 0], tiny_model, device="cpu", axes="RYX", on_event=events.append)
    told = [e for e in events if isinstance(e, Message) and e.warning]
    assert any("3 images along R (position)" in message.text for message in told)
    with pytest.raises(InputError, match="no position 1: the image holds 1 image"):
        sa2net.segment(PIXELS[0, 0, 0], tiny_model, device="cpu", position=1)


def _segment(path: Path, tmp_path: Path, *more: str) -> int:
    model = str(tmp_path / "tiny.safetensors")
    return main(["segment", str(path), "-o", str(tmp_path / "out"), "-q", *SOME_ARGUMENTS,
                 "--model", model, "--channels", "0", *more])  # fmt: skip


def test_positions_on_the_command_line(
    stage: Path, tmp_path: Path, tiny_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tiny_model, tmp_path / "tiny.safetensors")
    out = tmp_path / "out"
    assert _segment(stage, tmp_path) == 0
    assert "Warning: stage.tif holds 3 images along R (position)" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["stage_labels.ome.tif"]
    assert _segment(stage, tmp_path, "--position", "2", "--save", "table") == 0
    assert not capsys.readouterr().err
    assert _segment(stage, tmp_path, "--position", "all", "--resume", "--save", "table") == 0
    made = sorted(path.name for path in out.glob("*labels*"))
    assert made == ["stage_labels.ome.tif", *(f"stage_p{n}_labels.ome.tif" for n in range(3))]
    for number in range(3):
        image = read_image(stage, position=number)
        alone = sa2net.segment(image, tiny_model, channels=(0,), **SOME)
        found = read_image(out / f"stage_p{number}_labels.ome.tif")
        assert found.axes == "TZYX"
        np.testing.assert_array_equal(found.array, alone.labels)
        with (out / f"stage_p{number}_table.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == alone.labels.max()
    assert _segment(stage, tmp_path, "--position", "7") == 1
    assert "no position 7" in capsys.readouterr().err


def test_axes_and_positions_when_evaluating(
    stage: Path, tmp_path: Path, tiny_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tiny_model, tmp_path / "tiny.safetensors")
    image = read_image(stage, position=1)
    labels = sa2net.segment(image, tiny_model, channels=(0,), **SOME).labels
    mask = write_labels(tmp_path / "mask.tif", labels, "TZYX")
    report = tmp_path / "report.json"
    arguments = ["evaluate", str(stage), str(mask), *SOME_ARGUMENTS, "--json", str(report),
                 "--model", str(tmp_path / "tiny.safetensors"), "--channels", "0"]  # fmt: skip
    assert main([*arguments, "--axes", "TRZYX", "--position", "1"]) == 0
    assert json.loads(report.read_text())["images"][0]["dice"] == 1
    assert main([*arguments, "--position", "0"]) == 0
    assert json.loads(report.read_text())["images"][0]["dice"] < 1
    capsys.readouterr()
    assert main(arguments) == 0
    assert "3 images along R" in capsys.readouterr().err


def test_a_position_block_by_block(stage: Path, tmp_path: Path, tiny_model: Any) -> None:
    pytest.importorskip("zarr", minversion="3.0")
    save_model(tiny_model, tmp_path / "tiny.safetensors")
    output = tmp_path / "cells.ome.zarr"
    model = str(tmp_path / "tiny.safetensors")
    arguments = ["segment", str(stage), "-o", str(output), "--device", "cpu", "--model", model,
                 "--channels", "0", "-q"]  # fmt: skip
    assert main([*arguments, "--position", "1", "--save", "table"]) == 0
    found = read_image(output)
    assert (found.axes, found.array.shape) == ("TZYX", (2, 2, 24, 32))
    assert main([*arguments, "--position", "2", "--resume"]) == 1  # of another image
    assert main([*arguments, "--position", "all"]) == 2
