"""``sa2net evaluate``: figures of a model on images with known masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import (
    FAILED,
    Messages,
    UsageError,
    add_axes,
    add_common,
    add_labelling,
    add_model,
    add_scale,
    positive,
    segment_options,
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="compare results with true masks: Dice, IoU, AP",
        description="Segment images and compare the labels with true masks of the same names "
        "(without the ending). Dice and IoU are of the masks 'labels > 0', of classes the means "
        "over them; AP is TP / (TP + FP + FN) of the objects matched one to one (--iou); all are "
        "means over the images. An image empty in both counts as 1, in one only as 0.",
    )
    parser.add_argument("images", metavar="IMAGES", help="a folder, a file, or a quoted pattern")
    parser.add_argument(
        "masks",
        metavar="MASKS",
        help="the same of masks: 0 background, a number for each object, or for each class where "
        "the model's result is classes",
    )
    add_model(parser)
    add_axes(parser)
    add_scale(parser)
    add_labelling(parser)
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="use only the images whose names (without the ending) are the lines of this file",
    )
    parser.add_argument(
        "--iou",
        type=positive,
        default=0.5,
        metavar="0…1",
        help="IoU from which on an object counts as found (default: 0.5)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print only warnings and errors, and without "
        "--json the table",
    )  # fmt: skip
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; return 1 if some image failed."""
    if arguments.iou > 1:
        raise UsageError(f"--iou {arguments.iou:g} must be at most 1.")
    names = None if arguments.names is None else _names(arguments.names)
    from .. import api
    from ..engine.evaluation import check_replaceable
    from ..engine.files import ensure_folder, replacing
    from ..progress import ProgressBar

    if arguments.json is not None:  # what cannot be written should fail now, not afterwards
        check_replaceable(arguments.json)
        ensure_folder(arguments.json.parent)
    quiet = arguments.quiet
    with ProgressBar("Evaluating", Messages(quiet), quiet=quiet) as bar:
        evaluation = api.evaluate(
            arguments.images,
            arguments.masks,
            arguments.model,
            names=names,
            iou_threshold=arguments.iou,
            on_event=bar,
            axes=arguments.axes,
            channels=arguments.channels,
            position=arguments.position,
            **segment_options(arguments),
        )
    if arguments.json is None or not quiet:  # where else would the figures be
        print(evaluation.table())
    if arguments.json is not None:
        with replacing(arguments.json) as partial:
            partial.write_text(evaluation.to_json() + "\n", encoding="utf-8")
    for name, reason in evaluation.failed:
        print(f"failed: {name}: {' '.join(reason.split())}")
    return FAILED if evaluation.failed else 0


def _names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise UsageError(f"{path} holds no name.")
    return names
