"""Set everything up and run the tests: ``python3 scripts/run_tests.py``.

``--lint`` runs ruff and mypy as well. Arguments after ``--`` go to pytest.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "napari-sa2net needs Python 3.11 or newer, this is %d.%d. Install a newer one and run"
        " this script with it." % sys.version_info[:2]
    )

import os

import _setup


def main() -> int:
    """Run the tests and return the exit code."""
    parser = _setup.parser(__doc__.splitlines()[0])
    parser.add_argument("--lint", action="store_true", help="run ruff and mypy as well")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    arguments = parser.parse_args()
    system = not arguments.no_system_packages

    on_linux = sys.platform == "linux"
    own_display = on_linux and not os.environ.get("DISPLAY")
    if not _setup.ensure_qt_libraries(virtual_display=own_display, allowed=system):
        return 1
    extras = ["pyqt6", "test", "zarr", *(["lint"] if arguments.lint else [])]
    python = _setup.ensure_environment(arguments.venv, extras, system)
    if on_linux and not own_display and not _setup.display_works(python):
        _setup.tell(f"The display {os.environ['DISPLAY']} does not answer: using one of our own.")
        own_display = True
        if not _setup.ensure_qt_libraries(virtual_display=True, allowed=system):
            return 1

    failed = []
    if arguments.lint:
        for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
            _setup.tell(f"\n$ {_setup.quoted(check)}")
            if _setup.run([python, "-m", *check]):
                failed.append(check[0])
    command = [python, "-m", "pytest", *arguments.pytest]
    _setup.tell(f"\n$ {_setup.quoted(command)}")
    if own_display:
        with _setup.virtual_display() as environment:
            code = _setup.run(command, environment)
    else:
        code = _setup.run(command)
    if code:
        failed.append("pytest")
    _setup.tell(f"\nFailed: {', '.join(failed)}" if failed else "\nAll passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_setup.guarded(main))
