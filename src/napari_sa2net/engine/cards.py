"""Model cards: everything a person or the program must know about a model beside its tensors.

Nothing here needs torch, so that models can be listed quickly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from .calibration import LENGTH
from .errors import InputError, WeightsError
from .fields import build, check_fields, shown
from .images import Normalization
from .instances import LabelSettings

FORMAT_VERSION = 2
"""Version of the card's layout in a model file; a file of a higher one is refused.

A single network's file says 1, an ensemble's 2: an older program would not know its members.
"""

PROVENANCE = ("file", "bytes", "sha256", "urls")
"""Fields that describe the file as a whole, and that therefore cannot be inside it."""

_LINE = {"pattern": r"^\P{Cc}*$", "longest": 1000, "what": "a text on one line"}
_TEXT = {"longest": 20_000}
_COLOR = {"pattern": r"^#[0-9a-fA-F]{6}$", "what": "a colour like '#1f77b4'"}
_SHA256 = {"pattern": r"^([0-9a-fA-F]{64})?$", "what": "64 hexadecimal digits"}
COUNT = {"min": 1, "max": 1024}
"""Range of a network's width, channels and classes."""
_MOST_MEMBERS = 100


@dataclass(frozen=True)
class ClassInfo:
    """One class of a model's output."""

    name: str = field(metadata=_LINE)
    color: str = field(default="#808080", metadata=_COLOR)
    """``#rrggbb``."""
    derived: bool = False
    """Made by the program from the other classes (a boundary), never painted by a person."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Figure:
    """A measured figure, with the command that gives it."""

    name: str = field(metadata=_LINE)
    value: float
    command: str = field(default="", metadata=_LINE)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Member:
    """A model that an ensemble was made of."""

    name: str = field(metadata=_LINE)
    sha256: str = field(default="", metadata=_SHA256)
    """Of its file."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ModelCard:
    """What a model is for, what it was made from, and how to feed and read it.

    Raises
    ------
    WeightsError
        If a field is of the wrong type or out of its range, or the fields contradict each other,
        for instance too few classes.
    """

    name: str = field(metadata=_LINE)
    description: str = field(default="", metadata=_TEXT)
    modality: str = field(default="", metadata=_TEXT)
    file: str = field(default="", metadata=_LINE)
    """Name of the file, without a folder."""
    bytes: int = field(default=0, metadata={"min": 0})
    sha256: str = field(default="", metadata=_SHA256)
    urls: tuple[str, ...] = field(default=(), metadata=_LINE)
    licence: str = field(default="", metadata=_TEXT)
    restricted: bool = False
    """The licence forbids some uses, for instance commercial ones."""
    training_data: str = field(default="", metadata=_TEXT)
    citation: str = field(default="", metadata=_TEXT)
    base_channels: int = field(default=64, metadata=COUNT)
    in_channels: int = field(default=3, metadata=COUNT)
    num_classes: int = field(default=1, metadata=COUNT)
    """Channels of the network's output: 1 for a binary model, else with the background."""
    classes: tuple[ClassInfo, ...] = field(default=(), metadata={"longest": COUNT["max"]})
    """Background first; a binary model has two. Named by number if none are given."""
    channels: tuple[str, ...] = field(default=(), metadata=_LINE)
    """What each input channel shows, in the network's order. For a colour image these are
    ``red``, ``green`` and ``blue``, in the order in which the network wants them."""
    normalization: Normalization = field(default_factory=Normalization)
    pixel_size: float | None = field(default=None, metadata=LENGTH)
    """Working pixel size in µm, if the model has one."""
    diameter: float | None = field(default=None, metadata=LENGTH)
    """Working object diameter in pixels, if the model has one."""
    result: Literal["instances", "classes"] = "instances"
    labelling: LabelSettings = field(default_factory=LabelSettings)
    """Default settings from probabilities to labels. Its ``result`` is always the card's, its
    ``min_size`` in pixels at the working scale, see
    :func:`~napari_sa2net.engine.scaling.default_labelling`."""
    figures: tuple[Figure, ...] = field(default=(), metadata={"longest": 1000})
    members: tuple[Member, ...] = field(default=(), metadata={"longest": _MOST_MEMBERS})
    """Of an ensemble: a network each, whose probabilities are averaged. Else empty."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping: hash of the parent, training settings, …"""

    def __post_init__(self) -> None:
        where = f"The card of the model {shown(self.name)} is not usable: "
        check_fields(self, WeightsError, where)
        if not self.classes:
            object.__setattr__(self, "classes", default_classes(self.num_classes))
        problem = self._problem()
        if problem:
            raise WeightsError(f"{where}{problem}.")
        if self.labelling.result != self.result:
            labelling = dataclasses.replace(self.labelling, result=self.result)
            object.__setattr__(self, "labelling", labelling)

    def _problem(self) -> str:
        wanted = max(2, self.num_classes)
        if not self.name.strip():
            return "it has no name"
        if len(self.classes) != wanted:
            return f"it lists {len(self.classes)} classes, but its network has {wanted}"
        if self.channels and len(self.channels) != self.in_channels:
            return f"it names {len(self.channels)} channels, its network has {self.in_channels}"
        if len(self.members) == 1:
            return "it names one member, and an ensemble has two or more"
        for url in self.urls:
            try:
                urlsplit(url)
            except ValueError as error:
                return f"{shown(url)} is no address ({error})"
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
        if not isinstance(table, Mapping):
            raise WeightsError(f"{shown(table)} is no card of a model.")
        where = f"The card of the model {shown(table.get('name', '?'))}"
        values = dict(table)
        for key, kind in (("classes", ClassInfo), ("figures", Figure), ("members", Member)):
            if key in table:
                values[key] = _tables(kind, table[key], f"{where}, {key}", strict)
        for key, parts in (("normalization", Normalization), ("labelling", LabelSettings)):
            values[key] = build(parts, table.get(key, {}), f"{where}, {key}", strict)
        return build(cls, values, where, strict)


def _tables(kind: type[Any], tables: Any, where: str, strict: bool) -> tuple[Any, ...]:
    """Return what a list of tables is of, if it is no longer than any card's."""
    if not isinstance(tables, (list, tuple)) or len(tables) > COUNT["max"]:
        raise WeightsError(
            f"{where}: {shown(tables)} is no list of at most {COUNT['max']} tables of fields."
        )
    return tuple(build(kind, table, where, strict) for table in tables)


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


def _plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists and without None, recursively."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return value
