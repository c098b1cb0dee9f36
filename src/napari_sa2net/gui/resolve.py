"""From what a person chose to a run that is checked and complete, at the click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..engine.errors import InputError
from . import layers, regions
from .image_panel import parse_channels
from .segmenting.backend import Request
from .writer import Target


@dataclass(frozen=True)
class Choices:
    """What the window shows when a button is pressed."""

    layer: Any
    image: layers.LayerImage | None
    problem: str
    """Why there is no image."""
    card: Any
    channels: str
    diameter: float | None
    device: str
    keep: frozenset[str]
    all_planes: bool
    """Keep maps of all planes of a stack."""
    labelling: Any
    flips: bool = False
    """Average over mirror images."""


def resolve(viewer: Any, choices: Choices, *, preview: bool = False) -> tuple[Request, Target]:
    """Return what to run and where its results go.

    Raises
    ------
    InputError
        If there is no image or model, or something was typed that does not fit.
    """
    if choices.image is None:
        raise InputError(choices.problem or "Open an image first.")
    if choices.card is None:
        raise InputError("There is no model: press “Import a model file…”.")
    image, plane = choices.image, None
    maps_image = image
    if preview:
        part = regions.visible_region(viewer, choices.layer, image.axes)
        image = maps_image = image.crop(part)
    elif is_stack(image) and not choices.all_planes:
        part = regions.current_plane(viewer, choices.layer, image.axes)
        maps_image = image.crop(part)
        plane = regions.plane_index(viewer, image, choices.layer)
    options: dict[str, Any] = {
        "axes": image.axes,
        "rgb": image.rgb,
        "channels": None if image.rgb else parse_channels(choices.channels),
        "device": choices.device,
        "pixel_size": image.pixel_size_yx,
        "diameter": choices.diameter,
        "flips": choices.flips,
    }
    request = Request(
        image.data,
        choices.card.name,
        options,
        choices.labelling,
        choices.keep,
        plane,
    )
    return request, Target(image, choices.layer, maps_image, preview)


def is_stack(image: layers.LayerImage | None) -> bool:
    """Whether an image has more than one plane."""
    if image is None:
        return False
    return any(axis in "TZ" and n > 1 for axis, n in zip(image.axes, image.data.shape, strict=True))
