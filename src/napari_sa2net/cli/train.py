"""``sa2net train``: adapt a model to painted images, or make one as a recipe says."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ..engine.processes import ProcessPlace
from . import fine_tune, train_options
from .common import Messages, UsageError, add_axes, add_common, add_scale


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="adapt a model to painted images, or train one as a recipe says",
        description="Fine-tune a model on images and what was painted over them, and save it "
        "with its card. Ctrl-C ends the training and keeps the best so far; a second one aborts. "
        "With --recipe, a model is made as a recipe says, also by several processes that torchrun "
        "has started.",
        epilog="Exit codes: 0 the model is saved, 1 it is not, 2 wrong usage, 130 aborted.",
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="IMAGES ANNOTATIONS",
        help="images as 'sa2net segment' takes them, followed by their annotations: a file, a "
        "folder or a quoted pattern of label images of the same names",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="FILE",
        help="the .safetensors file to write, or a folder (default: the model's name, here)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, …")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="keep the state of the training in this folder (of a recipe: in this file), and go "
        "on from it if there is one; images are then not needed",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model that exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings and errors")
    recipe = parser.add_argument_group("as a recipe says")
    recipe.add_argument("--recipe", type=Path, metavar="FILE", help="TOML file, see recipes/")
    recipe.add_argument("--data", type=Path, metavar="FOLDER", help="holds the recipe's data sets")
    recipe.add_argument(
        "--fold",
        metavar="NAME",
        help="hold out the images of this fold of the recipe too, for cross-validation",
    )
    train_options.add_options(parser)
    images = parser.add_argument_group("the images")
    add_axes(images)
    add_scale(images)
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and save."""
    if arguments.recipe is None:
        if arguments.data is not None:
            raise UsageError("--data goes with --recipe: give the recipe too.")
        if arguments.fold is not None:
            raise UsageError("--fold goes with --recipe: give the recipe too.")
        if ProcessPlace.of_environment().count > 1:
            raise UsageError("Several processes go with --recipe: start sa2net without torchrun.")
        return fine_tune.run(arguments)
    given = train_options.given(arguments)
    if arguments.paths or given:
        what = ", ".join(given) or arguments.paths[0]
        raise UsageError(f"{what} does not go with --recipe, which says all of this itself.")
    if arguments.data is None:
        raise UsageError("--recipe needs --data, the folder with its data sets.")
    return _run_recipe(arguments)


def _run_recipe(arguments: argparse.Namespace) -> int:
    if not os.path.isdir(arguments.data):
        raise UsageError(f"{arguments.data} is no folder: give the one with the data sets.")
    output = fine_tune.output_file(arguments, arguments.recipe.stem)
    from .. import api
    from ..engine.files import ensure_folder
    from ..progress import ProgressBar

    # What cannot be written should fail now, not after the training.
    ensure_folder(output.parent)
    if arguments.resume is not None:
        ensure_folder(arguments.resume.parent)
    first = ProcessPlace.of_environment().first
    quiet = arguments.quiet or not first
    with ProgressBar("Training", Messages(quiet), quiet=quiet) as bar:
        model = api.train(
            arguments.recipe,
            arguments.data,
            output,
            arguments.device,
            checkpoint=arguments.resume,
            fold=arguments.fold,
            on_event=bar if first else lambda event: None,
        )
    if first and not arguments.quiet:
        fine_tune.tell_how_to_use(model.card.name, output)
    return 0
