"""Tiny networks with random weights, of all kinds that cards know."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from cases.drawing import Draw

KINDS: dict[str, dict[str, Any]] = {
    "nuclei": {"in_channels": 3, "num_classes": 3, "channels": ("red", "green", "blue")},
    "grey": {"in_channels": 1, "num_classes": 3, "diameter": 12.0},
    "binary": {"in_channels": 3, "num_classes": 1, "channels": ("blue", "green", "red")},
    "classes": {"in_channels": 1, "num_classes": 4, "result": "classes", "pixel_size": 0.5},
    "pair": {"in_channels": 2, "num_classes": 3, "channels": ("DAPI", "membrane")},
    "four": {"in_channels": 4, "num_classes": 2, "result": "classes"},
    "ensemble": {"in_channels": 1, "num_classes": 3},
}
"""By name, with what their cards say."""


@functools.cache
def network_model(kind: str, seed: int = 0) -> Any:
    """Return a model of a kind."""
    import torch

    from napari_sa2net.engine.images import Normalization
    from napari_sa2net.engine.network import SA2Net
    from napari_sa2net.engine.weights import ClassInfo, Model, ModelCard

    fields = KINDS[kind]
    if kind == "ensemble":
        from napari_sa2net import join_models

        members = [network_model("grey", seed), network_model("grey", seed + 1)]
        return join_models(members, "ensemble")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        network = SA2Net(fields["in_channels"], fields["num_classes"], 2).eval()
        with torch.no_grad():
            for head in network.heads:
                head.weight.mul_(4)  # or everything is as likely as not
    card = ModelCard(name=f"{kind}-{seed}" if seed else kind, base_channels=2, **fields)
    if fields["num_classes"] == 3:
        boundary = ClassInfo("boundary", "#56b4e9", derived=True)
        card = replace(card, classes=(*card.classes[:2], boundary))
    if kind == "binary":
        card = replace(card, normalization=Normalization("scale", clip=(0.0, 1.0)))
    return Model(network, card)


def some_model(draw: Draw) -> Any:
    """Return a model, and say which."""
    kind = draw.weighted(
        {"nuclei": 4, "grey": 3, "binary": 2, "classes": 2, "pair": 1, "four": 1, "ensemble": 0.5}
    )
    draw.say(f"model {kind}")
    return network_model(kind)
