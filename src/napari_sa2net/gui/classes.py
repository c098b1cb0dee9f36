"""The classes of the objects of a Labels layer: as the model said, or as a person did.

The pixels of a layer may be painted at any time, and undone. So what is known of an object is kept
by its number, also while it has no pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ..engine.cards import ClassInfo
from .layers import KIND, made_by, note_of

CLASSES = "napari-sa2net-classes"
"""Key of ``layer.metadata`` under which the :class:`Known` of a layer stands."""


@dataclass(eq=False)
class Known:
    """What is known of the classes of objects, by their numbers."""

    model: dict[int, int]
    """As the model said."""
    person: dict[int, int] = field(default_factory=dict)
    """Of objects that a person painted, or said it of."""
    chosen: int | None = None
    """For the objects that will be painted; None as long as nobody has chosen."""


def as_notes(classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """Return the classes of a model as they stand in the note of its results."""
    return [asdict(info) for info in classes]


def classes_of(layer: Any) -> tuple[ClassInfo, ...]:
    """Return the classes of the model that made a layer, background first; () if none did."""
    return tuple(ClassInfo(**values) for values in made_by(layer).get("classes", ()))


def shows(layer: Any) -> Literal["objects", "classes", "strokes", ""]:
    """Return what the numbers of a layer are; empty where nobody has said so.

    Strokes are what a person painted, where 1 is background and what is not painted means nothing.
    """
    table = (note_of(layer) or {}).get(KIND)
    if isinstance(table, dict):
        if table.get("meaning") == "strokes":
            return "strokes"
        return "objects" if table.get("of") == "instances" else "classes"
    made = made_by(layer)
    if made.get("kind") != "labels":
        return ""
    return "classes" if made.get("result") == "classes" else "objects"


def choices(layer: Any) -> list[int]:
    """Return the numbers of the classes that an object of ``layer`` can have."""
    infos = classes_of(layer)
    return [number for number, info in enumerate(infos) if number and not info.derived]


def learn(layer: Any) -> None:
    """Take what the table of ``layer`` says as what its model did; what was chosen stays."""
    before = layer.metadata.get(CLASSES)
    chosen = before.chosen if isinstance(before, Known) else None
    layer.metadata[CLASSES] = Known(_in_table(layer), chosen=chosen)


def copy(layer: Any, to: Any) -> None:
    """Let a copy of ``layer`` know what is known of its objects."""
    to.metadata[CLASSES] = deepcopy(known(layer))


def known(layer: Any) -> Known:
    """Return what is known of the classes in ``layer``; to be changed by :func:`give` only."""
    found = layer.metadata.get(CLASSES)
    if not isinstance(found, Known):
        learn(layer)  # a painting that was restored has its table only
        found = layer.metadata[CLASSES]
    return found


def class_of(layer: Any, number: int) -> int:
    """Return the class of an object, also of one that is still to be painted; 0 if unknown."""
    if shows(layer) == "classes":
        return number
    classes = known(layer)
    found = classes.person.get(number, classes.model.get(number))
    return next_class(layer) if found is None else found


def next_class(layer: Any) -> int:
    """Return the class that an object gets which is painted now: as chosen, else the usual one."""
    classes, possible = known(layer), choices(layer)
    if classes.chosen in possible:
        return int(classes.chosen or 0)
    counts = Counter(number for number in classes.model.values() if number in possible)
    return max(possible, key=lambda number: counts[number], default=0)


def settle(layer: Any, numbers: Sequence[int]) -> None:
    """Give objects that are new the class that is chosen now, and keep it."""
    classes = known(layer)
    new = [n for n in numbers if n not in classes.person and n not in classes.model]
    classes.person.update(dict.fromkeys(new, next_class(layer)))


def give(layer: Any, number: int, kind: int) -> None:
    """Give an object a class, whether it is painted yet or not; the next ones get it too."""
    classes = known(layer)
    classes.chosen = classes.person[number] = kind


def inherit(layer: Any, pieces: Mapping[int, int]) -> None:
    """Give new numbers the classes of the objects that they are pieces of."""
    known(layer).person.update({new: class_of(layer, old) for new, old in pieces.items()})


def were_changed(layer: Any) -> bool:
    """Return whether a person gave an object another class than the model."""
    classes = known(layer)
    return any(classes.person.get(n, kind) != kind for n, kind in classes.model.items())


def _in_table(layer: Any) -> dict[int, int]:
    features = layer.features
    if shows(layer) != "objects" or not {"index", "class"} <= set(features):
        return {}
    numbers, kinds = (np.asarray(features[name]) for name in ("index", "class"))
    if numbers.dtype.kind not in "iu" or kinds.dtype.kind not in "iu":
        return {}
    return dict(zip(numbers.tolist(), kinds.tolist(), strict=True))
