"""Fitting a start model to what is to be learnt: its classes, its channels, its frozen parts."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..network import SA2Net
from ..weights import ClassInfo, Model, ModelCard

PARTS = ("nothing", "encoder", "all but the heads")
"""What can be frozen."""


def adapt(
    model: Model | None,
    *,
    in_channels: int,
    classes: tuple[ClassInfo, ...],
    base_channels: int = 16,
    seed: int = 0,
) -> tuple[Model, list[str]]:
    """Make a model for ``classes`` and ``in_channels`` that keeps all it can of another.

    Parameters
    ----------
    model
        The start model; it is not changed. None: from scratch.
    in_channels
        Channels of an image. If the start model has another number, its first convolution is
        made anew from the mean over its channels, so that a grey image excites it alike.
    classes
        Background first, derived ones last. A class of the same name as one of the start
        model keeps its rows of the heads; the others begin at random.
    base_channels
        Width of a network from scratch.
    seed
        Of what begins at random.

    Returns
    -------
    tuple
        The model, whose card still has the start model's name, and sentences on what was kept
        and what is new.

    Raises
    ------
    InputError
        If there are fewer than two classes, or two of one name.
    """
    _check(classes)
    if model is None:
        network = _fresh(in_channels, len(classes), base_channels, seed)
        card = ModelCard(
            name="model",
            base_channels=base_channels,
            in_channels=in_channels,
            num_classes=len(classes),
            classes=classes,
        )
        said = f"A new network of width {base_channels} begins at random."
        return Model(network, card), [said]
    card, old = model.card, model.network
    names = [info.name for info in card.classes]
    same = [info.name for info in classes] == names
    outputs = old.num_classes if same else len(classes)
    network = _fresh(in_channels, outputs, old.base_channels, seed)
    state = {key: value.detach().cpu().clone() for key, value in old.state_dict().items()}
    messages = [f"Starting from the model {card.name!r}."]
    if in_channels != old.in_channels:
        weight = state["encoder.stem.conv.weight"]  # (c, in, 3, 3)
        mean = weight.mean(1, keepdim=True) * (old.in_channels / in_channels)
        state["encoder.stem.conv.weight"] = mean.repeat(1, in_channels, 1, 1)
        messages.append(
            f"The images have {in_channels} channel(s) and the model takes {old.in_channels}: its "
            "first convolution is new, the rest is kept."
        )
    if not same:
        _keep_rows(state, network.state_dict(), names, classes)
        messages.append(_on_heads(names, classes))
    network.load_state_dict(state)
    changed = dataclasses.replace(
        card,
        in_channels=in_channels,
        channels=card.channels if in_channels == old.in_channels else (),
        num_classes=outputs,
        classes=classes,
    )
    return Model(network.eval(), changed), messages


def freeze(network: SA2Net, parts: str) -> None:
    """Keep parts of a network from being trained; :func:`train_mode` freezes their statistics.

    Parameters
    ----------
    parts
        One of :data:`PARTS`.

    Raises
    ------
    InputError
        If there is no such part.
    """
    if parts not in PARTS:
        raise InputError(f"{parts!r} cannot be frozen: choose one of {', '.join(PARTS)}.")
    network.requires_grad_(True)
    if parts == "encoder":
        network.encoder.requires_grad_(False)
    elif parts == "all but the heads":
        network.requires_grad_(False)
        network.heads.requires_grad_(True)


def train_mode(network: SA2Net, *, fixed: bool) -> None:
    """Put a network into training mode.

    The normalisation of frozen parts, and all of it if ``fixed``, uses and keeps the
    statistics the network has.
    """
    network.train()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and (fixed or not part.weight.requires_grad):
            part.eval()


def _check(classes: tuple[ClassInfo, ...]) -> None:
    if len([info for info in classes if not info.derived]) < 2:
        raise InputError(
            "A model needs a background and at least one class beside it: name both, as "
            "'background' and 'cell'."
        )
    names = [info.name for info in classes]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InputError(f"Two classes are called {double[0]!r}: give each a name of its own.")


def _fresh(in_channels: int, outputs: int, base_channels: int, seed: int) -> SA2Net:
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as they were
        torch.manual_seed(seed)
        return SA2Net(in_channels, outputs, base_channels).eval()


def _keep_rows(
    state: dict[str, Tensor],
    fresh: dict[str, Tensor],
    names: list[str],
    classes: tuple[ClassInfo, ...],
) -> None:
    """Put into ``state`` heads for ``classes``, with the rows of known names in their places."""
    for key in [key for key in state if key.startswith("heads.")]:
        rows = fresh[key].clone()
        old = state[key]
        if len(old) == 1:  # a binary model: the background's logit is nought
            old = torch.cat([torch.zeros_like(old), old])
        for i, info in enumerate(classes):
            if info.name in names:
                rows[i] = old[names.index(info.name)]
        state[key] = rows


def _on_heads(names: list[str], classes: tuple[ClassInfo, ...]) -> str:
    kept = [info.name for info in classes if info.name in names]
    new = [info.name for info in classes if info.name not in names]
    parts = [f"kept for {', '.join(kept)}" if kept else "", f"new for {', '.join(new)}"]
    if not new:
        parts[1] = ""
    gone = [name for name in names if name not in kept]
    parts.append(f"without {', '.join(gone)}" if gone else "")
    return f"The heads are {'; '.join(part for part in parts if part)}. The rest is kept."
