"""Made-up probabilities, and small models that see something in noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_sa2net.engine.blocks.labelling import Rules
from napari_sa2net.engine.blocks.plan import BlockGrid
from napari_sa2net.engine.blocks.store import Store
from napari_sa2net.engine.blocks.work import Work
from napari_sa2net.engine.instances import LabelSettings


@pytest.fixture(autouse=True)
def needs_zarr() -> None:
    """Skip where OME-Zarr cannot be written."""
    pytest.importorskip("zarr", minversion="3.0")


def smooth_noise(shape: tuple[int, int], sigma: float, seed: int) -> NDArray[np.float64]:
    """Return blobs of about ``sigma`` pixels, from 0 to 1."""
    noise = np.random.default_rng(seed).normal(size=shape)
    values = ndimage.gaussian_filter(noise, sigma)
    return np.asarray(ndimage.uniform_filter((values - values.min()) / np.ptp(values), 2))


def made_up(shape: tuple[int, int], classes: int, seed: int = 0) -> NDArray[np.float16]:
    """Return probabilities (K, H, W) with objects, rings, islands and specks."""
    logits = np.stack(
        [smooth_noise(shape, 3 + k, seed + k) * 14 + (1.2 if k == 0 else 0) for k in range(classes)]
    )
    # Rings with an island inside, among them some over the middle of the plane.
    y, x = np.mgrid[: shape[0], : shape[1]]
    for top, left in ((0.5, 0.5), (0.25, 0.5), (0.77, 0.2)):
        distance = np.hypot(y - top * shape[0], x - left * shape[1])
        logits[1] += np.where((distance > 14) & (distance < 20), 12, 0)
        logits[0] += np.where((distance > 4) & (distance < 14), 12, 0)
        logits[0] += np.where((distance > 20) & (distance < 23), 12, 0)
        logits[1] += np.where(distance < (2 if top == 0.5 else 4), 12, 0)
    weights = np.exp(logits - logits.max(axis=0))
    return (weights / weights.sum(axis=0)).astype(np.float16)


def label_in_blocks(
    path: Path,
    planes: NDArray[np.float16],
    settings: LabelSettings,
    derived: tuple[int, ...] = (),
    side: int = 64,
    largest: int = 10**9,
) -> tuple[NDArray[np.int32], Any]:
    """Label probabilities (N, K, H, W) block by block, and return also what was joined."""
    store = Store(path)
    store.begin({})
    layers, classes, height, width = planes.shape
    grid = BlockGrid((height, width), side, tuple(range(layers)))
    chunks = (1, classes, side // 2, side // 2)
    store.create_working("probabilities", planes.shape, chunks, np.float16)
    store.create_working("labels", (layers, height, width), (1, side // 2, side // 2), np.int32)
    work = Work(store, grid, Rules(settings, derived), largest)
    for block in grid:
        work.keep(block, planes[(block.layer, slice(None), *block.slices)].copy())
    joined = work.join()
    if work.rules.by_distance:
        radii = np.concatenate([work.measure(block, joined) for block in grid])
        work = Work(store, grid, Rules(settings, derived, float(np.median(radii))), largest)
    counts = [work.label(block, joined) for block in grid]
    starts, count = {}, 0
    for block, (own, across) in zip(grid, counts, strict=True):
        is_class = settings.result == "classes"
        starts[block.number] = (0, 0) if is_class else (count, count + own)
        count += own + across
    out = np.zeros((layers, height, width), np.int32)
    for block in grid:
        out[(block.layer, *block.slices)] = work.result(block, joined, starts)
    return out, joined


def same_up_to_numbers(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two label images are one up to renumbering."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    zeros = bool(((pairs[0] == 0) == (pairs[1] == 0)).all())
    return zeros and all(len(np.unique(row)) == pairs.shape[1] for row in pairs)
