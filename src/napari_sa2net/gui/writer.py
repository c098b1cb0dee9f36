"""Results of a job to layers: what the controller asks of the layer modules, in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..engine.errors import InputError
from . import layers, regions, results, saving

MAPS = ("probabilities", "stages", "attention", "disagreement")
"""What a run can keep besides labels, in the order in which the layers are added."""


@dataclass
class Target:
    """Where the results of one run belong, noted at the click."""

    image: layers.LayerImage
    source: Any
    """The layer that the image was read from."""
    maps_image: layers.LayerImage
    """The part of ``image`` that maps are kept of: all of it, or the plane shown."""
    preview: bool = False


@dataclass
class Shown:
    """The result that the sliders work on."""

    segmentation: Any
    target: Target
    labelling: Any
    """The settings that all its labels show; None after a change of one plane only."""
    layer: Any = None
    """The Labels layer."""


class Writer:
    """Writes results as layers of a viewer. Every method runs on the main thread."""

    def write(self, viewer: Any, shown: Shown, maps: dict[str, Any]) -> list[str]:
        """Write the labels and maps of a run; return what a person should know."""
        target, texts = shown.target, []
        card = shown.segmentation.card
        if maps:
            note = self._note(shown)
            written = results.write_maps(
                viewer,
                target.maps_image,
                maps,
                note=note,
                classes=card.classes,
                preview=target.preview,
            )
            texts += [each.message for each in written]
        texts += self.write_labels(viewer, shown, shown.segmentation.labels, shown.labelling)
        return [text for text in texts if text]

    def write_labels(self, viewer: Any, shown: Shown, labels: Any, labelling: Any) -> list[str]:
        """Write labels of all planes."""
        segmentation, target = shown.segmentation, shown.target
        features = segmentation.features if labels is segmentation.labels else None
        written = results.write_labels(
            viewer,
            target.image,
            labels,
            note=self._note(shown, labelling),
            result=labelling.result,
            classes=segmentation.card.classes,
            features=features,
            preview=target.preview,
        )
        shown.layer = written.layer
        return [written.message] if written.message else []

    def write_plane(
        self, viewer: Any, shown: Shown, labels: Any, index: tuple[int, ...]
    ) -> list[str]:
        """Write labels of one plane into the layer that shows the rest."""
        if shown.layer not in viewer.layers:
            return []  # deleted by the person: the next full write makes it again
        written = results.write_plane(viewer, shown.target.image, labels, index, shown.layer)
        shown.layer = written.layer
        return [written.message] if written.message else []

    def plane_shown(self, viewer: Any, shown: Shown) -> tuple[int, ...]:
        """Return the indices over T and Z of the plane that the viewer shows."""
        target = shown.target
        present = target.source in viewer.layers
        layer = target.source if present else shown.layer
        return regions.plane_index(viewer, target.image, layer)

    def to_save(self, viewer: Any, shown: Shown | None) -> tuple[Any, str]:
        """Return the result layer to save, and a name for its file.

        The active layer if it is a result, else the labels shown, else the last result.
        """
        active = viewer.layers.selection.active
        found = [layer for layer in viewer.layers if layers.is_result(layer)]
        if active is not None and layers.is_result(active):
            layer = active
        elif shown is not None and shown.layer in viewer.layers:
            layer = shown.layer
        elif found:
            layer = found[-1]
        else:
            raise InputError("There is no result to save yet: press Segment first.")
        return layer, saving.default_name(layer)

    def saving(self, layer: Any, path: Path) -> Callable[[], Path]:
        """Copy ``layer`` now; the function returned writes the copy, in any thread."""
        job = saving.read_result(layer)
        return lambda: saving.save_result(job, path)

    def _note(self, shown: Shown, labelling: Any = None) -> results.Note:
        segmentation = shown.segmentation
        settings = {
            "labelling": asdict(labelling or shown.labelling),
            "device": str(segmentation.device),
            "axes": shown.target.image.axes,
        }
        options = getattr(segmentation, "options", None)
        for name in ("pixel_size", "diameter", "channels", "tile"):
            if getattr(options, name, None) is not None:
                settings[name] = getattr(options, name)
        return results.Note(segmentation.card.name, settings, segmentation.version)


def count_planes(shape: tuple[int, ...], axes: str) -> int:
    """Return how many T and Z planes an image of ``shape`` has."""
    return math.prod(n for n, axis in zip(shape, axes, strict=True) if axis in "TZ")


__all__ = ["MAPS", "Shown", "Target", "Writer", "count_planes"]
