"""The parts of the benchmarks of fine-tuning, on small made-up images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.io import imsave

pytest.importorskip("sklearn", reason="needs the extra “benchmarks”")


def rings(side: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of discs with rings around them, and its classes: 1 rings, 2 discs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    classes = np.zeros((side, side), np.uint8)
    for top in range(32, side, 64):
        for left in range(32, side, 64):
            distance = np.hypot(y - top, x - left)
            classes[distance < 20] = 1
            classes[distance < 14] = 2
    image = np.choose(classes, [60.0, 160.0, 230.0]) + rng.normal(0, 8, classes.shape)
    return image.clip(0, 255).astype(np.float32), classes


def agree(annotator: Any) -> bool:
    """Tell whether every painted pixel has its true class."""
    painted = annotator.painting > 0
    truth = annotator.truth.classes[painted]
    return bool((annotator.painting[painted] == truth + 1).all())


@pytest.mark.parametrize("seed", range(3))
def test_strokes_stay_on_their_class_and_within_the_budget(bench: Any, seed: int) -> None:
    image, classes = rings()
    objects = ndimage.label(classes > 0)[0].astype(np.int32)
    field = bench("fields").Field("rings", image, classes, objects)
    annotator = bench("annotator").Annotator(field, np.random.default_rng(seed), rounds=4)
    annotator.first(3)
    assert agree(annotator)
    assert set(np.unique(annotator.painting)) == {0, 1, 2, 3}
    for turn in (2, 3, 4):
        before, painted = annotator.strokes, annotator.painted
        annotator.correct(np.roll(classes, 9, axis=1), 4, turn)
        assert agree(annotator)
        assert before < annotator.strokes <= before + 4
        assert annotator.painted > painted
    assert annotator.painted < 0.01 * classes.size


def test_the_same_seed_paints_the_same(bench: Any) -> None:
    image, classes = rings()
    field = bench("fields").Field("rings", image, classes)
    made = []
    for seed in (1, 1, 2):
        annotator = bench("annotator").Annotator(field, np.random.default_rng(seed))
        annotator.first(2)
        made.append(annotator.painting)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_corrections_go_to_the_largest_error(bench: Any) -> None:
    image, classes = rings()
    field = bench("fields").Field("rings", image, classes)
    annotator = bench("annotator").Annotator(field, np.random.default_rng(0))
    predicted = classes.copy()
    predicted[84:108, 84:108] = 0  # a whole disc was missed
    predicted[200:203, 200:203] = 0
    annotator.correct(predicted, 1, 1)
    found = np.argwhere(annotator.painting > 0)
    assert agree(annotator)
    assert len(found) > 10
    assert (np.abs(found - 96) < 20).all()
    assert set(annotator.painting[annotator.painting > 0]) == {3}


def test_a_look_where_nothing_is_wrong_confirms_what_is_seen(bench: Any) -> None:
    image, classes = rings()
    field = bench("fields").Field("rings", image, classes)
    annotator = bench("annotator").Annotator(field, np.random.default_rng(0))
    view = np.zeros(classes.shape, bool)
    view[:64, :64] = True
    annotator.look(classes, view, 1, 1)
    assert annotator.strokes == 1
    assert agree(annotator)
    assert not annotator.painting[~view].any()


def test_the_forest_learns_from_strokes(bench: Any) -> None:
    image, classes = rings(128)
    fields = bench("fields")
    field = fields.Field("rings", image, classes)
    annotator = bench("annotator").Annotator(field, np.random.default_rng(0))
    annotator.first(3)
    forest = bench("random_forest").fit([field], [annotator.painting], 0)
    found = bench("random_forest").predict(forest, field)
    assert found.shape == classes.shape
    assert fields.dice(found, field, 3) > 0.8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a data set of four images."""
    image, classes = rings()
    for folder in ("images", "masks"):
        (tmp_path / "rings" / folder).mkdir(parents=True)
    for name in ("a1", "a2", "a3", "b1"):
        imsave(tmp_path / "rings" / "images" / f"{name}.png", image.astype(np.uint8))
        objects = ndimage.label(classes > 0)[0].astype(np.uint16)
        imsave(tmp_path / "rings" / "masks" / f"{name}.png", objects, check_contrast=False)
    return tmp_path


def setup(bench: Any) -> Any:
    """Return how the made-up data set is trained on: two steps a round."""
    data_set = bench("fields").DataSet(
        "rings",
        ("background", "cell"),
        ("#000000", "#e69f00"),
        instances=True,
        painted=("a1", "a2", "a3"),
        never=("a",),
        margin=0.25,
    )
    protocol = bench("protocol")
    settings = protocol.FineTuneSettings(
        budget="steps", steps=2, batch=1, patch=32, augmentation="none", statistics="batch"
    )
    return protocol.Setup(data_set, "nuclei", settings)


def test_rounds_of_strokes_end_to_end(
    bench: Any, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, benchmark = setup(bench), bench("fine_tuning")
    rows = benchmark.one_seed(data, chosen, 0, 10.0, 2, seed=0)
    assert [row["round"] for row in rows] == [1, 2]
    assert [row["steps"] for row in rows] == [2, 4]
    assert 0 < rows[0]["painted"] < rows[1]["painted"]
    assert rows[1]["share"] < 0.01
    assert all(0 <= row[name] <= 1 for row in rows for name in ("dice", "forest"))
    top = benchmark.ceiling(data, chosen, 0, 10.0)
    benchmark.show(chosen, [rows], top, benchmark.bundled(data, chosen, 0))
    assert "of the ceiling" in capsys.readouterr().out


def test_where_next_and_chance_get_the_same_number_of_strokes(bench: Any, data: Path) -> None:
    found = bench("where_next").one_seed(data, setup(bench), 0, 10.0, 2, 2, seed=0)
    counts = {arm: [row["strokes"] for row in rows] for arm, rows in found.items()}
    assert len(counts) == 2
    assert counts["where next"] == counts["random"]


def test_what_was_measured_is_not_measured_again(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = bench("records")
    monkeypatch.setattr(records, "_begin", lambda places: None)
    calls: list[int] = []

    def measure(value: int) -> int:
        calls.append(value)
        return 2 * value

    first = records.Records(tmp_path / "out.json")
    first.measure([("one", measure, (1,))], 1)
    again = records.Records(tmp_path / "out.json")
    again.measure([("one", measure, (1,)), ("two", measure, (2,))], 1)
    assert again.values == {"one": 2, "two": 4}
    assert calls == [1, 2]
