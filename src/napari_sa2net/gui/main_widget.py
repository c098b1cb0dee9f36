"""The dock widget "SA2-Net": one tab a job."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from .look import keep_style
from .segmenting.job import SegmentController, controller_of
from .segmenting.widget import SegmentWidget
from .training.job import TrainController, trainer_of
from .training.widget import TrainWidget


class MainWidget(QWidget):  # type: ignore[misc]
    """What opens under Plugins ▸ SA2-Net (SA2-Net) and under Layers ▸ Segment.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in; napari passes it by this name.
    """

    # No annotation on the viewer: napari reads annotations as types, and a quoted one fails.
    def __init__(self, napari_viewer) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.setObjectName("SA2-Net")
        keep_style(self)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.tabs)
        self.controller: SegmentController = controller_of(napari_viewer)
        self.segment = SegmentWidget(napari_viewer, self.controller)
        self.add_tab(self.segment, "Segment")
        self.trainer: TrainController = trainer_of(napari_viewer)
        self.train = TrainWidget(napari_viewer, self.trainer)
        self.add_tab(self.train, "Correct && fine-tune")
        self.train.used.connect(self.show_in_segment)

    def add_tab(self, page: QWidget, title: str) -> None:
        """Add a page; the tab bar is shown as soon as there are two."""
        self.tabs.addTab(page, title)
        self.tabs.tabBar().setVisible(self.tabs.count() > 1)

    def show_in_segment(self, layer: Any) -> None:
        """Go to the tab "Segment", with this image."""
        self.segment.image.choose(layer)
        self.tabs.setCurrentWidget(self.segment)

    def sizeHint(self) -> QSize:
        """Ask for a dock wide enough for the controls in the font there is, and no wider."""
        return QSize(370, 760).expandedTo(self.minimumSizeHint())

    def showEvent(self, event: Any) -> None:
        """Learn which window this is in: closing that window ends the jobs."""
        super().showEvent(event)
        self.controller.watch_window_of(self)
        self.trainer.watch_window_of(self)
        self.train.keeper.watch_window_of(self)
