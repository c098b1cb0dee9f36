"""Many files: what is written, skipped, refused, and goes on after a failure or a crash."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sa2net.engine.batch import files as batch_files
from napari_sa2net.engine.batch import origin
from napari_sa2net.engine.batch.files import Batch, BatchResult, FileEnded, segment_files
from napari_sa2net.engine.batch.names import output_names
from napari_sa2net.engine.batch.origin import Origin
from napari_sa2net.engine.batch.record import Record, read_record, record_of
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


def image_of(path: Path, seed: int, side: int = 40) -> Path:
    """Write an image of its own for each seed, all of the same size and type."""
    values = np.random.default_rng(seed).integers(0, 200, (2, side, side), dtype=np.uint8)
    return write_image(path, values, "CYX")


def at_time(path: Path, seconds: float) -> None:
    """Set when a file was last written to, that many seconds from now."""
    then = path.stat().st_mtime + seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("seconds", [3600, -3600, 0])
def test_an_image_that_was_replaced_is_told(
    go: Callable[..., BatchResult], pictures: Path, seconds: float
) -> None:
    go()
    before = (pictures / "b.ome.tif").stat()
    image_of(pictures / "b.ome.tif", 5)
    os.utime(pictures / "b.ome.tif", (before.st_atime + seconds, before.st_mtime + seconds))
    result = go()
    assert names(result) == ([], ["a.ome.tif"], ["b.ome.tif"])
    assert "b.ome.tif has changed" in result.failed[0][1]
    assert names(go(existing="replace")) == (BOTH, [], [])
    assert names(go()) == ([], BOTH, [])


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_an_image_that_was_copied_or_moved_is_done(
    go: Callable[..., BatchResult], pictures: Path, tmp_path: Path, tiny_model: Model,
    seconds: float,
) -> None:  # fmt: skip
    go()
    for path in pictures.iterdir():
        at_time(path, seconds)
    assert names(go()) == ([], BOTH, [])
    pictures.rename(tmp_path / "elsewhere")
    batch = Batch(tmp_path / "out", (), "resume", {"channels": (0,), "threshold": 0.5})
    assert names(run(segment_files([tmp_path / "elsewhere"], tiny_model, batch))) == ([], BOTH, [])


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Return two images of the same name, size and time in folders of their own."""
    first, second = (image_of(tmp_path / f / "001.tif", n) for n, f in enumerate("AB"))
    os.utime(second, (first.stat().st_atime, first.stat().st_mtime))
    return first, second


def into(output: Path, model: Model, *images: Path, existing: Any, events: Any = None) -> Any:
    """Segment some images into a folder."""
    batch = Batch(output, (), existing, {"channels": (0,), "threshold": 0.5})
    return run(segment_files(images, model, batch), events)


@pytest.mark.parametrize("existing", ["resume", "keep"])
def test_another_image_of_the_same_name_is_not_taken_for_done(
    twins: tuple[Path, Path], tmp_path: Path, tiny_model: Model, existing: Any
) -> None:
    first, second = twins
    out = tmp_path / "out"
    assert len(into(out, tiny_model, first, existing=existing).done) == 1
    labels = (out / "001_labels.ome.tif").read_bytes()
    ((path, reason),) = into(out, tiny_model, second, existing=existing).failed
    assert path == second
    assert f"the result of another image, {first}: choose another folder" in reason
    assert (out / "001_labels.ome.tif").read_bytes() == labels
    assert len(into(out, tiny_model, first, existing="resume").skipped) == 1


def test_replacing_the_result_of_another_image_is_told(
    twins: tuple[Path, Path], tmp_path: Path, tiny_model: Model
) -> None:
    first, second = twins
    into(tmp_path / "out", tiny_model, first, existing="replace")
    events: list[Event] = []
    into(tmp_path / "out", tiny_model, second, existing="replace", events=events.append)
    assert isinstance(events[0], Message)
    assert "are replaced: 001_labels.ome.tif" in events[0].text
    assert str(first) in events[0].text
    assert len(into(tmp_path / "out", tiny_model, second, existing="resume").skipped) == 1


@pytest.mark.parametrize("existing", ["resume", "keep"])
def test_results_of_other_images_are_told_before_the_first_is_made(
    twins: tuple[Path, Path], tmp_path: Path, tiny_model: Model, existing: Any
) -> None:
    first, second = twins
    into(tmp_path / "out", tiny_model, first, existing=existing)
    events: list[Event] = []
    new = image_of(tmp_path / "B" / "000.tif", 5)
    found = into(tmp_path / "out", tiny_model, new, second, existing=existing, events=events.append)
    assert found.done == (new,)
    assert isinstance(events[0], Message)
    assert f"001_labels.ome.tif (of {first}, not {second})" in events[0].text


def test_results_of_the_same_name_are_told_before_the_first_is_made(
    twins: tuple[Path, Path], tmp_path: Path, tiny_model: Model
) -> None:
    events: list[Event] = []
    into(tmp_path / "out", tiny_model, *twins, existing="resume", events=events.append)
    assert isinstance(events[0], Message)
    assert f"{twins[0]} → A_001, {twins[1]} → B_001" in events[0].text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "A_001_labels.ome.tif", "B_001_labels.ome.tif"]  # fmt: skip


@pytest.mark.parametrize("inside", ["0/c/0/0", "zarr.json"])
def test_a_folder_of_an_image_is_known_by_all_its_files(
    tmp_path: Path, tiny_model: Model, inside: str
) -> None:
    zarr = pytest.importorskip("zarr")
    for n, folder in enumerate("AB"):
        group = zarr.open_group(str(tmp_path / folder / "x.zarr"), mode="w", zarr_format=3)
        datasets = [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}
        ]
        axes = [{"name": name, "type": "space"} for name in "yx"]
        group.attrs["ome"] = {
            "version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]
        }  # fmt: skip
        values = np.random.default_rng(n).integers(0, 9, (32, 32), dtype=np.uint8)
        group.create_array("0", data=values, chunks=(32, 32), compressors=None)
    batch = Batch(tmp_path / "out", (), "resume", {})
    for expected in ("done", "skipped"):
        found = run(segment_files([tmp_path / "A" / "x.zarr"], tiny_model, batch))
        assert len(getattr(found, expected)) == 1
    found = run(segment_files([tmp_path / "B" / "x.zarr"], tiny_model, batch))
    assert "another image" in found.failed[0][1]
    content = (tmp_path / "A" / "x.zarr" / inside).read_bytes()
    (tmp_path / "A" / "x.zarr" / inside).write_bytes(content.replace(content[5:6], b" ", 1))
    found = run(segment_files([tmp_path / "A" / "x.zarr"], tiny_model, batch))
    assert "has changed" in found.failed[0][1]


def test_a_set_of_files_is_known_by_all_of_them(tmp_path: Path) -> None:
    for name, parts in (("a", "ab"), ("b", "ab"), ("c", "")):
        listed = "".join(f'<TiffData><UUID FileName="{n}.ome.tif"/></TiffData>' for n in parts)
        text = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{listed}</OME>'
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", IMAGE[0], description=text)
    both, alone = (Origin.of(tmp_path / f"{name}.ome.tif") for name in "ac")
    (tmp_path / "b.ome.tif").unlink()
    without = Origin.of(tmp_path / "a.ome.tif", both)
    assert without.digest != both.digest
    assert Origin.of(tmp_path / "c.ome.tif", alone) is alone


def test_of_a_large_image_pieces_all_over_it_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WHOLE", 1000), ("PIECE", 10), ("PIECES", 20)):
        monkeypatch.setattr(origin, name, value)
    path = tmp_path / "x.tif"
    path.write_bytes(bytes(4000))
    before = Origin.of(path)
    for place, differs in ((0, True), (2005, True), (3809, True), (15, False)):
        content = bytearray(4000)
        content[place] = 1
        path.write_bytes(content)
        assert (Origin.of(path).digest != before.digest) == differs


def test_results_of_earlier_versions_are_told_by_their_time(
    go: Callable[..., BatchResult], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Record.text

    def old_text(self: Record) -> str:
        content = json.loads(text(self))
        del content["napari-sa2net"]["image"]
        return json.dumps(content)

    with monkeypatch.context() as patched:
        patched.setattr(Record, "text", old_text)
        go()
    assert names(go()) == ([], BOTH, [])
    at_time(pictures / "b.ome.tif", 3600)
    result = go()
    assert names(result) == ([], ["a.ome.tif"], ["b.ome.tif"])
    assert "has changed" in result.failed[0][1]


def test_no_input_is_replaced_by_the_result_of_another(
    twins: tuple[Path, Path], tmp_path: Path, tiny_model: Model
) -> None:
    victim = image_of(tmp_path / "out" / "001_labels.ome.tif", 7)
    before = victim.read_bytes()
    found = into(tmp_path / "out", tiny_model, twins[0], victim, existing="replace")
    assert f"would replace the image {victim}" in found.failed[0][1]
    assert victim.read_bytes() == before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir] if hasattr(os, "mkfifo") else [os.mkdir])
def test_what_is_no_file_is_no_result(
    go: Callable[..., BatchResult], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / "a_labels.ome.tif")
    result = go()
    assert names(result) == (["b.ome.tif"], [], ["a.ome.tif"])
    assert "in the way and no file" in result.failed[0][1]


@pytest.mark.parametrize("name", ["x" * 240, "é" * 120, "x" * 239 + ".y"])
def test_a_name_too_long_for_results_is_cut_and_told_apart(
    tmp_path: Path, tiny_model: Model, name: str
) -> None:
    images = [image_of(tmp_path / "in" / f"{name[:-1]}{end}.tif", 0) for end in "12"]
    events: list[Event] = []
    save = ("table", "geojson", "disagreement")
    batch = Batch(tmp_path / "out", save, "resume", {"channels": (0,), "threshold": 0.5})
    assert len(run(segment_files(images, tiny_model, batch), events.append).done) == 2
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert len(written) == 2 * 4
    assert isinstance(events[0], Message)
    assert "too long" in events[0].text
    assert len(run(segment_files(images[1:], tiny_model, batch)).skipped) == 1  # called the same


def test_names_are_told_apart_as_file_systems_take_them() -> None:
    paths = [Path("A/é.tif"), Path("B/e\u0301.tif"), Path("C/É.TIF"), Path("D/e.tif")]
    found = output_names(paths)
    assert found[3] == "e"
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == 4
    same = [Path("p/X/A/1.tif"), Path("p/Y/A/1.tif")]
    assert output_names(same) == ["X_A_1", "Y_A_1"]
    assert output_names(same[::-1]) == ["Y_A_1", "X_A_1"]


def test_results_are_kept_unless_asked(go: Callable[..., BatchResult]) -> None:
    go()
    result = go(existing="keep")
    assert names(result) == ([], [], BOTH)
    assert "choose to skip what is done, to replace results" in result.failed[0][1]


def test_a_failure_of_any_kind_does_not_stop_the_others(
    go: Callable[..., BatchResult], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "aa.png").write_bytes(b"no picture")

    def fail_on_a(path: Path, **asked: Any) -> Any:
        if path.name == "a.ome.tif":
            raise ZeroDivisionError("surprise")
        return read_image(path, **asked)

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
    with pytest.raises(InputError, match=r"save is .*: give some of"):
        Batch(tmp_path, ("everything",))
    with pytest.raises(InputError, match=r"existing is .*: give one of"):
        Batch(tmp_path, existing="perhaps")  # type: ignore[arg-type]


def test_rois_are_written_too(go: Callable[..., BatchResult], tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    assert names(go(save=("rois",))) == (BOTH, [], [])
    labels = np.asarray(read_image(tmp_path / "out" / "a_labels.ome.tif").array)
    found = roifile.roiread(tmp_path / "out" / "a_rois.zip")
    assert len(found) == labels.max() == 3


@pytest.mark.parametrize(
    ("axes", "position"),
    [("ZCYX", (0, 3, 0)), ("TCYX", (0, 0, 3)), ("TZCYX", (0, 2, 3)), ("ZYX", (3, 0, 0))],
)
def test_rois_of_a_hyperstack_lie_in_the_plane_of_their_object(
    tmp_path: Path, tiny_model: Model, monkeypatch: pytest.MonkeyPatch, axes: str, position: Any
) -> None:
    roifile = pytest.importorskip("roifile")
    sizes = {"T": 4, "Z": 5, "C": 2, "Y": 32, "X": 32}
    values = np.zeros([sizes[letter] for letter in axes], np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", values, imagej=True, metadata={"axes": axes})

    def one_object(image: Any, model: Model, options: SegmentOptions) -> Any:
        stack = to_planes(image, options.axes, (0,)).stack
        labels = np.zeros(stack.shape, np.int32)
        at = {"Z": 1 if "T" in axes else 2, "T": 2}
        labels[tuple(at.get(letter, slice(2, 9)) for letter in stack.axes)] = 1
        yield Progress(1, 1, "tile")
        return Segmentation(
            labels, None, None, None, None, features(labels), stack.axes, model.card,
            replace(options, labelling=model.card.labelling), "cpu", (0,), (1.0, 1.0),
        )  # fmt: skip

    monkeypatch.setattr(batch_files.inference, "segment", one_object)
    batch = Batch(tmp_path / "out", ("rois",), "resume", {"channels": (0,)})
    assert not run(segment_files([tmp_path / "x.tif"], tiny_model, batch)).failed
    (roi,) = roifile.roiread(tmp_path / "out" / "x_rois.zip")
    assert (roi.position, roi.z_position, roi.t_position) == position
    assert roi.c_position == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has neither pipes nor /dev/zero")
def test_a_batch_goes_on_past_what_is_no_image(tmp_path: Path, tiny_model: Model) -> None:
    folder = tmp_path / "in"
    good = image_of(folder / "z.tif", 0)
    (folder / "broken.tif").symlink_to(folder / "gone.tif")
    (folder / "loop.tif").symlink_to(folder / "loop.tif")
    os.mkfifo(folder / "pipe.tif")
    (folder / "zeros.tif").symlink_to("/dev/zero")
    given = [Path(f"{'x' * 300}.tif"), Path("~nobody-of-this-name/y.tif"), folder]
    found = into(tmp_path / "out", tiny_model, *given, existing="resume")
    assert found.done == (good,)
    assert [path.name[:6] for path, _ in found.failed] == [
        "xxxxxx", "y.tif", "broken", "loop.t", "pipe.t", "zeros."]  # fmt: skip
    assert not [reason for _, reason in found.failed if "Error" in reason]


def test_the_home_folder_of_nobody_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(SA2NetError, match="home folder"):
        Batch(Path("~nobody-of-this-name/out"))
