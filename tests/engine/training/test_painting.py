from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.images import normalize, to_planes
from napari_sa2net.engine.preparation import Preparation
from napari_sa2net.engine.training.losses import IGNORE
from napari_sa2net.engine.training.painting import Annotation, TrainingPair, prepare
from napari_sa2net.engine.training.pieces import (
    components,
    renumbered,
    rescale_labels,
    rescale_weights,
)
from napari_sa2net.engine.training.samples import Sample

PLAIN = ModelCard("plain", num_classes=3, in_channels=1, base_channels=4, diameter=10.0)
NUCLEI = replace(
    PLAIN,
    classes=(
        ClassInfo("background"),
        ClassInfo("nucleus"),
        ClassInfo("boundary", derived=True),
    ),
)


def image(shape: tuple[int, ...] = (40, 60)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 999, shape).astype(np.uint16)


def strokes(shape: tuple[int, ...] = (40, 60)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[..., 5, 5:30] = 1
    labels[..., 20, 5:30] = 2
    return labels


def prepared(
    *pairs: TrainingPair, card: ModelCard = PLAIN, events: list[Event] | None = None
) -> list[Sample]:
    return run(prepare(pairs, card, card.in_channels), None if events is None else events.append)


def pair(labels: Any, *args: Any, picture: Any = None, **kwargs: Any) -> TrainingPair:
    picture = image(np.shape(labels)) if picture is None else picture
    return TrainingPair(picture, Annotation(labels, *args), **kwargs)


class Counting:
    """A huge lazy image that counts the pixels read from it."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim, self.pixels, self.largest = shape, len(shape), 0, 0
        self.planes: set[Any] = set()

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        self.planes |= {part for part in key if isinstance(part, int)}
        sides = [range(*k.indices(n)) for k, n in zip(key[-2:], self.shape[-2:], strict=True)]
        size = len(sides[0]) * len(sides[1])
        self.pixels += size
        self.largest = max(self.largest, size)
        rows, columns = np.meshgrid(*sides, indexing="ij")
        return ((rows * 7 + columns) % 1000).astype(np.uint16)


def test_strokes_become_classes_and_the_rest_is_unknown() -> None:
    (sample,) = prepared(pair(strokes()))
    assert sample.kind == "classes"
    assert (sample.labels[5, 5:30] == 0).all()
    assert (sample.labels[20, 5:30] == 1).all()
    assert sample.counted.sum() == 50
    assert not sample.merged
    assert sample.painted


def test_strokes_on_a_model_with_a_derived_class_are_merged() -> None:
    (sample,) = prepared(pair(strokes()), card=NUCLEI)
    assert sample.merged
    assert sample.kind == "classes"


def test_the_derived_class_is_skipped_when_values_are_counted() -> None:
    classes = (NUCLEI.classes[0], NUCLEI.classes[2], NUCLEI.classes[1])
    (sample,) = prepared(pair(strokes()), card=replace(NUCLEI, classes=classes))
    assert set(np.unique(sample.labels)) == {IGNORE, 0, 2}
    with pytest.raises(InputError, match="value 3 is painted"):
        prepared(pair(strokes() + 1), card=NUCLEI)


def test_a_full_mask_of_classes_becomes_objects_where_boundaries_are_made() -> None:
    mask = np.zeros((40, 60), np.int64)
    mask[5:15, 5:15] = mask[20:30, 5:15] = 1
    (sample,) = prepared(pair(mask, "mask"), card=NUCLEI)
    assert sample.kind == "instances"
    assert sample.labels.max() == 2
    assert sample.counted.all()
    (plain,) = prepared(pair(mask, "mask"))
    assert plain.kind == "classes"
    assert np.array_equal(plain.labels, mask)


def test_instances_are_one_class_and_small_numbers() -> None:
    mask = np.zeros((40, 60), np.int64)
    mask[5:15, 5:15], mask[5:15, 15:25] = 2**30, 7
    (sample,) = prepared(pair(mask, "mask", "instances"), card=NUCLEI)
    assert sorted(np.unique(sample.labels)) == [0, 1, 2]
    assert set(np.unique(sample.painted_classes)) == {0, 1}
    (plain,) = prepared(pair(mask, "mask", "instances"))
    assert plain.labels.max() == 1


def test_instances_of_strokes_begin_at_two() -> None:
    labels = strokes()
    labels[22, 5:30] = 9
    (sample,) = prepared(pair(labels, "strokes", "instances"), card=NUCLEI)
    assert sample.merged
    assert (sample.painted_classes[5, 5:30] == 0).all()
    assert (sample.painted_classes[20:23:2, 5:30] == 1).all()
    assert sample.counted.sum() == 75


def test_preparation_is_that_of_segmenting() -> None:
    picture = image()
    (sample,) = prepared(pair(strokes(), picture=picture, diameter=20.0))
    planes = to_planes(picture, in_channels=1)
    expected = Preparation(planes, PLAIN, (0.5, 0.5)).plane(0)
    assert np.array_equal(sample.image, expected)
    assert sample.labels.shape == (20, 30)
    whole = prepared(pair(strokes(), picture=picture))[0].image
    raw = picture[None].astype(np.float32)
    assert np.array_equal(whole, normalize(raw, PLAIN.normalization))


@pytest.mark.parametrize("zoom", [0.11, 0.3, 0.5, 0.77])
def test_no_painted_pixel_vanishes_when_labels_shrink(zoom: float) -> None:
    labels = np.full((90, 70), IGNORE, np.int32)
    labels[38:52, :] = 0  # a thick stroke with a thin one and a dot in it
    labels[45, 10:60] = 1
    labels[60:88, 33] = 2
    labels[5, 5], labels[41, 66] = 1, 2
    shape = (round(90 * zoom), round(70 * zoom))
    small = rescale_labels(labels, shape)
    for y, x in np.argwhere(labels != IGNORE):
        at = (2 * y + 1) * shape[0] // 180, (2 * x + 1) * shape[1] // 140
        assert small[at] != IGNORE
        near = small[max(0, at[0] - 1) : at[0] + 2, max(0, at[1] - 1) : at[1] + 2]
        assert labels[y, x] in near
    assert (small != IGNORE).sum() <= (labels != IGNORE).sum()


def test_small_objects_of_a_mask_stay_when_it_shrinks() -> None:
    labels = np.zeros((200, 200), np.int32)
    for i in range(81):
        labels[10 + i // 9 * 20, 10 + i % 9 * 20] = i + 1
    assert len(np.unique(rescale_labels(labels, (40, 40)))) == 82


def test_enlarged_labels_and_weights_are_the_nearest() -> None:
    labels = np.array([[0, 1], [IGNORE, 2]], np.int32)
    assert np.array_equal(rescale_labels(labels, (4, 4)), labels.repeat(2, 0).repeat(2, 1))
    weights = np.array([[0, 1], [0.5, 0]], np.float32)
    assert np.array_equal(rescale_weights(weights, (4, 2)), weights.repeat(2, 0))
    assert np.array_equal(rescale_weights(weights, (1, 2)), [[0.5, 1]])


def test_parts_and_numbers_of_instances() -> None:
    classes = np.array([[1, 0, 1], [2, IGNORE, 2]], np.int32)
    instances, lookup = components(classes)
    known = classes != IGNORE
    assert np.array_equal(lookup[instances[known]], classes[known])
    assert instances[1, 1] == IGNORE
    assert len(np.unique(instances)) == 6
    assert np.array_equal(renumbered(np.array([[-1, 0, 2**30]], np.int32)), [[-1, 0, 1]])


def test_what_weighs_nothing_does_not_count() -> None:
    weights = np.ones((40, 60), np.float32)
    weights[:, 20:] = 0
    weights[20] *= 0.3
    (sample,) = prepared(pair(strokes(), "strokes", "classes", weights))
    assert sample.counted.sum() == 30
    assert sample.pixel_weights is not None
    assert sample.pixel_weights[20, 10] == pytest.approx(0.3)
    assert set(np.concatenate(list(sample.places.values())) % 60) == set(range(5, 20))


@pytest.mark.parametrize("meaning", ["strokes", "mask"])
def test_only_painted_planes_of_a_stack_are_read(meaning: str) -> None:
    picture = Counting((2, 5, 40, 60))
    labels = np.zeros((2, 5, 40, 60), np.uint8)
    labels[1, 3] = strokes()
    found = prepared(pair(labels, meaning, picture=picture, axes="TZYX"))
    assert [sample.origin for sample in found] == [(8, 0, 0)]
    assert picture.planes == {1, 3}


def test_a_huge_image_is_read_around_the_strokes_only() -> None:
    side = 20_000
    picture = Counting((side, side))
    labels = Lazy((side, side))
    events: list[Event] = []
    found = prepared(pair(labels, picture=picture), events=events)
    assert picture.pixels < 5e6
    assert picture.largest < 1e6
    assert sum(sample.labels.size for sample in found) < 1e6
    assert sum(int(sample.counted.sum()) for sample in found) == 300
    assert any(isinstance(e, Message) and "estimated" in e.text for e in events)


class Lazy(Counting):
    """A huge annotation with two strokes across the border of two pieces."""

    dtype = np.dtype(np.int32)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        rows, columns = (range(*k.indices(n)) for k, n in zip(key, self.shape, strict=True))
        out = np.zeros((len(rows), len(columns)), np.int32)
        for row, value in ((10_000, 1), (10_010, 2)):
            first, last = max(10_200, columns[0]), min(10_350, columns[-1] + 1)
            if row in rows and first < last:
                out[row - rows[0], first - columns[0] : last - columns[0]] = value
        return out


def test_pieces_share_no_painted_pixel_and_lose_none() -> None:
    rng = np.random.default_rng(2)
    labels = np.zeros((1300, 1500), np.uint8)
    for value in (1, 2):
        labels[rng.integers(0, 1300, 500), rng.integers(0, 1500, 500)] = value
    seen = np.zeros(labels.shape, int)
    picture = image(labels.shape)
    whole = normalize(picture[None].astype(np.float32), PLAIN.normalization)
    for sample in prepared(pair(labels, picture=picture)):
        _, y, x = sample.origin
        h, w = sample.labels.shape
        seen[y : y + h, x : x + w] += sample.counted
        assert np.array_equal(sample.image, whole[:, y : y + h, x : x + w])
    assert np.array_equal(seen, labels > 0)


def test_objects_cut_by_a_piece_keep_what_lies_beyond() -> None:
    mask = np.zeros((1300, 1500), np.int32)
    mask[500:520, 500:530] = 1
    found = prepared(pair(mask, "mask", "instances"), card=NUCLEI)
    total = np.zeros(mask.shape, int)
    for sample in found:
        _, y, x = sample.origin
        h, w = sample.labels.shape
        total[y : y + h, x : x + w] += sample.counted
        assert np.array_equal(sample.labels > 0, mask[y : y + h, x : x + w] > 0)
    assert (total == 1).all()


def test_axes_of_the_annotation_are_those_of_the_image() -> None:
    picture = np.moveaxis(image((3, 40, 60)), 0, -1)
    (sample,) = prepared(pair(strokes(), picture=picture, rgb=True))
    assert sample.labels.shape == (40, 60)
    turned = prepared(pair(strokes().T, picture=image().T, axes="XY"))[0]
    assert np.array_equal(turned.labels, prepared(pair(strokes()))[0].labels)


@pytest.mark.parametrize(
    ("labels", "args", "problem"),
    [
        (np.zeros((40, 60), int), (), "nothing is painted"),
        (np.zeros((40, 60), int), ("mask",), "nothing is painted"),
        (np.full((40, 60), 2), (), "only 'class 1' is painted"),
        (np.full((40, 60), 1), ("mask",), "only 'class 1' is painted"),
        (np.full((40, 60), 1), (), "only 'background' is painted"),
        (strokes()[:-1], (), "shape"),
        (strokes().astype(float), (), "whole numbers"),
        (strokes().astype(int) - 5, (), "below 0"),
        (strokes() * 5, (), "no class for it"),
        (strokes() + 1, ("mask",), "no class for it"),
        (np.full((40, 60), 2**31), ("mask", "instances"), "number the objects anew"),
        (strokes(), ("strokes", "classes", np.ones((4, 4))), "weights has the shape"),
        (strokes(), ("strokes", "classes", np.full((40, 60), np.nan)), "finite"),
        (strokes(), ("strokes", "classes", np.zeros((40, 60))), "nothing is painted"),
    ],
)
def test_bad_paintings_are_explained(labels: Any, args: tuple[Any, ...], problem: str) -> None:
    if problem == "no class for it" and args:
        labels = labels * 2
    with pytest.raises(InputError, match=problem) as error:
        prepared(pair(labels, *args, picture=image(), name="cells.tif"))
    assert "cells.tif" in str(error.value)


def test_other_bad_pairs_are_explained() -> None:
    with pytest.raises(InputError, match="no image"):
        prepared()
    with pytest.raises(InputError, match="no plane 3"):
        prepared(pair(strokes(), planes=[3]))
    with pytest.raises(InputError, match=r"Image 1.*channels"):
        prepared(pair(strokes(), picture=image((2, 40, 60))))


def test_an_unpainted_image_among_painted_ones_is_left_out_and_said() -> None:
    events: list[Event] = []
    empty = pair(np.zeros((40, 60), int), name="empty.tif")
    found = prepared(pair(strokes()), empty, events=events)
    assert [sample.pair for sample in found] == [0]
    assert any(isinstance(e, Message) and "empty.tif" in e.text and e.warning for e in events)


def test_an_empty_mask_counts_if_its_plane_is_named() -> None:
    mask = np.zeros((2, 40, 60), int)
    mask[0, 5:9, 5:9] = 1
    assert len(prepared(pair(mask, "mask", axes="ZYX"))) == 1
    assert len(prepared(pair(mask, "mask", axes="ZYX", planes=[0, 1]))) == 2


def test_too_much_painting_is_thinned_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sa2net.engine.training import painting

    monkeypatch.setattr(painting, "_MOST", 3000)
    events: list[Event] = []
    found = prepared(pair(strokes()), pair(strokes()), pair(strokes()), events=events)
    assert len(found) == 1
    assert any(isinstance(e, Message) and "memory" in e.text for e in events)


def test_a_rare_class_is_not_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_sa2net.engine.training import painting

    monkeypatch.setattr(painting, "_MOST", 5000)
    background = np.minimum(strokes(), 1)
    found = prepared(*[pair(background) for _ in range(8)], pair(strokes()))
    assert len(found) == 2
    assert {k for sample in found for k in sample.places} == {0, 1}


@pytest.mark.parametrize("where", ["image", "annotation"])
@pytest.mark.parametrize("meaning", ["strokes", "mask"])
@pytest.mark.parametrize("card", [PLAIN, NUCLEI], ids=["plain", "nuclei"])
def test_what_is_masked_is_not_trained_on(where: str, meaning: Any, card: ModelCard) -> None:
    outside = np.zeros((40, 60), bool)
    outside[:, 20:] = True
    picture, labels = image(), strokes()
    if meaning == "mask":
        labels = np.where(np.arange(60) % 10 < 5, 1, 0)[None].repeat(40, 0).astype(np.uint8)
    clean = picture.copy()
    picture[outside] = 65_000
    hidden = labels.copy()
    hidden[outside] = 200
    if where == "image":
        given = pair(labels, meaning, picture=np.ma.masked_array(picture, outside))
    else:
        given = pair(np.ma.masked_array(hidden, outside), meaning, picture=clean)
    (sample,) = prepared(given, card=card)
    counted = sample.labels != IGNORE
    if sample.pixel_weights is not None:
        counted &= sample.pixel_weights > 0
    wide = counted.shape[1] / 60
    assert counted[:, : int(19 * wide)].any()
    assert not counted[:, int(21 * wide) :].any()
    if where == "image":  # nor has it a part in what is bright and dark
        left = sample.image[:, :, : int(19 * wide)]
        assert np.ptp(left) > 0.9


def test_annotations_of_unknown_size_are_measured() -> None:
    dask = pytest.importorskip("dask.array")
    chosen = np.arange(4) % 2 == 0
    unknown = dask.from_array(chosen)
    pictures = dask.from_array(image((4, 40, 60)), chunks=(1, 40, 60))
    labels = dask.from_array(strokes((4, 40, 60)), chunks=(1, 40, 60))
    for of_labels, of_picture in ((chosen, unknown), (unknown, chosen)):
        given = pair(labels[of_labels], picture=pictures[of_picture], axes="ZYX")
        assert len(prepared(given)) == 2
