"""What a fine-tuning makes of its start model and images: classes, channels, the new card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..axes import as_image_axes, guess_axes
from ..cards import BOUNDARY, ClassInfo, Figure, ModelCard, default_classes
from ..errors import InputError
from ..model_files import Model, model_sha256
from .comparison import Comparison
from .painting import TrainingPair
from .samples import Sample
from .settings import FineTuneSettings

SCRATCH_DIAMETER = 22.0
"""Working diameter in pixels of a model from scratch whose images say how large objects are."""


def choose_classes(
    start: ModelCard | None,
    classes: Sequence[ClassInfo | str] | None,
    pairs: Sequence[TrainingPair],
) -> tuple[ClassInfo, ...]:
    """Return the classes of the new model, background first, derived ones last.

    Parameters
    ----------
    start
        Card of the start model, None from scratch.
    classes
        What the painter defined, or None to keep those of the start model. A boundary, by
        which touching objects come apart, is added where the start model or a painting of
        instances knows of one.
    pairs
        What is painted.
    """
    instances = any(pair.annotation.of == "instances" for pair in pairs)
    if classes is None and start is not None:
        return start.classes
    if classes is None:
        chosen = default_classes(2)
    else:
        colours = default_classes(len(classes) if len(classes) > 1 else 2)
        chosen = tuple(
            dataclasses.replace(colours[i], name=info) if isinstance(info, str) else info
            for i, info in enumerate(classes)
        )
    if any(info.derived for info in chosen):
        return chosen
    derived = tuple(c for c in start.classes if c.derived) if start is not None else ()
    taken = {info.name for info in chosen}
    known = start is not None and any(c.name in taken for c in start.classes[1:])
    added = derived if known or instances or len(chosen) == 2 else ()
    if instances and not added:
        added = (BOUNDARY,)
    chosen += tuple(info for info in added if info.name not in taken)
    return chosen


def choose_channels(start: ModelCard | None, pairs: Sequence[TrainingPair]) -> int:
    """Return how many channels the new model takes.

    Those of the start model wherever its images can be shown to it as they are: a single
    channel in all of its channels, colours as grey.

    Raises
    ------
    InputError
        If the pairs have different numbers of channels.
    """
    if not pairs:
        raise InputError("There is nothing to train on: give an image and its annotation.")
    counts = {_channels(pair) for pair in pairs}
    several = sorted(counts - {1})
    if len(several) > 1:
        raise InputError(
            f"The images have {' and '.join(map(str, sorted(counts)))} channels: choose as many "
            "channels of each."
        )
    count = several[0] if several else 1
    colours = count == 3 and all(pair.rgb for pair in pairs if _channels(pair) == 3)
    grey = start is not None and colours and start.in_channels == 1
    if start is not None and (grey or count in (1, start.in_channels)):
        return start.in_channels
    return count


def _channels(pair: TrainingPair) -> int:
    if pair.channels is not None:
        return len(tuple(np.atleast_1d(pair.channels)))
    image = pair.image
    if isinstance(image, (list, tuple)) and image and np.ndim(image[0]) >= 2:
        return len(image)
    shape = np.shape(image)
    axes = as_image_axes((pair.axes or guess_axes(shape, rgb=pair.rgb)).upper(), shape)
    count = int(shape[axes.index("C")]) if "C" in axes and len(axes) == len(shape) else 1
    return 3 if count == 4 and (pair.rgb or axes.endswith("C")) else count  # 4: with opacity


def working_card(
    card: ModelCard, start: ModelCard | None, pairs: Sequence[TrainingPair]
) -> ModelCard:
    """Return the card by which the images are read: its scale and its kind of result."""
    objects = [info for info in card.classes[1:] if not info.derived]
    derived = len(objects) + 1 < len(card.classes)
    result = card.result
    if start is None or [c.name for c in start.classes] != [c.name for c in card.classes]:
        result = "instances" if derived or len(objects) == 1 else "classes"
    diameter = card.diameter
    if start is None and all(pair.diameter for pair in pairs):
        diameter = SCRATCH_DIAMETER
    return dataclasses.replace(card, result=result, diameter=diameter)


def new_card(
    card: ModelCard,
    name: str,
    parent: Model | None,
    facts: dict[str, Any],
    settings: FineTuneSettings,
    comparison: Comparison,
    training: dict[str, Any],
) -> ModelCard:
    """Return the card of a trained model: what it came from, and how well it does.

    Parameters
    ----------
    card
        By which the images were read.
    facts
        What was painted, see :func:`facts_of`.
    training
        Steps, seconds, history and the like.
    """
    from ... import __version__

    images = facts["images"]
    count = f"{len(images)} painted image{'s' if len(images) != 1 else ''}"
    origin = f"Fine-tuned from {parent.card.name}" if parent is not None else "Trained from scratch"
    data = f"{count}: {', '.join(images[:20])}{' …' if len(images) > 20 else ''}"
    if parent is not None and parent.card.training_data:
        data += f"; before that: {parent.card.training_data}"
    figures = []
    if comparison.after is not None:
        figures.append(Figure("Dice, held-out painting", round(comparison.after, 4)))
    known = {
        "parent": parent.card.name if parent is not None else "",
        "parent_sha256": model_sha256(parent) if parent is not None else "",
        "settings": dataclasses.asdict(settings),
        "comparison": comparison.to_dict(),
        "painting": facts,
        "training": training,
        "version": __version__,
    }
    return dataclasses.replace(
        card,
        name=name,
        description=f"{origin} on {count}.",
        modality="",  # the start's is not that of these images
        file="",
        bytes=0,
        sha256="",
        urls=(),
        training_data=data,
        figures=tuple(figures),
        diameter=facts["diameter"],
        pixel_size=facts["pixel_size"],
        extra=_known(known),
    )


def _known(value: Any) -> Any:
    """Return plain values as a card has them after it was saved: lists, and nothing unknown."""
    if isinstance(value, dict):
        return {key: _known(v) for key, v in value.items() if v is not None}
    return [_known(v) for v in value] if isinstance(value, (list, tuple)) else value


def facts_of(
    pairs: Sequence[TrainingPair], samples: Sequence[Sample], card: ModelCard
) -> dict[str, Any]:
    """Return what is worth keeping of the painting, as plain values.

    The diameter and pixel size are those at which the network saw the images, if that is known:
    where no image said how large its objects are, it is that of the painted objects.
    """
    by_class: dict[str, int] = {}
    for sample in samples:
        found = sample.painted_classes
        for k, info in enumerate(card.classes):
            by_class[info.name] = by_class.get(info.name, 0) + int((found == k).sum())
    sizes = [sample.diameter for sample in samples if sample.diameter > 0]
    scaled = card.diameter is not None and any(pair.diameter for pair in pairs)
    diameter = card.diameter if scaled else (float(np.median(sizes)) if sizes else None)
    measured = card.pixel_size is not None and any(pair.pixel_size for pair in pairs)
    return {
        "images": [pair.name or f"image {i + 1}" for i, pair in enumerate(pairs)],
        "pixels": {k: n for k, n in by_class.items() if n},
        "diameter": diameter,
        "pixel_size": card.pixel_size if measured and not scaled else None,
    }
