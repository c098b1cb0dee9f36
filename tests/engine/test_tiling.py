"""Tiling arithmetic, by identity."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.tiling import Stitcher, blend_window, pad, padded_side, tile_grid

SHAPES = [(16, 16), (16, 208), (256, 256), (272, 512), (640, 336)]
CUTS = [(512, 16, 48), (256, 96, 0), (256, 96, 48), (128, 16, 32), (64, 0, 0), (80, 5, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("tile", "discard", "blend"), CUTS)
def test_tiles_of_an_identity_give_the_plane(
    shape: tuple[int, int], tile: int, discard: int, blend: int
) -> None:
    plane = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    stitcher = Stitcher(2, (0, 0, *shape))
    grid = tile_grid(shape, tile, discard, blend)
    for part in grid:
        assert not stitcher.covers(part)
        stitcher.add(part, plane[:, part.slices[0], part.slices[1]])
    assert all(stitcher.covers(part) for part in grid)
    np.testing.assert_allclose(stitcher.result(), plane, atol=1e-6)


@pytest.mark.parametrize("box", [(0, 0, 100, 90), (37, 50, 41, 336), (500, 100, 640, 300)])
def test_a_part_is_stitched_as_in_the_plane(box: tuple[int, int, int, int]) -> None:
    shape = (640, 336)
    random = np.random.default_rng(0)
    whole, part = Stitcher(2, (0, 0, *shape)), Stitcher(2, box)
    for tile in tile_grid(shape, 128, 16, 32):
        values = random.random((2, 128, 128)).astype(np.float32)
        whole.add(tile, values)
        part.add(tile, values)  # most of them lie elsewhere
    y0, x0, y1, x1 = box
    np.testing.assert_array_equal(part.result(), whole.result()[:, y0:y1, x0:x1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("tile", "discard", "blend"), CUTS)
def test_grid(shape: tuple[int, int], tile: int, discard: int, blend: int) -> None:
    grid = tile_grid(shape, tile, discard, blend)
    assert len({(part.y[1] - part.y[0], part.x[1] - part.x[0]) for part in grid}) == 1
    for part in grid:
        for side, (start, end), core in zip(
            shape, (part.y, part.x), (part.core_y, part.core_x), strict=True
        ):
            assert start % 16 == 0
            assert start >= 0
            assert end <= side
            assert (end - start) % 16 == 0
            assert end - start <= min(tile, side)
            # Everything but the plane's own border is discarded.
            assert core[0] - start == (0 if start == 0 else discard)
            assert end - core[1] == (0 if end == side else discard)


@pytest.mark.parametrize(
    ("side", "tile", "length", "count"),
    [
        (2048, 768, 736, 3),  # three of 768 would share 128 pixels, of 736 they share 80
        (512, 512, 512, 1),
        (528, 512, 304, 2),  # of 512, nearly all would be computed twice
        (20_000, 768, 768, 29),
    ],
)
def test_tiles_are_no_longer_than_their_number_needs(
    side: int, tile: int, length: int, count: int
) -> None:
    grid = tile_grid((side, 16), tile, discard=16, blend=48)
    assert len(grid) == count
    assert {part.y[1] - part.y[0] for part in grid} == {length}


def test_what_lies_in_the_discarded_border_has_no_influence() -> None:
    shape = (256, 256)
    stitcher = Stitcher(1, (0, 0, *shape))
    for part in tile_grid(shape, 128, 32, 16):
        values = np.full((1, 128, 128), np.nan, np.float32)
        (y0, y1), (x0, x1), top, left = part.core_y, part.core_x, part.y[0], part.x[0]
        values[:, y0 - top : y1 - top, x0 - left : x1 - left] = 1
        stitcher.add(part, values)
    np.testing.assert_allclose(stitcher.result(), 1, atol=1e-6)


def test_neighbours_fade_into_each_other() -> None:
    stitcher = Stitcher(1, (0, 0, 10, 120))
    first, second = tile_grid((16, 128), 96, 0, 64)
    stitcher.add(first, np.zeros((1, 16, 96), np.float32))
    stitcher.add(second, np.ones((1, 16, 96), np.float32))
    row = stitcher.result()[0, 3]
    assert row.shape == (120,)
    assert not row[:32].any()
    assert (row[96:] == 1).all()
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 0.03


def test_grids_can_be_mixed() -> None:
    plane = np.random.default_rng(0).random((1, 256, 256)).astype(np.float32)
    stitcher = Stitcher(1, (0, 0, 256, 256))
    first = tile_grid((256, 256), 128, 16, 16)[0]
    stitcher.add(first, plane[:, first.slices[0], first.slices[1]])
    todo = [part for part in tile_grid((256, 256), 64, 0, 16) if not stitcher.covers(part)]
    assert 0 < len(todo) < len(tile_grid((256, 256), 64, 0, 16))
    for part in todo:
        stitcher.add(part, plane[:, part.slices[0], part.slices[1]])
    np.testing.assert_allclose(stitcher.result(), plane, atol=1e-6)


def test_windows_of_neighbours_add_up_to_1() -> None:
    ahead, behind = blend_window(40, (0, 12)), blend_window(40, (12, 0))
    np.testing.assert_allclose(ahead[-12:] + behind[:12], 1, atol=1e-6)
    assert (ahead > 0).all()
    assert (ahead[:-12] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (15, 17), (16, 32)])
def test_padding_reflects_to_multiples_of_16(shape: tuple[int, int]) -> None:
    plane = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(1, *shape)
    padded = pad(plane)
    assert padded.shape == (1, padded_side(shape[0]), padded_side(shape[1]))
    np.testing.assert_array_equal(padded[:, : shape[0], : shape[1]], plane)
    if shape[1] == 17:
        np.testing.assert_array_equal(padded[0, 0, 17:], plane[0, 0, 15:0:-1])


def test_lengths_that_do_not_fit_are_explained() -> None:
    with pytest.raises(InputError, match="at least 240"):
        tile_grid((512, 512), 128, 96, 32)
    with pytest.raises(InputError, match="0 or more"):
        tile_grid((512, 512), 128, -1, 0)
    with pytest.raises(InputError, match="pad first"):
        tile_grid((500, 512))
