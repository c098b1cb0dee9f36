"""The benchmarks of the paper's questions, on small made-up images."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.io import imsave

from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.training.losses import Target, authors_loss, deep_supervision

PARTS = {
    "without LSA": ("LocalScaleAttention",),
    "without GSA": ("GlobalScaleAttention",),
    "without AuA's attention": ("AdaptiveUpAttention",),
    "concatenation instead of SA2": ("ScaleAwareAttention", "ScaleMLP"),
}
"""What each variant must not have, by class."""


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch, bench: Any) -> None:
    """Leave the number of threads of the tests alone."""
    monkeypatch.setattr(bench("records"), "_begin", lambda places: None)


def classes_of(network: SA2Net) -> set[str]:
    return {type(module).__name__ for module in network.modules()}


def gradients(network: SA2Net, weights: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """Return the gradients of a step on a random image."""
    torch.manual_seed(1)
    stages = network(torch.rand(2, 3, 32, 32))
    target = Target((torch.rand(2, 32, 32) > 0.5).long())
    deep_supervision(stages, target, authors_loss, weights).backward()
    assert [tuple(stage.shape) for stage in stages] == [(2, 1, 32, 32)] * 4
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert found.keys() == dict(network.named_parameters()).keys(), "a part hangs loose"
    return found


def test_every_variant_runs_and_can_be_trained(bench: Any) -> None:
    variants = bench("variants")
    for variant in variants.VARIANTS.values():
        network = variant.make(3, 1, 4)
        found = gradients(network, variant.stage_weights)
        assert all(torch.isfinite(gradient).all() for gradient in found.values())
        assert found["encoder.down.3.1.conv.weight"].any(), "the deepest feature counts"
        assert [m.shape[1] for m in network.explain(torch.rand(1, 3, 32, 32)).gates] == [1] * 4


def test_variants_really_lack_their_part(bench: Any) -> None:
    variants = bench("variants").VARIANTS
    whole = classes_of(variants["SA2-Net"].make(3, 1, 4))
    for name, parts in PARTS.items():
        assert set(parts) <= whole
        assert not set(parts) & classes_of(variants[name].make(3, 1, 4)), name
    standard = variants["standard convolutions"].make(3, 1, 4)
    convolutions = [m for m in standard.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.groups == 1 for m in convolutions)
    plain = variants["SA2-Net"].make(3, 1, 4)
    assert any(m.groups > 1 for m in plain.modules() if isinstance(m, torch.nn.Conv2d))
    kernels = [
        {n: m.kernel_size for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d)}
        for net in (standard, plain)
    ]
    assert kernels[0] == kernels[1]
    assert type(plain.attention.local_attention[0]).__name__ == "LocalScaleAttention"


def test_open_gates_change_nothing(bench: Any) -> None:
    network = bench("variants").VARIANTS["without GSA"].make(3, 1, 4).eval()
    shared, gates = network.attention.global_attention([torch.rand(2, 4, 8, 8)] * 4)
    assert (shared == 1).all()
    assert len(gates) == 4
    assert all((gate == 1).all() for gate in gates)
    assert all((gate == 1).all() for gate in network.explain(torch.rand(1, 3, 32, 32)).gates)


def test_without_deep_supervision_only_the_finest_stage_is_trained(bench: Any) -> None:
    variant = bench("variants").VARIANTS["without deep supervision"]
    found = gradients(variant.make(3, 1, 4), variant.stage_weights)
    assert found["heads.0.weight"].any()
    assert not any(found[f"heads.{stage}.weight"].any() for stage in (1, 2, 3))


def test_costs_are_of_this_network(bench: Any) -> None:
    costs = bench("costs")
    found = {
        name: costs.cost(name, 4, 1, 32, "cpu", repeats=1)
        for name in ("SA2-Net", "standard convolutions")
    }
    plain, standard = found.values()
    for name, value in plain.items():
        assert value >= 0 if name == "memory" else value > 0
    assert all(plain[name] < standard[name] for name in ("parameters", "flops"))
    assert plain["parameters"] == sum(p.numel() for p in SA2Net(3, 1, 4).parameters())
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert costs.flops(convolution, torch.rand(1, 3, 8, 8)) == 2 * 3 * 5 * 9 * 64


def write_discs(folder: Path, names: list[str], value: int = 200) -> None:
    """Write a data set of discs, each at another place."""
    y, x = np.mgrid[:48, :64]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i, name in enumerate(names):
        mask = ((y - 12 - i) ** 2 + (x - 20 - 2 * i) ** 2 < 90).astype(np.uint8)
        image = np.stack([mask * value] * 3, -1)
        imsave(folder / "images" / f"{name}.png", image, check_contrast=False)
        imsave(folder / "masks" / f"{name}.png", mask, check_contrast=False)


@pytest.fixture
def data(tmp_path: Path, bench: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write made-up images in the names of GlaS' training images, and make them 32² at reading."""
    paper = bench("paper")
    names = sorted(paper.protocol("glas", images=10).recipe.folds)
    write_discs(tmp_path / "data" / "glas", names)
    read = paper.read_recipe

    def small(path: Path) -> Any:
        made = read(path)
        datasets = tuple(replace(one, resize=32) for one in made.datasets)
        training = replace(made.training, crop=32)
        return replace(made, datasets=datasets, training=training)

    monkeypatch.setattr(paper, "read_recipe", small)
    return tmp_path / "data"


def run_main(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_the_papers_protocol_end_to_end(
    bench: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    paper = bench("paper")
    write_discs(tmp_path / "test", ["t1", "t2", "t3"], value=180)
    out = tmp_path / "out" / "paper.json"
    command = ["--data", data, "--data-set", "glas", "--width", 2, "--epochs", 1]
    command += ["--images", 10, "--folds", 2, "--device", "cpu", "--out", out]
    command += ["--test", tmp_path / "test"]
    run_main(paper, monkeypatch, *command)
    said = capsys.readouterr().out
    assert "Not the paper's protocol in full" in said
    differs = ["2 of 5 folds", "width 2 and not 64", "at most 1 epochs and not 2000"]
    for part in (*differs, "10 of 85 images", "chosen on other images", "ensemble", "91.38"):
        assert part in said
    kept = {path: path.stat().st_mtime_ns for path in (out.parent / "paper").iterdir()}
    assert sorted(path.suffix for path in kept) == [".safetensors"] * 2

    def no_training(*_: object) -> None:
        raise AssertionError("what was trained is trained again")

    monkeypatch.setattr(paper, "train", no_training)
    run_main(paper, monkeypatch, *command)
    assert capsys.readouterr().out == said
    assert {path: path.stat().st_mtime_ns for path in (out.parent / "paper").iterdir()} == kept


def test_results_need_a_file_beside_the_models(
    bench: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit):
        run_main(bench("paper"), monkeypatch, "--data", data, "--out", tmp_path / "paper")
    assert "paper.json" in capsys.readouterr().err
    assert not (tmp_path / "paper").exists()


def test_a_training_image_is_no_test_image(bench: Any, data: Path, tmp_path: Path) -> None:
    paper = bench("paper")
    write_discs(tmp_path / "test", ["t1"], value=180)
    copied = next((data / "glas" / "images").iterdir())
    shutil.copy(copied, tmp_path / "test" / "images" / "t1.png")
    with pytest.raises(SystemExit, match="is the training image"):
        paper.official_samples(paper.protocol("glas"), data, tmp_path / "test")


def test_the_protocol_in_full_is_the_recipe(bench: Any) -> None:
    paper = bench("paper")
    for name in ("glas", "monuseg"):
        full = paper.protocol(name)
        assert full.folds == ("1", "2", "3", "4", "5")
        assert full.remark == "The protocol in full."
        assert full.title != paper.protocol(name, width=8).title


def test_the_epoch_is_chosen_on_the_images_that_are_not_scored(bench: Any) -> None:
    first = [(0.9, 0.8), (0.1, 0.0), (0.9, 0.8)]
    second = [(0.2, 0.1), (0.7, 0.5), (0.4, 0.3)]
    # The 1st and 3rd image like the first epoch, in which the 2nd has 0.1; the 2nd likes the
    # second, in which the others have 0.2 and 0.4.
    found = bench("paper").cross_fitted([first, second])
    assert found == pytest.approx([(0.1 + 0.2 + 0.4) / 3, (0.0 + 0.1 + 0.3) / 3])
    assert bench("paper").cross_fitted([first[:1], second[:1]]) is None


def test_an_ensemble_is_the_mean_of_the_probabilities(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = bench("paper")
    labels = np.array([[1, 0]])
    probabilities = {"a": [[0.9, 0.9]], "b": [[0.2, 0.0]], "c": [[0.7, 0.3]]}
    monkeypatch.setattr(
        paper, "foreground", lambda network, image: np.array(probabilities[network], np.float32)
    )
    models = [paper.Model(name, None) for name in probabilities]
    found = paper.official_scores(models, [paper.Sample(np.zeros((1, 1, 2)), labels)])
    assert found == [pytest.approx(row) for row in ([2 / 3, 0.5], [0, 0], [1, 1], [1, 1])]


def test_ablations_end_to_end(
    bench: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ablations, costs = bench("ablations"), bench("costs")
    monkeypatch.setattr(
        ablations, "in_own_process", lambda *size: costs.cost(*size, repeats=1)
    )  # no process for each
    command = ["--data", data, "--width", 2, "--epochs", 1, "--images", 10, "--seeds", 2]
    command += ["--only", "without LSA", "--device", "cpu", "--out", tmp_path / "a.json"]
    run_main(ablations, monkeypatch, *command)
    said = capsys.readouterr().out
    assert "Trained on 6 images, the epoch chosen on 2, scored on 2." in said
    lines = [line for line in said.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == ["| SA2-Net", "| without LSA"]


def test_damage_grows_with_its_strength(bench: Any) -> None:
    damages = bench("damage").DAMAGES
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    grey = (60 + 40 * np.sin(x / 3.0) * np.cos(y / 2.0)).astype(np.uint8)
    for image in (grey, np.stack([grey, grey // 2, 255 - grey], -1)):
        for kind, damage in damages.items():
            found = [damage.apply(image, level, rng) for level in damage.levels]
            assert all(one.shape == image.shape and one.dtype == np.uint8 for one in found)
            changes = [np.abs(one.astype(float) - image).mean() for one in found]
            assert changes == sorted(changes), kind
            assert changes[0] > 0


def test_images_are_binned_by_their_objects_per_area(bench: Any) -> None:
    rows = [
        {"objects": objects, "pixels": pixels, "dice": dice, "ap": dice / 2}
        for objects, pixels, dice in
        [(8, 20_000, 0.6), (1, 10_000, 0.9), (2, 10_000, 0.7), (16, 20_000, 0.4)]
    ]  # fmt: skip
    lines = bench("robustness").crowding(rows, bins=2)
    assert lines == [["1.0–2.0", "2", "0.800", "0.400"], ["4.0–8.0", "2", "0.500", "0.250"]]
    assert len(bench("robustness").crowding(rows[:1])) == 1


def test_robustness_end_to_end(
    bench: Any, tmp_path: Path, tiny_model: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from napari_sa2net.engine.weights import save_model

    robustness = bench("robustness")
    held_out = sorted(robustness.read_recipe(robustness.RECIPE).held_out)[:3]
    write_discs(tmp_path / "dsb2018_fluorescence", [*held_out, "seen"])
    model = save_model(tiny_model, tmp_path / "tiny.safetensors")
    kept = {"blur": robustness.DAMAGES["blur"]}
    monkeypatch.setattr(robustness, "DAMAGES", kept)
    command = ["--data", tmp_path, "--model", model, "--device", "cpu"]
    run_main(robustness, monkeypatch, *command, "--out", tmp_path / "r.json")
    said = capsys.readouterr().out
    assert "3 images" in said
    assert said.count("| blur |") == 4
