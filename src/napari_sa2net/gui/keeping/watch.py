"""Notices what happens to one layer that is painted on."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from .describing import Describer
from .job import Job

if TYPE_CHECKING:
    from .keeper import PaintingKeeper

ATTRIBUTES = (
    "name",
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "units",
    "metadata",
    "features",
    "colormap",
    "opacity",
)
"""Events after which the description of a layer is written anew."""


class Watch:
    """What happened to one layer since the thread was last told."""

    def __init__(self, keeper: PaintingKeeper, layer: Any, image_layer: Any) -> None:
        self._keeper = weakref.ref(keeper)
        self.layer = weakref.ref(layer)
        self.image = None if image_layer is None else weakref.ref(image_layer)
        self.describer = Describer()
        self.job: Job | None = None
        self.near: set[int] = set()
        self.anywhere = False
        for name in ("labels_update", "paint", "set_data"):
            getattr(layer.events, name).connect(getattr(self, f"on_{name}"))
        for name in ATTRIBUTES:
            if hasattr(layer.events, name):
                getattr(layer.events, name).connect(self.on_attribute)

    def disconnect(self) -> None:
        layer = self.layer()
        if layer is not None:
            for name in ("labels_update", "paint", "set_data"):
                getattr(layer.events, name).disconnect(getattr(self, f"on_{name}"))
            for name in ATTRIBUTES:
                if hasattr(layer.events, name):
                    getattr(layer.events, name).disconnect(self.on_attribute)

    def on_labels_update(self, event: Any) -> None:
        """A piece of a stroke: its box in the displayed plane is told."""
        blocks = self._blocks(event)
        self.near.update(blocks)
        self.anywhere = self.anywhere or not blocks
        self._schedule()

    def on_paint(self, event: Any) -> None:
        """The end of a stroke, or of a fill."""
        self.anywhere = self.anywhere or not self.near
        self._schedule()

    def on_set_data(self, event: Any) -> None:
        """Undo, redo, ``layer.data[...] =``, new data; also when only the view changed."""
        self.anywhere = True
        self._schedule()

    def on_attribute(self, event: Any) -> None:
        """Nothing painted, but the layer is another."""
        self._schedule()

    def _schedule(self) -> None:
        keeper = self._keeper()
        if keeper is not None:
            keeper.schedule()

    def _blocks(self, event: Any) -> list[int]:
        """Return the blocks that a ``labels_update`` touches; none if it does not say."""
        layer, keeper, job = self.layer(), self._keeper(), self.job
        viewer = None if keeper is None else keeper.viewer
        if layer is None or viewer is None or job is None:
            return []
        offset = getattr(event, "offset", None)
        shape = getattr(getattr(event, "data", None), "shape", ())
        missing = viewer.dims.ndim - layer.ndim
        axes = [axis - missing for axis in viewer.dims.displayed if axis >= missing]
        if offset is None or len(offset) != len(axes) or len(shape) < len(axes):
            return []
        bounds = [(0, 1)] * layer.ndim
        if len(axes) < layer.ndim:
            place = np.round(layer.world_to_data(viewer.dims.point)).astype(int)
            bounds = [(int(i), int(i) + 1) for i in place]
        for axis, start, length in zip(axes, offset, shape, strict=False):
            bounds[axis] = (int(start), int(start) + int(length))
        return job.grid.within(bounds)
