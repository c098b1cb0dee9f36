from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.errors import InputError, SA2NetError, WeightsError
from napari_sa2net.engine.exchange import onnx_file
from napari_sa2net.engine.execution.maps import probabilities
from napari_sa2net.engine.joining import join_models
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.weights import Model, load_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def tiny(in_channels: int = 3, num_classes: int = 3) -> Model:
    torch.manual_seed(0)
    network = SA2Net(in_channels, num_classes, 4).eval()
    card = ModelCard(
        "tiny", base_channels=4, in_channels=in_channels, num_classes=num_classes, licence="CC0-1.0"
    )
    return Model(network, card)


@pytest.mark.parametrize(("channels", "classes"), [(3, 3), (4, 2), (1, 1)])
def test_one_file_gives_the_probabilities_of_all_stages(
    tmp_path: Path, channels: int, classes: int
) -> None:
    model = tiny(channels, classes)
    path, found = onnx_file.export_onnx(model, tmp_path / "tiny")
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]
    assert [a.shape for a in found] == [(b, channels, h, w) for b, h, w in onnx_file.CHECKED]
    assert all(a.largest <= 1e-4 for a in found)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [f"stage{i}" for i in (1, 2, 3, 4)]
    x = np.random.default_rng(1).random((3, channels, 32, 112), np.float32)
    with torch.inference_mode():
        wanted = [probabilities(stage) for stage in model.network(torch.from_numpy(x))]
    for stage, expected in zip(session.run(None, {"image": x}), wanted, strict=True):
        assert stage.shape == (3, max(2, classes), 32, 112)
        assert np.abs(stage - expected.numpy()).max() <= 1e-4


@pytest.mark.parametrize("classes", [3, 1])
def test_an_ensemble_is_exported_as_the_mean_of_its_members(tmp_path: Path, classes: int) -> None:
    models = [tiny(num_classes=classes), tiny(num_classes=classes)]
    with torch.no_grad():
        for weight in models[1].network.parameters():
            weight *= 1.5
    path, _ = onnx_file.export_onnx(join_models(models, "both"), tmp_path)
    x = np.random.default_rng(1).random((1, 3, 32, 48), np.float32)
    with torch.inference_mode():
        each = [model.network(torch.from_numpy(x)) for model in models]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for i, stage in enumerate(session.run(None, {"image": x})):
        mean = torch.stack([probabilities(logits[i]) for logits in each]).mean(0)
        assert np.abs(stage - mean.numpy()).max() <= 1e-4


def test_the_card_is_in_the_file(tmp_path: Path) -> None:
    path, _ = onnx_file.export_onnx(tiny(), tmp_path)
    assert path == tmp_path / "tiny.onnx"
    properties = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
    card = ModelCard.from_dict(json.loads(properties["napari-sa2net"]))
    assert card == tiny().card


def test_a_file_that_was_exported_is_not_asked_to_come_back(tmp_path: Path) -> None:
    path, _ = onnx_file.export_onnx(tiny(), tmp_path / "MODEL.ONNX")
    assert path.name == "MODEL.ONNX"
    with pytest.raises(WeightsError, match="ONNX file, which is for other programs"):
        load_model(path)


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    target.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        onnx_file.export_onnx(tiny(), target)
    assert target.read_text() == "mine"
    onnx_file.export_onnx(tiny(), target, overwrite=True)
    assert target.stat().st_size > 1000


def test_a_file_that_disagrees_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(WeightsError, match="differs from PyTorch"):
        onnx_file.export_onnx(tiny(), tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SA2NetError):
        onnx_file.export_onnx(tiny(), tmp_path / "file" / "tiny.onnx")


def test_missing_packages_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"napari-sa2net\[onnx\]"):
        onnx_file.export_onnx(tiny(), tmp_path / "tiny.onnx")


def test_the_model_given_stays_as_it_is(tmp_path: Path) -> None:
    model = tiny()
    model.network.train()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    onnx_file.export_onnx(model, tmp_path / "tiny.onnx")
    assert model.network.training
    after = model.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
