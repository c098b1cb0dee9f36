"""How well labels agree with the truth: Dice, IoU and average precision, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .errors import InputError


@dataclass(frozen=True)
class Matches:
    """Objects of one image counted against the true objects."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 if there is no object on either side."""
        total = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives / total if total else 1.0


def _pair(pred: ArrayLike, true: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = np.asarray(pred), np.asarray(true)
    if first.shape != second.shape:
        raise InputError(
            f"The result has the shape {first.shape} and the truth {second.shape}: they must be "
            "equal. Compare masks of the same image, without a channel axis."
        )
    return first, second


def dice(pred: ArrayLike, true: ArrayLike) -> float:
    """Return the Dice coefficient of two masks; any label above 0 counts as foreground.

    Parameters
    ----------
    pred, true
        Masks or label images of the same shape.

    Returns
    -------
    float
        ``2 |A ∩ B| / (|A| + |B|)``; 1 if both are empty, 0 if only one of them is.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    first, second = (x > 0 for x in _pair(pred, true))
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else 1.0


def iou(pred: ArrayLike, true: ArrayLike) -> float:
    """Return the intersection over union of two masks; any label above 0 counts as foreground.

    Returns
    -------
    float
        ``|A ∩ B| / |A ∪ B|``; 1 if both are empty, 0 if only one of them is.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    first, second = (x > 0 for x in _pair(pred, true))
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def match(pred: ArrayLike, true: ArrayLike, threshold: float = 0.5) -> Matches:
    """Match found to true objects one to one, where their IoU is at least ``threshold``.

    Of all one-to-one matchings one with the most pairs is taken, so the counts do not depend
    on the order of the labels.

    Parameters
    ----------
    pred, true
        Label images of the same shape, 0 background. An object is all pixels of one label.
    threshold
        Smallest IoU that counts as found, above 0 and at most 1.

    Raises
    ------
    InputError
        If the shapes differ or the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"The IoU threshold must lie above 0 and at most at 1, not {threshold}.")
    first, second = _pair(pred, true)
    found, index_found = np.unique(np.where(first > 0, first, 0), return_inverse=True)
    known, index_known = np.unique(np.where(second > 0, second, 0), return_inverse=True)
    # One column or row for the background, even where the image has none.
    row = index_found.ravel() + (0 if found.size and found[0] == 0 else 1)
    column = index_known.ravel() + (0 if known.size and known[0] == 0 else 1)
    n_found, n_known = (int(np.max(x, initial=0)) for x in (row, column))
    if not n_found or not n_known:
        return Matches(0, n_found, n_known)
    code = row.astype(np.int64) * (n_known + 1) + column
    pairs, overlap = np.unique(code, return_counts=True)
    row, column = np.divmod(pairs, n_known + 1)
    area_found = np.bincount(row, weights=overlap)
    area_known = np.bincount(column, weights=overlap)
    both = (row > 0) & (column > 0)
    row, column, overlap = row[both], column[both], overlap[both]
    good = overlap >= threshold * (area_found[row] + area_known[column] - overlap)
    graph = coo_array(
        (np.ones(np.count_nonzero(good)), (row[good] - 1, column[good] - 1)),
        shape=(n_found, n_known),
    ).tocsr()
    matched = int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
    return Matches(matched, n_found - matched, n_known - matched)


def average_precision(pred: ArrayLike, true: ArrayLike, threshold: float = 0.5) -> float:
    """Return TP / (TP + FP + FN) of the objects of one image, as in the DSB 2018 challenge.

    See :func:`match` for the parameters and errors. Without an object on either side it is 1;
    with objects on one side only it is 0.
    """
    return match(pred, true, threshold).average_precision
