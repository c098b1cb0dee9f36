"""The blocks of a run on the workers of a dask cluster.

A phase is sent to all workers once, the network in it by its content. Each worker reads and
writes its blocks itself, on a disk that all of them see, and does one block at a time. What is
on disk is as in a run without a cluster, so either can go on with what the other has begun.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ..errors import InputError, SA2NetError
from ..events import Event
from ..preparation import Preparation
from .phases import Finished, Phase
from .plan import Block
from .sending import check_sendable
from .store import Store
from .worker import Inspection, Outcome, Place, Sent, do_block, gpus, places

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
        futures = self._client.map(
            do_block, blocks, sent=there, key=name, pure=False, retries=RETRIES
        )
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
