"""What was found, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.axes import Stack
from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.events import run
from napari_sa2net.engine.found import objects_text, plane_lengths
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.relabelling import relabel_steps
from napari_sa2net.engine.segmentation import Segmentation, SegmentOptions

CARD = ModelCard(
    name="two kinds",
    num_classes=3,
    classes=(ClassInfo("background"), ClassInfo("myelin"), ClassInfo("axon")),
)


def stack_of(axes: str, shape: tuple[int, ...], **settings: Any) -> Segmentation:
    """Return the labels of two squares, of a class each, that all planes show."""
    share = np.zeros((3, *shape, 20, 20), np.float16)
    share[1, ..., 2:8, 2:8] = share[2, ..., 12:18, 12:18] = 1
    share[0] = 1 - share.sum(axis=0)
    labelling = LabelSettings(split=False, **settings)
    options = SegmentOptions(axes=axes, labelling=labelling)
    planes = tuple(range(int(np.prod(shape))))
    blank = Segmentation(
        np.zeros(share.shape[1:], np.int32), share, None, None, None, {}, axes, CARD, options,
        "cpu", planes, (1.0, 1.0),
    )  # fmt: skip
    return run(relabel_steps(blank, labelling))


@pytest.mark.parametrize(
    ("axes", "shape", "text", "unlinked"),
    [
        ("YX", (), "2 objects (1 myelin, 1 axon)", ""),
        ("ZYX", (1,), "2 objects (1 myelin, 1 axon)", ""),
        ("ZYX", (5,), "10 objects (5 myelin, 5 axon) in 5 planes, not linked through Z", "Z"),
        (
            "TYX",
            (3,),
            "6 objects (3 myelin, 3 axon) in 3 time points, not linked through time",
            "T",
        ),
        (
            "TZYX",
            (2, 3),
            "12 objects (6 myelin, 6 axon) in 2 time points of 3 planes, not linked through time "
            "or Z",
            "TZ",
        ),
    ],
)
def test_the_number_says_on_how_many_planes(
    axes: str, shape: tuple[int, ...], text: str, unlinked: str
) -> None:
    found = stack_of(axes, shape)
    assert (found.text, found.unlinked) == (text, unlinked)


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_the_number_follows_linking(axes: str) -> None:
    loose, letter = stack_of(axes, (5,)), axes[0]
    linked = run(relabel_steps(loose, replace(loose.labelling, link=letter.lower())))
    through = {"Z": "5 planes, linked through Z", "T": "5 time points, linked through time"}
    assert linked.text == f"2 objects (1 myelin, 1 axon) in {through[letter]}"
    assert linked.unlinked == ""
    assert run(relabel_steps(linked, loose.labelling)).text == loose.text


def test_classes_are_named_and_have_no_links() -> None:
    found = stack_of("ZYX", (5,), result="classes", link="z")
    assert (found.text, found.unlinked) == ("2 classes (myelin, axon) in 5 planes", "")


def test_only_planes_that_were_segmented_are_told() -> None:
    assert plane_lengths(Stack("TZYX", (4, 5, 9, 9)), (3, 4)) == {"T": 1, "Z": 2}
    assert plane_lengths(Stack("YX", (9, 9)), (0,)) == {}
    assert objects_text(1, {"T": 1, "Z": 1}, LabelSettings()) == "1 object"
