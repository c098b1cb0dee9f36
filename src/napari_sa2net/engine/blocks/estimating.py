"""What a run takes, told before it begins."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..devices import choose_device
from ..model_files import Model
from ..prediction import Predictor
from ..segmentation import SegmentOptions
from .plan import BlockOptions, disk_bytes
from .setup import Setup, explained
from .source import Source
from .statistics import Statistics


@dataclass(frozen=True)
class Estimate:
    """What a run takes, before it begins."""

    pixels: int
    """Of all planes."""
    blocks: int
    tiles: int
    seconds: float
    """With the time that one tile took; without reading and labelling, which take little."""
    working_bytes: int
    """Most that the working files take while it runs."""
    result_bytes: int
    """Most that the result takes."""
    free_bytes: int
    """Free where the result is written."""
    device: str = ""

    def text(self) -> str:
        """Return the estimate for a person."""
        hours, rest = divmod(round(self.seconds / 60), 60)
        return (
            f"{self.pixels / 1e6:.4g} megapixels in {self.blocks} blocks and {self.tiles} tiles: "
            f"about {f'{hours} h ' if hours else ''}{max(rest, 0 if hours else 1)} min on "
            f"{self.device}, at most {_gigabytes(self.result_bytes)} of disk for the result and "
            f"{_gigabytes(self.working_bytes)} more while it runs "
            f"({_gigabytes(self.free_bytes)} are free)."
            + ("" if self.fits else " That may not fit.")
        )

    @property
    def fits(self) -> bool:
        """Whether there is room on the disk, even if nothing can be compressed."""
        return self.result_bytes + self.working_bytes <= self.free_bytes


def estimate(
    image: Any,
    output: str | Path,
    model: Model,
    options: SegmentOptions | None = None,
    blocks: BlockOptions | None = None,
) -> Estimate:
    """Tell what :func:`segment_to_zarr` will take; nothing is written.

    One tile goes through the network twice, to see how long that takes.

    Raises
    ------
    InputError, DeviceError
        As :func:`segment_to_zarr`.
    """
    setup = Setup(image, output, model, options or SegmentOptions(), blocks or BlockOptions())
    with explained(setup.store.path):
        return _estimate(setup)


def _estimate(setup: Setup) -> Estimate:
    choice = choose_device(setup.options.device)
    nothing = [(0.0, 1.0)] * setup.planes.in_channels
    source = Source(setup.preparation, setup.numbers[0], Statistics(nothing, nothing))
    layout = setup.layout(source)
    numbers = layout.of_region()
    tile = layout.tiles[numbers[len(numbers) // 2]]
    x = source.window((tile.y[0], tile.x[0], tile.y[1], tile.x[1]))
    predictor = Predictor(setup.model.network, setup.plan(choice.device))
    try:
        for _ in range(2):  # the first one warms up
            began = time.perf_counter()
            maps = predictor.start(x, (tile.y[0], tile.x[0]), [tile])()
            if maps is None:
                predictor.make_room([tile])
            seconds = time.perf_counter() - began
    finally:
        predictor.close()
    pixels = len(setup.numbers) * math.prod(setup.grid.shape)
    working, result = disk_bytes(pixels, setup.classes)
    folder = next(p for p in setup.store.path.absolute().parents if p.exists())
    return Estimate(
        pixels=pixels,
        blocks=len(setup.grid),
        tiles=len(numbers) * len(setup.numbers),
        seconds=seconds * len(numbers) * len(setup.numbers),
        working_bytes=working,
        result_bytes=result,
        free_bytes=shutil.disk_usage(folder).free,
        device=choice.device,
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count, 1e5) / 1e6:.1f} MB"
