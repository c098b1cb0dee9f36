from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_sa2net.engine import locking
from napari_sa2net.engine.errors import SA2NetError, TrainingError
from napari_sa2net.engine.folders import target_of
from napari_sa2net.engine.training import states
from napari_sa2net.engine.training.samples import Sample

PLAN = {"name": "cells", "step": 3, "total": 9, "finished": False, "images": ["a", "b"]}


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            rng.random((3, 20, 30), dtype=np.float32),
            rng.integers(-1, 3, (20, 30)).astype(np.int32),
            kind="classes",
            merged=True,
            painted=True,
            pixel_weights=rng.random((20, 30), dtype=np.float32),
            origin=(2, 10, 20),
            name="b",
        ),
        Sample(np.zeros((1, 16, 16), np.float32), np.zeros((16, 16), np.int32), diameter=7.5),
    ]
    states.write_samples(tmp_path, samples)
    for before, after in zip(samples, states.read_samples(tmp_path), strict=True):
        for name in ("image", "labels", "pixel_weights"):
            a, b = getattr(before, name), getattr(after, name)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
        for name in ("kind", "merged", "painted", "origin", "name", "diameter", "lookup"):
            assert getattr(before, name) == getattr(after, name)


def test_trainings_are_listed_and_damaged_ones_left_out(tmp_path: Path) -> None:
    for name in ("one", "two", "damaged", "newer", "other"):
        (tmp_path / name).mkdir()
    states.write_plan(tmp_path / "one", PLAN)
    states.write_plan(tmp_path / "two", {**PLAN, "finished": True})
    (tmp_path / "damaged" / states.PLAN).write_text("{")
    (tmp_path / "newer" / states.PLAN).write_text(json.dumps({**PLAN, "version": 99, "when": 0}))
    found = states.list_states(tmp_path)
    assert {state.path.name for state in found} == {"one", "two"}
    assert found[0].when >= found[1].when
    assert found[1].images == ("a", "b")
    assert states.list_states(tmp_path / "nowhere") == []


def test_only_trainings_are_deleted(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing was deleted"):
        states.delete_state(tmp_path)
    assert tmp_path.is_dir()


def test_damaged_samples_are_explained(tmp_path: Path) -> None:
    (tmp_path / states.SAMPLES).write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="train anew"):
        states.read_samples(tmp_path)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SA2NetError, match="another folder"):
        states.ready(tmp_path / "file" / "state")


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys; from napari_sa2net.engine.training import states, settings;"
        "settings.FineTuneSettings(); states.list_states('.'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_training_that_is_running_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    states.write_plan(tmp_path / "one", PLAN)
    with states.running(tmp_path / "one"):
        assert states.list_states(tmp_path) == []
        with pytest.raises(TrainingError, match="is running, perhaps in another napari"):
            states.delete_state(tmp_path / "one")
        with pytest.raises(TrainingError, match="is running"), states.running(tmp_path / "one"):
            pass
    assert len(states.list_states(tmp_path)) == 1
    states.delete_state(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_where_a_disk_has_no_locks_trainings_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking.Lock, "__init__", refused)
    (tmp_path / "one").mkdir()
    states.write_plan(tmp_path / "one", PLAN)
    with states.running(tmp_path / "one"):
        assert len(states.list_states(tmp_path)) == 1
    states.delete_state(tmp_path / "one")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 300, "é" * 200])
def test_names_too_long_for_files_are_cut(tmp_path: Path, name: str) -> None:
    states.new_state(name).mkdir(parents=True)
    for one, other in ((name, name), (name, f"{name}2")):
        first, second = (target_of(each, tmp_path, ".onnx") for each in (one, other))
        assert (first == second) == (one == other)
        second.touch()
        second.unlink()
