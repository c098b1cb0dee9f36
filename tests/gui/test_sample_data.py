"""The bundled images: small, readable, credited, and shown as they should be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_sa2net.engine.errors import InputError
from napari_sa2net.gui import sample_data
from napari_sa2net.gui.sample_data import SAMPLES, load_sample, sample_path

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_opens(key: str) -> None:
    (data,) = getattr(sample_data, key)()
    layer = ViewerModel().add_layer(Layer.create(*data))
    assert layer.name == SAMPLES[key].title
    assert layer.metadata["licence"] == SAMPLES[key].licence
    assert layer.rgb == (key == "histology")
    low, high = layer.contrast_limits
    assert low < high
    # Something is to be seen: the picture is neither empty nor cut at its ends.
    pixels = np.asarray(layer.data)
    assert np.mean((pixels > low) & (pixels < high)) > 0.5
    assert pixels.std() > 5


def test_a_sample_is_called_as_in_the_menu() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(sample_data.__file__).parents[1] / "napari.yaml")
    names = {sample.key: sample.display_name for sample in manifest.contributions.sample_data or ()}
    assert names == {key: sample.title for key, sample in SAMPLES.items()}


def test_the_pixel_size_that_is_known() -> None:
    (data,) = sample_data.electron_microscopy()
    layer = Layer.create(*data)
    assert tuple(layer.scale) == (0.093, 0.093)
    assert str(layer.units[0]) == "micrometer"


def test_every_file_is_credited_and_small() -> None:
    folder = sample_path("fluorescence").parent
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in folder.glob("*.png"))
    assert files == sorted(sample.file for sample in SAMPLES.values())
    for sample in SAMPLES.values():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{sample.file}`"))
        assert sample.licence.replace("-", " ") in line
    assert "Permission is hereby granted" in text
    for notice in ("(c) 2018 Okinawa Institute of Science", "(c) 2020 ivadomed"):
        assert notice in text
    assert sum((folder / name).stat().st_size for name in files) < 1.5e6


def test_nuclei_samples_were_held_out_of_training() -> None:
    held_out = (ROOT / "recipes" / "nuclei-held-out.txt").read_text().split()
    text = (sample_path("fluorescence").parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for key in ("fluorescence", "histology", "brightfield"):
        line = next(line for line in text.splitlines() if line.startswith(f"| `{key}.png`"))
        assert line.split("id beginning `")[1].split("`")[0] in held_out


def test_bundled_pixels_are_those_of_the_data_set(shared_data: Path) -> None:
    from skimage.io import imread

    original = imread(shared_data / "dsb2018_brightfield" / "images" / "091944f1d2611c91.png")
    assert np.array_equal(original[128:640, 320:832], load_sample("brightfield"))


def test_an_unknown_sample() -> None:
    with pytest.raises(InputError, match="fluorescence"):
        sample_path("nothing")


def test_samples_need_neither_napari_nor_qt() -> None:
    code = (
        "import sys; from napari_sa2net.gui.sample_data import load_sample;"
        "load_sample('histology');"
        "print(sorted({'napari', 'qtpy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
