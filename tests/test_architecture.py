"""The shape of the package: what imports what, what is shipped."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_sa2net

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "napari_sa2net"
MODULES = sorted(PACKAGE.rglob("*.py"))

GUI_LIBRARIES = frozenset({"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt6", "PySide6"})
QT = frozenset({"PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy", "superqt", "magicgui"})

# What stands beside engine, gui and cli: the plain calls of Python, and what drives them.
CALLS = ("api", "segmenting", "tuning", "driving")
FORBIDDEN = {
    "engine": ("gui", "cli", "progress", *CALLS),
    "gui": ("cli", "progress", *CALLS),
    "cli": ("gui",),
    "api": ("gui", "cli"),
    "segmenting": ("gui", "cli", "api", "tuning"),
    "tuning": ("gui", "cli", "api", "segmenting"),
    "driving": ("gui", "cli", "api", "segmenting", "tuning"),
    "progress": ("gui", "cli", *CALLS),
}

# Within the engine imports go down this list only (a module not named is in the middle).
BOTTOM = frozenset({"errors", "events", "network", "operators"})
TOP = frozenset({"inference", "training", "evaluation", "options"})


def relative_name(path: Path) -> str:
    """Return ``engine.images`` for ``…/engine/images.py``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in it."""
    here = path.relative_to(PACKAGE.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module or "")))
            yield module
            # `from . import x` may name a module.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_parts(path: Path) -> set[str]:
    """Return the modules of our own package that a file imports, without the package's name."""
    known = {relative_name(module) for module in MODULES}
    own = {name.removeprefix("napari_sa2net.") for name in imports(path)}
    return own & known


def loaded_after(code: str) -> set[str]:
    """Return the top-level names in ``sys.modules`` after ``code`` ran in a new interpreter."""
    ending = "\nimport sys\nprint('LOADED', *sorted({n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + ending],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1].split()
    assert last[0] == "LOADED"
    return set(last[1:])


def test_reader_of_imports_sees_all_kinds(tmp_path: Path) -> None:
    found = set(imports(PACKAGE / "driving.py"))
    assert {"napari_sa2net.engine.events", "napari_sa2net.progress", "warnings"} <= found


def test_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "scipy", "skimage", "napari"} | QT
    assert not loaded_after("import napari_sa2net") & heavy


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert napari_sa2net.__version__ == project["version"]


def test_public_names_exist() -> None:
    for name in napari_sa2net.__all__:
        assert getattr(napari_sa2net, name) is not None


def test_engine_needs_neither_qt_nor_napari() -> None:
    names = [f"napari_sa2net.{relative_name(p)}" for p in MODULES if "engine" in p.parts]
    assert len(names) > 10
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    assert not loaded_after(code) & ({"napari"} | QT)


@pytest.mark.parametrize(
    "command", ["", "segment", "models", "train", "evaluate", "export", "doctor"]
)
def test_help_is_quick_to_load(command: str) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    code = f"from napari_sa2net.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass"
    assert not loaded_after(code) & ({"napari", "torch", "numpy"} | QT)


def test_every_part_of_the_package_has_its_rule() -> None:
    areas = {relative_name(path).partition(".")[0] for path in MODULES}
    assert areas - {"napari_sa2net", "__main__", ""} == FORBIDDEN.keys()


@pytest.mark.parametrize("path", MODULES, ids=relative_name)
def test_imports_go_one_way(path: Path) -> None:
    area = relative_name(path).partition(".")[0]
    forbidden = FORBIDDEN.get(area, ())
    wrong = {name for name in imported_parts(path) if name.partition(".")[0] in forbidden}
    assert not wrong
    if area == "engine":
        libraries = {name.partition(".")[0] for name in imports(path)}
        assert not libraries & GUI_LIBRARIES


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parent == PACKAGE / "engine"], ids=relative_name
)
def test_engine_has_layers(path: Path) -> None:
    own = {name.removeprefix("engine.") for name in imported_parts(path)} - {"", "engine"}
    own = {name.partition(".")[0] for name in own}
    if path.stem in BOTTOM:
        assert own <= BOTTOM
    elif path.stem not in TOP:
        assert not own & TOP


def test_engine_has_no_circle() -> None:
    graph = {
        relative_name(p): imported_parts(p) - {"engine", relative_name(p)}
        for p in MODULES
        if "engine" in p.parts
    }
    while graph:
        ends = {name for name, targets in graph.items() if not targets & graph.keys()}
        assert ends, f"these import each other: {sorted(graph)}"
        graph = {name: targets for name, targets in graph.items() if name not in ends}


def test_gui_uses_nothing_private_of_napari() -> None:
    private = {
        (relative_name(path), name)
        for path in MODULES
        for name in imports(path)
        if name.startswith("napari.") and any(part.startswith("_") for part in name.split("."))
    }
    assert not private


def test_typing_marker_and_manifest_are_there() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "napari.yaml").is_file()


def registry() -> list[dict[str, object]]:
    """Return the registry's entries as they stand in the file."""
    text = (PACKAGE / "engine" / "models.toml").read_text(encoding="utf-8")
    entries: list[dict[str, object]] = tomllib.loads(text)["models"]
    return entries


def test_registry_tells_each_model_in_full() -> None:
    for entry in registry():
        for key in ("description", "modality", "licence", "training_data", "citation"):
            assert str(entry.get(key, "")).strip(), (entry["name"], key)
        assert int(str(entry["bytes"])) > 0
        assert len(str(entry["sha256"])) == 64


def test_bundled_files_are_those_of_the_registry() -> None:
    entries = {str(entry["file"]): entry for entry in registry()}
    files = {path.name: path for path in (PACKAGE / "engine" / "models").glob("*.safetensors")}
    assert "nuclei.safetensors" in files
    assert files.keys() <= entries.keys()
    for name, path in files.items():
        data = path.read_bytes()
        assert entries[name]["bytes"] == len(data)
        assert entries[name]["sha256"] == hashlib.sha256(data).hexdigest()


def test_bundled_models_are_small() -> None:
    sizes = [p.stat().st_size for p in (PACKAGE / "engine" / "models").glob("*.safetensors")]
    assert sum(sizes) <= 12_000_000
