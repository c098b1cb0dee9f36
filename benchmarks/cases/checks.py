"""What every result must be, whatever it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cases.outcomes import Wrong

SMALLEST, LARGEST = 1e-9, 1e9
"""Pixel sizes in µm between which a file must give back what was written."""


def check_segmentation(
    result: Any, shape: tuple[int, ...] | None = None, *, masked: bool = False
) -> None:
    """Check a segmentation; ``shape`` is that of the image, with its channels.

    Of a ``masked`` image there may be pixels of which nothing is known.
    """
    labels = result.labels
    if labels.dtype != np.int32 or labels.ndim != len(result.axes):
        raise Wrong("labels of a wrong kind", f"{labels.dtype} {labels.shape} {result.axes}")
    if labels.min(initial=0) < 0:
        raise Wrong("labels below 0", str(labels.min()))
    if shape is not None:
        check_shape(result, shape)
    check_probabilities(result, masked)
    for name in ("stages", "attention", "disagreement"):
        array = getattr(result, name)
        if (array is not None) != (name in result.options.keep):
            raise Wrong(f"{name} kept or not against what was asked for")
        if array is not None and masked:
            array = np.nan_to_num(array)
        if array is not None and not ((array >= 0) & (array <= 1.001)).all():
            raise Wrong(f"{name} outside of 0 … 1")
        if array is not None and array.shape[-labels.ndim :] != labels.shape:
            raise Wrong(f"{name} of another shape", f"{array.shape}, labels {labels.shape}")
    check_features(result)


def check_shape(result: Any, shape: tuple[int, ...]) -> None:
    """Check that labels have the image's shape without its channels, or the region's."""
    axes = result.options.axes
    expected = dict(zip(axes, shape, strict=True)) if len(axes) == len(shape) else {}
    expected.pop("C", None)
    region = result.options.region
    if expected and region is not None:
        expected.update(Y=region[2] - region[0], X=region[3] - region[1])
    found = dict(zip(result.axes, result.labels.shape, strict=True))
    if found != expected:
        raise Wrong("labels of another shape", f"{found}, expected {expected}, image {shape}")


def check_probabilities(result: Any, masked: bool = False) -> None:
    """Check that the probabilities of each pixel that was segmented sum to 1."""
    found = result.probabilities
    if found is None:
        return
    if found.shape[1:] != result.labels.shape or found.shape[0] != max(2, result.card.num_classes):
        raise Wrong("probabilities of another shape", f"{found.shape}")
    outside = np.isnan(found).all(axis=0) & masked
    if (outside & (result.labels > 0)).any():
        raise Wrong("labels where the image is masked")
    found = np.where(outside, np.float32(1 / len(found)), found)
    if not np.isfinite(found).all():
        raise Wrong("probabilities that are not finite")
    if found.min(initial=0) < 0 or found.max(initial=0) > 1:
        raise Wrong("probabilities outside of 0 … 1", f"{found.min()} … {found.max()}")
    for number in result.planes:
        sums = result.stack.view(found, number).astype(np.float32).sum(axis=0)
        if np.abs(sums - 1).max(initial=0) > 0.01:
            raise Wrong("probabilities that do not sum to 1", f"{sums.min()} … {sums.max()}")


def check_features(result: Any) -> None:
    """Check that the table lists the numbers that there are, with their areas."""
    numbers, areas = np.unique(result.labels[result.labels > 0], return_counts=True)
    features = result.features
    if not np.array_equal(numbers, features["index"]):
        raise Wrong("a table of other numbers", f"{numbers[:9]}, {features['index'][:9]}")
    if not np.array_equal(areas, features["area"]):
        raise Wrong("a table of other areas", f"{areas[:9]}, {features['area'][:9]}")
    classes = features["class"]
    if set(classes) - set(range(1, max(2, result.card.num_classes))):
        raise Wrong("a table of classes that there are not", str(np.unique(classes)))


def check_labels_file(
    path: Path, labels: np.ndarray, axes: str, sizes: dict[str, float] | None = None
) -> None:
    """Check that a file of labels gives back the labels, their axes and the pixel sizes."""
    from napari_sa2net.engine.files import read_image

    image = read_image(path, numbers=True)
    array = np.asarray(image.array)
    order = [axes.index(letter) for letter in _moved(axes)]
    expected = labels.transpose(order)
    # A file may leave out axes of one entry, or have more of them.
    if not np.array_equal(np.squeeze(array), np.squeeze(expected)):
        raise Wrong("a file of other labels", f"{path.name}: {array.shape}, {expected.shape}")
    found = "".join(a for a, n in zip(image.axes, array.shape, strict=True) if n > 1)
    wanted = "".join(a for a, n in zip(_moved(axes), expected.shape, strict=True) if n > 1)
    if found != wanted:
        raise Wrong("a file of other axes", f"{path.name}: {found}, written {wanted}")
    for axis, size in (sizes or {}).items():
        if SMALLEST < size < LARGEST and axis in axes:
            again = image.calibration.get(axis)
            if again is None or not np.isclose(again, size, rtol=1e-3):
                raise Wrong("a file of other pixel sizes", f"{path.name} {axis}: {again}, {size}")


def _moved(axes: str) -> str:
    return "".join(letter for letter in axes if letter not in "YX") + "YX"


def check_table(table: dict[str, Any], result: Any) -> None:
    """Check that a table of measurements has the numbers and areas that there are."""
    if len({len(column) for column in table.values()}) > 1:
        raise Wrong("columns of several lengths", str({k: len(v) for k, v in table.items()}))
    # An object may have a row for each plane.
    numbers, places = np.unique(table["index"], return_inverse=True)
    areas = np.bincount(places, table["area"], len(numbers))
    features = result.features
    if not np.array_equal(numbers, features["index"]) or not np.array_equal(
        areas, features["area"]
    ):
        raise Wrong("a table of other objects", f"{numbers[:9]}, {features['index'][:9]}")
