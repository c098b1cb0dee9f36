"""What the tests of block-wise segmentation share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.weights import Model


@pytest.fixture(autouse=True)
def needs_zarr() -> None:
    """Skip where OME-Zarr cannot be written."""
    pytest.importorskip("zarr", minversion="3.0")


@pytest.fixture
def blobs() -> Callable[[tuple[int, int], float, int], NDArray[np.float64]]:
    """Return a function that makes blobs of about ``sigma`` pixels, from 0 to 1."""

    def make(shape: tuple[int, int], sigma: float, seed: int) -> NDArray[np.float64]:
        noise = np.random.default_rng(seed).normal(size=shape)
        values = ndimage.gaussian_filter(noise, sigma)
        return np.asarray((values - values.min()) / np.ptp(values))

    return make


@pytest.fixture
def same_labels() -> Callable[[NDArray[Any], NDArray[Any]], bool]:
    """Return a function that tells whether two label images are one up to renumbering."""

    def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
        pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
        zeros = bool(((pairs[0] == 0) == (pairs[1] == 0)).all())
        return zeros and all(len(np.unique(row)) == pairs.shape[1] for row in pairs)

    return same


@pytest.fixture
def lively(tiny_model: Any) -> Any:
    """Return a small random model whose outputs vary as much as a trained one's."""
    network = copy.deepcopy(tiny_model.network)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight *= 2
    card = replace(tiny_model.card, diameter=20, labelling=LabelSettings(min_size=5))
    return Model(network, card)
