"""The window "Models": where each came from; rename, delete, export, import, join."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QListWidget,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...engine.events import Progress
from .. import asking
from ..jobs.state import size_text
from ..jobs.worker import Outcome, Task, describe_error
from ..look import keep_style
from ..wrapping import WrappedLabel

MODEL_FILES = "Models (*.safetensors *.pth *.pt *.ckpt *.pkl *.zip);;All files (*)"
"""For a file dialog that asks for a model to import."""
WHERE = {
    "bundled": "comes with the plugin",
    "downloaded": "downloaded",
    "trained": "trained here",
    "joined": "joined here",
    "imported": "imported",
    "remote": "must be downloaded",
}


def ask_for_model_file(parent: QWidget) -> Path | None:
    """Ask which file to import."""
    path, _ = QFileDialog.getOpenFileName(parent, "Import a model file", "", MODEL_FILES)
    return Path(path) if path else None


def details(entry: Any) -> str:
    """Return everything worth knowing of a model, as rich text."""
    from ...engine.provenance import origin

    card = entry.card
    facts = [WHERE[entry.status], size_text(card.bytes) if card.bytes else ""]
    classes = ", ".join(info.name + " (derived)" * info.derived for info in card.classes)
    rows = [
        ("", ", ".join(filter(None, facts))),
        ("for", card.modality),
        ("classes", classes),
        ("object size", f"{card.diameter:g} pixels" if card.diameter else ""),
        ("licence", card.licence),
        ("please cite", card.citation),
        *origin(card),
        ("file", str(entry.path or "")),
    ]
    lines = [f"<b>{html.escape(card.name)}</b>", html.escape(card.description)]
    for label, text in rows:
        if text:
            start = f"<i>{html.escape(label)}:</i> " if label else ""
            lines.append(start + html.escape(text))
    return "".join(f'<p style="margin: 0 0 4px 0">{line}</p>' for line in lines if line)


def several(entries: Sequence[Any]) -> str:
    """Return what can be done with several models, as rich text."""
    names = ", ".join(entry.card.name for entry in entries)
    lines = [
        f"<b>{html.escape(names)}</b>",
        "Join… makes one model of them, an ensemble: its probabilities are the mean of theirs.",
    ]
    away = [entry.card.name for entry in entries if entry.path is None]
    if away:
        lines.append(html.escape(f"Download {', '.join(away)} first."))
    return "".join(f"<p>{line}</p>" for line in lines)


class ModelManager(QDialog):  # type: ignore[misc]
    """Shows all models and changes the person's own.

    Parameters
    ----------
    controller
        The viewer's :class:`~napari_sa2net.gui.segmenting.job.SegmentController`: lists and imports
        models, and tells everybody by ``models_changed`` when there are others.
    name
        The model to show first.
    """

    def __init__(self, controller: Any, parent: QWidget | None = None, name: str = "") -> None:
        super().__init__(parent)
        self.setWindowTitle("SA2-Net models")
        keep_style(self)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.controller = controller
        self._entries: list[Any] = []
        self._task: Task | None = None
        self._importing = False
        self._over = False
        self.list = QListWidget()
        self.about = WrappedLabel(rich=True)
        self.about.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.about.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.rename = QPushButton("&Rename…")
        self.delete = QPushButton("&Delete…")
        self.export = QPushButton("&Export…")
        self.join = QPushButton("&Join…")
        self.import_file = QPushButton("&Import…")
        self.said = WrappedLabel()
        self._lay_out()
        self.list.itemSelectionChanged.connect(self._show)
        self.rename.clicked.connect(lambda _: self._on_rename())
        self.delete.clicked.connect(lambda _: self._on_delete())
        self.export.clicked.connect(lambda _: self._on_export())
        self.join.clicked.connect(lambda _: self._on_join())
        self.import_file.clicked.connect(lambda _: self._on_import())
        # Bound methods of a QObject: Qt disconnects them when this dialog goes.
        controller.models_changed.connect(self.refresh)
        controller.changed.connect(self._on_controller)
        self.refresh(name)

    def _lay_out(self) -> None:
        self.rename.setToolTip("Give one of your models another name.")
        self.delete.setToolTip("Delete one of your models for good.")
        self.export.setToolTip("Save this model as a file, to use it elsewhere.")
        self.join.setToolTip(
            "<qt>Make one model, an ensemble, of two or more that were trained alike: select them "
            "with Ctrl or Shift. It averages what they say, and takes as many times as long.</qt>"
        )
        self.import_file.setToolTip(
            "<qt>Add a model from a file: one downloaded or fine-tuned elsewhere, or a checkpoint "
            "of the SA2-Net authors.</qt>"
        )
        self.list.setAccessibleName("Models")
        self.about.setAccessibleName("About the model")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        scroll = QScrollArea()
        scroll.setAccessibleName("About the model")
        scroll.setWidget(self.about)
        scroll.setWidgetResizable(True)
        buttons = QVBoxLayout()
        for button in (self.rename, self.delete, self.export, self.join, self.import_file):
            button.setAutoDefault(False)  # Return must not delete a model
            buttons.addWidget(button)
        buttons.addStretch(1)
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.close)
        grid = QGridLayout(self)
        grid.addWidget(self.list, 0, 0)
        grid.addWidget(scroll, 0, 1)
        grid.addLayout(buttons, 0, 2)
        grid.addWidget(self.said, 1, 0, 1, 3)
        grid.addWidget(close, 2, 0, 1, 3)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 3)
        self.resize(620, 360)

    # --- showing ---------------------------------------------------------------------------

    @property
    def entries(self) -> list[Any]:
        """The models that are selected (ModelEntry), in the order of the list."""
        rows = range(self.list.count())
        return [self._entries[row] for row in rows if self.list.item(row).isSelected()]

    @property
    def entry(self) -> Any:
        """The one model that is selected, or None."""
        chosen = self.entries
        return chosen[0] if len(chosen) == 1 else None

    def refresh(self, name: str = "") -> None:
        """List the models again, and select the one called ``name``, else keep the selection."""
        wanted = name or (self.entry.card.name if self.entry is not None else "")
        row = self.list.currentRow()
        try:
            self._entries = list(self.controller.backend.models())
        except Exception as error:
            self._entries = []
            self.say(describe_error(error))
        names = [entry.card.name for entry in self._entries]
        self.list.blockSignals(True)
        self.list.clear()
        self.list.addItems(names)
        row = names.index(wanted) if wanted in names else min(max(row, 0), len(names) - 1)
        self.list.setCurrentRow(row)
        self.list.blockSignals(False)
        self._show()

    def say(self, text: str) -> None:
        """Tell what was done, or what went wrong."""
        self.said.setText(text)

    def _show(self) -> None:
        chosen = self.entries
        self.about.setText(several(chosen) if len(chosen) > 1 else "".join(map(details, chosen)))
        self._show_buttons()

    def _show_buttons(self) -> None:
        entry = self.entry
        own = entry is not None and entry.own
        self.rename.setEnabled(own)
        self.delete.setEnabled(own)
        here = entry is not None and entry.path is not None
        self.export.setEnabled(here and self._task is None)
        chosen = self.entries
        joinable = len(chosen) > 1 and all(each.path is not None for each in chosen)
        self.join.setEnabled(joinable and self._task is None)
        self.import_file.setEnabled(not self.controller.state.busy)

    def _on_controller(self) -> None:
        if self._importing and not self.controller.state.busy:
            self._importing = False
            self.say("\n".join(note.text for note in self.controller.notes))
        self._show_buttons()

    def done(self, result: int) -> None:
        """Close; an export or a joining that is under way goes on."""
        self._over = True
        super().done(result)

    def closeEvent(self, event: Any) -> None:
        """Close; Qt calls :meth:`done` only for a window that was shown."""
        self._over = True
        super().closeEvent(event)

    # --- what is pressed -------------------------------------------------------------------

    def _on_rename(self) -> None:
        name = self.entry.card.name
        new = self.ask_text("Rename a model", f"New name of “{name}”:", name)
        if new and new != name:
            from ...engine import weights

            self._change(lambda: weights.rename_model(name, new).name, f"“{name}” is renamed.")

    def _on_delete(self) -> None:
        name = self.entry.card.name
        if self.ask(f"Delete the model “{name}” for good?\n\nExport it before, to have a copy."):
            from ...engine import weights

            self._change(lambda: weights.delete_model(name), f"“{name}” is deleted.")

    def _change(self, change: Callable[[], str | None], said: str) -> None:
        """Change a file: a matter of milliseconds, so right here."""
        try:
            name = change() or ""
        except Exception as error:
            self.say(describe_error(error))
            self.refresh()  # somebody else may have changed the folder
            return
        self.say(said)
        self.controller.models_changed.emit(name)

    def _on_export(self) -> None:
        name = self.entry.card.name
        path = self.ask_path(f"{name}.safetensors")
        if path is None:
            return

        def work() -> Any:
            from ...engine import weights

            yield Progress(0, 1, "file", f"writing {path.name}")
            return weights.export_model(name, path, overwrite=True)  # the dialog has asked

        # A shared drive can take its time.
        self._start(work, lambda written: f"“{name}” is saved as {written}.")

    def _on_join(self) -> None:
        names = [entry.card.name for entry in self.entries]
        wanted = self.ask_text("Join models", "Name of the new model:", f"{names[0]}-ensemble")
        if not wanted:
            return

        def work() -> Any:
            yield Progress(0, 1, "step", f"reading {len(names)} models")
            from ...engine import joining, weights

            return weights.add_model(joining.join_models(names, wanted), wanted)

        def said(entry: Any) -> str:
            self.controller.models_changed.emit(entry.card.name)
            return f"“{entry.card.name}” is made of {', '.join(names)}."

        self.say("Joining…")
        self._start(work, said)

    def _start(self, work: Callable[[], Any], said: Callable[[Any], str]) -> None:
        """Work in a thread; ``said`` tells what came of it, here or, once closed, in the tab."""

        def ended(outcome: Outcome) -> None:
            self._task = None
            done = outcome.status == "done"
            text = said(outcome.result) if done else outcome.error
            if self._over:
                self.controller.note(text, "info" if done else "error")
                return
            self.say(text)
            self._show_buttons()

        self._task = Task(work)
        self._task.ended.connect(ended)
        self._task.start()
        self._show_buttons()

    def _on_import(self) -> None:
        path = ask_for_model_file(self)
        if path is not None:
            self.say("")
            self._importing = True
            self.controller.import_model(path)

    # --- questions, each in a method of its own so that a test can answer ------------------

    def ask(self, question: str) -> bool:
        """Ask a person yes or no; no is the default."""
        return asking.ask(self, question, default=asking.Button.No)

    def ask_text(self, title: str, label: str, text: str) -> str:
        """Ask for a line of text; empty if the person gave up."""
        return asking.ask_text(self, title, label, text)

    def ask_path(self, name: str) -> Path | None:
        """Ask where to save a model."""
        path, _ = QFileDialog.getSaveFileName(
            self, "Export a model", name, "Models (*.safetensors)"
        )
        return Path(path) if path else None


class ManageButton(QPushButton):  # type: ignore[misc]
    """Opens the window "Models"; to be placed beside a list of models.

    Parameters
    ----------
    controller
        See :class:`ModelManager`.
    chosen
        Returns the name of the model chosen in that list, which is shown first.
    """

    def __init__(self, controller: Any, chosen: Callable[[], str]) -> None:
        super().__init__("Manage…")
        self.setToolTip(
            "<qt>Look where a model came from; rename, delete, export, import or join models.</qt>"
        )
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._controller = controller
        self._chosen = chosen
        self.clicked.connect(lambda _: self.open_manager())

    def open_manager(self) -> ModelManager:
        """Open the window and return it."""
        manager = ModelManager(self._controller, self.window(), self._chosen())
        manager.open()
        return manager
