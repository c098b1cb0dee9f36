"""``sa2net segment IMAGE -o NAME.zarr``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sa2net import segment_to_zarr
from napari_sa2net.cli import main
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.files import read_image, write_image
from napari_sa2net.engine.weights import save_model

pytest.importorskip("zarr", minversion="3.0")

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def model_file(tiny_model: Any, tmp_path: Path) -> str:
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model, path)
    return str(path)


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    return write_image(tmp_path / "big.ome.tif", IMAGE, "YXC", {"Y": 0.5, "X": 0.5})


def segment(image: Path, out: Path, model: str, *more: str) -> int:
    return main(["segment", str(image), "-o", str(out), "--model", model, "--device", "cpu", *more])


def test_an_image_becomes_a_pyramid_with_the_labels_of_the_other_way(
    image_file: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.ome.zarr"
    assert segment(image_file, out, model_file, "--min-size", "3", "--threshold", "0.4") == 0
    told = capsys.readouterr()
    assert f"{image_file} -> {out} (" in told.out
    result = read_image(out)
    assert (result.axes, result.calibration) == ("YX", {"Y": 0.5, "X": 0.5})
    assert segment(image_file, tmp_path / "dir", model_file, "--min-size", "3", "--threshold",
                   "0.4") == 0  # fmt: skip
    labels = tifffile.imread(tmp_path / "dir" / "big_labels.ome.tif")
    np.testing.assert_array_equal(result.array[:] > 0, labels > 0)


def test_a_region_is_the_same_either_way(
    image_file: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    region = ("--region", "10,5,37,41", "--threshold", "0.4")
    assert segment(image_file, tmp_path / "out.zarr", model_file, *region) == 0
    assert segment(image_file, tmp_path / "dir", model_file, *region, "--save", "table") == 0
    labels = tifffile.imread(tmp_path / "dir" / "big_labels.ome.tif")
    assert labels.shape == (27, 36)
    found = read_image(tmp_path / "out.zarr").array[:]
    np.testing.assert_array_equal(found > 0, labels > 0)
    capsys.readouterr()
    assert segment(image_file, tmp_path / "no", model_file, "--region", "0,0,5000,5") == 1
    assert "does not lie in the image" in capsys.readouterr().err


def test_measurements_are_written_beside_the_result(
    image_file: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = ("--threshold", "0.4", "--save", "table,geojson")
    out, region = tmp_path / "out.ome.zarr", ("--region", "10,5,37,41")
    assert segment(image_file, out, model_file, *save, *region) == 0
    assert "), out_outlines.geojson, out_table.csv\n" in capsys.readouterr().out
    assert segment(image_file, tmp_path / "dir", model_file, *save, *region) == 0
    header, *rows = (tmp_path / "out_table.csv").read_text().splitlines()
    expected = (tmp_path / "dir" / "big_table.csv").read_text().splitlines()
    assert header == expected[0]
    assert "intensity_mean_2" in header
    assert len(rows) == len(expected) - 1 > 0
    column = header.split(",").index("bbox_y0_px")
    starts = [[int(row.split(",")[column]) for row in table] for table in (rows, expected[1:])]
    assert sorted(starts[0]) == sorted(starts[1])
    assert min(starts[0]) >= 10
    assert segment(image_file, out, model_file, *save, *region, "--resume") == 0
    assert "complete already" in capsys.readouterr().err


def test_what_exists_is_gone_on_with_or_replaced_only_if_asked(
    image_file: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zarr"
    assert segment(image_file, out, model_file, "-q") == 0
    assert capsys.readouterr().out == ""
    assert segment(image_file, out, model_file) == 1
    assert "--resume" in capsys.readouterr().err
    assert segment(image_file, out, model_file, "--resume") == 0
    assert "complete already" in capsys.readouterr().err
    assert segment(image_file, out, model_file, "--resume", "--skip-empty") == 1
    assert "skip_empty" in capsys.readouterr().err
    assert segment(image_file, out, model_file, "--overwrite", "--skip-empty") == 0
    assert "tiles have nothing in them" in capsys.readouterr().err


def test_a_run_that_is_stopped_tells_how_to_go_on(
    image_file: Path,
    model_file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sa2net.api.segment_to_zarr", stop)
    assert segment(image_file, tmp_path / "out.zarr", model_file) == 130
    assert "what is done is kept: go on with --resume" in capsys.readouterr().err


def test_a_dry_run_tells_and_writes_nothing(
    image_file: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zarr"
    assert segment(image_file, out, model_file, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "1 blocks and 1 tiles" in told
    assert "of disk" in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("out", "more"),
    [
        ("folder", ["--dry-run"]),
        ("folder", ["--skip-empty"]),
        ("out.zarr", ["--save", "table,probabilities"]),
        ("out.zarr", ["--link", "z"]),
    ],
)
def test_wrong_usage(
    image_file: Path,
    model_file: str,
    tmp_path: Path,
    out: str,
    more: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert segment(image_file, tmp_path / out, model_file, *more) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / out).exists()


def test_a_result_is_of_one_image(
    image_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_image(tmp_path / "other.ome.tif", IMAGE, "YXC")
    assert main(["segment", str(image_file), str(other), "-o", str(tmp_path / "out.zarr")]) == 2
    assert "2 were given: give a folder" in capsys.readouterr().err


def test_the_image_is_never_replaced(tmp_path: Path, tiny_model: Any) -> None:
    import zarr

    path = tmp_path / "image.zarr"
    zarr.create_array(str(path), data=IMAGE)
    for output in (path, path / "labels.zarr", tmp_path):
        with pytest.raises(InputError, match="replace the image"):
            segment_to_zarr(path, output, tiny_model, overwrite=True)
    result = segment_to_zarr(path, tmp_path / "out.zarr", tiny_model, device="cpu")
    assert result.labels.shape == (40, 50)
