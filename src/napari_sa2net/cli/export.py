"""``sa2net export``: write a model in a format that other programs use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import Messages, UsageError, add_common

if TYPE_CHECKING:
    from ..engine.weights import Model

FORMATS = {"onnx": ".onnx", "bioimageio": ".zip"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a model as ONNX or BioImage Model Zoo package, for other programs",
        description="Write a model for other programs. ONNX: one file with the probabilities of "
        "all four stages, the finest first, compared with PyTorch. BioImage Model Zoo: a package "
        "with preprocessing, licence and citation, validated, its test run; it can be imported "
        "again. To bring a model to another napari-sa2net, 'sa2net models export' is enough.",
    )
    parser.add_argument("model", metavar="NAME|FILE", help="a model as 'sa2net models' lists them")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="FILE",
        help="the .onnx or .zip file to write, or a folder (default: the model's name, here)",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="onnx or bioimageio (default: what the file's ending says, else onnx)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings and errors")
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and tell how the file was checked."""
    target = arguments.output
    kind = _format(target, arguments.format)
    from .. import api
    from ..engine.events import Message
    from ..progress import ProgressBar

    messages = Messages(arguments.quiet)
    with ProgressBar(f"Downloading {arguments.model}", messages, quiet=arguments.quiet) as bar:
        model = api.load_model(arguments.model, on_event=bar)
    with ProgressBar(f"Exporting {model.card.name}", messages, quiet=arguments.quiet) as bar:
        bar(Message(f"Writing {model.card.name} as {FORMATS[kind]}, and trying what was written"))
        path, told = _export(kind, model, target, arguments.overwrite)
    if not arguments.quiet:
        print("\n".join([*told, f"{model.card.name} is exported: {path}"]))
    return 0


def _export(kind: str, model: Model, target: Path, overwrite: bool) -> tuple[Path, list[str]]:
    """Write the file; return it, and how it was checked."""
    if kind == "onnx":
        from ..engine.exchange.onnx_file import export_onnx

        path, found = export_onnx(model, target, overwrite=overwrite)
        return path, [
            f"{' × '.join(map(str, agreement.shape))}: differs from PyTorch by "
            f"{agreement.largest:.1e} at most"
            for agreement in found
        ]
    from ..engine.exchange.bioimage import export_bioimage

    path = export_bioimage(model, target, overwrite=overwrite)
    return path, ["bioimageio.spec finds it valid, and bioimageio.core passed its test"]


def _format(target: Path, asked: str | None) -> str:
    by_ending = next((f for f, ending in FORMATS.items() if target.suffix.lower() == ending), None)
    if asked and by_ending and asked != by_ending:
        raise UsageError(f"{target} does not end as {asked} does: write it as {FORMATS[asked]}.")
    return asked or by_ending or "onnx"
