"""Keeps what a person paints in a viewer, and offers what was left."""

from __future__ import annotations

import atexit
import logging
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from ...engine import paintings
from ...engine.errors import InputError
from ...engine.folders import paintings_folder
from ...engine.paintings import Kept, PaintingSet
from ..annotating.layers import is_annotation, layer_letters
from ..annotating.originals import original_of
from ..jobs.lifetime import (
    disown,
    owned_by,
    unwrap,
    when_closed,
    window_of,
)
from ..plain import not_html
from .describing import find_image, image_of, rebuild
from .originals import unpack
from .saver import Saver
from .watch import Watch

log = logging.getLogger(__name__)

GATHER = 400
"""Milliseconds after a first change during which further ones are gathered."""


class PaintingKeeper(QObject):  # type: ignore[misc]
    """Saves the annotation layers of one viewer as one works.

    Every Labels layer that carries the mark of an annotation is watched from when it is added;
    others after :meth:`watch`. The dock can be closed meanwhile; closing the viewer saves what
    is pending.

    Parameters
    ----------
    viewer
        The viewer, or napari's proxy of it.
    folder
        Where paintings are kept; None: where the user's data is.

    Notes
    -----
    ``changed`` is emitted when the list of :meth:`offers` may have changed. ``told`` carries
    ("warning" or "info", text) of what a person should know; napari shows it as well.
    """

    changed = Signal()
    told = Signal(str, str)
    _from_thread = Signal(str, str)

    def __init__(self, viewer: Any, folder: Path | None = None) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self._watches: list[Watch] = []
        self._windows: list[Any] = []
        self._restoring: PaintingSet | None = None
        self._closed = False
        self._from_thread.connect(self._on_told)
        this = weakref.ref(self)

        def tell(level: str, text: str) -> None:
            keeper = this()
            if keeper is not None and not keeper._closed:
                keeper._from_thread.emit(level, text)

        self.saver = Saver(folder or paintings_folder(), tell)
        atexit.register(self.saver.close)
        weakref.finalize(self, _end, self.saver)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(GATHER)
        self._timer.timeout.connect(self.hand_over)
        layers = unwrap(viewer).layers
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removed.connect(self._on_removed)
        for layer in layers:
            if is_annotation(layer):
                self.watch(layer)

    @property
    def viewer(self) -> Any:
        """The viewer itself, None when it is gone."""
        return self._viewer()

    # --- watching --------------------------------------------------------------------------

    def watch(self, layer: Any, image_layer: Any = None) -> bool:
        """Save ``layer`` from now on.

        Parameters
        ----------
        layer
            A Labels layer; one that is watched already is left as it is.
        image_layer
            What it is painted on, if its metadata do not say.

        Returns
        -------
        bool
            Whether it is watched. A layer whose pixels are not in memory is not: what is
            painted on a zarr file is on the disk already.
        """
        layer, image_layer = unwrap(layer), unwrap(image_layer)
        if self._closed or not isinstance(layer, Labels):
            return False
        watch = self._watch_of(layer)
        if watch is None:
            if layer.multiscale or not isinstance(layer.data, np.ndarray):
                return False
            watch = Watch(self, layer, image_layer)
            self._watches.append(watch)
            self._begin(watch)
        elif image_layer is not None:
            watch.image = weakref.ref(image_layer)
            self.schedule()
        return True

    def schedule(self) -> None:
        """Tell the thread of the changes in a moment."""
        if not self._timer.isActive():
            self._timer.start()

    def hand_over(self) -> None:
        """Tell the thread of the changes now."""
        if isalive(self._timer):  # the window may have been destroyed at the end of a script
            self._timer.stop()
        for watch in list(self._watches):
            self._hand_over(watch)

    def flush(self, seconds: float = 2.0) -> bool:
        """Wait until all is saved; False if it takes longer."""
        self.hand_over()
        return self.saver.wait(seconds)

    def _hand_over(self, watch: Watch) -> None:
        layer = watch.layer()
        if layer is None:
            self._forget_watch(watch)
            return
        if watch.job is None:
            return
        data = layer.data
        if not isinstance(data, np.ndarray) or data.shape != watch.job.grid.shape:
            self.saver.drop(watch.job)  # another painting
            watch.job = None
            if isinstance(data, np.ndarray):
                self._begin(watch)
            return
        array = data.view(np.ndarray)
        near, watch.near = watch.near, set()
        anywhere, watch.anywhere = watch.anywhere, False
        self.saver.changed(watch.job, array, self._describe(watch), near, anywhere=anywhere)

    def _begin(self, watch: Watch) -> None:
        layer: Any = watch.layer()
        letters = layer_letters(layer)
        if self._restoring is not None:
            watch.describer.go_on(self._restoring.about())
        sides = (letters.index("Y"), letters.index("X"))
        watch.job = self.saver.add(
            layer.data.view(np.ndarray),
            sides,
            self._describe(watch),
            original_of(layer),
            self._restoring,
        )

    def _describe(self, watch: Watch) -> dict[str, Any]:
        layer, viewer = watch.layer(), self.viewer
        image = None if watch.image is None else watch.image()
        if image is None and viewer is not None:
            image = image_of(viewer, layer, watch.describer.image)
        return watch.describer.describe(layer, image)

    def _watch_of(self, layer: Any) -> Watch | None:
        return next((watch for watch in self._watches if watch.layer() is layer), None)

    def _on_inserted(self, event: Any) -> None:
        if is_annotation(event.value) or self._restoring is not None:
            self.watch(event.value)

    def _on_removed(self, event: Any) -> None:
        watch = self._watch_of(unwrap(event.value))
        if watch is not None:
            self._hand_over(watch)
            self._forget_watch(watch)

    def _forget_watch(self, watch: Watch) -> None:
        watch.disconnect()
        if watch in self._watches:
            self._watches.remove(watch)
        if watch.job is not None:
            self.saver.drop(watch.job)

    # --- what was left ---------------------------------------------------------------------

    def offers(self) -> list[Kept]:
        """Return the paintings that were left, the latest first."""
        return paintings.list_kept(self.saver.folder)

    def restore(self, kept: Kept) -> Any:
        """Add a painting that was left as a layer, over its image if that is open.

        It is saved on where it was, and offered no more.

        Raises
        ------
        InputError
            If it is gone, or open in another napari.
        """
        viewer = self.viewer
        if viewer is None or self._closed:
            raise InputError("The viewer was closed: open napari again to restore the painting.")
        found = PaintingSet.open(kept.folder)
        try:
            layer, damaged, remark = self._rebuild(viewer, found, kept)
            self._restoring = found
            viewer.layers.append(layer)
        except BaseException as error:
            found.close()
            if isinstance(error, MemoryError):
                raise InputError(
                    "There is not enough memory for this painting: close other layers and try "
                    "again."
                ) from error
            raise
        finally:
            self._restoring = None
        viewer.layers.selection.active = layer
        if damaged:
            self._on_told(
                "warning",
                f"{damaged} parts of “{layer.name}” were damaged on the disk and are empty now.",
            )
        if remark:
            self._on_told("warning", remark)
        self.changed.emit()
        return layer

    def _rebuild(self, viewer: Any, found: PaintingSet, kept: Kept) -> tuple[Any, int, str]:
        array, damaged = found.read()
        about = found.about()
        image, remark = find_image(viewer, about)
        layer = rebuild(array, about, unpack(found.attached()), image, kept.name or "painting")
        return layer, damaged, remark

    def forget(self, kept: Kept) -> None:
        """Remove a painting that was left, for good.

        Raises
        ------
        InputError
            If its files cannot be removed.
        """
        try:
            paintings.forget(kept)
        except OSError as error:
            raise InputError(
                f"The painting in {kept.folder} cannot be removed ({error.strerror or error}): "
                "check that the folder is writable."
            ) from error
        finally:
            self.changed.emit()

    # --- messages and the end --------------------------------------------------------------

    def _on_told(self, level: str, text: str) -> None:
        if level == "left":
            self.changed.emit()
            return
        (show_warning if level == "warning" else show_info)(not_html(text))
        self.told.emit(level, text)

    def watch_window_of(self, widget: QWidget) -> None:
        """Save what is pending when the main window that ``widget`` is in closes."""
        window = window_of(widget)
        if window is not None and window not in self._windows:
            self._windows.append(window)
            when_closed(window, self.shut_down)

    def shut_down(self) -> None:
        """Save what is pending within two seconds, and stop."""
        if self._closed:
            return
        self.hand_over()
        self._closed = True
        for watch in self._watches:
            watch.disconnect()
        self._watches, self._windows = [], []
        if not self.saver.close():
            log.warning("not all of a painting could be saved in time")
        atexit.unregister(self.saver.close)
        viewer = self.viewer
        if viewer is not None:
            disown(viewer, "keeper")


def keeper_of(viewer: Any, folder: Path | None = None) -> PaintingKeeper:
    """Return the keeper of ``viewer``; ``folder`` only counts when it is made."""
    return owned_by(viewer, "keeper", lambda: PaintingKeeper(viewer, folder))


def _end(saver: Saver) -> None:
    saver.close()
    atexit.unregister(saver.close)
