"""What people use today: a random forest on filtered copies of the image, from the same strokes.

As in scikit-image's and napari's tutorials: ``multiscale_basic_features`` with intensity, edges
and texture at sigma 1 to 16, and scikit-learn's ``RandomForestClassifier(100)``.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from fields import Field
from napari_sa2net.engine.images import Normalization, normalize

JOBS = 2

_known: weakref.WeakKeyDictionary[Field, NDArray[np.float32]] = weakref.WeakKeyDictionary()


def features(field: Field) -> NDArray[np.float32]:
    """Return (H, W, 20) features of the image, normalised as it is for the network."""
    if field not in _known:
        image = normalize(field.image[None], Normalization())[0]
        found = multiscale_basic_features(
            image,
            intensity=True,
            edges=True,
            texture=True,
            sigma_min=1,
            sigma_max=16,
        )
        _known[field] = np.asarray(found, np.float32)
    return _known[field]


def fit(
    fields: Sequence[Field], paintings: Sequence[NDArray[np.integer]], seed: int
) -> RandomForestClassifier:
    """Train a forest on the painted pixels of all fields together."""
    pairs = list(zip(fields, paintings, strict=True))
    x = np.concatenate([features(field)[painting > 0] for field, painting in pairs])
    y = np.concatenate([painting[painting > 0] - 1 for _, painting in pairs])
    return RandomForestClassifier(100, n_jobs=JOBS, random_state=seed).fit(x, y)


def predict(forest: RandomForestClassifier, field: Field) -> NDArray[np.uint8]:
    """Return (H, W) class numbers."""
    values = features(field)
    found = forest.predict(values.reshape(-1, values.shape[-1]))
    return np.asarray(found, np.uint8).reshape(values.shape[:2])
