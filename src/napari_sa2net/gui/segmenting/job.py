"""What the window does, without the window: jobs, results, live labels.

A job belongs to the viewer. The dock can be closed and opened again at any time and finds the
same :class:`SegmentController`, with the running job; closing the viewer's window ends it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal

from ...engine.blocks.plan import BlockWritten
from ...engine.errors import InputError
from ...engine.events import Downloaded, Event, Progress
from ..jobs import heavy
from ..jobs.host import Finish, JobHost
from ..jobs.lifetime import owned_by
from ..jobs.state import Kind, Note, done_text
from ..jobs.worker import Outcome, Task, Work
from ..layers import NOTE, layer_id
from ..objects import saved_pieces_text
from ..saving import Saved, image_sizes
from ..watching import watch
from ..writer import Shown, Target, Writer
from .backend import Backend, FolderRequest, LargeRequest, Ran, Request, StoreChosen, Stored
from .folder import FolderForm, FolderRun
from .labelling import for_stack
from .live import Live, Stores
from .stored import FOUND, check_zarr, measure_of, store_of

CANCELLED = {
    "segment": "Cancelled: the layers are as they were.",
    "large": "Stopped: what is done is kept. Segment goes on from there with the same settings.",
    "preview": "Cancelled: the layers are as they were.",
    "folder": "Stopped: what is done is kept. Start again to go on from there.",
    "measure": "Stopped: what is done is kept. Save again to go on from there.",
    "download": "Cancelled: nothing was downloaded.",
}
"""What is said of jobs that can be cancelled; the others take a moment and then are done."""

FAILURES = 10
"""Files of a folder whose failure is told in the tab; its window lists all."""


class SegmentController(JobHost):
    """Runs the jobs of one viewer and writes their results.

    ``changed`` is emitted whenever :attr:`state`, :attr:`notes` or :attr:`shown` change,
    ``models_changed`` when the list of models may have, with the name to choose, if any.
    """

    models_changed = Signal(str)

    def __init__(self, viewer: Any, backend: Any = None, writer: Any = None) -> None:
        super().__init__(viewer, "segment")
        self.backend = backend or Backend()
        self.writer = writer or Writer()
        self.device_asked = "auto"
        """What the last job was asked to run on."""
        self.shown: Shown | None = None
        self.form: dict[str, Any] = {}
        """What the window showed last, for when it is opened again."""
        self.folder: FolderRun | None = None
        """The folder that was segmented last, or is."""
        self.folder_form = FolderForm()
        """What its window showed last."""
        self.stores = Stores()
        """The folder of large results."""
        self._stored: dict[Path, Stored] = {}
        """The large results whose layers are there."""
        self._live: Live | None = None
        """Shows the large result that is made now."""
        self.labelling: Any = None
        """The label settings wanted now: those of the sliders."""
        self._model = ""
        """The model of the last run."""
        self._found: Note | None = None
        """The line that says what the last run found."""
        self._relabel: Task | None = None
        self._pending: tuple[Any, tuple[int, ...] | None] | None = None
        watch(self, viewer.layers.events.removed, self._on_removed)

    # --- the jobs --------------------------------------------------------------------------

    def segment(self, request: Request, target: Target) -> None:
        """Run the network on an image and write what comes back."""
        if target.on_disk:
            self._segment_large(request, target)
            return
        self._ask(request)
        started = time.monotonic()

        def finish(ran: Ran) -> None:
            self.shown = Shown(ran.segmentation, target, request.labelling)
            for text in self.writer.write(self._viewer(), self.shown, ran.maps):
                self.note(text)
            self._tell_found(done_text(ran.segmentation, time.monotonic() - started))
            self.labels_wanted(self.labelling, request.model, settled=True)

        kind: Kind = "preview" if target.preview else "segment"
        if kind == "preview" or self._begin(kind):
            work = self.backend.segment
            about = target.source
            self._start(kind, lambda: work(request), finish, f"SA2-Net: {kind}", about)
            self._tell(target.texts)

    def _segment_large(self, request: Request, target: Target) -> None:
        """Run the network block by block into a folder, and show what is done meanwhile."""
        viewer, started = self._viewer(), time.monotonic()
        try:
            check_zarr()
            folder = self.stores.folder
        except (InputError, OSError) as error:
            self.fail(error)
            return
        if viewer is None or not self._begin("segment"):
            return
        self._ask(request)

        def show(store: Path) -> Any:
            layer, texts = self.writer.show_store(self._viewer(), target, request, store)
            self._tell(texts)
            return layer

        def finish(ran: Stored) -> None:
            layer = show(ran.result.path)
            layer.metadata[NOTE][FOUND] = ran.result.text
            self._stored[ran.result.path] = ran
            self.shown = Shown(ran, target, request.labelling, layer)
            seconds = time.monotonic() - started
            self._tell_found(done_text(ran.result, seconds, linkable=False))

        def show_some(store: Path) -> Any:
            try:
                return show(store)
            except Exception as error:  # the run goes on, whatever can be seen of it
                self._could_not_show(error)

        live = Live(viewer, target, show_some)
        large = LargeRequest(
            request,
            folder,
            live.view.first,
            image_sizes(target.image),
            target.image.channel_names,
            frozenset(filter(None, map(store_of, viewer.layers))),
        )
        work = self.backend.segment_large
        self._start("segment", lambda: work(large), finish, "SA2-Net: segment", target.source)
        self._live = live
        self._tell(target.texts)

    def _tell_found(self, text: str) -> None:
        """Say what was found, in place of what was said before of the same result."""
        before = self._found
        self._found = Note(text, "info", *self._about, beside=self.chosen)
        if before in self.notes:
            self.notes[self.notes.index(before)] = self._found
        else:
            self.notes.append(self._found)
        self.changed.emit()

    def _tell(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.note(text)

    def segment_folder(self, request: FolderRequest) -> None:
        """Segment a folder of images into files."""

        def finish(_: Any) -> None:
            for line in run.failures[:FAILURES]:
                self.note(line, "error")
            self.note(f"Folder: {run.summary}. The results are in {run.output}.")

        if self.state.busy or not self._begin("folder"):
            return
        self._ask_device(request.options)
        run = self.folder = FolderRun(request.output)
        self._start(
            "folder", lambda: self.backend.segment_folder(request), finish, "SA2-Net: folder"
        )

    def download(self, name: str) -> None:
        """Download a model."""

        def finish(_: Any) -> None:
            self.note(f"“{name}” is downloaded and ready to use.")

        self._start("download", lambda: self.backend.fetch(name), finish, f"SA2-Net: {name}")

    def import_model(self, path: Path) -> None:
        """Copy a model file into the user's models."""

        def finish(entry: Any) -> None:
            self.note(f"“{entry.card.name}” is imported and ready to use.")
            self.models_changed.emit(entry.card.name)

        self._start("import", lambda: self.backend.import_model(path), finish)

    def save(self, layer: Any, path: Path) -> None:
        """Save a result layer as it is now, a person's edits included."""
        if store_of(layer) is not None and measure_of(path) is not None:
            self._measure_large(layer, path)
            return
        try:
            write = self.writer.saving(self._viewer(), layer, path)
        except Exception as error:
            self.fail(error)
            return

        def work() -> Generator[Event, None, Saved]:
            yield Progress(0, 1, "file", f"writing {path.name}")
            return write()

        def finish(saved: Saved) -> None:
            self.note(saved.text)
            if saved.pieces:
                self.note(saved_pieces_text(saved.pieces, path.suffix), "warning")

        self._start("save", work, finish)

    def _measure_large(self, layer: Any, path: Path) -> None:
        """Measure or outline the objects of a result on the disk, into a file."""
        store, kind = store_of(layer), measure_of(path)
        stored = None if store is None else self._stored.get(store)
        if kind is None or stored is None:
            text = (
                f"The settings that made “{layer.name}” are no longer known. Press Segment with "
                "the same settings, which takes only a moment, and save again."
            )
            self.fail(InputError(text))
            return
        if not self._begin("measure"):
            return
        self._start(
            "measure",
            lambda: self.backend.measure_large(stored, kind, path),
            lambda saved: self.note(Saved(saved, f"“{layer.name}”", stored.result.text).text),
            "SA2-Net: measure",
        )

    def cancel(self) -> None:
        """Ask the running job to stop; it does so within one tile."""
        if self._task is not None:
            self._task.cancel()
            self._set_state(replace(self.state, cancelling=True, text="stopping…"))

    # --- live labels -----------------------------------------------------------------------

    def labels_wanted(self, labelling: Any, model: str, *, settled: bool) -> None:
        """Make the labels again with other settings, off the GUI thread; the latest wins.

        While ``settled`` is False (a slider is being dragged) only the plane shown is made.
        During a run the settings are kept, and used when it ends. Settings of another ``model``
        than the one that made the labels, or makes them now, do not act on them.
        """
        running, shown = self.state.kind in ("segment", "preview"), self.shown
        if model != (self._model if running or shown is None else shown.model):
            return
        self.labelling = labelling
        if shown is None or shown.on_disk or running:
            return
        stacked = [letter for letter, n in shown.segmentation.plane_lengths.items() if n > 1]
        labelling = for_stack(labelling, "".join(stacked))
        idle = self._pending is None and self._relabel is None
        if settled and idle and labelling == shown.labelling:
            return
        index = None if settled else self.writer.plane_shown(self._viewer(), shown)
        self._pending = (labelling, index or None)  # a 2D image has only one plane: all
        if self._relabel is None:
            self._relabel_next()
        elif settled:
            self._relabel.cancel()

    def _relabel_next(self) -> None:
        if self._pending is None or self.shown is None or self._closed:
            return
        (labelling, index), self._pending = self._pending, None
        shown = self.shown

        def ended(outcome: Outcome) -> None:
            self._relabel = None
            if self._closed:
                return
            if outcome.status == "failed":
                self.note(outcome.error, "error")
            elif outcome.status == "done" and shown is self.shown:
                try:
                    self._write_relabelled(shown, outcome.result, labelling, index)
                except Exception as error:
                    self._could_not_show(error)
            self._relabel_next()

        self._relabel = Task(lambda: self.backend.relabel(shown.segmentation, labelling, index))
        self._relabel.ended.connect(ended)
        self._relabel.start()

    def _write_relabelled(
        self, shown: Shown, result: Any, labelling: Any, index: tuple[int, ...] | None
    ) -> None:
        viewer = self._viewer()
        if index is None:
            shown.segmentation, shown.labelling = result, labelling
            texts = self.writer.write_labels(viewer, shown)
            if self._found in self.notes:
                self._tell_found(done_text(result))
        else:
            shown.labelling = None
            texts = self.writer.write_plane(viewer, shown, result, index)
        for text in texts:
            self.note(text)
        self.changed.emit()

    def _on_removed(self, _: Any = None) -> None:
        """Forget a result whose image and labels are gone: nothing may bring it back."""
        viewer, shown = self._viewer(), self.shown
        if viewer is not None:
            here = set(map(store_of, viewer.layers))
            self._stored = {path: one for path, one in self._stored.items() if path in here}
        if viewer is None or shown is None or shown.layer is None:  # not written yet
            return
        if shown.layer not in viewer.layers and shown.target.source not in viewer.layers:
            self.shown = self._pending = None
            self.changed.emit()

    # --- running ---------------------------------------------------------------------------

    def _start(
        self, kind: Kind, work: Work, finish: Finish, description: str = "", about: Any = None
    ) -> None:
        """Start a job; ``about`` is the layer of the image that it is about, if it is one."""
        if self.state.busy or self._closed:
            return
        self.notes = []
        self._about = ("", "") if about is None else (layer_id(about), str(about.name))
        self._run(kind, work, finish, description)

    def _begin(self, kind: Kind) -> bool:
        """Claim the viewer for a heavy job; say why if another one runs."""
        if self.state.busy:
            return False
        try:
            heavy.begin(self._viewer(), kind)
        except InputError as error:
            self.fail(error)
            return False
        return True

    def _ask(self, request: Request) -> None:
        """Take note of what a run is asked for."""
        self.labelling, self._model = request.labelling, request.model
        self._ask_device(request.options)

    def _ask_device(self, options: dict[str, Any]) -> None:
        asked = options.get("device", "auto")
        if asked != self.device_asked:
            self.device, self.device_asked = "", asked

    def _on_other(self, event: Event) -> None:
        if isinstance(event, Downloaded):
            self.models_changed.emit("")
        if self._live is not None and isinstance(event, StoreChosen):
            self._live.begin(event.path)
        if self._live is not None and isinstance(event, BlockWritten):
            self._live.written()
        if self.state.kind == "folder" and self.folder is not None:
            self.folder.take(event)
            self.changed.emit()

    def _show(self, text: str, done: int, total: int) -> None:
        if self.state.kind == "folder" and self.folder is not None and self.folder.total:
            text = f"{self.folder.at}: {text}"
            done, total = self.folder.number - 1, self.folder.total
        super()._show(text, done, total)

    def _ended(self, kind: Kind, outcome: Outcome, finish: Finish) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
            if not self._closed:
                live.tick()
        if outcome.status == "cancelled" and not self._closed:
            self.note(CANCELLED.get("large" if live is not None else kind, "Cancelled."))
        super()._ended(kind, outcome, finish)
        if self._closed:
            self.stores.remove()
        elif live is not None and outcome.status == "failed":
            self.note("What is done is kept: Segment goes on from there with the same settings.")

    def _let_go(self) -> None:
        if self._relabel is not None:
            self._relabel.cancel()
        self.shown = self._pending = None
        self._stored = {}
        if self._live is not None:
            self._live.stop()
        if self._task is None:
            self.stores.remove()  # else when the thread has let go of it, see `_ended`


def controller_of(viewer: Any, **parts: Any) -> SegmentController:
    """Return the controller of ``viewer``; ``parts`` (backend, writer) only when it is made."""
    return owned_by(viewer, "segment", lambda: SegmentController(viewer, **parts))
