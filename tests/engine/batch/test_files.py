"""Many files: what is written, skipped, refused, and goes on after a failure or a crash."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.batch import files as batch_files
from napari_sa2net.engine.batch.files import Batch, BatchResult, FileEnded, segment_files
from napari_sa2net.engine.batch.record import read_record, record_of
from napari_sa2net.engine.errors import InputError, SA2NetError
from napari_sa2net.engine.events import Event, Message, Progress, run
from napari_sa2net.engine.files import read_image, write_image, write_labels
from napari_sa2net.engine.images import to_planes
from napari_sa2net.engine.instances import features, label_plane
from napari_sa2net.engine.model_files import Model, model_digest
from napari_sa2net.engine.segmentation import Segmentation, SegmentOptions

IMAGE = np.random.default_rng(0).integers(0, 40, (2, 40, 48), dtype=np.uint8)
IMAGE[0, 4:14, 4:14] += 200
IMAGE[0, 20:30, 8:20] += 180
IMAGE[0, 24:27, 12:15] = 30  # a hole
IMAGE[0, 10:16, 30:40] += 190


def by_brightness(image: Any, model: Model, options: SegmentOptions) -> Any:
    """Segment without a network: a pixel's value / 255 is its probability."""
    planes = to_planes(image, options.axes, options.channels)
    bright = (planes.read(0)[0] / 255).astype(np.float16)
    probabilities = np.stack([1 - bright, bright, 0 * bright])
    settings = options.labelling or model.card.labelling
    labels = label_plane(probabilities, settings, derived=(2,))
    yield Progress(1, 1, "tile")
    return Segmentation(
        labels, None, None, None, bright if "disagreement" in options.keep else None,
        features(labels, probabilities, derived=(2,)), "YX", model.card,
        replace(options, labelling=settings), "cpu", (0,), (1.0, 1.0),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_network_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put brightness in the place of the network; the command line's tests run the real one."""
    monkeypatch.setattr(batch_files.inference, "segment", by_brightness)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of two images of two channels with pixels of half a micrometre."""
    for name in ("a", "b"):
        sizes = {"Y": 0.5, "X": 0.5}
        write_image(tmp_path / "in" / f"{name}.ome.tif", IMAGE, "CYX", sizes,
                    channel_names=("DAPI", "actin"))  # fmt: skip
    return tmp_path / "in"


@pytest.fixture
def go(pictures: Path, tmp_path: Path, tiny_model: Model) -> Callable[..., BatchResult]:
    """Return a function that segments the pictures into the folder ``out``."""

    def work(
        on_event: Any = None,
        *,
        model: Model = tiny_model,
        save: tuple[str, ...] = (),
        existing: Any = "resume",
        **options: Any,
    ) -> BatchResult:
        options = {"channels": (0,), "device": "cpu", "threshold": 0.5, **options}
        batch = Batch(tmp_path / "out", save, existing, options)
        return run(segment_files([pictures], model, batch), on_event)

    return work


def names(result: BatchResult) -> tuple[list[str], list[str], list[str]]:
    """Return the names of the files that were done, skipped and failed."""
    return (
        [path.name for path in result.done],
        [path.name for path in result.skipped],
        [path.name for path, _ in result.failed],
    )


BOTH = ["a.ome.tif", "b.ome.tif"]


def test_labels_measurements_and_outlines_belong_together(
    go: Callable[..., BatchResult], tmp_path: Path
) -> None:
    events: list[Event] = []
    assert names(go(events.append, save=("table", "geojson", "disagreement"))) == (BOTH, [], [])
    labels = np.asarray(read_image(tmp_path / "out" / "a_labels.ome.tif").array)
    numbers = [int(n) for n in np.unique(labels) if n]
    with (tmp_path / "out" / "a_table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == numbers
    assert {row["class_name"] for row in rows} == {"nucleus"}
    for row in rows:
        inside = labels == int(row["index"])
        assert int(row["area"]) == inside.sum()
        assert float(row["area_um2"]) == pytest.approx(0.25 * inside.sum())
        assert float(row["intensity_mean_DAPI"]) == pytest.approx(IMAGE[0][inside].mean())
        assert float(row["intensity_max_actin"]) == IMAGE[1][inside].max()
    content = json.loads((tmp_path / "out" / "a_outlines.geojson").read_text(encoding="utf-8"))
    assert [int(f["properties"]["name"]) for f in content["features"]] == numbers
    ended = [event for event in events if isinstance(event, FileEnded)]
    assert [(event.number, event.total, event.status) for event in ended] == [
        (1, 2, "done"), (2, 2, "done")]  # fmt: skip
    assert ended[0].found == len(numbers) == 3
    assert read_image(tmp_path / "out" / "a_disagreement.ome.tif").pixel_size == (0.5, 0.5)


def test_what_runs_the_network_does_not_matter(
    go: Callable[..., BatchResult], tiny_model: Model
) -> None:
    go()
    assert names(go(backend="torch", precision="single", batch=3)) == ([], BOTH, [])
    now = record_of(tiny_model, SegmentOptions(), ())
    old = replace(now, settings={**now.settings, "backend": "torch"})  # versions before wrote it
    assert now.difference(old) == ""


def test_what_is_done_is_skipped_and_the_rest_made(
    go: Callable[..., BatchResult], tmp_path: Path
) -> None:
    go(save=("table",))
    kept = (tmp_path / "out" / "a_labels.ome.tif").read_bytes()
    (tmp_path / "out" / "b_labels.ome.tif").unlink()  # as a crash before the labels leaves it
    assert names(go(save=("table",))) == (["b.ome.tif"], ["a.ome.tif"], [])
    assert (tmp_path / "out" / "a_labels.ome.tif").read_bytes() == kept
    assert names(go()) == ([], BOTH, [])  # there is more than was asked for
    assert names(go(save=("table", "geojson"))) == (BOTH, [], [])  # there is less
    (tmp_path / "out" / "a_table.csv").unlink()
    assert names(go(save=("table", "geojson"))) == (["a.ome.tif"], ["b.ome.tif"], [])


def test_a_crash_in_the_middle_is_gone_on_from(
    go: Callable[..., BatchResult], tmp_path: Path
) -> None:
    class Crash(BaseException):
        """Nothing that is caught on the way."""

    def crash(event: Event) -> None:
        if isinstance(event, FileEnded) and event.path.name.startswith("a"):
            raise Crash

    with pytest.raises(Crash):
        go(crash, save=("table",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_labels.ome.tif", "a_table.csv"]  # fmt: skip
    assert names(go(save=("table",))) == (["b.ome.tif"], ["a.ome.tif"], [])


def other_weights(model: Model) -> Model:
    """Return the model with another bias at the end."""
    import copy

    import torch

    network = copy.deepcopy(model.network)
    with torch.no_grad():
        next(iter(network.parameters())).add_(0.5)
    return Model(network, model.card)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 0.4}, "threshold 0.5"),
        ({"split": False}, "split on"),
        ({"diameter": 12.0}, "diameter not given"),
        ({"channels": (1,)}, "channels [0]"),
    ],
)
def test_other_settings_are_not_mixed_in(
    go: Callable[..., BatchResult], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    go()
    before = (tmp_path / "out" / "a_labels.ome.tif").read_bytes()
    result = go(**change)
    assert names(result) == ([], [], BOTH)
    assert said in result.failed[0][1]
    assert result.failed[0][1].endswith("choose to replace results, or another folder.")
    assert (tmp_path / "out" / "a_labels.ome.tif").read_bytes() == before
    assert names(go(existing="replace", **change)) == (BOTH, [], [])
    assert names(go(**change)) == ([], BOTH, [])


def test_another_model_is_not_mixed_in(go: Callable[..., BatchResult], tiny_model: Model) -> None:
    go()
    other = other_weights(tiny_model)
    result = go(model=other)
    assert names(result) == ([], [], BOTH)
    assert "another version of the model 'tiny'" in result.failed[0][1]
    renamed = Model(tiny_model.network, replace(tiny_model.card, name="mine", figures=()))
    assert model_digest(renamed) == model_digest(tiny_model) != model_digest(other)
    assert names(go(model=renamed, device="auto")) == ([], BOTH, [])


def test_what_an_earlier_run_left_beside_new_labels_is_told(
    go: Callable[..., BatchResult], tmp_path: Path
) -> None:
    go(save=("table",))
    events: list[Event] = []
    go(events.append, existing="replace", threshold=0.4)
    warned = [e.text for e in events if isinstance(e, Message) and e.warning]
    assert [text for text in warned if text.startswith("a_table.csv") and "threshold 0.5" in text]
    assert (tmp_path / "out" / "a_table.csv").exists()


def test_labels_of_nobody_knows_what_are_left(
    go: Callable[..., BatchResult], tmp_path: Path
) -> None:
    write_labels(tmp_path / "out" / "a_labels.ome.tif", np.zeros((4, 4), int), "YX")
    (tmp_path / "out" / "b_labels.ome.tif").write_text("mine")
    result = go()
    assert names(result) == ([], [], BOTH)
    assert "does not tell what made it" in result.failed[0][1]
    assert (tmp_path / "out" / "b_labels.ome.tif").read_text() == "mine"
    assert read_record(tmp_path / "out" / "b_labels.ome.tif") is None


def test_an_image_that_has_changed_is_told(go: Callable[..., BatchResult], pictures: Path) -> None:
    go()
    later = (pictures / "b.ome.tif").stat().st_mtime + 3600
    os.utime(pictures / "b.ome.tif", (later, later))
    result = go()
    assert names(result) == ([], ["a.ome.tif"], ["b.ome.tif"])
    assert "has changed" in result.failed[0][1]


def test_results_are_kept_unless_asked(go: Callable[..., BatchResult]) -> None:
    go()
    result = go(existing="keep")
    assert names(result) == ([], [], BOTH)
    assert "choose to skip what is done, to replace results" in result.failed[0][1]


def test_a_failure_of_any_kind_does_not_stop_the_others(
    go: Callable[..., BatchResult], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "aa.png").write_bytes(b"no picture")

    def fail_on_a(path: Path) -> Any:
        if path.name == "a.ome.tif":
            raise ZeroDivisionError("surprise")
        return read_image(path)

    monkeypatch.setattr(batch_files, "read_image", fail_on_a)
    events: list[Event] = []
    result = go(events.append)
    assert names(result) == (["b.ome.tif"], [], ["a.ome.tif", "aa.png"])
    assert result.failed[0][1] == "ZeroDivisionError: surprise"
    errors = [event.error for event in events if isinstance(event, FileEnded)]
    assert isinstance(errors[0], ZeroDivisionError)
    assert isinstance(errors[1], SA2NetError)


def test_what_cannot_be_written_at_all_is_told_before_the_work(
    go: Callable[..., BatchResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    events: list[Event] = []
    with pytest.raises(SA2NetError, match="roifile"):
        go(events.append, save=("rois",))
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(SA2NetError, match="cannot be written"):
        go(events.append)
    with pytest.raises(InputError, match="Unknown option"):
        go(events.append, treshold=0.2)
    assert not events


def test_a_batch_is_checked_when_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give some of"):
        Batch(tmp_path, ("everything",))
    with pytest.raises(InputError, match="give one of"):
        Batch(tmp_path, existing="perhaps")  # type: ignore[arg-type]


def test_rois_are_written_too(go: Callable[..., BatchResult], tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    assert names(go(save=("rois",))) == (BOTH, [], [])
    labels = np.asarray(read_image(tmp_path / "out" / "a_labels.ome.tif").array)
    found = roifile.roiread(tmp_path / "out" / "a_rois.zip")
    assert len(found) == labels.max() == 3
