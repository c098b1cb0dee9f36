"""Segmenting many files: :func:`segment_files`, a generator of events."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .. import inference
from ..calibration import Calibration, sizes_yx
from ..errors import InputError, SA2NetError
from ..events import Event, Message
from ..fields import check_fields
from ..files import ensure_folder, list_images, one_of_each_set, read_image, read_info
from ..folders import expanded
from ..image_file import ImageFile, file_options, obstacle, stem
from ..measuring.rois import check_rois
from ..model_files import Model
from ..options import resolve_options
from ..positions import ALL
from .events import BatchResult, FileEnded, FileStarted
from .kinds import ENDINGS, KINDS, MAPS
from .names import output_names
from .origin import Origin
from .record import Record, read_record, record_of
from .writing import write_results

__all__ = ["Batch", "BatchResult", "FileEnded", "FileStarted", "segment_files"]

logger = logging.getLogger(__name__)

Existing = Literal["keep", "resume", "replace"]
Part = tuple[Path, str, int | None]
"""File, name of the results, and which of several images in the file."""

INSTEAD = "to replace results, or another folder."
"""What can be done about a result that is in the way."""
ANOTHER = "choose another folder for the results of this one, or give the image another name."
"""What can be done where the result of another image is in the way."""


@dataclass(frozen=True)
class Batch:
    """What is done with many files. Everything is checked when it is made."""

    output: Path
    """The folder for the results; made if need be."""
    save: tuple[str, ...] = field(default=(), metadata={"choices": KINDS})
    """What is written besides the labels, of
    :data:`~napari_sa2net.engine.batch.kinds.KINDS`."""
    existing: Existing = "keep"
    """Results that exist already: ``keep`` leaves them as they are and counts as a failure,
    ``resume`` skips what is done and does the rest, ``replace`` makes them again."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """See :func:`~napari_sa2net.engine.options.resolve_options`; what is not given is as each
    file says."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "output", expanded(self.output))
        object.__setattr__(self, "save", tuple(dict.fromkeys(self.save)))


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
    position = batch.options.get("position")
    plain = {**batch.options, "position": None if position == ALL else position}
    record = record_of(model, resolve_options(model.card, **plain), batch.save)
    ensure_folder(batch.output)  # what cannot be written should fail now, not after an image
    paths, remarks = one_of_each_set(list_images(images, tuple(ENDINGS.values())))
    for remark in remarks:
        yield Message(remark, warning=True)
    parts = _parts(paths, position)
    yield from _renamed(parts)
    yield from _of_others(parts, batch, record)
    inputs = {_file_id(path): path for path in paths}
    result = BatchResult()
    for number, (path, name, place) in enumerate(parts, start=1):
        yield FileStarted(path, number, len(parts), place)
        record = replace(record, settings={**record.settings, "position": place})
        targets = {
            kind: batch.output / f"{name}{ENDINGS[kind]}" for kind in ("labels", *batch.save)
        }
        ended = FileEnded(path, number, len(parts), "done", targets["labels"], position=place)
        try:
            there = _there(path, targets, inputs)
            mine = replace(record, image=_origin(path, there))
            if _is_done(path, targets, mine, there, batch.existing):
                ended = replace(ended, status="skipped")
                result = replace(result, skipped=(*result.skipped, path))
            else:
                found = yield from _one(path, place, targets, model, batch, mine, there)
                ended = replace(ended, **found)
                result = replace(result, done=(*result.done, path))
        except Exception as error:  # one bad file must not stop the others
            logger.info("%s failed", path, exc_info=error)
            ended = replace(ended, status="failed", error=error)
            result = replace(result, failed=(*result.failed, (path, _reason(error))))
        yield ended
    return result


def _parts(paths: list[Path], position: Any) -> list[Part]:
    """Return the images that files hold, as far as they are to be segmented.

    Results of one image among several of a file have its number in their name.
    """
    parts: list[Part] = []
    for path, name in zip(paths, output_names(paths), strict=True):
        count = 1
        if position is not None and not obstacle(path):
            with suppress(Exception):  # of which reading it tells more
                count = read_info(path).images
        if count == 1:
            parts.append((path, name, None if position == ALL else position))
        else:
            places = range(count) if position == ALL else (position,)
            parts += [(path, f"{name}_p{place}", place) for place in places]
    return parts


def _renamed(parts: Sequence[Part]) -> Iterator[Message]:
    """Tell which results are not called as their images."""
    usual = [
        (path, name, f"{stem(path)}{'' if p is None else f'_p{p}'}") for path, name, p in parts
    ]
    told = [f"{path} → {name}" for path, name, expected in usual if name != expected]
    if told:
        yield Message(
            "Images whose names are not theirs alone, or too long, have results called otherwise: "
            f"{_few(told)}."
        )


def _of_others(parts: Sequence[Part], batch: Batch, record: Record) -> Iterator[Message]:
    """Tell which results that are there are those of other images."""
    told = []
    for path, name, _ in parts:
        labels = batch.output / f"{name}{ENDINGS['labels']}"
        there = read_record(labels) if labels.is_file() else None
        # Of the same file it is told in its turn; to look at all contents now would take long.
        if there is None or there.image is None or there.image.is_at(path) or obstacle(path):
            continue
        with suppress(InputError):
            other = replace(record, image=_origin(path, there)).other_image(there)
            if other is not None:
                told.append(f"{labels.name} (of {other.path}, not {path})")
    if told:
        what = "are replaced" if batch.existing == "replace" else "stay as they are"
        yield Message(
            f"Results of other images of the same names in {batch.output} {what}: {_few(told)}.",
            warning=True,
        )


def _few(told: Sequence[str]) -> str:
    return ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return by what a file is known under any name; None if it is not there."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino


def _there(
    path: Path, targets: Mapping[str, Path], inputs: Mapping[tuple[int, int] | None, Path]
) -> Record | None:
    """Return the record of the result that is there; raise where something else is in the way."""
    problem = obstacle(path)
    if problem:
        raise InputError(problem)
    for target in targets.values():
        found = _file_id(target)
        if found is not None and found in inputs:
            raise InputError(
                f"The result would replace the image {inputs[found]}: give another folder."
            )
        if os.path.lexists(target) and not target.is_file():
            raise InputError(f"{target} is in the way and no file: move it, or {ANOTHER}")
    return read_record(targets["labels"]) if targets["labels"].exists() else None


def _origin(path: Path, there: Record | None) -> Origin:
    try:
        return Origin.of(path, there.image if there is not None else None)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}): check who may read it."
        ) from error


def _is_done(
    path: Path,
    targets: Mapping[str, Path],
    record: Record,
    earlier: Record | None,
    existing: Existing,
) -> bool:
    """Tell whether there is nothing to do; raise where a result is in the way."""
    labels = targets["labels"]
    there = [target for target in targets.values() if target.exists()]
    if existing == "replace" or not there:
        return False
    other = record.other_image(earlier) if earlier is not None else None
    if other is not None:
        raise InputError(
            f"{path}: {labels} is the result of another image, {other.path}: {ANOTHER}"
        )
    if existing == "keep":
        raise InputError(f"{there[0]} exists already: choose to skip what is done, {INSTEAD}")
    if not labels.exists():
        return False  # the labels come last: what is there was left by a run that was cut off
    if earlier is None:
        raise InputError(f"{labels} does not tell what made it: choose {INSTEAD}")
    difference = record.difference(earlier)
    if difference:
        raise InputError(f"{labels} was made with {difference}: choose {INSTEAD}")
    if _has_changed(path, labels, record, earlier):
        raise InputError(f"{path} has changed since {labels} was made: choose {INSTEAD}")
    return set(record.saved) <= set(earlier.saved) and len(there) == len(targets)


def _before(path: Path, labels: Path, record: Record, earlier: Record) -> str:
    """Say of what, or with what else, an earlier result was made; empty if of and with the same."""
    other, difference = record.other_image(earlier), record.difference(earlier)
    if other is not None:
        return f"of another image, {other.path}"
    if difference:
        return f"with {difference}"
    return "of the image as it was before" if _has_changed(path, labels, record, earlier) else ""


def _has_changed(path: Path, labels: Path, record: Record, earlier: Record) -> bool:
    if record.image is None or earlier.image is None:  # earlier versions noted no image
        return path.stat().st_mtime > labels.stat().st_mtime
    return record.image.digest != earlier.image.digest


def _one(
    path: Path,
    position: int | None,
    targets: Mapping[str, Path],
    model: Model,
    batch: Batch,
    record: Record,
    earlier: Record | None,
) -> Generator[Event, None, dict[str, Any]]:
    """Segment one file and write its results; returns what :class:`FileEnded` tells of it."""
    given = {name: value for name, value in batch.options.items() if value is not None}
    given |= {"position": position}
    image = read_image(path, axes=given.get("axes"), position=position)
    if image.remark:
        yield Message(image.remark, warning=True)
    image = replace(image, rgb=bool(given.get("rgb", image.rgb)))
    sizes = _sizes(image, given.get("pixel_size"))
    maps = {"keep": frozenset(MAPS).intersection(batch.save), "relabel": False}
    options = resolve_options(model.card, **file_options(image, {**given, **maps}))
    result = yield from inference.segment(image.array, model, options)
    before = "" if earlier is None else _before(path, targets["labels"], record, earlier)
    yield from write_results(result, image, targets, sizes=sizes, description=record.text())
    if earlier is not None and before:
        left = [targets["labels"].with_name(_name_of(targets, kind)) for kind in earlier.saved]
        left = [path for path in left if path not in targets.values() and path.exists()]
        if left:
            names = ", ".join(path.name for path in left)
            text = f"{names} in {batch.output} is still what an earlier run made {before}."
            yield Message(text, warning=True)
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
