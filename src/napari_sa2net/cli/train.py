"""``sa2net train``: make a model as a recipe says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import Messages, UsageError, add_common


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model as a recipe says",
        description="Train a model as a recipe says, and save it with its card.",
    )
    parser.add_argument(
        "--recipe", required=True, type=Path, metavar="FILE", help="TOML file, see recipes/"
    )
    parser.add_argument(
        "--data", required=True, type=Path, metavar="FOLDER", help="holds the recipe's data sets"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="FILE",
        help="the .safetensors file to write, or a folder (default: the recipe's name, here)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, …")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="keep the state of the training in this file, and go on from it if it exists",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model that exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="tell only what goes wrong")
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and save."""
    output: Path = arguments.output
    if output.is_dir():
        output = output / f"{arguments.recipe.stem}.safetensors"
    if output.suffix != ".safetensors":
        raise UsageError(f"{output} must end in .safetensors: that is what models are saved as.")
    if output.exists() and not arguments.overwrite:
        raise UsageError(f"{output} exists already: --overwrite replaces it.")
    if not arguments.data.is_dir():
        raise UsageError(f"{arguments.data} is no folder: give the one with the data sets.")
    from .. import api
    from ..engine.files import ensure_folder
    from ..progress import ProgressBar

    # What cannot be written should fail now, not after the training.
    ensure_folder(output.parent)
    if arguments.resume is not None:
        ensure_folder(arguments.resume.parent)
    with ProgressBar("Training", Messages(arguments.quiet)) as bar:
        model = api.train(
            arguments.recipe,
            arguments.data,
            output,
            arguments.device,
            checkpoint=arguments.resume,
            on_event=bar,
        )
    if not arguments.quiet:
        print(f"{model.card.name} is trained: {output}")
        print(f"Use it with  --model {output}  or add it with  sa2net models import {output}")
    return 0
