"""A recipe trained by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.io import imsave

from napari_sa2net.cli import main
from napari_sa2net.engine.errors import DeviceError, InputError
from napari_sa2net.engine.processes import ProcessPlace
from napari_sa2net.engine.training import ranks
from napari_sa2net.engine.training.ranks import Ranks, joined
from napari_sa2net.engine.weights import load_model

RECIPE = """
{more}
[[datasets]]
folder = "discs"

[training]
steps = 5
batch = 4
crop = 32
checkpoint_every = 2
hard_from = 3

[card]
name = "discs"
base_channels = 4
in_channels = 3
num_classes = 3
"""
EPOCHS = """epochs = 2
patience = 2"""

SCRIPT = """
import pathlib, sys
import torch
import napari_sa2net
from napari_sa2net.engine.training import loop, ranks

kind, folder, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
drawn, draw = [], loop.draw_batch

def noted(*given):
    batch = draw(*given)
    drawn.append(batch.images.clone())
    return batch

loop.draw_batch = noted

def step(event):
    if kind == "broken" and rank == 1 and getattr(event, "step", 0) == 3:
        raise napari_sa2net.SA2NetError("the second one stops")

made = {}
for name in ("steps", "epochs") if kind == "whole" else ("steps",):
    state = out / "state.pt" if kind == "broken" else None
    model = napari_sa2net.train(
        folder / f"{name}.toml", folder, out / f"{name}-{rank}", "cpu", checkpoint=state,
        on_event=step,
    )
    made[name] = model.network.state_dict()
torch.save({**made, "drawn": drawn, "card": model.card.extra["processes"]}, out / f"{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with six images, and recipes of steps and of epochs."""
    for kind in ("images", "masks"):
        (tmp_path / "discs" / kind).mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    for i in range(6):
        mask = ((y - 20 - i) ** 2 + (x - 25) ** 2 < 100).astype(np.uint16)
        image = (mask * (100 + 20 * i)).astype(np.uint8)
        imsave(tmp_path / "discs" / "images" / f"{i}.png", image, check_contrast=False)
        imsave(tmp_path / "discs" / "masks" / f"{i}.png", mask, check_contrast=False)
    (tmp_path / "folds.txt").write_text("5 a\n")
    (tmp_path / "steps.toml").write_text(RECIPE.format(more=""))
    epochs = RECIPE.format(more='folds = "folds.txt"\nfold = "a"').replace("hard_from = 3\n", "")
    # Of five images in batches of two, the last is seen by both.
    epochs = epochs.replace("steps = 5\nbatch = 4", f"{EPOCHS}\nbatch = 2")
    (tmp_path / "epochs.toml").write_text(epochs)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def together(*command: str, count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a command in several processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    return subprocess.run(
        [*start, str(count), *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.slow
def test_two_processes_have_one_network_and_go_on_after_one_failed(data: Path) -> None:
    whole, broken = data / "whole", data / "broken"
    whole.mkdir()
    broken.mkdir()
    done = together(str(data / "script.py"), "whole", str(data), str(whole))
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(whole / f"{rank}.pt") for rank in (0, 1))
    for name in ("steps", "epochs"):
        assert equal(first[name], second[name])  # weights, and what batch normalisation saw
        assert (whole / f"{name}-0.safetensors").is_file()
        assert not (whole / f"{name}-1.safetensors").exists()
        assert equal(load_model(whole / f"{name}-0.safetensors").network.state_dict(), first[name])
    # Half of the batch each, and not the same half.
    for mine, theirs in zip(first["drawn"], second["drawn"], strict=True):
        assert mine.shape == theirs.shape == (2, 3, 32, 32)
        assert not torch.equal(mine, theirs)
    assert first["card"] == 2

    failed = together(str(data / "script.py"), "broken", str(data), str(broken))
    assert failed.returncode != 0
    assert "the second one stops" in failed.stderr
    model = data / "model.safetensors"
    command = ["train", "--recipe", str(data / "steps.toml"), "--data", str(data), "--device",
               "cpu", "--resume", str(broken / "state.pt"), "-o", str(model)]  # fmt: skip
    done = together("-m", "napari_sa2net", *command)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Going on at step 2 of 5.") == 1
    assert done.stdout.count("discs is trained") == 1
    assert equal(load_model(model).network.state_dict(), first["steps"])


def test_another_number_of_processes_does_not_go_on(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = data / "state.pt"
    command = ["train", "--recipe", str(data / "steps.toml"), "--data", str(data), "--device",
               "cpu", "-q", "--overwrite", "-o", str(data / "out.safetensors"), "--resume",
               str(state)]  # fmt: skip
    assert main(command) == 0
    content = torch.load(state, weights_only=True)
    assert isinstance(content["rng"], dict)
    torch.save({**content, "rng": [content["rng"]] * 2}, state)
    assert main(command) == 1
    assert "was made by 2 process(es) and not by 1" in capsys.readouterr().err


def test_a_batch_is_divided_or_refused() -> None:
    assert [Ranks(0, n).part(8) for n in (1, 2, 4, 8)] == [8, 4, 2, 1]
    with pytest.raises(InputError, match=r"batch of 9 cannot be divided over 2.*start 1, 3, 9"):
        Ranks(0, 2).part(9)


def test_what_is_chosen_is_shared_out() -> None:
    assert Ranks().own([3, 1, 2]) == [3, 1, 2]
    assert [Ranks(rank, 2).own([3, 1, 2]) for rank in (0, 1)] == [[3, 2], [1]]
    assert [Ranks(rank, 2).own([5]) for rank in (0, 1)] == [[5], [5]]


def test_gradients_and_buffers_are_means_over_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = torch.nn.BatchNorm2d(2)
    norm.weight.grad, norm.running_mean[:] = torch.tensor([1.0, 5.0]), 3.0

    def add(self: Ranks, values: torch.Tensor) -> None:
        values += other.pop(0)

    monkeypatch.setattr(Ranks, "_add", add)
    # The other process has three crops, and a gradient of the weight only: that of (2, 1).
    other = [torch.tensor([3.0, 1, 0]), torch.tensor([6.0, 3, 0, 0])]
    Ranks(0, 2).average_gradients([norm.weight, norm.bias], 1)
    assert norm.weight.grad.tolist() == [1.75, 2.0]
    assert norm.bias.grad is None
    other = [torch.tensor([3.0, 0, 1]), torch.tensor([0.0, 0, 8, 4])]
    Ranks(0, 2).average_gradients([norm.weight, norm.bias], 1)  # the bias has none of its own
    assert norm.bias.grad is not None
    assert norm.bias.grad.tolist() == [2.0, 1.0]
    other = [torch.tensor([3.0 * 7, 3.0 * 7, 3, 3, 3])]
    Ranks(0, 2).average_buffers(norm, 1)
    assert norm.running_mean.tolist() == [6.0, 6.0]
    assert norm.running_var.tolist() == [1.0, 1.0]
    assert Ranks().mean(2.5, 4, torch.device("cpu")) == 2.5


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the second of two processes."""
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"),
                        ("LOCAL_RANK", "1")):  # fmt: skip
        monkeypatch.setenv(name, value)


def test_the_environment_tells_which_process_it_is(
    monkeypatch: pytest.MonkeyPatch, second: None
) -> None:
    place = ProcessPlace.of_environment()
    assert (place.rank, place.count, place.local, place.first) == (1, 2, 1, False)
    assert str(place) == "process 2 of 2"
    monkeypatch.delenv("WORLD_SIZE")
    alone = ProcessPlace.of_environment()
    assert (alone, alone.first, str(alone)) == (ProcessPlace(), True, "")
    with joined("cuda:5") as (found, device):
        assert (found, device) == (Ranks(), "cuda:5")


@pytest.mark.parametrize(
    ("there", "wanted", "device"),
    [(0, "auto", "cpu"), (2, "auto", "cuda:1"), (2, "cuda", "cuda:1"), (2, "cpu", "cpu")],
)
def test_each_process_has_a_device_of_its_own(
    there: int, wanted: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert ranks._own_device(wanted, ProcessPlace(1, 2, 1)) == device


def test_too_few_devices_are_told(monkeypatch: pytest.MonkeyPatch, second: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="--nproc-per-node 1"), joined("auto"):
        pass
    with pytest.raises(DeviceError, match="leave out the device 'cuda:0'"), joined("cuda:0"):
        pass


def test_painted_images_are_for_one_process(
    second: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "images", "annotations"]) == 2
    assert "without torchrun" in capsys.readouterr().err
