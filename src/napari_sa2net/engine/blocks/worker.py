"""What the workers of a cluster do: look what they have and see, and do blocks."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..devices import choose_device
from ..errors import InputError, SA2NetError
from ..events import Event, Message, run
from ..preparation import Preparation
from .phases import Phase
from .plan import Block
from .setup import explained
from .statistics import fingerprint
from .store import Store

_ONE_BLOCK = threading.Lock()
"""A worker does one block at a time, however many threads it has: memory is for one."""


@dataclass(frozen=True)
class Site:
    """What a worker has."""

    host: str
    """Name of its computer."""
    cores: int
    gpus: int
    """That it can see."""
    visible: str
    """Which these are, if that was set for it."""


@dataclass(frozen=True)
class Place:
    """A worker's part of its computer."""

    threads: int
    turn: int
    """Which of the GPUs."""


@dataclass(frozen=True)
class Outcome:
    """What a worker says of a block."""

    noted: dict[str, Any]
    messages: list[Message]


@dataclass(frozen=True)
class Sent:
    """A phase on a worker, where it is kept while the phase lasts."""

    phase: Phase
    run: str
    """Only this run may write."""
    places: Mapping[str, Place]
    """Of the workers, by their addresses."""

    def __getstate__(self) -> dict[str, Any]:
        # A worker may send it on to one that came later, which has a place of its own.
        return {name: getattr(self, name) for name in ("phase", "run", "places")}

    @cached_property
    def place(self) -> Place:
        """Where this worker is; one that came later takes what is likely free."""
        from distributed import get_worker

        address = get_worker().address
        known = self.places.get(address)
        least = min(place.threads for place in self.places.values())
        return known or Place(least, zlib.crc32(address.encode()))

    @cached_property
    def own(self) -> Phase:
        """The phase with what this worker keeps from block to block."""
        return self.phase.sharing(self.place.turn)

    def do(self, block: Block) -> Outcome:
        """Do a block, unless the run was ended in the meantime."""
        import torch

        messages: list[Message] = []

        def hear(event: Event) -> None:
            if isinstance(event, Message):
                messages.append(event)

        with _ONE_BLOCK, _alone(), explained(self.phase.store.path):
            torch.set_num_threads(self.place.threads)
            noted = run(self.own.steps_of(self.run, block), hear)
            self.phase.mark(block, noted)
        return Outcome(noted, messages)


def do_block(block: Block, sent: Sent) -> Outcome:
    """Do a block of what was sent."""
    return sent.do(block)


@contextmanager
def _alone() -> Iterator[None]:
    """Let lazy arrays compute here, and not wait for workers that wait themselves."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@dataclass(frozen=True)
class Inspection:
    """What a worker must see before it can work."""

    preparation: Preparation
    store: Store
    run: str
    planes: tuple[int, ...]
    fingerprint: str
    """Of these planes."""
    device: str

    async def site(self) -> Site:
        """Look, beside the worker's other duties."""
        return await asyncio.to_thread(self.look)

    def look(self) -> Site:
        """Return what the worker has.

        Raises
        ------
        InputError
            If it sees no output, or another image.
        DeviceError
            If the device is not there.
        """
        from dask.system import CPU_COUNT

        try:
            self.store.check_run(self.run)
        except SA2NetError as error:
            raise InputError(
                f"it does not see {self.store.path}, where the result is written: give a folder "
                "on a disk that all workers see under the same path"
            ) from error
        try:
            self.store.write_json(f"seen/{self.run}.{os.getpid()}.json", {})
        except OSError as error:
            raise InputError(
                f"it cannot write into {self.store.path} ({error.strerror}): let all workers run "
                "as a user who may"
            ) from error
        with _alone():
            found = fingerprint(self.preparation.planes, self.planes)
        if found != self.fingerprint:
            raise InputError("it sees another image under the same path")
        choose_device(self.device)
        import torch

        return Site(
            socket.gethostname(),
            int(CPU_COUNT),
            torch.cuda.device_count() if torch.cuda.is_available() else 0,
            os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        )


def places(sites: Mapping[str, Site]) -> dict[str, Place]:
    """Share out the cores and GPUs of each computer among its workers."""
    workers = Counter(site.host for site in sites.values())
    seen: Counter[tuple[str, str]] = Counter()
    out = {}
    for address, site in sorted(sites.items()):
        # Workers that were given GPUs of their own have each the first of them.
        turn = seen[site.host, site.visible]
        seen[site.host, site.visible] += 1
        out[address] = Place(max(1, site.cores // workers[site.host]), turn)
    return out


def gpus(sites: Iterable[Site]) -> int:
    """Return the number of GPUs that the workers use."""
    of: Counter[tuple[str, str]] = Counter((site.host, site.visible) for site in sites)
    most = {(site.host, site.visible): site.gpus for site in sites}
    return sum(min(count, most[key]) for key, count in of.items())
