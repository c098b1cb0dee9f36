"""``sa2net segment``: images in, label files out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import segment_zarr
from .common import (
    FAILED,
    Messages,
    UsageError,
    add_axes,
    add_common,
    add_labelling,
    add_model,
    add_scale,
    labelling_options,
    report,
)

if TYPE_CHECKING:
    from ..engine.files import ImageFile
    from ..engine.inference import Segmentation
    from ..engine.weights import Model

MAPS = ("stages", "probabilities", "attention", "disagreement")
ENDINGS = {kind: f"_{kind}.ome.tif" for kind in ("labels", *MAPS)} | {"table": "_table.csv"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "segment",
        help="segment images and write labels",
        description="Segment images and write NAME_labels.ome.tif for each into a folder, with "
        "the image's axes and pixel size. A file that fails is reported and the others go on.",
        epilog="Exit codes: 0 all images are done, 1 some are not, 2 wrong usage.",
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
    add_axes(parser)
    add_scale(parser)
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
        help=f"write these as well: {', '.join(MAPS)}, table (index, class and area as CSV)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")
    segment_zarr.add_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="tell only what goes wrong")
    add_common(parser)
    parser.set_defaults(run=run)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    unknown = [kind for kind in kinds if kind not in (*MAPS, "table")]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is not known: choose of {', '.join(MAPS)}, table"
        )
    return kinds


def run(arguments: argparse.Namespace) -> int:
    """Segment all images; return 0 if all went well, else 1."""
    output: Path = arguments.output
    if segment_zarr.wanted(arguments):
        return segment_zarr.run(arguments)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file: give a folder for the results with -o.")
    from .. import api
    from ..engine.files import ensure_folder, list_images
    from ..progress import ProgressBar

    ensure_folder(output)  # what cannot be written should fail now, not after the first image
    messages = Messages(arguments.quiet)
    with ProgressBar(f"Downloading {arguments.model}", messages) as bar:
        model = api.load_model(arguments.model, on_event=bar)
    if arguments.link in ("z", "t") and (arguments.result or model.card.result) == "classes":
        raise UsageError("--link is for objects: leave it out, or add  --result instances")
    images = list_images(arguments.images, tuple(ENDINGS.values()))
    failures = 0
    for number, (path, name) in enumerate(zip(images, output_names(images), strict=True), 1):
        count = f"[{number}/{len(images)}] " if len(images) > 1 else ""
        try:
            with ProgressBar(f"{count}{path.name}", messages) as bar:
                written = _one(path, name, model, arguments, bar)
        except Exception as error:  # one bad file must not stop the others
            report(error, arguments.debug, str(path))
            failures += 1
        else:
            if not arguments.quiet:
                print(f"{count}{path} -> {written}", flush=True)
    if failures:
        done = len(images) - failures
        print(f"sa2net: {failures} failed, {done} of {len(images)} done", file=sys.stderr)
    return FAILED if failures else 0


def _one(path: Path, name: str, model: Model, arguments: argparse.Namespace, bar: Any) -> str:
    from .. import api
    from ..engine.errors import InputError
    from ..engine.files import read_image

    kinds = ("labels", *arguments.save)
    targets = {kind: arguments.output / f"{name}{ENDINGS[kind]}" for kind in kinds}
    for target in targets.values():
        if target.exists() and path.exists() and target.samefile(path):
            raise InputError(f"The result would replace the image {path}: give another folder.")
        if target.exists() and not arguments.overwrite:
            raise InputError(f"{target} exists already: --overwrite replaces it.")
    image = read_image(path)
    options = labelling_options(arguments)
    if arguments.axes:
        options["axes"] = arguments.axes
        options["rgb"] = image.rgb and arguments.axes.endswith("C")
    result = api.segment(
        image,
        model,
        on_event=bar,
        channels=arguments.channels,
        link=arguments.link,
        keep=frozenset(arguments.save) - {"table"},
        **options,
    )
    _write(result, image, targets, arguments.pixel_size)
    return f"{targets['labels']} {_count(result)}"


def _count(result: Segmentation) -> str:
    numbers = result.features.get("index", ())
    words = {"instances": ("object", "objects"), "classes": ("class", "classes")}
    return f"({len(numbers)} {words[result.labelling.result][len(numbers) != 1]})"


def _write(
    result: Segmentation, image: ImageFile, targets: dict[str, Path], pixel_size: float | None
) -> None:
    """Write the maps and the table first: where there are labels, everything is there."""
    from ..engine.files import write_image, write_labels

    sizes = dict(image.calibration)
    if pixel_size:
        sizes.update(Y=pixel_size, X=pixel_size)
    sizes = {axis: size for axis, size in sizes.items() if axis in result.axes}
    names: dict[str, Sequence[str]] = {
        "probabilities": [entry.name for entry in result.card.classes],
        "stages": [f"stage {i}" for i in range(1, 5)],
        "attention": [f"attention {i}" for i in range(1, 5)],
    }
    for kind, target in targets.items():
        if kind in MAPS:
            array = getattr(result, kind)
            axes = "C" * (array.ndim - len(result.axes)) + result.axes
            write_image(target, array, axes, sizes, name=kind, channel_names=names.get(kind, ()))
        elif kind == "table":
            _write_table(target, result)
    write_labels(targets["labels"], result.labels, result.axes, sizes, name="labels")


def _write_table(target: Path, result: Segmentation) -> None:
    import csv

    from ..engine.files import replacing

    with replacing(target) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(result.features)
        writer.writerows(zip(*result.features.values(), strict=True))


def output_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for the results of each image, no two alike even where case is ignored.

    It is the name without the ending; where several have the same, the ending, then the
    folder, then a number sets them apart.
    """
    from ..engine.files import stem

    def candidates(path: Path) -> Iterator[str]:
        ending = path.name[len(stem(path)) :].replace(".", "_")
        folder = path.resolve().parent.name
        yield stem(path)
        yield f"{stem(path)}{ending}"
        yield f"{folder}_{stem(path)}"
        yield f"{folder}_{stem(path)}{ending}"

    options = [list(candidates(path)) for path in paths]
    names: list[str] = []
    taken: set[str] = set()
    for mine in options:
        alone = (
            c
            for i, c in enumerate(mine)
            if sum(c.lower() == other[i].lower() for other in options) == 1
        )
        name = base = next(alone, mine[-1])
        number = 2
        while name.lower() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
