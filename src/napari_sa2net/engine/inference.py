"""Segmenting images: :func:`segment`, a generator of events that returns a Segmentation."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .devices import choose_device, is_out_of_memory
from .errors import DeviceError, SA2NetError
from .events import Event, Message
from .execution.maps import half
from .execution.precision import note
from .instances import LabelSettings, features, label_plane
from .network import STAGES
from .prediction import Plan, Predictor
from .preparation import prepare
from .region import SAMPLED, check_region, is_sampled, region_maps
from .relabelling import link_labels, put_plane, relabel, relabel_steps
from .scaling import default_labelling, resample, zoomed_shape
from .segmentation import (
    LARGE,
    PlaneDone,
    Segmentation,
    SegmentOptions,
    TileDone,
    derived_classes,
    map_bytes,
)
from .tiling import pad
from .weights import Model

__all__ = [
    "LabelSettings",
    "PlaneDone",
    "SegmentOptions",
    "Segmentation",
    "TileDone",
    "relabel",
    "relabel_steps",
    "segment",
]


def segment(
    image: Any, model: Model, options: SegmentOptions | None = None
) -> Generator[Event, None, Segmentation]:
    """Segment an image, plane by plane and tile by tile.

    Parameters
    ----------
    image
        A NumPy, dask or zarr array of two to five axes, or several of one shape as channels.
        Any whole, real or bool values.
    model
        Network and card. The network itself is not changed.
    options
        See :class:`SegmentOptions`.

    Yields
    ------
    Event
        :class:`Message` on device, scale and fallbacks; :class:`TileDone`;
        :class:`PlaneDone`. Closing the generator stops the work and frees its memory.

    Returns
    -------
    Segmentation

    Raises
    ------
    InputError
        If image and options do not fit each other or the model.
    DeviceError
        If the device is not there, fails, or has too little memory even for small tiles.
    """
    try:
        return (yield from _Job(image, model, options or SegmentOptions()).run())
    except SA2NetError:
        raise
    except (RuntimeError, MemoryError) as error:
        # A RuntimeError would be swallowed by the workers that drive this in a window.
        if is_out_of_memory(error):
            raise DeviceError(
                "The computer's memory ran out. Segment fewer planes at a time, keep fewer "
                "maps, or crop the image."
            ) from error
        raise SA2NetError(f"Segmentation failed: {error}") from error


class _Job:
    """One run of :func:`segment`: what was resolved, and the results so far."""

    def __init__(self, image: Any, model: Model, options: SegmentOptions) -> None:
        card = model.card
        self.model, self.card = model, card
        self.preparation, self.about_scale = prepare(image, card, options)
        self.planes, self.zoom = self.preparation.planes, self.preparation.zoom
        self.region = check_region(options.region, self.planes.stack.plane_shape)
        self.stack = self.planes.stack.part(self.region)
        self.settings = options.labelling or default_labelling(card, options)
        self.options = replace(options, labelling=self.settings, axes=self.planes.given)
        self.derived = derived_classes(card)
        self.numbers = self.stack.numbers(options.planes)
        self.map_numbers = frozenset(self.stack.numbers(options.map_planes))
        self.messages: list[str] = []

    def run(self) -> Generator[Event, None, Segmentation]:
        choice = choose_device(self.options.device)
        precision = note(choice.device, self.options.precision)
        yield self._say(f"Running on {choice.reason}{precision}", warning=bool(precision))
        if self.about_scale is not None:
            yield self._say(self.about_scale.text, warning=self.about_scale.warning)
        if self.planes.remark:
            yield self._say(self.planes.remark, warning=True)
        if self.options.region is not None and is_sampled(self.preparation):
            yield self._say(SAMPLED)
        yield from self._warn_of_size()
        self._allocate()
        plan = Plan.of(self.options, choice.device, self.card.base_channels)
        predictor = Predictor(self.model.network, plan)
        try:
            yield from self._all_planes(predictor)
            if predictor.where != plan.device:
                yield self._say(f"The network ran on {predictor.where}.")
        finally:
            predictor.close()
        warning = link_labels(self.labels, self.stack, self.settings)
        if warning:
            yield self._say(warning, warning=True)
        self.messages += predictor.messages
        return self._result(plan.device)

    def _all_planes(self, predictor: Predictor) -> Generator[Event, None, None]:
        count = 0
        for place, number in enumerate(self.numbers):
            predictor.stages = self._wants(number, "stages", "disagreement")
            predictor.attention = self._wants(number, "attention")
            maps = yield from self._maps(number, predictor, len(self.numbers) - place - 1)
            plane = self._store(number, maps, predictor)
            count = put_plane(self.labels, self.stack, number, plane, self.settings, count)
            finished = self.stack.view(self.labels, number).copy()
            yield PlaneDone(number, self.stack.index(number), finished)

    def _maps(
        self, number: int, predictor: Predictor, later: int
    ) -> Generator[Event, None, NDArray[np.float32]]:
        """Run the network on a plane, or a region of it; the maps are of the image's scale."""
        if self.options.region is not None:
            work = region_maps(self.preparation, predictor, self.region, number, later)
            return (yield from work)
        x = pad(self.preparation.plane(number))
        maps = yield from predictor.plane(x, number, later)
        height, width = zoomed_shape(self.stack.plane_shape, self.zoom)
        return resample(maps[:, :height, :width], self.stack.plane_shape)

    def _store(
        self, number: int, maps: NDArray[np.float32], predictor: Predictor
    ) -> NDArray[np.int32]:
        """Keep what is wanted of a plane's maps, and label it."""
        k = predictor.classes
        probabilities = half(maps[:k])
        top, left, bottom, right = self.region
        outside = self.planes.outside(number, (slice(top, bottom), slice(left, right)))
        if outside is not None:
            probabilities[:, outside] = np.nan  # nothing is known there, and nothing labelled
        if self.probabilities is not None:
            self.stack.view(self.probabilities, number)[...] = probabilities
        if predictor.stages:
            stages = maps[k : k + STAGES]
            if self.stages is not None:
                self.stack.view(self.stages, number)[...] = stages
            if self.disagreement is not None:
                spread = stages.max(axis=0) - stages.min(axis=0)
                self.stack.view(self.disagreement, number)[...] = spread
        if predictor.attention and self.attention is not None:
            self.stack.view(self.attention, number)[...] = maps[-STAGES:]
        # From the rounded probabilities, so that relabelling gives the same.
        masked = self.planes.masked
        return label_plane(probabilities, self.settings, derived=self.derived, masked=masked)

    def _allocate(self) -> None:
        shape, keep = self.stack.shape, self.options.keep
        classes = max(2, self.card.num_classes)

        def maps(wanted: bool, *leading: int) -> NDArray[np.float16] | None:
            return np.zeros((*leading, *shape), np.float16) if wanted else None

        self.labels = np.zeros(shape, np.int32)
        self.probabilities = maps(self._keeps_probabilities, classes)
        self.stages = maps("stages" in keep, STAGES)
        self.attention = maps("attention" in keep, STAGES)
        self.disagreement = maps("disagreement" in keep)

    @property
    def _keeps_probabilities(self) -> bool:
        """Whether those of all planes are kept."""
        if self.options.relabel or "probabilities" in self.options.keep:
            return True
        # The class of an instance is looked up at the end.
        several = self.card.num_classes - 1 - len(self.derived) > 1
        return several and self.settings.result == "instances"

    def _result(self, device: str) -> Segmentation:
        from .. import __version__

        return Segmentation(
            labels=self.labels,
            probabilities=self.probabilities,
            stages=self.stages,
            attention=self.attention,
            disagreement=self.disagreement,
            features=features(
                self.labels, self.probabilities, derived=self.derived, result=self.settings.result
            ),
            axes=self.stack.axes,
            card=self.card,
            options=self.options,
            device=device,
            planes=self.numbers,
            zoom=self.zoom,
            messages=tuple(self.messages),
            version=__version__,
            masked=self.planes.masked,
        )

    def _wants(self, number: int, *names: str) -> bool:
        return number in self.map_numbers and bool(self.options.keep.intersection(names))

    def _warn_of_size(self) -> Generator[Event, None, None]:
        # Pages of zeros take no memory until they are written to.
        pixels = math.prod(self.stack.plane_shape)
        kept = replace(self.options, keep=frozenset(), relabel=self._keeps_probabilities)
        size = len(self.numbers) * map_bytes((pixels,), self.card.num_classes, kept)
        planes = len(self.map_numbers & set(self.numbers))
        others = self.options.keep - {"probabilities"}
        maps = replace(self.options, keep=others, relabel=False)
        size += planes * (map_bytes((pixels,), self.card.num_classes, maps) - 4 * pixels)
        if size > LARGE:
            yield self._say(
                f"The results will take {size / 1e9:.1f} GB of memory. To need less, keep fewer "
                "maps, keep them of fewer planes, or segment fewer planes.",
                warning=True,
            )

    def _say(self, text: str, warning: bool = False) -> Message:
        self.messages.append(text)
        return Message(text, warning)
