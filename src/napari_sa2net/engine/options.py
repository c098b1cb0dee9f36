"""Plain keyword options to the engine's frozen options, checked once."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from .errors import InputError
from .inference import SegmentOptions
from .instances import LabelSettings
from .scaling import default_labelling
from .weights import ModelCard

_OPTIONS = {field.name for field in fields(SegmentOptions)}
_SETTINGS = {field.name for field in fields(LabelSettings)}


def resolve_options(card: ModelCard, **options: Any) -> SegmentOptions:
    """Return the options of a segmentation; what is not given is the model's or the default.

    Parameters
    ----------
    card
        Card of the model: its ``labelling`` holds the defaults of threshold, minimum size, …, the
        latter at the model's working scale.
    **options
        Fields of :class:`SegmentOptions` and, for short, of :class:`LabelSettings`. None means
        "not given".

    Raises
    ------
    InputError
        If an option is unknown, or ``labelling`` is given along with one of its own fields.
    """
    options = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(set(options) - _OPTIONS - _SETTINGS)
    if unknown:
        raise InputError(
            f"Unknown option {', '.join(unknown)}. Known are "
            f"{', '.join(sorted(_OPTIONS | _SETTINGS))}."
        )
    settings = {name: options.pop(name) for name in sorted(_SETTINGS & set(options))}
    if settings and "labelling" in options:
        raise InputError(f"Give either labelling or {', '.join(settings)}, not both.")
    made = SegmentOptions(**options)
    if settings:
        made = replace(made, labelling=replace(default_labelling(card, made), **settings))
    return made
