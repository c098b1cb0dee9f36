"""Choosing a device, and knowing when memory ran out."""

from __future__ import annotations

import pytest
import torch

from napari_sa2net.engine import devices
from napari_sa2net.engine.devices import (
    Device,
    choose_device,
    free_memory,
    has_bfloat16,
    is_out_of_memory,
    layout_for,
    list_devices,
)
from napari_sa2net.engine.errors import DeviceError

CPU = Device("cpu", "processor, 2 threads")
MPS = Device("mps", "Apple GPU (MPS)")
CUDA = Device("cuda:0", "Card, 8 GB")


def test_the_processor_is_always_there() -> None:
    assert list_devices()[-1].device == "cpu"
    choice = choose_device("cpu")
    assert choice.device == "cpu"
    assert "asked" in choice.reason


@pytest.mark.parametrize(
    ("there", "broken", "wanted", "device", "why"),
    [
        ([CUDA, CPU], (), "auto", "cuda:0", "Card"),
        ([MPS, CPU], (), "auto", "mps", "Apple"),
        ([CPU], (), "auto", "cpu", "no GPU"),
        ([CUDA, CPU], ("cuda:0",), "auto", "cpu", "no kernel image"),
        ([CUDA, MPS, CPU], ("cuda:0",), "auto", "mps", "Apple"),
        ([CUDA, CPU], (), "cuda", "cuda:0", "asked"),
        ([CUDA, CPU], (), " GPU ", "cuda:0", "asked"),
        ([CUDA, CPU], (), "CPU", "cpu", "asked"),
        ([MPS, CPU], (), "mps:0", "mps", "asked"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch,
    there: list[Device],
    broken: tuple[str, ...],
    wanted: str,
    device: str,
    why: str,
) -> None:
    monkeypatch.setattr(devices, "list_devices", lambda: there)
    monkeypatch.setattr(
        devices, "_trial", lambda name: "no kernel image" if name in broken else None
    )
    choice = choose_device(wanted)
    assert choice.device == device
    assert why in choice.reason


def test_processes_take_the_cards_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Device("cuda:1", "Card, 8 GB")
    monkeypatch.setattr(devices, "list_devices", lambda: [CUDA, second, CPU])
    monkeypatch.setattr(devices, "_trial", lambda name: None)
    assert [choose_device("auto", turn).device for turn in range(3)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    assert choose_device("cuda:1", 2).device == "cuda:1"
    monkeypatch.setattr(devices, "list_devices", lambda: [CPU])
    assert choose_device("auto", 1).device == "cpu"


@pytest.mark.parametrize("wanted", ["cuda", "cuda:7", "gpu", "mps", "tpu", ""])
def test_a_missing_device_says_what_is_there(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(devices, "list_devices", lambda: [CPU])
    with pytest.raises(DeviceError, match=r"has: cpu \(processor"):
        choose_device(wanted)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("expected 3 channels"), ValueError("out of memory"), KeyError("x")]
)
def test_other_errors_are_not_out_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_the_trial_really_computes() -> None:
    assert devices._trial("cpu") is None
    assert devices._trial("meta") is not None  # has no data to compute with


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [("cuda:0", (7, 5), False), ("cuda:1", (8, 0), True), ("cpu", (9, 0), False)],
)
def test_bfloat16_is_for_cards_that_have_it(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: capability)
    assert has_bfloat16(device) is expected


def test_channels_are_last_where_that_is_quick_and_right() -> None:
    assert layout_for("cpu") == layout_for("cuda:0") == torch.channels_last
    assert layout_for("mps") == layout_for("mps:0") == torch.contiguous_format


def test_memory_of_an_apple_gpu_is_freed_by_either_name(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append("mps"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cuda"))
    free_memory("mps")
    free_memory("mps:0")
    assert freed == ["mps", "mps"]


def test_a_device_that_broke_does_not_hide_what_broke_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    free_memory("cuda:0")
    assert "could not be freed" in caplog.text
