"""From what a person chose to a run that is checked and complete, at the click."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..engine.errors import InputError
from ..engine.scaling import default_labelling
from ..engine.segmentation import SegmentOptions
from ..engine.tiling import Box
from . import large, layers, regions
from .segmenting.backend import Request
from .segmenting.where import Where, region_of
from .writer import Target


@dataclass(frozen=True)
class Choices:
    """What the window shows when a button is pressed."""

    layer: Any
    image: layers.LayerImage | None
    problem: str
    """Why there is no image."""
    card: Any
    channels: tuple[int, ...] | None
    """Their numbers, in the model's order; None for what the model wants."""
    diameter: float | None
    device: str
    keep: frozenset[str]
    all_planes: bool
    """Keep maps of all planes of a stack."""
    labelling: Any
    flips: bool = False
    """Average over mirror images."""
    where: Where = field(default_factory=Where)
    channels_problem: str = ""
    """What is still to be said of the channels."""
    pixel_size: float | None = None
    """As a person gave it, in µm; :attr:`image` has it already."""


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
    if choices.channels_problem:
        raise InputError(choices.channels_problem)
    image, diameter, plane = choices.image, choices.diameter, None
    where = Where("canvas") if preview else choices.where
    region = region_of(viewer, where, choices.layer, image)
    texts: list[str] = []
    if preview:
        _check_preview(region)
        # The plane alone, but all of it: it is normalised as a whole.
        image = image.crop(regions.current_plane(viewer, choices.layer, image.axes))
    elif large.is_large(image, region):
        image, region, diameter, texts = _suited(image, region, choices)
    on_disk = not preview and large.is_large(image, region)
    shown = _inside(image, region)
    maps_image = shown
    if not preview and not choices.all_planes and is_stack(image):
        part = regions.current_plane(viewer, choices.layer, image.axes)
        one = tuple(
            p if letter in "TZ" else slice(None)
            for p, letter in zip(part, image.layer_axes, strict=True)
        )
        maps_image = shown.crop(one)
        plane = regions.plane_index(viewer, image, choices.layer)
    keep = choices.keep
    if on_disk and keep:
        keep = frozenset()
        texts.append(large.ONLY_LABELS)
    options: dict[str, Any] = {
        "axes": image.axes,
        "rgb": image.rgb,
        "channels": choices.channels,
        "device": choices.device,
        "pixel_size": image.pixel_size_yx,
        "diameter": diameter,
        "flips": choices.flips,
        "region": region,
    }
    request = Request(image.data, choices.card.name, options, choices.labelling, keep, plane)
    target = Target(
        shown, choices.layer, maps_image, preview, region=region, on_disk=on_disk,
        texts=tuple(texts), card=choices.card,
    )  # fmt: skip
    return request, target


def own_labelling(viewer: Any, choices: Choices, *, preview: bool = False) -> Any:
    """Return the own labelling of the model chosen, for what :func:`resolve` would run it on."""
    image, diameter = choices.image, choices.diameter
    if image is not None and not preview:
        with suppress(InputError):  # of which the button tells
            region = region_of(viewer, choices.where, choices.layer, image)
            if large.is_large(image, region):
                image, _, diameter, _ = _suited(image, region, choices)
    pixel_size = image.pixel_size_yx if image is not None else None
    options = SegmentOptions(diameter=diameter, pixel_size=pixel_size)
    return default_labelling(choices.card, options)


def is_stack(image: layers.LayerImage | None) -> bool:
    """Whether an image has more than one plane."""
    return bool(stacked_axes(image))


def stacked_axes(image: layers.LayerImage | None) -> str:
    """Return the letters of ``"TZ"`` along which an image has several planes."""
    if image is None:
        return ""
    lengths = dict(zip(image.axes, image.data.shape, strict=True))
    return "".join(letter for letter in "TZ" if lengths.get(letter, 1) > 1)


def _check_preview(region: Box | None) -> None:
    if region is not None and (region[2] - region[0]) * (region[3] - region[1]) > large.PIXELS:
        raise InputError(
            f"The canvas shows more than {large.PIXELS / 1e6:.0f} megapixels, too many for a "
            "preview: zoom in."
        )


def _suited(
    image: layers.LayerImage, region: Box | None, choices: Choices
) -> tuple[layers.LayerImage, Box | None, float | None, list[str]]:
    """Return a large image at the level that suits the model, with what goes along with it."""
    number = large.level_for(image, choices.card, choices.diameter)
    if not number:
        return image, region, choices.diameter, []
    coarse = image.level(number)
    sides = [image.layer_axes.index(letter) for letter in "YX"]
    factors = [coarse.factors[side] for side in sides]
    if region is not None:
        starts = [int(start / f) for start, f in zip(region[:2], factors, strict=True)]
        limits = [coarse.layer_shape[side] for side in sides]
        ends = [
            max(start + 1, min(limit, round(end / f)))
            for start, end, f, limit in zip(starts, region[2:], factors, limits, strict=True)
        ]
        region = (starts[0], starts[1], ends[0], ends[1])
    diameter = choices.diameter
    if diameter is not None:
        diameter /= (factors[0] * factors[1]) ** 0.5
    text = (
        f"Level {number} of {image.name} is segmented, reduced {factors[0]:.3g} times: at this "
        "object size the model would not use finer detail."
    )
    return coarse, region, diameter, [text]


def _inside(image: layers.LayerImage, region: Box | None) -> layers.LayerImage:
    """Return the part of ``image`` that is segmented."""
    if region is None:
        return image
    sides = {"Y": slice(region[0], region[2]), "X": slice(region[1], region[3])}
    return image.crop(tuple(sides.get(letter, slice(None)) for letter in image.layer_axes))
