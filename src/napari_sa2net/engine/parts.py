"""Connected parts of a mask: label, split, fill holes, drop what is small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.int32]

_EIGHT = np.ones((3, 3), dtype=bool)


def label(mask: NDArray[np.bool_]) -> Labels:
    """Number the parts of a mask whose pixels touch by their sides."""
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels


def split_by_seeds(
    mask: NDArray[np.bool_], interior: NDArray[np.float32], seed_threshold: float, seed_size: int
) -> Labels:
    """Grow the seeds inside the mask; parts of the mask without a seed stay whole.

    Only parts with several seeds go through the watershed, which is slow.
    """
    parts = label(mask)
    seeds = label(mask & (interior > seed_threshold))
    seeds = drop_small(seeds, seed_size)
    # Every seed lies in one part, since both are connected by sides.
    part_of = np.zeros(int(seeds.max(initial=0)) + 1, np.int32)
    seeded = seeds > 0
    part_of[seeds[seeded]] = parts[seeded]
    seeds_in = np.bincount(part_of[part_of > 0], minlength=int(parts.max(initial=0)) + 1)
    return _flood(parts, seeds, seeds_in > 1, 1 - interior)


def _flood(
    parts: Labels, seeds: Labels, crowded: NDArray[np.bool_], height: NDArray[np.float32]
) -> Labels:
    """Divide the crowded parts among their seeds by watershed on ``height``.

    Each part is flooded on its own: which of two seeds of one height goes first would otherwise
    depend on what else is in the plane.
    """
    if not crowded.any():
        return parts
    from skimage.segmentation import watershed  # slow to import, and not always needed

    out = parts.copy()
    first = np.int32(parts.max() + 1)
    for number, where in enumerate(ndimage.find_objects(parts), start=1):
        if crowded[number]:
            inside = parts[where] == number
            flooded = watershed(height[where], np.where(inside, seeds[where], 0), mask=inside)
            np.copyto(out[where], flooded.astype(np.int32) + first, where=inside)
    return out


def split_by_distance(parts: Labels, radius: float | None = None) -> Labels:
    """Split parts at their necks: watershed on the distance from the background.

    For models without a boundary class. Two peaks of the distance count as two objects
    when they are farther apart than 1.2 times the median object radius, or than 1.2 times
    ``radius`` if given.
    """
    distance = _distance(parts)
    smooth = ndimage.gaussian_filter(distance, 1.0)
    if radius is None:
        radius = float(np.median(part_radii(parts, distance)))
    reach = split_reach(radius)
    summit = ndimage.maximum_filter(smooth, size=2 * reach + 1)
    seeds = np.empty(parts.shape, np.int32)
    ndimage.label((smooth == summit) & (parts > 0), _EIGHT, output=seeds)
    seeded = seeds > 0
    # Summits of two parts that touch by their corners are two.
    pairs = np.stack([seeds[seeded], parts[seeded]])
    seeds[seeded] = np.unique(pairs, axis=1, return_inverse=True)[1].ravel() + 1
    part_of = np.zeros(int(seeds.max(initial=0)) + 1, np.int32)
    part_of[seeds[seeded]] = parts[seeded]
    seeds_in = np.bincount(part_of[part_of > 0], minlength=int(parts.max()) + 1)
    return _flood(parts, seeds, seeds_in > 1, -smooth)


def split_reach(radius: float) -> int:
    """Return how many pixels apart two peaks of the distance must be to be two objects."""
    return max(1, round(1.2 * radius))


def part_radii(parts: Labels, distance: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return the largest distance from the background in each part 1 … n."""
    if distance is None:
        distance = _distance(parts)
    numbers = np.arange(1, int(parts.max(initial=0)) + 1)
    return np.asarray(ndimage.maximum(distance, parts, numbers), dtype=np.float32)


def _distance(parts: Labels) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = ndimage.distance_transform_edt(parts > 0).astype(np.float32)
    return distance


def drop_small(labels: Labels, min_size: int) -> Labels:
    """Set labels of fewer pixels than ``min_size`` to 0."""
    if min_size <= 1:
        return labels
    sizes = _sizes(labels)
    numbers = np.arange(len(sizes), dtype=np.int32)
    numbers[sizes < min_size] = 0
    return _renumber(labels, numbers)


def fill_holes(labels: Labels) -> Labels:
    """Fill background that is enclosed by one object.

    Background between several objects stays. Much quicker than
    ``scipy.ndimage.binary_fill_holes``, and right for objects that touch.
    """
    holes = np.empty(labels.shape, np.int32)
    count = ndimage.label(labels == 0, _EIGHT, output=holes)
    open_ = np.zeros(count + 1, bool)
    open_[0] = True
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        open_[edge] = True
    if open_.all():
        return labels
    pixels = np.flatnonzero(~open_.take(holes))  # none at the border of the image
    hole = holes.ravel()[pixels]
    lowest = np.full(count + 1, np.iinfo(np.int32).max, np.int32)
    highest = np.zeros(count + 1, np.int32)
    flat = labels.ravel()
    width = labels.shape[1]
    for step in (-1, 1, -width, width):
        neighbour = flat[pixels + step]
        wall = neighbour > 0
        np.minimum.at(lowest, hole[wall], neighbour[wall])
        np.maximum.at(highest, hole[wall], neighbour[wall])
    owner = np.where(lowest == highest, highest, 0)
    filled = labels.copy()
    filled.ravel()[pixels] = owner[hole]
    return filled


def sequential(labels: Labels, min_size: int = 0) -> Labels:
    """Number the labels of ``min_size`` pixels and more 1 … n, keeping their order.

    Those of fewer pixels become 0.
    """
    used = _sizes(labels) >= max(1, min_size)
    numbers = np.zeros(len(used), np.int32)
    numbers[used] = np.arange(1, int(used.sum()) + 1)
    return _renumber(labels, numbers)


def _sizes(labels: Labels) -> NDArray[np.intp]:
    """Return the pixels of each label; 0 for the background, which is not counted."""
    return np.bincount(labels[labels > 0], minlength=1)


def _renumber(labels: Labels, numbers: Labels) -> Labels:
    """Replace each label by its entry in ``numbers``, in a third of the time of indexing."""
    return numbers.take(labels)
