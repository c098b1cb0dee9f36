"""``sa2net segment``: images in, label files out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.batch.events import FileEnded, FileStarted
from ..engine.batch.kinds import KINDS
from . import segment_zarr
from .common import (
    FAILED,
    Messages,
    UsageError,
    add_axes,
    add_common,
    add_labelling,
    add_model,
    add_region,
    add_scale,
    report,
    segment_options,
)
from .streams import visible

if TYPE_CHECKING:
    from ..engine.events import Event
    from ..progress import ProgressBar


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "segment",
        help="segment images and write labels",
        description="Segment images and write NAME_labels.ome.tif for each into a folder, with "
        "the image's axes and pixel size. A file that fails is reported and the others go on.",
        epilog="Exit codes: 0 all images are done, 1 some are not, 2 wrong usage, 130 stopped by "
        "Ctrl-C.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="TIFF, OME-TIFF, SVS, NDPI, PNG, JPEG, OME-Zarr, folders of them, patterns ('*.tif')",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="where to write; NAME.zarr for one image of any size, block by block",
    )
    add_model(parser)
    add_axes(parser, all_positions=True)
    add_scale(parser)
    add_region(parser)
    add_labelling(parser)
    parser.add_argument(
        "--link",
        choices=("none", "z", "t"),
        help="give one number to objects that overlap from plane to plane, through Z or time",
    )
    parser.add_argument(
        "--save",
        type=_kinds,
        default=(),
        metavar="WHAT,…",
        help=f"write these as well: {', '.join(KINDS)} (table: measurements as CSV; geojson: "
        "outlines for QuPath; rois: outlines for ImageJ)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume",
        dest="existing",
        action="store_const",
        const="resume",
        help="skip images whose results are there, made with the same model and settings",
    )
    existing.add_argument(
        "--overwrite",
        dest="existing",
        action="store_const",
        const="replace",
        help="replace results that exist",
    )
    parser.set_defaults(existing="keep")
    segment_zarr.add_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings and errors")
    add_common(parser)
    parser.set_defaults(run=run)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is not known: choose from {', '.join(KINDS)}"
        )
    return kinds


def run(arguments: argparse.Namespace) -> int:
    """Segment all images; return 0 if all went well, else 1."""
    output: Path = arguments.output
    if segment_zarr.wanted(arguments):
        return segment_zarr.run(arguments)
    if os.path.lexists(output) and not os.path.isdir(output):
        raise UsageError(f"{output} is a file: give a folder for the results with -o.")
    from .. import api
    from ..engine import events
    from ..engine.batch.files import INSTEAD, Batch, segment_files
    from ..progress import ProgressBar

    messages = Messages(arguments.quiet)
    with ProgressBar(f"Downloading {arguments.model}", messages, quiet=arguments.quiet) as bar:
        model = api.load_model(arguments.model, on_event=bar)
    if arguments.link in ("z", "t") and (arguments.result or model.card.result) == "classes":
        raise UsageError("--link is for objects: leave it out, or add  --result instances")
    options = segment_options(arguments)
    for name in ("axes", "channels", "position", "link", "region"):
        options[name] = getattr(arguments, name)
    batch = Batch(output, arguments.save, arguments.existing, options)
    with _Terminal(arguments, messages) as terminal:
        result = events.run(segment_files(arguments.images, model, batch), terminal)
    counts = [f"{len(result.failed)} failed"] if result.failed else []
    counts += [f"{len(result.skipped)} done before"] if result.skipped else []
    total = len(result.done) + len(result.skipped) + len(result.failed)
    if counts:
        counts.append(f"{len(result.done)} of {total} done")
        file = sys.stderr if result.failed else sys.stdout
        if result.failed or not arguments.quiet:
            print(f"sa2net: {', '.join(counts)}", file=file)
    if any(reason.endswith(INSTEAD) for _, reason in result.failed):
        print("sa2net: --resume skips what is done, --overwrite replaces results", file=sys.stderr)
    return FAILED if result.failed else 0


class _Terminal:
    """Shows the events of a batch: a bar for the file at work, a line for each that is over."""

    def __init__(self, arguments: argparse.Namespace, messages: Messages) -> None:
        self._arguments, self._messages = arguments, messages
        self._bar: ProgressBar | None = None

    def __call__(self, event: Event) -> None:
        from ..engine.events import Message
        from ..progress import ProgressBar

        if isinstance(event, FileStarted):
            name, quiet = f"{_count(event)}{event.path.name}", self._arguments.quiet
            self._bar = ProgressBar(name, self._messages, quiet=quiet)
        elif isinstance(event, FileEnded):
            self.close()
            self._tell(event)
        elif self._bar is not None:
            self._bar(event)
        elif isinstance(event, Message):  # about all of the files
            self._messages(event)

    def _tell(self, event: FileEnded) -> None:
        from ..engine.events import Message
        from ..engine.found import COUNTED_TWICE

        if event.error is not None:
            report(event.error, self._arguments.debug, str(event.path))
        elif not self._arguments.quiet:
            how = "done before" if event.status == "skipped" else event.text
            told = visible(f"{event.path} -> {event.target}")
            print(f"{_count(event)}{told} ({how})", flush=True)
            if event.unlinked:
                link = " or ".join(f"--link {letter}" for letter in event.unlinked.lower())
                self._messages(Message(f"{COUNTED_TWICE} {link} gives it one number."))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _count(event: FileStarted | FileEnded) -> str:
    return f"[{event.number}/{event.total}] " if event.total > 1 else ""
