"""Ensembles: what they compute, how they are made and kept, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from napari_sa2net.engine.cards import Member
from napari_sa2net.engine.ensemble import Ensemble
from napari_sa2net.engine.errors import InputError, WeightsError
from napari_sa2net.engine.evaluation import evaluate
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.execution.maps import probabilities
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.inference import LabelSettings, Segmentation, SegmentOptions, segment
from napari_sa2net.engine.joining import join_models
from napari_sa2net.engine.model_files import METADATA_KEY
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.provenance import origin
from napari_sa2net.engine.registry import file_sha256, toml_entry
from napari_sa2net.engine.training.fine_tuning import fine_tune
from napari_sa2net.engine.training.painting import Annotation, TrainingPair
from napari_sa2net.engine.weights import (
    ClassInfo,
    Figure,
    Model,
    ModelCard,
    add_model,
    delete_model,
    export_model,
    find_model,
    import_model,
    load_model,
    read_card,
    save_model,
)

KEPT = ("probabilities", "stages", "attention")
HALF = 2.5e-4
"""By how much a number up to 1 may be off when it is rounded to float16."""


def fold(seed: int, outputs: int = 3, inputs: int = 3, width: int = 4, **about: Any) -> Model:
    """Return a small model whose outputs vary as much as a trained one's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SA2Net(inputs, outputs, width).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight *= 2
    names = [ClassInfo("background"), ClassInfo("cell"), ClassInfo("rim", derived=True)]
    card = ModelCard(
        name=f"fold-{seed}",
        base_channels=width,
        in_channels=inputs,
        num_classes=outputs,
        classes=tuple(names[: max(2, outputs)]),
        normalization=Normalization("none"),
        labelling=LabelSettings(min_size=0),
        diameter=20,
    )
    return Model(network, replace(card, **about))


def picture(height: int = 32, width: int = 48) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, height, width), np.float32)


def segmented(model: Model, image: Any, **options: Any) -> Segmentation:
    return run(segment(image, model, SegmentOptions(device="cpu", axes="CYX", **options)))


def mean_of(models: list[Model], x: torch.Tensor) -> dict[str, NDArray[np.float32]]:
    """Return the mean of what the networks say of (1, C, H, W)."""
    with torch.inference_mode():
        found = [model.network.explain(x) for model in models]
    stages = [torch.stack([probabilities(f.logits[i]) for f in found]).mean(0) for i in range(4)]
    return {
        "probabilities": stages[0][0].numpy(),
        "stages": np.stack([1 - stage[0, 0].numpy() for stage in stages]),
        "attention": np.stack(
            [torch.stack([f.attention[i] for f in found]).mean(0)[0, 0].numpy() for i in range(4)]
        ),
    }


# --- what it computes ----------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 3])
def test_its_maps_are_the_mean_of_the_members(classes: int) -> None:
    models = [fold(seed, classes) for seed in range(3)]
    image = picture()
    result = segmented(join_models(models, "all"), image, keep=KEPT)
    expected = mean_of(models, torch.from_numpy(image)[None])
    for name in KEPT:
        values = getattr(result, name).astype(np.float32)
        assert np.abs(values - expected[name]).max() <= HALF, name
    alone = segmented(models[0], image, keep=KEPT)
    assert result.probabilities is not None
    assert alone.probabilities is not None
    assert np.abs(alone.probabilities - result.probabilities).max() > 0.01  # so that says something


def test_mirror_images_are_averaged_too() -> None:
    models = [fold(seed) for seed in range(2)]
    image = picture()
    found = segmented(join_models(models, "both"), image, flips=True, keep=KEPT)
    alone = [segmented(model, image, flips=True, keep=KEPT) for model in models]
    for name in KEPT:
        mean = np.mean([getattr(each, name).astype(np.float32) for each in alone], axis=0)
        assert np.abs(getattr(found, name) - mean).max() <= 2 * HALF, name


@pytest.mark.parametrize("classes", [1, 3])
def test_members_that_are_quite_sure_and_disagree_give_half(classes: int) -> None:
    models = [fold(seed, classes) for seed in range(2)]
    for model, sign in zip(models, (1, -1), strict=True):
        assert isinstance(model.network, SA2Net)
        with torch.no_grad():
            for head in model.network.heads:
                for weight in head.parameters():
                    weight.zero_()
                    if weight.ndim == 1:
                        weight[-1] = sign * 1e4
    found = join_models(models, "torn").network(torch.rand(1, 3, 16, 16))
    p = probabilities(found[0])
    sure = torch.tensor([0.5, 0.5] if classes == 1 else [0.25, 0.25, 0.5]).reshape(1, -1, 1, 1)
    torch.testing.assert_close(p, sure.expand_as(p))


class Frail(SA2Net):
    """A network that needs too much memory for large tiles."""

    def finest(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().finest(x)


def test_memory_that_runs_out_in_a_later_member_makes_smaller_tiles() -> None:
    models = [fold(seed) for seed in range(2)]
    frail = Frail(3, 3, 4).eval()
    frail.load_state_dict(models[1].network.state_dict())
    image = picture(160, 160)
    events: list[Event] = []
    options = SegmentOptions(device="cpu", axes="CYX", tile=128)
    joined = join_models([models[0], Model(frail, models[1].card)], "frail")
    result = run(segment(image, joined, options), events.append)
    assert any("tiles of 64 pixels" in e.text for e in events if isinstance(e, Message))
    expected = segmented(join_models(models, "both"), image, tile=64, discard=16, blend=16)
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=1e-3)


def test_the_models_given_are_left_as_they_are() -> None:
    models = [fold(seed) for seed in range(2)]
    models[0].network.train()
    joined = join_models(models, "both")
    assert [model.network.training for model in models] == [True, False]
    before = segmented(joined, picture()).probabilities
    with torch.no_grad():
        for weight in models[0].network.parameters():
            weight.zero_()
    np.testing.assert_array_equal(segmented(joined, picture()).probabilities, before)
    joined.network.train()
    segmented(joined, picture())
    assert joined.network.training


# --- making and keeping --------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Save three models that have one name, as those of the folds of a recipe do."""
    return [
        save_model(fold(seed, name="cells"), tmp_path / f"cells-{letter}")
        for seed, letter in enumerate("abc")
    ]


def test_it_is_one_file_that_needs_no_other(files: list[Path], tmp_path: Path) -> None:
    expected = segmented(join_models(files, "all"), picture()).probabilities
    hashes = [file_sha256(file) for file in files]
    entry = add_model(join_models(files, "all"))
    for file in files:
        file.unlink()
    assert entry.card == find_model("all").card
    assert [(m.name, m.sha256) for m in entry.card.members] == list(
        zip(["cells-a", "cells-b", "cells-c"], hashes, strict=True)
    )
    assert ("mean of", ", ".join(f"cells-{x} {h[:12]}…" for x, h in zip("abc", hashes, strict=True))
            ) in origin(entry.card)  # fmt: skip
    written = export_model("all", tmp_path / "out")
    delete_model("all")
    assert import_model(written).card.members == entry.card.members
    loaded = load_model("all")
    result = segmented(loaded, picture())
    np.testing.assert_array_equal(result.probabilities, expected)
    assert result.card.members == entry.card.members
    assert 'members = [\n    { "name" = "cells-a"' in toml_entry(written)


def test_members_in_the_list_go_by_their_name_there(files: list[Path]) -> None:
    mine = [import_model(file, name) for file, name in zip(files, "xyz", strict=True)]
    joined = join_models(["x", files[1], "z"], "some")
    assert [member.name for member in joined.card.members] == ["x", "cells-b", "z"]
    assert mine[0].path is not None
    assert joined.card.members[0].sha256 == file_sha256(mine[0].path)


def test_of_an_ensemble_the_members_are_taken(files: list[Path]) -> None:
    two = join_models(files[:2], "two")
    three = join_models([two, files[2]], "three")
    assert three.card.members == join_models(files, "all").card.members
    expected = segmented(join_models(files, "all"), picture()).probabilities
    np.testing.assert_array_equal(segmented(three, picture()).probabilities, expected)


def test_the_card_says_what_all_members_say() -> None:
    made = {"description": "Cells", "figures": (Figure("Dice", 0.9),), "extra": {"seed": 1}}
    joined = join_models(
        [
            fold(0, licence="CC0-1.0", training_data="A", **made),
            fold(1, licence="CC-BY-4.0", training_data="A", restricted=True),
        ],
        "both",
    )
    card = joined.card
    assert (card.name, card.description) == ("both", "Mean of 2 models: fold-0, fold-1.")
    assert (card.licence, card.training_data) == ("CC0-1.0; CC-BY-4.0", "A")
    assert card.restricted
    assert (card.figures, card.extra) == ((), {})
    assert (card.diameter, card.labelling) == (20, LabelSettings(min_size=0))


def test_older_programs_are_told_to_update_and_single_models_stay_readable(
    files: list[Path], tmp_path: Path
) -> None:
    def content(path: Path) -> dict[str, Any]:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return dict(json.loads(header["__metadata__"][METADATA_KEY]))

    single = content(files[0])
    assert (single["version"], "members" in single["card"]) == (1, False)
    joined = content(save_model(join_models(files, "all"), tmp_path / "all"))
    assert (joined["version"], len(joined["card"]["members"])) == (2, 3)


def test_evaluations_name_the_members(files: list[Path]) -> None:
    joined = join_models(files, "all")
    image = np.moveaxis(picture(), 0, -1)
    mask = np.zeros(image.shape[:2], int)
    told = json.loads(run(evaluate(image, mask, joined, options={"device": "cpu"})).to_json())
    assert [m["sha256"] for m in told["members"]] == [file_sha256(file) for file in files]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (lambda: fold(1, inputs=1), "input channels 3 and 1"),
        (lambda: fold(1, outputs=1), "outputs 3 and 1"),
        (lambda: fold(1, width=8), "width 4 and 8"),
        (
            lambda: fold(1, classes=(ClassInfo("background"), ClassInfo("cell"), ClassInfo("rim"))),
            r"classes background, cell, rim \(derived\) and background, cell, rim",
        ),
        (
            lambda: fold(1, channels=("blue", "green", "red")),
            "names of the channels none and blue, green, red",
        ),
        (
            lambda: fold(1, normalization=Normalization("scale")),
            r"normalisation \(method\) none and scale",
        ),
        (lambda: fold(1, diameter=None, pixel_size=0.5), "diameter 20 and none; pixel size none"),
        (lambda: fold(1, result="classes"), "result instances and classes"),
    ],
)
def test_models_that_differ_are_refused(other: Callable[[], Model], told: str) -> None:
    with pytest.raises(WeightsError, match=rf"'fold-0' and 'fold-1' cannot be joined.*{told}"):
        join_models([fold(0), other()], "both")


def test_fewer_than_two_or_one_twice_are_refused(files: list[Path]) -> None:
    with pytest.raises(WeightsError, match="two or more models"):
        join_models(files[:1], "one")
    with pytest.raises(WeightsError, match="two or more models"):
        join_models([], "none")
    with pytest.raises(WeightsError, match="'cells-a' and 'cells-a' are the same model"):
        join_models([files[0], files[1], files[0]], "twice")
    model = load_model(files[0])
    with pytest.raises(WeightsError, match="'cells-a' and 'other' are the same model"):
        join_models([files[0], Model(model.network, replace(model.card, name="other"))], "twice")
    with pytest.raises(WeightsError, match="no model 'typo'"):
        join_models([files[0], "typo"], "unknown")


def test_networks_that_differ_make_no_ensemble() -> None:
    with pytest.raises(InputError, match="got 2 of 2 kind"):
        Ensemble([SA2Net(3, 3, 4), SA2Net(3, 2, 4)])
    with pytest.raises(InputError, match="two or more"):
        Ensemble([SA2Net(3, 3, 4)])


def test_a_card_that_does_not_fit_is_refused(files: list[Path], tmp_path: Path) -> None:
    joined = join_models(files, "all")
    with pytest.raises(WeightsError, match="names 0 members, but its network has 3"):
        save_model(Model(joined.network, replace(joined.card, members=())), tmp_path / "x")
    with pytest.raises(WeightsError, match="one member"):
        replace(joined.card, members=(Member("a"),))


def test_a_file_that_lacks_a_member_is_damaged(files: list[Path], tmp_path: Path) -> None:
    path = save_model(join_models(files, "all"), tmp_path / "all")
    kept = {key: value for key, value in load_file(path).items() if "members.2." not in key}
    content = {"version": 2, "card": read_card(path).to_dict(provenance=False)}
    save_file(kept, path, {METADATA_KEY: json.dumps(content)})
    with pytest.raises(WeightsError, match="names 3 members, and it holds 2"):
        load_model(path)


def test_it_is_not_fine_tuned(files: list[Path]) -> None:
    image = np.moveaxis(picture(), 0, -1)
    pair = TrainingPair(image, Annotation(np.ones(image.shape[:2], np.uint8)), rgb=True)
    with pytest.raises(InputError, match=r"one of its members \(cells-a, cells-b, cells-c\)"):
        run(fine_tune([pair], join_models(files, "all"), device="cpu"))
