"""A region segmented alone is what it would be in the whole image."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_sa2net.engine import region as regional
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Message, run
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.inference import SegmentOptions, segment
from napari_sa2net.engine.measuring.objects import channels_of, objects_of
from napari_sa2net.engine.measuring.outlines import plane_outlines
from napari_sa2net.engine.measuring.table import measure
from napari_sa2net.engine.prediction import Predictor
from napari_sa2net.engine.relabelling import relabel
from napari_sa2net.engine.weights import Model

SMALL = SegmentOptions(device="cpu", tile=64, discard=16, blend=16, keep={"stages", "attention"})
REGION = (50, 70, 110, 141)
INSIDE = (slice(50, 110), slice(70, 141))


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """Return an RGB image (150, 170) whose corner is much brighter than the region."""
    noise = np.random.default_rng(0).normal(size=(150, 170, 3))
    values = ndimage.gaussian_filter(noise, (3, 3, 0))
    values = (values - values.min()) / np.ptp(values) * 150
    values[:30, :30] += 100
    return values.astype(np.uint8)


@pytest.fixture
def model(tiny_model: Any) -> Model:
    """Return a small random model whose outputs vary as much as a trained one's."""
    network = copy.deepcopy(tiny_model.network)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight *= 2
    return Model(network, replace(tiny_model.card, diameter=20))


class Watched:
    """A lazy array that notes what is read of it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim = array.ndim
        self.read: list[tuple[Any, ...]] = []

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        self.read.append(key)
        return self.array[key]


@pytest.mark.parametrize("diameter", [None, 30, 14])
def test_maps_are_those_of_the_whole_image(
    image: NDArray[np.uint8], model: Model, diameter: float | None
) -> None:
    options = replace(SMALL, diameter=diameter)
    whole = run(segment(image, model, options))
    part = run(segment(image, model, replace(options, region=REGION)))
    assert part.labels.shape == (60, 71)
    for name in ("probabilities", "stages", "attention"):
        expected = getattr(whole, name)[:, *INSIDE].astype(np.float32)
        found = getattr(part, name).astype(np.float32)
        np.testing.assert_allclose(found, expected, atol=2e-3, err_msg=name)
    # So are the labels of objects that the region does not cut.
    before, after = whole.labels[INSIDE], part.labels
    cut = set(np.concatenate([before[0], before[-1], before[:, 0], before[:, -1]]))
    numbers = set(np.unique(before)) - cut - {0}
    if diameter is None:
        assert numbers
        for number in numbers:
            (same,) = np.unique(after[before == number])
            np.testing.assert_array_equal(after == same, before == number)


@pytest.mark.parametrize("method", ["minmax", "scale", "none"])
def test_every_normalisation_is_that_of_the_whole_image(
    image: NDArray[np.uint8], model: Model, method: Any
) -> None:
    values = image.astype(np.float32) * (3 if method == "scale" else 0.01)
    model = Model(model.network, replace(model.card, normalization=Normalization(method)))
    whole = run(segment(values, model, SMALL)).probabilities
    part = run(segment(values, model, replace(SMALL, region=REGION))).probabilities
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part, whole[:, *INSIDE])


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-9])
def test_small_values_keep_their_contrast_in_a_region_too(
    image: NDArray[np.uint8], model: Model, scale: float
) -> None:
    values = image.astype(np.float64) / 255 * scale
    whole = run(segment(values, model, SMALL)).probabilities
    part = run(segment(values, model, replace(SMALL, region=REGION))).probabilities
    assert whole is not None
    assert part is not None
    np.testing.assert_allclose(part, whole[:, *INSIDE], atol=2e-3)
    assert part[0].std() > 0.01


def test_stacks_have_the_region_in_each_plane(image: NDArray[np.uint8], model: Model) -> None:
    stack = np.stack([image, image[::-1] // 2, image[:, ::-1]]).swapaxes(1, 2)
    options = replace(SMALL, axes="ZXYC", rgb=True, planes=(0, 2), region=REGION)
    part = run(segment(stack, model, options))
    assert (part.axes, part.labels.shape) == ("ZXY", (3, 71, 60))
    assert not part.labels[1].any()
    whole = run(segment(stack, model, replace(options, region=None)))
    assert part.probabilities is not None
    assert whole.probabilities is not None
    inside = (slice(None), slice(None), INSIDE[1], INSIDE[0])
    np.testing.assert_array_equal(part.probabilities, whole.probabilities[inside])
    again = relabel(part, replace(part.labelling, threshold=0.9), plane=2)
    assert again.shape == (60, 71)


def test_only_the_tiles_of_the_region_are_computed_and_read(
    image: NDArray[np.uint8], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    original = Predictor.start

    def start(self: Predictor, x: Any, corner: Any, tiles: Any) -> Any:
        counts.append(len(tiles))
        return original(self, x, corner, tiles)

    monkeypatch.setattr(Predictor, "start", start)
    monkeypatch.setattr(regional, "WHOLE", 1000)
    watched = Watched(image)
    monkeypatch.setattr("napari_sa2net.engine.preparation._SIDE", 8)
    events: list[Any] = []
    options = replace(SMALL, keep=frozenset(), axes="YXC", rgb=True, region=(60, 80, 70, 90))
    run(segment(watched, model, options), events.append)
    # Of 90 tiles that start every 16 pixels or less.
    assert 4 <= sum(counts) <= 9
    large = [k for k in watched.read if k[0].stop - k[0].start > 8]
    (key,) = large
    assert key[0].start > 0
    assert key[0].stop - key[0].start <= 96
    assert key[1].stop - key[1].start <= 112
    assert any(e.text == regional.SAMPLED for e in events if isinstance(e, Message))


def test_memory_that_runs_out_does_not_change_what_is_covered(
    image: NDArray[np.uint8], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With smaller tiles other parts of the image are needed: they are read again."""
    original = Predictor.start
    options = replace(SMALL, tile=128, keep=frozenset(), region=REGION)
    fails = iter([False, True])

    def start(self: Predictor, x: Any, corner: Any, tiles: Any) -> Any:
        return (lambda: None) if next(fails, False) else original(self, x, corner, tiles)

    monkeypatch.setattr(Predictor, "start", start)
    part = run(segment(image, model, options)).probabilities
    assert part is not None
    np.testing.assert_allclose(part.sum(axis=0), 1, atol=0.01)


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ((0, 0, 151, 20), "does not lie in the image, which has 150 rows and 170 columns"),
        ((160, 0, 170, 20), "does not lie in the image"),
        ((10, 10, 10, 20), "first row, first column"),
        ((-1, 0, 10, 10), "first row, first column"),
        ((1, 2, 3), "first row, first column"),
        ("left", "whole numbers"),
    ],
)
def test_a_region_that_is_none_is_explained(
    image: NDArray[np.uint8], model: Model, region: Any, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        run(segment(image, model, SegmentOptions(device="cpu", region=region)))


def test_places_are_told_in_the_whole_image(image: NDArray[np.uint8], model: Model) -> None:
    part = run(segment(image, model, replace(SMALL, keep=frozenset(), region=REGION)))
    objects = objects_of(part)
    channels = channels_of(image, "YXC", rgb=True, region=REGION)
    table = run(measure(objects, channels))
    whole = np.zeros(image.shape[:2], np.int32)
    whole[INSIDE] = part.labels
    number = int(table["index"][0])
    rows, columns = np.nonzero(whole == number)
    assert table["centroid_y_px"][0] == pytest.approx(rows.mean())
    assert (table["bbox_x0_px"][0], table["bbox_x1_px"][0]) == (columns.min(), columns.max() + 1)
    red = image[whole == number][:, 0]
    assert table["intensity_mean_red"][0] == pytest.approx(red.mean())
    outline = next(o for o in plane_outlines(objects, 0) if o.number == number)
    corners = np.array([corner for ring in outline.polygons[0][:1] for corner in ring])
    assert tuple(corners.min(axis=0)) == (columns.min(), rows.min())
