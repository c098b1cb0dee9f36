"""Set everything up and segment a bundled image in napari: ``python3 scripts/try_it.py``.

Without a display it writes the labels and a picture of them, and says where.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "napari-sa2net needs Python 3.11 or newer, this is %d.%d. Install a newer one and run"
        " this script with it." % sys.version_info[:2]
    )

from pathlib import Path

import _setup


def start_lines(python: Path) -> str:
    """Return what to type to start napari, or the command line, again."""
    folder = python.parent
    where = ""
    if folder.is_relative_to(_setup.ROOT):  # shorter, and no spaces that some shells need quoted
        folder = folder.relative_to(_setup.ROOT)
        where = f", in the folder {_setup.ROOT},"
    return (
        f"To start napari later, type{where}\n    {folder / 'napari'}\n"
        f"The command line is\n    {folder / 'sa2net'}"
    )


def main() -> int:
    """Show a segmentation and return the exit code."""
    parser = _setup.parser(__doc__.splitlines()[0])
    parser.add_argument("--no-window", action="store_true", help="only write files")
    parser.add_argument(
        "--output",
        type=Path,
        default=_setup.ROOT / "segmented",
        metavar="FOLDER",
        help="where files are written without a window (default: segmented in the clone)",
    )
    arguments = parser.parse_args()
    system = not arguments.no_system_packages

    # Without these there is no window, but there are still files.
    complete = _setup.ensure_qt_libraries(virtual_display=False, allowed=system)
    python = _setup.ensure_environment(arguments.venv, ["pyqt6", "zarr", "fast"], system)
    demo = _setup.ROOT / "scripts" / "_demo.py"

    if complete and not arguments.no_window and _setup.display_works(python):
        _setup.tell("Opening napari. The first start takes a while; close its window to end.")
        _setup.tell("It shows the layers side by side; Ctrl+G puts them on top of one another.")
        code = _setup.run([python, demo, "--window"])
        if code == 0:
            _setup.tell(start_lines(python))
            return 0
        _setup.tell(f"napari ended with exit code {code}. Writing files instead.")
    else:
        _setup.tell("No window: writing files.")
    code = _setup.run([python, demo, "--output", arguments.output.absolute()])
    if code == 0:
        _setup.tell(start_lines(python))
    return code


if __name__ == "__main__":
    sys.exit(_setup.guarded(main))
