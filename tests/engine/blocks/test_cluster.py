"""Block-wise segmentation on a real cluster of two worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sa2net.cli import main
from napari_sa2net.engine.blocks import cluster as cluster_module
from napari_sa2net.engine.blocks.cluster import Cluster
from napari_sa2net.engine.blocks.job import segment_to_zarr
from napari_sa2net.engine.blocks.plan import BlockOptions
from napari_sa2net.engine.blocks.result import BlockDone, ZarrResult
from napari_sa2net.engine.blocks.sending import FileArray, check_sendable
from napari_sa2net.engine.blocks.setup import Setup
from napari_sa2net.engine.blocks.store import WORK, Store
from napari_sa2net.engine.blocks.worker import Inspection, Place, Site, gpus, places
from napari_sa2net.engine.errors import DeviceError, InputError, SA2NetError
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.files import read_image, write_image
from napari_sa2net.engine.inference import SegmentOptions, TileDone
from napari_sa2net.engine.weights import Model, save_model

distributed = pytest.importorskip("distributed")

Blobs = Callable[[tuple[int, int], float, int], NDArray[np.float64]]

SMALL = SegmentOptions(device="cpu", tile=64, discard=16, blend=16)
BLOCKS = BlockOptions(side=64, chunk=32)
COUNT = 6
"""Blocks of the image."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """Return a cluster of two workers, which are started again when they end."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started


@pytest.fixture
def image(blobs: Blobs) -> NDArray[np.uint8]:
    """Return an RGB image of two by three blocks."""
    return np.stack([blobs((100, 130), 3, i) * 200 for i in range(3)], axis=-1).astype(np.uint8)


@pytest.fixture
def expected(tmp_path: Path, image: NDArray[np.uint8], lively: Model) -> ZarrResult:
    """Return what a single machine makes of it."""
    return run(segment_to_zarr(image, tmp_path / "here.ome.zarr", lively, SMALL, BLOCKS))


def predicted(out: Path) -> dict[str, int]:
    """Return the blocks that have been through the network, with when they were."""
    folder = out / WORK / "done" / "predict"
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def on_reading(pixels: NDArray[Any], out: Path, do: Callable[[], None]) -> Any:
    """Return an image that does something when it is read after two blocks were predicted."""

    class Image:  # inside of a function, so that workers get it by its content
        shape, dtype, ndim = pixels.shape, pixels.dtype, pixels.ndim

        def __getitem__(self, key: Any) -> Any:
            if len(list((out / ".napari-sa2net" / "done" / "predict").glob("*.json"))) >= 2:
                do()
            return pixels[key]

    return Image()


def killing(claim: Path) -> Callable[[], None]:
    """Return what ends the process that calls it, once, and notes its number."""

    def kill() -> None:
        try:
            with open(claim, "x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return kill


def waiting(hold: Path) -> Callable[[], None]:
    """Return what waits as long as a file exists."""

    def wait() -> None:
        while hold.exists():
            time.sleep(0.01)

    return wait


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


def finish(
    out: Path, image: Any, model: Model, scheduler: str | None, kept: dict[str, int]
) -> ZarrResult:
    """Go on with a run; see that no block goes through the network that had been before."""

    def look(event: Event) -> None:
        if isinstance(event, BlockDone) and event.phase == "label":
            now = predicted(out)
            assert len(now) == COUNT
            assert {name: now[name] for name in kept} == kept

    work = segment_to_zarr(image, out, model, SMALL, BLOCKS, resume=True, scheduler=scheduler)
    return run(work, look)


def test_a_worker_is_killed_and_the_result_is_that_of_one_machine(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    workers: Any,
    expected: ZarrResult,
) -> None:
    out, claim = tmp_path / "out.ome.zarr", tmp_path / "killed"
    array = on_reading(image, out, killing(claim))
    address = workers.scheduler_address
    events: list[Event] = []
    work = segment_to_zarr(array, out, lively, SMALL, BLOCKS, scheduler=address)
    result = run(work, events.append)
    with distributed.Client(address, set_as_default=False) as client:
        assert int(claim.read_text()) not in client.run(os.getpid).values()
    np.testing.assert_array_equal(result.labels[:], expected.labels[:])
    assert (result.count, result.tiles) == (expected.count, expected.tiles)
    for kind in (TileDone, BlockDone):
        done = [event for event in events if isinstance(event, kind)]
        assert done[-1].done == done[-1].total
    assert f"2 worker(s) of the dask cluster {address} on 1 computer(s)" in result.messages[0]
    assert not (out / WORK).exists()


def test_the_client_is_killed_and_a_second_run_does_what_is_missing(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    workers: Any,
    expected: ZarrResult,
) -> None:
    out, hold = tmp_path / "out.ome.zarr", tmp_path / "hold"
    hold.touch()
    np.save(tmp_path / "image.npy", image)
    model = save_model(lively, tmp_path / "model")
    script = f"""
import importlib.util, pathlib, sys
import numpy as np
spec = importlib.util.spec_from_file_location("tests_of_cluster", {__file__!r})
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
from napari_sa2net.engine.model_files import read_model
out, hold = pathlib.Path({str(out)!r}), pathlib.Path({str(hold)!r})
image = tests.on_reading(np.load({str(tmp_path / "image.npy")!r}), out, tests.waiting(hold))
work = tests.segment_to_zarr(
    image, out, read_model({str(model)!r}), tests.SMALL, tests.BLOCKS,
    scheduler={workers.scheduler_address!r},
)
tests.run(work)
"""
    client = subprocess.Popen([sys.executable, "-c", script])
    try:
        until(lambda: len(predicted(out)) >= 2 or client.poll() is not None)
        assert client.poll() is None
    finally:
        client.kill()
        client.wait()
    kept = predicted(out)
    assert 2 <= len(kept) < COUNT
    hold.unlink()
    result = finish(out, image, lively, workers.scheduler_address, kept)
    np.testing.assert_array_equal(result.labels[:], expected.labels[:])


def test_the_scheduler_is_killed_and_this_machine_does_what_is_missing(
    tmp_path: Path,
    image: NDArray[np.uint8],
    lively: Model,
    expected: ZarrResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, hold, where = tmp_path / "out.ome.zarr", tmp_path / "hold", tmp_path / "scheduler.json"
    hold.touch()
    dask = [sys.executable, "-m", "dask"]
    told = ["--scheduler-file", str(where), "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", *told, "--port", "0", "--host", "127.0.0.1"])
    worker = subprocess.Popen(
        [*dask, "worker", *told, "--no-nanny", "--nthreads", "1", "--death-timeout", "5"],
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},  # it has all cores, which may be busy
    )
    try:
        until(where.exists)
        address = read_address(where)
        until(lambda: has_worker(address))
        array = on_reading(image, out, waiting(hold))
        monkeypatch.setattr(cluster_module, "ANSWER", 5.0)
        work = segment_to_zarr(array, out, lively, SMALL, BLOCKS, scheduler=address)
        seen = 0

        def kill(event: Event) -> None:
            nonlocal seen
            seen += isinstance(event, TileDone)
            if len(predicted(out)) >= 2:
                scheduler.kill()

        with pytest.raises(SA2NetError, match=r"was lost.*--resume"):
            run(work, kill)
        assert seen
    finally:
        hold.unlink()
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    kept = predicted(out)
    assert 2 <= len(kept) < COUNT
    result = finish(out, image, lively, None, kept)
    np.testing.assert_array_equal(result.labels[:], expected.labels[:])


def read_address(where: Path) -> str:
    import json

    return str(json.loads(where.read_text())["address"])


def has_worker(address: str) -> bool:
    with distributed.Client(address, set_as_default=False) as client:
        return bool(client.nthreads())


def test_closing_takes_back_what_is_not_done(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, workers: Any
) -> None:
    out, hold = tmp_path / "out.ome.zarr", tmp_path / "hold"
    hold.touch()
    array = on_reading(image, out, waiting(hold))
    address = workers.scheduler_address
    work = segment_to_zarr(array, out, lively, SMALL, BLOCKS, scheduler=address)
    while not isinstance(next(work), TileDone):
        pass
    work.close()
    hold.unlink()

    def tasks(dask_scheduler: Any) -> int:
        return len(dask_scheduler.tasks)

    with distributed.Client(address, set_as_default=False) as client:
        until(lambda: not client.run_on_scheduler(tasks))
        until(lambda: not any(client.processing().values()))
    assert len(predicted(out)) < COUNT


def test_on_the_command_line_an_image_is_opened_by_the_workers(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, workers: Any,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    write_image("image.ome.tif", image, "YXC", {"Y": 0.5, "X": 0.5})
    save_model(lively, "model")
    command = ["segment", "image.ome.tif", "--model", "model.safetensors", "--device", "cpu", "-o"]
    assert main([*command, "here.zarr"]) == 0
    cluster = ["--scheduler", workers.scheduler_address]
    assert main([*command, "there.zarr", *cluster]) == 0
    assert "worker(s) of the dask cluster" in capsys.readouterr().err
    np.testing.assert_array_equal(
        read_image("there.zarr").array[:], read_image("here.zarr").array[:]
    )
    assert main([*command, "there.zarr", *cluster, "--resume"]) == 0
    assert "complete already" in capsys.readouterr().err
    save = ["--resume", "--save", "table,geojson"]
    assert main([*command, "here.zarr", *save]) == 0
    assert main([*command, "there.zarr", *cluster, *save]) == 0
    for ending in ("_table.csv", "_outlines.geojson"):
        there = (tmp_path / f"there{ending}").read_bytes()
        assert there == (tmp_path / f"here{ending}").read_bytes()
        assert there.count(b"\n") > 2
    assert main([*command, "other.zarr", *cluster, "--dry-run"]) == 2
    assert main([*command, "folder", *cluster]) == 2


def test_what_a_worker_cannot_read_is_told_and_nothing_is_left(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model, workers: Any
) -> None:
    client, pixels = os.getpid(), image

    class Image:
        shape, dtype, ndim = pixels.shape, pixels.dtype, pixels.ndim

        def __getitem__(self, key: Any) -> Any:
            if os.getpid() != client:
                raise OSError("no such disk here")
            return pixels[key]

    out = tmp_path / "out.ome.zarr"
    work = segment_to_zarr(Image(), out, lively, SMALL, BLOCKS, scheduler=workers.scheduler_address)
    with pytest.raises(InputError, match=r"worker tcp://.* cannot work: .*no such disk here"):
        run(work)
    assert not out.exists()


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Cluster(workers.scheduler_address, "cpu")
    runner._check_versions()
    found = runner._client.get_versions(packages=["napari-sa2net"])
    monkeypatch.setattr(runner._client, "get_versions", lambda packages: found)
    theirs = next(iter(found["workers"].values()))["packages"]
    theirs["napari-sa2net"] = "0.0.1"
    with pytest.raises(InputError, match=r"has napari-sa2net 0\.0\.1: install"):
        runner._check_versions()
    theirs["napari-sa2net"] = None
    with pytest.raises(InputError, match="lacks napari-sa2net: install"):
        runner._check_versions()
    runner.close()


def test_a_scheduler_that_is_not_there_or_has_no_workers_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "ANSWER", 0.5)
    with pytest.raises(SA2NetError, match=r"No dask scheduler answers at tcp://127.0.0.1:9: start"):
        Cluster("tcp://127.0.0.1:9", "cpu")
    with pytest.raises(InputError, match="is no address"):
        Cluster("carrier-pigeon://coop", "cpu")
    with (
        distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=None) as empty,
        pytest.raises(SA2NetError, match="has no workers: start one"),
    ):
        Cluster(empty.scheduler_address, "cpu")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"napari-sa2net\[cluster\]"):
        Cluster("tcp://127.0.0.1:9", "cpu")


def test_a_worker_sees_output_image_and_device(
    tmp_path: Path, image: NDArray[np.uint8], lively: Model
) -> None:
    from dataclasses import replace

    setup = Setup(image, tmp_path / "out.zarr", lively, SMALL, BLOCKS)
    setup.begin(False, False)
    name = setup.store.begin_run()
    whole = Inspection(setup.preparation, setup.store, name, (0,),
                       setup.identity["image"]["fingerprint"], "cpu")  # fmt: skip
    site = whole.look()
    assert site.cores >= 1
    for wrong, told in (
        (replace(whole, store=Store(tmp_path / "elsewhere")), "does not see"),
        (replace(whole, run="another"), "does not see"),
        (replace(whole, fingerprint="0"), "another image"),
    ):
        with pytest.raises(InputError, match=told):
            wrong.look()
    with pytest.raises(DeviceError):
        replace(whole, device="cuda:77").look()


def test_cores_and_gpus_are_shared_out() -> None:
    sites = {f"tcp://a:{i}": Site("a", 8, 2, "") for i in range(3)}
    sites |= {f"tcp://b:{i}": Site("b", 2, 2, f"{i},{1 - i}") for i in range(2)}
    sites |= {f"tcp://c:{i}": Site("c", 1, 0, "") for i in range(4)}
    found = places(sites)
    assert [found[f"tcp://a:{i}"] for i in range(3)] == [Place(2, 0), Place(2, 1), Place(2, 2)]
    # Each of these was given a GPU of its own, which is the first that it sees.
    assert [found[f"tcp://b:{i}"] for i in range(2)] == [Place(1, 0), Place(1, 0)]
    assert {found[f"tcp://c:{i}"].threads for i in range(4)} == {1}
    assert gpus(sites.values()) == 4


def test_images_are_sent_as_paths_or_small_arrays(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    import pickle

    import zarr

    path = write_image(tmp_path / "image.ome.tif", image, "YXC")
    pixels = read_image(path).array
    array = FileArray(read_image(path))
    sent = pickle.dumps(array)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert (again.shape, again.dtype) == (pixels.shape, pixels.dtype)
    np.testing.assert_array_equal(again[:, 10:20], pixels[:, 10:20])
    write_image(path, image[:50], "YXC")
    with pytest.raises(InputError, match="another image there"):
        _ = pickle.loads(sent)[0]
    lazy = zarr.create_array(
        str(tmp_path / "big.zarr"), shape=(9000, 9000), dtype="u1", chunks=(99, 99)
    )
    check_sendable([array, lazy, image])
    with pytest.raises(InputError, match=r"81 MB are not sent.*give its path"):
        check_sendable([np.broadcast_to(np.uint8(0), (9000, 9000))])
    with pytest.raises(InputError, match="cannot be sent"):
        check_sendable([(part for part in image)])


def test_messages_of_workers_come_with_their_blocks(workers: Any, tmp_path: Path) -> None:
    from napari_sa2net.engine.blocks.labelling import Rules
    from napari_sa2net.engine.blocks.phases import Finished, Phase
    from napari_sa2net.engine.blocks.plan import BlockGrid
    from napari_sa2net.engine.blocks.work import Work
    from napari_sa2net.engine.instances import LabelSettings

    class Talking(Phase):
        def steps(self, block: Any) -> Any:
            yield Message(f"block {block.number}", warning=True)
            return {"place": block.place}

    store = Store(tmp_path / "out")
    grid = BlockGrid((64, 192), 64, (0,))
    runner = Cluster(workers.scheduler_address, "cpu")
    runner._run = store.begin_run()
    runner._places = {"": Place(1, 0)}
    events = list(runner.each(Talking(Work(store, grid, Rules(LabelSettings()), 1)), grid))
    done = [event for event in events if isinstance(event, Finished)]
    assert {event.noted["place"] for event in done} == {(0, 0), (0, 1), (0, 2)}
    texts = {event.text for event in events if isinstance(event, Message)}
    assert texts == {"block 0", "block 1", "block 2"}
    assert store.marks("talking").keys() == {0, 1, 2}
    store.begin_run()
    with pytest.raises(SA2NetError, match="was ended, or another one has begun"):
        list(runner.each(Talking(Work(store, grid, Rules(LabelSettings()), 1)), grid))
    runner.close()
