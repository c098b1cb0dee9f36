"""``sa2net segment IMAGE -o NAME.zarr``: one image of any size, block by block."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..engine.batch.kinds import MEASURES
from .common import FAILED, Messages, UsageError, segment_options

_ONLY = {"dry_run": "--dry-run", "skip_empty": "--skip-empty", "scheduler": "--scheduler"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only an OME-Zarr result has."""
    group = parser.add_argument_group("for a result that ends in .zarr")
    group.add_argument(
        "--dry-run", action="store_true", help="tell time and disk space, and write nothing"
    )
    group.add_argument(
        "--skip-empty",
        action="store_true",
        help="leave out tiles with nothing in them, which saves time where much is empty",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let the workers of a dask cluster do it: the address its scheduler prints, as "
        "tcp://10.0.0.1:8786",
    )


def wanted(arguments: argparse.Namespace) -> bool:
    """Tell whether the result is an OME-Zarr image.

    Raises
    ------
    UsageError
        If options are given that do not go with the result.
    """
    if arguments.output.suffix.lower() == ".zarr":
        return True
    given = [option for name, option in _ONLY.items() if getattr(arguments, name)]
    if given:
        raise UsageError(f"{given[0]} needs a result that ends in .zarr, as  -o cells.ome.zarr")
    return False


def run(arguments: argparse.Namespace) -> int:
    """Segment one image; return 0 if it is done, or would fit."""
    maps = [kind for kind in arguments.save if kind not in MEASURES]
    if maps:
        raise UsageError(
            f"A .zarr result has no maps: of --save leave out {', '.join(maps)} (there are "
            f"{', '.join(MEASURES)})."
        )
    if arguments.link in ("z", "t"):
        raise UsageError("Objects are not linked in a .zarr result: leave out --link.")
    if arguments.position == "all":
        raise UsageError("A .zarr result is of one image: give its number with --position.")
    if arguments.scheduler and arguments.dry_run:
        raise UsageError("--dry-run estimates for this computer only: leave out --scheduler.")
    from .. import api
    from ..engine.blocks.plan import BlockOptions
    from ..engine.events import Message
    from ..engine.files import list_images, one_of_each_set, read_image
    from ..engine.found import COUNTED_TWICE
    from ..progress import ProgressBar

    images, remarks = one_of_each_set(list_images(arguments.images))
    if len(images) != 1:
        raise UsageError(
            f"A .zarr result takes one image, but {len(images)} were given: give a folder with -o."
        )
    messages = Messages(arguments.quiet)
    quiet = arguments.quiet
    with ProgressBar(f"Downloading {arguments.model}", messages, quiet=quiet) as bar:
        model = api.load_model(arguments.model, on_event=bar)
    for remark in remarks:
        messages(Message(remark, warning=True))
    image = read_image(images[0], axes=arguments.axes, position=arguments.position)
    options = {
        name: getattr(arguments, name) for name in ("axes", "channels", "position", "region")
    }
    options |= segment_options(arguments)
    blocks = BlockOptions(skip_empty=arguments.skip_empty)
    if arguments.dry_run:
        return _dry_run(image, arguments.output, model, options, blocks)
    with ProgressBar(images[0].name, messages, quiet=quiet) as bar, _resumable():
        result = api.segment_to_zarr(
            image,
            arguments.output,
            model,
            save=arguments.save,
            resume=arguments.existing == "resume",
            overwrite=arguments.existing == "replace",
            blocks=blocks,
            scheduler=arguments.scheduler,
            on_event=bar,
            **options,
        )
    if not quiet:
        files = "".join(f", {path.name}" for path in result.saved.values())
        print(f"{images[0]} -> {result.path} ({result.text}){files}", flush=True)
        if result.unlinked:
            messages(Message(COUNTED_TWICE))
    return 0


@contextmanager
def _resumable() -> Iterator[None]:
    """Tell a person who stops a run how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        print("sa2net: what is done is kept: go on with --resume", file=sys.stderr)
        raise


def _dry_run(image: Any, output: Path, model: Any, options: dict[str, Any], blocks: Any) -> int:
    from ..engine.blocks.estimating import estimate
    from ..engine.image_file import file_options
    from ..engine.options import resolve_options

    resolved = resolve_options(model.card, **file_options(image, options))
    found = estimate(image.array, output, model, resolved, blocks)
    print(found.text())
    return 0 if found.fits else FAILED
