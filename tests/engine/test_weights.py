"""Cards, model files, the list of models, and taking files in."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_sa2net.engine import model_files, registry, weights
from napari_sa2net.engine.errors import DeviceError, WeightsError
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.weights import (
    ClassInfo,
    Figure,
    Model,
    ModelCard,
    available_models,
    find_model,
    import_model,
    load_model,
    models_folder,
    read_card,
    save_model,
)

CHECKPOINT = (
    Path(__file__).parents[1]
    / "fixtures"
    / "official_checkpoints"
    / "val_best_model-MyNet_999.pth.tar"
)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Keep the tests away from the models of whoever runs them."""
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "own"))
    monkeypatch.delenv("NAPARI_SA2NET_WEIGHTS_URL", raising=False)


@pytest.fixture
def model():
    torch.manual_seed(0)
    card = ModelCard(
        name="cells",
        description="Cells, ünïcode",
        modality="fluorescence",
        licence="CC0-1.0",
        training_data="made up",
        citation="nobody 2026",
        base_channels=4,
        in_channels=3,
        num_classes=3,
        classes=(
            ClassInfo("background", "#000000"),
            ClassInfo("cell", "#FF0000"),
            ClassInfo("boundary", "#00ff00", derived=True),
        ),
        channels=("red", "green", "blue"),
        normalization=Normalization("percentile", low=2, high=98, clip=(0, 1)),
        pixel_size=0.5,
        labelling=LabelSettings(threshold=0.4, min_size=7),
        figures=(Figure("Dice", 0.91, "sa2net evaluate images masks"),),
        extra={"parent": "ab" * 32, "settings": {"steps": 3, "rates": [0.1, 0.2]}},
    )
    return Model(SA2Net(3, 3, 4).eval(), card)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- cards -----------------------------------------------------------------------------------


def test_a_card_survives_as_plain_values(model):
    card = replace(model.card, file="a.safetensors", bytes=3, sha256="0" * 64, urls=("http://x",))
    table = json.loads(json.dumps(card.to_dict()))
    assert ModelCard.from_dict(table, strict=True) == card


def test_the_fields_about_the_file_can_be_left_out(model):
    table = replace(model.card, sha256="0" * 64).to_dict(provenance=False)
    assert not {"file", "bytes", "sha256", "urls"} & set(table)


@pytest.mark.parametrize(("num_classes", "names"), [
    (1, ["background", "object"]), (3, ["background", "class 1", "class 2"]),
])  # fmt: skip
def test_unnamed_classes_get_names_and_different_colours(num_classes, names):
    card = ModelCard(name="x", num_classes=num_classes)
    assert [info.name for info in card.classes] == names
    assert len({info.color for info in card.classes}) == len(names)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_classes": 4}, "lists 3 classes, but its network has 4"),
        ({"channels": ("grey",)}, "names 1 channels, its network has 3"),
        ({"name": " "}, "has no name"),
        ({"pixel_size": 0.0}, "pixel_size is 0.0"),
        ({"diameter": float("nan")}, "diameter is nan"),
        ({"result": "boxes"}, "one of instances, classes"),
        ({"base_channels": 0}, "base_channels is 0"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(model, change, text):
    with pytest.raises(WeightsError, match=text):
        replace(model.card, **change)


def test_the_cards_result_is_that_of_its_label_settings(model):
    assert replace(model.card, result="classes").labelling.result == "classes"


def test_unknown_fields_are_refused_in_the_registry_and_ignored_in_files(model):
    table = {**model.card.to_dict(), "colour": 1}
    assert ModelCard.from_dict(table) == model.card
    with pytest.raises(WeightsError, match="unknown field colour"):
        ModelCard.from_dict(table, strict=True)


@pytest.mark.parametrize(
    "table", [{}, {"name": "x", "classes": 3}, {"name": "x", "normalization": []}, {"name": 5}]
)
def test_nonsense_is_no_card(table):
    with pytest.raises(WeightsError):
        ModelCard.from_dict(table)


def test_the_colour_order():
    def order(*channels):
        return ModelCard(name="x", in_channels=len(channels), channels=channels).colour_order

    assert order("Blue", "Green", "Red") == (2, 1, 0)
    assert order("green", "red", "blue") == (1, 0, 2)
    assert order("red", "green", "blue") is None
    assert order("DAPI", "GFP", "RFP") is None


# --- files -----------------------------------------------------------------------------------


def test_a_saved_model_is_the_same_when_read_again(model, tmp_path):
    path = save_model(model, tmp_path / "deep" / "er" / "cells")
    assert path == tmp_path / "deep" / "er" / "cells.safetensors"
    again = load_model(path)
    assert replace(again.card, file="", bytes=0) == model.card
    assert again.card.bytes == path.stat().st_size
    assert not again.network.training
    x = torch.rand(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(model.network(x), again.network(x), strict=True))
    assert files_in(tmp_path) == ["cells.safetensors"]


def test_a_network_that_was_read_can_be_trained_on(model, tmp_path):
    path = save_model(model, tmp_path / "m")
    before = path.read_bytes()
    network = load_model(path).network.train()
    network(torch.rand(2, 3, 32, 32))[0].mean().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1
    assert network.heads[0].weight.grad is not None
    assert path.read_bytes() == before


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    channels_last = Model(model.network.to(memory_format=torch.channels_last), model.card)
    first, second = save_model(model, tmp_path / "a"), save_model(channels_last, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_the_file_is_plain_safetensors(model, tmp_path):
    tensors = load_file(save_model(model, tmp_path / "m"))
    assert set(tensors) == set(model.network.state_dict())


def test_half_precision_files_are_read_as_float32(model, tmp_path):
    half = Model(SA2Net(3, 3, 4).half(), model.card)
    network = load_model(save_model(half, tmp_path / "m")).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_card_that_does_not_fit_the_network_is_not_saved(model, tmp_path):
    wrong = Model(model.network, replace(model.card, base_channels=8))
    with pytest.raises(WeightsError, match=r"base_channels=8.*network has 4"):
        save_model(wrong, tmp_path / "m")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "disk is full.*Free some space"),
        (errno.EACCES, "cannot be written to.*permission"),
        (errno.EROFS, "cannot be written to"),
        (errno.EIO, "Check the folder"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    model, tmp_path, monkeypatch, code, text
):
    path = save_model(model, tmp_path / "m")
    before = path.read_bytes()

    def fail(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(model_files.os, "fsync", fail)
    with pytest.raises(WeightsError, match=text):
        save_model(Model(SA2Net(3, 3, 4), model.card), path)
    assert files_in(tmp_path) == ["m.safetensors"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_cut_file_is_refused(model, tmp_path, keep):
    path = save_model(model, tmp_path / "m")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\x02" + bytes(7) + b"[]", b"GIF89a, a cat"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_model(path)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.safetensors cannot be read"):
        load_model(tmp_path / "none.safetensors")


def test_safetensors_of_others_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds no model card"):
        load_model(path)


def test_a_file_of_a_newer_version_asks_for_an_update(model, tmp_path):
    path = tmp_path / "m.safetensors"
    content = {"version": 99, "card": {"future": True}}
    save_file({"w": torch.zeros(1)}, path, metadata={"napari-sa2net": json.dumps(content)})
    with pytest.raises(WeightsError, match="update napari-sa2net"):
        read_card(path)


def test_tensors_that_do_not_fit_are_named(model, tmp_path):
    path = tmp_path / "m.safetensors"
    state = model.network.state_dict()
    del state["heads.0.bias"]
    state["heads.1.bias"] = torch.zeros(7)
    state["extra"] = torch.zeros(1)
    content = {"version": 1, "card": model.card.to_dict(provenance=False)}
    save_file(state, path, metadata={"napari-sa2net": json.dumps(content)})
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    text = str(caught.value)
    assert "missing: heads.0.bias;" in text
    assert "unexpected: extra;" in text
    assert "heads.1.bias is 7 instead of 3" in text


def test_a_device_that_is_not_there_is_explained(model):
    with pytest.raises(DeviceError, match=r"nonsense.*sa2net doctor"):
        load_model(model, device="nonsense")


# --- the list --------------------------------------------------------------------------------


def test_the_registry_of_this_version_is_sound():
    listed = registry.read_registry()
    assert "nuclei" in [card.name for card in listed]
    for card in listed:
        assert card.description
        assert card.licence
        assert card.training_data
        assert card.citation
        assert card.urls
        assert all(url.startswith("https://") for url in card.urls)


def test_the_bundled_models_are_as_the_registry_says():
    bundled = [entry for entry in available_models() if entry.status == "bundled"]
    assert "nuclei" in [entry.name for entry in bundled]
    for entry in bundled:
        listed = next(c for c in registry.read_registry() if c.name == entry.name)
        inside = load_model(entry.name).card
        assert registry.file_sha256(entry.path) == listed.sha256
        assert entry.path.stat().st_size == listed.bytes <= 12_000_000
        assert listed.figures
        fields = {"urls": (), "figures": (), "sha256": "", "extra": {}}
        assert replace(inside, **fields) == replace(listed, **fields)


def test_listing_models_needs_no_torch():
    code = (
        "import sys; from napari_sa2net.engine import weights; weights.available_models();"
        "sys.exit('torch' in sys.modules or 'qtpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[models]]\nname = ", "cannot be read"),
        ("[[models]]\nname = 'a'\nfile = '../a'", "plain file name"),
        ("[[models]]\nname = 'a'\nfile = 'a'\ntypo = 1", "unknown field typo"),
        ("[[models]]\nname = 'a'\nfile = 'a'\n" * 2, "'a' twice"),
    ],
)
def test_a_broken_registry_is_explained(tmp_path, text, problem):
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(WeightsError, match=problem):
        registry.read_registry(path)


def test_the_entry_for_the_registry_can_be_read_back(model, tmp_path):
    path = save_model(model, tmp_path / "cells")
    listed = tmp_path / "models.toml"
    listed.write_text(f'base_url = "https://x/y"\n\n{weights.toml_entry(path)}', encoding="utf-8")
    card = registry.read_registry(listed)[0]
    assert card == replace(
        read_card(path),
        sha256=registry.file_sha256(path),
        urls=("https://x/y/cells.safetensors",),
        extra={},
    )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match=r"Did you mean 'nuclei'\?.*Available are nuclei"):
        load_model("nuclie")


def test_the_folders_follow_the_environment(monkeypatch, tmp_path):
    assert weights.cache_folder() == tmp_path / "cache"
    assert models_folder() == tmp_path / "own"
    for variable in ("NAPARI_SA2NET_CACHE", "NAPARI_SA2NET_MODELS"):
        monkeypatch.delenv(variable)
    assert weights.cache_folder().name == "napari-sa2net"
    assert models_folder() != weights.cache_folder()


# --- taking files in -------------------------------------------------------------------------


def test_a_fine_tuned_file_is_in_the_list_and_loads_by_name(model, tmp_path):
    path = save_model(model, tmp_path / "download")
    entry = import_model(path)
    path.unlink()
    assert (entry.name, entry.status) == ("cells", "imported")
    assert entry in available_models()
    assert entry.path.parent == models_folder()
    loaded = load_model("cells")
    assert loaded.card.extra["parent"] == "ab" * 32
    assert torch.equal(loaded.network.heads[0].weight, model.network.heads[0].weight)


def test_an_authors_checkpoint_is_taken_in_as_safetensors():
    entry = import_model(CHECKPOINT, "gland network")
    assert entry.name == "gland-network"
    assert entry.path.name == "gland-network.safetensors"
    card = load_model("gland-network").card
    assert card.channels == ("blue", "green", "red")
    assert card.extra["imported_from"] == CHECKPOINT.name


def test_a_checkpoint_can_be_used_where_it_lies():
    assert load_model(str(CHECKPOINT)).network.base_channels == 8


def test_the_same_file_is_taken_in_once(model, tmp_path):
    path = save_model(model, tmp_path / "cells")
    first = import_model(path)
    assert import_model(path) == first
    assert import_model(first.path) == first
    assert files_in(models_folder()) == ["cells.safetensors"]


def test_another_file_of_the_same_name_gets_a_number(model, tmp_path):
    import_model(save_model(model, tmp_path / "a"))
    other = Model(SA2Net(3, 3, 4), model.card)
    assert import_model(save_model(other, tmp_path / "b")).name == "cells-2"
    bundled_name = Model(SA2Net(3, 3, 4), replace(model.card, name="nuclei"))
    assert import_model(save_model(bundled_name, tmp_path / "c")).name == "nuclei-2"


@pytest.mark.parametrize("name", ["cells", "CELLS", "nuclei", ""])
def test_a_name_that_is_taken_is_refused(model, tmp_path, name):
    import_model(save_model(model, tmp_path / "a"))
    other = save_model(Model(SA2Net(3, 3, 4), model.card), tmp_path / "b")
    with pytest.raises(WeightsError, match="choose another name"):
        import_model(other, name)
    assert files_in(models_folder()) == ["cells.safetensors"]


def test_a_name_cannot_lead_out_of_the_folder(model, tmp_path):
    entry = import_model(save_model(model, tmp_path / "a"), "../../etc/x")
    assert entry.path.parent == models_folder()


@pytest.mark.parametrize("content", [b"", b"hello there, no model", b"PK\x03\x04"])
def test_a_bad_file_leaves_nothing(tmp_path, content):
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pt"):
        import_model(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        import_model(tmp_path / "missing.pt")
    assert not models_folder().exists()


def test_a_full_disk_names_the_variable_and_leaves_nothing(model, tmp_path, monkeypatch):
    path = save_model(model, tmp_path / "a")

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model_files.os, "fsync", fail)
    with pytest.raises(WeightsError, match=r"disk is full.*NAPARI_SA2NET_MODELS"):
        import_model(path)
    assert files_in(models_folder()) == []


def test_a_damaged_file_among_the_own_models_is_left_out(model, tmp_path, caplog):
    entry = import_model(save_model(model, tmp_path / "a"))
    broken = models_folder() / "broken.safetensors"
    broken.write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert [e.name for e in available_models() if e.status == "imported"] == [entry.name]
    assert "broken.safetensors" in caplog.text
    named = import_model(save_model(Model(SA2Net(3, 3, 4), model.card), tmp_path / "b"), "fresh")
    assert named.name == "fresh"
    with pytest.raises(WeightsError, match="choose another name"):
        import_model(CHECKPOINT, "broken")
    assert broken.read_bytes() == b"x"


def test_a_file_renamed_by_hand_has_its_new_name(model, tmp_path):
    entry = import_model(save_model(model, tmp_path / "a"))
    entry.path.rename(models_folder() / "v1.2.safetensors")
    assert find_model("v1.2").status == "imported"
    assert load_model("v1.2").card.name == "v1.2"


@pytest.mark.parametrize("call", [load_model, import_model])
def test_an_unknown_home_folder_is_no_runtime_error(call: Callable[[str], object]) -> None:
    with pytest.raises(WeightsError):
        call("~nobody_of_that_name/model.safetensors")
