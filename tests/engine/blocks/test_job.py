"""A whole image, block by block, onto the disk: equal to one in memory, and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net import segment, segment_to_zarr
from napari_sa2net.cli import main
from napari_sa2net.engine.blocks import job as job_module
from napari_sa2net.engine.blocks.plan import BlockOptions
from napari_sa2net.engine.blocks.store import ATTRIBUTE, WORK, Store
from napari_sa2net.engine.errors import InputError, SA2NetError
from napari_sa2net.engine.events import Event, Message
from napari_sa2net.engine.files import read_image
from napari_sa2net.engine.weights import Model

Blobs = Callable[[tuple[int, int], float, int], NDArray[np.float64]]
Same = Callable[[NDArray[Any], NDArray[Any]], bool]

BLOCKS = BlockOptions(side=128, chunk=64)
OPTIONS: dict[str, Any] = {"tile": 64, "discard": 0, "blend": 16, "min_size": 5}


@pytest.fixture
def image(blobs: Blobs) -> NDArray[np.uint8]:
    """Return an RGB image of several blocks, neither a multiple of a tile nor of a block."""
    planes = [blobs((300, 210), 5, seed) for seed in range(3)]
    return (255 * np.stack(planes, axis=-1)).astype(np.uint8)


@pytest.fixture
def tiny_model(tiny_model: Any, image: NDArray[np.uint8]) -> Any:
    """Return the model with a threshold at which it finds objects in the image."""
    found = segment(image, tiny_model, "cpu", rgb=True, axes="YXC")
    threshold = float(np.quantile(1 - found.probabilities[0].astype(np.float32), 0.7))
    labelling = replace(tiny_model.card.labelling, threshold=threshold)
    return Model(tiny_model.network, replace(tiny_model.card, labelling=labelling))


def to_zarr(image: Any, path: Path, model: Any, **options: Any) -> Any:
    """Segment with small tiles and blocks."""
    given = {"rgb": True, "axes": "YXC", "blocks": BLOCKS, **OPTIONS, **options}
    return segment_to_zarr(image, path, model, "cpu", **given)


def test_the_labels_are_those_of_the_image_in_memory(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any, same_labels: Same
) -> None:
    whole = segment(image, tiny_model, "cpu", rgb=True, axes="YXC", **OPTIONS)
    result = to_zarr(image, tmp_path / "a.ome.zarr", tiny_model)
    assert whole.labels.max() > 5
    assert same_labels(np.asarray(result.labels), whole.labels)
    assert result.count == whole.labels.max()
    # Other blocks and chunks are the same tiles.
    other = BlockOptions(side=96, chunk=48)
    again = to_zarr(image, tmp_path / "b.ome.zarr", tiny_model, blocks=other)
    assert same_labels(np.asarray(again.labels), whole.labels)


@pytest.mark.parametrize("options", [{"diameter": 15.0}, {"result": "classes"}])
def test_so_are_scaled_images_and_classes(
    image: NDArray[np.uint8],
    tmp_path: Path,
    tiny_model: Any,
    same_labels: Same,
    options: dict[str, Any],
) -> None:
    whole = segment(image, tiny_model, "cpu", rgb=True, axes="YXC", **OPTIONS, **options)
    result = to_zarr(image, tmp_path / "a.ome.zarr", tiny_model, **options)
    found = np.asarray(result.labels)
    assert whole.labels.any()
    if options.get("result") == "classes":
        np.testing.assert_array_equal(found, whole.labels)
    else:
        different = np.count_nonzero((found > 0) != (whole.labels > 0))
        assert different <= found.size / 1e4


def test_planes_of_a_stack_have_their_own_labels(
    blobs: Blobs, tmp_path: Path, tiny_model: Any, same_labels: Same
) -> None:
    stack = np.stack([blobs((150, 140), 5, seed) for seed in range(2)]).astype(np.float32)
    whole = segment(stack, tiny_model, "cpu", axes="ZYX", **OPTIONS)
    result = to_zarr(stack, tmp_path / "a.ome.zarr", tiny_model, axes="ZYX", rgb=False)
    assert same_labels(np.asarray(result.labels), whole.labels)


def test_the_result_is_an_ome_zarr_pyramid_that_says_what_made_it(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any
) -> None:
    path = tmp_path / "a.ome.zarr"
    result = to_zarr(image, path, tiny_model, pixel_size=0.5)
    read = read_image(path)
    assert read.axes == "YX"
    assert read.array.shape == (300, 210)
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    scales = [
        dataset["coordinateTransformations"][0]["scale"]
        for dataset in attributes["ome"]["multiscales"][0]["datasets"]
    ]
    assert [scale[0] / scales[0][0] for scale in scales] == [1, 2, 4, 8]
    import zarr

    levels = [zarr.open_array(str(path / str(level)), mode="r") for level in range(4)]
    assert [level.shape for level in levels] == [(300, 210), (150, 105), (75, 53), (38, 27)]
    np.testing.assert_array_equal(levels[1][...], levels[0][...][::2, ::2])
    made = attributes[ATTRIBUTE]
    assert len(made["identity"]["model"]["sha256"]) == 64
    assert made["identity"]["settings"]["min_size"] == 5
    assert made["objects"] == result.count
    assert not (path / WORK).exists()


class Stop(Exception):
    """Thrown in the middle of a run."""


@pytest.mark.parametrize("phase", ["normalise", "label", "relabel", "pyramid-1"])
def test_a_run_goes_on_where_it_was_stopped(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any, phase: str
) -> None:
    expected = to_zarr(image, tmp_path / "whole.ome.zarr", tiny_model)
    path = tmp_path / "a.ome.zarr"
    seen: list[str] = []

    def stop(event: Event) -> None:
        if isinstance(event, job_module.BlockDone) and event.phase == phase:
            seen.append(phase)
            if len(seen) == 2:
                raise Stop

    with pytest.raises(Stop):
        to_zarr(image, path, tiny_model, on_event=stop)
    assert not Store(path).finished()
    with pytest.raises(InputError, match="--resume"):
        to_zarr(image, path, tiny_model)
    result = to_zarr(image, path, tiny_model, resume=True)
    np.testing.assert_array_equal(result.labels[...], expected.labels[...])
    assert result.count == expected.count
    # What is complete is told, and not made again.
    told: list[Event] = []
    to_zarr(image, path, tiny_model, resume=True, on_event=told.append)
    assert [type(event) for event in told] == [Message]


def test_what_the_network_has_done_is_not_done_again(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ome.zarr"
    mark = Store.mark

    def full(store: Store, phase: str, number: int, **content: Any) -> None:
        if phase == "label" and number == 1:
            raise OSError(28, "No space left on device")
        mark(store, phase, number, **content)

    monkeypatch.setattr(Store, "mark", full)
    with pytest.raises(SA2NetError, match=r"No space left on device.*--resume"):
        to_zarr(image, path, tiny_model)
    monkeypatch.undo()

    def forbidden(*_: Any) -> Any:
        raise AssertionError("the network ran again")

    monkeypatch.setattr(tiny_model.network, "forward", forbidden)
    assert to_zarr(image, path, tiny_model, resume=True).count > 0


def test_another_image_model_or_setting_is_not_gone_on_with(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any
) -> None:
    path = tmp_path / "a.ome.zarr"
    to_zarr(image, path, tiny_model)
    with pytest.raises(InputError, match="image fingerprint was"):
        to_zarr(255 - image, path, tiny_model, resume=True)
    with pytest.raises(InputError, match="settings seed_size was 4, now 9"):
        to_zarr(image, path, tiny_model, resume=True, seed_size=9)
    with pytest.raises(InputError, match="model name was tiny, now nuclei"):
        to_zarr(image, path, "nuclei", resume=True)
    assert to_zarr(image, path, tiny_model, overwrite=True, seed_size=9).count > 0


def test_what_is_not_ours_is_never_replaced(
    image: NDArray[np.uint8], tmp_path: Path, tiny_model: Any
) -> None:
    folder = tmp_path / "mine.ome.zarr"
    folder.mkdir()
    (folder / "precious.txt").write_text("keep me")
    with pytest.raises(InputError, match="was not written by sa2net segment"):
        to_zarr(image, folder, tiny_model, overwrite=True)
    assert (folder / "precious.txt").exists()


def test_tiles_with_nothing_in_them_are_skipped(
    blobs: Blobs, tmp_path: Path, tiny_model: Any
) -> None:
    image = np.full((300, 300), 10, np.uint8)
    image[:64, :64] = 255 * blobs((64, 64), 4, 0)
    options = {"axes": "YX", "rgb": False}
    all_tiles = to_zarr(image, tmp_path / "a.ome.zarr", tiny_model, **options)
    skipping = BlockOptions(side=128, chunk=64, skip_empty=True)
    some = to_zarr(image, tmp_path / "b.ome.zarr", tiny_model, blocks=skipping, **options)
    assert all_tiles.skipped == 0
    assert 0 < some.skipped < some.tiles
    assert any("nothing in them" in text for text in some.messages)
    assert not np.asarray(some.labels)[150:, 150:].any()


def test_on_the_command_line(
    image: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import zarr

    source, out = tmp_path / "big.zarr", tmp_path / "out.ome.zarr"
    zarr.create_array(str(source), data=image, chunks=(64, 64, 3))
    command = ["segment", str(source), "-o", str(out), "--axes", "YXC", "--device", "cpu"]
    assert main([*command, "--dry-run"]) == 0
    assert "megapixels in 1 blocks" in capsys.readouterr().out
    assert not out.exists()
    assert main(command) == 0
    assert "object" in capsys.readouterr().out
    assert read_image(out).array.shape == (300, 210)
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "complete already" in capsys.readouterr().err
    assert main([*command, "--overwrite", "-q"]) == 0


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["-o", "folder", "--dry-run"], "--dry-run needs a result that ends in .zarr"),
        (["-o", "folder", "--skip-empty"], "--skip-empty needs a result that ends in .zarr"),
        (["-o", "a.zarr", "--save", "table"], "leave out --save"),
        (["-o", "a.zarr", "--link", "z"], "leave out --link"),
    ],
)
def test_wrong_usage(
    extra: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["segment", str(tmp_path / "x.tif"), *extra]) == 2
    assert text in capsys.readouterr().err
