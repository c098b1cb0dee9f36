"""Synthetic images with known objects, drawn at random: what a microscope could show, and more.

By domain randomisation, as AnyStar (Dey et al., WACV 2024) and SynthSeg (Billot et al., Medical
Image Analysis 2023) do it: neither shapes nor looks are those of any real image, but they vary so
widely that real images are among what a network has learnt to expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch.nn import functional as F

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Random = np.random.Generator


def draw_scene(rng: Random, side: int, diameter: float) -> tuple[Floats, Labels]:
    """Draw an image of one kind of objects.

    Parameters
    ----------
    rng
        Source of randomness.
    side
        Height and width in pixels.
    diameter
        About that of the usual object in pixels: that of the circle of the same area.

    Returns
    -------
    tuple of ndarray
        The image (1 or 3, side, side), 0 to 1, and its instance numbers (side, side).
    """
    shape = _SHAPES[rng.choice(len(_SHAPES), p=_OFTEN)]
    labels = shape(rng, side, diameter)
    grey = _show(rng, labels, diameter)
    image = _colour(rng, grey, labels) if rng.random() < 0.3 else grey[None]
    return image.astype(np.float32), labels


# ------------------------------------------------------------------------------- shapes


def _outline(rng: Random, roughness: float) -> Callable[[Floats], Floats]:
    """Return the radius of a closed curve around 1, by the angle."""
    orders = np.arange(2, 7)
    size = rng.normal(0, roughness, len(orders)) / orders
    phase = rng.uniform(0, 2 * math.pi, len(orders))

    def radius(angle: Floats) -> Floats:
        waves = np.cos(orders * angle[..., None] + phase) @ size
        return np.maximum(0.3, 1 + waves).astype(np.float32)

    return radius


def _paint(
    labels: Labels,
    number: int,
    centre: tuple[float, float],
    reach: float,
    inside: Callable[[Floats, Floats], NDArray[np.bool_]],
    overlap: float,
) -> bool:
    """Paint an object where nothing is yet; leave it out where too much of it would be hidden."""
    side = labels.shape[0]
    low = [max(0, int(c - reach)) for c in centre]
    high = [min(side, int(c + reach) + 2) for c in centre]
    if low[0] >= high[0] or low[1] >= high[1]:
        return False
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]].astype(np.float32)
    mask = inside(y - centre[0], x - centre[1])
    part = labels[low[0] : high[0], low[1] : high[1]]
    free = mask & (part == 0)
    area = int(mask.sum())
    if area < 6 or free.sum() < (1 - overlap) * area:
        return False
    part[free] = number
    return True


def _scatter(
    rng: Random,
    side: int,
    diameter: float,
    make: Callable[[Random, float], tuple[float, Callable[[Floats, Floats], NDArray[np.bool_]]]],
) -> Labels:
    """Strew objects about, from a few alone to as many as there is room for, or in clusters."""
    labels = np.zeros((side, side), np.int32)
    cover = rng.choice((0.03, 0.12, 0.3, 0.6, 1.1), p=(0.1, 0.25, 0.3, 0.25, 0.1))
    tries = min(600, math.ceil(cover * side * side / (math.pi / 4 * diameter**2)))
    spread = rng.uniform(0.05, 0.5)
    overlap = rng.choice((0.0, 0.15, 0.4))
    clusters = rng.uniform(0, side, (max(1, tries // 8), 2)) if rng.random() < 0.4 else None
    number = 1
    for _ in range(tries):
        place = rng.uniform(-0.3 * diameter, side + 0.3 * diameter, 2)
        if clusters is not None:
            middle = clusters[rng.integers(len(clusters))]
            place = middle + rng.normal(0, 1.6 * diameter, 2)
        size = diameter * math.exp(rng.normal(0, spread))
        reach, inside = make(rng, size)
        number += _paint(labels, number, (place[0], place[1]), reach, inside, overlap)
    return labels


def _blobs(rng: Random, side: int, diameter: float) -> Labels:
    roughness = rng.choice((0.0, 0.08, 0.25))
    stretch = rng.uniform(1, 2)

    def make(rng: Random, size: float) -> tuple[float, Callable[..., NDArray[np.bool_]]]:
        radius = _outline(rng, roughness)
        angle, ratio = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, stretch))

        def inside(y: Floats, x: Floats) -> NDArray[np.bool_]:
            u = (math.cos(angle) * x + math.sin(angle) * y) / ratio
            v = (math.cos(angle) * y - math.sin(angle) * x) * ratio
            return np.hypot(u, v) <= size / 2 * radius(np.arctan2(v, u))

        return size * ratio * (1 + roughness * 2), inside

    return _scatter(rng, side, diameter, make)


def _rods(rng: Random, side: int, diameter: float) -> Labels:
    """Capsules, straight or bent: bacteria; of large ratio: worms and fibres."""
    longest = rng.choice((3.0, 6.0, 14.0), p=(0.5, 0.3, 0.2))
    bend = rng.choice((0.0, 0.6, 2.0))

    def make(rng: Random, size: float) -> tuple[float, Callable[..., NDArray[np.bool_]]]:
        ratio = rng.uniform(1.6, longest)
        # Of a capsule of this width and length the area is that of the circle of this size.
        width = math.sqrt(math.pi / 4 * size**2 / (ratio - 1 + math.pi / 4))
        curve = rng.uniform(-bend, bend) / (width * ratio)
        angle = rng.uniform(0, 2 * math.pi)
        steps = np.linspace(-0.5, 0.5, 24) * width * (ratio - 1)
        turn = angle + curve * steps
        ends = np.cumsum(np.stack([np.sin(turn), np.cos(turn)]), 1) * (steps[1] - steps[0])
        ends -= ends.mean(1, keepdims=True)

        def inside(y: Floats, x: Floats) -> NDArray[np.bool_]:
            away = np.full(y.shape, np.inf, np.float32)
            for py, px in ends.T:
                away = np.minimum(away, (y - py) ** 2 + (x - px) ** 2)
            return away <= (width / 2) ** 2

        return width * ratio / 2 + width, inside

    return _scatter(rng, side, diameter, make)


def _spindles(rng: Random, side: int, diameter: float) -> Labels:
    """Objects that taper towards both ends, mostly along one direction: fibroblasts."""
    along, spread = rng.uniform(0, math.pi), rng.choice((0.15, 3.0))
    longest = rng.uniform(2.5, 6)

    def make(rng: Random, size: float) -> tuple[float, Callable[..., NDArray[np.bool_]]]:
        ratio = rng.uniform(2, longest)
        length = size * math.sqrt(ratio) * 1.2
        angle = along + rng.normal(0, spread)
        bulge = rng.uniform(-0.25, 0.25)

        def inside(y: Floats, x: Floats) -> NDArray[np.bool_]:
            u = (math.cos(angle) * x + math.sin(angle) * y) / (length / 2)
            v = math.cos(angle) * y - math.sin(angle) * x
            half = length / ratio / 2 * np.maximum(0, 1 - np.abs(u)) ** 0.7 * (1 + bulge * u)
            mask: NDArray[np.bool_] = (np.abs(u) < 1) & (np.abs(v) <= half)
            return mask

        return length / 2 + 2, inside

    return _scatter(rng, side, diameter, make)


def _packed(rng: Random, side: int, diameter: float) -> Labels:
    """Cells that fill the plane, each the part nearest to its seed, with walls or without."""
    margin = int(2 * diameter)
    wide = side + 2 * margin
    step = diameter * 0.95
    grid = np.stack(np.meshgrid(*[np.arange(0, wide, step)] * 2, indexing="ij"), -1).reshape(-1, 2)
    seeds = grid + rng.normal(0, rng.uniform(0.1, 0.45) * step, grid.shape)
    stretch = np.array([1.0, rng.uniform(1, 1.8)])
    y, x = np.mgrid[:side, :side].astype(np.float32) + margin
    wave = rng.uniform(0, 0.12) * diameter
    y = y + wave * _smooth(rng, side, 0.8 * diameter)
    x = x + wave * _smooth(rng, side, 0.8 * diameter)
    away, nearest = cKDTree(seeds * stretch).query(np.stack([y, x], -1) * stretch, k=2, workers=1)
    labels = (nearest[..., 0] + 1).astype(np.int32)
    wall = rng.choice((0.0, 0.06, 0.15)) * diameter
    labels[(away[..., 1] - away[..., 0]) < wall] = 0
    if rng.random() < 0.5:  # some are missing, or whole regions
        gone = rng.random(len(seeds) + 1) < rng.choice((0.1, 0.5))
        labels[gone[labels]] = 0
    if rng.random() < 0.3:
        labels[_smooth(rng, side, side / 5) > rng.uniform(0, 1)] = 0
    return _connected(labels)


def _connected(labels: Labels) -> Labels:
    """Number the connected pieces of each object, without the smallest."""
    same = np.zeros(labels.shape, bool)
    same[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    same[1:] |= labels[1:] != labels[:-1]
    pieces, _ = ndimage.label((labels > 0) & ~same)
    sizes = np.bincount(pieces.ravel())
    return np.where(sizes[pieces] >= 6, pieces, 0).astype(np.int32)


_SHAPES: tuple[Callable[[Random, int, float], Labels], ...] = (_blobs, _rods, _spindles, _packed)
_OFTEN = (0.45, 0.2, 0.1, 0.25)


# -------------------------------------------------------------------------------- looks


def _smooth(rng: Random, side: int, scale: float) -> Floats:
    """Return a field (side, side) of mean 0 and deviation 1 that varies over ``scale`` pixels."""
    coarse = min(side, max(4, math.ceil(side / max(scale, 1.0)) + 1))
    grid = torch.from_numpy(rng.standard_normal((1, 1, coarse, coarse), dtype=np.float32))
    smooth = F.interpolate(grid, (side, side), mode="bicubic", align_corners=True)
    field: Floats = smooth[0, 0].numpy()
    scaled: Floats = (field - field.mean()) / max(float(field.std()), 1e-6)
    return scaled


def _borders(labels: Labels) -> NDArray[np.bool_]:
    """Return the pixels whose right or lower neighbour belongs to something else."""
    out = np.zeros(labels.shape, bool)
    out[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    out[:-1] |= labels[1:] != labels[:-1]
    return out


def _show(rng: Random, labels: Labels, diameter: float) -> Floats:
    """Draw the grey image (H, W), 0 to 1, of some labels."""
    side = labels.shape[0]
    inside = labels > 0
    depth = ndimage.distance_transform_edt(~_borders(labels)).astype(np.float32)
    count = int(labels.max()) + 1
    contrast = rng.uniform(0.15, 0.8)
    image = rng.choice((0.0, 0.05, 0.15, 0.3)) * contrast * _texture(rng, side, diameter)
    level = contrast * np.exp(rng.normal(0, rng.choice((0.05, 0.3, 0.6)), count))
    filled = rng.choice((0.0, 0.35, 1.0), p=(0.25, 0.15, 0.6)) * level
    image += np.where(inside, filled[labels], 0)
    image += np.where(inside, _texture(rng, side, diameter), 0) * (
        rng.choice((0.0, 0.1, 0.3)) * contrast
    )
    # With nothing filled, the rim is all there is to see.
    if filled.max() == 0 or rng.random() < 0.35:
        sign = 1.0 if filled.max() == 0 else rng.choice((-1.0, 1.0))
        width = max(0.7, rng.uniform(0.03, 0.15) * diameter)
        image += np.where(inside, sign * level[labels] * np.exp(-depth / width), 0)
    if rng.random() < 0.3:  # a halo, as of phase contrast
        width = max(1.0, rng.uniform(0.05, 0.3) * diameter)
        size = rng.choice((-0.6, 0.8)) * contrast
        image += np.where(inside, 0, size * np.exp(-depth / width))
    if rng.random() < 0.3:
        image += _nuclei(rng, labels, depth, count) * rng.choice((-0.7, 0.7)) * contrast
    if rng.random() < 0.2:  # round objects shine in their middle
        image += np.where(inside, depth / diameter, 0) * rng.choice((-1, 1)) * contrast
    image += _debris(rng, side, diameter) * rng.choice((0.0, 0.4, 0.9)) * contrast
    return _photograph(rng, image, diameter)


def _texture(rng: Random, side: int, diameter: float) -> Floats:
    fine = _smooth(rng, side, rng.uniform(1, 0.3 * diameter + 1))
    return 0.6 * fine + 0.4 * _smooth(rng, side, rng.uniform(0.3, 2) * diameter)


def _nuclei(rng: Random, labels: Labels, depth: Floats, count: int) -> Floats:
    """Return 1 in the core of each object, 0 elsewhere."""
    deepest = ndimage.maximum(depth, labels, np.arange(count))
    share = rng.uniform(0.3, 0.7)
    core = depth > share * np.asarray(deepest, np.float32)[labels]
    return ((labels > 0) & core).astype(np.float32)


def _debris(rng: Random, side: int, diameter: float) -> Floats:
    """Return spots and scratches that belong to no object, 0 to 1."""
    out = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(0, 30)):
        y, x = rng.integers(0, side, 2)
        radius = max(1, int(rng.uniform(0.02, 0.15) * diameter))
        out[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius] = rng.random()
    if rng.random() < 0.2:
        for _ in range(rng.integers(1, 4)):
            (y0, x0), (y1, x1) = rng.uniform(0, side, (2, 2))
            steps = np.linspace(0, 1, 2 * side)
            rows = np.clip(y0 + (y1 - y0) * steps, 0, side - 1).astype(int)
            columns = np.clip(x0 + (x1 - x0) * steps, 0, side - 1).astype(int)
            out[rows, columns] = rng.random()
    blurred: Floats = ndimage.gaussian_filter(out, rng.uniform(0.3, 1.5))
    return blurred


def _photograph(rng: Random, image: Floats, diameter: float) -> Floats:
    """Light unevenly, blur, add noise, turn dark into bright; bring to 0 to 1."""
    side = image.shape[0]
    light = rng.choice((0.0, 0.1, 0.25))
    image = image * (1 + light * _smooth(rng, side, side / 3))
    image += rng.choice((0.0, 0.3)) * image.std() * _smooth(rng, side, side / 2)
    image = ndimage.gaussian_filter(image, rng.uniform(0.4, 0.4 + 0.05 * diameter))
    low, high = np.percentile(image, (0.5, 99.5))
    image = (image - low) / max(float(high - low), 1e-6)
    grain = rng.choice((0.0, 0.03, 0.08, 0.15), p=(0.3, 0.4, 0.2, 0.1))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < 0.3:  # of several pixels' size, as of enlarged or compressed images
        noise = ndimage.gaussian_filter(noise, 0.8) * 2
    image = image + grain * noise * np.sqrt(np.clip(image, 0.1, 1))
    if rng.random() < 0.5:
        image = 1 - image
    return np.clip(image, -0.1, 1.2).astype(np.float32)


def _colour(rng: Random, grey: Floats, labels: Labels) -> Floats:
    """Turn a grey image into a coloured one (3, H, W), as of a stain or a dye."""
    if rng.random() < 0.25:  # a dye in one channel, another one in another
        out = np.zeros((3, *grey.shape), np.float32)
        out[rng.integers(3)] = grey
        other = rng.integers(3)
        out[other] = np.maximum(out[other], 0.5 * np.clip(_smooth(rng, len(grey), 8), 0, 1))
        return out
    ground, object_ = rng.uniform(0.55, 1, 3), rng.uniform(0, 0.8, 3)
    if rng.random() < 0.3:
        ground, object_ = object_, ground
    out = ground[:, None, None] + (object_ - ground)[:, None, None] * grey
    tint = rng.normal(0, 0.1, (3, 1, 1)) * (labels > 0)
    return (out + tint * rng.random()).astype(np.float32)
