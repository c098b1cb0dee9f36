"""Things that a person has done with a command and may break off; and what they leave."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cases.drawing import Draw
from cases.networks import network_model
from cases.outcomes import Wrong


@dataclass(frozen=True)
class Job:
    """A command, with what it needs."""

    prepare: Callable[[Path, int], None]
    """Write the inputs into an empty folder; the number chooses a variant."""
    line: Callable[[int], list[str]]
    """The command, which goes on if it is given again."""
    again: Callable[[Any], bool] | None = None
    """Whether a refusal of the same command, given again, is right."""


def home(folder: Path) -> dict[str, str]:
    """Return the variables that keep a person's own models away."""
    return {
        f"NAPARI_SA2NET_{name}": str(folder / "home" / name.lower())
        for name in ("CACHE", "HOME", "MODELS")
    } | {"NAPARI_SA2NET_WEIGHTS_URL": str(folder / "mirror")}


def _images(folder: Path, count: int, side: int, seed: int) -> None:
    """Write images of discs, and masks of them."""
    import tifffile

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        y, x = np.mgrid[:side, :side]
        mask = np.zeros((side, side), "u1")
        for _ in range(5):
            centre, radius = rng.integers(6, side - 6, 2), rng.integers(4, 8)
            mask[np.hypot(y - centre[0], x - centre[1]) < radius] = 1
        image = (mask * 120 + rng.integers(0, 80, mask.shape)).astype("u1")
        tifffile.imwrite(folder / "images" / f"{number}.tif", image)
        tifffile.imwrite(folder / "masks" / f"{number}.tif", mask)


def _with_model(folder: Path) -> None:
    from napari_sa2net.engine.weights import save_model

    save_model(network_model("grey"), folder / "grey.safetensors")


def _prepare_segment(folder: Path, variant: int) -> None:
    _images(folder, 6, 48, variant)
    _with_model(folder)


def _segment(variant: int) -> list[str]:
    save = ("table,geojson", "table,rois,probabilities", "stages,attention")[variant % 3]
    return ["segment", "images", "-o", "out", "--model", "grey.safetensors", "--device", "cpu",
            "--backend", "torch", "--resume", "--save", save, "--diameter", "12"]  # fmt: skip


def _prepare_zarr(folder: Path, variant: int) -> None:
    import tifffile

    _images(folder, 1, 300, variant)
    _with_model(folder)
    if variant % 3 == 2:
        plane = tifffile.imread(folder / "images" / "0.tif")
        stack = np.stack([plane[:150], plane[150:]])
        tifffile.imwrite(folder / "images" / "0.tif", stack, metadata={"axes": "ZYX"})


def _zarr(variant: int) -> list[str]:
    save = ["--save", "table,geojson"] if variant % 3 else []
    return ["segment", "images/0.tif", "-o", "out.ome.zarr", "--model", "grey.safetensors",
            "--device", "cpu", "--backend", "torch", "--resume", "--diameter", "12",
            *save]  # fmt: skip


def small_blocks() -> None:
    """Let images be cut into many blocks."""
    from napari_sa2net.engine.blocks import plan

    whole = plan.BlockOptions

    def made(**given: Any) -> Any:
        return whole(side=64, chunk=32, **given)

    plan.BlockOptions = made  # type: ignore[assignment,misc]


def _prepare_training(folder: Path, variant: int) -> None:
    _images(folder, 3, 64, variant)
    _with_model(folder)


def _fine_tune(variant: int) -> list[str]:
    start = [["--from", "grey.safetensors"], ["--scratch", "--base-channels", "2"]][variant % 2]
    mask = ["--mask", "--class", "disc"]
    return ["train", "images", "masks", "-o", "new.safetensors", "--overwrite", "--device", "cpu",
            "--resume", "state", "--steps", "12", "--patch", "32", "--batch", "2", "--keep-worse",
            "--seed", str(variant), *mask, *start]  # fmt: skip


def _prepare_recipe(folder: Path, variant: int) -> None:
    _images(folder / "data", 3, 64, variant)
    (folder / "recipe.toml").write_text(
        '[[datasets]]\nfolder = "."\nmasks = "foreground"\n'
        f"[training]\nsteps = 15\nbatch = 2\ncrop = 32\ncheckpoint_every = 3\nseed = {variant}\n"
        '[card]\nname = "made"\nbase_channels = 2\nin_channels = 1\nnum_classes = 1\n'
    )


def _recipe(variant: int) -> list[str]:
    return ["train", "--recipe", "recipe.toml", "--data", "data", "--resume", "state.pt",
            "-o", "made.safetensors", "--overwrite", "--device", "cpu"]  # fmt: skip


def _import(variant: int) -> list[str]:
    return ["models", "import", "grey.safetensors", *(["--name", "mine"] if variant % 2 else [])]


def _prepare_models(folder: Path, variant: int) -> None:
    from napari_sa2net.engine.weights import save_model

    _with_model(folder)
    models = folder / "home" / "models"
    models.mkdir(parents=True)
    save_model(network_model("grey", 1), models / "old.safetensors")
    save_model(network_model("grey", 2), models / "other.safetensors")


def _rename(variant: int) -> list[str]:
    return ["models", "rename", "old", "new"]


def _join(variant: int) -> list[str]:
    return ["models", "join", "old", "other", "--name", "both"]


def _export(variant: int) -> list[str]:
    return ["models", "export", "old", "-o", "out.safetensors", "--overwrite"]


def _evaluate(variant: int) -> list[str]:
    return ["evaluate", "images", "masks", "--model", "grey.safetensors", "--device", "cpu",
            "--backend", "torch", "--json", "out.json"]  # fmt: skip


def _prepare_download(folder: Path, variant: int) -> None:
    """Let a mirror, a folder, have a model that is not bundled; see :func:`publish`."""
    from napari_sa2net.engine.weights import save_model

    (folder / "mirror").mkdir(parents=True)
    save_model(network_model("grey"), folder / "mirror" / "remote.safetensors")


def _download(variant: int) -> list[str]:
    return ["models", "download", "remote"]


def publish() -> None:
    """Let the list of models have the one that the mirror has."""
    import os

    from napari_sa2net.engine import registry

    mirror = Path(os.environ["NAPARI_SA2NET_WEIGHTS_URL"])
    data = (mirror / "remote.safetensors").read_bytes()
    path = mirror / f"{os.getpid()}.toml"
    path.write_text(
        'base_url = "http://127.0.0.1:1/"\n[[models]]\nname = "remote"\n'
        f'file = "remote.safetensors"\nbytes = {len(data)}\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        "base_channels = 2\nin_channels = 1\nnum_classes = 3\n"
    )
    registry.REGISTRY_FILE = path


def _taken(text: str) -> bool:
    return "already" in text


def _renamed(text: str) -> bool:
    return "There is no model 'old'" in text


JOBS: dict[str, Job] = {
    "segment a folder": Job(_prepare_segment, _segment),
    "segment block by block": Job(_prepare_zarr, _zarr),
    "fine-tune": Job(_prepare_training, _fine_tune),
    "train a recipe": Job(_prepare_recipe, _recipe),
    "import": Job(_prepare_models, _import, _taken),
    "rename": Job(_prepare_models, _rename, _renamed),
    "join": Job(_prepare_models, _join, _taken),
    "export": Job(_prepare_models, _export),
    "evaluate": Job(_prepare_segment, _evaluate),
    "download": Job(_prepare_download, _download),
}

SHARES = {
    "segment a folder": 4, "segment block by block": 4, "fine-tune": 5, "train a recipe": 3,
    "import": 1, "rename": 0.5, "join": 0.5, "export": 0.5, "evaluate": 0.5, "download": 1,
}  # fmt: skip


def before_of(name: str) -> Callable[[], None] | None:
    """Return what a job's process does first, so that there are more moments to break it off."""
    from cases.processes import save_often

    return {
        "segment block by block": small_blocks,
        "fine-tune": save_often,
        "download": publish,
    }.get(name)


# What is left.


def content_of(folder: Path) -> dict[str, Any]:
    """Return what the files of a folder hold, each read as what it is.

    Raises
    ------
    Wrong
        If one of them is not whole.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        inside = [p for p in path.parents if p.suffix == ".zarr"]
        if path.suffix == ".zarr":
            found[name] = _zarr_content(path)
        elif path.is_file() and not inside and not name.startswith(("mirror", "log")):
            try:
                found[name] = _read(path)
            except Exception as error:
                raise Wrong(
                    f"a file that is not whole: {path.suffix}", f"{name}: {error}"
                ) from error
    return found


def _read(path: Path) -> Any:
    """Return what a file holds, without what differs from run to run."""
    if path.suffix == ".tif":
        import tifffile

        with tifffile.TiffFile(path) as file:
            return _hashed(file.asarray())
    if path.suffix == ".safetensors":
        from safetensors.numpy import load

        tensors = load(path.read_bytes())
        return _hashed(*(tensors[name] for name in sorted(tensors)))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return sorted((i.filename, i.CRC) for i in archive.infolist()), archive.testzip()
    if path.suffix == ".csv":
        return list(csv.reader(path.read_text().splitlines()))
    if path.suffix in (".json", ".geojson"):
        json.loads(path.read_text())
        return "json" if path.suffix == ".json" else _hashed(path.read_bytes())
    if path.suffix == ".pt":
        import torch

        torch.load(path, weights_only=True)
        return "state"
    if path.suffix == ".npz":
        with np.load(path) as file:
            return sorted((name, file[name].shape) for name in file.files)
    return _hashed(path.read_bytes()) if path.name != "lock" else "lock"


def _zarr_content(path: Path) -> Any:
    """Return the arrays of a result, if it is complete."""
    import zarr

    if (path / ".napari-sa2net").exists():
        return "not complete"
    group = zarr.open_group(path, mode="r")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"]  # type: ignore[index,call-overload]
    files = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.name.startswith("."))
    return [_hashed(np.asarray(group[level["path"]][...])) for level in levels], files


def _hashed(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        digest.update(part)
    return digest.hexdigest()[:16]


def prepared(name: str, variant: int, folder: Path, stock: Path) -> None:
    """Copy a job's inputs into a folder; they are made once and kept in the stock."""
    ready = stock / f"{name}-{variant}".replace(" ", "-")
    if not ready.exists():
        JOBS[name].prepare(ready, variant)
    shutil.copytree(ready, folder, dirs_exist_ok=True)


def some_job(draw: Draw) -> tuple[str, int]:
    """Return a job and one of its variants."""
    name, variant = draw.weighted(SHARES), draw.randrange(6)
    draw.say(f"{name} {variant}")
    return name, variant
