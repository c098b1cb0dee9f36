"""Tables and outlines that are made block by block: those of the image in memory."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.engine.blocks import saving
from napari_sa2net.engine.blocks.job import segment_to_zarr
from napari_sa2net.engine.blocks.measuring import Measuring
from napari_sa2net.engine.blocks.plan import Block, BlockGrid, BlockOptions
from napari_sa2net.engine.blocks.result import BlockDone, ZarrResult
from napari_sa2net.engine.blocks.store import WORK, Store
from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Event, Message, Progress, run
from napari_sa2net.engine.inference import LabelSettings, SegmentOptions, segment
from napari_sa2net.engine.measuring.geojson import write_geojson
from napari_sa2net.engine.measuring.objects import Objects, channels_of, objects_of
from napari_sa2net.engine.measuring.rois import write_rois
from napari_sa2net.engine.measuring.table import measure, write_table
from napari_sa2net.engine.weights import Model

Blobs = Callable[[tuple[int, int], float, int], NDArray[np.float64]]

SMALL = SegmentOptions(device="cpu", tile=64, discard=16, blend=16, axes="TCYX", channels=(0,))
BLOCKS = BlockOptions(side=64, chunk=32)
NARROW = BlockOptions(side=32, chunk=32)
SIZES = {"Y": 0.5, "X": 0.25}
NAMES = ("DAPI", "actin")
CARD = (ClassInfo("background"), ClassInfo("nucleus", "#e69f00"))
KINDS = ("table", "geojson", "rois")
REGION = (7, 20, 93, 111)
CLASSES = LabelSettings(result="classes")


@pytest.fixture
def image(blobs: Blobs) -> NDArray[np.uint16]:
    """Return two times of two channels, a plane of two by three blocks."""
    planes = [blobs((100, 130), 3, i) * 2000 for i in range(4)]
    return np.reshape(planes, (2, 2, 100, 130)).astype(np.uint16)


@pytest.fixture
def several(lively: Model) -> Model:
    """Return a model of two classes that objects can have."""
    classes = tuple(replace(info, derived=False) for info in lively.card.classes)
    return Model(lively.network, replace(lively.card, classes=classes))


def in_blocks(
    path: Path,
    image: Any,
    model: Model,
    options: SegmentOptions = SMALL,
    blocks: BlockOptions = BLOCKS,
    on_event: Callable[[Event], None] | None = None,
    save: tuple[str, ...] = KINDS,
    **more: Any,
) -> ZarrResult:
    work = segment_to_zarr(image, path / "out.ome.zarr", model, options, blocks, sizes=SIZES,
                           channel_names=NAMES, save=save, **more)  # fmt: skip
    return run(work, on_event)


def in_memory(path: Path, image: Any, model: Model, options: SegmentOptions) -> dict[str, Path]:
    """Write what is measured of the image in memory."""
    result = run(segment(image, model, options))
    objects = objects_of(result)
    channels = channels_of(image, "TCYX", names=NAMES, region=options.region)
    objects = replace(objects, channels=channels.in_imagej)
    table = run(measure(objects, channels, SIZES))
    return {
        "table": write_table(path / "memory.csv", table),
        "geojson": run(write_geojson(path / "memory.geojson", objects)),
        "rois": run(write_rois(path / "memory.zip", objects)),
    }


def rows(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of a table's columns and its rows in an order that is not by number."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *found = csv.reader(file)
    assert found
    kept = [i for i, name in enumerate(names) if name not in ("index", "class_name")]
    values = np.array([[float(row[i]) for i in kept] for row in found])
    return [names[i] for i in kept], values[np.lexsort(values.round(3).T)]


def features(path: Path) -> list[str]:
    """Return what a GeoJSON file tells of its objects, without their numbers, in some order."""
    found = json.loads(path.read_text(encoding="utf-8"))["features"]
    for feature in found:
        feature["properties"].pop("name")
        if feature["geometry"]["type"] == "MultiPolygon":
            feature["geometry"]["coordinates"].sort()
    return sorted(json.dumps(feature, sort_keys=True) for feature in found)


def contents(path: Path) -> list[Any]:
    """Return where the ROIs of a zip file lie, in some order."""
    from roifile import roiread

    found = [] if zipfile.ZipFile(path).testzip() else roiread(path)
    assert {r.position for r in found} <= {0}  # that of a hyperstack is along its axes
    return sorted((r.t_position, r.left, r.top, r.right, r.bottom, len(r.coordinates(multi=True)))
                  for r in found)  # fmt: skip


def files_of(path: Path) -> set[str]:
    return {file.name for file in path.iterdir()}


@pytest.mark.parametrize("region", [None, REGION])
@pytest.mark.parametrize("blocks", [BLOCKS, NARROW], ids=["64", "32"])
def test_what_is_measured_is_that_of_the_image_in_memory(
    tmp_path: Path,
    image: NDArray[np.uint16],
    several: Model,
    blocks: BlockOptions,
    region: tuple[int, int, int, int] | None,
) -> None:
    pytest.importorskip("roifile")
    options = replace(SMALL, region=region)
    expected = in_memory(tmp_path, image, several, options)
    result = in_blocks(tmp_path, image, several, options, blocks)
    assert list(result.saved) == sorted(KINDS)
    assert result.saved["table"] == tmp_path / "out_table.csv"
    names, found = rows(result.saved["table"])
    assert (names, found.shape) == (rows(expected["table"])[0], rows(expected["table"])[1].shape)
    np.testing.assert_allclose(found, rows(expected["table"])[1], rtol=1e-9)
    column = dict(zip(names, found.T, strict=True))
    assert {"t", "area_um2", "intensity_mean_DAPI", "intensity_max_actin"} <= column.keys()
    assert set(column["class"]) == {1, 2}
    assert set(column["t"]) == {0, 1}
    face = blocks.side + (region[0] if region else 0)
    across = (column["bbox_y0_px"] < face) & (column["bbox_y1_px"] > face)
    assert across.sum() > 1
    assert features(result.saved["geojson"]) == features(expected["geojson"])
    assert contents(result.saved["rois"]) == contents(expected["rois"])
    assert not (result.path / WORK).exists()


def test_an_object_of_many_blocks_is_one(tmp_path: Path) -> None:
    """Also where it is read alone because it reaches far beyond the block that outlines it."""
    labels = np.zeros((3, 100, 130), np.int32)
    labels[2, 5:95, 10:120] = 7
    labels[2, 20:80, 40:70] = 0
    labels[2, 30:40, 50:60] = 3
    image = np.random.default_rng(0).normal(size=(3, 100, 130)).astype(np.float32)
    store = Store(tmp_path / "out.zarr")
    store.begin({})
    store.create_result()
    store.create_level(0, labels.shape, 32, "TYX")
    store.level(0)[...] = labels
    objects = Objects(labels, "TYX", CARD, {3: 1, 7: 1}, origin=(4, 6))
    whole = np.zeros((3, 110, 140), np.float32)
    whole[:, 4:104, 6:136] = image
    grid = BlockGrid((100, 130), 32, (0, 2))
    channels = channels_of(whole, "TYX")
    here = Measuring(store, grid, objects.stack, channels, CARD, (1,), False, (4, 6))
    for block in grid:
        here.add_up(block)
    for layer in (0, 1):
        here.share_out(layer)
    for block in grid:
        here.trace(block)
    files = {kind: tmp_path / kind for kind in ("table", "geojson")}
    run(here.write(files, SIZES))
    expected = run(measure(objects, channels_of(image, "TYX"), SIZES))
    write_table(tmp_path / "expected.csv", expected)
    names, found = rows(files["table"])
    assert names == rows(tmp_path / "expected.csv")[0]
    np.testing.assert_allclose(found, rows(tmp_path / "expected.csv")[1], rtol=1e-6)
    run(write_geojson(tmp_path / "expected.geojson", objects))
    assert features(files["geojson"]) == features(tmp_path / "expected.geojson")


def test_the_numbers_are_those_of_the_labels(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model
) -> None:
    result = in_blocks(tmp_path, image, lively, save=("table",))
    assert files_of(tmp_path) == {"out.ome.zarr", "out_table.csv"}
    with open(result.saved["table"], newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == result.count > 5
    labels = np.asarray(result.labels[:])
    for row in table:
        assert int(row["area"]) == np.sum(labels[int(row["t"])] == int(row["index"]))
        assert row["class_name"] == "nucleus"


def test_regions_of_classes_are_measured_whole_and_outlined_in_pieces(
    tmp_path: Path, image: NDArray[np.uint16], several: Model
) -> None:
    pytest.importorskip("roifile")
    options = replace(SMALL, labelling=CLASSES)
    expected = in_memory(tmp_path, image, several, options)
    result = in_blocks(tmp_path, image, several, options)
    np.testing.assert_allclose(rows(result.saved["table"])[1], rows(expected["table"])[1])
    assert any("outlines of classes are cut" in text for text in result.messages)
    found = json.loads(result.saved["geojson"].read_text())["features"]
    assert len(found) > len(features(expected["geojson"]))
    total = dict.fromkeys(("1", "2"), 0.0)
    for feature in found:
        total[feature["properties"]["name"]] += _area(feature["geometry"])
    labels = np.asarray(result.labels[:])
    assert total == {"1": (labels == 1).sum(), "2": (labels == 2).sum()}
    names = zipfile.ZipFile(result.saved["rois"]).namelist()
    assert len(names) == len(set(names)) == len(found)


def _area(geometry: dict[str, Any]) -> float:
    """Return the pixels that the polygons cover: their outer rings less the holes."""
    shapes = geometry["coordinates"]
    shapes = [shapes] if geometry["type"] == "Polygon" else shapes
    total = 0.0
    for ring in (np.array(ring) for shape in shapes for ring in shape):
        x, y = ring.T
        total += np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2  # holes run the other way
    return total


def test_where_nothing_is_found_the_table_has_no_rows(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model
) -> None:
    options = replace(SMALL, labelling=LabelSettings(threshold=0.999999, min_size=5000))
    result = in_blocks(tmp_path, image, lively, options, save=("table", "geojson"))
    assert result.count == 0
    text = result.saved["table"].read_text()
    assert text.startswith("index,class,class_name,t,area,area_um2")
    assert text.count("\n") == 1
    assert features(result.saved["geojson"]) == []


class Broken(Exception):
    """Ends a run."""


@pytest.mark.parametrize(
    ("owner", "name", "when", "summed"),
    [
        (Store, "mark", lambda _, phase, number: (phase, number) == ("sum", 7), 7),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("trace", 7), 12),
        (Measuring, "share_out", lambda _, layer: layer == 1, 12),
        (Measuring, "_traced", lambda _, block: block.number == 7, 12),
        (Store, "finish", lambda *_: True, 12),
    ],
    ids=["sum", "trace", "share", "write", "finish"],
)
def test_it_goes_on_where_it_broke_off(
    tmp_path: Path,
    image: NDArray[np.uint16],
    several: Model,
    owner: Any,
    name: str,
    when: Callable[..., bool],
    summed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = ("table", "geojson")
    expected = in_blocks(tmp_path / "whole", image, several, save=kinds)
    original = getattr(owner, name)

    def breaking(*arguments: Any, **more: Any) -> Any:
        if when(*arguments):
            raise Broken
        return original(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaking)
        with pytest.raises(Broken):
            in_blocks(tmp_path, image, several, save=kinds)
    whole = {"whole", "out.ome.zarr", "out_table.csv", "out_outlines.geojson"}
    assert files_of(tmp_path) <= whole, "nothing half-written"
    for kind, file in expected.saved.items():
        if (begun := tmp_path / file.name).exists():
            assert begun.read_bytes() == file.read_bytes(), kind
    added: list[int] = []
    adding = Measuring.add_up

    def counted(self: Measuring, block: Block) -> None:
        added.append(block.number)
        adding(self, block)

    monkeypatch.setattr(Measuring, "add_up", counted)
    result = in_blocks(tmp_path, image, several, save=kinds, resume=True)
    assert added == list(range(summed, 12))
    for kind, file in expected.saved.items():
        assert result.saved[kind].read_bytes() == file.read_bytes()
    assert not (result.path / WORK).exists()


@pytest.mark.parametrize("writing", ["writing the table", "writing outlines"])
def test_closing_leaves_no_half_written_file(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model, writing: str
) -> None:
    work = segment_to_zarr(image, tmp_path / "out.ome.zarr", lively, SMALL, BLOCKS,
                           save=("geojson", "table"))  # fmt: skip
    for event in work:
        if isinstance(event, Progress) and event.text == writing:
            break
    work.close()
    done = {"out_outlines.geojson"} if "table" in writing else set()
    assert files_of(tmp_path) == {"out.ome.zarr"} | done
    assert not Store(tmp_path / "out.ome.zarr").finished()


def test_a_complete_result_is_measured_once(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model
) -> None:
    expected = in_blocks(tmp_path / "at once", image, lively, save=("table", "geojson"))
    in_blocks(tmp_path, image, lively, save=())
    phases: list[str] = []
    ends: list[tuple[int, int]] = []

    def look(event: Event) -> None:
        if isinstance(event, BlockDone):
            phases.append(event.phase)
            ends.append((event.done, event.total))

    work = segment_to_zarr(image, tmp_path / "out.ome.zarr", lively, SMALL, BLOCKS, resume=True,
                           sizes=SIZES, channel_names=NAMES, save=("table", "geojson"))  # fmt: skip
    for event in work:
        if isinstance(event, BlockDone) and event.phase == "sum" and event.total - event.done < 15:
            break
    work.close()
    assert Store(tmp_path / "out.ome.zarr").finished(), "its labels are complete all the time"
    result = in_blocks(tmp_path, image, lively, save=("table", "geojson"), resume=True,
                       on_event=look)  # fmt: skip
    assert set(phases) == {"normalise", "sum", "trace"}  # the first sees that it is the image
    assert ends[-1][0] == ends[-1][1]
    for kind, file in expected.saved.items():
        assert result.saved[kind].read_bytes() == file.read_bytes()
    assert not (result.path / WORK).exists()
    phases.clear()
    again = in_blocks(tmp_path, image, lively, save=("table",), resume=True, on_event=look)
    assert (again, set(phases)) == (result, {"normalise"})


def test_classes_of_a_complete_result_are_not_known_any_more(
    tmp_path: Path, image: NDArray[np.uint16], several: Model
) -> None:
    first = in_blocks(tmp_path, image, several, save=())
    with pytest.raises(InputError, match=r"classes of its objects was not kept.*--overwrite"):
        in_blocks(tmp_path, image, several, save=("table",), resume=True)
    assert files_of(tmp_path) == {"out.ome.zarr"}
    assert in_blocks(tmp_path, image, several, save=(), resume=True) == first


def test_files_that_are_not_of_the_result_are_kept(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model
) -> None:
    table = tmp_path / "out_table.csv"
    table.write_text("mine")
    with pytest.raises(InputError, match=r"out_table.csv exists already and does not belong"):
        in_blocks(tmp_path, image, lively, save=("table",))
    assert (files_of(tmp_path), table.read_text()) == ({"out_table.csv"}, "mine")
    in_blocks(tmp_path, image, lively, save=("table",), overwrite=True)
    assert table.read_text().startswith("index,")
    messages: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, Message) and event.warning:
            messages.append(event.text)

    result = in_blocks(tmp_path, image, lively, save=("geojson",), overwrite=True, on_event=look)
    assert messages == ["out_table.csv: still of the result that is replaced."]
    assert list(result.saved) == ["geojson"]


@pytest.mark.parametrize("kind", ["probabilities", "csv"])
def test_other_kinds_are_refused(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model, kind: str
) -> None:
    with pytest.raises(InputError, match=f"{kind} cannot be saved.*table, geojson, rois"):
        in_blocks(tmp_path, image, lively, save=("table", kind))
    assert not files_of(tmp_path)


@pytest.mark.parametrize("length", [242, 300])  # the name fits, that of it in the making not
def test_names_too_long_are_told_before_anything_is_made(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model, length: int
) -> None:
    work = segment_to_zarr(image, tmp_path / ("x" * (length - 5) + ".zarr"), lively, SMALL, BLOCKS,
                           sizes=SIZES, save=("geojson",))  # fmt: skip
    with pytest.raises(InputError, match="too long for a name"):
        run(work)
    assert list(tmp_path.iterdir()) == []


def test_rois_need_a_package_which_is_told_before_anything_is_made(
    tmp_path: Path, image: NDArray[np.uint16], lively: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise InputError("roifile")

    monkeypatch.setattr(saving, "check_rois", missing)
    with pytest.raises(InputError, match="roifile"):
        in_blocks(tmp_path, image, lively, save=("rois",))
    assert not files_of(tmp_path)
