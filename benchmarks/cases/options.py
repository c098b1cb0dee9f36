"""Options of a segmentation, good ones and others. The fields are the program's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

from cases.drawing import Draw, odd_value

_FEW = (0, 1, 2)

_GOOD: dict[str, Callable[[Draw], Any]] = {
    "axes": lambda draw: draw.among("YX", "YXC", "CYX", "ZYX", "TZYX", "ZCYX", "TZCYX", "XY"),
    "channels": lambda draw: tuple(draw.among(*_FEW) for _ in range(draw.among(1, 1, 2, 3))),
    "device": lambda draw: draw.weighted({"auto": 5, "cpu": 5, "cuda": 0.5, "mps": 0.5}),
    "pixel_size": lambda draw: draw.among(
        0.5, 1, draw.logarithmic(0.2, 1.5), (0.5, draw.logarithmic(0.3, 1))
    ),
    "diameter": lambda draw: draw.logarithmic(6, 40),
    "tile": lambda draw: draw.among(64, 96, 96, 112, 128, 256),
    "discard": lambda draw: draw.among(0, 8, 16, 20),
    "blend": lambda draw: draw.among(0, 1, 8, 16),
    "batch": lambda draw: draw.among(1, 2, 5),
    "backend": lambda draw: draw.weighted({"torch": 5, "auto": 2, "onnxruntime": 1}),
    "precision": lambda draw: draw.among("auto", "single", "half"),
    "labelling": lambda draw: _labelling(draw.uniform(0.1, 0.9)),
    "keep": lambda draw: frozenset(
        draw.subset(("stages", "probabilities", "attention", "disagreement"))
    ),
    "planes": lambda draw: tuple(draw.among(*_FEW) for _ in range(draw.among(1, 2))),
    "region": lambda draw: draw.among((0, 0, 8, 8), (3, 5, 15, 16), (1, 0, 2, 16), (0, 0, 1, 1)),
    "map_planes": lambda draw: (draw.among(*_FEW),),
    "min_size": lambda draw: draw.among(0, 1, 5, 15, 1000),
    "seed_size": lambda draw: draw.among(1, 4, 50),
}
"""Of options that do not tell themselves what is good."""


def _labelling(threshold: float) -> Any:
    from napari_sa2net.engine.inference import LabelSettings

    return LabelSettings(threshold=threshold)


def option_fields() -> list[Field[Any]]:
    """Return the options that there are."""
    from napari_sa2net.engine.inference import LabelSettings, SegmentOptions

    return [field for kind in (SegmentOptions, LabelSettings) for field in fields(kind)]


def good_value(draw: Draw, field: Field[Any]) -> Any:
    """Return a value that an option takes."""
    if field.name in _GOOD:
        return _GOOD[field.name](draw)
    if "choices" in field.metadata:
        return draw.among(*field.metadata["choices"])
    if isinstance(field.default, bool):
        return draw.among(True, False)
    if "max" in field.metadata:
        value = draw.uniform(field.metadata["min"], field.metadata["max"])
        return int(value) if isinstance(field.default, int) else value
    return field.default


def some_options(
    draw: Draw, axes: str, odd: float = 0.1, channels: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return options of a segmentation; in a share of the cases they are odd.

    Parameters
    ----------
    axes
        Those of the image, if they are known.
    odd
        The share.
    channels
        How many the image has, and how many the model takes, if that is known.
    """
    from napari_sa2net.engine.inference import LabelSettings

    spoilt = draw.chance(2 * odd)
    settings = {field.name for field in fields(LabelSettings)}
    options: dict[str, Any] = {}
    for field in option_fields():
        share = 0.4 if spoilt and draw.chance(0.3) else 0.08
        if not draw.chance(share):
            continue
        if spoilt and draw.chance(0.5):
            options[field.name] = odd_value(draw)
        else:
            options[field.name] = good_value(draw, field)
    if draw.chance(0.9):
        _reconcile(draw, options, settings, channels)
    options.setdefault("backend", "torch")  # which is ready at once
    if axes and draw.chance(0.7):
        options["axes"] = axes
    elif not spoilt and "axes" in options and draw.chance(0.7):
        del options["axes"]
    if spoilt and draw.chance(0.05):
        options["no_such_option"] = 1
    if options != {"backend": "torch"}:
        draw.say(options, 500)
    return options


def _reconcile(
    draw: Draw, options: dict[str, Any], settings: set[str], channels: tuple[int, int] | None
) -> None:
    """Take back what does not go together, or too few of the cases would come to a result."""
    if "labelling" in options:
        for name in settings & set(options):
            del options[name]
    if channels is not None:
        has, takes = channels
        if has > 1 and has != takes:
            few = tuple(draw.sample(range(has), takes)) if has > takes else (0,)
            options["channels"] = draw.among(few, (draw.randrange(has),))
        else:
            options.pop("channels", None)
