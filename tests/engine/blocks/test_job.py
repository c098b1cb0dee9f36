"""segment_to_zarr(): a whole run, interrupted and gone on with."""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.engine import instances
from napari_sa2net.engine.blocks import source
from napari_sa2net.engine.blocks.estimating import estimate
from napari_sa2net.engine.blocks.job import segment_to_zarr
from napari_sa2net.engine.blocks.phases import Here
from napari_sa2net.engine.blocks.plan import BlockOptions, BlockWritten
from napari_sa2net.engine.blocks.pyramid import Pyramid
from napari_sa2net.engine.blocks.result import BlockDone, ZarrResult
from napari_sa2net.engine.blocks.statistics import Collector
from napari_sa2net.engine.blocks.store import ATTRIBUTE, WORK, Store
from napari_sa2net.engine.blocks.work import Work
from napari_sa2net.engine.errors import DeviceError, InputError, SA2NetError
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.inference import LabelSettings, SegmentOptions, TileDone, segment
from napari_sa2net.engine.prediction import Plan, Predictor
from napari_sa2net.engine.weights import Model

Blobs = Callable[[tuple[int, int], float, int], NDArray[np.float64]]
Same = Callable[[NDArray[Any], NDArray[Any]], bool]

SMALL = SegmentOptions(device="cpu", tile=64, discard=16, blend=16)
BLOCKS = BlockOptions(side=64, chunk=32)


@pytest.fixture
def image(blobs: Blobs) -> NDArray[np.uint8]:
    """Return an RGB image of two by three blocks."""
    return np.stack([blobs((100, 130), 3, i) * 200 for i in range(3)], axis=-1).astype(np.uint8)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of tiles whenever some go through the network."""
    counts: list[int] = []
    original = Predictor.start

    def counted(self: Predictor, x: Any, corner: Any, tiles: Any) -> Any:
        counts.append(len(tiles))
        return original(self, x, corner, tiles)

    monkeypatch.setattr(Predictor, "start", counted)
    return counts


def in_blocks(
    path: Path,
    image: Any,
    model: Model,
    options: SegmentOptions = SMALL,
    blocks: BlockOptions = BLOCKS,
    on_event: Callable[[Event], None] | None = None,
    **more: Any,
) -> ZarrResult:
    return run(segment_to_zarr(image, path / "out.ome.zarr", model, options, blocks, **more),
               on_event)  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"diameter": 35},
        {"diameter": 16},
        {"flips": True},
        {"labelling": LabelSettings(result="classes")},
    ],
)
def test_the_result_is_that_of_the_image_in_memory(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    same_labels: Same,
    options: dict[str, Any],
) -> None:
    resolved = replace(SMALL, **options)
    whole = run(segment(image, lively, resolved)).labels
    result = in_blocks(tmp_path, image, lively, resolved)
    found = np.asarray(result.labels[:])
    assert found.dtype == np.int32
    if "labelling" in options:
        np.testing.assert_array_equal(found, whole)
        assert result.text == "1 class (nucleus)"
    else:
        assert whole.max() > 5
        assert same_labels(found, whole)
        assert result.count == whole.max()


def test_an_image_that_is_made_smaller_is_read_in_strips(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    same_labels: Same,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(SMALL, diameter=45)
    whole = run(segment(image, lively, options)).labels
    monkeypatch.setattr(source, "STRIP_PIXELS", 1000)
    assert same_labels(in_blocks(tmp_path, image, lively, options).labels[:], whole)


def test_blocks_are_smaller_where_the_image_is_enlarged() -> None:
    blocks = BlockOptions(2048, 512)
    assert [blocks.side_for((zoom, 1.0)) for zoom in (0.1, 1, 1.5, 2, 9)] == [
        2048, 2048, 1024, 1024, 512]  # fmt: skip


def test_blocks_of_coarser_levels_are_whole_chunks() -> None:
    pyramid = Pyramid("YX", (1000, 1000), 32)
    sides = [pyramid.grid(1, side, (0,)).side for side in (32, 64, 96, 128, 160)]
    assert sides == [32, 32, 32, 64, 64]


@pytest.mark.parametrize(
    ("method", "kind"),
    [("percentile", "u2"), ("minmax", "f4"), ("scale", "u2"), ("scale", "u1"), ("none", "f4")],
)
def test_normalisation_is_that_of_the_whole_plane(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    same_labels: Same,
    method: Any,
    kind: str,
) -> None:
    values = image.astype(kind) * (20 if kind == "u2" else 1)
    if method == "none":
        values = values / 200
    model = Model(lively.network, replace(lively.card, normalization=Normalization(method)))
    whole = run(segment(values, model, SMALL)).labels
    found = in_blocks(tmp_path, values, model).labels[:]
    assert same_labels(found, whole)


def test_stacks_plane_by_plane(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, same_labels: Same
) -> None:
    stack = np.stack([image, image[::-1], image[:, ::-1]])  # planes of other statistics
    stack[1] //= 2
    options = replace(SMALL, axes="ZXYC", rgb=True, planes=(0, 2))
    stack = stack.swapaxes(1, 2)
    whole = run(segment(stack, lively, options)).labels
    result = in_blocks(tmp_path, stack, lively, options, sizes={"Z": 2, "Y": 0.5, "X": 0.25})
    found = result.labels[:].swapaxes(1, 2)
    assert same_labels(found, whole)
    assert not found[1].any()
    read = read_image(result.path)
    assert read.axes == "ZYX"
    assert read.calibration == {"Z": 2, "Y": 0.5, "X": 0.25}


def test_the_result_describes_itself(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    import zarr

    sizes = {"Y": 0.5, "X": 0.5}
    events: list[Event] = []
    result = in_blocks(tmp_path, image, lively, on_event=events.append, sizes=sizes)
    read = read_image(result.path)
    assert (read.axes, read.kind, read.calibration) == ("YX", "OME-Zarr", sizes)
    np.testing.assert_array_equal(read.array[:], result.labels[:])
    group = zarr.open_group(str(result.path), mode="r")
    (multiscale,) = group.attrs["ome"]["multiscales"]
    assert group.attrs["ome"]["version"] == "0.5"
    levels = [group[entry["path"]] for entry in multiscale["datasets"]]
    assert [level.shape for level in levels] == [(100, 130), (50, 65), (25, 33), (13, 17)]
    for finer, coarser in itertools.pairwise(levels):
        np.testing.assert_array_equal(coarser[:], finer[:][::2, ::2])
    scales = [entry["coordinateTransformations"][0]["scale"] for entry in multiscale["datasets"]]
    assert scales == [[0.5, 0.5], [1, 1], [2, 2], [4, 4]]
    assert levels[0].metadata.dimension_names == ("y", "x")
    made = group.attrs[ATTRIBUTE]
    assert made["identity"]["model"]["name"] == "tiny"
    assert len(made["identity"]["model"]["sha256"]) == 64
    assert made["identity"]["settings"]["threshold"] == 0.5
    assert made["objects"] == result.count == len(np.unique(result.labels[:])) - 1
    assert sorted(p.name for p in result.path.iterdir()) == ["0", "1", "2", "3", "zarr.json"]
    for kind in (TileDone, BlockDone):
        done = [event for event in events if isinstance(event, kind)]
        assert done[-1].done == done[-1].total
    assert events[0] == Message(result.messages[0])


def test_classes_have_the_colours_of_the_card(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    options = replace(SMALL, labelling=LabelSettings(result="classes"))
    attributes = json.loads(
        (in_blocks(tmp_path, image, lively, options).path / "zarr.json").read_text()
    )
    (colour,) = attributes["attributes"]["ome"]["image-label"]["colors"]
    assert colour == {"label-value": 1, "rgba": [0xE6, 0x9F, 0x00, 255]}


def test_every_tile_is_computed_once(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, computed: list[int]
) -> None:
    result = in_blocks(tmp_path, image, lively)
    assert sum(computed) == result.tiles
    assert result.tiles > 20


class Broken(Exception):
    """What a test throws in."""


def after(calls: int) -> Callable[..., bool]:
    """Return a function that is true from its call number ``calls`` on."""
    count = itertools.count()
    return lambda *_: next(count) >= calls


def breaking(original: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    def call(*arguments: Any, **more: Any) -> Any:
        if when(*arguments):
            raise Broken
        return original(*arguments, **more)

    return call


@pytest.mark.parametrize(
    ("kind", "name", "when"),
    [
        (Collector, "result", lambda _: True),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("predict", 2)),
        (Predictor, "start", after(10)),  # in the middle of the second block
        (Work, "join", lambda _: True),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("measure", 2)),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("label", 3)),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("relabel", 3)),
        (Store, "mark", lambda _, phase, number: (phase, number) == ("pyramid-1", 1)),
        (Store, "finish", lambda *_: True),
    ],
    ids=[
        "normalise",
        "predict",
        "tile",
        "join",
        "measure",
        "label",
        "relabel",
        "pyramid",
        "finish",
    ],
)
def test_it_goes_on_where_it_broke_off(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    kind: type,
    name: str,
    when: Callable[..., bool],
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without a boundary class, so that there is a phase in which radii are measured.
    classes = tuple(replace(info, derived=False) for info in lively.card.classes)
    model = Model(lively.network, replace(lively.card, classes=classes))
    expected = in_blocks(tmp_path / "whole", image, model)
    tiles = sum(computed)
    computed.clear()
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, breaking(getattr(kind, name), when))
        with pytest.raises(Broken):
            in_blocks(tmp_path, image, model)
    path = tmp_path / "out.ome.zarr"
    assert (path / WORK).is_dir()
    with pytest.raises(InputError, match="multiscales"):
        read_image(path)  # nobody takes it for finished
    done = Store(path).marks("predict")
    before = sum(computed)
    result = in_blocks(tmp_path, image, model, resume=True)
    np.testing.assert_array_equal(result.labels[:], expected.labels[:])
    assert result.count == expected.count
    # Of the network's work at most the one block is lost.
    assert sum(computed) <= tiles + tiles // 3
    if len(done) == 6:
        assert sum(computed) == before
    assert not (path / WORK).exists()


def test_a_complete_result_is_not_made_again(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, computed: list[int]
) -> None:
    first = in_blocks(tmp_path, image, lively)
    before = sum(computed)
    events: list[Event] = []
    second = in_blocks(tmp_path, image, lively, resume=True, on_event=events.append)
    assert second == first
    assert sum(computed) == before
    assert any("complete already" in event.text for event in events if isinstance(event, Message))


def test_another_image_model_or_settings_are_refused(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, tiny_model: Model
) -> None:
    in_blocks(tmp_path, image, lively)
    with pytest.raises(InputError, match="--resume"):
        in_blocks(tmp_path, image, lively)
    with pytest.raises(InputError, match="the image has other values"):
        in_blocks(tmp_path, image[::-1], lively, resume=True)
    with pytest.raises(InputError, match="model sha256 was"):
        in_blocks(tmp_path, image, tiny_model, resume=True)
    changed = replace(SMALL, labelling=LabelSettings(min_size=6))
    with pytest.raises(InputError, match="settings min_size was 5, now 6"):
        in_blocks(tmp_path, image, lively, changed, resume=True)
    with pytest.raises(InputError, match="blocks chunk was 32, now 64"):
        in_blocks(tmp_path, image, lively, blocks=BlockOptions(64, 64), resume=True)
    more, same = np.concatenate([image, image[..., :1]], axis=2), replace(SMALL, channels=(0, 1, 2))
    with pytest.raises(InputError, match="image number of channels was 3, now 4"):
        in_blocks(tmp_path, more, lively, same, resume=True)  # tables are of all channels
    with pytest.raises(InputError, match="exclude"):
        in_blocks(tmp_path, image, lively, resume=True, overwrite=True)
    result = in_blocks(tmp_path, image[::-1], lively, overwrite=True)
    assert result.labels.shape == (100, 130)


def test_a_channel_that_only_measurements_see_is_of_the_image_too(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    four, some = np.concatenate([image, image[..., :1]], axis=2), replace(SMALL, channels=(0, 1, 2))
    in_blocks(tmp_path, four, lively, some)
    in_blocks(tmp_path, four, lively, some, resume=True)
    four[..., 3] //= 2
    with pytest.raises(InputError, match="the image has other values"):
        in_blocks(tmp_path, four, lively, some, resume=True)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("options", [{}, {"region": (10, 4, 250, 30)}])
def test_an_image_that_differs_in_a_single_pixel_is_another_one(
    tmp_path: Path, blobs: Blobs, lively: Model, finished: bool, options: dict[str, Any]
) -> None:
    """Also where the fingerprint does not look."""
    image = (blobs((280, 40), 3, 0) * 200).astype(np.uint8)
    wanted = replace(SMALL, **options)
    if finished:
        in_blocks(tmp_path, image, lively, wanted)
    else:
        work = segment_to_zarr(image, tmp_path / "out.ome.zarr", lively, wanted, BLOCKS)
        next(event for event in work if isinstance(event, TileDone))
        work.close()
    other = image.copy()
    other[68, 20] ^= 1
    with pytest.raises(InputError, match=r"another image.* plane 1 are others"):
        in_blocks(tmp_path, other, lively, wanted, resume=True)
    in_blocks(tmp_path, image, lively, wanted, resume=True)


def test_a_run_stops_when_another_one_begins_on_its_result(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    expected = in_blocks(tmp_path / "alone", image, lively).labels[:]
    first = segment_to_zarr(image, tmp_path / "out.ome.zarr", lively, SMALL, BLOCKS)
    next(event for event in first if isinstance(event, BlockDone) and event.phase == "label")
    second = segment_to_zarr(
        image, tmp_path / "out.ome.zarr", lively, SMALL, BLOCKS, overwrite=True
    )
    next(event for event in second if isinstance(event, TileDone))
    with pytest.raises(SA2NetError, match="another one has begun"):
        run(first)
    np.testing.assert_array_equal(run(second).labels[:], expected)
    assert not (tmp_path / "out.ome.zarr" / WORK).exists()


def test_a_run_whose_result_another_one_finished_says_so(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    first = segment_to_zarr(image, tmp_path / "out.ome.zarr", lively, SMALL, BLOCKS)
    next(event for event in first if isinstance(event, BlockDone) and event.phase == "label")
    done = in_blocks(tmp_path, image, lively, resume=True)
    with pytest.raises(SA2NetError, match="another one has begun"):
        run(first)
    assert not (done.path / WORK).exists()


@pytest.mark.parametrize("corner", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_become_those_of_the_whole_plane(
    tmp_path: Path, blobs: Blobs, lively: Model, same_labels: Same, corner: float
) -> None:
    """Stitched images have such corners, of which whole blocks may consist."""
    image = (blobs((130, 150), 3, 0) * 10 + 400).astype(np.float32)
    image[:70, :80] = corner
    image[100, 90] = np.nan
    whole = run(segment(image, lively, SMALL)).labels
    assert whole.max() > 5
    assert same_labels(in_blocks(tmp_path, image, lively).labels[:], whole)


def test_a_result_is_replaced_only_once_all_is_ready(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = in_blocks(tmp_path, image, lively, save=["table"])

    def refuse(*_: Any) -> str:
        raise InputError("the workers cannot do it")

    monkeypatch.setattr(Here, "begin", refuse)
    with pytest.raises(InputError, match="cannot do it"):
        in_blocks(tmp_path, image[::-1], lively, save=["table"], overwrite=True)
    with pytest.raises(InputError, match="cannot do it"):
        in_blocks(tmp_path / "new", image, lively)
    assert [path.name for path in tmp_path.rglob("*") if "out" in path.name] == [
        "out.ome.zarr",
        before.saved["table"].name,
    ]
    monkeypatch.undo()
    assert in_blocks(tmp_path, image, lively, resume=True).count == before.count


def test_a_disk_that_is_full_at_once_leaves_nothing(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "write_json", full)
    with pytest.raises(SA2NetError, match="No space left"):
        in_blocks(tmp_path, image, lively)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert in_blocks(tmp_path, image, lively, resume=True).count > 0


def test_what_is_not_ours_is_never_replaced(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    folder = tmp_path / "out.ome.zarr"
    folder.mkdir()
    (folder / "precious.txt").write_text("keep me")
    for more in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(InputError, match="not written by sa2net"):
            in_blocks(tmp_path, image, lively, **more)
    assert (folder / "precious.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    "options", [{"keep": {"stages"}}, {"labelling": LabelSettings(link="z")}, {"planes": (1,)}]
)
def test_what_makes_no_sense_here_is_refused(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        in_blocks(tmp_path, image, lively, replace(SMALL, **options))
    assert not (tmp_path / "out.ome.zarr").exists()


@pytest.mark.parametrize(("side", "chunk"), [(100, 64), (32, 64), (24, 16)])
def test_blocks_are_whole_chunks(side: int, chunk: int) -> None:
    with pytest.raises(InputError, match=r"multiple|from 16"):
        BlockOptions(side, chunk)


def test_empty_tiles_are_skipped_and_counted(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, computed: list[int]
) -> None:
    noise = np.random.default_rng(0).integers(98, 103, image.shape, np.uint8)
    image = np.where(np.arange(130)[:, None] < 50, image, noise)
    blocks = replace(BLOCKS, skip_empty=True)
    result = in_blocks(tmp_path, image, lively, blocks=blocks)
    assert 0 < result.skipped < result.tiles
    assert sum(computed) == result.tiles - result.skipped
    assert f"{result.skipped} of {result.tiles} tiles have nothing in them" in result.messages[-1]
    found = result.labels[:]
    assert not found[:, 110:].any()
    everything = in_blocks(tmp_path / "all", image, lively)
    assert everything.skipped == 0
    np.testing.assert_array_equal(found[:, :20] > 0, everything.labels[:, :20] > 0)


def test_an_estimate_writes_nothing(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    path = tmp_path / "out.ome.zarr"
    found = estimate(image, path, lively, SMALL, BLOCKS)
    assert not path.exists()
    assert (found.pixels, found.blocks) == (13000, 6)
    assert found.tiles == in_blocks(tmp_path, image, lively).tiles
    assert found.working_bytes == 13000 * 10
    assert found.seconds > 0
    assert found.fits
    assert not replace(found, free_bytes=1000).fits
    assert "6 blocks" in found.text()


def test_without_memory_the_tiles_stay_as_they_are() -> None:
    plan = Plan("cuda", 2, 64, 16, 16, fixed=True)
    plan.shrink(2, 64)
    assert (plan.device, plan.batch, plan.tile) == ("cuda", 1, 64)
    assert "CPU" in plan.shrink(1, 64)
    assert (plan.device, plan.tile) == ("cpu", 64)
    with pytest.raises(DeviceError, match="smaller tiles"):
        plan.shrink(1, 64)


def test_no_runtime_or_disk_error_comes_out(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write_arrays", full)
    with pytest.raises(SA2NetError, match=r"No space left on device.*--resume"):
        in_blocks(tmp_path, image, lively)


def test_a_region_is_that_of_the_image_in_memory(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, same_labels: Same
) -> None:
    """In a grid of blocks of its own, that begins at its corner."""
    for diameter in (None, 16):
        options = replace(SMALL, region=(7, 20, 93, 111), diameter=diameter)
        part = run(segment(image, lively, options)).labels
        result = in_blocks(tmp_path / str(diameter), image, lively, options, sizes={"Y": 2, "X": 3})
        assert part.max() > 3
        assert same_labels(result.labels[:], part)
    attributes = json.loads((result.path / "zarr.json").read_text())["attributes"]
    place = attributes["ome"]["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    assert place == [
        {"type": "scale", "scale": [4, 6]}, {"type": "translation", "translation": [14, 60]}
    ]  # fmt: skip
    found = estimate(image, tmp_path / "none.zarr", lively, options, BLOCKS)
    assert (found.pixels, found.tiles) == (86 * 91, result.tiles)
    with pytest.raises(InputError, match="settings region was"):
        in_blocks(tmp_path / "16", image, lively, replace(options, region=None), resume=True)


def test_the_order_of_the_blocks_changes_nothing(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, computed: list[int]
) -> None:
    expected = in_blocks(tmp_path / "rows", image, lively)
    asked: list[list[int]] = []

    def last(blocks: Any) -> Any:
        asked.append([block.number for block in blocks])
        return blocks[-1]

    tiles = sum(computed)
    result = in_blocks(tmp_path, image, lively, order=last)
    np.testing.assert_array_equal(result.labels[:], expected.labels[:])
    assert sum(computed) == 2 * tiles, "each tile is computed once"
    assert asked[:3] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3]]


def test_blocks_are_shown_while_the_rest_is_made(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    """In all levels; what is shown first is the foreground, and in the end the result."""
    expected = in_blocks(tmp_path / "other", image, lively)
    store = Store(tmp_path / "out.ome.zarr")
    seen: list[tuple[int, int, int, int]] = []
    order = [4, 0, 5, 1, 3, 2]

    def first(blocks: Any) -> Any:
        return min(blocks, key=lambda block: order.index(block.number))

    def look(event: Event) -> None:
        if not isinstance(event, BlockWritten):
            return
        seen.append(event.box)
        place = (slice(event.box[0], event.box[2]), slice(event.box[1], event.box[3]))
        levels = [store.level(number)[:] for number in range(4)]
        assert levels[0][place].any()
        for finer, coarser in itertools.pairwise(levels):
            np.testing.assert_array_equal(coarser, finer[::2, ::2])
        if len(seen) == 1:
            shown = levels[0] > 0
            shown[place] = False
            assert not shown.any()
        if len(seen) == 6:
            foreground.append(levels[0] > 0)

    foreground: list[Any] = []
    result = in_blocks(tmp_path, image, lively, on_event=look, order=first, show=True)
    assert seen[0] == (64, 64, 100, 128)
    assert len(seen) == 12, "each block when it is predicted, and when it has its numbers"
    assert seen[:6] == seen[6:]
    whole = run(segment(image, lively, SMALL)).probabilities
    settings = lively.card.labelling
    np.testing.assert_array_equal(foreground[0], instances.foreground(whole, settings))
    for number in range(4):
        np.testing.assert_array_equal(store.level(number)[:], Store(expected.path).level(number)[:])
    assert result.count == expected.count


def test_values_far_from_zero_are_warned_of(tmp_path: Path, blobs: Blobs, lively: Model) -> None:
    image = (blobs((100, 90), 3, 0) * 200).astype(np.uint32)
    said: list[Event] = []
    in_blocks(tmp_path / "near", image + 10**5, lively, on_event=said.append)
    assert not any(isinstance(event, Message) and event.warning for event in said)
    in_blocks(tmp_path / "far", image + 3 * 10**9, lively, on_event=said.append)
    warned = [event.text for event in said if isinstance(event, Message) and event.warning]
    assert ["subtract their lowest value" in text for text in warned] == [True]


def test_a_masked_array_is_refused(tmp_path: Path, image: NDArray[np.uint8], lively: Model) -> None:
    with pytest.raises(InputError, match="masked array is not segmented block by block"):
        in_blocks(tmp_path, np.ma.masked_greater(image, 190), lively)
    assert list(tmp_path.iterdir()) == []


def test_dask_chunks_of_unknown_size_are_measured(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, same_labels: Same
) -> None:
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(image, chunks=(40, 60, 3))
    lazy = lazy[dask.from_array(np.ones(len(image), bool), chunks=40)]
    options = replace(SMALL, axes="YXC", rgb=True)
    result = in_blocks(tmp_path, lazy, lively, options)
    assert same_labels(result.labels[:], run(segment(image, lively, options)).labels)


def test_two_runs_that_begin_at_once_leave_one_result(
    image: NDArray[np.uint8], tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Store.begin

    def beaten(self: Store, identity: Any) -> None:
        begin(self, {"made": "by the other run"})
        begin(self, identity)

    monkeypatch.setattr(Store, "begin", beaten)
    out = tmp_path / "out.ome.zarr"
    with pytest.raises(InputError, match="has just been begun by another run"):
        in_blocks(tmp_path, image, tiny_model)
    assert Store(out).identity() == {"made": "by the other run"}
    assert [path.name for path in tmp_path.iterdir()] == ["out.ome.zarr"]
