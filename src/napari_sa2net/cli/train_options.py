"""The options of ``sa2net train`` for fine-tuning."""

from __future__ import annotations

import argparse
import re

from .common import positive

# The options, by their name among the arguments; None: not given.
SETTINGS = ("minutes", "epochs", "steps", "learning_rate", "batch", "patch", "frozen",
             "augmentation", "loss", "validation", "patience", "seed")  # fmt: skip
IMAGES = ("axes", "channels", "position", "diameter", "pixel_size")
_WHAT = {"start": "--from", "scratch": "--scratch", "base_channels": "--base-channels",
         "classes": "--class", "meaning": "--mask or --strokes", "of": "--of", "name": "--name",
         "keep_worse": "--keep-worse"}  # fmt: skip
SUGGEST = "suggest"
"""In place of a model to start from: the best of those that are here."""
FROZEN = ("nothing", "encoder", "all but the heads")
AUGMENTATION = ("none", "light", "full")
LOSSES = ("product", "authors", "paper")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only fine-tuning has."""
    start = parser.add_argument_group("what to start from")
    start.add_argument(
        "--from",
        dest="start",
        metavar="NAME|FILE|suggest",
        help="a model as 'sa2net models' lists them, or a model file (default: nuclei); "
        "'suggest' tries all that are here on what is painted, and takes the best",
    )
    start.add_argument("--scratch", action="store_const", const=True, help="train a new network")
    start.add_argument(
        "--base-channels",
        type=int,
        metavar="WIDTH",
        help="width of a network from scratch (default: 16)",
    )
    start.add_argument(
        "--class",
        dest="classes",
        action="append",
        type=_class,
        metavar="NAME[:#RRGGBB]",
        help="a class besides the background, in the order of the annotation's numbers; may be "
        "given several times (default: those of the start model)",
    )
    start.add_argument("--name", help="name of the new model (default: that of its file)")
    meaning = parser.add_argument_group("what the annotations mean")
    meanings = meaning.add_mutually_exclusive_group()
    meanings.add_argument(
        "--strokes",
        dest="meaning",
        action="store_const",
        const="strokes",
        help="0 is not painted, 1 background, 2 and more the classes (default)",
    )
    meanings.add_argument(
        "--mask",
        dest="meaning",
        action="store_const",
        const="mask",
        help="everything is annotated: 0 is background, 1 and more the classes",
    )
    meaning.add_argument(
        "--of",
        choices=("classes", "instances"),
        help="a number for each class (default), or for each object of the first class",
    )
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("the training")
    budget = training.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes", type=positive, help="how long to train (default: 2), loading not included"
    )
    budget.add_argument("--epochs", type=int, help="how often to go over what is painted")
    budget.add_argument(
        "--steps", type=int, help="number of steps: the same seed gives the same model"
    )
    training.add_argument("--learning-rate", type=positive, metavar="RATE")
    training.add_argument("--batch", type=int, metavar="N", help="patches in a step")
    training.add_argument("--patch", type=int, metavar="PIXELS", help="side of a patch")
    training.add_argument(
        "--frozen", choices=FROZEN, help="parts of the start model that stay as they are"
    )
    training.add_argument(
        "--augmentation", choices=AUGMENTATION, help="how much patches are varied"
    )
    training.add_argument("--loss", choices=LOSSES)
    training.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="share of what is painted that is held out for comparing (0: none)",
    )
    training.add_argument(
        "--patience", type=int, metavar="N", help="end after N evaluations without gain (0: never)"
    )
    training.add_argument("--seed", type=int)
    training.add_argument(
        "--keep-worse",
        action="store_const",
        const=True,
        help="save the new model even if it is worse than the start model",
    )


def _class(text: str) -> tuple[str, str]:
    name, _, color = text.partition(":")
    if not name.strip() or (":" in text and not re.fullmatch(r"#[0-9a-fA-F]{6}", color)):
        raise argparse.ArgumentTypeError(f"{text!r} is no class: write it as axon or axon:#e69f00")
    return name.strip(), color


def given(arguments: argparse.Namespace) -> list[str]:
    """Return the options of fine-tuning that were given, as a person writes them."""
    names = {**_WHAT, **{name: f"--{name.replace('_', '-')}" for name in (*SETTINGS, *IMAGES)}}
    return [text for name, text in names.items() if getattr(arguments, name) is not None]
