"""``sa2net doctor``: what is installed, what works, what is wrong and how to mend it.

Everything that may fail to load (torch, napari, Qt) is tried in a process of its own, so that
even a crash there ends in an explanation here.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..engine.disk import check_writable
from .common import FAILED, add_common
from .remedies import remedy

PACKAGES = ("torch", "napari", "numpy", "scipy", "scikit-image", "tifffile", "safetensors", "pooch")
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
OPTIONAL = {
    "zarr": 'reads OME-Zarr: pip install "napari-sa2net[zarr]"',
    "distributed": 'big images on a dask cluster: pip install "napari-sa2net[cluster]"',
    "imagecodecs": 'reads LZW and JPEG TIFF: pip install "napari-sa2net[formats]"',
    "onnxruntime": 'segments faster on the processor: pip install "napari-sa2net[fast]"',
}
LITTLE_SPACE = 500e6
"""Bytes: below this, downloading or saving a model is likely to fail."""
ENGINE = Path(__file__).resolve().parents[1] / "engine"

_TORCH = """
import json, torch
torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3))
told = {"torch": torch.__version__, "CUDA of this torch": torch.version.cuda or "none"}
print(json.dumps(told))
"""
_ENGINE = """
import json
from napari_sa2net.engine.devices import choose_device, list_devices
choice = choose_device("auto")
found = [f"{d.device}, {d.description}" for d in list_devices()]
print(json.dumps({"all": found, "reason": choice.reason}))
"""
_FOLDERS = """
import json
from napari_sa2net.engine import folders
places = (folders.cache_folder(), folders.models_folder(), folders.trainings_folder(),
          folders.paintings_folder())
print(json.dumps([str(place) for place in places]))
"""
FOLDERS = {
    "cache folder": "NAPARI_SA2NET_CACHE",
    "models folder": "NAPARI_SA2NET_MODELS",
    "trainings folder": "NAPARI_SA2NET_HOME",
    "paintings folder": "NAPARI_SA2NET_HOME",
}
"""What is kept where, in the order of the above, and the variable that moves it."""
_MODEL = """
import json, numpy
from napari_sa2net import segment
labels = segment(numpy.zeros((32, 32), numpy.uint8), device="cpu").labels
print(json.dumps([int(n) for n in labels.shape]))
"""
_NAPARI = "import json, napari; print(json.dumps(napari.__version__))"
_QT = """
import json, qtpy
from qtpy.QtWidgets import QApplication
app = QApplication([])
binding = qtpy.PYQT_VERSION or qtpy.PYSIDE_VERSION
print(json.dumps(f"{qtpy.API_NAME} {binding}, Qt {qtpy.QT_VERSION}"))
"""
_ORDER = "import qtpy.QtWidgets, torch; print('1')"


@dataclass(frozen=True)
class Check:
    """What one look has found."""

    name: str
    state: Literal["ok", "note", "wrong"]
    text: str
    mend: str = ""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="tell versions, devices and folders, what is wrong and how to mend it",
        description="Look at the installation. Exit code 1 if something is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print all checks; return 1 if something is wrong."""
    wrong: list[Check] = []
    told: list[Check] = []
    for check in checks():
        told.append(check)
        if check.state == "wrong":
            wrong.append(check)
        if not arguments.json:
            mark = {"ok": "  ", "note": "- ", "wrong": "! "}[check.state]
            print(f"{mark}{check.name + ':':<20} {check.text}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(check) for check in told], indent=2))
    elif wrong:
        print("\nWhat is wrong, and how to mend it:")
        for number, check in enumerate(wrong, 1):
            print(f"{number}. {check.name}: {check.text}\n   -> {check.mend}")
    else:
        print("\nNothing is wrong.")
    return FAILED if wrong else 0


def checks() -> Iterator[Check]:
    """Look at one thing after the other."""
    yield from versions()
    code, text = probe(_TORCH)
    torch_works = code == 0
    if torch_works:
        told = json.loads(text)
        yield Check("torch works", "ok", ", ".join(f"{k} {v}" for k, v in told.items()))
        yield devices()
    else:
        yield Check("torch works", "wrong", *remedy("torch", code, text))
    yield from window(torch_works)
    yield from folders()
    yield from bundled_models()
    if torch_works:
        code, text = probe(_MODEL)
        if code == 0:
            yield Check("a first image", "ok", "the default model segments on the CPU")
        else:
            yield Check("a first image", "wrong", *remedy("napari_sa2net", code, text))


def probe(code: str, **environment: str) -> tuple[int, str]:
    """Run Python code in a fresh process: its exit code, and its last output or its errors."""
    source = str(ENGINE.parents[1])
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""), source) if p)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=180,
            check=False,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **environment},
            encoding="utf-8",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    lines = done.stdout.strip().splitlines()
    return done.returncode, lines[-1] if done.returncode == 0 and lines else done.stderr


def version(package: str) -> str | None:
    """Return the installed version of a package without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> Iterator[Check]:
    """Tell what is installed."""
    from .. import __version__

    yield Check("napari-sa2net", "ok", f"{__version__}, in {ENGINE.parent}")
    python = f"{platform.python_version()}, {sys.executable}"
    yield Check("Python", "ok", python)
    yield Check("system", "ok", f"{platform.platform()}, {os.cpu_count()} processor cores")
    for package in PACKAGES:
        found = version(package)
        if found:
            yield Check(package, "ok", found)
        else:
            yield Check(package, "wrong", "not installed", f"pip install {package}")
    for package, use in OPTIONAL.items():
        found = version(package)
        yield Check(package, "ok" if found else "note", found or f"not installed ({use})")
    for name in sorted(os.environ):
        if name.startswith("NAPARI_SA2NET_"):
            yield Check(name, "note", os.environ[name])


def devices() -> Check:
    """Tell which device computes, and why."""
    code, text = probe(_ENGINE)
    if code:
        return Check("devices", "wrong", *remedy("napari_sa2net", code, text))
    told = json.loads(text)
    others = "; ".join(told["all"])
    return Check("devices", "ok", f"'auto' chooses {told['reason']} Available: {others}")


def window(torch_works: bool) -> Iterator[Check]:
    """Tell whether napari's window can open."""
    if version("napari"):
        code, text = probe(_NAPARI)
        if code == 0:
            yield Check("napari works", "ok", f"napari {json.loads(text)}")
        else:
            yield Check("napari works", "wrong", *remedy("napari", code, text))
    bindings = [f"{name} {version(name)}" for name in BINDINGS if version(name)]
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    offscreen = sys.platform.startswith("linux") and not display
    code, text = probe(_QT, **({"QT_QPA_PLATFORM": "offscreen"} if offscreen else {}))
    if code == 0:
        yield Check("Qt works", "ok", json.loads(text))
    else:
        yield Check("Qt works", "wrong", *remedy("Qt", code, text))
    if len(bindings) > 1:
        yield Check("Qt bindings", "note", f"{', '.join(bindings)}: QT_API chooses one")
    if offscreen:
        yield Check("display", "note", "none: the window cannot open here, the command line works")
    if sys.platform == "win32" and torch_works and code == 0:
        code, text = probe(_ORDER)
        if code:
            yield Check("torch after Qt", "wrong", *remedy("torch", code, text))


def folders() -> Iterator[Check]:
    """Tell where things are kept, whether they can be, and how full they are."""
    code, text = probe(_FOLDERS)
    if code:
        yield Check("cache folder", "wrong", *remedy("napari_sa2net", code, text))
        return
    for (name, variable), place in zip(FOLDERS.items(), json.loads(text), strict=True):
        yield folder(name, Path(place), variable)


def folder(name: str, path: Path, variable: str) -> Check:
    """Tell whether a folder, which need not exist yet, can be written, and its free space."""
    existing = next((p for p in (path, *path.absolute().parents) if p.exists()), Path.cwd())
    mend = f"Make it writable, or set the variable {variable} to a folder that is."
    try:
        check_writable(existing)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(name, "wrong", f"{path} is not writable ({error.strerror or error})", mend)
    text = f"{path}{_held(path)}, {free / 1e9:.1f} GB free"
    if free < LITTLE_SPACE:
        return Check(name, "wrong", text, f"Free some space, or set {variable} to another disk.")
    return Check(name, "ok", f"{text}, writable")


def _held(path: Path) -> str:
    """Say how much is in a folder."""
    if not path.exists():
        return " (made when needed)"
    try:
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    except OSError:  # a file that went away meanwhile, or may not be looked at
        return ""
    return f" (holds {sum(sizes) / 1e6:.1f} MB)" if sizes else " (empty)"


def bundled_models() -> Iterator[Check]:
    """Compare the models in the package with their registered hashes."""
    mend = "Install again: pip install --force-reinstall --no-deps napari-sa2net"
    try:
        table = tomllib.loads((ENGINE / "models.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        yield Check("bundled models", "wrong", f"the registry cannot be read: {error}", mend)
        return
    cards = {card.get("file"): card for card in table.get("models", [])}
    found = sorted((ENGINE / "models").glob("*.safetensors"))
    if not found:
        yield Check("bundled models", "wrong", "none: the package is incomplete", mend)
    for path in found:
        expected = cards.get(path.name, {}).get("sha256", "")
        try:
            actual = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            yield Check(f"model {path.stem}", "wrong", f"cannot be read: {error}", mend)
            continue
        if not expected:
            yield Check(f"model {path.stem}", "note", "the registry has no hash of it")
        elif actual == expected:
            size = path.stat().st_size / 1e6
            yield Check(f"model {path.stem}", "ok", f"{size:.1f} MB, SHA-256 is right")
        else:
            yield Check(
                f"model {path.stem}", "wrong", "its SHA-256 is not the registered one", mend
            )
