"""``sa2net export``: write a model in a format that other programs use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import UsageError, add_common

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
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and tell how the file was checked."""
    target = arguments.output
    kind = _format(target, arguments.format)
    from ..engine.weights import load_model

    model = load_model(arguments.model)
    if kind == "onnx":
        from ..engine.exchange.onnx_file import export_onnx

        path, found = export_onnx(model, target, overwrite=arguments.overwrite)
        for agreement in found:
            shape = " × ".join(map(str, agreement.shape))
            print(f"{shape}: differs from PyTorch by {agreement.largest:.1e} at most")
    else:
        from ..engine.exchange.bioimage import export_bioimage

        path = export_bioimage(model, target, overwrite=arguments.overwrite)
        print("bioimageio.spec finds it valid, and bioimageio.core passed its test")
    print(f"{model.card.name} is exported: {path}")
    return 0


def _format(target: Path, asked: str | None) -> str:
    by_ending = next((f for f, ending in FORMATS.items() if target.suffix.lower() == ending), None)
    if asked and by_ending and asked != by_ending:
        raise UsageError(f"{target} does not end as {asked} does: write it as {FORMATS[asked]}.")
    return asked or by_ending or "onnx"
