"""The window "Models", on real model files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QWidget

from napari_sa2net.engine.weights import (
    Figure,
    Model,
    ModelEntry,
    add_model,
    available_models,
    find_model,
    models_folder,
    read_card,
    save_model,
)
from napari_sa2net.gui.segmenting.backend import Backend
from napari_sa2net.gui.segmenting.job import SegmentController
from napari_sa2net.gui.segmenting.model_manager import ManageButton, ModelManager
from napari_sa2net.gui.segmenting.model_panel import model_text


@pytest.fixture
def axons(tiny_model: Any) -> str:
    """Add a fine-tuned model and return its name."""
    card = replace(
        tiny_model.card,
        name="axons",
        description="Axons & myelin",
        figures=(Figure("Dice", 0.8125),),
        extra={"parent": {"name": "nuclei", "sha256": "ab" * 32}, "images": ["sem_1", "sem_2"]},
    )
    return add_model(Model(tiny_model.network, card)).name


@pytest.fixture
def controller(make_napari_viewer_proxy: Callable[..., Any]) -> SegmentController:
    """Return a controller with the real engine behind it."""
    return SegmentController(make_napari_viewer_proxy(), Backend())


@pytest.fixture
def manager(qtbot: Any, controller: SegmentController, axons: str) -> Iterator[ModelManager]:
    """Open the window on the model of one's own."""
    parent = QWidget()  # kept here: with it the window would go
    qtbot.addWidget(parent)
    yield ModelManager(controller, parent, axons)
    parent.close()


def names(manager: ModelManager) -> list[str]:
    return [manager.list.item(row).text() for row in range(manager.list.count())]


def test_it_shows_where_a_model_came_from(manager: ModelManager) -> None:
    assert manager.entry.card.name == "axons"
    text = manager.about.text()
    for part in ("Axons &amp; myelin", "nuclei", "abababababab…", "sem_1, sem_2", "0.8125"):
        assert part in text
    assert str(models_folder()) in text


def test_only_ones_own_models_can_be_changed(manager: ModelManager) -> None:
    buttons = (manager.rename, manager.delete, manager.export)
    assert [button.isEnabled() for button in buttons] == [True, True, True]
    manager.list.setCurrentRow(names(manager).index("nuclei"))
    assert [button.isEnabled() for button in buttons] == [False, False, True]
    for part in ("training data", "please cite", "Caicedo et al."):
        assert part in manager.about.text()


def test_renaming_tells_everybody(
    qtbot: Any, manager: ModelManager, controller: SegmentController
) -> None:
    manager.ask_text = lambda *_: "My axons"
    with qtbot.waitSignal(controller.models_changed) as told:
        manager.rename.click()
    assert told.args == ["My-axons"]
    assert manager.entry.card.name == "My-axons"
    assert "renamed" in manager.said.text()
    manager.ask_text = lambda *_: "nuclei"
    manager.rename.click()
    assert "choose another name" in manager.said.text()
    manager.ask_text = lambda *_: ""  # gave up
    manager.rename.click()
    assert find_model("My-axons").status == "imported"


def test_deleting_asks_first(qtbot: Any, manager: ModelManager) -> None:
    questions: list[str] = []
    manager.ask = questions.append  # None: no
    manager.delete.click()
    assert "“axons” for good" in questions[0]
    assert "axons" in names(manager)
    manager.ask = lambda _: True
    with qtbot.waitSignal(manager.controller.models_changed):
        manager.delete.click()
    assert "axons" not in names(manager)
    assert "axons" not in [entry.name for entry in available_models()]
    assert manager.entry is not None  # another is selected


def test_a_model_that_somebody_else_deleted_is_explained(manager: ModelManager) -> None:
    manager.entry.path.unlink()
    manager.ask = lambda _: True
    manager.delete.click()
    assert "no model 'axons'" in manager.said.text()
    assert "axons" not in names(manager)


def test_exporting_writes_a_file(qtbot: Any, manager: ModelManager, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    target.write_text("the file dialog has asked whether to replace it")
    manager.ask_path = lambda _: target
    manager.export.click()
    qtbot.waitUntil(lambda: "saved as" in manager.said.text())
    assert read_card(target).name == "axons"
    (tmp_path / "file").write_text("in the way")
    manager.ask_path = lambda _: tmp_path / "file" / "x.safetensors"
    manager.export.click()
    qtbot.waitUntil(lambda: "cannot be written" in manager.said.text())
    assert manager.export.isEnabled()


def test_an_export_outlives_the_window(
    qtbot: Any, manager: ModelManager, controller: SegmentController, tmp_path: Path
) -> None:
    manager.ask_path = lambda _: tmp_path / "out.safetensors"
    manager.export.click()
    manager.close()
    qtbot.waitUntil(lambda: any("saved as" in note.text for note in controller.notes))
    assert (tmp_path / "out.safetensors").is_file()


@pytest.fixture
def twin(twin_model: Any) -> str:
    """Add a model that fits the other and return its name."""
    return add_model(twin_model).name


def select(manager: ModelManager, *chosen: str) -> None:
    manager.list.clearSelection()
    for name in chosen:
        manager.list.item(names(manager).index(name)).setSelected(True)


def test_models_are_joined(
    qtbot: Any, twin: str, manager: ModelManager, controller: SegmentController
) -> None:
    assert not manager.join.isEnabled()  # one is selected
    select(manager, "twin", "axons")
    others = (manager.rename, manager.delete, manager.export)
    assert not any(button.isEnabled() for button in others)
    assert "axons, twin" in manager.about.text()
    asked: list[str] = []
    manager.ask_text = lambda *words: asked.append(words[-1]) or "both"
    with qtbot.waitSignal(controller.models_changed, timeout=20_000) as told:
        manager.join.click()
        assert not manager.join.isEnabled()
    assert asked == ["axons-ensemble"]
    assert told.args == ["both"]
    assert "“both” is made of axons, twin" in manager.said.text()
    assert manager.entry.card.name == "both"
    assert [member.name for member in manager.entry.card.members] == ["axons", "twin"]
    assert "<i>mean of:</i> axons" in manager.about.text()
    assert "takes 2 times as long" in model_text(manager.entry)


def test_what_cannot_be_joined_is_explained(
    qtbot: Any, manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(manager, "nuclei", "axons")
    manager.ask_text = lambda *_: ""  # gave up
    manager.join.click()
    assert manager.said.text() == ""
    manager.ask_text = lambda *_: "odd"
    manager.join.click()
    qtbot.waitUntil(lambda: "because they differ" in manager.said.text(), timeout=20_000)
    assert manager.join.isEnabled()
    assert "odd" not in names(manager)
    away = [replace(e, status="remote", path=None) for e in available_models()]
    monkeypatch.setattr(manager.controller.backend, "models", lambda: away)
    manager.refresh()
    select(manager, "nuclei", "axons")
    assert not manager.join.isEnabled()
    assert "Download nuclei, axons first" in manager.about.text()


def test_importing_goes_through_the_controller(
    qtbot: Any, manager: ModelManager, tiny_model: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = save_model(tiny_model, tmp_path / "x")
    monkeypatch.setattr(
        "napari_sa2net.gui.segmenting.model_manager.ask_for_model_file", lambda _: path
    )
    manager.import_file.click()
    qtbot.waitUntil(lambda: "is imported" in manager.said.text(), timeout=20_000)
    assert manager.entry.card.name == "tiny"
    assert manager.import_file.isEnabled()


def test_the_panel_opens_it_on_the_model_chosen(open_widget: Any, axons: str) -> None:
    _, widget = open_widget()
    panel = widget.segment.model
    panel.combo.setCurrentIndex(1)
    manager = panel.manage_button.open_manager()
    assert manager.entry.card.name == "far"
    assert not manager.export.isEnabled()  # it is not here
    manager.close()


def test_the_button_can_stand_beside_another_list(
    qtbot: Any, controller: SegmentController, axons: str
) -> None:
    button = ManageButton(controller, lambda: axons)
    qtbot.addWidget(button)
    manager = button.open_manager()
    assert manager.entry.card.name == axons
    manager.close()


def test_figures_of_what_was_painted_are_not_of_unseen_images(tiny_model: Any) -> None:
    """What is held out of a painting is of an image that the model has seen."""
    card = replace(tiny_model.card, figures=(Figure("Dice, held-out painting", 0.91),))
    assert "On images it has not seen: Dice" in model_text(ModelEntry(card, "own", None))
    tuned = ModelEntry(replace(card, extra={"comparison": {}}), "own", None)
    assert "Measured: Dice, held-out painting 0.91" in model_text(tuned)
    assert "not seen" not in model_text(tuned)
