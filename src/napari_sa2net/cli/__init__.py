"""``sa2net``: the command line.

Nothing here imports torch, napari or Qt before a command needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ..engine.processes import ProcessPlace
from . import doctor, evaluate, export, models, segment, train
from .common import FAILED, STOPPED, USAGE, UsageError, report
from .streams import visible_streams


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and stop")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        print(f"sa2net {__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sa2net",
        description="Segment microscopy images with SA2-Net.",
        epilog="Exit codes: 0 all went well, 1 something failed, 2 wrong usage, 130 stopped by "
        "Ctrl-C.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (segment, models, train, evaluate, export, doctor):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without µ or … must not stop us
            stream.reconfigure(errors="replace")
    with visible_streams(sys.stdout, sys.stderr):
        try:
            return _run(build_parser().parse_args(argv))
        except KeyboardInterrupt:
            print("sa2net: stopped", file=sys.stderr)
            return STOPPED


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.debug:  # what matters of these warnings is told in our own words
        logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        report(error, arguments.debug)
        return USAGE
    except BrokenPipeError:  # the reader of our output has gone, as with "| head"
        sys.stderr.close()
        return FAILED
    except Exception as error:
        report(error, arguments.debug, str(ProcessPlace.of_environment()))
        return FAILED
    return code
