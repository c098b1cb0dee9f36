"""Segment images and compare the results with their true masks, image by image."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from . import inference, metrics
from .errors import InputError, SA2NetError
from .events import Event, Message, Progress
from .files import ImageFile, read_image, read_numbers
from .image_file import file_options, obstacle, spelled_alike
from .images import is_masked, to_planes
from .options import resolve_options
from .pairing import by_name, of_paths
from .weights import Member, Model, ModelCard

FIGURES = ("dice", "iou", "average_precision")

_OF_EVALUATION = {"model", "sha256", "iou_threshold", "settings", "images", "means", "failed"}
"""By these keys the JSON of an evaluation is known."""


@dataclass(frozen=True)
class Row:
    """The figures of one image."""

    name: str
    dice: float
    """Dice of the masks ``labels > 0``; 1 if both are empty. Of several classes their mean."""
    iou: float
    """Intersection over union of the masks; 1 if both are empty. Of several classes their mean."""
    average_precision: float
    """TP / (TP + FP + FN) of the objects; 1 without objects on either side, and NaN where the
    model's result is classes, not objects."""
    true_positives: int
    found: int
    """Objects in the result."""
    true: int
    """Objects in the truth; classes where the result is classes."""
    classes: Mapping[str, float] = field(default_factory=dict)
    """Dice of each class but the background, where the result is classes."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on images with known masks: a row an image, and their means."""

    rows: tuple[Row, ...]
    model: str
    sha256: str = ""
    members: tuple[Member, ...] = ()
    """Of an ensemble."""
    iou_threshold: float = 0.5
    failed: tuple[tuple[str, str], ...] = ()
    """Name and reason of the images that could not be evaluated; they count in no mean."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def means(self) -> dict[str, float]:
        """Mean over the images of each figure (every image counts alike); NaN without rows."""
        return {
            name: float(np.mean([getattr(row, name) for row in self.rows]))
            if self.rows
            else math.nan
            for name in FIGURES
        }

    @property
    def class_means(self) -> dict[str, float]:
        """Mean Dice of each class over the images that were compared class by class."""
        names = dict.fromkeys(name for row in self.rows for name in row.classes)
        return {
            name: float(np.mean([row.classes[name] for row in self.rows if name in row.classes]))
            for name in names
        }

    def table(self) -> str:
        """Return the rows and their means as text."""
        classes = self.class_means
        heads = ["image", "Dice", "IoU", f"AP@{self.iou_threshold:g}", *classes, "found", "true"]
        lines = [
            [
                row.name,
                *(_show(getattr(row, name)) for name in FIGURES),
                *(_show(row.classes.get(name, math.nan)) for name in classes),
                str(row.found),
                str(row.true),
            ]
            for row in self.rows
        ]
        averages = [_show(x) for x in (*self.means.values(), *classes.values())]
        means = [f"mean of {len(self.rows)}", *averages, "", ""]
        table = [heads, *lines, means]
        widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
        shown = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([shown[0], rule, *shown[1:-1], rule, shown[-1]])

    def to_json(self) -> str:
        """Return everything as JSON; what is not a number is null."""
        content = {
            "model": self.model,
            "sha256": self.sha256,
            "members": [asdict(member) for member in self.members],
            "version": self.version,
            "iou_threshold": self.iou_threshold,
            "settings": dict(self.settings),
            "images": [asdict(row) for row in self.rows],
            "means": self.means,
            "class_means": self.class_means,
            "failed": [{"name": name, "reason": reason} for name, reason in self.failed],
        }
        return json.dumps(_finite(content), indent=2, ensure_ascii=False)


def check_replaceable(path: Path) -> None:
    """See that a file is not there yet, or is what :meth:`Evaluation.to_json` returned.

    Raises
    ------
    InputError
        If it is something else, which is never replaced.
    """
    if not os.path.lexists(path):
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not content.keys() >= _OF_EVALUATION:
        raise InputError(
            f"{path} exists and was not written by an evaluation, so it is not replaced: give "
            "another name, or remove it yourself."
        )


def _show(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_finite(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def evaluate(
    images: Any,
    masks: Any,
    model: Model,
    *,
    names: Sequence[str] | None = None,
    iou_threshold: float = 0.5,
    options: Mapping[str, Any] | None = None,
) -> Generator[Event, None, Evaluation]:
    """Segment images and compare the labels with the true masks.

    Parameters
    ----------
    images, masks
        Arrays (one, or a list), or paths: files, folders or patterns. Files belong together if
        their names without the ending are equal; one file each always does. In a mask 0 is
        background and every object has a number of its own; a mask of only one number is
        taken apart into its connected pieces, and of a colour mask every colour is an object.
        Where the result is classes, a mask holds the model's class numbers.
    names
        Use only the images whose names are among these.
    iou_threshold
        From which IoU on an object counts as found.
    options
        See :func:`~napari_sa2net.engine.options.resolve_options`.

    Yields
    ------
    Event
        A :class:`Progress` after every image, and a warning :class:`Message` for each that
        fails; the others go on.

    Raises
    ------
    InputError
        If images and masks do not pair up, or an option does not fit.
    """
    if not 0 < iou_threshold <= 1:
        raise InputError(f"The IoU threshold must be above 0 and at most 1, not {iou_threshold}.")
    resolve_options(model.card, **dict(options or {}))  # wrong options fail before the work
    pairs = _pairs(images, masks, names)
    unknown = set(map(spelled_alike, names or ())) - {name for name, _, _ in pairs}
    if unknown:
        yield Message(f"No image is called {', '.join(sorted(unknown)[:5])}"
                      f"{' …' if len(unknown) > 5 else ''}: left out.")  # fmt: skip
    rows: list[Row] = []
    failed: list[tuple[str, str]] = []
    yield Progress(0, len(pairs), "image")
    for done, (name, image, mask) in enumerate(pairs, 1):
        try:
            rows.append((yield from _row(name, image, mask, model, iou_threshold, options or {})))
        except (SA2NetError, MemoryError, OSError, RuntimeError) as error:
            failed.append((name, str(error) or type(error).__name__))
            yield Message(f"{name}: {failed[-1][1]}", warning=True)
        yield Progress(done, len(pairs), "image", name)
    from .. import __version__

    return Evaluation(
        rows=tuple(rows),
        model=model.card.name,
        sha256=model.card.sha256,
        members=model.card.members,
        iou_threshold=iou_threshold,
        failed=tuple(failed),
        settings={k: v for k, v in dict(options or {}).items() if v is not None},
        version=__version__,
    )


def _row(
    name: str,
    image: Any,
    mask: Any,
    model: Model,
    iou_threshold: float,
    options: Mapping[str, Any],
) -> Generator[Event, None, Row]:
    given = {key: value for key, value in options.items() if value is not None}
    if isinstance(image, Path):
        file = read_image(image, axes=options.get("axes"), position=options.get("position"))
        if file.remark:
            yield Message(f"{name}: {file.remark}", warning=True)
        given, image = file_options(file, options), file.array
    if isinstance(mask, Path):
        mask = read_numbers(mask, options.get("position"))
        if mask.remark:
            yield Message(f"{name}: {mask.remark}", warning=True)
    of_objects = (options.get("result") or model.card.result) == "instances"
    truth, remark = true_labels(mask) if of_objects else true_classes(mask, model.card)
    if remark:
        yield Message(f"{name}: {remark}")
    work = inference.segment(image, model, resolve_options(model.card, **given))
    result = None
    while result is None:  # its tiles are not worth telling, what it warns of is
        try:
            event = next(work)
        except StopIteration as stop:
            result = stop.value
        else:
            if isinstance(event, Message):
                yield event
    labels = result.labels
    outside = np.ma.getmask(mask) | _outside(image, result)
    if np.any(outside):
        labels, truth = np.where(outside, 0, labels), np.where(outside, 0, truth)
    matches = metrics.match(labels, truth, iou_threshold)
    row = Row(
        name=name,
        dice=metrics.dice(labels, truth),
        iou=metrics.iou(labels, truth),
        average_precision=matches.average_precision if of_objects else math.nan,
        true_positives=matches.true_positives,
        found=matches.true_positives + matches.false_positives,
        true=matches.true_positives + matches.false_negatives,
    )
    if of_objects or not _names_classes(truth, model.card):
        return row
    return _by_class(row, labels, truth, model.card)


def _outside(image: Any, result: Any) -> NDArray[np.bool_] | np.bool_:
    """Return which pixels of a result are masked in its image."""
    if not is_masked(image):
        return np.ma.nomask
    options = result.options
    planes = to_planes(image, options.axes, options.channels, result.card.in_channels,
                       rgb=options.rgb, colour_order=result.card.colour_order)  # fmt: skip
    outside = np.zeros(result.labels.shape, bool)
    for number in range(len(planes)):
        planes.stack.view(outside, number)[...] = planes.outside(number)
    return outside


def _by_class(
    row: Row, labels: NDArray[np.integer], truth: NDArray[np.integer], card: ModelCard
) -> Row:
    """Return the row with the figures of each class; a class that is nowhere counts as 1."""
    numbers = [k for k, info in enumerate(card.classes) if k and not info.derived]
    dices = {card.classes[k].name: metrics.dice(labels == k, truth == k) for k in numbers}
    ious = [metrics.iou(labels == k, truth == k) for k in numbers]
    return replace(
        row, dice=float(np.mean(list(dices.values()))), iou=float(np.mean(ious)), classes=dices
    )


def _names_classes(truth: NDArray[np.integer], card: ModelCard) -> bool:
    return int(truth.max(initial=0)) < len(card.classes)


def true_classes(mask: Any, card: ModelCard) -> tuple[NDArray[np.int64], str]:
    """Return a true mask as the model's class numbers, and a remark if it does not hold them.

    A mask of one number other than 1 is that of the only class.
    """
    labels, remark = _true_numbers(mask)
    found = np.unique(labels[labels > 0])
    if len(found) == 1 and len(card.classes) == 2:
        return (labels > 0).astype(np.int64), remark
    if remark:
        raise InputError(
            "The mask is a picture in colours, and which of them is which class is not known: "
            "save the numbers of the classes."
        )
    if not _names_classes(labels, card):
        names = ", ".join(f"{k} {info.name}" for k, info in enumerate(card.classes))
        remark = f"the mask's numbers are not the model's classes ({names}): only masks count"
    return labels, remark


def true_labels(mask: Any) -> tuple[NDArray[np.int64], str]:
    """Return a true mask as labels of objects, and a remark if they are not simply its numbers."""
    labels, remark = _true_numbers(mask)
    found = np.unique(labels[labels > 0])
    if len(found) == 1:
        pieces, count = ndimage.label(labels > 0)
        if count > 1:
            return pieces.astype(np.int64), f"the mask has one label: its {count} pieces are taken"
    return labels, remark


def _true_numbers(mask: Any) -> tuple[NDArray[np.int64], str]:
    if isinstance(mask, ImageFile):
        file = mask
    elif isinstance(mask, (str, Path)):
        file = read_numbers(mask)
    else:
        file = ImageFile(np.ma.filled(mask, 0), "")
    array = np.asarray(file.array)
    if file.rgb:
        array = np.moveaxis(array, file.axes.index("C"), -1)
        colours = array[..., :3].astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])
        array = np.unique(np.concatenate([[0], colours.ravel()]), return_inverse=True)[1][1:]
        array = array.reshape(colours.shape)
    if array.dtype.kind == "f":
        if not np.array_equal(array, np.round(array)):
            raise InputError("A mask holds fractions: it must hold whole numbers, 0 background.")
    elif array.dtype.kind not in "biu":
        raise InputError(f"A mask of type {array.dtype} is not understood: save whole numbers.")
    labels = array.astype(np.int64)
    return labels, "every colour of the mask is taken as an object" if file.rgb else ""


def _pairs(images: Any, masks: Any, names: Sequence[str] | None) -> list[tuple[str, Any, Any]]:
    if of_paths(images) != of_paths(masks):
        raise InputError("Give images and masks both as arrays or both as paths.")
    if not of_paths(images):
        first, second = (list(x) if isinstance(x, (list, tuple)) else [x] for x in (images, masks))
        if len(first) != len(second):
            raise InputError(f"There are {len(first)} images and {len(second)} masks.")
        if not first:
            raise InputError("There is no image to evaluate.")
        return [(f"image {i}", a, b) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    pictures, truths = (by_name(x) for x in (images, masks))
    if len(truths) == 1:  # a folder or a pattern that is none, else one of many that fails
        problem = obstacle(next(iter(truths.values())))
        if problem:
            raise InputError(problem)
    if len(pictures) == len(truths) == 1 and names is None:
        (name, image), (mask,) = *pictures.items(), truths.values()
        return [(name, image, mask)]
    chosen = None if names is None else set(map(spelled_alike, names))
    wanted = [name for name in pictures if chosen is None or name in chosen]
    if not wanted:
        raise InputError("None of the images has one of the names that were asked for.")
    missing = [name for name in wanted if name not in truths]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(
            f"There is no mask for {', '.join(missing[:5])}{more}: an image and its mask need the "
            "same name without the ending."
        )
    return [(name, pictures[name], truths[name]) for name in wanted]
