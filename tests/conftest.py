"""Fixtures for all tests: no network, no files outside the test's folder, a small model."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]

# Two threads of torch beside Qt and pytest are slower than one on a small machine.
os.environ.setdefault("OMP_NUM_THREADS", "2")


class NetworkUsed(AssertionError):
    """A test reached for another machine."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach this machine only: no test may depend on the network."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise NetworkUsed(f"The test tried to reach {host}.")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep models of the person who runs the tests out of them, and the tests out of theirs."""
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(folder / "cache"))
    monkeypatch.setenv("NAPARI_SA2NET_HOME", str(folder / "home"))
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(folder / "models"))
    monkeypatch.delenv("NAPARI_SA2NET_WEIGHTS_URL", raising=False)


@pytest.fixture(scope="session")
def dead_process() -> int:
    """Return the number of a process that is over."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture(autouse=True)
def no_kept_sessions() -> Iterator[None]:
    """Let each test get its networks ready itself."""
    yield
    module = sys.modules.get("napari_sa2net.engine.execution.onnx_runtime")
    if module is not None:
        module.forget_sessions()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of data sets that are too big for the repository, or skip the test.

    ``NAPARI_SA2NET_DATA``, or ``shared/data`` beside the repository.
    """
    folder = Path(os.environ.get("NAPARI_SA2NET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder} (or where NAPARI_SA2NET_DATA says)")
    return folder


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the benchmarks by name, which are scripts beside the package, for one test."""
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """Return a model of width 4 with random weights: 3 channels, 3 classes."""
    import torch

    from napari_sa2net.engine.network import SA2Net
    from napari_sa2net.engine.weights import ClassInfo, Model, ModelCard

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SA2Net(in_channels=3, num_classes=3, base_channels=4).eval()
    card = ModelCard(
        name="tiny",
        description="Random weights, for tests only",
        base_channels=4,
        in_channels=3,
        num_classes=3,
        classes=(
            ClassInfo("background", "#000000"),
            ClassInfo("nucleus", "#e69f00"),
            ClassInfo("boundary", "#56b4e9", derived=True),
        ),
        channels=("red", "green", "blue"),
    )
    return Model(network, card)


@pytest.fixture(scope="session")
def twin_model(tiny_model: Any) -> Any:
    """Return a model that was made like the tiny one, with slightly other weights."""
    import copy
    from dataclasses import replace

    import torch

    network = copy.deepcopy(tiny_model.network)
    with torch.no_grad():
        next(network.parameters()).mul_(1.0001)
    return type(tiny_model)(network, replace(tiny_model.card, name="twin"))


@pytest.fixture
def real_image() -> NDArray[np.uint8]:
    """Return a bundled fluorescence image, (H, W), of nuclei."""
    from napari_sa2net.gui.sample_data import load_sample

    return load_sample("fluorescence")
