"""The tab "Correct & fine-tune": leads from a painting to a better model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...engine.errors import InputError
from .. import asking
from ..annotating.pairs_panel import PairsPanel
from ..annotating.panel import AnnotatePanel
from ..forms import group, tab_page
from ..image_panel import ImagePanel
from ..image_values import image_values_of
from ..jobs.progress_bar import JobProgress
from ..keeping import KeptPanel, keeper_of
from ..messages import MessageArea
from ..object_watch import objects_of
from ..objects_panel import ObjectsPanel
from ..scale_field import ScaleField
from ..segmenting.model_panel import download_question
from ..wrapping import WrappedLabel
from .backend import Plan
from .chosen import Chosen
from .job import STOPPABLE, TrainController
from .offers import Offers, training_text
from .plots import LearningPlot
from .preview import Shown
from .result import ResultPanel
from .settings import SettingsPanel, budget_text
from .start import StartPanel
from .where_next import WhereNextPanel

VERBS = {
    "train": "Fine-tuning",
    "keep": "Saving",
    "look": "Asking the model",
    "rank": "Trying the models",
}
MODEL_FILES = "Models (*.safetensors)"


class TrainWidget(QWidget):  # type: ignore[misc]
    """Corrects and fine-tunes. ``used`` carries an image layer to be segmented without training.

    Parameters
    ----------
    viewer
        The viewer, or napari's proxy of it.
    controller
        Runs the trainings of that viewer.
    """

    used = Signal(object)

    def __init__(self, viewer: Any, controller: TrainController) -> None:
        super().__init__()
        self._viewer = viewer
        self.controller = controller
        self.image = ImagePanel(viewer, any_channels=True)
        self.image.combo.setToolTip("The image to paint on. It follows the layer you select.")
        self.scale = ScaleField(viewer)
        self.scale.add_to(self.image.form)
        self.chosen = Chosen(self.image, image_values_of(viewer), controller.pairs)
        self.start = StartPanel(controller.segment, controller.pairs.painted)
        self.annotate = AnnotatePanel(
            viewer,
            self.image,
            self.scale,
            controller.pairs,
            self.start.card,
            lambda: controller.segment.shown,
        )
        self.objects = ObjectsPanel(
            viewer,
            objects_of(viewer),
            lambda: controller.segment.writer.at_hand(viewer, self.image.layer),
        )
        self.pairs = PairsPanel(viewer, controller.pairs, self.start.card, self._on_add)
        self.where = WhereNextPanel(self.image, controller.pairs)
        self.settings = SettingsPanel(controller.backend.settings())
        self.preview = QCheckBox("Show what it sees as it learns")
        self.device = WrappedLabel()
        self.plot = LearningPlot()
        self.result = ResultPanel()
        self.keeper = keeper_of(viewer)
        self.kept = KeptPanel(self.keeper)
        self.trainings = Offers(
            "Resume",
            "Discard",
            ("Go on where it was. It needs no images for that.", "Forget it for good."),
        )
        self.train = QPushButton("Fi&ne-tune")
        self.pause = QPushButton("Pa&use")
        self.stop = QPushButton("St&op")
        self.progress = JobProgress()
        self.messages = MessageArea()
        self._scrolling = QTimer(self)
        self._scrolling.setSingleShot(True)
        self._scrolling.timeout.connect(self._scroll_down)
        self._lay_out()
        self._connect()
        self._restore()
        self._on_image()
        self._refresh()
        self._show_progress()
        self._list_offers()

    # --- building --------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.train.setToolTip("Learn from the paintings ticked in the list.")
        self.pause.setToolTip("Rest after the step at work, and go on later.")
        self.pause.setCheckable(True)
        self.stop.setToolTip("End now, with the best model so far.")
        self.preview.setToolTip(
            "<qt>A layer over the image shows how likely each pixel in view belongs to an object, "
            "every few seconds. It takes a little of the computer's time.</qt>"
        )
        self.outcome = group("5 · Better or worse?", self.plot, self.result)
        self.scroll = tab_page(
            "Correct and fine-tune",
            self.kept,
            self.trainings,
            group("Image and model", self.image, self.start),
            group("1 · Annotate", self.annotate, self.objects),
            group("2 · What the painting means", self.pairs),
            group("3 · Where next?", self.where),
            group("4 · Fine-tune", self.settings, self.preview, self.device),
            self.outcome,
        )
        buttons = QHBoxLayout()
        for button in (self.train, self.pause, self.stop):
            buttons.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.messages)

    def _connect(self) -> None:
        controller = self.controller
        self.image.changed.connect(self._on_image)
        self.start.changed.connect(self._on_start)
        self.start.button.clicked.connect(lambda _: self._on_suggest())
        self.scale.failed.connect(lambda text: controller.fail(InputError(text)))
        self.scale.changed.connect(self.chosen.follow)
        self.scale.changed.connect(self._look)
        self.annotate.made.connect(self.chosen.take)
        self.annotate.failed.connect(controller.fail)
        self.objects.failed.connect(controller.fail)
        self.settings.changed.connect(self._summarise)
        self.pairs.changed.connect(self._summarise)
        self.pairs.changed.connect(self.annotate.offer_classes)
        self.preview.toggled.connect(self._on_preview)
        self.where.failed.connect(controller.fail)
        self.where.button.clicked.connect(lambda _: self._on_where())
        self.train.clicked.connect(lambda _: self._on_train())
        self.pause.clicked.connect(controller.pause)
        self.stop.clicked.connect(lambda _: controller.stop())
        self.result.keep.connect(controller.keep)
        self.result.keep_start.connect(controller.keep_start)
        self.result.elsewhere.connect(self._on_elsewhere)
        self.kept.restored.connect(self.chosen.restored)
        self.kept.restored.connect(lambda _: self.pairs.refresh())
        self.trainings.taken.connect(self._on_resume)
        self.trainings.refused.connect(self._on_discard)
        # Bound methods of a QObject: Qt disconnects them when this widget goes.
        controller.changed.connect(self._refresh)
        controller.suggested.connect(self._on_suggested)
        self.start.used.connect(self._on_used)
        controller.progressed.connect(self._show_progress)
        controller.offers_changed.connect(self._list_offers)
        controller.segment.models_changed.connect(self._list_models)

    # --- what is chosen --------------------------------------------------------------------

    def _restore(self) -> None:
        form = self.controller.form
        self._list_models()
        self.preview.setChecked(self.controller.preview.on)
        self.controller.pairs.adopt_all()
        if not form:
            return
        self.image.choose(form["layer"])
        self.start.choose(form["model"])
        if form["classes"] is not None:
            self.start.set_classes(form["classes"])
        self.settings.set_value(form["settings"])
        self.settings.device.setCurrentIndex(self.settings.device.findData(form["device"]))

    def _remember(self) -> None:
        try:
            classes = self.start.classes() if self.start.define.isChecked() else None
        except Exception:
            classes = None
        self.controller.form = {
            "layer": self.image.layer,
            "model": self.start.model,
            "classes": classes,
            "settings": self.settings.value(),
            "device": self.settings.device_name(),
        }

    def hideEvent(self, event: Any) -> None:
        """Remember what is chosen: the dock's ✕ hides this, and opening it again makes another."""
        super().hideEvent(event)
        self._remember()

    def showEvent(self, event: Any) -> None:
        """Catch up with what was not drawn while this was hidden."""
        super().showEvent(event)
        self._show_progress()

    def _on_image(self) -> None:
        self.controller.choose_image(self.image.layer)
        self.chosen.follow()
        image = self.image.image
        axes = image.axes if image is not None else ""
        pixel_size = image.pixel_size if image is not None else None
        self.scale.set_image(self.image.chosen_first(), axes, pixel_size)
        self.annotate.offer_classes()
        self.objects.refresh()
        self._look()

    def _on_start(self) -> None:
        self.scale.set_card(self.start.card())
        self.image.channels.set_card(self.start.card())
        self.controller.pairs.set_card(self.start.card())
        self.annotate.colour()
        self.pairs.refresh()
        self._look()
        self._summarise()

    def _look(self) -> None:
        """Tell the preview which image to look at."""
        image, card = self.image.image, self.start.card()
        if image is None:
            self.controller.preview.show_image(None)
            return
        scale, zoom = self.scale.value(), 1.0
        image = scale.on(image)
        if scale.diameter is not None and card.diameter is not None:
            zoom = card.diameter / scale.diameter
        elif image.pixel_size is not None and card.pixel_size is not None:
            zoom = image.pixel_size / card.pixel_size
        self.controller.preview.show_image(
            Shown(self.image.layer, image, self.image.channels.value(), scale.diameter, zoom)
        )

    def _list_models(self, name: str = "") -> None:
        try:
            entries = self.controller.segment.backend.models()
        except Exception as error:
            self.controller.fail(error)
            return
        self.start.set_entries(entries, name)

    def _summarise(self) -> None:
        ticked = sum(pair.on for pair in self.controller.pairs.pairs)
        paintings = "1 painting" if ticked == 1 else f"{ticked} paintings"
        start = f"“{self.start.model}”" if self.start.model is not None else "a new network"
        self.settings.summary.setText(
            f"Trains {start} on {paintings}: {budget_text(self.settings.value())}."
        )

    # --- what is pressed -------------------------------------------------------------------

    def _on_add(self, layer: Any) -> None:
        try:
            self.annotate.pair(layer)
            self.chosen.take(layer)
            self.pairs.refresh()
            self.keeper.watch(layer, self.image.layer)
        except Exception as error:
            self.controller.fail(error)

    def _on_suggest(self) -> None:
        self.controller.suggest(self.settings.device_name())

    def _on_suggested(self, suggestion: Any) -> None:
        self.start.take(suggestion.best.name, as_is=suggestion.enough)

    def _on_used(self, name: str) -> None:
        """Choose a model everywhere, and go to where it can be run as it is."""
        self.controller.segment.models_changed.emit(name)
        self.used.emit(self.image.layer)

    def _on_where(self) -> None:
        entry = self.start.entry
        if not self._is_here(entry, "show the next place"):
            return
        self.where.ask(
            entry,
            self.scale.value(),
            self.settings.device_name(),
            self.controller.where_next,
        )

    def _on_train(self) -> None:
        self._remember()
        entry = self.start.entry
        try:
            self.start.check()
            wanted = self.controller.pairs.wanted()
            plan = Plan(
                model=self.start.model,
                settings=self.settings.value(),
                name=self.start.new_name(str(wanted[0].sources[0].name)),
                classes=self.start.classes(),
                device=self.settings.device_name(),
            )
        except Exception as error:
            self.controller.fail(error)
            return
        if not self._is_here(entry, "train"):
            return
        self.controller.train(plan)

    def _is_here(self, entry: Any, what: str) -> bool:
        """Tell whether the start model is here, or may be downloaded to do something then."""
        if entry is None or entry.status != "remote":
            return True
        return self.ask(download_question(entry.card, what))

    def ask(self, question: str) -> bool:
        """Ask a person yes or no."""
        return asking.ask(self, question)

    def _on_preview(self, on: bool) -> None:
        self.controller.preview.on = on

    def _on_elsewhere(self) -> None:
        name = f"{self.result.name.text().strip() or 'model'}.safetensors"
        path, _ = QFileDialog.getSaveFileName(self, "Save the new model", name, MODEL_FILES)
        if path:
            self.controller.save_to(Path(path))

    def _on_resume(self, saved: Any) -> None:
        self.controller.resume(saved, self.settings.device_name())

    def _on_discard(self, saved: Any) -> None:
        if self.ask(f"Forget the training of “{saved.name}” for good?"):
            self.controller.discard(saved)

    # --- showing ---------------------------------------------------------------------------

    def _refresh(self) -> None:
        state, result = self.controller.state, self.controller.result
        training = state.kind == "train"
        self.train.setEnabled(not state.busy)
        self.where.button.setEnabled(not state.busy)
        self.start.button.setEnabled(not state.busy)
        self.pause.setEnabled(training and state.total > 1 and not state.cancelling)
        self.pause.setChecked(state.paused)
        self.pause.setText("Res&ume" if state.paused else "Pa&use")
        self.stop.setEnabled(state.kind in STOPPABLE and not state.cancelling)
        verb = "Paused" if state.paused else VERBS.get(state.kind, "")
        self.progress.show_state(state, verb)
        self.device.setText(self.controller.device)
        self.device.setVisible(bool(self.controller.device))
        if self.preview.isChecked() != self.controller.preview.on:
            self.preview.setChecked(self.controller.preview.on)
        arrived = result is not None and self.result.box.isHidden()
        self.result.show_result(result, busy=state.busy)
        if arrived:
            self._show_outcome()
        self.messages.show_notes(self.controller.told())

    def _show_progress(self) -> None:
        if not self.isVisible():
            return
        new = self.plot.isHidden()
        self.plot.show_history(self.controller.history)
        if new and not self.plot.isHidden():
            self._show_outcome()

    def _show_outcome(self) -> None:
        """Scroll to the curves and the result, once they have their places."""
        self._scrolling.start(50)

    def _scroll_down(self) -> None:
        bar = self.scroll.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _list_offers(self) -> None:
        offers = [(saved, training_text(saved)) for saved in self.controller.offers()]
        self.trainings.show_offers(offers, busy=self.controller.state.busy)
