from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sa2net.engine.errors import WeightsError
from napari_sa2net.engine.images import normalize
from napari_sa2net.engine.official import UNUSED, import_checkpoint

FOLDER = Path(__file__).parents[1] / "fixtures" / "official_checkpoints"
BINARY = FOLDER / "val_best_model-MyNet_999.pth.tar"
TWO_CLASS = FOLDER / "best_model_state_dict.pt"


@pytest.mark.parametrize(
    ("checkpoint", "reference", "activation"),
    [
        (BINARY, "binary_rgb.npz", torch.sigmoid),
        (TWO_CLASS, "two_class_4ch.npz", torch.nn.Identity()),
    ],
)
@pytest.mark.parametrize("example", [0, 1])
def test_all_four_stages_agree_with_the_authors_program(checkpoint, reference, activation, example):
    model = import_checkpoint(checkpoint)
    with np.load(FOLDER / reference) as stored, torch.no_grad():
        stages = model.network(torch.from_numpy(stored[f"input_{example}"]))
        assert len(stages) == 4
        for number, stage in enumerate(stages, start=1):
            np.testing.assert_allclose(
                activation(stage).numpy(), stored[f"stage{number}_{example}"], rtol=0, atol=1e-5
            )


def test_a_binary_checkpoint_gets_the_authors_preprocessing():
    card = import_checkpoint(BINARY).card
    assert (card.base_channels, card.in_channels, card.num_classes) == (8, 3, 1)
    assert card.channels == ("blue", "green", "red")
    assert card.colour_order == (2, 1, 0)
    image = np.full((3, 1, 1), 51, np.uint8)
    np.testing.assert_allclose(normalize(image, card.normalization), 0.2, atol=1e-6)
    assert [info.name for info in card.classes] == ["background", "object"]


def test_a_two_class_checkpoint_gets_the_authors_preprocessing():
    card = import_checkpoint(TWO_CLASS).card
    assert (card.base_channels, card.in_channels, card.num_classes) == (8, 4, 2)
    assert card.channels == ("red", "green", "blue", "nucleus mask")
    image = np.stack([np.full((2, 2), value, np.float32) for value in (10, 20, 40, 30)])
    normalised = normalize(image, card.normalization)
    # One range for the whole image, as the authors' program has it.
    np.testing.assert_allclose(normalised[:, 0, 0], [0, 1 / 3, 1, 2 / 3], atol=1e-6)
    assert card.result == "classes"


def test_the_unused_tensors_are_dropped_and_every_other_one_is_used():
    stored = torch.load(TWO_CLASS, weights_only=True)
    unused = [key for key in stored if UNUSED.match(key)]
    model = import_checkpoint(TWO_CLASS)
    assert len(stored) == 346
    assert len(unused) == 3 * 10 + 4 * 4 + 4 * 4
    assert len(model.network.state_dict()) == len(stored) - len(unused)


@pytest.fixture
def changed(tmp_path):
    """Write the two-class checkpoint with a change to its state dictionary."""

    def write(change):
        state = torch.load(TWO_CLASS, weights_only=True)
        change(state)
        path = tmp_path / "changed.pt"
        torch.save(state, path)
        return path

    return write


def test_every_misfit_is_named(changed):
    def change(state):
        del state["up2.AG.psi.0.weight"]
        state["side_conv2.weight"] = torch.zeros(8, 16, 5, 5)
        state["surprise.weight"] = torch.zeros(1)

    with pytest.raises(WeightsError) as caught:
        import_checkpoint(changed(change))
    text = str(caught.value)
    assert "missing: up2.AG.psi.0.weight;" in text
    assert "unexpected: surprise.weight;" in text
    assert "side_conv2.weight is 8×16×5×5 instead of 8×16×3×3" in text
    assert "Multi_scale_Fuse" not in text


def test_weights_that_are_not_finite_are_refused(changed):
    with pytest.raises(WeightsError, match=r"not finite: inc\.conv\.bias"):
        import_checkpoint(changed(lambda state: state["inc.conv.bias"].fill_(float("nan"))))


def test_a_checkpoint_without_unused_tensors_or_from_several_gpus_is_read(changed):
    def change(state):
        for key in list(state):
            value = state.pop(key)
            if not UNUSED.match(key):
                state[f"module.{key}"] = value

    expected = import_checkpoint(TWO_CLASS).network.state_dict()
    found = import_checkpoint(changed(change)).network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "dump", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_code_in_a_file_is_never_run(tmp_path, dump):
    sprung = tmp_path / "sprung"
    path = tmp_path / "trap.pth.tar"
    dump({"state_dict": torch.load(TWO_CLASS, weights_only=True), "model": Trap(sprung)}, path)
    with pytest.raises(WeightsError, match=r"objects of a program.*state dictionary only"):
        import_checkpoint(path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"# A text", b"GIF89a", b"PK no zip"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"other\.pt is not a PyTorch checkpoint"):
        import_checkpoint(path)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "cut.pt"
    path.write_bytes(TWO_CLASS.read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match="damaged"):
        import_checkpoint(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        import_checkpoint(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        import_checkpoint(tmp_path)


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "other.pt"
    torch.save(torch.nn.Conv2d(3, 4, 3).state_dict(), path)
    with pytest.raises(WeightsError, match="not a checkpoint of SA2-Net"):
        import_checkpoint(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(WeightsError, match="no state dictionary"):
        import_checkpoint(path)
    torch.save({"epoch": 3, "optimizer": {}}, path)
    with pytest.raises(WeightsError, match="is no tensor"):
        import_checkpoint(path)
