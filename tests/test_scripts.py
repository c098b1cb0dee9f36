"""The README's two scripts, as far as they can be tried without installing anything."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def load(name: str) -> ModuleType:
    """Import a script as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the scripts' shared module, kept from installing anything."""
    module = load("_setup")

    def forbidden(*arguments: Any, **_: Any) -> None:
        raise AssertionError(f"nothing may be installed: {arguments}")

    monkeypatch.setattr(module, "_apt_get", forbidden)
    monkeypatch.setattr(module, "_pip_install", forbidden)
    return module


@pytest.mark.parametrize("script", ["try_it.py", "run_tests.py"])
def test_help_works_anywhere(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--venv" in done.stdout


@pytest.mark.parametrize("script", ["try_it.py", "run_tests.py"])
def test_an_old_python_is_told(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer, this is 3\.9"):
        load(script.removesuffix(".py"))


def test_missing_libraries_become_one_line(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(setup, "_loads", lambda name: name != "libxcb-cursor.so.0")
    monkeypatch.setattr(setup, "_may_install", lambda: False)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    assert not setup.ensure_qt_libraries(virtual_display=True)
    assert "apt-get install -y --no-install-recommends libxcb-cursor0 xvfb" in (
        capsys.readouterr().out
    )


def test_root_on_debian_installs_them(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    there: set[str] = set()
    monkeypatch.setattr(setup, "_loads", lambda name: setup.QT_LIBRARIES[name] in there)
    monkeypatch.setattr(setup, "_may_install", lambda: True)
    monkeypatch.setattr(setup, "_apt_get", there.update)
    assert setup.ensure_qt_libraries(virtual_display=False)
    assert "libegl1" in there
    assert "libgl1-mesa-dri" in there
    assert "sudo" not in capsys.readouterr().out


def test_other_systems_need_none(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_loads", lambda name: False)
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        assert setup.ensure_qt_libraries(virtual_display=True)


def make_environment(folder: Path) -> Path:
    """Make a virtual environment that borrows our own pip, without installing one."""
    command = [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages"]
    subprocess.run([*command, str(folder)], check=True)
    packages = next(folder.rglob("site-packages"))
    (packages / "pip.py").write_text("")
    return folder


def test_environment_is_made_once(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_environment(tmp_path / "venv")
    installed: list[list[str]] = []
    monkeypatch.setattr(setup, "_pip_install", lambda python, extras: installed.append(extras))
    python = setup.ensure_environment(folder, ["pyqt6"])
    assert python.exists()
    setup.ensure_environment(folder, ["pyqt6"])
    assert installed == [["pyqt6"]]
    setup.ensure_environment(folder, ["test"])
    assert installed[1:] == [["pyqt6", "test"]]
    setup.ensure_environment(folder, ["pyqt6"])
    assert len(installed) == 2


def test_interrupted_installation_is_done_again(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_environment(tmp_path / "venv")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "_pip_install", interrupted)
    assert setup.guarded(lambda: setup.ensure_environment(folder, ["pyqt6"])) == 130
    installed: list[list[str]] = []
    monkeypatch.setattr(setup, "_pip_install", lambda python, extras: installed.append(extras))
    setup.ensure_environment(folder, ["pyqt6"])
    assert installed == [["pyqt6"]]


def test_a_folder_of_somebody_else_is_left_alone(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(setup.SetupError, match="--venv"):
        setup.ensure_environment(tmp_path, ["pyqt6"])
    assert (tmp_path / "thesis.txt").read_text() == "chapter 1"


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        ("NewConnectionError: Temporary failure in name resolution", "HTTPS_PROXY"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.13.0", "without the pins"),
    ],
)
def test_pip_failures_are_explained(setup: ModuleType, errors: str, advice: str) -> None:
    assert advice in setup._explain_pip(errors, Path("python"))


def test_no_display_is_noticed(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not setup.display_works(Path(sys.executable))
    # A display that is named but not there: Qt aborts the process that tries.
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    assert not setup.display_works(Path(sys.executable))


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb")
def test_virtual_display_works_and_ends(setup: ModuleType) -> None:
    with setup.virtual_display() as environment:
        name = environment["DISPLAY"]
        socket = Path(f"/tmp/.X11-unix/X{name.removeprefix(':')}")
        assert socket.exists()
    assert not socket.exists()


def test_a_wheel_that_lacks_or_has_too_much_is_noticed() -> None:
    check = load("check_wheel")
    good = dict.fromkeys(check.NEEDED, 1000)
    assert check.problems(good) == []
    model = "napari_sa2net/engine/models/nuclei.safetensors"
    assert "more than 12000000" in check.problems({**good, model: 12_000_001})[0]
    assert "does not belong" in check.problems({**good, "tests/test_x.py": 1})[0]
    del good["napari_sa2net/napari.yaml"]
    assert check.problems(good) == ["napari_sa2net/napari.yaml is missing"]


@pytest.mark.parametrize("window", [True, False])
def test_trying_it_tells_how_to_start_again(
    window: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = load("try_it")
    shared = script._setup
    python = shared.ROOT / ".venv" / "bin" / "python"
    monkeypatch.setattr(shared, "ensure_qt_libraries", lambda **_: True)
    monkeypatch.setattr(shared, "ensure_environment", lambda *_: python)
    monkeypatch.setattr(shared, "display_works", lambda _: window)
    monkeypatch.setattr(shared, "run", lambda _: 0)
    monkeypatch.setattr(sys, "argv", ["try_it.py"])
    assert script.main() == 0
    told = capsys.readouterr().out
    assert str(shared.ROOT) in told
    for name in ("napari", "sa2net"):
        assert f"\n    {Path('.venv', 'bin', name)}\n" in told


def test_demo_writes_labels_and_a_picture(tmp_path: Path) -> None:
    from skimage.io import imread

    labels_path, overlay_path = load("_demo").to_files(tmp_path / "out")
    labels, overlay = imread(labels_path), imread(overlay_path)
    assert labels.max() > 5
    assert overlay.shape == (*labels.shape, 3)
    # Outlines are drawn, and not everywhere.
    outline = (overlay == (255, 200, 0)).all(-1)
    assert 0 < outline.mean() < 0.5


def test_demo_window_shows_labels_stages_and_disagreement(
    make_napari_viewer_proxy: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    demo = load("_demo")
    widget = demo.in_window(viewer)
    qtbot.waitUntil(lambda: bool(demo.grid(viewer).enabled), timeout=120_000)
    assert not widget.controller.state.busy
    assert all(layer.visible for layer in viewer.layers)
    kinds = [type(layer).__name__ for layer in viewer.layers]
    assert kinds.count("Labels") == 1
    # The sample, four stages and the disagreement.
    assert kinds.count("Image") == 6
    labels = next(layer for layer in viewer.layers if type(layer).__name__ == "Labels")
    assert np.asarray(labels.data).max() > 5


def test_both_lists_of_versions_pin_the_same_torch() -> None:
    def pins(name: str) -> set[str]:
        lines = (SCRIPTS.parent / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if line.startswith("torch==")}

    assert len(pins("constraints.txt")) == 2  # another on Windows
    assert pins("constraints-torch.txt") == pins("constraints.txt")
