"""Model cards: everything a person or the program must know about a model beside its tensors.

Nothing here needs torch, so that models can be listed quickly.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

from .errors import InputError, SA2NetError, WeightsError
from .images import Normalization
from .instances import LabelSettings

FORMAT_VERSION = 2
"""Version of the card's layout in a model file; a file of a higher one is refused.

A single network's file says 1, an ensemble's 2: an older program would not know its members.
"""

PROVENANCE = ("file", "bytes", "sha256", "urls")
"""Fields that describe the file as a whole, and that therefore cannot be inside it."""

_COLOR = re.compile(r"#[0-9a-f]{6}\Z", re.IGNORECASE)

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ClassInfo:
    """One class of a model's output."""

    name: str
    color: str = "#808080"
    """``#rrggbb``."""
    derived: bool = False
    """Made by the program from the other classes (a boundary), never painted by a person."""


@dataclass(frozen=True)
class Figure:
    """A measured figure, with the command that gives it."""

    name: str
    value: float
    command: str = ""


@dataclass(frozen=True)
class Member:
    """A model that an ensemble was made of."""

    name: str
    sha256: str = ""
    """Of its file."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is for, what it was made from, and how to feed and read it.

    Raises
    ------
    WeightsError
        If the fields contradict each other, for instance too few classes.
    """

    name: str
    description: str = ""
    modality: str = ""
    file: str = ""
    """Name of the file, without a folder."""
    bytes: int = 0
    sha256: str = ""
    urls: tuple[str, ...] = ()
    licence: str = ""
    restricted: bool = False
    """The licence forbids some uses, for instance commercial ones."""
    training_data: str = ""
    citation: str = ""
    base_channels: int = 64
    in_channels: int = 3
    num_classes: int = 1
    """Channels of the network's output: 1 for a binary model, else with the background."""
    classes: tuple[ClassInfo, ...] = ()
    """Background first; a binary model has two. Named by number if none are given."""
    channels: tuple[str, ...] = ()
    """What each input channel shows, in the network's order. For a colour image these are
    ``red``, ``green`` and ``blue``, in the order in which the network wants them."""
    normalization: Normalization = field(default_factory=Normalization)
    pixel_size: float | None = None
    """Working pixel size in µm, if the model has one."""
    diameter: float | None = None
    """Working object diameter in pixels, if the model has one."""
    result: Literal["instances", "classes"] = "instances"
    labelling: LabelSettings = field(default_factory=LabelSettings)
    """Default settings from probabilities to labels. Its ``result`` is always the card's, its
    ``min_size`` in pixels at the working scale, see
    :func:`~napari_sa2net.engine.scaling.default_labelling`."""
    figures: tuple[Figure, ...] = ()
    members: tuple[Member, ...] = ()
    """Of an ensemble: a network each, whose probabilities are averaged. Else empty."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping: hash of the parent, training settings, …"""

    def __post_init__(self) -> None:
        if not self.classes:
            object.__setattr__(self, "classes", default_classes(self.num_classes))
        problem = self._problem()
        if problem:
            raise WeightsError(f"The card of the model {self.name!r} is not usable: {problem}.")
        if self.labelling.result != self.result:
            labelling = dataclasses.replace(self.labelling, result=self.result)
            object.__setattr__(self, "labelling", labelling)

    def _problem(self) -> str:
        wanted = max(2, self.num_classes)
        if not self.name.strip():
            return "it has no name"
        if min(self.base_channels, self.in_channels, self.num_classes) < 1:
            return "width, input channels and classes must be at least 1"
        if len(self.classes) != wanted:
            return f"it lists {len(self.classes)} classes, but its network has {wanted}"
        if self.channels and len(self.channels) != self.in_channels:
            return f"it names {len(self.channels)} channels, its network has {self.in_channels}"
        if self.result not in ("instances", "classes"):
            return f"its result is {self.result!r}, it must be 'instances' or 'classes'"
        if len(self.members) == 1:
            return "it names one member, and an ensemble has two or more"
        for info in self.classes:
            if not _COLOR.match(info.color):
                return f"the colour {info.color!r} of class {info.name!r} is not like '#1f77b4'"
        for what, size in (("pixel size", self.pixel_size), ("diameter", self.diameter)):
            if size is not None and not 0 < size < float("inf"):
                return f"its {what} is {size}, it must be above 0"
        return ""

    @property
    def colour_order(self) -> tuple[int, ...] | None:
        """Where each channel of the network is in a red, green, blue image.

        ``(2, 1, 0)`` for a model that was trained on blue, green, red; ``None`` if the channels
        are not the three colours or are in the usual order.
        """
        names = tuple(channel.lower() for channel in self.channels)
        if sorted(names) != ["blue", "green", "red"] or names == ("red", "green", "blue"):
            return None
        return tuple(("red", "green", "blue").index(name) for name in names)

    def to_dict(self, *, provenance: bool = True) -> dict[str, Any]:
        """Return the card as plain JSON and TOML values; ``None`` is left out.

        Without ``provenance`` the fields that depend on the file's own bytes are left out too.
        """
        table: dict[str, Any] = _plain(dataclasses.asdict(self))
        del table["labelling"]["result"]  # the card's own
        if not self.members:
            del table["members"]  # as before there were ensembles
        if not provenance:
            for key in PROVENANCE:
                del table[key]
        return table

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], *, strict: bool = False) -> ModelCard:
        """Make a card from what :meth:`to_dict` returned.

        Parameters
        ----------
        strict
            Refuse unknown fields. Otherwise they are ignored: a newer version wrote them.

        Raises
        ------
        WeightsError
            If a field is unknown, missing, of the wrong kind or contradicts another.
        """
        where = f"The card of the model {table.get('name', '?')!r}"
        values = dict(table)
        try:
            values["classes"] = tuple(
                build(ClassInfo, t, f"{where}, classes", strict) for t in table.get("classes", ())
            )
            values["figures"] = tuple(
                build(Figure, t, f"{where}, figures", strict) for t in table.get("figures", ())
            )
            values["members"] = tuple(
                build(Member, t, f"{where}, members", strict) for t in table.get("members", ())
            )
            for key, kind in (("normalization", Normalization), ("labelling", LabelSettings)):
                values[key] = build(kind, table.get(key, {}), f"{where}, {key}", strict)
            card: ModelCard = build(cls, values, where, strict)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"{where} is not usable: {error}.") from error
        return card


def check_trainable(card: ModelCard) -> None:
    """Raise an InputError if a model is an ensemble, which cannot be trained further."""
    if card.members:
        names = ", ".join(member.name for member in card.members)
        raise InputError(
            f"{card.name!r} is an ensemble of {len(card.members)} models and cannot be fine-tuned "
            f"itself: start from one of its members ({names})."
        )


_CLASS_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00")


def default_classes(num_classes: int) -> tuple[ClassInfo, ...]:
    """Return numbered classes with colours for a network about which nothing is known."""
    count = max(2, num_classes)
    names = ["object"] if count == 2 else [f"class {i}" for i in range(1, count)]
    colors = [_CLASS_COLORS[1 + i % (len(_CLASS_COLORS) - 1)] for i in range(count - 1)]
    foreground = (ClassInfo(n, c) for n, c in zip(names, colors, strict=True))
    return (ClassInfo("background", _CLASS_COLORS[0]), *foreground)


BOUNDARY = ClassInfo("boundary", "#56b4e9", derived=True)
"""The class by which touching objects come apart."""


def build(
    kind: type[Kind],
    table: Mapping[str, Any],
    where: str,
    strict: bool = True,
    error: type[SA2NetError] = WeightsError,
) -> Kind:
    """Make a ``kind`` (a dataclass) from a table; ``error`` names unknown and missing fields."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - known)
    if unknown and strict:
        raise error(
            f"{where}: unknown field {', '.join(unknown)}. Known are {', '.join(sorted(known))}."
        )
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in table.items()
        if key in known
    }
    try:
        return kind(**values)
    except TypeError as problem:
        raise error(f"{where}: {problem}.") from problem


def _plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists and without None, recursively."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return value
