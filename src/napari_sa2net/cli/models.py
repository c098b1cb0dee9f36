"""``sa2net models``: list, describe, download, import, join, rename, delete and export models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import FAILED, Messages, UsageError, add_common, report
from .streams import one_line

if TYPE_CHECKING:
    from ..engine.weights import ModelCard, ModelEntry


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "models", help="list, describe, download, import, join, rename, delete and export models"
    )
    add_common(parser)
    parser.set_defaults(run=run_list, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    listing = actions.add_parser("list", help="list all models and whether they are here")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=run_list)

    download = actions.add_parser("download", help="download models, to work offline later")
    download.add_argument("names", nargs="+", metavar="NAME")
    download.add_argument(
        "-q", "--quiet", action="store_true", help="print only warnings and errors"
    )
    download.set_defaults(run=run_download)

    importing = actions.add_parser(
        "import",
        help="add a model file: a downloaded or fine-tuned one, or an authors' checkpoint",
    )
    importing.add_argument("file", type=Path)
    importing.add_argument("--name", help="name in the list (default: the file's)")
    importing.set_defaults(run=run_import)

    join = actions.add_parser(
        "join",
        help="make one model of several: an ensemble, whose probabilities are their mean",
        description="Make an ensemble of models that were trained alike, such as those of the "
        "folds of one recipe. It is in the list from then on, needs none of its members' files, "
        "and takes as many times as long as it has members.",
    )
    join.add_argument("models", nargs="+", metavar="NAME|FILE", help="two or more models")
    join.add_argument("--name", required=True, help="name of the new model in the list")
    join.set_defaults(run=run_join)

    info = actions.add_parser("info", help="show the card of a model or of a model file")
    info.add_argument("model", metavar="NAME|FILE")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=run_info)
    others = _add_changes(actions)
    for action in (listing, download, importing, join, info, *others):
        # Without a default, so that the flag before the action is not undone.
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_changes(actions: Any) -> list[argparse.ArgumentParser]:
    rename: argparse.ArgumentParser = actions.add_parser(
        "rename", help="give a model of your own another name"
    )
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("new", metavar="NEW")
    rename.set_defaults(run=run_rename)

    delete: argparse.ArgumentParser = actions.add_parser(
        "delete", help="delete models of your own for good"
    )
    delete.add_argument("names", nargs="+", metavar="NAME")
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=run_delete)

    export: argparse.ArgumentParser = actions.add_parser(
        "export", help="write a model to a file, to import it elsewhere"
    )
    export.add_argument("name", metavar="NAME")
    export.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="FILE",
        help="the .safetensors file to write, or a folder (default: the model's name, here)",
    )  # fmt: skip
    export.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    export.set_defaults(run=run_export)
    return [rename, delete, export]


def run_list(arguments: argparse.Namespace) -> int:
    """List the models."""
    from ..engine.weights import available_models

    entries = available_models()
    if arguments.json:
        print(json.dumps([_entry(entry) for entry in entries], indent=2))
        return 0
    names = [one_line(entry.card.name) for entry in entries]
    width = max(map(len, names), default=0)
    for name, entry in zip(names, entries, strict=True):
        card, description = entry.card, one_line(entry.card.description)
        state = "to download" if entry.status == "remote" else entry.status
        restricted = " [restricted licence]" if card.restricted else ""
        size = f"{card.bytes / 1e6:7.1f} MB"
        print(f"{name:<{width}}  {state:<11}  {size}  {description}{restricted}")
    return 0


def _entry(entry: ModelEntry) -> dict[str, Any]:
    path = None if entry.path is None else str(entry.path)
    return {"status": entry.status, "path": path, **entry.card.to_dict()}


def run_download(arguments: argparse.Namespace) -> int:
    """Download models; the others go on if one fails."""
    failed = False
    for name in arguments.names:
        try:
            _download(name, arguments.quiet)
        except Exception as error:
            report(error, arguments.debug, name)
            failed = True
    return FAILED if failed else 0


def _download(name: str, quiet: bool) -> None:
    from ..engine.events import Downloaded, Event, run
    from ..engine.weights import fetch
    from ..progress import ProgressBar

    how = "here already"

    def handle(event: Event) -> None:
        nonlocal how
        if isinstance(event, Downloaded):
            how = "downloaded"
        bar(event)

    with ProgressBar(f"Downloading {name}", Messages(quiet), quiet=quiet) as bar:
        path = run(fetch(name), handle)
    if not quiet:
        print(f"{name} is {how}: {path}")


def run_import(arguments: argparse.Namespace) -> int:
    """Copy a model file into the user's models."""
    from ..engine.weights import import_model

    entry = import_model(arguments.file, arguments.name)
    print(f"{entry.card.name} is imported: {entry.path}")
    print(f"Use it with  --model {entry.card.name}")
    return 0


def run_join(arguments: argparse.Namespace) -> int:
    """Make an ensemble and put it into the user's models."""
    from .. import api
    from ..engine.weights import add_model
    from ..progress import ProgressBar

    with ProgressBar("Downloading", Messages()) as bar:
        joined = api.join_models(arguments.models, arguments.name, on_event=bar)
    entry = add_model(joined, arguments.name)
    print(f"{entry.name} is made of {len(entry.card.members)} models: {entry.path}")
    print(f"Use it with  --model {entry.name}")
    return 0


def run_rename(arguments: argparse.Namespace) -> int:
    """Rename one of the user's own models."""
    from ..engine.weights import rename_model

    entry = rename_model(arguments.name, arguments.new)
    print(f"{arguments.name} is renamed: {entry.name}")
    return 0


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete models of the user's own, each after a question; the others go on if one fails."""
    from ..engine.weights import delete_model, find_model

    if not arguments.yes and not sys.stdin.isatty():
        raise UsageError("Deleting asks first, and there is nobody to answer: add --yes.")
    failed = False
    for name in arguments.names:
        try:
            find_model(name)  # before anybody is asked
            if arguments.yes or input(f"Delete {name} for good? [y/N] ").strip().lower() == "y":
                delete_model(name)
                print(f"{name} is deleted")
        except Exception as error:
            report(error, arguments.debug, name)
            failed = True
    return FAILED if failed else 0


def run_export(arguments: argparse.Namespace) -> int:
    """Write a model to a file."""
    from ..engine.weights import export_model

    path = export_model(arguments.name, arguments.output, overwrite=arguments.overwrite)
    print(f"{arguments.name} is exported: {path}")
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Show a model's card."""
    from ..engine import weights
    from ..engine.errors import WeightsError
    from ..engine.folders import is_file

    try:
        entry = weights.find_model(arguments.model)
    except WeightsError:
        if not is_file(Path(arguments.model)):
            raise
        card, state = weights.load_model(Path(arguments.model)).card, arguments.model
    else:
        card = entry.card
        state = f"{entry.status}{f', {entry.path}' if entry.path else ''}"
    if arguments.json:
        print(json.dumps(card.to_dict(), indent=2))
        return 0
    for name, value in _lines(card, state):
        if value:
            print(f"{one_line(name) + ':':<15} {one_line(value)}")
    return 0


def _lines(card: ModelCard, state: str) -> list[tuple[str, str]]:
    from ..engine.provenance import origin

    classes = ", ".join(
        f"{entry.name} {entry.color}{' (derived)' if entry.derived else ''}"
        for entry in card.classes
    )
    norm = card.normalization
    limits = f" {norm.low:g} … {norm.high:g}" if norm.method == "percentile" else ""
    settings = card.labelling
    several = f", {len(card.members)} of them" if card.members else ""
    return [
        ("name", card.name),
        ("status", state),
        ("description", card.description),
        ("modality", card.modality),
        ("file", f"{card.file}, {card.bytes / 1e6:.1f} MB"),
        ("SHA-256", card.sha256),
        ("licence", f"{card.licence}{' (restricted)' if card.restricted else ''}"),
        ("citation", card.citation),
        ("network", f"width {card.base_channels}, {card.in_channels} channels in{several}"),
        ("channels", ", ".join(card.channels)),
        ("classes", classes),
        ("normalisation", f"{norm.method}{limits}"),
        ("pixel size", f"{card.pixel_size:g} µm" if card.pixel_size else ""),
        ("diameter", f"{card.diameter:g} pixels" if card.diameter else ""),
        ("result", card.result),
        ("threshold", f"{settings.threshold:g}"),
        ("minimum size", f"{settings.min_size} pixels at the model's scale"),
        *origin(card),
    ]
