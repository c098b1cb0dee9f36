"""Whatever runs a network gives what the network's formulas give."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_sa2net.engine.errors import DeviceError, InputError
from napari_sa2net.engine.events import run
from napari_sa2net.engine.execution import backends, graphs, onnx_runtime
from napari_sa2net.engine.execution.backends import make_backend
from napari_sa2net.engine.execution.folding import folded
from napari_sa2net.engine.execution.maps import probabilities
from napari_sa2net.engine.execution.onnx_runtime import OnnxBackend
from napari_sa2net.engine.execution.pytorch import TorchBackend
from napari_sa2net.engine.folders import cache_folder
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.prediction import Plan, Predictor

TOLERANCE = 1e-4


def network(seed: int = 0, classes: int = 3, width: int = 4) -> SA2Net:
    """Return a network that has seen data, so that its normalisations do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = SA2Net(2, classes, width)
        for weight in made.parameters():
            torch.nn.init.normal_(weight, std=0.6 / width**0.5 if weight.ndim > 1 else 0.5)
        with torch.no_grad():
            for _ in range(3):
                made(1 + torch.rand(2, 2, 32, 32))
    return made.eval()


def tiles(batch: int = 2, height: int = 48, width: int = 80) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((batch, 2, height, width), np.float32)


@pytest.fixture
def literal(bench: Any) -> Any:
    """Return a function that computes all maps by the formulas."""
    Literal = bench("literal").Literal

    def maps(net: SA2Net, x: NDArray[np.float32], everything: bool) -> NDArray[np.float32]:
        with torch.inference_mode():
            stages = [probabilities(s) for s in Literal(net)(torch.from_numpy(x))]
            found = [stages[0]]
            if everything:
                found += [1 - stage[:, :1] for stage in stages]
                found += net.explain(torch.from_numpy(x)).attention
        return torch.cat(found, 1).numpy()

    return maps


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_maps_are_those_of_the_formulas(
    literal: Any, backend: str, everything: bool, classes: int
) -> None:
    net, x = network(classes=classes), tiles()
    expected = literal(net, x, everything)
    assert np.log(expected[:, 0] / (1 - expected[:, 0])).std() > 0.1  # it varies
    found = make_backend(net, "cpu", everything, backend).maps(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("width", [4, 16])  # ONNX Runtime lays 16 channels out in blocks
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_any_size_layout_and_batch(literal: Any, backend: str, width: int) -> None:
    net = network(width=width)
    made = make_backend(net, "cpu", False, backend)
    for shape in ((1, 16, 16), (3, 32, 16), (1, 64, 112)):
        x = np.flip(tiles(*shape), (-1, -2))
        expected = literal(net, np.ascontiguousarray(x), False)
        np.testing.assert_allclose(made.maps(x), expected, atol=TOLERANCE)


def test_in_training_too_the_network_is_that_of_the_formulas(bench: Any) -> None:
    """Stages and gradients, at batch statistics."""
    net, x = network().double().train(), torch.from_numpy(tiles()).double()
    found = []
    for computed in (net, bench("literal").Literal(net)):
        net.zero_grad()
        stages = computed(x)
        sum(stage.square().mean() for stage in stages).backward()
        found.append([*stages, *(p.grad for p in net.parameters())])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, atol=1e-9, rtol=1e-6)


def test_folding_leaves_the_network_alone_and_takes_the_normalisations_out() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = folded(net.train())
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    kinds = [type(m) for m in found.modules()]
    assert kinds.count(torch.nn.BatchNorm2d) == 1  # that of the global scale attention
    assert not any(p.requires_grad for p in found.parameters())


def test_onnxruntime_is_taken_by_itself_and_only_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(SA2Net):
        """Could compute anything."""

    net = network()
    assert isinstance(make_backend(net, "cpu", False), OnnxBackend)
    assert isinstance(make_backend(net, "cpu", False, "torch"), TorchBackend)
    assert isinstance(make_backend(net, "meta", False), TorchBackend)
    assert isinstance(make_backend(Own(2, 3, 4), "cpu", False), TorchBackend)
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert isinstance(make_backend(net, "cpu", False), TorchBackend)
    with pytest.raises(InputError, match=r"pip install .napari-sa2net\[fast\]"):
        make_backend(net, "cpu", False, "onnxruntime")
    with pytest.raises(InputError, match="cpu only"):
        make_backend(net, "cuda:0", False, "onnxruntime")


def test_a_broken_onnxruntime_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ImportError("DLL load failed")

    monkeypatch.setattr(onnx_runtime, "with_weights", broken)
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_backend(network(), "cpu", False), TorchBackend)
    assert "going on with PyTorch" in caplog.text
    with pytest.raises(ImportError):
        make_backend(network(), "cpu", False, "onnxruntime")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows with each session that is made."""
    made: list[bool] = []
    new = onnx_runtime._new_session

    def counted(net: SA2Net, everything: bool, threads: int) -> Any:
        made.append(everything)
        return new(net, everything, threads)

    monkeypatch.setattr(onnx_runtime, "_new_session", counted)
    return made


def test_a_session_is_kept_for_the_weights_it_was_made_of(sessions: list[bool]) -> None:
    net, x = network(), tiles()
    before = OnnxBackend(net, False).maps(x)
    np.testing.assert_array_equal(OnnxBackend(network(), False).maps(x), before)
    assert sessions == [False]
    OnnxBackend(net, True)
    assert sessions == [False, True]
    net.heads[0].bias.data[0] += 1  # in a way that PyTorch does not take note of
    np.testing.assert_allclose(
        OnnxBackend(net, False).maps(x), TorchBackend(net, "cpu", False).maps(x), atol=TOLERANCE
    )
    assert sessions == [False, True, False]


def test_the_two_sessions_used_last_are_kept(sessions: list[bool]) -> None:
    nets = [network(seed) for seed in range(3)]
    for number in (0, 1, 0, 2, 0):
        OnnxBackend(nets[number], False)
    assert len(sessions) == 3
    OnnxBackend(nets[1], False)
    assert len(sessions) == 4


def test_a_session_of_a_large_network_is_not_kept(
    sessions: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "LARGEST", 1000)
    for _ in range(2):
        found = OnnxBackend(network(), False).maps(tiles())
    assert found.shape == (2, 3, 48, 80)
    assert len(sessions) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory from /proc")
def test_what_is_kept_does_not_keep_the_memory_of_tiles() -> None:
    def megabytes() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    predictor = Predictor(network(width=16), Plan("cpu", 1, 512, 0, 0, backend="onnxruntime"))
    run(predictor.plane(tiles(1, 512, 512)[0], 0))
    taken = megabytes()
    predictor.close()
    assert megabytes() < taken - 100


@pytest.mark.parametrize(
    ("text", "kind"), [("std::bad_alloc", MemoryError), ("no kernel", DeviceError)]
)
def test_errors_of_a_run_are_of_known_kinds(text: str, kind: type[Exception]) -> None:
    class Session:
        def run(self, *_: Any) -> None:
            raise Exception(text)

    made = OnnxBackend(network(), False)
    made._session = Session()
    with pytest.raises(kind, match=text):
        made.maps(tiles())


def test_the_graph_is_made_once_and_kept_without_weights(
    literal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs._graph.cache_clear()
    traced: list[int] = []
    trace = graphs.trace
    monkeypatch.setattr(
        graphs, "trace", lambda *args, **options: traced.append(1) or trace(*args, **options)
    )
    x = tiles()
    for seed in (0, 1):
        graphs._graph.cache_clear()  # as in another process
        net = network(seed)
        found = make_backend(net, "cpu", False, "onnxruntime").maps(x)
        np.testing.assert_allclose(found, literal(net, x, False), atol=TOLERANCE)
    assert traced == [1]
    kept = list((cache_folder() / "graphs").iterdir())
    assert len(kept) == 1
    weight = next(p for n, p in net.named_parameters() if n.endswith("up_dwconv.weight"))
    assert weight.detach().numpy().tobytes() not in kept[0].read_bytes()


def test_a_graph_that_cannot_be_kept_or_read_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    graphs._graph.cache_clear()
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        found = OnnxBackend(network(), False).maps(tiles())
    assert found.shape == (2, 3, 48, 80)
    assert "could not be kept" in caplog.text


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\x08\x08"])
def test_a_graph_that_was_cut_short_is_made_again(content: bytes) -> None:
    graphs._graph.cache_clear()
    expected = OnnxBackend(network(), False).maps(tiles())
    (path,) = (cache_folder() / "graphs").iterdir()
    whole = path.read_bytes()
    path.write_bytes(content)
    onnx_runtime.forget_sessions()
    graphs._graph.cache_clear()
    np.testing.assert_array_equal(OnnxBackend(network(), False).maps(tiles()), expected)
    assert len(path.read_bytes()) == len(whole)
