"""Which model to start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.errors import InputError, WeightsError
from napari_sa2net.engine.events import Event, Message, Progress, run
from napari_sa2net.engine.joining import join_models
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.registry import ModelEntry
from napari_sa2net.engine.training import ranking as ranking_module
from napari_sa2net.engine.training.painting import Annotation, TrainingPair
from napari_sa2net.engine.training.ranking import Ranked, Suggestion, alike, rank, suggest_start
from napari_sa2net.engine.weights import Model, add_model


class Bright(SA2Net):
    """Says class 1 where the image is brighter than half, or the other way round."""

    def __init__(self, sign: float) -> None:
        super().__init__(in_channels=1, num_classes=2, base_channels=2)
        self.sign = sign

    def finest(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logit = self.sign * (x[:, :1] - 0.5)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def model(name: str, sign: float) -> Model:
    """Return a model that knows bright from dark (1), calls them the wrong names (-1), or 0."""
    card = ModelCard(name, base_channels=2, in_channels=1, num_classes=2)
    return Model(Bright(sign).eval(), card)


@pytest.fixture
def pair() -> TrainingPair:
    """Bright discs in a row of fields, with strokes across them."""
    y, x = np.mgrid[:256, :256]
    inside = ((y % 64 - 32) ** 2 + (x % 64 - 32) ** 2) < 300
    strokes = np.zeros(inside.shape, np.uint8)
    strokes[30:256:64] = 1 + inside[30:256:64]
    return TrainingPair(inside * np.float32(200), Annotation(strokes), name="discs")


def messages(events: list[Event]) -> str:
    """Return what a person was told."""
    return "\n".join(event.text for event in events if isinstance(event, Message))


# --- the score ---------------------------------------------------------------------------------


def table(*answers: tuple[tuple[float, ...], ...], regions: int = 5) -> Any:
    """Return the answers of as many equal regions: a row for each painted class."""
    return np.repeat(np.array(answers, float), regions, axis=0)


@pytest.mark.parametrize(
    ("answers", "score", "known"),
    [
        (((9, 0), (0, 50)), 1.0, True),
        (((0, 9), (50, 0)), 1.0, True),  # names count for nothing
        (((0, 9, 0), (30, 0, 20)), 1.0, True),  # two answers for one class
        (((9, 0), (50, 0)), 0.5, False),  # the same answer everywhere
        (((10, 0), (200, 800)), 0.9, True),  # every class counts alike
        (((6, 4), (4, 6)), 0.6, False),  # better than chance, but hardly
        (((9, 0), (0, 9), (0, 9)), 2 / 3, True),  # no answer for the third class
    ],
)
def test_score_is_the_balanced_share_that_comes_out_right(
    answers: Any, score: float, known: bool
) -> None:
    found = rank("a", table(answers))
    assert found.score == pytest.approx(score)
    assert found.low <= found.score <= found.high
    assert found.chance == pytest.approx(1 / len(answers))
    assert found.known is known


def test_answers_by_chance_score_no_more_than_chance() -> None:
    rng = np.random.default_rng(1)
    answers = np.zeros((200, 4, 2, 5))
    for game in answers:
        for region in game:  # in each region every class has one answer, whichever
            for of_class in region:
                of_class[rng.integers(5)] = 20
    scores = [rank("a", game).score for game in answers]
    assert np.mean(scores) < 0.53  # with the meaning told from all regions it would be 0.7


def test_a_class_that_is_painted_in_one_region_can_come_out_right() -> None:
    answers = table(((9, 0), (0, 0)))
    answers[2, 1] = (0, 7)
    assert rank("a", answers).score == pytest.approx(1)


def test_classes_that_are_not_painted_count_for_nothing() -> None:
    found = rank("a", table(((9, 0), (0, 0), (0, 9))))
    assert (found.score, found.chance) == (1, 0.5)


# --- models on images --------------------------------------------------------------------------


def test_models_that_know_come_first_whatever_their_classes_are_called(pair: TrainingPair) -> None:
    events: list[Event] = []
    models = [model("deaf", 0), model("bright", 1), model("dark", -1)]
    found = run(suggest_start([pair], models, device="cpu"), events.append)
    assert [entry.name for entry in found.ranking] == ["bright", "dark", "deaf"]
    assert found.known
    assert found.best.score > 0.95
    assert found.ranking[2].score == pytest.approx(0.5)
    assert [entry.name for entry in found.ties] == ["dark"]
    assert "Start from “bright”" in found.text
    assert "As good, as far as so much painting can tell: “dark”" in found.text
    assert "Less: “deaf” 50 %" in found.text
    assert found.table().splitlines()[-1].split() == ["(chance)", "50", "%"]
    regions = [event.done for event in events if isinstance(event, Progress)]
    assert regions[-1] == 3 * found.best.regions


def test_when_no_model_knows_the_images_that_is_said(pair: TrainingPair) -> None:
    found = run(suggest_start([pair], [model("deaf", 0)], device="cpu"))
    assert not found.known
    assert "clearly better than chance" in found.text
    assert "From scratch may do as well" in found.text


def test_so_is_it_when_too_little_is_painted(pair: TrainingPair) -> None:
    strokes = np.zeros_like(pair.annotation.labels)
    strokes[30, 20:50] = pair.annotation.labels[30, 20:50]
    strokes[0] = 1
    strokes[0, 60:] = 0
    few = replace(pair, annotation=Annotation(strokes))
    found = run(suggest_start([few], [model("bright", 1)], device="cpu"))
    assert found.best.score > 0.9
    assert not found.known
    assert "Too little is painted" in found.text


def test_instances_full_masks_and_weights_are_understood(pair: TrainingPair) -> None:
    labels = np.asarray(pair.image > 100).astype(np.int32)
    labels[labels > 0] = np.arange(1, labels.sum() + 1)
    wrong = np.zeros(labels.shape, bool)
    wrong[:, :16] = True
    labels[wrong] = 1  # and that does not count
    annotation = Annotation(labels, "mask", "instances", weights=(~wrong).astype(np.float32))
    found = run(suggest_start([replace(pair, annotation=annotation)], [model("a", 1)]))
    assert found.best.score == pytest.approx(1)


def test_only_what_lies_around_painted_pixels_is_run(
    pair: TrainingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((1500, 1500), np.float32)
    labels = np.zeros(image.shape, np.uint8)
    image[:256, -256:], labels[:256, -256:] = pair.image, pair.annotation.labels

    seen: list[tuple[int, int]] = []
    finest = Bright.finest

    def counted(self: Bright, x: Tensor) -> Tensor:
        seen.append((x.shape[-2], x.shape[-1]))
        return finest(self, x)

    monkeypatch.setattr(Bright, "finest", counted)
    monkeypatch.setattr(ranking_module, "MOST_REGIONS", 10)
    found = run(suggest_start([TrainingPair(image, Annotation(labels))], [model("a", 1)]))
    assert found.best.regions == 10
    assert len(seen) == 10
    assert set(seen) == {(128, 128)}


def test_images_are_read_once_for_models_that_want_them_alike(
    pair: TrainingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float | None] = []
    prepare = ranking_module.prepare

    def counted(pairs: Any, card: ModelCard, *rest: Any) -> Any:
        calls.append(card.diameter)
        return prepare(pairs, card, *rest)

    monkeypatch.setattr(ranking_module, "prepare", counted)
    large = model("large", 1)
    large = replace(large, card=replace(large.card, diameter=70.0))
    pairs = [replace(pair, diameter=35.0)]
    found = run(suggest_start(pairs, [model("a", 1), model("b", 0), large]))
    assert calls == [None, 70.0]
    assert {entry.name for entry in found.ranking if entry.known} == {"a", "large"}


def test_a_model_of_other_channels_is_tried_as_a_training_would_begin(
    pair: TrainingPair, tiny_model: Model
) -> None:
    events: list[Event] = []
    two = replace(pair, image=np.stack([pair.image, pair.image]), axes="CYX")
    found = run(suggest_start([two], [tiny_model]), events.append)
    assert [entry.name for entry in found.ranking] == ["tiny"]
    assert "first convolution is new" in messages(events)
    assert tiny_model.network.in_channels == 3


def test_installed_models_are_tried_and_others_left_where_they_are(
    pair: TrainingPair, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tiny_model, "mine")
    installed = ranking_module.available_models
    away = [ModelEntry(ModelCard(name), "remote", None) for name in ("far", "farther")]
    monkeypatch.setattr(ranking_module, "available_models", lambda: [*installed(), *away])
    events: list[Event] = []
    found = run(suggest_start([pair]), events.append)
    assert {entry.name for entry in found.ranking} == {"nuclei", "generalist", "mine"}
    assert "download" in found.skipped["far"]
    (told,) = [line for line in messages(events).splitlines() if "far" in line]
    assert told.startswith("Not tried, as they are not downloaded: ")
    assert told.endswith(", far, farther.")  # in one line with others that have to be downloaded


def test_a_model_that_cannot_be_loaded_is_left_out_and_named(
    pair: TrainingPair, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no model")
    events: list[Event] = []
    found = run(suggest_start([pair], [broken, model("bright", 1)]), events.append)
    assert [entry.name for entry in found.ranking] == ["bright"]
    assert found.skipped.keys() == {"broken"}
    assert "“broken” is not scored" in messages(events)
    with pytest.raises(WeightsError, match="broken"):
        run(suggest_start([pair], [broken]))


@pytest.mark.parametrize(
    ("value", "about"),
    [(0, "nothing is painted"), (1, "only 'background' is painted"), (99, "they are instances")],
)
def test_what_is_wrong_with_a_painting_is_said(pair: TrainingPair, value: int, about: str) -> None:
    labels = np.zeros(pair.image.shape, np.uint8)
    labels[10] = value
    with pytest.raises(InputError, match=about):
        run(suggest_start([replace(pair, annotation=Annotation(labels))], [model("a", 1)]))


def test_no_images_and_no_models_are_told(pair: TrainingPair) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        run(suggest_start([], [model("a", 1)]))
    with pytest.raises(InputError, match="no model here"):
        run(suggest_start([pair], []))


def test_closing_it_ends_it_within_a_region(pair: TrainingPair) -> None:
    work = suggest_start([pair], [model("a", 1), model("b", 1)])
    seen = [next(work)]
    while not (isinstance(seen[-1], Progress) and seen[-1].unit == "region"):
        seen.append(next(work))
    work.close()
    with pytest.raises(StopIteration):
        next(work)


def test_text_names_only_the_first_few() -> None:
    many = [Ranked(f"m{i}", 0.9 - i / 50, 0.89, 0.95, 9, 0.5) for i in range(9)]
    text = Suggestion(tuple(many)).text
    assert "“m4”" in text
    assert "“m7”" not in text


def test_an_ensemble_is_no_start(pair: TrainingPair) -> None:
    card = ModelCard("one", in_channels=1, num_classes=2, base_channels=2)
    members = [Model(SA2Net(1, 2, 2), replace(card, name=name)) for name in ("one", "other")]
    joined = join_models(members, "both")
    found = run(suggest_start([pair], [joined, model("knows", 1.0)], device="cpu"))
    assert [ranked.name for ranked in found.ranking] == ["knows"]
    assert "only its members" in found.skipped["both"]


@pytest.mark.parametrize(
    ("answers", "derived", "wanted"),
    [
        (((9, 0), (0, 9)), (False, False), True),
        (((0, 9), (9, 0)), (False, False), False),  # it calls the objects background
        (((9, 0, 1), (0, 9, 1)), (False, False, True), True),  # a boundary stands for nothing
        (((9, 0, 0), (0, 5, 4)), (False, False, False), False),  # it makes two classes of one
        (((9, 0, 0), (0, 9, 0)), (False, False, False), True),
        (((9, 0, 0), (0, 9, 0), (0, 0, 9)), (False,) * 3, True),
        (((9, 0, 0), (0, 0, 9), (0, 9, 0)), (False,) * 3, True),  # in another order
        (((9, 0), (0, 9), (0, 9)), (False, False), False),  # it makes one class of two
    ],
)
def test_only_a_model_of_the_painted_classes_will_do_as_it_is(
    answers: Any, derived: Any, wanted: bool
) -> None:
    assert alike(table(answers), derived) is wanted


def test_a_suggestion_says_licence_and_when_nothing_need_be_trained(pair: TrainingPair) -> None:
    card = replace(model("bright", 1.0).card, licence="CC BY-NC 4.0", restricted=True)
    best = Model(model("bright", 1.0).network, card)
    found = run(suggest_start([pair], [best, model("dark", -1.0)], device="cpu"))
    assert found.enough
    assert "as it is" in found.text
    assert "The licence of “bright”, CC BY-NC 4.0, forbids some uses." in found.text
    poor = Suggestion((Ranked("a", 0.98, 0.95, 1.0, 20, 0.5),))
    assert not poor.enough
    assert "as it is" not in poor.text
    other = Suggestion((Ranked("a", 1.0, 1.0, 1.0, 20, 0.5, alike=False),))
    assert not other.enough
