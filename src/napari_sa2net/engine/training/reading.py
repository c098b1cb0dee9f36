"""Pairs of images and annotations from arrays and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import as_image_axes, check_axes
from ..errors import InputError
from ..files import ImageFile, read_image, read_numbers
from ..image_file import file_options
from ..pairing import match_annotations, of_paths
from ..positions import one_position
from .pairs import Annotation, Meaning, Of, TrainingPair


def read_pairs(
    images: Any,
    annotations: Any,
    meaning: Meaning = "strokes",
    of: Of = "classes",
    **options: Any,
) -> tuple[list[TrainingPair], list[str]]:
    """Return pairs for a training, and remarks on them for a person.

    Parameters
    ----------
    images
        An array as ``segment`` takes it or a list of such, or paths: files, folders or patterns.
    annotations
        The same of whole numbers, without the channel axis, or of :class:`Annotation`. Files
        belong to the images of the same name, see :func:`match_annotations`. A single array
        belongs to ``images`` as a whole, which may then be a list of channels.
    meaning, of
        What the numbers mean, see :class:`Annotation`.
    **options
        Further fields of :class:`TrainingPair` for all pairs: ``axes``, ``rgb``, ``channels``,
        ``diameter``, ``pixel_size``, ``planes``. They count before what a file says. And
        ``position``, which image of several is used, see :class:`SegmentOptions`.

    Raises
    ------
    InputError
        If images and annotations do not pair up, or a file cannot be read.
    """
    options = {name: value for name, value in options.items() if value is not None}
    position = options.pop("position", None)
    checked = TrainingPair(None, Annotation(None, meaning, of), **options)
    options = {name: getattr(checked, name) for name in options}
    if of_paths(images) != of_paths(annotations):
        raise InputError("Give images and annotations both as arrays or both as paths.")
    if of_paths(images):
        return _from_files(images, annotations, meaning, of, position, options)
    if not isinstance(annotations, (list, tuple)):
        images, annotations = [images], [annotations]
    elif not isinstance(images, (list, tuple)) or len(images) != len(annotations):
        count = len(images) if isinstance(images, (list, tuple)) else 1
        raise InputError(f"There are {count} images and {len(annotations)} annotations.")
    pairs = []
    for number, (image, painted) in enumerate(zip(images, annotations, strict=True), 1):
        if not isinstance(painted, Annotation):
            painted = Annotation(painted, meaning, of)
        own: dict[str, Any] = {"name": f"image {number}" if len(annotations) > 1 else "the image"}
        if isinstance(image, ImageFile):
            own, image = {"name": image.name, **file_options(image, options)}, image.array
        own = {**options, **own}  # of which channels are numbers
        if position is not None and own.get("axes"):
            check_axes(own["axes"].upper(), image.shape)
            letters = as_image_axes(own["axes"].upper(), image.shape)
            image = one_position(image, letters, position)
        pairs.append(TrainingPair(image, painted, **own))
    return pairs, []


def _from_files(
    images: Any,
    annotations: Any,
    meaning: Meaning,
    of: Of,
    position: int | None,
    options: dict[str, Any],
) -> tuple[list[TrainingPair], list[str]]:
    matched, alone = match_annotations(images, annotations)
    pairs, remarks = [], []
    if alone:
        remarks.append(
            f"{len(matched)} of {len(matched) + alone} images have an annotation; the others are "
            "not used."
        )
    for name, image_path, path in matched:
        image = read_image(image_path, axes=options.get("axes"), position=position)
        own = {**file_options(image, options), "name": name}
        if image.remark:
            remarks.append(image.remark)
        labels, axes = read_labels(path, position)
        labels = _along(labels, axes, "".join(a for a in image.axes if a in "TZYX"))
        annotation, remark = _understood(Annotation(labels, meaning, of))
        if remark:
            remarks.append(f"{path.name}: {remark}")
        pairs.append(TrainingPair(image.array, annotation, **own))
    return pairs, remarks


def read_labels(path: str | Path, position: int | None = None) -> tuple[Any, str]:
    """Read an annotation file as whole numbers, with a letter of ``TZCYX`` for each axis.

    Of several images it is the one at ``position``.

    Raises
    ------
    InputError
        If the file cannot be read, or holds colours or fractions.
    """
    path = Path(path)
    file = read_numbers(path, position)
    array, axes = file.array, file.axes
    if file.rgb:
        array, axes = np.moveaxis(np.asarray(array), axes.index("C"), -1), axes.replace("C", "")
        if not (array[..., 0] == array[..., 1]).all() or not (array[..., 0] == array[..., 2]).all():
            raise InputError(
                f"{path.name} is a picture in colours: save the annotation as labels, whole "
                "numbers in 8 or 16 bits."
            )
        array = array[..., 0]
    if array.dtype.kind == "b":
        array = np.asarray(array).astype(np.uint8)
    elif array.dtype.kind == "f":
        values = np.asarray(array)
        whole = np.isfinite(values).all() and bool((values == np.round(values)).all())
        if not whole or np.abs(values).max(initial=0) >= 2**31:
            raise InputError(
                f"{path.name} holds fractions, not labels: save the annotation as whole numbers."
            )
        array = values.astype(np.int32)
    return array, axes


def _along(labels: Any, axes: str, wanted: str) -> Any:
    """Return labels with their axes in the order of the image's, and without axes of length 1.

    What does not fit is left as it is: the training says what is wrong with it.
    """
    extra = [i for i, a in enumerate(axes) if a not in wanted and labels.shape[i] == 1]
    if extra:
        labels = np.asarray(labels).squeeze(tuple(extra))
        axes = "".join(a for i, a in enumerate(axes) if i not in extra)
    if axes != wanted and sorted(axes) == sorted(wanted):
        labels = np.asarray(labels).transpose([axes.index(a) for a in wanted])
    return labels


def _understood(annotation: Annotation) -> tuple[Annotation, str]:
    """Take a full mask of one number, such as 255, for one of the first class."""
    labels = annotation.labels
    if annotation.meaning != "mask" or not isinstance(labels, np.ndarray) or not labels.size:
        return annotation, ""
    top = labels.max()
    one = top > 0 and bool(((labels == 0) | (labels == top)).all())
    if not one or (top == 1 and annotation.of == "classes"):
        return annotation, ""
    remark = f"its one number, {top}, is taken for the first class, not for a single object."
    painted = (labels == top).astype(np.uint8)
    return replace(annotation, labels=painted, of="classes"), remark
