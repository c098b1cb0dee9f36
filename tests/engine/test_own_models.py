"""The user's own models: adding, renaming, deleting, writing to a file; and the folders."""

from __future__ import annotations

import copy
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_sa2net.engine import folders, model_files, own_models, registry
from napari_sa2net.engine.errors import InputError, WeightsError
from napari_sa2net.engine.joining import join_models
from napari_sa2net.engine.weights import (
    Model,
    add_model,
    available_models,
    delete_model,
    export_model,
    find_model,
    import_model,
    load_model,
    models_folder,
    read_card,
    rename_model,
    save_model,
)


def own() -> list[str]:
    return [entry.name for entry in available_models() if entry.status == "imported"]


def files() -> list[str]:
    return sorted(path.name for path in models_folder().iterdir())


def test_an_added_model_is_in_the_list_and_loads(tiny_model: Any) -> None:
    card = replace(tiny_model.card, name="my axons!", extra={"parent": "ab" * 32})
    entry = add_model(Model(tiny_model.network, card))
    assert (entry.name, entry.status) == ("my-axons", "imported")
    again = load_model("my-axons")
    assert again.card.extra == {"parent": "ab" * 32}
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.network(x)[0], tiny_model.network(x)[0])


def test_names_do_not_meet(tiny_model: Any) -> None:
    names = [add_model(tiny_model).name for _ in range(3)]
    assert names == ["tiny", "tiny-2", "tiny-3"]
    nuclei = Model(tiny_model.network, replace(tiny_model.card, name="nuclei"))
    assert add_model(nuclei).name == "nuclei-2"
    assert add_model(nuclei, "Some Name").name == "Some-Name"
    with pytest.raises(WeightsError, match=r"called 'TINY' already: choose another name"):
        add_model(tiny_model, "TINY")
    assert len(files()) == 5


def test_a_renamed_model_is_the_same_file_under_another_name(tiny_model: Any) -> None:
    before = registry.file_sha256(add_model(tiny_model).path)  # type: ignore[arg-type]
    entry = rename_model("tiny", "axons 2")
    assert entry.name == "axons-2"
    assert own() == ["axons-2"]
    assert entry.path is not None
    assert registry.file_sha256(entry.path) == before
    assert load_model("axons-2").card.name == "axons-2"
    assert rename_model("axons-2", "Axons-2").name == "Axons-2"
    assert rename_model("Axons-2", "Axons-2").name == "Axons-2"


@pytest.mark.parametrize("new", ["other", "OTHER", "nuclei", "", " ", "..", "/"])
def test_a_name_that_is_taken_or_none_is_refused(tiny_model: Any, new: str) -> None:
    add_model(tiny_model)
    add_model(tiny_model, "other")
    with pytest.raises(WeightsError, match="choose another name"):
        rename_model("tiny", new)
    assert own() == ["other", "tiny"]


def test_a_name_cannot_lead_out_of_the_folder(tiny_model: Any) -> None:
    add_model(tiny_model)
    entry = rename_model("tiny", "../../etc/x")
    assert entry.path is not None
    assert entry.path.parent == models_folder()


def test_a_deleted_model_is_gone(tiny_model: Any) -> None:
    add_model(tiny_model)
    delete_model("tiny")
    assert files() == []
    with pytest.raises(WeightsError, match="no model 'tiny'"):
        delete_model("tiny")


def test_released_models_stay(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'nuclei' is a released one"):
        delete_model("nuclei")
    with pytest.raises(WeightsError, match="'nuclei' is a released one"):
        rename_model("nuclei", "mine")
    with pytest.raises(WeightsError, match="no model 'nuclie'"):
        rename_model("nuclie", "mine")
    assert load_model("nuclei").card.name == "nuclei"


@pytest.mark.parametrize("call", ["move_to_new", "unlink"])
def test_a_folder_that_cannot_be_changed_is_explained(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    add_model(tiny_model)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    where = own_models if call == "move_to_new" else Path
    with monkeypatch.context() as patch:
        patch.setattr(where, call, fail)
        with pytest.raises(WeightsError, match=r"permission.*NAPARI_SA2NET_MODELS"):
            rename_model("tiny", "x") if call == "move_to_new" else delete_model("tiny")
    assert own() == ["tiny"]


def test_an_exported_model_can_be_imported_elsewhere(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = add_model(tiny_model)
    path = export_model("tiny", tmp_path / "deep" / "out")
    assert path == tmp_path / "deep" / "out.safetensors"
    assert entry.path is not None
    assert path.read_bytes() == entry.path.read_bytes()
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "elsewhere"))
    assert import_model(path).name == "tiny"


def test_an_exported_model_carries_the_name_it_was_given(tiny_model: Any, tmp_path: Path) -> None:
    add_model(tiny_model)
    rename_model("tiny", "Nägel-nü")
    path = export_model("Nägel-nü", tmp_path)
    assert path.name == "Nägel-nü.safetensors"
    assert replace(read_card(path), file="", bytes=0) == replace(tiny_model.card, name="Nägel-nü")
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_model(path).network(x)[0], tiny_model.network(x)[0])


def test_a_bundled_model_is_exported_as_it_is(tmp_path: Path) -> None:
    path = export_model("nuclei", tmp_path)
    assert registry.file_sha256(path) == find_model("nuclei").card.sha256
    assert import_model(path) == find_model("nuclei")


def test_export_replaces_only_on_request(tiny_model: Any, tmp_path: Path) -> None:
    add_model(tiny_model)
    mine = tmp_path / "tiny.safetensors"
    mine.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_model("tiny", tmp_path)
    assert mine.read_text() == "mine"
    assert export_model("tiny", mine, overwrite=True) == mine
    assert read_card(mine).name == "tiny"


def test_a_full_disk_leaves_nothing(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tiny_model)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(model_files.os, "fsync", full)
    with pytest.raises(WeightsError, match="disk is full"):
        export_model("tiny", tmp_path / "out")
    with pytest.raises(WeightsError, match=r"disk is full.*NAPARI_SA2NET_MODELS"):
        add_model(tiny_model)
    assert files() == ["tiny.safetensors"]
    assert not list(tmp_path.glob("*out*"))


def test_a_model_that_is_not_here_cannot_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(find_model("nuclei"), path=None, status="remote")
    monkeypatch.setattr(own_models, "find_model", lambda _: entry)
    with pytest.raises(WeightsError, match="download it first"):
        export_model("nuclei", tmp_path)


def test_a_saved_file_of_a_model_is_still_its_own(tiny_model: Any, tmp_path: Path) -> None:
    path = save_model(tiny_model, tmp_path / "a")
    assert import_model(path) == import_model(path)
    assert files() == ["tiny.safetensors"]


# --- folders ---------------------------------------------------------------------------------


def test_one_variable_moves_what_a_person_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAPARI_SA2NET_MODELS")
    monkeypatch.setenv("NAPARI_SA2NET_HOME", str(tmp_path))
    assert folders.data_folder() == tmp_path
    assert folders.models_folder() == tmp_path / "models"
    assert folders.trainings_folder() == tmp_path / "trainings"
    assert folders.paintings_folder() == tmp_path / "paintings"
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "shared"))
    assert folders.models_folder() == tmp_path / "shared"


def test_without_variables_the_systems_folders_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "MODELS", "CACHE"):
        monkeypatch.setenv(f"NAPARI_SA2NET_{name}", " ")
    assert folders.data_folder().name == "napari-sa2net"
    assert folders.models_folder() == folders.data_folder() / "models"
    assert folders.cache_folder() != folders.data_folder()


def test_an_unknown_home_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SA2NET_HOME", "~nobody_of_that_name/x")
    with pytest.raises(WeightsError, match="write the whole path"):
        folders.trainings_folder()


@pytest.mark.parametrize(
    ("extra", "wanted"), [({"training": {"steps": 3}}, "trained"), ({"recipe": "a"}, "imported")]
)
def test_a_trained_model_is_listed_as_that_and_an_imported_one_as_imported(
    tiny_model: Any, tmp_path: Path, extra: dict[str, Any], wanted: str
) -> None:
    made = Model(tiny_model.network, replace(tiny_model.card, name="mine", extra=extra))
    entry = add_model(made)
    assert entry.own
    assert entry.status == wanted
    file = export_model("mine", tmp_path / "elsewhere.safetensors")
    assert import_model(file).name == "mine"  # it is here already
    assert rename_model("mine", "renamed").status == wanted
    delete_model("renamed")
    assert import_model(file).status == "imported"  # as it would be on another computer


def test_joined_models_are_listed_as_that(tiny_model: Any) -> None:
    for bias, name in enumerate(("one", "two")):
        network = copy.deepcopy(tiny_model.network)
        torch.nn.init.constant_(network.heads[0].bias, bias)
        add_model(Model(network, replace(tiny_model.card, name=name)))
    assert add_model(join_models(["one", "two"], "both")).status == "joined"
