from __future__ import annotations

import pytest
import torch

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.adapt import adapt, freeze, train_mode
from napari_sa2net.engine.weights import Model, ModelCard

BACKGROUND = ClassInfo("background", "#000000")
NEW = (BACKGROUND, ClassInfo("cell"), ClassInfo("boundary", derived=True))


def outputs(model: Model, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        return model.network.eval()(x)


def test_the_same_classes_keep_everything(tiny_model: Model) -> None:
    made, messages = adapt(tiny_model, in_channels=3, classes=tiny_model.card.classes)
    x = torch.rand(1, 3, 32, 32)
    for a, b in zip(outputs(tiny_model, x), outputs(made, x), strict=True):
        assert torch.equal(a, b)
    assert made.network is not tiny_model.network
    assert messages == ["Starting from the model 'tiny'."]


def test_a_class_of_the_same_name_keeps_its_row(tiny_model: Model) -> None:
    made, messages = adapt(tiny_model, in_channels=3, classes=NEW, seed=7)
    x = torch.rand(1, 3, 32, 32)
    before, after = outputs(tiny_model, x), outputs(made, x)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[:, [0, 2]], b[:, [0, 2]])
        assert not torch.allclose(a[:, 1], b[:, 1])
    assert "new for cell" in messages[-1]
    assert "kept for background, boundary" in messages[-1]
    again, _ = adapt(tiny_model, in_channels=3, classes=NEW, seed=7)
    assert torch.equal(outputs(again, x)[0], after[0]), "the seed decides"


def test_a_grey_image_excites_another_first_convolution_alike(tiny_model: Model) -> None:
    made, messages = adapt(tiny_model, in_channels=5, classes=tiny_model.card.classes)
    grey = torch.rand(1, 1, 32, 32)
    before = outputs(tiny_model, grey.expand(-1, 3, -1, -1))
    after = outputs(made, grey.expand(-1, 5, -1, -1))
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    assert made.card.in_channels == 5
    assert made.card.channels == ()
    assert "first convolution is new" in messages[-1]


def test_a_binary_model_goes_on_as_one_or_gets_a_head_that_says_the_same() -> None:
    torch.manual_seed(0)
    card = ModelCard(name="binary", base_channels=4, in_channels=1, num_classes=1)
    binary = Model(SA2Net(1, 1, 4).eval(), card)
    x = torch.rand(1, 1, 32, 32)
    same, _ = adapt(binary, in_channels=1, classes=card.classes)
    assert torch.equal(outputs(same, x)[0], outputs(binary, x)[0])
    more, _ = adapt(binary, in_channels=1, classes=(*card.classes, ClassInfo("debris")))
    found = outputs(more, x)[0]
    assert found.shape[1] == 3
    torch.testing.assert_close(found[:, :2].softmax(1)[:, 1], outputs(binary, x)[0][:, 0].sigmoid())


def test_from_scratch_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    made, _ = adapt(None, in_channels=2, classes=NEW, base_channels=4, seed=1)
    assert torch.equal(torch.rand(2), expected)
    assert (made.network.in_channels, made.network.num_classes) == (2, 3)


@pytest.mark.parametrize(
    ("classes", "message"),
    [((BACKGROUND,), "at least one class"), ((BACKGROUND, BACKGROUND), "name of its own")],
)
def test_wrong_classes_are_explained(classes: tuple[ClassInfo, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapt(None, in_channels=1, classes=classes)


@pytest.mark.parametrize("parts", ["encoder", "all but the heads"])
def test_frozen_parts_stay_as_they_are(tiny_model: Model, parts: str) -> None:
    made, _ = adapt(tiny_model, in_channels=3, classes=tiny_model.card.classes)
    network = made.network
    freeze(network, parts)
    train_mode(network, fixed=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sum(stage.square().mean() for stage in network(torch.rand(2, 3, 32, 32))).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert any(name.startswith("heads.") for name in changed)
    assert not any(name.startswith("encoder.") for name in changed)
    if parts == "all but the heads":
        assert all(name.startswith("heads.") for name in changed)


def test_what_cannot_be_frozen_is_explained(tiny_model: Model) -> None:
    with pytest.raises(InputError, match="choose one of"):
        freeze(tiny_model.network, "everything")
