"""Options of a segmentation, good ones and others. The fields are the program's own."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from cases.drawing import Draw, odd_value

_FEW = (0, 1, 2)


def _good() -> dict[str, Any]:
    """Return what makes a good value of each option."""
    from napari_sa2net.engine.batch.kinds import MAPS
    from napari_sa2net.engine.inference import LabelSettings

    return {
        "axes": lambda draw: draw.among("YX", "YXC", "CYX", "ZYX", "TZYX", "ZCYX", "TZCYX", "XY"),
        "rgb": lambda draw: draw.among(True, False),
        "channels": lambda draw: tuple(draw.among(*_FEW) for _ in range(draw.among(1, 1, 2, 3))),
        "device": lambda draw: draw.among("auto", "cpu", "cpu", "cuda", "mps", "cpu:0", "cuda:7"),
        "pixel_size": lambda draw: draw.among(
            0.5, 1, draw.logarithmic(0.2, 1.5), (0.5, draw.logarithmic(0.3, 1))
        ),
        "diameter": lambda draw: draw.logarithmic(6, 40),
        "tile": lambda draw: draw.among(64, 80, 96, 128, 256),
        "discard": lambda draw: draw.among(0, 8, 16, 20),
        "blend": lambda draw: draw.among(0, 1, 8, 16),
        "batch": lambda draw: draw.among(1, 2, 5),
        "backend": lambda draw: draw.weighted({"torch": 5, "auto": 2, "onnxruntime": 1}),
        "precision": lambda draw: draw.among("auto", "single", "half"),
        "flips": lambda draw: draw.among(True, False),
        "labelling": lambda draw: LabelSettings(threshold=draw.uniform(0.1, 0.9)),
        "keep": lambda draw: frozenset(draw.subset(MAPS)),
        "planes": lambda draw: tuple(draw.among(*_FEW) for _ in range(draw.among(1, 2))),
        "region": lambda draw: draw.among((0, 0, 8, 8), (3, 5, 16, 17), (1, 0, 2, 16)),
        "map_planes": lambda draw: (draw.among(*_FEW),),
        "relabel": lambda draw: draw.among(True, False),
        "threshold": lambda draw: draw.uniform(0.05, 0.95),
        "min_size": lambda draw: draw.among(0, 1, 5, 15, 1000),
        "split": lambda draw: draw.among(True, False),
        "fill_holes": lambda draw: draw.among(True, False),
        "seed_threshold": lambda draw: draw.uniform(0.05, 0.95),
        "seed_size": lambda draw: draw.among(1, 4, 50),
        "result": lambda draw: draw.among("instances", "classes"),
        "link": lambda draw: draw.among("none", "z", "t"),
    }


def some_options(draw: Draw, axes: str, odd: float = 0.1) -> dict[str, Any]:
    """Return options of a segmentation; in a share of the cases they are odd."""
    from napari_sa2net.engine.inference import LabelSettings, SegmentOptions

    good = _good()
    names = [field.name for kind in (SegmentOptions, LabelSettings) for field in fields(kind)]
    spoilt = draw.chance(2 * odd)
    options: dict[str, Any] = {}
    for name in names:
        share = 0.4 if spoilt and draw.chance(0.3) else 0.08
        if not draw.chance(share):
            continue
        if spoilt and draw.chance(0.5):
            options[name] = odd_value(draw)
        elif name in good:
            options[name] = good[name](draw)
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
