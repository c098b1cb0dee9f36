"""The blocks of a run on the workers of a dask cluster.

A phase is sent to all workers once, the network in it by its content. Each worker reads and
writes its blocks itself, on a disk that all of them see, and does one block at a time. What is
on disk is as in a run without a cluster, so either can go on with what the other has begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ..devices import choose_device
from ..errors import InputError, SA2NetError
from ..events import Event, Message
from ..preparation import Preparation
from .phases import Finished, Phase
from .plan import Block
from .sending import check_sendable
from .setup import explained
from .statistics import fingerprint
from .store import Store

logger = logging.getLogger(__name__)

PACKAGE = "napari-sa2net"
CLUSTER_EXTRA = 'pip install "napari-sa2net[cluster]"'
ANSWER = 15.0
"""Seconds within which a scheduler answers and has a worker."""
PATIENCE = 60.0
"""Seconds without any worker after which a run is given up."""
RETRIES = 2
"""How often a worker tries a block again that failed, for instance because a disk was away."""
ROUNDS = 5
"""How often a phase is sent again after the workers that had it are gone."""

GO_ON = "What is done is kept: go on with --resume (resume=True)."

Result = TypeVar("Result")


# --- On the workers -------------------------------------------------------------------------------

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

        store, messages = self.phase.store, []
        with _ONE_BLOCK, _alone(), explained(store.path):
            torch.set_num_threads(self.place.threads)
            steps = self.own.steps(block)
            while True:
                store.check_run(self.run)
                try:
                    event = next(steps)
                except StopIteration as end:
                    noted: dict[str, Any] = end.value
                    break
                if isinstance(event, Message):
                    messages.append(event)
            store.check_run(self.run)
            self.phase.mark(block, noted)
        return Outcome(noted, messages)


def _do(block: Block, sent: Sent) -> Outcome:
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


# --- Where the run is -----------------------------------------------------------------------------


class Cluster:
    """Does blocks on the workers of a dask cluster, see :class:`Runner`.

    Parameters
    ----------
    address
        Of the scheduler, as ``"tcp://10.0.0.1:8786"``.
    device
        As options name it; each worker chooses its own with ``"auto"``.

    Raises
    ------
    InputError
        If the package distributed is missing, or the address is none.
    SA2NetError
        If no scheduler answers there, or it has no workers.
    """

    def __init__(self, address: str, device: str) -> None:
        self.address, self.device = address, device
        self._run = ""
        self._places: dict[str, Place] = {}
        self._client = _connected(address)
        try:
            self._need_worker()
        except BaseException:
            self._client.close()
            raise

    def begin(self, preparation: Preparation, store: Store, run: str) -> str:
        """See that all workers can work, and tell what they have.

        Raises
        ------
        InputError
            If one cannot: another version, another disk, another image.
        """
        check_sendable(preparation.planes.arrays)
        self._check_versions()
        self._run = run
        identity = store.identity() or {}
        inspection = Inspection(
            preparation,
            store,
            run,
            tuple(identity["settings"]["planes"]),
            identity["image"]["fingerprint"],
            self.device,
        )
        found = self._ask(lambda: self._client.run(inspection.site, on_error="return"))
        for address, site in found.items():
            if isinstance(site, SA2NetError):
                raise InputError(f"The worker {address} cannot work: {site}") from site
            if isinstance(site, BaseException):
                raise SA2NetError(
                    f"The worker {address} failed ({type(site).__name__}: {site})."
                ) from site
        self._places = places(found)
        hosts = {site.host for site in found.values()}
        threads = sorted({place.threads for place in self._places.values()})
        return (
            f"{len(found)} worker(s) of the dask cluster {self.address} on {len(hosts)} "
            f"computer(s), with {' or '.join(map(str, threads))} thread(s) each and "
            f"{gpus(found.values())} GPU(s)"
        )

    def each(self, phase: Phase, blocks: Iterable[Block]) -> Generator[Event, None, None]:
        """Do blocks on whatever workers there are, see :class:`Runner`.

        Raises
        ------
        SA2NetError
            If a block failed, or the scheduler or all workers are gone.
        """
        missing = {block.number: block for block in blocks}
        for _ in range(ROUNDS):
            if missing:
                yield from self._round(phase, missing)
        if missing:
            raise SA2NetError(
                f"The workers of {self.address} were lost {ROUNDS} times during one phase. {GO_ON}"
            )

    def close(self) -> None:
        """End. Workers stop at the next tile, once the run may write no more."""
        self._client.close()

    # --- A phase ------------------------------------------------------------------------------

    def _round(self, phase: Phase, missing: dict[int, Block]) -> Generator[Event, None, None]:
        """Send a phase and do blocks; those that were lost with all workers stay missing."""
        from distributed import CancelledError

        self._need_worker()
        sent = Sent(phase, self._run, self._places)
        done: SimpleQueue[Any] = SimpleQueue()
        waiting = {}
        try:
            for future, block in self._ask(lambda: self._submitted(sent, list(missing.values()))):
                waiting[future.key] = future, block
                future.add_done_callback(done.put)
            while waiting:
                future, block = waiting.pop(self._next(done).key)
                if future.status == "error":
                    raise _explained(future.exception(), block)
                try:
                    outcome: Outcome = future.result()
                except CancelledError as error:
                    logger.info("Block %d is done again: %s", block.number, error)
                    continue
                del missing[block.number]
                yield from outcome.messages
                yield Finished(block, outcome.noted)
        finally:
            if waiting and self._client.status == "running":
                self._client.cancel([future for future, _ in waiting.values()])

    def _submitted(self, sent: Sent, blocks: list[Block]) -> list[tuple[Any, Block]]:
        there = self._client.scatter(sent, broadcast=True, hash=False)
        name = f"sa2net-{sent.phase.name}"
        futures = self._client.map(_do, blocks, sent=there, key=name, pure=False, retries=RETRIES)
        return list(zip(futures, blocks, strict=True))

    def _next(self, done: SimpleQueue[Any]) -> Any:
        """Wait for a block, as long as there are workers."""
        seen = time.monotonic()
        while True:
            try:
                return done.get(timeout=1)
            except Empty:
                # A scheduler that is gone cancels what it had: that comes out of the queue.
                if self._client.status != "running" or self._ask(self._client.nthreads):
                    seen = time.monotonic()
                elif time.monotonic() - seen > PATIENCE:
                    raise SA2NetError(
                        f"All workers of {self.address} are gone: start some. {GO_ON}"
                    ) from None

    # --- Talking to the scheduler -------------------------------------------------------------

    def _need_worker(self) -> None:
        def wait() -> bool:
            try:
                self._client.wait_for_workers(1, timeout=ANSWER)
            except TimeoutError:
                return False
            return True

        if not self._ask(wait):
            raise SA2NetError(
                f"The dask scheduler {self.address} has no workers: start one on each computer "
                f"with  dask worker {self.address} --nthreads 1"
            )

    def _check_versions(self) -> None:
        found = self._ask(lambda: self._client.get_versions(packages=[PACKAGE]))
        mine = found["client"]["packages"][PACKAGE]
        for address, told in found["workers"].items():
            theirs = told["packages"][PACKAGE]
            if theirs != mine:
                has = f"has {PACKAGE} {theirs}" if theirs else f"lacks {PACKAGE}"
                raise InputError(
                    f"The worker {address} {has}: install {PACKAGE}[cluster]=={mine} in the "
                    "environment of every worker, and start the workers again."
                )

    def _ask(self, question: Callable[[], Result]) -> Result:
        """Ask the scheduler something; tell where it does not answer."""
        try:
            return question()
        except (OSError, RuntimeError, AttributeError) as error:
            # While a client closes, its own parts are missing: hence the last kind.
            if isinstance(error, OSError) or self._client.status != "running":
                raise SA2NetError(
                    f"The dask scheduler {self.address} was lost ({error}). {GO_ON}"
                ) from error
            raise


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


def _connected(address: str) -> Any:
    """Return a client."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"Running on a cluster needs the package distributed: install it with  {CLUSTER_EXTRA}"
        ) from error
    try:
        return Client(address, timeout=ANSWER, set_as_default=False)
    except ValueError as error:
        raise InputError(
            f"{address!r} is no address of a dask scheduler ({error}): give what it prints when it "
            "starts, as tcp://10.0.0.1:8786"
        ) from error
    except OSError as error:  # a timeout is one
        raise SA2NetError(
            f"No dask scheduler answers at {address}: start one with  dask scheduler  and give "
            "the address that it prints."
        ) from error


def _explained(error: BaseException, block: Block) -> SA2NetError:
    """Return a worker's error for a person."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return SA2NetError(
            f"Several workers ended while they did block {block.number}, most likely for want of "
            "memory. Start fewer workers on each computer, or give each more with  dask worker "
            f"--memory-limit. {GO_ON}"
        )
    if isinstance(error, SA2NetError):
        return error
    return SA2NetError(
        f"A worker failed at block {block.number} ({type(error).__name__}: {error}). {GO_ON}"
    )
