"""The window "Folder of images": which folder, what to write, and how it goes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...engine.errors import SA2NetError
from ..channel_chooser import ChannelChooser
from ..compat import set_row_visible
from ..forms import name_fields
from ..image_values import Key
from ..jobs.state import CHOICES
from ..resolve import Choices
from ..wrapping import WrappedLabel
from .folder import FolderForm, channels_in, resolve_folder

SAVE = {
    "table": (
        "Measurements (CSV)",
        "Area, centroid, bounding box and the intensity of each channel, a row for each object.",
    ),
    "geojson": ("Outlines for QuPath (GeoJSON)", "Polygons with the class of each object."),
    "rois": ("Outlines for ImageJ (ROIs, zip)", "For ImageJ's ROI Manager."),
}
EXISTING = ("Skip what is done", "Replace results")


class FolderDialog(QDialog):  # type: ignore[misc]
    """Asks for a folder of images and shows how it goes.

    Parameters
    ----------
    controller
        The viewer's :class:`~napari_sa2net.gui.segmenting.job.SegmentController`, which runs the
        job: closing this window does not end it.
    choices
        Returns what is chosen in the tab.
    here
        Returns whether the model chosen there need not be downloaded first.
    chosen
        Signal that something else is chosen in the tab.
    """

    def __init__(
        self,
        controller: Any,
        choices: Callable[[], Choices],
        here: Callable[[], bool],
        chosen: Any,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("SA2-Net: folder of images")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.controller, self._choices, self._here = controller, choices, here
        self._pressed = False
        self._before: Any = None
        """The run before Start was pressed last."""
        self._listed: Any = None
        """The run whose files are in the list."""
        self.images = QLineEdit()
        self.output = QLineEdit()
        self.channels = ChannelChooser()
        self.channels_of = WrappedLabel()
        """Which image the channels are listed of."""
        self._named = False
        """Whether the image's file names its channels."""
        self._looked: str | None = None
        """The folder whose first image was looked at."""
        self.save = {kind: QCheckBox(text) for kind, (text, _) in SAVE.items()}
        self.positions = QCheckBox("All positions of a file")
        self.existing = QComboBox()
        self.uses = WrappedLabel()
        self.start = QPushButton("Sta&rt")
        self.stop = QPushButton("St&op")
        self.progress = QProgressBar()
        self.said = WrappedLabel()
        self.list = QListWidget()
        self._lay_out()
        self._restore()
        self.images.editingFinished.connect(self._look)
        self.start.clicked.connect(lambda _: self._on_start())
        self.stop.clicked.connect(lambda _: self.controller.cancel())
        # Bound methods of a QObject: Qt disconnects them when this dialog goes.
        controller.changed.connect(self.refresh)
        chosen.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        self.images.setToolTip(
            "<qt>TIFF, OME-TIFF, SVS, NDPI, PNG, JPEG and OME-Zarr images right inside it.</qt>"
        )
        self.output.setToolTip("<qt>It is made if need be.</qt>")
        self.positions.setToolTip(
            "<qt>Of files that hold several images (positions, scenes), segment each, with results "
            "of its own: NAME_p0, NAME_p1, … Otherwise the first is used.</qt>"
        )
        self.existing.addItems(EXISTING)
        self.existing.setToolTip(
            "<qt>Results made with the same model and settings are skipped. Others are told and "
            "left as they are, unless you replace them.</qt>"
        )
        for kind, (_, tip) in SAVE.items():
            self.save[kind].setToolTip(f"<qt>{tip}</qt>")
        if importlib.util.find_spec("roifile") is None:
            self.save["rois"].setEnabled(False)
            self.save["rois"].setToolTip(
                '<qt>Needs the package roifile: pip install "napari-sa2net[rois]"</qt>'
            )
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for text, line, pressed in (
            ("&Images", self.images, self._on_images),
            ("Res&ults", self.output, self._on_output),
        ):
            label = QLabel(text)
            label.setBuddy(line)
            form.addRow(label, _with_browse(line, pressed))
        form.addRow("Channels", self.channels)
        form.addRow("", self.channels_of)
        form.addRow(self.positions)
        self.form_layout = form
        checks = QVBoxLayout()
        checks.addWidget(QLabel("Labels (OME-TIFF), and:"))
        for box in self.save.values():
            checks.addWidget(box)
        form.addRow("Write", checks)
        form.addRow("If there &are results", self.existing)
        form.addRow("From the tab", self.uses)
        self.list.setAccessibleName("Files")
        self.list.setWordWrap(True)
        self.progress.setFormat("%v of %m")
        buttons = QHBoxLayout()
        close = QPushButton("Close")
        close.setToolTip("Close this window; what is running goes on.")
        close.clicked.connect(self.close)
        for button in (self.start, self.stop, close):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        self.start.setDefault(True)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.progress)
        column.addWidget(self.said)
        column.addWidget(self.list, 1)
        column.addLayout(buttons)
        name_fields(self)
        self.resize(520, 560)

    # --- what is typed ---------------------------------------------------------------------

    def form(self) -> FolderForm:
        """Return what is shown."""
        self._look()
        return FolderForm(
            self.images.text(),
            self.output.text(),
            self._channels(),
            self.channels.problem_for(self._choices().card),
            tuple(kind for kind, box in self.save.items() if box.isChecked() and box.isEnabled()),
            self.existing.currentIndex() == 1,
            self.positions.isChecked(),
        )

    def _restore(self) -> None:
        form = self.controller.folder_form
        self.images.setText(form.images)
        self.output.setText(form.output)
        self.channels.set_chosen(form.channels)
        self._look()
        for kind, box in self.save.items():
            box.setChecked(kind in form.save)
        self.existing.setCurrentIndex(int(form.replace))
        self.positions.setChecked(form.all_positions)

    def _channels(self) -> tuple[int | str, ...] | None:
        """Return the channels: by name if the images have names, for others of another order."""
        numbers = self.channels.value()
        return tuple(self.channels.titles()) if self._named and numbers is not None else numbers

    def _look(self) -> None:
        """List the channels of the first image in the folder."""
        folder = self.images.text()
        if folder == self._looked:
            return
        self._looked = folder
        name, titles, self._named = channels_in(folder)
        keys: list[Key] = [*titles] if self._named else [*range(len(titles))]
        self.channels.set_image(keys, titles)
        ticked = self._choices().channels  # for the image in the tab
        if self.channels.chosen() is None and ticked and max(ticked) < len(keys):
            self.channels.set_chosen([keys[number] for number in ticked])
        self.channels_of.setText(f"As in {name}, the first image.")
        for row in (self.channels, self.channels_of):
            set_row_visible(self.form_layout, row, bool(titles))

    def _on_images(self) -> None:
        folder = self.ask_folder("Folder of the images", self.images.text())
        if folder:
            self.images.setText(folder)
            self._look()
            if not self.output.text():
                self.output.setText(str(Path(folder) / "results"))

    def _on_output(self) -> None:
        folder = self.ask_folder("Folder for the results", self.output.text())
        if folder:
            self.output.setText(folder)

    def _on_start(self) -> None:
        self.controller.folder_form = self.form()
        self._pressed, self._before = True, self.controller.folder
        try:
            request = resolve_folder(self._choices(), self.form(), here=self._here())
        except SA2NetError as error:
            self.controller.fail(error)
            return
        self.controller.segment_folder(request)

    def ask_folder(self, title: str, start: str) -> str:
        """Ask for a folder; empty if the person gave up."""
        return str(QFileDialog.getExistingDirectory(self, title, start))

    def done(self, result: int) -> None:
        """Remember what is typed, and close."""
        self.controller.folder_form = self.form()
        super().done(result)

    # --- showing ---------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show how it goes."""
        state, run = self.controller.state, self.controller.folder
        running = state.kind == "folder"
        self.start.setEnabled(not state.busy)
        self.stop.setEnabled(running and not state.cancelling)
        self.uses.setText(uses_text(self._choices()))
        self.channels.set_card(self._choices().card)
        self.progress.setVisible(running)
        text = state.text
        if not running:
            errors = [note.text for note in self.controller.notes if note.level == "error"]
            told = run is not None and run.lines and run is not self._before
            text = f"{run.summary}." if told else "\n".join(errors if self._pressed else [])
        self.said.setText(text)
        if run is None:
            return
        self.progress.setRange(0, run.total)
        self.progress.setValue(sum(run.counts.values()))
        if run is not self._listed:
            self._listed = run
            self.list.clear()
        self.list.addItems(run.lines[self.list.count() :])
        self.list.scrollToBottom()


def _with_browse(line: QLineEdit, pressed: Callable[[], None]) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addWidget(line, 1)
    button = QPushButton("Browse…")
    button.setAutoDefault(False)
    button.clicked.connect(lambda _: pressed())
    row.addWidget(button)
    return row


def uses_text(choices: Choices) -> str:
    """Say what of the tab is used."""
    name = choices.card.name if choices.card is not None else "no model"
    size = "each file's pixel size"
    if choices.pixel_size is not None:
        size = f"pixels of {choices.pixel_size:g} µm"
    elif choices.diameter is not None:
        size = f"objects of {choices.diameter:g} pixels"
    settings = choices.labelling
    labels = (
        f"{settings.result}, threshold {settings.threshold:g}, minimum size {settings.min_size}"
    )
    if settings.link != "none" and settings.result == "instances":
        through = CHOICES[settings.link]
        labels += f", linked {through[0].lower()}{through[1:]}"
    return f"{name}; {size}; {labels}"


class FolderButton(QPushButton):  # type: ignore[misc]
    """Opens the window "Folder of images"; its parameters are those of :class:`FolderDialog`."""

    def __init__(
        self,
        controller: Any,
        choices: Callable[[], Choices],
        here: Callable[[], bool],
        chosen: Any,
    ) -> None:
        super().__init__("Folder of images…")
        self.setToolTip(
            "<qt>Segment all images of a folder into files, with the model and the settings "
            "chosen above.</qt>"
        )
        self._parts = (controller, choices, here, chosen)
        self.clicked.connect(lambda _: self.open_dialog())

    def open_dialog(self) -> FolderDialog:
        """Open the window and return it."""
        dialog = FolderDialog(*self._parts, self)
        dialog.show()  # not modal: settings in the tab can be changed beside it
        return dialog
