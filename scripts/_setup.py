"""What the two scripts share: Qt's system libraries, a virtual environment, a display.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
MARK = "napari-sa2net.json"

# A shared library that Qt 6 or napari's OpenGL loads, and the Debian package that has it.
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
}
# OpenGL in software, for a machine without a graphics driver. It comes along with libgl1.
SOFTWARE_OPENGL = "libgl1-mesa-dri"
VIRTUAL_DISPLAY = "xvfb"

NETWORK_SIGNS = (
    "NameResolutionError",
    "name resolution",
    "getaddrinfo failed",
    "NewConnectionError",
    "Network is unreachable",
    "ConnectTimeout",
    "Read timed out",
    "ProxyError",
    "No route to host",
)


class SetupError(Exception):
    """Something is missing; the message says what to do."""


def tell(text: str) -> None:
    """Print at once, also where the output is no terminal."""
    print(text, flush=True)


def parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the options that both scripts have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--venv",
        type=Path,
        default=ROOT / ".venv",
        metavar="FOLDER",
        help="where to install everything (default: .venv in the clone)",
    )
    made.add_argument(
        "--no-system-packages",
        action="store_true",
        help="install nothing with apt-get, only tell what is missing",
    )
    return made


# ----------------------------------------------------------------- system libraries


def missing_qt_packages(virtual_display: bool) -> list[str]:
    """Return the Debian packages of Qt's system libraries that are not installed (Linux only)."""
    if sys.platform != "linux":
        return []
    missing = [package for name, package in QT_LIBRARIES.items() if not _loads(name)]
    if {"libegl1", "libgl1"} & set(missing):
        missing.append(SOFTWARE_OPENGL)
    if virtual_display and not shutil.which("Xvfb"):
        missing.append(VIRTUAL_DISPLAY)
    return missing


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def ensure_qt_libraries(virtual_display: bool, allowed: bool = True) -> bool:
    """Install what Qt needs of the system, or print the line that does.

    Returns
    -------
    bool
        Whether everything is there now.
    """
    missing = missing_qt_packages(virtual_display)
    if not missing:
        return True
    if allowed and _may_install():
        tell(f"Installing Qt's system libraries: {' '.join(missing)}")
        _apt_get(missing)
        missing = missing_qt_packages(virtual_display)
        if not missing:
            return True
    tell("Qt's window needs system libraries that are not installed. Install them with")
    tell(f"    {install_line(missing)}")
    if not _is_debian():
        tell("(these are the names on Debian and Ubuntu; other systems have similar ones)")
    return False


def install_line(packages: Sequence[str]) -> str:
    """Return the command with which a person installs Debian packages."""
    names = " ".join(packages)
    return f"sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends {names}'"


def _is_debian() -> bool:
    return shutil.which("apt-get") is not None


def _may_install() -> bool:
    return sys.platform == "linux" and _is_debian() and os.geteuid() == 0


def _apt_get(packages: Sequence[str]) -> None:
    """Install; what is still missing afterwards is for the caller to find."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            tell(f"apt-get {arguments[0]} failed (exit code {done.returncode}).")


# ------------------------------------------------------------- virtual environment


def ensure_environment(folder: Path, extras: Sequence[str], allowed: bool = True) -> Path:
    """Install this package into a virtual environment, unless it is there already.

    Parameters
    ----------
    folder
        Of the virtual environment.
    extras
        Of the package, to be installed along with it.
    allowed
        Whether apt-get may be used.

    Returns
    -------
    Path
        The environment's Python.

    Raises
    ------
    SetupError
        If it cannot be made; the message says what to do.
    """
    folder = folder.absolute()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = folder / MARK
    if not _works(python):
        _make_environment(folder, python, allowed)
    state = _read_mark(mark)
    wanted = {*extras, *state.get("extras", [])}
    now = {"extras": sorted(wanted), "inputs": _inputs_hash(), "root": str(ROOT)}
    if state == now:
        return python
    # From here until pip is done the environment is incomplete, also if we are interrupted.
    mark.write_text(json.dumps({"extras": state.get("extras", [])}), encoding="utf-8")
    tell(f"Installing napari-sa2net and what it needs into {folder} (a few minutes) ...")
    _pip_install(python, sorted(wanted))
    mark.write_text(json.dumps(now), encoding="utf-8")
    return python


def _read_mark(mark: Path) -> dict[str, list[str]]:
    try:
        state: dict[str, list[str]] = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


def _inputs_hash() -> str:
    digest = hashlib.sha256(platform.python_version().encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _works(python: Path) -> bool:
    """Whether an environment is there, with a Python that is new enough and pip."""
    if not python.exists():
        return False
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run([str(python), "-c", check], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _make_environment(folder: Path, python: Path, allowed: bool) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        # Not made by us: do not throw away somebody's work.
        raise SetupError(
            f"{folder} is there already, but is no working virtual environment with pip and "
            "Python 3.11 or newer. Remove it, or name another folder with --venv."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("{}", encoding="utf-8")
    command = [sys.executable, "-m", "venv", str(folder)]
    tell(f"Making a virtual environment in {folder} ...")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if done.returncode and allowed and _may_install():
        tell(f"Python's venv module is incomplete: installing {package}.")
        _apt_get([package])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not _works(python):
        hint = f" Install it with\n    {install_line([package])}" if _is_debian() else ""
        details = (done.stdout + done.stderr).strip()
        raise SetupError(
            f"Python's venv module could not make a virtual environment in {folder}.{hint}\n"
            f"It said: {details}"
        )


def _pip_install(python: Path, extras: Sequence[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if not sys.stdout.isatty():
        command += ["--quiet", "--progress-bar", "off"]
    command += ["--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}[{','.join(extras)}]"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    ) as process:
        errors = []
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            errors.append(line)
    if process.returncode:
        raise SetupError(_explain_pip("".join(errors), python))


def _explain_pip(errors: str, python: Path) -> str:
    if "No space left" in errors or "not enough space" in errors:
        free = shutil.disk_usage(ROOT).free / 1e9
        return (
            f"The disk is full ({free:.1f} GB free; about 3 GB are needed, with CUDA 8 GB). Make "
            "room, or name a folder on another disk with --venv, and run the same line again."
        )
    if any(sign in errors for sign in NETWORK_SIGNS):
        return (
            "The packages could not be downloaded: there is no network, or a proxy is needed "
            "(set HTTPS_PROXY to its address). Then run the same line again; it goes on where "
            "it stopped."
        )
    return (
        "pip could not install the packages; its last lines above say why. If a pinned version "
        f"does not exist for this machine, install without the pins:\n    {python} -m pip "
        f'install -e "{ROOT}[pyqt6,zarr]"'
    )


# -------------------------------------------------------------------------- display


def display_works(python: Path) -> bool:
    """Whether Qt can open a window here; tried in a process of its own, which may abort."""
    on_linux = sys.platform == "linux"
    if on_linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return False
    check = "from qtpy.QtWidgets import QApplication; QApplication([]).processEvents()"
    try:
        done = subprocess.run(
            [str(python), "-c", check], capture_output=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextmanager
def virtual_display() -> Iterator[dict[str, str]]:
    """Start Xvfb and yield the environment for programs that are to draw on it.

    Raises
    ------
    SetupError
        If it is not installed or does not start.
    """
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1000x24"]
    try:
        server = subprocess.Popen(
            [*command, "-nolisten", "tcp"],
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise SetupError(f"Xvfb does not start ({error}): {install_line(['xvfb'])}") from error
    os.close(writing)
    try:
        with open(reading, encoding="ascii") as pipe:
            number = pipe.readline().strip()  # empty if the server ended without one
        if not number:
            raise SetupError("Xvfb ended at once: is /tmp writable?")
        environment = {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
        # A window on the person's own screen is not meant.
        environment.pop("WAYLAND_DISPLAY", None)
        yield environment
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()


def run(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> int:
    """Run a program in the clone's folder and return its exit code."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=environment, check=False
    ).returncode


def quoted(command: Sequence[str | Path]) -> str:
    """Return a command as a person would type it."""
    return shlex.join(str(part) for part in command)


def guarded(main: Callable[[], object]) -> int:
    """Call ``main`` and turn what goes wrong into a message and an exit code."""
    try:
        result = main()
        return result if isinstance(result, int) else 0
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same line again to go on.", file=sys.stderr, flush=True)
        return 130
