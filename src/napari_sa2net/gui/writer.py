"""Results of a job to layers: what the controller asks of the layer modules, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari.layers import Labels

from .. import __version__
from ..engine.errors import InputError
from . import classes, layers, measuring, regions, saving
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
        texts = self.write_labels(viewer, shown, show=True)
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

    def show_store(
        self, viewer: Any, target: Target, request: Request, store: Path
    ) -> tuple[Any, list[str]]:
        """Show a result on the disk, complete or not.

        Return its layer, and what a person should know.
        """
        note = _note(target, target.card, request.labelling, request.options, __version__)
        written = stored.show_store(
            viewer,
            target.image,
            store,
            note=note,
            result=request.labelling.result,
            classes=target.card.classes,
        )
        return written.layer, _seen(written)

    def write_labels(self, viewer: Any, shown: Shown, *, show: bool = False) -> list[str]:
        """Write the labels of all planes; ``show`` them if they were hidden since the last run."""
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
        return _seen(written, show=show, over=target.preview)

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

    def to_save(self, viewer: Any, image_layer: Any) -> tuple[Any, str]:
        """Return the layer to save, and a name for its file.

        It is what is selected, if that was made here; else the labels of the image.

        Parameters
        ----------
        viewer
            With the layers.
        image_layer
            The image that the window shows; None if there is none.

        Raises
        ------
        InputError
            If there is nothing to save, or several layers are selected.
        """
        chosen = [
            layer
            for layer in viewer.layers
            if layer in viewer.layers.selection and layers.is_ours(layer)
        ]
        if len(chosen) > 1:
            names = ", ".join(f"“{layer.name}”" for layer in chosen)
            raise InputError(f"Several layers are selected, {names}: select the one to save.")
        layer = chosen[0] if chosen else self.labels_of(viewer, image_layer)
        if layer is None:
            what = "There is no result" if image_layer is None else f"“{image_layer.name}” has none"
            raise InputError(
                f"{what} to save yet: press Segment first, or select the labels to save."
            )
        name = saving.default_name(layer)
        return layer, name if stored.store_of(layer) is None else saving.zarr_name(name)

    def at_hand(self, viewer: Any, image_layer: Any) -> Any:
        """Return the layer that :meth:`to_save` does; None where it has none."""
        try:
            return self.to_save(viewer, image_layer)[0]
        except InputError:
            return None

    def labels_of(self, viewer: Any, image_layer: Any) -> Any:
        """Return the labels of an image that are seen, the topmost; None if there are none.

        Whole labels go before strokes and previews, and what is hidden comes last.
        """
        if image_layer is None:
            return None
        ids, name = [layers.layer_id(image_layer)], str(image_layer.name)
        found = [
            layer
            for layer in viewer.layers
            if isinstance(layer, Labels)
            and layers.is_ours(layer)
            and layers.lies_on(layer, ids, name)
        ]

        def rank(layer: Any) -> tuple[bool, bool, int]:
            partial = layers.made_by(layer).get("preview") or classes.shows(layer) == "strokes"
            return layer.visible, not partial, found.index(layer)

        return max(found, key=rank, default=None)

    def saving(self, viewer: Any, layer: Any, path: Path) -> Callable[[], saving.Saved]:
        """Copy ``layer`` now; the function returned writes the copy, in any thread.

        What is written goes by the ending of ``path``: the layer itself, or of labels their
        measurements or outlines.
        """
        title, store = f"“{layer.name}”", stored.store_of(layer)
        if store is not None:
            found = stored.found_in(layer)
            return lambda: saving.Saved(stored.keep_store(store, path), title, found)
        if path.suffix.lower() in measuring.ENDINGS:
            measured = measuring.read_objects(viewer, layer)
            return lambda: saving.Saved(
                measuring.save_objects(measured, path),
                title,
                measuring.objects_text(measured.objects),
                measuring.pieces_in(measured.objects),
            )
        job = saving.read_result(layer)
        if not job.labels:
            return lambda: saving.Saved(saving.save_result(job, path), title)
        objects = measuring.objects_in(layer, job)
        return lambda: saving.Saved(
            saving.save_result(job, path),
            title,
            measuring.objects_text(objects),
            measuring.pieces_in(objects),
        )

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


def _seen(written: Any, *, show: bool = True, over: bool = False) -> list[str]:
    """See to it that what was written is seen, unless it would mix with a person's work.

    ``over``: show it all the same. Returns what a person should know.
    """
    if written.beneath is None or over:
        if show and not written.layer.visible:
            written.layer.visible = True
    elif show:
        written.layer.visible = False
    return [written.message] if written.message else []
