"""What the commands share: exit codes, messages, arguments."""

from __future__ import annotations

import argparse
import sys
import traceback
from typing import TYPE_CHECKING, Any

from .streams import one_line

if TYPE_CHECKING:
    from ..engine.events import Message

FAILED = 1
USAGE = 2
STOPPED = 130


class UsageError(Exception):
    """The command was called in a way that makes no sense."""


def report(error: BaseException, debug: bool, about: str = "") -> None:
    """Tell an error on stderr in one line; with ``debug`` where it came from as well."""
    from ..engine.errors import SA2NetError

    if debug:
        traceback.print_exception(error, file=sys.stderr)
    text = one_line(str(error))
    if isinstance(error, MemoryError):
        text = "the memory is not enough: close other programs, or use a smaller image"
    elif not isinstance(error, (SA2NetError, UsageError)):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    where = f"{about}: " if about and about not in text else ""
    print(f"sa2net: {where}{text}", file=sys.stderr)


class Messages:
    """Prints the engine's messages on stderr, each text once."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._told: set[str] = set()

    def __call__(self, message: Message) -> None:
        """Print one message; a quiet run tells warnings only."""
        if message.text in self._told or (self._quiet and not message.warning):
            return
        self._told.add(message.text)
        print(f"{'Warning: ' if message.warning else ''}{one_line(message.text)}", file=sys.stderr)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the choice of model and device."""
    parser.add_argument(
        "--model",
        default="nuclei",
        metavar="NAME|FILE",
        help="a model as 'sa2net models' lists them, or a model file (default: nuclei)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1, mps, … (default: auto, the fastest there is)",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "torch", "onnxruntime"),
        help="what runs the network (default: auto, ONNX Runtime on the CPU if it is installed)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "single", "half"),
        help="on an NVIDIA GPU (default: auto, half precision if the first tiles come out alike "
        "in both)",
    )
    parser.add_argument(
        "--flips",
        action="store_const",
        const=True,
        help="average over the image and its mirror images, which takes four times as long",
    )


def add_axes(parser: argparse.ArgumentParser, *, all_positions: bool = False) -> None:
    """Add what tells the axes, channels and position of the images."""
    parser.add_argument(
        "--axes",
        type=_axes,
        help="a letter for each axis of the images, in place of what the files say: T, Z, C, Y, X, "
        "S for colours, others for axes of which one entry is used, as R for positions",
    )
    parser.add_argument(
        "--channels",
        type=_channels,
        metavar="0,1,…",
        help="the channels to use, in the model's order: numbers counted from 0, or names if the "
        "files have them (DAPI,actin)",
    )
    parser.add_argument(
        "--position",
        type=_position_or_all if all_positions else _count,
        metavar="N|all" if all_positions else "N",
        help="which image of files that hold several (positions, scenes), counted from 0; the "
        "first if not given" + (", each of them with all" if all_positions else ""),
    )


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Add what tells the size of the objects."""
    parser.add_argument(
        "--diameter",
        type=positive,
        metavar="PIXELS",
        help="typical diameter of the objects in pixels of the image",
    )
    parser.add_argument(
        "--pixel-size",
        type=positive,
        metavar="MICROMETRES",
        help="size of a pixel, in place of what the files say",
    )


def add_region(parser: argparse.ArgumentParser) -> None:
    """Add what tells which part of the images is segmented."""
    parser.add_argument(
        "--region",
        type=_region,
        metavar="Y0,X0,Y1,X1",
        help="segment only this part of each plane: first row, first column, last row + 1, "
        "last column + 1",
    )


def add_labelling(parser: argparse.ArgumentParser) -> None:
    """Add how probabilities become labels; what is not given is as the model's card says."""
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="0…1",
        help="a pixel is foreground when its probability is above this",
    )
    parser.add_argument(
        "--min-size",
        type=_count,
        metavar="PIXELS",
        help="drop objects of fewer pixels of the image than this",
    )
    parser.add_argument(
        "--no-split",
        dest="split",
        action="store_const",
        const=False,
        help="leave touching objects together",
    )
    parser.add_argument(
        "--result",
        choices=("instances", "classes"),
        help="a number for each object, or the number of its class",
    )


def segment_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what :func:`add_model`, :func:`add_scale` and :func:`add_labelling` have read.

    But the model: the device, the scale, how labels are made, and how the network runs.
    """
    names = ("device", "diameter", "pixel_size", "threshold", "min_size", "split", "result",
             "flips", "backend", "precision")  # fmt: skip
    return {name: getattr(arguments, name) for name in names}


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _axes(text: str) -> str:
    axes = text.upper()
    letters = axes.isascii() and axes.isalpha()
    if not {"Y", "X"} <= set(axes) or not letters or len(set(axes)) < len(axes):
        raise argparse.ArgumentTypeError(
            f"{text!r} must have Y and X, may have T, Z, C, S and other letters, and each once, "
            "as ZCYX"
        )
    return axes


def _position_or_all(text: str) -> int | str:
    return "all" if text.strip().lower() == "all" else _count(text)


def _channels(text: str) -> tuple[int | str, ...]:
    parts = text.replace(",", " ").split()
    if all(part.isascii() and part.isdigit() for part in parts):
        channels: list[int | str] = [int(part) for part in parts]
    else:  # a name may have spaces in it
        names = [part.strip() for part in text.split(",")]
        channels = [int(name) if name.isascii() and name.isdigit() else name for name in names]
    if not channels or any(name == "" or str(name)[0] == "-" for name in channels):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers from 0 on or names, as 0,2")
    return tuple(channels)


def _region(text: str) -> tuple[int, ...]:
    parts = text.replace(",", " ").split()
    corners = tuple(int(part) for part in parts if part.isascii() and part.isdigit())
    if len(corners) < 4 or len(parts) != 4 or corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be first row, first column, last row + 1 and last column + 1, as "
            "0,0,2000,3000"
        )
    return corners


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1, as 0.5")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)
