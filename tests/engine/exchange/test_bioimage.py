from __future__ import annotations

import copy
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.errors import InputError, SA2NetError, WeightsError
from napari_sa2net.engine.exchange import bioimage
from napari_sa2net.engine.exchange.bioimage import export_bioimage, preprocessing
from napari_sa2net.engine.exchange.package import MODEL_FILE, is_package
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.joining import join_models
from napari_sa2net.engine.weights import Model, import_model, load_model

core = pytest.importorskip("bioimageio.core")


@pytest.fixture(scope="module")
def package(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = replace(
        tiny_model.card,
        licence="BSD-3-Clause",
        citation="A. Person et al., doi:10.1038/s41592-019-0612-7; Another one (2020), "
        "doi:10.1371/journal.pbio.1000502; A book",
    )
    folder = tmp_path_factory.mktemp("package")
    return export_bioimage(Model(tiny_model.network, card), folder)


def test_a_package_is_one_file_with_licence_and_citation(package: Path) -> None:
    assert [file.name for file in package.parent.iterdir()] == ["tiny.zip"]
    descr = core.load_model_description(package)
    assert descr.license == "BSD-3-Clause"
    assert [entry.doi for entry in descr.cite] == [
        "10.48550/arXiv.2309.16661",
        "10.1038/s41592-019-0612-7",
        "10.1371/journal.pbio.1000502",
    ]
    assert descr.cite[1].text == "A. Person et al., doi:10.1038/s41592-019-0612-7"
    assert [author.name for author in descr.authors] == ["unknown, see the documentation"]
    assert [output.id for output in descr.outputs] == [f"stage{i}" for i in (1, 2, 3, 4)]


def test_other_programs_get_the_same_probabilities(package: Path, tiny_model: Model) -> None:
    raw = np.random.default_rng(3).integers(0, 4000, (1, 3, 48, 64)).astype(np.float32)
    found = core.predict(model=core.load_model_description(package), inputs={"image": raw})
    wanted = bioimage._expected(tiny_model, raw)
    for name, expected in wanted.items():
        values = np.asarray(found.members[name].data)
        assert np.abs(values - expected).max() <= 1e-4


def test_what_was_exported_can_be_imported(package: Path, tiny_model: Model) -> None:
    assert is_package(package)
    entry = import_model(package, "again")
    assert entry.name == "again"
    assert entry.card.licence == "BSD-3-Clause"
    pairs = zip(
        tiny_model.network.state_dict().values(),
        load_model("again").network.state_dict().values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    assert load_model(package).card.classes == tiny_model.card.classes


def test_an_ensemble_comes_back_with_its_members(tiny_model: Model, tmp_path: Path) -> None:
    other = copy.deepcopy(tiny_model.network)
    with torch.no_grad():
        for weight in other.parameters():
            weight *= 1.5
    joined = join_models([tiny_model, Model(other, replace(tiny_model.card, name="b"))], "both")
    path = export_bioimage(joined, tmp_path)
    with zipfile.ZipFile(path) as archive:
        readme = archive.read("README.md").decode()
    assert "averaged: tiny, b" in readme
    assert "fine-tune" not in readme
    again = load_model(path)
    assert again.card.members == joined.card.members
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.network(x)[0], joined.network(x)[0])


def test_packages_of_others_and_damaged_ones_are_explained(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("rdf.yaml", "type: model")
    with pytest.raises(WeightsError, match="another program"):
        load_model(other)
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(package) as archive:
        start = archive.getinfo(MODEL_FILE).header_offset
    data = bytearray(package.read_bytes())
    data[start + 2000 : start + 2100] = bytes(100)
    damaged.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="damaged"):
        load_model(damaged)


@pytest.mark.parametrize(
    ("normalization", "steps"),
    [
        (Normalization(), ["scale_range", "clip"]),
        (Normalization(method="minmax", joint=True), ["scale_range", "clip"]),
        (Normalization(method="scale"), ["scale_linear"]),
        (Normalization(method="none"), []),
    ],
)
def test_every_normalisation_has_its_terms(
    tiny_model: Model, normalization: Normalization, steps: list[str]
) -> None:
    card = replace(tiny_model.card, normalization=normalization)
    found: list[dict[str, Any]] = preprocessing(card)
    assert [step["id"] for step in found] == steps
    json.dumps(found)
    if normalization.joint:
        assert "channel" in found[0]["kwargs"]["axes"]


def test_what_the_format_cannot_say_is_explained(tiny_model: Model) -> None:
    card: ModelCard = replace(tiny_model.card, normalization=Normalization(high=0.9, low=0.1))
    with pytest.raises(InputError, match="cannot be said"):
        preprocessing(card)


def test_a_package_that_fails_its_test_is_not_kept(
    tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: Model, image: Any) -> dict[str, Any]:
        return {f"stage{i}": np.ones((1, 3, *image.shape[2:]), np.float32) for i in (1, 2, 3, 4)}

    monkeypatch.setattr(bioimage, "_expected", wrong)
    with pytest.raises(SA2NetError, match="does not pass its test"):
        export_bioimage(tiny_model, tmp_path / "tiny.zip")
    assert not list(tmp_path.iterdir())


def test_a_licence_without_an_identifier_is_a_file(tiny_model: Model, tmp_path: Path) -> None:
    card = replace(tiny_model.card, licence="For research only", extra={"recipe": "a.toml"})
    path = export_bioimage(Model(tiny_model.network, card), tmp_path / "tiny")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("LICENSE.txt").decode() == "For research only\n"
    authors = core.load_model_description(path).authors
    assert [author.name for author in authors] == ["The napari-sa2net developers"]
