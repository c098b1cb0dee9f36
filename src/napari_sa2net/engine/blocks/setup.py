"""What a run is: its image, model, settings and output, resolved and checked once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk
from ..devices import is_out_of_memory
from ..errors import DeviceError, InputError, SA2NetError
from ..instances import LabelSettings
from ..measuring.objects import all_channels
from ..model_files import Model, model_sha256
from ..prediction import Plan
from ..preparation import prepare
from ..region import check_region
from ..scaling import default_labelling
from ..segmentation import SegmentOptions, derived_classes, tile_for
from ..tiling import Tile
from .labelling import Rules
from .plan import BlockGrid, BlockOptions
from .pyramid import Pyramid
from .source import Source, TileLayout
from .statistics import fingerprint
from .store import Store, differences, import_zarr

FORMAT = 5
"""Of the working files: those of another one are not gone on with."""


class ImageChanged(InputError):
    """A result was begun with other values of the image."""


@dataclass(frozen=True)
class Begun:
    """How a run has begun, until it is sure that it can go on."""

    path: Path
    fresh: bool
    """It is a new result."""
    aside: Path | None = None
    """Where the one is that it replaces."""

    def keep(self) -> None:
        """Let go of what is replaced."""
        if self.aside is not None:
            disk.remove(self.aside.parent)

    def undo(self) -> None:
        """Leave nothing of a new result behind, and what was there as it was."""
        if self.fresh:
            disk.remove(self.path)
        if self.aside is not None:
            disk.put_back(self.aside)


class Setup:
    """What is made of what, and where.

    Raises
    ------
    InputError
        If image, model and options do not fit together, or zarr is missing.
    """

    def __init__(
        self,
        image: Any,
        output: str | Path,
        model: Model,
        options: SegmentOptions,
        blocks: BlockOptions,
    ) -> None:
        import_zarr()
        card = model.card
        settings = options.labelling or default_labelling(card, options)
        _check(options, settings)
        self.model, self.card, self.blocks = model, card, blocks
        self.preparation, self.about_scale = prepare(image, card, options)
        self.planes = self.preparation.planes
        if self.planes.masked:
            raise InputError(
                "A masked array is not segmented block by block: segment it in memory (segment), "
                "or give the array filled, as image.filled(0)."
            )
        self.stack = self.planes.stack
        self.options = replace(options, labelling=settings, axes=self.planes.given)
        self.numbers = self.stack.numbers(options.planes)
        side = blocks.side_for(self.preparation.zoom)
        self.region = check_region(options.region, self.stack.plane_shape)
        made = self.stack.part(self.region)
        self.grid = BlockGrid(made.plane_shape, side, self.numbers)
        self.rules = Rules(settings, derived_classes(card))
        axes = "".join(letter for letter in "TZYX" if letter in self.stack.axes)
        shape = tuple(made.shape[made.axes.index(letter)] for letter in axes)
        self.pyramid = Pyramid(axes, shape, blocks.chunk, self.region[:2])
        self.store = Store(output)

    @property
    def classes(self) -> int:
        """Classes of the probabilities, background included."""
        return max(2, self.card.num_classes)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides on the result, as plain JSON: with something else it is not gone on."""
        options, settings = self.options, self.options.labelling
        names = ("discard", "blend", "flips")
        content = {
            "format": FORMAT,
            "image": {
                "shape": self.planes.shape,
                "axes": self.planes.axes,
                "channels": self.planes.channels,
                "number of channels": len(all_channels(self.planes).names),
                "values": str(np.dtype(self.planes.arrays[0].dtype)),
                "fingerprint": fingerprint(self.planes, self.numbers),
            },
            "model": {"name": self.card.name, "sha256": model_sha256(self.model)},
            "settings": {
                "tile": tile_for(options, self.card.base_channels),
                **{name: getattr(options, name) for name in names},
                **(asdict(settings) if settings is not None else {}),
                "zoom": self.preparation.zoom,
                "planes": self.numbers,
                "region": self.region if options.region is not None else None,
            },
            "blocks": asdict(self.blocks),
        }
        return dict(json.loads(json.dumps(content)))

    @property
    def name(self) -> str:
        """The same for the same image, model and settings.

        An image is known by windows of it, so that another may have the same name:
        :meth:`~napari_sa2net.engine.blocks.looking.Looking.check_image` looks at all of it.
        """
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def begin(self, resume: bool, overwrite: bool) -> Begun:
        """Begin, or go on with what there is.

        Raises
        ------
        InputError
            If the output exists and is not to be replaced, or was made from something else.
        """
        if resume and overwrite:
            raise InputError("Going on and replacing exclude each other: give one of them.")
        store = self.store
        disk.sweep(store.path.parent)
        aside = store.set_aside() if store.exists() and overwrite else None
        if not store.exists():
            try:
                store.begin(self.identity)
            except BaseException as error:
                # What is there now is another run's, which began at the same moment.
                if isinstance(error, OSError) and store.exists():
                    raise InputError(
                        f"{store.path} has just been begun by another run: wait for it, or give "
                        "another name."
                    ) from error
                if aside is not None:
                    disk.put_back(aside)
                raise
            return Begun(store.path, True, aside)
        before = store.identity()
        if before is None:
            raise InputError(
                f"{store.path} exists already and was not written by sa2net segment: give another "
                "name."
            )
        if not resume:
            raise InputError(
                f"{store.path} exists already: --resume (resume=True) goes on with it, "
                "--overwrite (overwrite=True) replaces it."
            )
        different = differences(before, self.identity)
        if different:
            raise InputError(
                f"{store.path} was begun with something else ({'; '.join(different)}): go on with "
                "the same image, model and settings, or replace it with --overwrite "
                "(overwrite=True)."
            )
        store.sweep()
        return Begun(store.path, False)

    def create(self) -> None:
        """Make the arrays that are not there yet."""
        chunk, (height, width) = self.blocks.chunk, self.grid.shape
        layers = len(self.numbers)
        self.store.create_result()
        for level in range(self.pyramid.count):
            shape = self.pyramid.level_shape(level)
            self.store.create_level(level, shape, chunk, self.pyramid.axes)
        shape = (layers, self.classes, height, width)
        chunks = (1, self.classes, chunk, chunk)
        self.store.create_working("probabilities", shape, chunks, np.float16)
        self.store.create_working("labels", (layers, height, width), (1, chunk, chunk), np.int32)

    def plan(self, device: str) -> Plan:
        """Return how the network starts on a device."""
        return Plan.of(self.options, device, self.card.base_channels, fixed=True)

    def layout(self, source: Source, tiles: list[Tile] | None = None) -> TileLayout:
        """Return the tiles of a plane; all planes have the same, which may be given."""
        tiles = tiles or self.plan("cpu").grid(source.padded_shape)
        return TileLayout(source, tiles, self.region)


def _check(options: SegmentOptions, settings: LabelSettings) -> None:
    if options.keep:
        raise InputError(
            f"An OME-Zarr result holds labels only: leave out {', '.join(sorted(options.keep))}."
        )
    if settings.link != "none":
        raise InputError("Objects are not linked from plane to plane in an OME-Zarr result.")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of torch, of the memory and of the disk into errors for a person."""
    try:
        yield
    except SA2NetError:
        raise
    except OSError as error:
        raise SA2NetError(
            f"{path} cannot be written or read ({error.strerror or error}): check that the "
            "folder is writable and the disk not full, then go on with --resume (resume=True)."
        ) from error
    except (RuntimeError, MemoryError) as error:
        # A RuntimeError would be swallowed by the workers that drive this in a window.
        if is_out_of_memory(error):
            raise DeviceError(
                "The computer's memory ran out. Close other programs, then go on with --resume "
                "(resume=True)."
            ) from error
        raise SA2NetError(f"Segmentation failed: {error}") from error
