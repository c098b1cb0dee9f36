"""What a network costs: parameters, floating-point operations, seconds and memory."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.losses import Target, authors_loss, deep_supervision
from records import CORES
from variants import VARIANTS

STATUS = Path("/proc/self/status")


def in_own_process(name: str, width: int, batch: int, side: int, device: str) -> dict[str, float]:
    """Return :func:`cost` measured in a fresh process, whose memory holds nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (CORES,)) as pool:
        return pool.submit(cost, name, width, batch, side, device).result()


def cost(
    name: str, width: int, batch: int, side: int, device: str, repeats: int = 5
) -> dict[str, float]:
    """Return what a variant of the network costs, for colour images and one class.

    Returns
    -------
    dict
        ``parameters``; ``flops`` of a forward pass of one image; median seconds of a training
        ``step`` of a batch and of an ``image`` (a forward pass); ``memory`` in bytes that a step
        needs at its peak: of the GPU, or what the process grew by.
    """
    torch.manual_seed(0)
    variant = VARIANTS[name]
    x = torch.rand(batch, 3, side, side).to(device)
    target = Target((torch.rand(batch, side, side) > 0.5).long()).to(device)
    before = memory_now(device)
    network = variant.make(3, 1, width).to(device)
    step = training_step(network, network, x, target, variant.stage_weights)
    step_seconds = median_seconds(step, repeats, device)
    # Linux counts pages in batches: a peak can be told as a little less than what is in use.
    memory = max(0, memory_peak(device) - before)
    network.eval()
    with torch.inference_mode():
        image_seconds = median_seconds(lambda: network(x[:1]), repeats, device)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "flops": flops(network, x[:1]),
        "step": step_seconds,
        "image": image_seconds,
        "memory": memory,
    }


def training_step(
    network: torch.nn.Module,
    forward: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    x: torch.Tensor,
    target: Target,
    stage_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    numbers: torch.dtype = torch.float32,
) -> Callable[[], None]:
    """Return what trains a network by a step.

    Parameters
    ----------
    network
        Whose parameters are trained.
    forward
        Computes its stages.
    numbers
        With what PyTorch's ``autocast`` computes; ``float32``: as the tensors are.
    """
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, numbers, enabled=numbers != torch.float32):
            stages = forward(x)
        deep_supervision(stages, target, authors_loss, stage_weights).backward()
        optimizer.step()

    return step


def flops(network: SA2Net, x: torch.Tensor) -> int:
    """Return the floating-point operations of a forward pass, two for each multiply-add."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return int(counter.get_total_flops())


def median_seconds(call: Callable[[], Any], repeats: int, device: str) -> float:
    """Return the median duration of a call; the first one does not count."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def memory_now(device: str) -> int:
    """Forget the memory's peak so far where that can be done; return bytes in use."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return memory_peak(device)


def memory_peak(device: str) -> int:
    """Return the bytes in use at the peak.

    Linux tells it of this program alone. Elsewhere, what the process ever had.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        return _status("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status(name: str) -> int:
    (line,) = (x for x in STATUS.read_text().splitlines() if x.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
