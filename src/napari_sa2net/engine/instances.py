"""Probabilities to labels: threshold, split touching objects, fill holes, drop specks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .fields import check_fields
from .parts import (
    Labels,
    drop_small,
    fill_holes,
    label,
    sequential,
    split_by_distance,
    split_by_seeds,
)

MIN_OVERLAP = 0.1
"""The least intersection over union of objects in two planes that are taken for one."""


LARGEST_MIN_SIZE = 10**9
"""Pixels that an object may be asked to have at least."""


@dataclass(frozen=True)
class LabelSettings:
    """How probabilities become labels. Everything here is applied without the network."""

    threshold: float = field(
        default=0.5,
        metadata={
            "help": "A pixel belongs to an object when its probability of not being background "
            "is above this. Lower finds more, higher less.",
            "above": 0,
            "below": 1,
            "step": 0.01,
        },
    )
    min_size: int = field(
        default=15,
        metadata={
            "help": "Objects of fewer pixels of the image than this are dropped.",
            "min": 0,
            "max": LARGEST_MIN_SIZE,
            "step": 1,
        },
    )
    split: bool = field(
        default=True,
        metadata={"help": "Split objects that touch (instances only)."},
    )
    fill_holes: bool = field(
        default=True,
        metadata={"help": "Fill holes that lie inside one object."},
    )
    seed_threshold: float = field(
        default=0.5,
        metadata={
            "help": "A pixel seeds an object when at least this share of its object probability "
            "is interior, not boundary. Higher splits more.",
            "above": 0,
            "below": 1,
            "step": 0.01,
        },
    )
    seed_size: int = field(
        default=4,
        metadata={
            "help": "A seed of fewer pixels than this does not split an object.",
            "min": 1,
            "max": 10_000,
            "step": 1,
        },
    )
    result: Literal["instances", "classes"] = field(
        default="instances",
        metadata={
            "help": "Instances: every object has a number of its own. Classes: every pixel has "
            "the number of its class.",
        },
    )
    link: Literal["none", "z", "t"] = field(
        default="none",
        metadata={
            "help": "Give objects that overlap from plane to plane one number, through Z or "
            "through time (instances only).",
        },
    )

    def __post_init__(self) -> None:
        check_fields(self)


def label_plane(
    probabilities: NDArray[np.floating[Any]],
    settings: LabelSettings | None = None,
    *,
    derived: Sequence[int] = (),
    masked: bool = False,
) -> Labels:
    """Turn the probabilities of one plane into labels.

    Parameters
    ----------
    probabilities
        (K, H, W), background first, summing to 1 over the classes; K at least 2.
    settings
        What to do; the defaults if not given.
    derived
        Numbers of the classes that only separate objects (a boundary class): their
        probability counts as that of the objects they bound.
    masked
        Whether they may be NaN, where there is no image: nothing is labelled there.

    Returns
    -------
    ndarray of int32, (H, W)
        Instance numbers 1 … n, or class numbers if ``settings.result`` is ``"classes"``;
        0 is background.

    Raises
    ------
    InputError
        If there are fewer than two classes, or all but the background are derived.
    """
    settings = settings or LabelSettings()
    labels, owners = split_parts(probabilities, settings, derived=derived)
    if settings.result == "classes":
        labels = owners[clean(labels, settings)]
    else:
        # As `clean` and then numbered, but in one pass: a person waits for this at a slider.
        labels = sequential(labels, settings.min_size)
        labels = fill_holes(labels) if settings.fill_holes else labels
    if masked:  # a hole there is none of an object
        labels[np.isnan(probabilities[0])] = 0
    return labels


def split_parts(
    probabilities: NDArray[np.floating[Any]],
    settings: LabelSettings,
    *,
    derived: Sequence[int] = (),
    radius: float | None = None,
) -> tuple[Labels, Labels]:
    """Return the objects before :func:`clean`, numbered, and the class of each number.

    Parameters
    ----------
    radius
        For models without a boundary class: the usual radius of the objects in pixels, for
        when the probabilities are only a part of a plane's. Theirs if not given.

    Returns
    -------
    tuple of ndarray of int32
        (H, W); and the classes, which are 0 where objects have been split.
    """
    paintable = object_classes(len(probabilities), derived)
    mask = foreground(probabilities, settings)
    if not mask.any():
        return np.zeros(mask.shape, np.int32), np.zeros(1, np.int32)
    if derived and settings.result == "instances":
        if settings.split:
            interior = _interior_share(probabilities, paintable, mask)
            labels = split_by_seeds(mask, interior, settings.seed_threshold, settings.seed_size)
        else:
            labels = label(mask)
    else:
        labels, owners = class_parts(probabilities, settings, derived)
        if settings.result == "classes" or not settings.split:
            return labels, owners
        labels = split_by_distance(labels, radius)
    return labels, np.zeros(int(labels.max(initial=0)) + 1, np.int32)


def clean(labels: Labels, settings: LabelSettings, keep: NDArray[np.bool_] | None = None) -> Labels:
    """Drop specks, but where ``keep`` is, and fill holes; the numbers stay."""
    kept = drop_small(labels, settings.min_size)
    if keep is not None:
        kept = np.where(keep, labels, kept)
    return fill_holes(kept) if settings.fill_holes else kept


def foreground(probabilities: NDArray[Any], settings: LabelSettings) -> NDArray[np.bool_]:
    """Return where a pixel belongs to an object."""
    background = np.asarray(probabilities[0], dtype=np.float32)
    mask: NDArray[np.bool_] = background < np.float32(1 - settings.threshold)
    return mask


def class_parts(
    probabilities: NDArray[np.floating[Any]], settings: LabelSettings, derived: Sequence[int] = ()
) -> tuple[Labels, Labels]:
    """Return connected pixels of one likeliest class, numbered, and the class of each number."""
    paintable = object_classes(len(probabilities), derived)
    kinds = _class_map(probabilities, paintable, foreground(probabilities, settings))
    return _components_of_classes(kinds, paintable)


def object_classes(num_classes: int, derived: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the numbers of the classes that objects can have: no background, none derived.

    Raises
    ------
    InputError
        If there is no such class.
    """
    paintable = tuple(k for k in range(1, num_classes) if k not in set(derived))
    if not paintable:
        raise InputError(
            f"Labels need the probabilities of the background and of at least one class of "
            f"objects, got {num_classes} class(es) of which {len(derived)} derived."
        )
    return paintable


def features(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]] | None = None,
    *,
    derived: Sequence[int] = (),
    result: Literal["instances", "classes"] = "instances",
) -> dict[str, NDArray[Any]]:
    """Return the table of objects: ``index``, ``class`` and ``area`` (pixels or voxels).

    Parameters
    ----------
    labels
        (…, H, W); with ``result="classes"`` its numbers are the classes themselves.
    probabilities
        (K, …, H, W). The class of an instance is the one with the highest sum of
        probabilities over it. Not needed when there is only one class of objects.
    derived
        Numbers of the classes that objects cannot have.
    """
    planes = labels.reshape(-1, *labels.shape[-2:])
    highest = int(labels.max(initial=0))
    area = np.zeros(highest + 1, np.int64)
    for plane in planes:
        area += np.bincount(plane.ravel(), minlength=highest + 1)
    area[0] = 0
    index = np.flatnonzero(area)
    classes = np.ones(len(index), np.int64)
    if result == "classes":
        classes = index.astype(np.int64)
    elif probabilities is not None:
        paintable = object_classes(len(probabilities), derived)
        if len(paintable) > 1:
            flat = probabilities.reshape(len(probabilities), *planes.shape)
            sums = np.zeros((len(paintable), highest + 1))
            for i, plane in enumerate(planes):
                for row, k in zip(sums, paintable, strict=True):
                    row += np.bincount(plane.ravel(), flat[k, i].ravel(), highest + 1)
            classes = np.asarray(paintable)[sums[:, index].argmax(axis=0)]
        else:
            classes[:] = paintable[0]
    return {"index": index, "class": classes, "area": area[index]}


def link_stack(labels: NDArray[np.integer[Any]]) -> Labels:
    """Give objects that overlap from plane to plane one number.

    Consecutive planes are matched one to one, the pair of highest overlap first; objects
    without a partner get a new number.

    Parameters
    ----------
    labels
        (N, H, W), a plane after the other along Z or T.
    """
    out = np.zeros(labels.shape, np.int32)
    count = 0
    previous: Labels | None = None
    for i, plane in enumerate(labels):
        current = sequential(np.asarray(plane, dtype=np.int32))
        numbers = np.zeros(int(current.max(initial=0)) + 1, np.int32)
        if previous is not None:
            for old, new in _matches(previous, current):
                numbers[new] = old
        fresh = np.flatnonzero(numbers == 0)[1:]
        numbers[fresh] = np.arange(count + 1, count + 1 + len(fresh))
        count += len(fresh)
        previous = out[i] = numbers[current]
    return out


def _class_map(
    probabilities: NDArray[Any], paintable: tuple[int, ...], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Number the likeliest class of objects at each pixel of the mask, 0 elsewhere."""
    kinds = np.zeros(mask.shape, np.uint8)
    best = np.asarray(probabilities[paintable[0]])[mask]
    kind = np.full(len(best), paintable[0], np.uint8)
    for k in paintable[1:]:
        candidate = np.asarray(probabilities[k])[mask]
        better = candidate > best
        best = np.where(better, candidate, best)
        kind[better] = k
    kinds[mask] = kind
    return kinds


def _components_of_classes(
    kinds: NDArray[np.uint8], paintable: tuple[int, ...]
) -> tuple[Labels, Labels]:
    """Return connected pixels of one class, numbered, and the class of each number."""
    labels = np.zeros(kinds.shape, np.int32)
    owners = [np.zeros(1, np.int32)]
    count = 0
    for k in paintable:
        part = label(kinds == k)
        found = int(part.max(initial=0))
        np.copyto(labels, part + np.int32(count), where=part > 0)
        owners.append(np.full(found, k, np.int32))
        count += found
    return labels, np.concatenate(owners)


def _interior_share(
    probabilities: NDArray[Any], paintable: tuple[int, ...], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return which share of the object probability is interior, not boundary; 0 off the mask."""
    share = np.zeros(int(mask.sum()), np.float32)
    for k in paintable:
        share += probabilities[k][mask]
    share /= np.maximum(1 - probabilities[0][mask].astype(np.float32), np.float32(1e-6))
    interior = np.zeros(mask.shape, np.float32)
    interior[mask] = share
    return interior


def _matches(before: Labels, after: Labels) -> list[tuple[int, int]]:
    """Pair the objects of two planes by intersection over union, greedily."""
    both = (before > 0) & (after > 0)
    if not both.any():
        return []
    # One number for each pair: much quicker to sort than pairs.
    base = int(after.max()) + 1
    codes, common = np.unique(
        before[both].astype(np.int64) * base + after[both], return_counts=True
    )
    pairs = np.stack(np.divmod(codes, base))
    sizes_before, sizes_after = np.bincount(before.ravel()), np.bincount(after.ravel())
    union = sizes_before[pairs[0]] + sizes_after[pairs[1]] - common
    overlap = common / union
    matched: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for i in np.argsort(-overlap, kind="stable"):
        old, new = int(pairs[0, i]), int(pairs[1, i])
        if overlap[i] < MIN_OVERLAP or old in taken[0] or new in taken[1]:
            continue
        taken[0].add(old)
        taken[1].add(new)
        matched.append((old, new))
    return matched
