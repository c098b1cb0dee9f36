"""Labels made block by block are those of the whole plane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.engine.blocks.joining import Joined, Union
from napari_sa2net.engine.blocks.labelling import Rules
from napari_sa2net.engine.blocks.plan import BlockGrid
from napari_sa2net.engine.blocks.store import Store
from napari_sa2net.engine.blocks.work import Work
from napari_sa2net.engine.instances import LabelSettings, label_plane

Blobs = Callable[[tuple[int, int], float, int], NDArray[np.float64]]
Same = Callable[[NDArray[Any], NDArray[Any]], bool]


def made_up(
    blobs: Blobs, shape: tuple[int, int], classes: int, seed: int = 0
) -> NDArray[np.float16]:
    """Return probabilities (K, H, W) with objects, rings, islands and specks."""
    logits = np.stack(
        [blobs(shape, 3 + k, seed + k) * 14 + (1.2 if k == 0 else 0) for k in range(classes)]
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
) -> tuple[NDArray[np.int32], Joined]:
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


CASES = [
    (3, (2,), {}),
    (3, (2,), {"split": False}),
    (3, (2,), {"fill_holes": False, "min_size": 0}),
    (2, (), {}),
    (3, (), {}),
    (3, (), {"split": False}),
    (3, (), {"result": "classes"}),
    (4, (3,), {"result": "classes", "min_size": 60}),
]


@pytest.mark.parametrize("seed", [0, 10])
@pytest.mark.parametrize(("classes", "derived", "options"), CASES)
def test_labels_are_those_of_the_whole_plane(
    tmp_path: Path,
    blobs: Blobs,
    same_labels: Same,
    classes: int,
    derived: tuple[int, ...],
    options: dict[str, Any],
    seed: int,
) -> None:
    probabilities = made_up(blobs, (197, 230), classes, seed)
    settings = LabelSettings(**options)
    whole = label_plane(probabilities, settings, derived=derived)
    found, joined = label_in_blocks(tmp_path / "a", probabilities[None], settings, derived)
    # There is something to do: parts over several blocks, and many labels.
    assert len(joined.boxes) > 5
    assert len(joined.boxes) < len(joined.member)
    if settings.result == "classes":
        np.testing.assert_array_equal(found[0], whole)
        return
    assert whole.max() > 10
    assert same_labels(found[0], whole)
    np.testing.assert_array_equal(np.unique(found), np.arange(whole.max() + 1))


def test_planes_are_kept_apart_and_numbers_are_unique(
    tmp_path: Path, blobs: Blobs, same_labels: Same
) -> None:
    planes = np.stack([made_up(blobs, (100, 130), 3, seed) for seed in (0, 10)])
    found, _ = label_in_blocks(tmp_path / "a", planes, LabelSettings(), (2,))
    for labels, probabilities in zip(found, planes, strict=True):
        assert same_labels(labels, label_plane(probabilities, derived=(2,)))
    assert not set(np.unique(found[0])) & set(np.unique(found[1])) - {0}


def test_equal_heights_do_not_depend_on_the_rest_of_the_plane(
    tmp_path: Path, same_labels: Same
) -> None:
    # Plateaus: the watershed has only the order of pixels to go by.
    mask = np.kron(np.random.default_rng(0).random((25, 30)) < 0.55, np.ones((8, 8))) > 0
    seeds = np.kron(np.random.default_rng(1).random((50, 60)) < 0.3, np.ones((4, 4))) > 0
    interior = np.where(mask, np.where(seeds, 1.0, 0.25), 0)
    probabilities = np.stack([~mask, interior, mask - interior]).astype(np.float16)
    settings = LabelSettings(min_size=0)
    whole = label_plane(probabilities, settings, derived=(2,))
    found, _ = label_in_blocks(tmp_path / "a", probabilities[None], settings, (2,))
    assert whole.max() > 100
    assert same_labels(found[0], whole)


def band(shape: tuple[int, int] = (128, 192)) -> NDArray[np.float16]:
    """Return a long part over several blocks, with a hole over a border between two."""
    mask = np.zeros(shape, bool)
    mask[20:100, 5:180] = True
    mask[40:50, 58:70] = False
    mask[70:80, 20:30] = False
    return np.stack([~mask, mask]).astype(np.float16)


def test_what_is_too_large_is_labelled_in_pieces(tmp_path: Path) -> None:
    settings = LabelSettings(result="instances", split=False)
    found, joined = label_in_blocks(tmp_path / "a", band()[None], settings, largest=5000)
    assert joined.huge.tolist() == [True]
    assert found.max() == 6
    assert found[0, 75, 25] > 0
    whole, joined = label_in_blocks(tmp_path / "b", band()[None], settings, largest=80 * 175)
    assert joined.huge.tolist() == [False]
    assert whole.max() == 1


def test_pieces_of_a_large_class_are_no_specks(tmp_path: Path) -> None:
    settings = LabelSettings(result="classes", min_size=3000)
    found, joined = label_in_blocks(tmp_path / "a", band()[None], settings, largest=5000)
    assert joined.huge.tolist() == [True]
    expected = label_plane(band(), settings)
    expected[40:50, 58:70] = 0  # a hole over a border stays
    np.testing.assert_array_equal(found[0], expected)


def test_sets_that_are_joined_in_pairs() -> None:
    union = Union(6)
    for pair in ((4, 5), (1, 4), (0, 2)):
        union.join(*pair)
    assert union.roots().tolist() == [0, 1, 0, 3, 1, 1]
