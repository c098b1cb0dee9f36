"""Command lines of ``sa2net``, drawn from its own parser."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cases.drawing import NAMES, NUMBERS, Draw, damaged
from cases.networks import network_model
from cases.outcomes import LONGEST, Refused, Wrong

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x9b]")
_OWN_PROCESS = 0.03
"""Share of the lines that are run in a process of their own."""


def run(draw: Draw, folder: Path) -> None:
    """Make a folder with files, and run a line or two in it."""
    _make_files(draw, folder)
    os.chdir(folder)
    line = _line(draw)
    draw.say(" ".join(map(repr, line)), 600)
    if any("\x00" in word for word in line):
        line = [word.replace("\x00", "") for word in line]  # no system hands over such
    own = draw.chance(_OWN_PROCESS)
    code, out, err = (run_apart if own else run_here)(line)
    check_output(code, out, err, "--debug" in line)
    if code:
        raise Refused(err.strip().rpartition("sa2net: ")[2] or err)


def run_here(line: Sequence[str]) -> tuple[int, str, str]:
    """Run a line in this process; return its exit code and what it printed."""
    from napari_sa2net.cli import main

    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin
    sys.stdin = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(list(line))
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdin = before
    return code, out.getvalue(), err.getvalue()


def run_apart(line: Sequence[str]) -> tuple[int, str, str]:
    """Run a line as a program of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "napari_sa2net", *line], capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    out, err = (stream.decode("utf-8", "replace") for stream in (ended.stdout, ended.stderr))
    return ended.returncode, out, err


def check_output(code: int, out: str, err: str, debug: bool = False) -> None:
    """Check that a line ended as lines should; with ``debug`` a traceback was asked for."""
    if "Traceback (most recent call last)" in err and not debug:
        last = err.strip().splitlines()[-1]
        raise Wrong(f"traceback: {last.split(':')[0][:60]}", last)
    odd = re.search(r"sa2net: (?:.*: )?(\w+): .*\(--debug shows where\)", err)
    if odd:
        raise Wrong(f"unexpected error: {odd[1]}", odd[0])
    odd = re.search(r"(\w+(?:Error|Exception)): .*\(--debug shows where\)", err + out)
    if odd:
        raise Wrong(f"unexpected error: {odd[1]}", odd[0])
    if code not in (0, 1, 2, 130):
        raise Wrong(f"exit code {code}", err[-300:])
    if code and not err.strip() and not out.strip():
        raise Wrong("failed without a word", f"exit code {code}")
    printed = _CONTROL.search(out.replace("\r", "") + err.replace("\r", ""))
    if printed:
        raise Wrong("control characters on the terminal", repr(printed[0]))
    if len(err) > 20 * LONGEST:
        raise Wrong("output without end", f"{len(err)} characters")


def _make_files(draw: Draw, folder: Path) -> None:
    """Write the files that lines name."""
    import tifffile

    from napari_sa2net.engine import weights

    grey = draw.numpy.integers(0, 255, (40, 48), "u1")
    mask = np.zeros((40, 48), "u1")
    mask[4:16, 4:16], mask[20:34, 20:40] = 1, 2
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(folder / "images" / f"{name}.tif", grey + (mask > 0) * 30)
        tifffile.imwrite(folder / "masks" / f"{name}.tif", mask)
    tifffile.imwrite(folder / "stack.ome.tif", np.stack([grey] * 3), metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "rgb.tif", np.stack([grey] * 3, -1), photometric="rgb")
    (folder / "broken.tif").write_bytes(damaged(draw, (folder / "rgb.tif").read_bytes()))
    (folder / "empty.tif").touch()
    (folder / "names.txt").write_text("a\n")
    (folder / "loop.tif").symlink_to(folder / "loop.tif")
    (folder / "no folder").write_text("a file")
    weights.save_model(network_model("grey"), folder / "grey.safetensors")
    (folder / "bad.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    (folder / "recipe.toml").write_text(_RECIPE)
    models = weights.models_folder()
    models.mkdir(parents=True)
    for name in ("mine", "yours"):
        weights.save_model(
            network_model("grey", 1 + (name == "mine")), models / f"{name}.safetensors"
        )


_RECIPE = """
[[datasets]]
folder = "."
masks = "foreground"
[training]
steps = 2
batch = 1
crop = 32
[card]
name = "made"
base_channels = 2
in_channels = 1
num_classes = 1
"""

_GOOD: dict[str, tuple[str, ...]] = {
    "images": ("images", "images/a.tif", "stack.ome.tif", "rgb.tif", "images/*.tif"),
    "masks": ("masks", "masks/a.tif"),
    "paths": ("images", "masks"),
    "output": ("out", "new", "out.ome.zarr", "new.safetensors", "."),
    "model": ("grey.safetensors", "mine", "yours"),
    "models": ("mine", "yours", "grey.safetensors"),
    "start": ("mine", "grey.safetensors", "suggest"),
    "name": ("mine", "new name"),
    "new": ("new",),
    "names": ("mine", "yours"),
    "file": ("grey.safetensors",),
    "device": ("cpu", "auto"),
    "axes": ("YX", "ZYX"),
    "channels": ("0",),
    "diameter": ("12",),
    "pixel_size": ("0.5",),
    "region": ("0,0,16,16",),
    "threshold": ("0.5",),
    "min_size": ("5",),
    "save": ("table", "table,geojson", "probabilities", "rois"),
    "resume": ("state",),
    "recipe": ("recipe.toml",),
    "data": (".",),
    "steps": ("2",),
    "minutes": ("0.05",),
    "epochs": ("1",),
    "batch": ("1",),
    "patch": ("32",),
    "base_channels": ("2",),
    "classes": ("axon", "axon:#e69f00"),
    "learning_rate": ("0.001",),
    "validation": ("0", "0.2"),
    "patience": ("0",),
    "seed": ("1",),
    "json": ("out.json",),
    "iou": ("0.5",),
    "fold": ("a",),
    "scheduler": ("tcp://127.0.0.1:9",),
}
"""Good values, by the name that the parser gives them."""

_FILES = (
    "missing.tif", "broken.tif", "empty.tif", "loop.tif", "no folder", "bad.safetensors", ".",
    "images", "recipe.toml", "/dev/null", "no folder/x", "~nouser/x", "[", "**", "out/../images",
    "images/", "", "grey.safetensors",
)  # fmt: skip


_BUDGETS = ("steps", "minutes", "epochs")
"""How long a training takes: no large number is good, or the case would not end."""


def _word(draw: Draw, action: argparse.Action, odd: float) -> str:
    """Return a value for an argument."""
    if action.dest in _BUDGETS and draw.chance(odd):
        return draw.among("0", "-1", "nan", "inf", "1e400", "abc", "", "2.5", "٣", "7")
    if not draw.chance(odd):
        if action.choices is not None:
            return str(draw.among(*action.choices))
        if action.dest in _GOOD:
            return draw.among(*_GOOD[action.dest])
    return str(
        draw.weighted(
            {
                lambda: draw.among(*_FILES): 3,
                lambda: draw.among(*(n for n in NAMES if not n.startswith(("/", "..")))): 2,
                lambda: draw.among(*NUMBERS): 2,
                lambda: draw.among("YX", "0,1", "1e3", "0x10", "１２", "1,5", "None", "a,b"): 1,
            }
        )()
    )


def _line(draw: Draw) -> list[str]:
    """Draw a command with its options."""
    from napari_sa2net.cli import build_parser

    odd = draw.among(0.0, 0.0, 0.1, 0.4)
    parser, line = build_parser(), []
    shares = {"segment": 5, "models": 4, "train": 3, "evaluate": 2, "export": 0.3, "doctor": 0.02}
    while True:
        commands = _subcommands(parser)
        line += _options(draw, parser, odd)
        if commands is None:
            budgets = {f"--{name}" for name in (*_BUDGETS, "recipe", "help")}
            return (
                [*line, "--steps", "2"] if line[0] == "train" and not budgets & set(line) else line
            )
        names = {name: shares.get(name, 1.0) for name in commands}
        name = draw.weighted(names)
        if draw.chance(0.02):
            return [*line, draw.among(*NAMES[:20], "segmnt")]
        line.append(name)
        parser = commands[name]


def _subcommands(parser: argparse.ArgumentParser) -> Any:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return None


def _options(draw: Draw, parser: argparse.ArgumentParser, odd: float) -> list[str]:
    """Draw options and arguments of a parser, the required ones mostly."""
    words: list[str] = []
    few = draw.among(0.05, 0.1, 0.3)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        wanted = 0.97 if action.required or not action.option_strings else few
        # What would take long, or ask for another computer, without it.
        wanted = {"model": 0.95, "steps": 0.9, "scratch": 0.6, "patch": 0.9, "start": 0.5,
                  "batch": 0.9, "scheduler": 0.01, "yes": 0.9, "base_channels": 0.5,
                  "minutes": 0.02, "epochs": 0.02, "help": 0.01, "recipe": 0.1, "version": 0.01,
                  "debug": 0.05}.get(action.dest, wanted)  # fmt: skip
        if not draw.chance(wanted):
            continue
        if action.option_strings:
            words.append(draw.among(*action.option_strings))
        words += [_word(draw, action, odd) for _ in range(_count(draw, action))]
    return words


def _count(draw: Draw, action: argparse.Action) -> int:
    if action.nargs == 0:
        return 0
    if action.nargs in ("+", "*"):
        return draw.among(1, 1, 2, 3) if action.dest != "paths" else draw.among(2, 2, 2, 1, 0, 3)
    return 1
