"""One training in several processes, as ``torchrun`` starts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ..errors import DeviceError, InputError, SA2NetError, TrainingError
from ..network import SA2Net
from ..processes import ProcessPlace

LONGEST = timedelta(hours=6)
"""How long a process waits for another one, for instance while the first scores images."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them. Alone, there is nothing to do.

    What is called here is called by all processes, in the same order.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes files and talks."""
        return self.rank == 0

    def part(self, batch: int) -> int:
        """Return how many crops of a batch are this process's.

        Raises
        ------
        InputError
            If the batch cannot be divided.
        """
        if batch % self.count:
            fitting = [n for n in range(1, batch + 1) if batch % n == 0]
            raise InputError(
                f"A batch of {batch} cannot be divided over {self.count} processes: start "
                f"{', '.join(map(str, fitting))}, or change the recipe's batch."
            )
        return batch // self.count

    def own(self, chosen: Sequence[int]) -> list[int]:
        """Return this process's share of what is chosen; never nothing."""
        return list(chosen[self.rank :: self.count] or chosen[:1])

    def shared(self, make: Callable[[], Value]) -> Value:
        """Return what the first process makes; an error of it is raised in all."""
        if self.count == 1:
            return make()
        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except SA2NetError as error:
                made[1] = error
        with _told():
            distributed.broadcast_object_list(made)
        if made[1] is not None:
            raise made[1]
        value: Value = made[0]
        return value

    def all(self, value: Value) -> list[Value]:
        """Return the values of all processes, in their order."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with _told():
            distributed.all_gather_object(found, value)
        return found

    def mean(self, value: float, crops: int, device: torch.device) -> float:
        """Return the mean of a value of each process's crops, over all crops."""
        if self.count == 1:
            return value
        # A float32 on purpose: some devices have no float64.
        both = torch.tensor([value * crops, crops], dtype=torch.float32, device=device)
        self._add(both)
        return float(both[0] / both[1])

    def prepared(self, network: SA2Net) -> SA2Net:
        """Return a network that begins alike everywhere.

        On CUDA batch normalisation looks at the crops of all processes.
        """
        if self.count == 1:
            return network
        if next(network.parameters()).device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        with _told():
            for value in network.state_dict().values():
                distributed.broadcast(value, 0)
        return network

    def average_gradients(self, parameters: Sequence[nn.Parameter], crops: int) -> None:
        """Give all processes the mean gradient of all crops, None where none has one."""
        if self.count == 1:
            return
        device = parameters[0].device
        there = [float(p.grad is not None) for p in parameters]
        parts = [
            torch.zeros(p.numel(), device=device) if p.grad is None else p.grad.reshape(-1) * crops
            for p in parameters
        ]
        counts = torch.tensor([float(crops), *there], device=device)
        flat = torch.cat(parts)
        self._add(counts)
        self._add(flat)
        means = (flat / counts[0]).split([p.numel() for p in parameters])
        for p, mean, found in zip(parameters, means, counts[1:].tolist(), strict=True):
            if not found:
                p.grad = None
            elif p.grad is None:
                p.grad = mean.view_as(p).clone()
            else:
                p.grad.copy_(mean.view_as(p))

    def average_buffers(self, network: nn.Module, crops: int) -> None:
        """Give all processes the mean of what batch normalisation has seen."""
        if self.count == 1:
            return
        buffers = [b for b in network.buffers() if b.is_floating_point()]
        flat = torch.cat([b.reshape(-1) * crops for b in buffers] + [_number(crops, buffers[0])])
        self._add(flat)
        sizes = [b.numel() for b in buffers]
        for buffer, mean in zip(buffers, (flat[:-1] / flat[-1]).split(sizes), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def _add(self, values: Tensor) -> None:
        with _told():
            distributed.all_reduce(values)


def _number(value: float, like: Tensor) -> Tensor:
    return torch.tensor([float(value)], dtype=like.dtype, device=like.device)


@contextmanager
def _told() -> Iterator[None]:
    """Explain what is wrong when another process does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "Another process of this training has ended: see what it said. A training with "
            f"--resume (checkpoint=) goes on where it was ({error})."
        ) from error


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the other processes of a training, if there are any.

    Parameters
    ----------
    device
        ``auto``: the process's own CUDA device if there are any, else the CPU.

    Yields
    ------
    tuple
        The processes, and the device to use.

    Raises
    ------
    DeviceError
        If there are fewer CUDA devices than processes, or a device is named that cannot be
        each one's own.
    TrainingError
        If the other processes do not answer.
    """
    place = ProcessPlace.of_environment()
    if place.count == 1:
        yield Ranks(), device
        return
    own = _own_device(device, place)
    if own.startswith("cuda"):
        torch.cuda.set_device(own)
    theirs = distributed.is_initialized()  # by whoever calls this, who goes on with it
    if not theirs:
        backend = "nccl" if own.startswith("cuda") else "gloo"
        with _told():
            distributed.init_process_group(backend, timeout=LONGEST)
    try:
        yield Ranks(place.rank, place.count), own
    finally:
        if not theirs:
            distributed.destroy_process_group()


def _own_device(wanted: str, place: ProcessPlace) -> str:
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not there):
        return "cpu"
    if wanted not in ("auto", "cuda", "gpu"):
        raise DeviceError(
            f"Each of {place.count} processes has a device of its own: leave out the device "
            f"{wanted!r}, or take cuda or cpu."
        )
    if place.local >= there:
        raise DeviceError(
            f"Process {place.local + 1} of this computer finds no CUDA device for itself: there "
            f"are {there}. Start torchrun with --nproc-per-node {max(1, there)}, or train with "
            "--device cpu."
        )
    return f"cuda:{place.local}"
