from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sa2net.cli import doctor, main
from napari_sa2net.cli.remedies import remedy
from napari_sa2net.engine import files
from napari_sa2net.engine.batch import files as batch_files
from napari_sa2net.engine.batch.names import output_names
from napari_sa2net.engine.events import Evaluated, Event, StepDone
from napari_sa2net.engine.files import read_image, write_image
from napari_sa2net.engine.training import recipes
from napari_sa2net.engine.weights import save_model

SOURCE = Path(__file__).resolve().parents[1] / "src"
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)


@pytest.fixture
def model_file(tiny_model: Any, tmp_path: Path) -> str:
    path = tmp_path / "models" / "tiny.safetensors"
    path.parent.mkdir()
    save_model(tiny_model, path)
    return str(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(IMAGE).save(folder / "a.png")
    Image.fromarray(IMAGE[:, ::-1]).save(folder / "b.png")
    return folder


def segment(*arguments: object, model: str, out: Path) -> int:
    return main(["segment", *map(str, arguments), "-o", str(out), "--model", model,
                 "--device", "cpu"])  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- The program ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "segment", "models", "train", "evaluate", "doctor"])
def test_help_loads_nothing_heavy(command: str) -> None:
    arguments = [*command.split(), "--help"]
    code = (
        f"import sys; from napari_sa2net.cli import main\ntry: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print('LOADED', *(set(sys.modules) & {'torch', 'napari', 'qtpy', 'PyQt6', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "usage: sa2net" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_sa2net", "--version"],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.stdout.startswith("sa2net ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["segment", "a.png"],
        ["segment", "a.png", "-o", "out", "--axes", "YX1"],
        ["segment", "a.png", "-o", "out", "--position", "first"],
        ["segment", "a.png", "-o", "out", "--channels", "red"],
        ["segment", "a.png", "-o", "out", "--threshold", "2"],
        ["segment", "a.png", "-o", "out", "--min-size", "-1"],
        ["segment", "a.png", "-o", "out", "--diameter", "0"],
        ["segment", "a.png", "-o", "out", "--save", "everything"],
        ["segment", "a.png", "-o", "out", "--resume", "--overwrite"],
        ["segment", "a.png", "-o", "out", "--region", "0,0,10"],
        ["segment", "a.png", "-o", "out", "--region", "10,0,5,20"],
        ["evaluate", "a.png"],
        ["train", "a", "b", "--class", "axon:orange"],
        ["train", "a", "b", "--class", ":#000000"],
        ["train", "a", "b", "--minutes", "0"],
        ["train", "a", "b", "--minutes", "1", "--steps", "9"],
        ["train", "a", "b", "--mask", "--strokes"],
        ["models", "rename", "a"],
        ["models", "delete"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_errors_are_one_line_unless_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "typo"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no model 'typo'" in error
    assert main(["models", "info", "typo", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


# --- segment -------------------------------------------------------------------------------------


def test_a_folder_of_pictures(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    assert segment(pictures, model=model_file, out=out) == 0
    assert names(out) == ["a_labels.ome.tif", "b_labels.ome.tif"]
    result = read_image(out / "a_labels.ome.tif")
    assert result.axes == "YX"
    assert result.array.shape == IMAGE.shape
    told = capsys.readouterr()
    assert "a_labels.ome.tif" in told.out
    assert told.err.count("Running on") == 1


def test_axes_pixel_size_and_maps_are_kept(model_file: str, tmp_path: Path) -> None:
    stack = np.random.default_rng(1).integers(0, 999, (2, 3, 40, 50)).astype(np.uint16)
    sizes = {"Z": 2.0, "Y": 0.25, "X": 0.25}
    path = write_image(tmp_path / "s.ome.tif", stack, "TZYX", sizes)
    out = tmp_path / "out"
    saved = "stages,probabilities,attention,disagreement,table"
    assert segment(path, "--save", saved, model=model_file, out=out) == 0
    shapes = {"labels": (), "stages": (4,), "probabilities": (3,), "attention": (4,),
              "disagreement": ()}  # fmt: skip
    for kind, first in shapes.items():
        image = read_image(out / f"s_{kind}.ome.tif")
        assert image.array.shape == (*first, 2, 3, 40, 50)
        assert image.axes == "C" * len(first) + "TZYX"
        assert image.calibration == sizes
    total = np.asarray(read_image(out / "s_probabilities.ome.tif").array).sum(axis=0)
    assert np.allclose(total, 1, atol=2e-3)
    with (out / "s_table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = np.asarray(read_image(out / "s_labels.ome.tif").array)
    assert [int(row["index"]) for row in rows] == [int(n) for n in np.unique(labels) if n]
    assert sum(int(float(row["area"])) for row in rows) == np.count_nonzero(labels)


def test_options_reach_the_engine(model_file: str, tmp_path: Path) -> None:
    stack = np.stack([IMAGE, IMAGE, IMAGE, IMAGE])
    tifffile.imwrite(tmp_path / "s.tif", stack)
    out = tmp_path / "out"
    code = segment(tmp_path / "s.tif", "--axes", "cyx", "--channels", "2,1,0", "--result",
                   "classes", "--pixel-size", "0.5", "--threshold", "0.2", "--min-size", "0",
                   "--no-split", "--diameter", "20", "--link", "none", "--flips",
                   model=model_file, out=out)  # fmt: skip
    assert code == 0
    image = read_image(out / "s_labels.ome.tif")
    assert image.array.shape == IMAGE.shape
    assert image.array.max() <= 2
    assert image.pixel_size == (0.5, 0.5)


def test_a_failing_file_does_not_stop_the_others(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "aa.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert segment(pictures, tmp_path / "missing.tif", model=model_file, out=out) == 1
    assert names(out) == ["a_labels.ome.tif", "b_labels.ome.tif"]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sa2net:")]
    assert "aa.png" in lines[0]
    assert "missing.tif" in lines[1]
    assert lines[2] == "sa2net: 2 failed, 2 of 4 done"


def test_a_bug_in_a_file_does_not_stop_the_others_either(
    pictures: Path, model_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail_once(path: Path, **asked: Any) -> Any:
        if path.name == "a.png":
            raise ZeroDivisionError("surprise")
        return read_image(path, **asked)

    monkeypatch.setattr(batch_files, "read_image", fail_once)
    assert segment(pictures, model=model_file, out=tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["b_labels.ome.tif"]
    error = capsys.readouterr().err
    assert "ZeroDivisionError: surprise" in error
    assert "Traceback" not in error


def test_results_are_replaced_only_on_request(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_labels.ome.tif").write_text("mine")
    assert segment(pictures, model=model_file, out=out) == 1
    assert (out / "a_labels.ome.tif").read_text() == "mine"
    assert (out / "b_labels.ome.tif").exists()
    assert "--overwrite" in capsys.readouterr().err
    assert segment(pictures, "--overwrite", model=model_file, out=out) == 0
    assert read_image(out / "a_labels.ome.tif").array.shape == IMAGE.shape


def test_what_is_done_is_skipped(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert segment(pictures, "--save", "table,geojson", model=model_file, out=out) == 0
    kinds = ("labels.ome.tif", "outlines.geojson", "table.csv")
    assert names(out) == [f"{name}_{kind}" for name in "ab" for kind in kinds]
    (out / "b_labels.ome.tif").unlink()
    capsys.readouterr()
    assert segment(pictures, "--save", "table", "--resume", model=model_file, out=out) == 0
    told = capsys.readouterr().out.splitlines()
    assert "(done before)" in told[0]
    assert "b_labels.ome.tif" in told[1]
    assert told[2] == "sa2net: 1 done before, 1 of 2 done"
    options = ("--resume", "--threshold", "0.3")
    assert segment(pictures, *options, model=model_file, out=out) == 1
    assert "threshold" in capsys.readouterr().err


def test_the_folder_of_the_images_can_be_the_output(pictures: Path, model_file: str) -> None:
    assert segment(pictures, model=model_file, out=pictures) == 0
    # The second time the results of the first are not taken for images.
    assert segment(pictures, "--overwrite", model=model_file, out=pictures) == 0
    assert names(pictures) == ["a.png", "a_labels.ome.tif", "b.png", "b_labels.ome.tif"]


def test_a_failed_write_leaves_nothing(
    pictures: Path, model_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, *_: object, **__: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tifffile, "imwrite", full)
    out = tmp_path / "out"
    assert segment(pictures, model=model_file, out=out) == 1
    assert names(out) == []


def test_a_folder_that_cannot_be_made_fails_before_the_work(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert segment(pictures, model=model_file, out=tmp_path / "file" / "out") == 1
    told = capsys.readouterr()
    assert "cannot be written" in told.err
    assert "Running on" not in told.err


def test_classes_cannot_be_linked(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--link", "z", "--result", "classes")
    assert segment(pictures, *options, model=model_file, out=tmp_path / "out") == 2
    assert "--result instances" in capsys.readouterr().err


def test_images_of_one_name_do_not_meet(tmp_path: Path, model_file: str) -> None:
    for folder, shape in (("one", (20, 20)), ("two", (24, 24))):
        (tmp_path / folder).mkdir()
        for ending in ("png", "tif"):
            Image.fromarray(IMAGE[: shape[0], : shape[1]]).save(tmp_path / folder / f"x.{ending}")
    out = tmp_path / "out"
    assert segment(tmp_path / "one", tmp_path / "two", model=model_file, out=out) == 0
    assert names(out) == [f"{folder}_x_{ending}_labels.ome.tif"
                          for folder in ("one", "two") for ending in ("png", "tif")]  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["a/x.png", "a/x.ome.tif"], ["x_png", "x_ome_tif"]),
        (["a/x.png", "b/X.png"], ["a_x", "b_X"]),
        (["a/b/x.png", "c/b/x.png"], ["b_x_png", "b_x_png_2"]),
        (["a/x.png", "b/x.png", "c/a_x.png"], ["a_x", "b_x", "a_x_2"]),
    ],
)
def test_output_names(paths: list[str], expected: list[str]) -> None:
    found = output_names([Path(path) for path in paths])
    assert found == expected


def test_an_output_that_is_a_file(
    pictures: Path, model_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(pictures, model=model_file, out=pictures / "a.png") == 2
    assert "is a file" in capsys.readouterr().err


def test_ome_zarr(model_file: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3.0")
    group = zarr.open_group(tmp_path / "z.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.stack([IMAGE, IMAGE]))
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    axes = [{"name": "t", "type": "time"},
            *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]  # fmt: skip
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    assert segment(tmp_path / "z.ome.zarr", model=model_file, out=tmp_path / "out") == 0
    image = read_image(tmp_path / "out" / "z_labels.ome.tif")
    assert (image.axes, image.pixel_size) == ("TYX", (0.5, 0.5))


def test_the_default_model_on_a_real_image(real_image: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(real_image).save(tmp_path / "r.png")
    assert main(["segment", str(tmp_path / "r.png"), "-o", str(tmp_path), "--device", "cpu"]) == 0
    labels = read_image(tmp_path / "r_labels.ome.tif").array
    assert labels.shape == real_image.shape
    assert labels.max() > 5


# --- models --------------------------------------------------------------------------------------


def test_models_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "nuclei" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert "nuclei" in [entry["name"] for entry in entries]
    assert main(["models", "info", "nuclei"]) == 0
    told = capsys.readouterr().out
    assert "boundary" in told
    assert "CC0" in told
    assert re.search(r"^status: +bundled", told, re.M)
    assert re.search(r"^minimum size: +\d+ pixels at the model's scale$", told, re.M)


def test_an_imported_model_can_be_used(
    model_file: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "import", model_file, "--name", "mine"]) == 0
    assert main(["models", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert segment(pictures / "a.png", model="mine", out=tmp_path / "out") == 0
    assert main(["models", "info", "mine", "--json"]) == 0


def test_the_authors_checkpoint_can_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parent / "fixtures" / "official_checkpoints"
    file = min([*folder.rglob("*.pth"), *folder.rglob("*.pt")])
    assert main(["models", "import", str(file), "--name", "theirs"]) == 0
    assert main(["models", "info", "theirs"]) == 0
    assert "theirs" in capsys.readouterr().out


def test_a_bad_file_is_not_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    assert main(["models", "import", str(tmp_path / "bad.safetensors")]) == 1
    assert capsys.readouterr().err.startswith("sa2net: ")


def test_downloading_what_is_here_or_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "typo", "nuclei"]) == 1
    told = capsys.readouterr()
    assert "typo" in told.err
    assert "nuclei is here already" in told.out


def test_own_models_are_renamed_exported_and_deleted(
    model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert main(["models", "import", model_file]) == 0
    assert main(["models", "rename", "tiny", "my axons"]) == 0
    assert "my-axons" in capsys.readouterr().out
    export = ["models", "export", "my-axons", "-o", str(tmp_path)]
    assert main(export) == 0
    assert main(["models", "info", str(tmp_path / "my-axons.safetensors")]) == 0
    assert "my-axons" in capsys.readouterr().out
    assert main(export) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*export, "--overwrite"]) == 0
    assert main(["models", "delete", "my-axons"]) == 2  # nobody can answer
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert main(["models", "delete", "my-axons"]) == 0
    assert main(["models", "delete", "typo", "nuclei", "my-axons", "--yes"]) == 1
    told = capsys.readouterr()
    assert "no model 'typo'" in told.err
    assert "'nuclei' is a released one" in told.err
    assert told.out == "my-axons is deleted\n"


def test_models_are_joined_and_used_as_one(
    model_file: str, twin_model: Any, pictures: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = str(save_model(twin_model, tmp_path / "other"))
    join = ["models", "join", model_file, other, "--name", "both"]
    assert main(join) == 0
    assert "both is made of 2 models" in capsys.readouterr().out
    assert main(["models", "info", "both"]) == 0
    told = capsys.readouterr().out
    assert "2 of them" in told
    assert re.search(r"mean of: +tiny [0-9a-f]{12}…, other [0-9a-f]{12}…", told)
    assert segment(pictures / "a.png", model="both", out=tmp_path / "out") == 0
    capsys.readouterr()
    assert main(join) == 1
    assert "called 'both' already" in capsys.readouterr().err
    assert main(["models", "join", model_file, "nuclei", "--name", "odd"]) == 1
    assert "'tiny' and 'nuclei' cannot be joined, because they differ" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["models", "join", model_file, other])


# --- train ---------------------------------------------------------------------------------------


def test_train(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given: list[object] = []

    def fake(*arguments: object) -> Generator[Event, None, Any]:
        given.extend(arguments)
        yield StepDone(1, 1, 0.5, 0.1, 0.0)
        yield Evaluated(1, {"Dice": 0.75})
        return tiny_model

    monkeypatch.setattr(recipes, "train", fake, raising=False)
    out = tmp_path / "new" / "m.safetensors"
    command = ["train", "--recipe", "r.toml", "--data", str(tmp_path), "-o", str(out),
               "--device", "cpu", "--resume", "state.pt", "--fold", "b"]  # fmt: skip
    assert main(command) == 0
    assert list(map(str, given)) == ["r.toml", str(tmp_path), "cpu", "state.pt", "b"]
    assert names(out.parent) == ["m.safetensors"]
    assert "Dice 0.750" in capsys.readouterr().err
    assert main(command) == 2  # it exists now
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_a_recipe_makes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, array in (("images", IMAGE), ("masks", (IMAGE > 200).astype(np.uint16))):
        (tmp_path / "set" / kind).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "set" / kind / "a.png")
    (tmp_path / "mini.toml").write_text(
        '[[datasets]]\nfolder = "set"\n[training]\nsteps = 2\nbatch = 1\ncrop = 32\n'
        "checkpoint_every = 1\n[augmentation]\n"
        '[card]\nname = "mini"\nbase_channels = 4\nin_channels = 3\nnum_classes = 3\n'
    )
    monkeypatch.chdir(tmp_path)
    command = ["train", "--recipe", "mini.toml", "--data", ".", "--device", "cpu",
               "--resume", "states/s.pt"]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    assert main(["models", "info", "mini.safetensors"]) == 0
    assert "mini" in capsys.readouterr().out
    assert main([*command, "--overwrite"]) == 0
    assert "Going on at step 2 of 2" in capsys.readouterr().err


def test_train_refuses_before_it_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data, out in ((tmp_path / "none", "m.safetensors"), (tmp_path, "m.pth")):
        command = ["train", "--recipe", "r", "--data", str(data), "-o", str(tmp_path / out)]
        assert main(command) == 2
    missing = ["train", "--recipe", str(tmp_path / "no.toml"), "--data", str(tmp_path), "-o",
               str(tmp_path / "m.safetensors")]  # fmt: skip
    assert main(missing) == 1
    assert "recipe" in capsys.readouterr().err
    assert names(tmp_path) == []


# --- evaluate ------------------------------------------------------------------------------------


def test_evaluate_own_results(
    pictures: Path, model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, masks = tmp_path / "out", tmp_path / "masks"
    assert segment(pictures, model=model_file, out=out) == 0
    masks.mkdir()
    for name in ("a", "b"):
        (out / f"{name}_labels.ome.tif").rename(masks / f"{name}.ome.tif")
    capsys.readouterr()
    command = ["evaluate", str(pictures), str(masks), "--model", model_file, "--device", "cpu",
               "--json", str(tmp_path / "e.json")]  # fmt: skip
    assert main(command) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["image", "Dice", "IoU"]
    assert table[-1].split() == ["mean", "of", "2", "1.000", "1.000", "1.000"]
    content = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert content["means"] == {"dice": 1.0, "iou": 1.0, "average_precision": 1.0}
    assert content["model"] == "tiny"

    (tmp_path / "names.txt").write_text("# one\nb\n")
    assert main([*command, "--names", str(tmp_path / "names.txt")]) == 0
    assert "mean of 1" in capsys.readouterr().out
    (pictures / "b.png").write_bytes(b"")
    assert main(command) == 1
    assert "failed: b" in capsys.readouterr().out
    assert main([*command, "--iou", "1.5"]) == 2


# --- export --------------------------------------------------------------------------------------


def test_export_tells_how_far_it_agrees(
    model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    target = tmp_path / "out" / "tiny.onnx"
    assert main(["export", model_file, "-o", str(target)]) == 0
    told = capsys.readouterr().out
    assert told.count("differs from PyTorch by") == 3
    assert "2 × 3 × 32 × 32" in told
    assert target.is_file()
    assert main(["export", model_file, "-o", str(target)]) == 1
    assert "exists already" in capsys.readouterr().err


# --- doctor --------------------------------------------------------------------------------------


def run_doctor(*arguments: str, path: Path = SOURCE, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "napari_sa2net", "doctor", *arguments],
        capture_output=True, text=True, check=False, timeout=250, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{SOURCE}",
             "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_doctor_tells_versions_devices_and_folders() -> None:
    done = run_doctor("--json")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    for name in ("Python", "torch", "napari", "numpy", "torch works", "devices"):
        assert found[name]["state"] == "ok"
    assert "cpu" in found["devices"]["text"]
    for name in ("cache folder", "models folder", "trainings folder", "paintings folder"):
        assert "(made when needed)" in found[name]["text"]
        assert "GB free, writable" in found[name]["text"]
    wrong = [check for check in found.values() if check["state"] == "wrong"]
    assert done.returncode == bool(wrong)
    assert all(check["mend"] for check in wrong)


def test_doctor_works_where_torch_and_qt_fail(tmp_path: Path) -> None:
    torch = "OSError('[WinError 1114] A dynamic link library failed. Error loading c10.dll')"
    qt = "ImportError('libEGL.so.1: cannot open shared object file')"
    for module, error in (("torch", torch), ("qtpy", qt)):
        (tmp_path / f"{module}.py").write_text(f"raise {error}\n")
    done = run_doctor(path=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    wrong = done.stdout.partition("What is wrong, and how to mend it:")[2]
    assert "WinError 1114" in wrong
    assert "vc_redist" in wrong
    assert "apt-get install" in wrong
    assert "napari works:" in done.stdout
    assert "GB free, writable" in done.stdout


@pytest.mark.parametrize(
    ("what", "error", "advice"),
    [
        ("torch", "ImportError: libcudart.so.12: cannot open shared object", "CPU version"),
        ("torch", "ModuleNotFoundError: No module named 'torch'", "pip install torch"),
        ("torch", "OSError: [WinError 1114] Error loading c10.dll", "vc_redist"),
        ("torch", "OSError: [WinError 1114] Error loading c10.dll", "pip install torch==2.8"),
        ("Qt", "qtpy.QtBindingsNotFoundError: No Qt bindings could be found", "[all]"),
        ("Qt", 'qt.qpa.plugin: Could not load the Qt platform plugin "xcb"', "apt-get install"),
        ("napari", "ModuleNotFoundError: No module named 'vispy'", "package is missing"),
        ("napari", "RuntimeError: broken", "fresh environment"),
    ],
)
def test_remedy_fits_the_error(what: str, error: str, advice: str) -> None:
    text, mend = remedy(what, 1, f"Traceback (most recent call last):\n  File …\n{error}\n")
    assert error.partition(": ")[2] in text
    assert advice in mend


def test_there_is_always_a_remedy() -> None:
    assert "crashed (SIGSEGV)" in remedy("torch", -11, "")[0]
    for what in ("torch", "napari", "Qt", "napari_sa2net"):
        assert all(remedy(what, 1, "something never seen"))


def test_a_crash_on_windows_is_told_as_one() -> None:
    text, mend = remedy("torch", 0xC000001D, "")
    assert "crashed (0xC000001D)" in text
    assert "processor lacks instructions" in mend
    assert "crashed (0xC0000005): last words" in remedy("Qt", 0xC0000005, "last words")[0]
    assert "crashed" not in remedy("torch", 1, "")[0]


def test_json_can_be_redirected_whatever_the_encoding(
    model_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows redirects in the encoding of the system, and JSON is read as UTF-8."""
    assert main(["models", "import", model_file, "--name", "Zellen-größer"]) == 0
    check = doctor.Check("folder", "ok", "C:/Zoë")
    monkeypatch.setattr(doctor, "checks", lambda: iter([check]))
    for command, text in (
        (["models", "list"], "Zellen-größer"),
        (["models", "info", "Zellen-größer"], "Zellen-größer"),
        (["doctor"], "C:/Zoë"),
    ):
        capsys.readouterr()
        assert main([*command, "--json"]) == 0
        told = capsys.readouterr().out
        assert told.isascii()
        assert text in str(json.loads(told))


def test_doctor_finds_a_tampered_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "nuclei.safetensors").write_bytes(b"tampered")
    entry = f'[[models]]\nfile = "nuclei.safetensors"\nsha256 = "{"0" * 64}"\n'
    (tmp_path / "models.toml").write_text(entry)
    monkeypatch.setattr(doctor, "ENGINE", tmp_path)
    (check,) = doctor.bundled_models()
    assert check.state == "wrong"
    assert check.mend
    (tmp_path / "models" / "nuclei.safetensors").unlink()
    assert [check.state for check in doctor.bundled_models()] == ["wrong"]


def test_doctor_finds_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.folder("cache folder", tmp_path / "new" / "deep", "X").state == "ok"
    assert not (tmp_path / "new").exists()

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "check_writable", refuse)
    check = doctor.folder("cache folder", tmp_path, "NAPARI_SA2NET_CACHE")
    assert check.state == "wrong"
    assert "NAPARI_SA2NET_CACHE" in check.mend


def test_doctor_tells_how_full_a_folder_is(tmp_path: Path) -> None:
    assert "(empty)" in doctor.folder("trainings folder", tmp_path, "X").text
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "state.pt").write_bytes(bytes(2_500_000))
    assert "(holds 2.5 MB)" in doctor.folder("trainings folder", tmp_path, "X").text


def test_doctor_finds_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert doctor.folder("cache folder", tmp_path, "X").state == "wrong"


def test_evaluate_sees_first_whether_its_figures_can_be_written(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*_: Any, **__: Any) -> None:
        pytest.fail("the work had begun")

    monkeypatch.setattr("napari_sa2net.api.evaluate", never)
    (tmp_path / "file").write_text("in the way of a folder")
    target = tmp_path / "file" / "scores.json"
    assert main(["evaluate", str(pictures), str(pictures), "--json", str(target)]) == 1
    assert "cannot be written" in capsys.readouterr().err
