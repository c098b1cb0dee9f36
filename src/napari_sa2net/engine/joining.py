"""Making one model of several: an ensemble, whose probabilities are the mean of theirs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from .cards import Member, ModelCard
from .ensemble import Ensemble, Network, members_of
from .errors import WeightsError
from .folders import expanded
from .model_files import Model, model_bytes, network_digest
from .registry import file_sha256, find_model
from .weights import load_model


def join_models(models: Sequence[str | Path | Model], name: str) -> Model:
    """Make an ensemble: one model whose probabilities and maps are the mean of several.

    Parameters
    ----------
    models
        Two or more, each a name, a path or a :class:`Model`, as for
        :func:`~napari_sa2net.engine.weights.load_model`; the latter is copied. Of an ensemble,
        its members are taken.
    name
        Of the new model.

    Returns
    -------
    Model
        It is not saved. Its card names the members with the hashes of their files. How labels
        are made of the probabilities is as the first one's card says.

    Raises
    ------
    WeightsError
        If a model cannot be had, there are fewer than two, one is given twice, or they differ
        in what goes in or comes out; the message says in what.
    """
    loaded = [load_model(_copy(model)) for model in models]
    named = [_members(*pair) for pair in zip(models, loaded, strict=True)]
    members = [member for some in named for member in some]
    if len(members) < 2:
        raise WeightsError("An ensemble is made of two or more models: give further ones.")
    networks = [network for model in loaded for network in members_of(model.network)]
    _check_different(members, networks)
    cards = [model.card for model in loaded]
    for card, some in zip(cards[1:], named[1:], strict=True):
        _check_alike(named[0][0].name, cards[0], some[0].name, card)
    return Model(Ensemble(networks).eval(), _card(name, cards, members))


def _copy(model: str | Path | Model) -> str | Path | Model:
    """Return a copy of a caller's own model, which stays on its device and in its mode."""
    if isinstance(model, Model):
        return Model(copy.deepcopy(model.network), model.card)
    return model


def _members(asked: str | Path | Model, model: Model) -> tuple[Member, ...]:
    """Return the members of an ensemble, or a single model as the only one."""
    if model.card.members:
        return model.card.members
    if isinstance(asked, Model):
        return (Member(model.card.name, hashlib.sha256(model_bytes(model)).hexdigest()),)
    path = _file(asked)
    return (Member(path.stem, file_sha256(path)),)


def _file(model: str | Path) -> Path:
    """Return the file that a model was just loaded from; a name counts before a path."""
    if isinstance(model, str):
        try:
            path = find_model(model).path
        except WeightsError:
            path = None
        if path is not None:
            return path
    return expanded(model)


def _check_different(members: Sequence[Member], networks: Sequence[Network]) -> None:
    """Compare networks and not files: a package holds the same as the file it was made of."""
    names: dict[str, str] = {}
    for member, network in zip(members, networks, strict=True):
        digest = network_digest(network)
        if digest in names:
            raise WeightsError(
                f"{names[digest]!r} and {member.name!r} are the same model: give it once."
            )
        names[digest] = member.name


def _check_alike(first: str, a: ModelCard, second: str, b: ModelCard) -> None:
    mine, theirs = _alike(a), _alike(b)
    told = [
        f"{what} {mine.get(what, 'none')} and {theirs.get(what, 'none')}"
        for what in {**mine, **theirs}
        if mine.get(what) != theirs.get(what)
    ]
    if told:
        raise WeightsError(
            f"{first!r} and {second!r} cannot be joined, because they differ: {'; '.join(told)}. "
            "Join models that were trained alike, such as those of the folds of one recipe."
        )


def _alike(card: ModelCard) -> dict[str, str]:
    """Return, in words, what members must have in common."""
    classes = (info.name + " (derived)" * info.derived for info in card.classes)
    steps = asdict(card.normalization).items()
    facts = {
        "input channels": card.in_channels,
        "names of the channels": ", ".join(card.channels),
        "outputs": card.num_classes,
        "classes": ", ".join(classes),
        "width": card.base_channels,
        **{f"normalisation ({name})": value for name, value in steps},
        "diameter": card.diameter,
        "pixel size": card.pixel_size,
        "result": card.result,
    }
    return {what: str(value) for what, value in facts.items() if value not in (None, "")}


def _card(name: str, cards: Sequence[ModelCard], members: Sequence[Member]) -> ModelCard:
    """Return the card of an ensemble: the first one's, with what all of them say."""
    names = ", ".join(member.name for member in members)

    def all_of(field: str) -> str:
        texts = [getattr(card, field) for card in cards]
        return "; ".join(dict.fromkeys(filter(None, texts)))

    return replace(
        cards[0],
        name=name,
        description=f"Mean of {len(members)} models: {names}.",
        file="",
        bytes=0,
        sha256="",
        urls=(),
        modality=all_of("modality"),
        licence=all_of("licence"),
        restricted=any(card.restricted for card in cards),
        training_data=all_of("training_data"),
        citation=all_of("citation"),
        figures=(),  # those of the members are not the ensemble's
        members=tuple(members),
        extra={},
    )
