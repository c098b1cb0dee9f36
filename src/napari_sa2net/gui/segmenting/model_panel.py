"""Which model, what it is for, whether it is here, and on which device it runs."""

from __future__ import annotations

import html
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...engine.segmentation import SegmentOptions
from ..forms import field_help, small_combo
from ..jobs.state import size_text
from ..wrapping import WrappedLabel
from .model_manager import WHERE, ManageButton

DEVICES = {
    "auto": "Automatic",
    "cuda": "NVIDIA GPU (cuda)",
    "mps": "Apple GPU (mps)",
    "cpu": "Processor (cpu)",
}


def model_text(entry: Any) -> str:
    """Return what a person should know before choosing a model, as rich text."""
    card = entry.card
    facts = [WHERE.get(entry.status, entry.status)]
    if card.bytes:
        facts.insert(0, size_text(card.bytes))
    if card.modality:
        facts.insert(0, card.modality)
    if card.members:
        facts.append(f"takes {len(card.members)} times as long as one of its members")
    lines = [card.description, " · ".join(facts)]
    return "<br>".join([*(html.escape(line) for line in lines if line), *worth_and_licence(card)])


def worth_and_licence(card: Any) -> list[str]:
    """Return how good a model was found to be, and what its licence is, as lines of rich text."""
    lines = []
    if card.figures:
        measured = " · ".join(f"{figure.name} {figure.value:.2f}" for figure in card.figures)
        # What was painted and held out is of the images that a fine-tuned model has seen.
        where = "Measured" if "comparison" in card.extra else "On images it has not seen"
        lines.append(html.escape(f"{where}: {measured}"))
    if card.licence:
        licence = html.escape(f"Licence: {card.licence}")
        if card.restricted:
            licence = f"<b>{licence}. It forbids some uses: read it before you use the model.</b>"
        lines.append(licence)
    return lines


def download_question(card: Any, what: str) -> str:
    """Return the question whether a model may be downloaded, to do something with it then."""
    text = f"The model “{card.name}” is not on this computer yet ({size_text(card.bytes)})."
    if card.restricted:
        text += f"\n\nIts licence, {card.licence}, forbids some uses."
    return f"{text}\n\nDownload it first, then {what}?"


class ModelPanel(QWidget):  # type: ignore[misc]
    """Chooses model and device.

    Parameters
    ----------
    controller
        Of the viewer; with it there is a button that opens the window "Models".

    Notes
    -----
    ``changed`` is emitted when the model changes; ``download`` and ``import_file`` when their
    buttons are pressed.
    """

    changed = Signal()
    download = Signal()
    import_file = Signal()

    def __init__(self, controller: Any = None) -> None:
        super().__init__()
        self._entries: list[Any] = []
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setMinimumContentsLength(8)
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.combo.setToolTip("The trained network to use.")
        self.about = WrappedLabel(rich=True)
        self.download_button = QPushButton("Download")
        self.download_button.setToolTip("Fetch this model's file now; it is kept for later.")
        self.import_button = QPushButton("Import a model file…")
        self.import_button.setToolTip(
            "<qt>Add a model from a file: one downloaded elsewhere, one you fine-tuned, or a "
            "checkpoint of the SA2-Net authors.</qt>"
        )
        self.device = small_combo(
            "<qt>Where the network runs. Automatic takes an NVIDIA GPU, else an Apple GPU, else "
            "the processor.</qt>"
        )
        for name, text in DEVICES.items():
            self.device.addItem(text, name)
        self.flips = QCheckBox("Average over mirror images")
        self.flips.setToolTip(f"<qt>{field_help(SegmentOptions)['flips']}</qt>")
        self.chosen = WrappedLabel()
        buttons = QHBoxLayout()
        buttons.addWidget(self.download_button)
        buttons.addWidget(self.import_button)
        buttons.addStretch(1)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        choice = QHBoxLayout()
        choice.addWidget(self.combo, 1)
        if controller is not None:
            self.manage_button = ManageButton(controller, lambda: self.name)
            choice.addWidget(self.manage_button)
        label = QLabel("&Model")
        label.setBuddy(self.combo)
        form.addRow(label, choice)
        form.addRow(self.about)
        form.addRow(buttons)
        form.addRow("&Device", self.device)
        form.addRow(self.chosen)
        form.addRow(self.flips)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        self.combo.currentIndexChanged.connect(self._on_model)
        self.device.currentIndexChanged.connect(lambda _: self.show_device(""))
        self.download_button.clicked.connect(lambda _: self.download.emit())
        self.import_button.clicked.connect(lambda _: self.import_file.emit())
        self.show_device("")

    @property
    def entry(self) -> Any:
        """The model chosen (a ModelEntry), or None."""
        row = self.combo.currentIndex()
        return self._entries[row] if 0 <= row < len(self._entries) else None

    @property
    def card(self) -> Any:
        """Its card, or None."""
        return None if self.entry is None else self.entry.card

    @property
    def name(self) -> str:
        """Its name, empty if there is none."""
        return "" if self.entry is None else str(self.entry.card.name)

    def set_entries(self, entries: list[Any], name: str = "") -> None:
        """Show these models, and choose the one called ``name``, else keep the choice."""
        before = self.entry
        wanted = name or (before.card.name if before is not None else "")
        self._entries = list(entries)
        self.combo.blockSignals(True)
        self.combo.clear()
        for entry in self._entries:
            away = " (to download)" if entry.status == "remote" else ""
            self.combo.addItem(f"{entry.card.name}{away}")
        names = [entry.card.name for entry in self._entries]
        if names:
            self.combo.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self.combo.blockSignals(False)
        self._describe()
        # The settings of a model that stays chosen stay as they are.
        if self.entry is None or before is None or self.entry.card != before.card:
            self.changed.emit()

    def device_name(self) -> str:
        """Return "auto", "cuda", "mps" or "cpu"."""
        return str(self.device.currentData())

    def show_device(self, text: str) -> None:
        """Say what the last run chose, or that nobody knows yet."""
        if not text and self.device_name() == "auto":
            text = "What it chooses, and why, is shown here at the first run."
        self.chosen.setText(text)
        self.chosen.setVisible(bool(text))

    def _on_model(self, _: int = 0) -> None:
        self._describe()
        self.changed.emit()

    def _describe(self) -> None:
        entry = self.entry
        self.about.setText(
            model_text(entry) if entry is not None else "No model was found: import a file."
        )
        self.download_button.setVisible(entry is not None and entry.status == "remote")
