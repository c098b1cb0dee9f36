"""The campaign's cases run here too, a few of each part; and what is a fault is told as one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

FAULTS = """
import os, signal, time
from cases.outcomes import Refused, Wrong
from napari_sa2net.engine.errors import InputError

def run(draw, folder):
    draw.say(f"number {draw.number}")
    if draw.number == 1:
        raise InputError("The image is empty: give another one.")
    if draw.number == 2:
        raise InputError("no")
    if draw.number == 3:
        raise KeyError("x")
    if draw.number == 4:
        time.sleep(60)
    if draw.number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if draw.number == 6:
        (folder / ".labels.tif.12.part").touch()
    if draw.number == 7:
        raise Wrong("labels below 0", "-1")
    if draw.number == 8:
        draw.kept = b"x" * 400_000_000
    if draw.number == 9:
        raise Refused("The image x.tif cannot be read: \\x1b[31m is in it.")
"""
"""A part of which each case ends in another way."""

KINDS = {
    0: ("result", ""),
    1: ("refused", ""),
    2: ("fault", "a message that is no sentence"),
    3: ("fault", "KeyError in"),
    4: ("fault", "hang"),
    5: ("fault", "crash"),
    6: ("fault", "left behind: .part"),
    7: ("fault", "labels below 0"),
    8: ("fault", "memory"),
    9: ("fault", "a message with control characters"),
    10: ("result", ""),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "case"
    made.mkdir()
    return made


def tried(bench: Any, part: str, number: int, folder: Path, monkeypatch: Any) -> Any:
    """Run a case in this process."""
    from napari_sa2net.engine.folders import models_folder

    run = bench(bench("campaign").module_of(part)).run
    drawing, outcomes = bench("cases.drawing"), bench("cases.outcomes")
    for name in ("MODELS", "CACHE", "HOME"):
        monkeypatch.setenv(f"NAPARI_SA2NET_{name}", str(folder.parent / "home" / name))
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", str(folder / "nowhere"))
    monkeypatch.setenv("HOME", str(folder.parent / "home"))
    monkeypatch.chdir(folder)
    assert not models_folder().exists()
    outcome = outcomes.judge(run, drawing.Draw(part, number), folder)
    for kept in ("home", "case"):
        shutil.rmtree(folder.parent / kept, ignore_errors=True)
    return outcome


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("inputs", range(20)),
        ("weights", range(16)),
        ("command-line", range(6)),
        ("downloads", range(12)),
    ],
)
def test_no_case_ends_in_a_fault(
    bench: Any, part: str, numbers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {}
    for number in numbers:
        folder = tmp_path / str(number) / "case"
        folder.mkdir(parents=True)
        outcomes[number] = tried(bench, part, number, folder, monkeypatch)
    faults = {n: f"{o.kind}; {o.what}" for n, o in outcomes.items() if o.outcome == "fault"}
    assert not faults
    assert {o.outcome for o in outcomes.values()} == {"result", "refused"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("part", "number"), [("kills", 1), ("concurrency", 0)])
def test_commands_that_are_killed_or_run_at_once_lose_nothing(
    bench: Any, part: str, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = tried(bench, part, number, folder, monkeypatch)
    assert outcome.outcome in ("result", "refused"), outcome


def test_a_number_draws_the_same_case_again(bench: Any, folder: Path) -> None:
    drawing, arrays, options = bench("cases.drawing"), bench("cases.arrays"), bench("cases.options")
    drawn = []
    for number in (7, 7, 8):
        draw = drawing.Draw("inputs", number)
        array, axes = arrays.some_array(draw)
        drawn.append((array.tobytes(), axes, repr(options.some_options(draw, axes)), draw.said))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_the_good_values_of_all_options_are_taken(bench: Any, tiny_model: Any) -> None:
    """Of options too that are new: what a case is refused for should be what was odd in it."""
    from napari_sa2net.engine.options import resolve_options

    options, draw = bench("cases.options"), bench("cases.drawing").Draw("inputs", 0)
    for field in options.option_fields():
        for _ in range(10):
            given = {field.name: options.good_value(draw, field), "blend": 0, "discard": 0}
            resolve_options(tiny_model.card, **given)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_each_way_to_end_is_told(bench: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "ends.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path)
    watched = bench("cases.watching").Watched("ends", "ends", limit=1.0, memory=2**28)
    try:
        ended = {number: watched.run(number) for number in KINDS}
    finally:
        watched.close()
    for number, (outcome, kind) in KINDS.items():
        assert ended[number].outcome == outcome, ended[number]
        assert ended[number].kind.startswith(kind), ended[number]
        assert f"number {number}" in ended[number].what
    assert not list(Path(watched._root).glob("*"))


def test_wrong_results_are_faults(bench: Any, tiny_model: Any) -> None:
    from dataclasses import replace

    from napari_sa2net import segment

    checks, wrong = bench("cases.checks"), bench("cases.outcomes").Wrong
    image = np.random.default_rng(0).integers(0, 255, (32, 40, 3), "u1")
    result = segment(image, tiny_model, "cpu", backend="torch", axes="YXC", rgb=True)
    checks.check_segmentation(result, image.shape)
    for changes in (
        {"labels": result.labels[1:]},
        {"labels": result.labels * 2},
        {"labels": result.labels.astype(np.int64)},
        {"probabilities": result.probabilities / 2},
        {"probabilities": result.probabilities * np.float16(np.nan)},
        {"stages": result.probabilities},
        {"features": {**result.features, "area": result.features["area"] + 1}},
    ):
        with pytest.raises(wrong):
            checks.check_segmentation(replace(result, **changes), image.shape)


def test_the_table_is_made_of_the_records(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    campaign, outcome = bench("campaign"), bench("cases.outcomes").Outcome
    ended = [outcome("result"), outcome("refused", "no"), outcome("fault", "x", "kind", "drawn")]

    class Crew:
        def __init__(self, *_: Any) -> None: ...

        def run(self, number: int) -> Any:
            return ended[number % 3]

        def close(self) -> None: ...

    monkeypatch.setattr(campaign, "Watched", Crew)
    out = tmp_path / "out.json"
    arguments = ["campaign.py", "inputs", "weights", "--count", "120", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert campaign.main() == 1
    told = capsys.readouterr()
    assert "| inputs | 120 | 40 | 40 | 40 |" in told.out
    assert "- weights: kind: 40, as case 2, 5, 8" in told.out
    assert "again: python benchmarks/campaign.py inputs --case 2\n" in told.err
    assert len(json.loads(out.read_text())) == 4

    # What is in the file is not run again, except faults on demand, which may have gone.
    ended[2] = ended[0]
    assert campaign.main() == 1
    monkeypatch.setattr(sys, "argv", [*arguments, "--again"])
    assert campaign.main() == 0
    assert "| inputs | 120 | 80 | 40 | 0 |" in capsys.readouterr().out


def test_one_case_is_run_by_its_number() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "campaign.py", "inputs", "--case", "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.stdout.startswith("inputs 1: model "), done.stderr
    assert done.returncode in (0, 1)
