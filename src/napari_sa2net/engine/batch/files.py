"""Segmenting many files: :func:`segment_files`, a generator of events."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .. import inference
from ..calibration import Calibration, sizes_yx
from ..errors import InputError, SA2NetError
from ..events import Event, Message
from ..files import ensure_folder, list_images, read_image
from ..image_file import ImageFile, file_options
from ..measuring.rois import check_rois
from ..model_files import Model
from ..options import resolve_options
from .events import BatchResult, FileEnded, FileStarted
from .kinds import ENDINGS, KINDS, MAPS
from .names import output_names
from .record import Record, read_record, record_of
from .writing import write_results

__all__ = ["Batch", "BatchResult", "FileEnded", "FileStarted", "segment_files"]

logger = logging.getLogger(__name__)

Existing = Literal["keep", "resume", "replace"]

INSTEAD = "to replace results, or another folder."
"""What can be done about a result that is in the way."""


@dataclass(frozen=True)
class Batch:
    """What is done with many files. Everything is checked when it is made."""

    output: Path
    """The folder for the results; made if need be."""
    save: tuple[str, ...] = ()
    """What is written besides the labels, of
    :data:`~napari_sa2net.engine.batch.kinds.KINDS`."""
    existing: Existing = "keep"
    """Results that exist already: ``keep`` leaves them as they are and counts as a failure,
    ``resume`` skips what is done and does the rest, ``replace`` makes them again."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """See :func:`~napari_sa2net.engine.options.resolve_options`; what is not given is as each
    file says."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", Path(self.output).expanduser())
        given: Any = self.save
        save = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
        object.__setattr__(self, "save", save)
        unknown = [kind for kind in save if kind not in KINDS]
        if unknown:
            raise InputError(f"{', '.join(unknown)} is not known: choose from {', '.join(KINDS)}.")
        if self.existing not in ("keep", "resume", "replace"):
            raise InputError(f"existing is {self.existing!r}: choose one of keep, resume, replace.")


def segment_files(
    images: Iterable[str | Path], model: Model, batch: Batch
) -> Generator[Event, None, BatchResult]:
    """Segment image files one after another and write their results into a folder.

    A file that fails is told by its event and in the result, and the others go on. Whatever
    ends the work, each file of results is whole; with ``existing="resume"`` the same call goes
    on from there.

    Parameters
    ----------
    images
        Files, folders and patterns; see :func:`~napari_sa2net.engine.image_file.list_images`.
    model
        Network and card.
    batch
        What to do.

    Yields
    ------
    Event
        :class:`FileStarted` and :class:`FileEnded` around the events of
        :func:`~napari_sa2net.engine.inference.segment`.

    Raises
    ------
    InputError
        If the options do not fit the model.
    SA2NetError
        If the folder cannot be written to, or a package is missing for what is wanted.
    """
    if "rois" in batch.save:
        check_rois()
    record = record_of(model, resolve_options(model.card, **batch.options), batch.save)
    ensure_folder(batch.output)  # what cannot be written should fail now, not after an image
    paths = list_images(images, tuple(ENDINGS.values()))
    result = BatchResult()
    for number, (path, name) in enumerate(zip(paths, output_names(paths), strict=True), start=1):
        yield FileStarted(path, number, len(paths))
        targets = {
            kind: batch.output / f"{name}{ENDINGS[kind]}" for kind in ("labels", *batch.save)
        }
        ended = FileEnded(path, number, len(paths), "done", targets["labels"])
        try:
            if _is_done(path, targets, record, batch.existing):
                ended = replace(ended, status="skipped")
                result = replace(result, skipped=(*result.skipped, path))
            else:
                found = yield from _one(path, targets, model, batch, record)
                ended = replace(ended, **found)
                result = replace(result, done=(*result.done, path))
        except Exception as error:  # one bad file must not stop the others
            logger.info("%s failed", path, exc_info=error)
            ended = replace(ended, status="failed", error=error)
            result = replace(result, failed=(*result.failed, (path, _reason(error))))
        yield ended
    return result


def _is_done(path: Path, targets: Mapping[str, Path], record: Record, existing: Existing) -> bool:
    """Tell whether there is nothing to do; raise where something is in the way."""
    for target in targets.values():
        if target.exists() and path.exists() and target.samefile(path):
            raise InputError(f"The result would replace the image {path}: give another folder.")
    labels = targets["labels"]
    there = [target for target in targets.values() if target.exists()]
    if existing == "replace" or not there:
        return False
    if existing == "keep":
        raise InputError(f"{there[0]} exists already: choose to skip what is done, {INSTEAD}")
    if not labels.exists():
        return False  # the labels come last: what is there was left by a run that was cut off
    earlier = read_record(labels)
    if earlier is None:
        raise InputError(f"{labels} does not tell what made it: choose {INSTEAD}")
    difference = record.difference(earlier)
    if difference:
        raise InputError(f"{labels} was made with {difference}: choose {INSTEAD}")
    if path.exists() and path.stat().st_mtime > labels.stat().st_mtime:
        raise InputError(f"{path} has changed since {labels} was made: choose {INSTEAD}")
    return set(record.saved) <= set(earlier.saved) and len(there) == len(targets)


def _one(
    path: Path, targets: Mapping[str, Path], model: Model, batch: Batch, record: Record
) -> Generator[Event, None, dict[str, Any]]:
    """Segment one file and write its results; returns what :class:`FileEnded` tells of it."""
    image = read_image(path)
    if image.remark:
        yield Message(image.remark, warning=True)
    given = {name: value for name, value in batch.options.items() if value is not None}
    if "axes" in given:
        axes = str(given["axes"]).upper()
        image = replace(image, axes=axes, rgb=image.rgb and axes.endswith("C"))
    image = replace(image, rgb=bool(given.get("rgb", image.rgb)))
    sizes = _sizes(image, given.get("pixel_size"))
    maps = {"keep": frozenset(MAPS).intersection(batch.save), "relabel": False}
    options = resolve_options(model.card, **file_options(image, {**given, **maps}))
    result = yield from inference.segment(image.array, model, options)
    earlier = read_record(targets["labels"]) if targets["labels"].exists() else None
    yield from write_results(result, image, targets, sizes=sizes, description=record.text())
    if earlier is not None and record.difference(earlier):
        left = [targets["labels"].with_name(_name_of(targets, kind)) for kind in earlier.saved]
        left = [path for path in left if path not in targets.values() and path.exists()]
        if left:
            names = ", ".join(path.name for path in left)
            yield Message(
                f"{names} in {batch.output} is still what an earlier run made with "
                f"{record.difference(earlier)}.",
                warning=True,
            )
    return {
        "found": len(result.features["index"]),
        "text": result.text,
        "unlinked": result.unlinked,
    }


def _name_of(targets: Mapping[str, Path], kind: str) -> str:
    return targets["labels"].name.removesuffix(ENDINGS["labels"]) + ENDINGS[kind]


def _sizes(image: ImageFile, given: Any) -> Calibration:
    """Return the size of a step along each axis, with a pixel size that was asked for."""
    if given is None:
        return image.calibration
    return {**image.calibration, **sizes_yx(given)}


def _reason(error: Exception) -> str:
    if isinstance(error, SA2NetError):
        return str(error)
    return f"{type(error).__name__}: {error}"
