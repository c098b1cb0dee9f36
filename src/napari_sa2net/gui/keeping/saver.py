"""The thread that finds what was painted and saves it. It knows arrays, neither layers nor Qt.

**Finding.** napari tells where a stroke went, but not what undo, redo or ``data[...] =``
changed. So of every block its checksum as last saved is kept, and blocks are compared: at once
those where a stroke went and those painted on lately, which undo and redo go back to; the
others in a sweep over the whole array, which rests most of the time so that neither the window
nor a training notices it.

**Reading while someone paints.** A block is copied, and both its checksum and what is saved
come from that copy. If the copy was torn by a stroke under way, it differs from what the block
becomes, and so does its checksum. The event of that stroke comes after the stroke has been
written, and the block is compared again after the event. So the last state is always saved,
and a torn one is never older than a moment.

**A thread of its own**, and not one of napari's: it lives as long as the viewer and must
neither show as a busy task nor keep napari from closing.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.painting_blocks import Grid
from ...engine.paintings import MOST_BYTES, MOST_SETS, PaintingSet, make_room
from ..annotating.originals import Original
from .job import Job
from .originals import pack

log = logging.getLogger(__name__)

Tell = Callable[[str, str], None]
"""Called in the thread: ("warning" or "info", text for a person), or ("left", "")."""

SLICE, PAUSE = 0.010, 0.030
"""Seconds of sweeping, and of resting after them: a quarter of a core."""
NEAR_SLICE, NEAR_PAUSE = 0.040, 0.010
"""The same for blocks in which something was painted for certain or nearly so."""
REST = 3
"""Times the processor's seconds of a sweep that pass until the next one may begin."""
IDLE = 60.0
"""Seconds between two sweeps when napari told of no change."""
COMMIT = 1.0
"""Seconds at least between two writings of a set's index while the saving goes on."""
RETRY = 10.0
"""Seconds after which saving is tried again when it failed."""
LATELY = 256
"""Blocks remembered as painted on lately."""
GROWN = 2**24
"""Bytes by which the open paintings may grow until the folder's size is looked at again."""


class Saver:
    """Saves paintings into a folder, in a thread that starts when there is something to watch.

    Parameters
    ----------
    folder
        Where the sets are; made when something is painted.
    tell
        Told once of a failure, once when saving works again, and each time a painting is left.
    """

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.folder = folder
        self._tell = tell
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._jobs: list[Job] = []
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._failed = 0.0
        self._said_big = False
        self._measured = 0

    # --- called on the main thread: none of these waits for the disk ------------------------

    def add(
        self,
        array: NDArray[Any],
        sides: tuple[int, int],
        about: dict[str, Any],
        original: Original | None = None,
        kept: PaintingSet | None = None,
    ) -> Job:
        """Watch an array; all that is painted in it already counts as changed.

        Parameters
        ----------
        array
            The pixels; only read.
        sides
            Its axes Y and X.
        about
            What to keep with the painting: plain values, as JSON can hold, with ``name`` and
            ``image.name``.
        original
            What it was before it was corrected, to keep with it.
        kept
            The set it was restored from, to go on with; None for a new one.
        """
        grid = Grid(array.shape, sides)
        job = Job(array, grid, about, original, kept, np.zeros(len(grid), np.uint32))
        if kept is not None:  # what is there is written once again
            job.near = dict.fromkeys(kept.numbers)
        with self._lock:
            self._jobs.append(job)
        self._go_on()
        return job

    def changed(
        self,
        job: Job,
        array: NDArray[Any],
        about: dict[str, Any],
        near: Iterable[int] = (),
        *,
        anywhere: bool = True,
    ) -> None:
        """Say that something may have been painted.

        Parameters
        ----------
        job
            From :meth:`add`.
        array
            The pixels, of the same shape as before.
        about
            What to keep with the painting.
        near
            Blocks it may be in.
        anywhere
            Whether it may be in others too.
        """
        with self._lock:
            job.array, job.about = array, about
            job.near.update(dict.fromkeys(near))
            if anywhere:
                job.near.update(job.lately)
                job.wanted = True
        self._go_on()

    def drop(self, job: Job) -> None:
        """Save what is new and let go of the painting."""
        with self._lock:
            job.over = job.wanted = True
        self._go_on()

    def wait(self, seconds: float) -> bool:
        """Wait until all that was told of is saved; False if it took longer (or fails)."""
        return self._idle.wait(seconds)

    def close(self, seconds: float = 1.5) -> bool:
        """Save what is pending and end the thread; False if it did not end in time.

        The blocks painted on lately come first, then as many others as there is time for.
        """
        self._deadline = time.monotonic() + seconds
        thread = self._thread
        if thread is None:
            return True
        self._wake.set()
        thread.join(seconds + 0.5)
        return not thread.is_alive()

    def _go_on(self) -> None:
        self._idle.clear()
        if self._thread is None and self._deadline is None:
            self._thread = threading.Thread(
                target=self._run, name="napari-sa2net paintings", daemon=True
            )
            self._thread.start()
        self._wake.set()

    # --- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        pause: float | None = 0.0
        while self._deadline is None:
            self._wake.wait(pause)
            self._wake.clear()
            pause = self._tick()
        self._failed = 0.0  # a last attempt
        for job in list(self._jobs):
            self._guarded(self._finish, job)
        self._jobs.clear()
        self._idle.set()

    def _tick(self) -> float:
        """Work for a moment; return the seconds until there is more to do."""
        if self._failed and time.monotonic() < self._failed:
            return self._failed - time.monotonic()
        pauses = [IDLE]
        for job in list(self._jobs):
            pauses.append(self._guarded(self._work, job))
            if self._failed and time.monotonic() < self._failed:
                return RETRY
        if self._failed:
            self._failed = 0.0
            self._tell("info", "Paintings are being saved again.")
        with self._lock:
            if not any(job.is_pending for job in self._jobs):
                self._idle.set()
        return min(pauses)

    def _guarded(self, step: Callable[[Job], float], job: Job) -> float:
        """Do ``step``; if it fails say so once, and try again later."""
        try:
            return step(job)
        except Exception as error:  # whatever it is, painting and saving must go on
            if not isinstance(error, OSError):
                log.exception("saving a painting failed")
            if not self._failed:
                self._tell("warning", self._failure(error))
            self._failed = time.monotonic() + RETRY
            return RETRY

    def _failure(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return (
            f"The painting cannot be saved as you work ({reason}; {self.folder}). You can paint "
            "on, and it is tried again every few seconds: make room on the disk or make the "
            "folder writable, or save the layer yourself before you close napari."
        )

    def _work(self, job: Job) -> float:
        near = self._compare_near(job, time.monotonic() + NEAR_SLICE)
        busy = near or self._sweep(job, time.monotonic() + SLICE)
        now = time.monotonic()
        if (job.unsaved or job.is_behind) and (not busy or now - job.committed > COMMIT):
            self._commit(job)
        if job.over and not busy and not job.wanted:
            self._leave(job)
            return IDLE
        if busy:
            return NEAR_PAUSE if near else PAUSE
        if job.is_behind:
            return COMMIT
        return max(0.0, job.next_sweep - now) if job.wanted else IDLE

    def _compare_near(self, job: Job, until: float) -> bool:
        """Compare the blocks to look at first; return whether some are left."""
        while True:
            with self._lock:
                number = next(iter(job.near), None)
                if number is None:
                    return False
                del job.near[number]
            self._compare(job, number)
            if time.monotonic() > until:
                return bool(job.near)

    def _sweep(self, job: Job, until: float) -> bool:
        """Go on with the sweep over all blocks, or begin one; return whether it is under way."""
        began, now = time.thread_time(), time.monotonic()
        if job.sweep is None:
            idle = now - job.last_sweep > max(IDLE, 100 * job.spent)
            due = now >= job.next_sweep or job.over or self._deadline is not None
            if not (idle or (job.wanted and due)):
                return False
            with self._lock:
                job.wanted = False
            job.sweep, job.spent = iter(range(len(job.grid))), 0.0
        for number in job.sweep:
            self._compare(job, number)
            if time.monotonic() > until:
                job.spent += time.thread_time() - began
                return True
        job.spent += time.thread_time() - began
        job.sweep = None
        job.last_sweep = time.monotonic()
        job.next_sweep = job.last_sweep + REST * job.spent
        return False

    def _compare(self, job: Job, number: int) -> None:
        """Save a block if it is not what was last saved of it."""
        block = job.array[job.grid.slices(number)]
        if not block.any():
            if not job.sums[number]:
                return
            block, checksum = np.zeros(block.shape, block.dtype), 0
        else:
            block = np.array(block, order="C")
            pixels: Any = block  # mypy does not know that it is a buffer
            checksum = zlib.crc32(memoryview(pixels)) or 1
            if checksum == job.sums[number]:
                return
        try:
            self._write(job, number, block)
        except Exception:
            with self._lock:
                job.near[number] = None
            raise
        job.sums[number] = checksum
        with self._lock:
            job.lately.pop(number, None)
            job.lately[number] = None
            if len(job.lately) > LATELY:
                del job.lately[next(iter(job.lately))]

    def _write(self, job: Job, number: int, block: NDArray[Any]) -> None:
        if job.kept is not None and not job.kept.is_there:
            self._begin_again(job)
        if job.kept is None:
            job.kept = PaintingSet.create(
                self.folder, job.grid.shape, job.array.dtype, job.grid.sides
            )
            self._look_at_room()
        job.kept.dtype = job.array.dtype
        job.kept.write(number, block, sync=self._deadline is None)
        job.unsaved = True

    def _begin_again(self, job: Job) -> None:
        """Someone removed the files: save everything anew."""
        if job.kept is not None:
            job.kept.abandon()
        job.kept, job.described, job.attached = None, None, False
        job.sums[:] = 0
        job.wanted, job.sweep, job.next_sweep = True, None, 0.0

    def _commit(self, job: Job) -> None:
        if job.kept is None:
            return
        about, sync = job.about, self._deadline is None
        if about != job.described:
            job.kept.describe(about)
        job.described = about
        self._attach(job, job.kept)
        job.kept.commit(about["name"], about["image"]["name"], sync=sync)
        job.unsaved, job.committed = False, time.monotonic()
        if sum(each.kept.size for each in self._jobs if each.kept) > self._measured + GROWN:
            self._look_at_room()

    def _attach(self, job: Job, kept: PaintingSet) -> None:
        """Save what the painting was before it was corrected, once that is compressed."""
        if job.original is None or job.attached:
            return
        if job.over or self._deadline is not None:
            for _ in job.original.pack():  # nothing to do if it has been done elsewhere
                if self._deadline is not None and time.monotonic() > self._deadline:
                    break
        packed = pack(job.original)
        if packed is not None:
            kept.attach(packed)
            job.attached = True

    def _look_at_room(self) -> None:
        self._measured = sum(job.kept.size for job in self._jobs if job.kept)
        total, removed = make_room(self.folder, MOST_BYTES, MOST_SETS)
        if total <= MOST_BYTES:
            if removed:
                were = "oldest unused painting was"
                if removed > 1:
                    were = f"{removed} oldest unused paintings were"
                self._tell("info", f"The {were} removed to make room.")
        elif not self._said_big:
            self._said_big = True
            self._tell(
                "info",
                f"The open paintings take {total / 1e9:.2g} GB in {self.folder}. They go on "
                "being saved; older ones that were left have been removed to make room.",
            )

    def _finish(self, job: Job) -> float:
        """Save as much as there is time for, and let go of the painting."""
        until = self._deadline or 0.0
        try:
            if not self._compare_near(job, until):
                for number in list(job.lately):
                    self._compare(job, number)
                if job.wanted or job.sweep is not None:
                    job.wanted, job.sweep = True, None
                    self._sweep(job, until)
            self._commit(job)
        finally:
            self._leave(job)
        return IDLE

    def _leave(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if job.kept is not None:
            job.kept.close()
            self._tell("left", "")
