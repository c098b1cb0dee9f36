"""Results of a job to layers: what the controller asks of the layer modules, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..engine.errors import InputError
from . import layers, measuring, regions, saving
from .segmenting import results, stored
from .segmenting.backend import Request
from .segmenting.maps import raise_above


@dataclass
class Target:
    """Where the results of one run belong, noted at the click."""

    image: layers.LayerImage
    source: Any
    """The layer that the image was read from."""
    maps_image: layers.LayerImage
    """The part of ``image`` that maps are kept of: all of it, or the plane shown."""
    preview: bool = False
    region: tuple[int, int, int, int] | None = None
    """The rows and columns that are segmented; None for all."""
    on_disk: bool = False
    """Whether the result is too large for the memory."""
    texts: tuple[str, ...] = ()
    """What a person should know about the choice."""
    card: Any = None
    """Of the model."""


@dataclass
class Shown:
    """The result that the sliders work on."""

    segmentation: Any
    target: Target
    labelling: Any
    """The settings that all its labels show; None after a change of one plane only."""
    layer: Any = None
    """The Labels layer."""
    ours: bool | None = None
    """Whether a person left that layer alone; None until the first plane is written to it."""

    @property
    def on_disk(self) -> bool:
        """Whether the labels are on the disk, and cannot be made again without the network."""
        return self.target.on_disk

    @property
    def model(self) -> str:
        """Name of the model that made it."""
        return str(self.target.card.name)


class Writer:
    """Writes results as layers of a viewer. Every method runs on the main thread."""

    def write(self, viewer: Any, shown: Shown, maps: dict[str, Any]) -> list[str]:
        """Write the labels and maps of a run; return what a person should know."""
        target, card, before = shown.target, shown.segmentation.card, list(viewer.layers)
        texts = self.write_labels(viewer, shown)
        if not shown.layer.visible:  # hidden since the last run
            shown.layer.visible = True
        note = self._note(shown)
        written = results.write_maps(
            viewer,
            target.maps_image,
            maps,
            note=note,
            classes=card.classes,
            preview=target.preview,
            labels=shown.layer,
        )
        if shown.layer not in before:
            raise_above(viewer, written, shown.layer)
        mark = {"preview": target.preview, "region": note.region}
        texts += dict.fromkeys(each.message for each in written)
        texts.append(results.remove_others(viewer, target.maps_image, written, mark))
        return [text for text in texts if text]

    def show_store(self, viewer: Any, target: Target, request: Request, store: Path) -> Any:
        """Show a result on the disk, complete or not; return its layer."""
        note = _note(target, target.card, request.labelling, request.options, __version__)
        written = stored.show_store(
            viewer,
            target.image,
            store,
            note=note,
            result=request.labelling.result,
            classes=target.card.classes,
        )
        return written.layer

    def write_labels(self, viewer: Any, shown: Shown) -> list[str]:
        """Write the labels of all planes."""
        segmentation, target = shown.segmentation, shown.target
        written = results.write_labels(
            viewer,
            target.image,
            segmentation.labels,
            note=self._note(shown),
            result=shown.labelling.result,
            classes=segmentation.card.classes,
            features=segmentation.features,
            preview=target.preview,
        )
        shown.layer, shown.ours = written.layer, None
        return [written.message] if written.message else []

    def write_plane(
        self, viewer: Any, shown: Shown, labels: Any, index: tuple[int, ...]
    ) -> list[str]:
        """Write labels of one plane into the layer that shows the rest.

        A layer that a person has edited anywhere is left alone: its other planes show their
        work too. All planes are looked at once a drag, then only the one to be written.
        """
        if shown.ours is None and shown.layer in viewer.layers:
            shown.ours = not results.is_edited(shown.layer)
        if shown.ours is False:
            return [results.left_alone(shown.layer)]
        text = results.write_plane(viewer, shown.target.image, labels, index, shown.layer)
        return [text] if text else []

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
        if stored.store_of(layer) is not None:
            return layer, saving.default_name(layer).replace(".ome.tif", ".ome.zarr")
        return layer, saving.default_name(layer)

    def saving(
        self, viewer: Any, shown: Shown | None, layer: Any, path: Path
    ) -> Callable[[], Path]:
        """Copy ``layer`` now; the function returned writes the copy, in any thread.

        What is written goes by the ending of ``path``: the layer itself, or of labels their
        measurements or outlines.
        """
        store = stored.store_of(layer)
        if store is not None:
            return lambda: stored.keep_store(store, path)
        if path.suffix.lower() in measuring.ENDINGS:
            # A layer may come in the proxy that napari gives to plugins: equal, not identical.
            ours = shown if shown is not None and shown.layer == layer else None
            image = ours.target.image if ours is not None else None
            classes = ours.segmentation.card.classes if ours is not None else ()
            measured = measuring.read_objects(viewer, layer, image, classes)
            return lambda: measuring.save_objects(measured, path)
        job = saving.read_result(layer)
        return lambda: saving.save_result(job, path)

    def _note(self, shown: Shown) -> results.Note:
        segmentation = shown.segmentation
        options = getattr(segmentation, "options", None)
        names = ("pixel_size", "diameter", "channels", "tile", "flips")
        used = {name: getattr(options, name, None) for name in names}
        used["device"] = str(segmentation.device)
        card, version = segmentation.card, segmentation.version
        return _note(shown.target, card, shown.labelling, used, version)


def _note(
    target: Target, card: Any, labelling: Any, options: Mapping[str, Any], version: str
) -> results.Note:
    """Return what stands in a result of what made it."""
    names = ("device", "pixel_size", "diameter", "channels", "tile", "flips")
    used = {name: options[name] for name in names if options.get(name) is not None}
    settings = {"labelling": asdict(labelling), "axes": target.image.axes, **used}
    return results.Note(card.name, settings, version, card.members, target.region)
