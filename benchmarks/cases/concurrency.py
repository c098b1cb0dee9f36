"""Several processes at once on the same names, files and folders: nothing may be lost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases.drawing import Draw
from cases.jobs import JOBS, before_of, content_of, home, prepared
from cases.kills import _undisturbed
from cases.networks import network_model
from cases.outcomes import Refused, Wrong, check_message
from cases.processes import Command, Ended


def run(draw: Draw, folder: Path) -> None:
    """Run a case."""
    scene = draw.weighted(
        {_imports: 3, _imports_without_name: 3, _renames: 3, _rename_and_import: 2,
         _looks_while_changing: 2, _same_job: 5}
    )  # fmt: skip
    draw.say(scene.__name__.strip("_"))
    work = folder / "work"
    work.mkdir()
    os.environ.update(home(work))
    scene(draw, work)


def _together(
    draw: Draw, lines: Sequence[list[str]], work: Path, before: Any = None
) -> list[Ended]:
    """Run command lines at once, or nearly."""
    commands = []
    for number, line in enumerate(lines):
        commands.append(Command(line, work, work.parent / f"log-{number}", before))
        if draw.chance(0.3):
            time.sleep(draw.uniform(0, 0.1))
    ended = [command.wait() for command in commands]
    for one in ended:
        if one.code == -1000:
            raise Wrong("hang of one of several processes")
        if "Traceback" in one.err or "(--debug" in one.err:
            last = one.err.strip().splitlines()[-1]
            raise Wrong("unexpected error beside others", last)
        if one.code:
            check_message(one.err)
    return ended


def _models_written(work: Path, count: int) -> list[Path]:
    from napari_sa2net.engine.weights import save_model

    paths = [work / f"m{i}.safetensors" for i in range(count)]
    for i, path in enumerate(paths):
        save_model(network_model("grey", 10 + i), path)
    return paths


def _in_folder(work: Path) -> dict[str, Any]:
    models = work / "home" / "models"
    found = content_of(models) if models.exists() else {}
    return {name: content for name, content in found.items() if not name.startswith(".lock")}


def _refused(ended: Sequence[Ended]) -> None:
    """End as refused where one of the processes was."""
    for one in ended:
        if one.code:
            raise Refused(one.err)


def _imports(draw: Draw, work: Path) -> None:
    """Several models under one name: one of them has it, the others are told."""
    paths = _models_written(work, draw.among(2, 3, 4))
    ended = _together(draw, [["models", "import", p.name, "--name", "mine"] for p in paths], work)
    good = [path for path, one in zip(paths, ended, strict=True) if one.code == 0]
    _check_kept(work, paths, good)
    _refused(ended)


def _imports_without_name(draw: Draw, work: Path) -> None:
    """Several models of one file name: each is there under a name of its own."""
    paths = _models_written(work, draw.among(2, 3, 4))
    for path in paths:
        (work / path.stem).mkdir()
        path.rename(work / path.stem / "same.safetensors")
    paths = [work / path.stem / "same.safetensors" for path in paths]
    lines = [["models", "import", str(path)] for path in paths]
    ended = _together(draw, lines, work)
    _check_kept(work, paths, [p for p, one in zip(paths, ended, strict=True) if one.code == 0])
    _refused(ended)


def _check_kept(work: Path, paths: Sequence[Path], good: Sequence[Path]) -> None:
    """Check that the models are there whose import was told as done, and no others."""
    kept = _in_folder(work)
    told = {str(list(content_of_file(path))) for path in good}
    there = {str([content]) for content in kept.values()}
    if not good:
        raise Wrong("none of several imports was done")
    if told - there:
        raise Wrong("a model is lost that was told as imported", f"{len(good)} of {len(paths)}")
    if len(kept) != len(good):
        raise Wrong("more or fewer models than were told", f"{sorted(kept)}, {len(good)} told")


def content_of_file(path: Path) -> list[Any]:
    """Return what a file holds."""
    from cases.jobs import _read

    return [_read(path)]


def _prepared_models(work: Path, names: Sequence[str]) -> dict[str, Any]:
    from napari_sa2net.engine.weights import save_model

    models = work / "home" / "models"
    models.mkdir(parents=True)
    for i, name in enumerate(names):
        save_model(network_model("grey", 10 + i), models / f"{name}.safetensors")
    return _in_folder(work)


def _renames(draw: Draw, work: Path) -> None:
    """Several models get one name: one of them has it, and all are still there."""
    names = ["a", "b", "c"][: draw.among(2, 3)]
    before = _prepared_models(work, names)
    ended = _together(draw, [["models", "rename", name, "new"] for name in names], work)
    after = _in_folder(work)
    if sorted(before.values()) != sorted(after.values()):
        raise Wrong("a model is lost that was renamed", f"{sorted(after)}")
    if sum(one.code == 0 for one in ended) != 1:
        raise Wrong("not one of several renames was done", str([one.code for one in ended]))
    _refused(ended)


def _rename_and_import(draw: Draw, work: Path) -> None:
    """A model gets a name while others of that name are made."""
    before = _prepared_models(work, ["a", "b"])
    path = _models_written(work, 3)[2]
    lines = [["models", "rename", "a", "new"], ["models", "import", path.name, "--name", "new"],
             ["models", "join", "a", "b", "--name", "new"]]  # fmt: skip
    ended = _together(draw, lines[: draw.among(2, 2, 3)], work)
    after = _in_folder(work)
    if not set(before.values()) <= set(after.values()):
        raise Wrong("a model is lost that was renamed", f"{sorted(after)}")
    if ended[1].code == 0 and content_of_file(path)[0] not in after.values():
        raise Wrong("a model is lost that was told as imported", f"{sorted(after)}")
    _refused(ended)


def _looks_while_changing(draw: Draw, work: Path) -> None:
    """Lists, and uses of a model, while others come, go and get other names."""
    names = [f"n{i}" for i in range(6)]
    _prepared_models(work, [*names, "kept"])
    _images_in(work)
    looks = [["models", "list"], ["models", "list", "--json"], ["models", "info", "kept"],
             ["segment", "image.tif", "-o", "out", "--model", "kept", "--device", "cpu",
              "--backend", "torch"]]  # fmt: skip
    changes = [draw.among(["models", "delete", "-y", *names[:3]], ["models", "rename", "n4", "z"]),
               ["models", "rename", "n5", "other"]]  # fmt: skip
    chosen = [draw.among(*looks), draw.among(*looks)]
    lines = [*chosen, *changes]
    draw.shuffle(lines)
    ended = _together(draw, lines, work)
    for line, one in zip(lines, ended, strict=True):
        if one.code and not (line[0] == "segment" and chosen[0] == chosen[1]):
            raise Wrong("failed because others changed something", f"{line[:3]}: {one.err[-300:]}")


def _images_in(work: Path) -> None:
    import numpy as np
    import tifffile

    tifffile.imwrite(work / "image.tif", np.arange(900, dtype="u2").reshape(30, 30))


def _same_job(draw: Draw, work: Path) -> None:
    """The same command twice or more at once."""
    name = draw.among("segment a folder", "segment block by block", "fine-tune", "train a recipe",
                      "download", "export", "evaluate")  # fmt: skip
    variant, count = draw.randrange(3), draw.among(2, 2, 3)
    draw.say(f"{name} {variant}, {count} times")
    stock = work.parent.parent / "stock"
    stock.mkdir(exist_ok=True)
    _, expected = _undisturbed(name, variant, stock)
    prepared(name, variant, work, stock)
    os.environ.update(home(work))
    ended = _together(draw, [JOBS[name].line(variant)] * count, work, before_of(name))
    if all(one.code for one in ended):
        raise Wrong("none of several processes did it", ended[0].err[-300:])
    found = content_of(work)
    for file, content in expected.items():
        if found.get(file) != content:
            raise Wrong(f"another result beside others: {Path(file).suffix}", f"{name}: {file}")
    more = sorted(set(found) - set(expected))
    if more:
        raise Wrong(f"left behind: {Path(more[0]).suffix}", f"{name}: {', '.join(more)}")
    _refused(ended)
