"""Labels of a whole stack: from kept probabilities again, numbered and linked across planes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .axes import Stack
from .errors import InputError
from .events import Event, Message, Progress, run
from .instances import LabelSettings, features, label_plane, link_stack
from .parts import Labels
from .segmentation import Segmentation, derived_classes


def relabel(
    segmentation: Segmentation,
    settings: LabelSettings,
    plane: int | Sequence[int] | None = None,
) -> Labels:
    """Make labels from the kept probabilities again, without the network.

    Parameters
    ----------
    segmentation
        Result of a run; it is not changed.
    settings
        New settings.
    plane
        The number of a plane, or its place along T and Z, to label only that: quick, for
        while a slider is dragged. Its instance numbers are 1 … n.

    Returns
    -------
    ndarray of int32
        (H, W) of the plane, or all labels in the image's shape, as a run would give them.

    Raises
    ------
    InputError
        If the probabilities were not kept, or there is no such plane.
    """
    if plane is None:
        return run(relabel_steps(segmentation, settings)).labels
    stack = segmentation.stack
    try:
        number = plane if isinstance(plane, int) else _number(stack, plane)
        probabilities = stack.view(_probabilities(segmentation), number)
    except (ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"There is no plane {plane}: the result has {len(stack)} of them, from 0 on."
        ) from error
    derived, masked = derived_classes(segmentation.card), segmentation.masked
    return label_plane(probabilities, settings, derived=derived, masked=masked)


def relabel_steps(
    segmentation: Segmentation, settings: LabelSettings
) -> Generator[Event, None, Segmentation]:
    """Like :func:`relabel`, as a generator: an event a plane, so that it can be stopped.

    Returns
    -------
    Segmentation
        With new ``labels``, ``features`` and ``options.labelling``; the maps are shared.
    """
    probabilities = _probabilities(segmentation)
    stack = segmentation.stack
    derived, masked = derived_classes(segmentation.card), segmentation.masked
    labels = np.zeros(segmentation.labels.shape, np.int32)
    count = 0
    for done, number in enumerate(segmentation.planes, start=1):
        found = stack.view(probabilities, number)
        plane = label_plane(found, settings, derived=derived, masked=masked)
        count = put_plane(labels, stack, number, plane, settings, count)
        yield Progress(done, len(segmentation.planes), "plane")
    warning = link_labels(labels, stack, settings)
    if warning:
        yield Message(warning, warning=True)
    return replace(
        segmentation,
        labels=labels,
        features=features(labels, probabilities, derived=derived, result=settings.result),
        options=replace(segmentation.options, labelling=settings),
    )


def put_plane(
    labels: Labels, stack: Stack, number: int, plane: Labels, settings: LabelSettings, count: int
) -> int:
    """Write a plane's labels (numbered from 1 on) into those of the stack.

    Returns the highest instance number so far, given as ``count`` to the next plane.
    """
    if settings.result == "classes":
        stack.view(labels, number)[...] = plane
        return 0
    if count == 0:
        stack.view(labels, number)[...] = plane
    else:
        stack.view(labels, number)[...] = np.where(plane > 0, plane + np.int32(count), 0)
    return count + int(plane.max(initial=0))


def link_labels(labels: Labels, stack: Stack, settings: LabelSettings) -> str | None:
    """Link the instances of a stack in place, if asked for; return a warning if it cannot."""
    if settings.link == "none" or settings.result == "classes":
        return None
    letter = settings.link.upper()
    if letter not in stack.axes:
        return (
            f"Objects cannot be linked through {letter}: the image has the axes {stack.axes}. "
            "Correct the axes, or turn linking off."
        )
    ordered = stack.ordered(labels)  # (T, Z, Y, X), the same memory
    if letter == "T":
        ordered = ordered.swapaxes(0, 1)
    count = 0
    for series in ordered:
        linked = link_stack(series)
        series[...] = np.where(linked > 0, linked + np.int32(count), 0)
        count += int(linked.max(initial=0))
    return None


def _probabilities(segmentation: Segmentation) -> NDArray[np.float16]:
    if segmentation.probabilities is None:
        raise InputError(
            "The probabilities of this result were not kept, so its labels cannot be changed "
            "without the network: segment again with relabel=True."
        )
    return segmentation.probabilities


def _number(stack: Stack, index: Sequence[int]) -> int:
    if len(index) != len(stack.lengths):
        raise InputError(f"A plane's place needs a number for each of {stack.plane_axes!r}.")
    return int(np.ravel_multi_index(tuple(index), stack.lengths)) if stack.lengths else 0
