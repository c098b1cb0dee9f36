"""Holding out whole blocks of what is painted, to see whether training made a model better."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .losses import IGNORE
from .pieces import rarest_first
from .samples import Sample

BLOCK = 64
"""Side of a block in pixels at working scale.

Blocks lie on one grid over an image, however it was cut into samples and painted on, and go
through all its planes.
"""

GAP = 16
"""What is painted within so many pixels of a held-out block is used for neither side."""

CONTEXT = 32
"""Pixels around a block that the network sees, unlabelled."""

_LEAST = 8
"""Pixels of background and of objects below which a comparison says nothing."""

_MOST = 64
"""Blocks that are held out at most: more take long to score and tell little more."""

_TRIES = 12

_Block = tuple[int, int, int]
"""Image, row and column of a block in the grid over its planes at working scale.

It is one through all planes: what lies above each other in neighbouring ones is much the same.
"""


@dataclass(frozen=True)
class Split:
    """Samples to train on, and others to validate on that share no pixel with them."""

    train: list[Sample]
    validation: list[Sample]
    """One sample for each painted plane of a block, in random order, with some of its
    surroundings unlabelled around it. Empty if there is too little to hold out."""
    reason: str = ""
    """Why nothing, or not every class, is held out; for a person."""
    pixels: dict[str, int] = field(default_factory=dict)
    """Painted pixels at working scale that are used in ``train``, in ``validation`` or ``left
    out``, and the number of validation samples, as ``blocks``."""


def split(samples: Sequence[Sample], share: float = 0.2, seed: int = 0) -> Split:
    """Hold out whole blocks of painted pixels.

    Parameters
    ----------
    samples
        As :func:`prepare` makes them.
    share
        Of each class' painted pixels that is held out, about. 0: none.
    seed
        Which blocks are chosen. A few choices are tried, and the one that holds out what was
        asked for and leaves most to train on is taken.

    Returns
    -------
    Split
        Every class stays in ``train``. Without any validation the ``train`` samples are those
        given, and ``reason`` says why.
    """
    inside = [_by_block(sample) for sample in samples]
    blocks, size = _painted_blocks(inside)
    total = np.sum(list(blocks.values()), axis=0) if blocks else np.zeros(size, np.int64)
    nothing = Split(list(samples), [], "", {"train": int(total.sum()), "validation": 0,
                                            "left out": 0, "blocks": 0})  # fmt: skip
    if share <= 0:
        return replace(nothing, reason="No part of the painting was to be held out.")
    rng = np.random.default_rng(seed)
    best: tuple[float, set[_Block]] | None = None
    for _ in range(_TRIES):
        held = _choose(blocks, total, share, rng)
        kept = np.sum([found.left(held, size) for found in inside], axis=0)
        value = _value(np.sum([blocks[key] for key in held], axis=0), kept, total, share)
        if held and value is not None and (best is None or value > best[0]):
            best = value, held
    if best is None:
        return replace(
            nothing,
            reason="Too little is painted, or too close together, to hold a part of it out: "
            "paint in more places, background and objects in each.",
        )
    train = [_without(sample, best[1]) for sample in samples]
    train = [sample for sample in train if sample.counted.any()]
    chosen = sorted(best[1])
    found = [
        sample
        for i in rng.permutation(len(chosen))
        for whole in samples
        if (sample := _only(whole, chosen[i])) is not None
    ]
    validation = [found[i] for i in _of_each_class(found, _MOST)]
    out = np.sum([_counts(sample, size) for sample in validation], axis=0)
    missing = np.flatnonzero((total > 0) & (out == 0))
    left = sum(int(sample.counted.sum()) for sample in train)
    return Split(
        train,
        validation,
        f"Of {len(missing)} class(es) too little is painted to hold some out." * bool(len(missing)),
        {
            "train": left,
            "validation": int(np.sum(out)),
            "left out": int(total.sum() - np.sum(out)) - left,
            "blocks": len(validation),
        },
    )


def regions(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return painted blocks with what lies around them, as :func:`split` holds them out.

    Parameters
    ----------
    samples
        As :func:`prepare` makes them.
    most
        Blocks at most. They are drawn by chance, for the classes in turn, the rarest first.
    """
    keys = sorted(_painted_blocks([_by_block(sample) for sample in samples])[0])
    order = np.random.default_rng(0).permutation(len(keys))
    pieces = (_only(sample, keys[i]) for i in order for sample in samples)
    found = [sample for sample in pieces if sample is not None]
    return [found[i] for i in _of_each_class(found, most)]


def _of_each_class(samples: Sequence[Sample], most: int) -> list[int]:
    """Return the numbers of as many samples as are wanted, in their order."""
    painted = [set(map(int, np.unique(s.painted_classes))) - {IGNORE} for s in samples]
    return sorted(rarest_first(painted)[:most])


def _counts(sample: Sample, size: int) -> NDArray[np.int64]:
    """Return the painted pixels of each class."""
    classes = sample.painted_classes
    return np.bincount(classes[classes != IGNORE].astype(np.int64), minlength=size)


def _painted_blocks(
    inside: Sequence[_ByBlock],
) -> tuple[dict[_Block, NDArray[np.int64]], int]:
    """Return the painted pixels of each class in each block, and the number of classes."""
    blocks: dict[_Block, NDArray[np.int64]] = {}
    size = 1 + max((k for found in inside for k in found.classes), default=0)
    for found in inside:
        for key, counts in found.counts(size).items():
            blocks[key] = blocks[key] + counts if key in blocks else counts
    return blocks, size


@dataclass(frozen=True)
class _ByBlock:
    """A sample's painted pixels: class, and row and column in the plane."""

    sample: Sample
    classes: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def counts(self, size: int) -> dict[_Block, NDArray[np.int64]]:
        """Return the pixels of each class in each block."""
        if not len(self.classes):
            return {}
        y, x = self.rows // BLOCK, self.columns // BLOCK
        wide = int(x.max()) + 1
        cells, cell = np.unique(y * wide + x, return_inverse=True)
        table = np.bincount(cell * size + self.classes, minlength=len(cells) * size)
        return {
            (self.sample.pair, int(c) // wide, int(c) % wide): counts
            for c, counts in zip(cells, table.reshape(len(cells), size), strict=True)
        }

    def left(self, held: set[_Block], size: int) -> NDArray[np.int64]:
        """Return the pixels of each class that are not within :data:`GAP` of a held-out block."""
        near = _near(self.sample, held)
        _, top, first = self.sample.origin
        free = ~near[self.rows - top, self.columns - first]
        return np.bincount(self.classes[free], minlength=size)


def _by_block(sample: Sample) -> _ByBlock:
    classes = sample.painted_classes
    rows, columns = np.nonzero(classes != IGNORE)
    _, top, first = sample.origin
    return _ByBlock(sample, classes[rows, columns], rows + top, columns + first)


def _choose(
    blocks: dict[_Block, NDArray[np.int64]],
    total: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> set[_Block]:
    """Draw blocks until about ``share`` of each class is held out, the rarest class first."""
    keys = sorted(blocks)
    order = [keys[i] for i in rng.permutation(len(keys))]
    held: dict[_Block, None] = {}
    sums = np.zeros_like(total)
    most: dict[int, int] = defaultdict(lambda: _MOST)
    known = [int(k) for k in np.argsort(total) if total[k]]
    for place, k in enumerate(known, 1):
        most[k] = max(1, _MOST * place // len(known))
        for key in order:
            enough = sums[k] >= 0.8 * share * total[k]
            if enough or len(held) >= most[k]:
                break
            counts = blocks[key]
            # Never most of a class in one go.
            if key in held or not counts[k] or (sums + counts > 0.5 * total)[total > 0].any():
                continue
            held[key] = None
            sums = sums + counts
    return set(held)


def _value(
    held: NDArray[np.int64] | float,
    kept: NDArray[np.int64],
    total: NDArray[np.int64],
    share: float,
) -> float | None:
    """Return how good a choice of blocks is; None if it cannot be used."""
    held = np.broadcast_to(np.asarray(held), total.shape)
    known = total > 0
    if held[0] < _LEAST or held[1:].sum() < _LEAST or (kept[known] == 0).any():
        return None
    short = np.clip(1 - held[known] / (share * total[known]), 0, 1)
    missing = (held[known] == 0).sum()
    return float((kept[known] / total[known]).min() - short.mean() - 2 * missing)


def _corner(sample: Sample, key: _Block) -> tuple[int, int]:
    """Return where a block begins in the sample, which may be outside of it."""
    return key[1] * BLOCK - sample.origin[1], key[2] * BLOCK - sample.origin[2]


def _near(sample: Sample, held: set[_Block]) -> NDArray[np.bool_]:
    """Return (H, W): what lies in held-out blocks or within :data:`GAP` of them."""
    out = np.zeros(sample.labels.shape, bool)
    for key in held:
        if key[0] == sample.pair:
            y, x = _corner(sample, key)
            rows = slice(max(0, y - GAP), max(0, y + BLOCK + GAP))
            out[rows, max(0, x - GAP) : max(0, x + BLOCK + GAP)] = True
    return out


def _without(sample: Sample, held: set[_Block]) -> Sample:
    near = _near(sample, held)
    return replace(sample, labels=np.where(near, np.int32(IGNORE), sample.labels))


def _only(sample: Sample, key: _Block) -> Sample | None:
    """Return a block of a sample with what lies around it; None if nothing counts in it."""
    if key[0] != sample.pair:
        return None
    corner = _corner(sample, key)
    own, window = [], []
    for start, length in zip(corner, sample.labels.shape, strict=True):
        if start + BLOCK <= 0 or start >= length:
            return None
        own.append(slice(max(0, start), min(length, start + BLOCK)))
        # At the border of the image the window is moved inwards, so that all are of one size.
        side = min(length, BLOCK + 2 * CONTEXT)
        first = min(max(0, start - CONTEXT), length - side)
        window.append(slice(first, first + side))
    at = (window[0], window[1])
    weights = None if sample.pixel_weights is None else sample.pixel_weights[at].copy()
    inside = np.zeros(sample.labels.shape, bool)
    inside[own[0], own[1]] = True
    labels = np.where(inside, sample.labels, np.int32(IGNORE))[at]
    plane, top, first = sample.origin
    out = replace(
        sample,
        image=np.ascontiguousarray(sample.image[(slice(None), *at)]),
        labels=labels,
        pixel_weights=weights,
        origin=(plane, top + at[0].start, first + at[1].start),
    )
    return out if out.counted.any() else None
