"""How results look: colours of classes, colormaps of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap, label_colormap

if TYPE_CHECKING:
    from ..engine.weights import ClassInfo

OTHER = (0.5, 0.5, 0.5, 1.0)
"""Of a label that is no class, which a person may paint."""


def rgba(colour: str) -> tuple[float, float, float, float]:
    """Return "#rrggbb" as numbers from 0 to 1."""
    digits = colour.lstrip("#")
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue, 1.0


def instance_colormap() -> Any:
    """Return napari's colormap for labels that are only numbers."""
    return label_colormap(49, background_value=0)


def class_colormap(classes: Sequence[ClassInfo]) -> DirectLabelColormap:
    """Return a Labels colormap with the colours of ``classes``; the first is transparent."""
    colours: dict[int | None, Any] = {None: np.array(OTHER), 0: np.zeros(4)}
    for index, info in enumerate(classes[1:], start=1):
        colours[index] = np.array(rgba(info.color))
    return DirectLabelColormap(color_dict=colours)


def probability_colormap(info: ClassInfo | None) -> Any:
    """Return a colormap from black to the colour of a class; grey where that is black."""
    end = rgba(info.color) if info is not None else (1.0, 1.0, 1.0, 1.0)
    if max(end[:3]) < 0.2:
        end = (1.0, 1.0, 1.0, 1.0)
    name = f"p({info.name})" if info is not None else "probability"
    return Colormap([(0.0, 0.0, 0.0, 1.0), end], name=name)
