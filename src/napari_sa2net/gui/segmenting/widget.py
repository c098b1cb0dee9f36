"""The tab "Segment": shows choices, hands them to the controller, shows how it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...engine.errors import InputError, SA2NetError
from .. import asking, large, saving
from ..forms import group, tab_page
from ..image_panel import ImagePanel
from ..jobs.progress_bar import JobProgress
from ..jobs.worker import describe_error
from ..messages import MessageArea
from ..object_watch import objects_of
from ..objects_panel import ObjectsPanel
from ..resolve import Choices, is_stack, own_labelling, resolve, stacked_axes
from ..scale_field import ScaleField
from ..watching import watch
from ..writer import Target
from . import results
from .acts_on import ActsOn, Legend
from .folder_dialog import FolderButton
from .job import CANCELLED, SegmentController
from .labelling import LabellingForm
from .model_manager import ask_for_model_file
from .model_panel import ModelPanel, download_question
from .saves_what import SavesWhat
from .stored import FILE_FILTER, disk_question, store_of
from .where import WherePanel

KEEP = {
    "probabilities": (
        "Probabilities",
        "How likely each pixel belongs to each class, one Image layer a class.",
    ),
    "stages": (
        "Four stages",
        "What each of the network's four decoder stages sees: 1 − p(background), finest first.",
    ),
    "attention": (
        "Attention maps",
        "Where the network's attention (the ψ of each adaptive up-attention) lies.",
    ),
    "disagreement": (
        "Disagreement",
        "Where the stages differ, the network is unsure: look there first.",
    ),
}
VERBS = {
    "idle": "",
    "segment": "Segmenting",
    "preview": "Preview",
    "folder": "Folder",
    "download": "Downloading",
    "import": "Importing",
    "save": "Saving",
    "measure": "Measuring",
}


class SegmentWidget(QWidget):  # type: ignore[misc]
    """Segments an image layer. ``chosen`` is emitted when model, object size or labels change.

    Parameters
    ----------
    viewer
        The viewer, or napari's proxy of it.
    controller
        Runs the jobs of that viewer.
    """

    chosen = Signal()

    def __init__(self, viewer: Any, controller: SegmentController) -> None:
        super().__init__()
        self._viewer = viewer
        self.controller = controller
        self.image = ImagePanel(viewer)
        self.scale = ScaleField(viewer)
        self.scale.add_to(self.image.form)
        self.where = WherePanel(viewer)
        self.model = ModelPanel(controller)
        self.keep = {name: QCheckBox(text) for name, (text, _) in KEEP.items()}
        self.all_planes = QCheckBox("… of all planes")
        self.too_large = QLabel(large.ONLY_LABELS)
        objects = objects_of(viewer)
        self.acts_on = ActsOn(objects)
        self.legend = Legend(viewer)
        self.saves = SavesWhat(objects, self._to_save)
        self.objects = ObjectsPanel(
            viewer, objects, lambda: controller.writer.at_hand(viewer, self.image.layer)
        )
        self.labelling = LabellingForm()
        self.preview = QPushButton("P&review")
        self.segment = QPushButton("Se&gment")
        self.cancel = QPushButton("Ca&ncel")
        self.save = QPushButton("Save res&ult…")
        self.folder = FolderButton(controller, self.choices, self._model_is_here, self.chosen)
        self.progress = JobProgress()
        self.messages = MessageArea()
        self._lay_out()
        self._connect()
        self._restore()
        self._on_image()

    # --- building --------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.preview.setToolTip("Run on only what the canvas shows now, to try settings quickly.")
        self.segment.setToolTip("Run on the image, or the part of it chosen under Where.")
        self.segment.setDefault(True)
        self.cancel.setToolTip("Stop the running job, at the latest after the tile at work.")
        self.save.setToolTip(
            "<qt>Save the selected labels or map, else the labels of the image above, as TIFF or "
            "OME-TIFF with its pixel size; of labels also the measurements as CSV, or the "
            "outlines for QuPath or ImageJ.</qt>"
        )
        for name, (_, tip) in KEEP.items():
            self.keep[name].setToolTip(f"<qt>{tip}</qt>")
        self.all_planes.setToolTip(
            "<qt>Keep the maps ticked above for every plane, not only for the one shown. Labels "
            "are always made for all planes.</qt>"
        )
        scroll = tab_page(
            "Segment",
            group("Image", self.image, self.where),
            group("Model", self.model),
            self._extras(),
            group("Labels", self.acts_on, self.legend, self.labelling),
        )
        self.page = scroll.widget()
        buttons = QHBoxLayout()
        for button in (self.preview, self.segment, self.cancel):
            buttons.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.messages)
        layout.addWidget(self.objects)
        layout.addWidget(self.saves)
        below = QHBoxLayout()
        below.addWidget(self.save, 1)
        below.addWidget(self.folder, 1)
        layout.addLayout(below)

    def _extras(self) -> QGroupBox:
        box = QGroupBox("Also show")
        grid = QGridLayout(box)
        grid.setContentsMargins(6, 6, 6, 6)
        for place, check in enumerate(self.keep.values()):
            grid.addWidget(check, place // 2, place % 2)
        grid.addWidget(self.all_planes, 2, 0, 1, 2)
        self.too_large.setWordWrap(True)
        grid.addWidget(self.too_large, 3, 0, 1, 2)
        return box

    def _connect(self) -> None:
        self.image.changed.connect(self._on_image)
        self.where.changed.connect(self._on_place)
        self.scale.failed.connect(lambda text: self.controller.fail(InputError(text)))
        self.scale.changed.connect(self._on_scale)
        self.model.changed.connect(self._on_model)
        self.model.download.connect(self._on_download)
        self.model.import_file.connect(self._on_import)
        self.labelling.changed.connect(self._on_labelling)
        self.objects.failed.connect(self.controller.fail)
        self.preview.clicked.connect(lambda _: self._run(preview=True))
        self.segment.clicked.connect(lambda _: self._run(preview=False))
        self.cancel.clicked.connect(lambda _: self.controller.cancel())
        self.save.clicked.connect(lambda _: self._on_save())
        # Bound methods of a QObject: Qt disconnects them when this widget goes.
        self.controller.changed.connect(self._refresh)
        self.controller.models_changed.connect(self._list_models)
        self.model.device.currentIndexChanged.connect(self._refresh)
        watch(self, self._viewer.layers.events.removed, self._refresh)

    # --- what is chosen --------------------------------------------------------------------

    def choices(self) -> Choices:
        """Return what is shown."""
        scale, image = self.scale.value(), self.image.image
        return Choices(
            layer=self.image.layer,
            image=image and scale.on(image),
            problem=self.image.problem,
            card=self.model.card,
            channels=self.image.channels.value(),
            channels_problem=self.image.channels.problem_for(self.model.card),
            diameter=scale.diameter,
            pixel_size=scale.pixel_size,
            device=self.model.device_name(),
            keep=frozenset(name for name, box in self.keep.items() if box.isChecked()),
            all_planes=self.all_planes.isChecked(),
            labelling=self.labelling.value(),
            flips=self.model.flips.isChecked(),
            where=self.where.value(),
        )

    def _model_is_here(self) -> bool:
        return self.model.entry is not None and self.model.entry.status != "remote"

    def _restore(self) -> None:
        form = self.controller.form
        self._list_models(form.get("model", ""))
        if not form:
            return
        self.image.choose(form["layer"])
        self.model.device.setCurrentIndex(self.model.device.findData(form["device"]))
        for name, box in self.keep.items():
            box.setChecked(name in form["keep"])
        self.all_planes.setChecked(form["all_planes"])
        self.model.flips.setChecked(form["flips"])
        self.labelling.set_value(form["labelling"])
        self.where.set_value(form["where"])

    def _remember(self) -> None:
        choices = self.choices()
        self.controller.form = {
            "model": choices.card.name if choices.card is not None else "",
            "layer": choices.layer,
            "device": choices.device,
            "keep": choices.keep,
            "all_planes": choices.all_planes,
            "labelling": choices.labelling,
            "flips": choices.flips,
            "where": choices.where,
        }

    def hideEvent(self, event: Any) -> None:
        """Remember what is chosen: the dock's ✕ hides this, and opening it again makes another."""
        super().hideEvent(event)
        self._remember()

    def _on_image(self) -> None:
        self.controller.choose_image(self.image.layer)
        image = self.image.image
        axes = image.axes if image is not None else ""
        pixel_size = image.pixel_size if image is not None else None
        self.scale.set_image(self.image.chosen_first(), axes, pixel_size)
        self._on_place()

        self.objects.refresh()

    def _on_place(self) -> None:
        if self._follow():
            self.chosen.emit()
        self._refresh()

    def _on_scale(self) -> None:
        self._follow()
        self.chosen.emit()

    def _follow(self, *, preview: bool = False) -> bool:
        """Have the model's own settings suit what would be segmented now."""
        if self.model.entry is None:
            return False
        return self.labelling.follow(own_labelling(self._viewer, self.choices(), preview=preview))

    def _on_model(self) -> None:
        entry, shown = self.model.entry, self.controller.shown
        if entry is not None:
            self.scale.set_card(entry.card)
            self.image.channels.set_card(entry.card)
            # Of the model whose labels are shown, those that made them, as they act on them.
            ours = shown is not None and shown.model == entry.card.name and shown.labelling
            self.labelling.begin(own_labelling(self._viewer, self.choices()), ours or None)
        self._refresh()
        self.chosen.emit()

    def _list_models(self, name: str = "") -> None:
        try:
            entries = self.controller.backend.models()
        except Exception as error:
            self.controller.fail(error)
            return
        self.model.set_entries(entries, name)

    # --- what is pressed -------------------------------------------------------------------

    def _run(self, *, preview: bool) -> None:
        self._follow(preview=preview)
        self._remember()
        choices = self.choices()
        try:
            request, target = resolve(self._viewer, choices, preview=preview)
            if not self._agreed(choices, target):
                return
        except Exception as error:
            self.controller.fail(error)
            return
        self.controller.segment(request, target)

    def _agreed(self, choices: Choices, target: Target) -> bool:
        """Ask before something costly: a download, 1 GB of maps, or a disk that may be full."""
        entry = self.model.entry
        if entry.status == "remote" and not self.ask(download_question(entry.card, "segment")):
            return False
        if target.on_disk:
            text = disk_question(target, self.controller.stores)
            return not text or self.ask(text)
        needed = results.estimate_map_bytes(
            target.maps_image, choices.keep, len(entry.card.classes), all_planes=True
        )
        if results.too_large(needed):
            fewer = "untick some" + ", or “of all planes”" * is_stack(target.maps_image)
            return self.ask(
                f"What is ticked under “Also show” needs about {results.describe_bytes(needed)} of "
                f"memory.\n\nKeep it all the same? (No: {fewer}.)"
            )
        return True

    def ask(self, question: str) -> bool:
        """Ask a person yes or no."""
        return asking.ask(self, question)

    def _on_download(self) -> None:
        entry = self.model.entry
        if entry.card.restricted and not self.ask(
            f"The licence of “{entry.card.name}”, {entry.card.licence}, forbids some uses."
            "\n\nDownload it?"
        ):
            return
        self.controller.download(entry.card.name)

    def _on_import(self) -> None:
        path = ask_for_model_file(self)
        if path is not None:
            self.controller.import_model(path)

    def _to_save(self) -> tuple[Any, str]:
        return self.controller.writer.to_save(self._viewer, self.image.layer)

    def _on_save(self) -> None:
        try:
            layer, name = self._to_save()
        except SA2NetError as error:
            self.controller.fail(error)
            return
        kinds = FILE_FILTER if store_of(layer) is not None else saving.FILE_FILTER
        path, kind = QFileDialog.getSaveFileName(self, f"Save “{layer.name}”", name, kinds)
        named = saving.named(Path(path), name, kind)
        if not path or (
            # Of this one the dialog has not asked.
            str(named) != path and named.exists() and not self.ask(f"Replace {named.name}?")
        ):
            return
        self.controller.save(layer, named)

    def _on_labelling(self, settled: bool) -> None:
        self._refresh_labelling()
        self._remember()
        self.chosen.emit()
        try:
            model = self.model.name
            self.controller.labels_wanted(self.labelling.wanted(), model, settled=settled)
        except Exception as error:
            self.controller.note(describe_error(error), "error")

    # --- showing ---------------------------------------------------------------------------

    def _refresh(self, _: Any = None) -> None:
        state = self.controller.state
        ready = not state.busy
        for widget in (self.preview, self.segment, self.save):
            widget.setEnabled(ready)
        self.model.download_button.setEnabled(ready)
        self.model.import_button.setEnabled(ready)
        self.cancel.setEnabled(state.kind in CANCELLED and not state.cancelling)
        self.progress.show_state(state, VERBS[state.kind])
        asked = self.model.device_name() == self.controller.device_asked
        self.model.show_device(self.controller.device if asked else "")
        self.all_planes.setVisible(is_stack(self.image.image))
        image, whole = self.image.image, self.where.value().kind == "whole"
        too_large = image is not None and whole and large.is_large(image)
        self.too_large.setVisible(too_large)
        for box in (*self.keep.values(), self.all_planes):
            box.setEnabled(not too_large)
        self.messages.show_notes(self.controller.told())
        shown = self.controller.shown
        present = shown is not None and shown.layer in self._viewer.layers
        self.acts_on.show_result(shown, present, self.model.name)
        self.saves.refresh()
        self.legend.show_result(None if shown is None or not present else shown.layer)
        self._refresh_labelling()

    def _refresh_labelling(self) -> None:
        image = self.image.image
        # Without an image they are the settings of a folder, of which nothing is known.
        self.labelling.show_usable("ZT" if self.image.layer is None else stacked_axes(image))
