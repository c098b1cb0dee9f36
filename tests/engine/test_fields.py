"""Type and range of options and cards, checked by what their fields say."""

from __future__ import annotations

import dataclasses
import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net import api
from napari_sa2net.engine.batch.files import Batch
from napari_sa2net.engine.blocks.plan import BlockOptions
from napari_sa2net.engine.cards import ClassInfo, Figure, ModelCard
from napari_sa2net.engine.errors import InputError, SA2NetError, WeightsError
from napari_sa2net.engine.images import Normalization, normalize
from napari_sa2net.engine.instances import LabelSettings
from napari_sa2net.engine.segmentation import SegmentOptions
from napari_sa2net.engine.training.augment import Augmentation
from napari_sa2net.engine.training.datasets import DataSet
from napari_sa2net.engine.training.pairs import Annotation, TrainingPair
from napari_sa2net.engine.training.settings import FineTuneSettings, TrainingSettings

MADE: dict[Any, dict[str, Any]] = {
    SegmentOptions: {}, LabelSettings: {}, BlockOptions: {}, FineTuneSettings: {},
    TrainingSettings: {}, Augmentation: {}, Normalization: {}, DataSet: {"folder": "x"},
    Batch: {"output": Path("x")},
    TrainingPair: {"image": None, "annotation": Annotation(None)},
}  # fmt: skip
"""Everything that holds options, with what must be given."""


def deep(levels: int) -> Any:
    node: Any = 0
    for _ in range(levels):
        node = [node]
    return node


class Hostile:
    """Raises at whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError

    __iter__ = __len__ = __bool__ = __float__ = __index__ = __repr__  # type: ignore[assignment]


NEVER = (
    float("nan"), float("inf"), -float("inf"), 10**400, -(10**40), 3.5e38, 1 + 2j, b"a", "\ud800",
    "a\0b", object(), Hostile(), np.float64("nan"), np.array([[1.0, 2.0]]), deep(100_000),
)  # fmt: skip
"""What fits no option."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, f.name) for kind in MADE for f in dataclasses.fields(kind) if f.type != "Any"],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_no_option_takes_what_is_none(kind: Any, name: str) -> None:
    for value in NEVER:
        if (
            name == "output" and isinstance(value, str) and value == "\ud800"
        ):  # on Linux any bytes can be a file's name
            continue
        with pytest.raises(InputError, match=rf"^{name} is .*: give "):
            kind(**{**MADE[kind], name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SegmentOptions, "discard", True),
        (SegmentOptions, "discard", -1),
        (SegmentOptions, "tile", 10**9),
        (SegmentOptions, "batch", 0),
        (SegmentOptions, "pixel_size", 0),
        (SegmentOptions, "pixel_size", (1, 2, 3)),
        (SegmentOptions, "flips", 1),
        (SegmentOptions, "flips", "no"),
        (SegmentOptions, "channels", 0.5),
        (SegmentOptions, "channels", (True,)),
        (SegmentOptions, "planes", (-1,)),
        (SegmentOptions, "region", (0, 0, 1)),
        (SegmentOptions, "labelling", {}),
        (SegmentOptions, "keep", "labels"),
        (LabelSettings, "threshold", 1),
        (LabelSettings, "min_size", 2.5),
        (LabelSettings, "link", None),
        (BlockOptions, "side", 8),
        (FineTuneSettings, "seed", -1),
        (TrainingSettings, "stage_weights", (1.0,)),
        (TrainingSettings, "crop", 0),
        (Augmentation, "zoom", 0.5),
        (Normalization, "eps", -1),
        (Normalization, "eps", 1e-50),
        (Normalization, "clip", (1, 1e10)),
        (Batch, "save", ("table", 3)),
        (Batch, "existing", "x"),
        (Batch, "output", 3),
        (DataSet, "pixel_sizes", {"a": 0}),
    ],
)
def test_what_is_out_of_range_is_told_with_what_is_allowed(
    kind: Any, name: str, value: Any
) -> None:
    with pytest.raises(InputError, match=rf"^{name} is .*: give "):
        kind(**{**MADE[kind], name: value})


def test_the_sentence_names_field_value_and_range() -> None:
    for kind, name, value, text in (
        (SegmentOptions, "batch", "9", "batch is '9': give a whole number from 1 to 256, or leave"),
        (LabelSettings, "threshold", 2, "threshold is 2: give a number between 0 and 1."),
        (LabelSettings, "link", "c", "link is 'c': give one of none, z, t."),
        (SegmentOptions, "backend", "x", "backend is 'x': give one of auto, torch, onnxruntime."),
        (SegmentOptions, "region", (1,), r"region is \(1,\): give 4 whole numbers of 0 or more"),
        (SegmentOptions, "diameter", "x" * 10**6, r"diameter is 'x+\.\.\.x+': give a length"),
    ):
        with pytest.raises(InputError, match=text) as caught:
            kind(**{name: value})
        assert len(str(caught.value)) < 300


def test_numbers_of_other_libraries_lists_and_single_values_are_welcome() -> None:
    made = SegmentOptions(
        discard=np.int16(32), diameter=np.float32(20.5), flips=np.bool_(True),
        channels=np.array([0, 2]), planes=3, pixel_size=[0.5, 1], batch=2.0, keep="stages",
        blend=torch.tensor(16),
    )  # fmt: skip
    assert made == SegmentOptions(
        discard=32, diameter=20.5, flips=True, channels=(0, 2), planes=(3,), pixel_size=(0.5, 1),
        batch=2, keep=frozenset({"stages"}), blend=16,
    )  # fmt: skip
    assert {type(made.discard), type(made.batch), type(made.blend)} == {int}
    json.dumps([made.discard, made.diameter, made.flips, made.channels, made.planes])
    assert SegmentOptions(diameter=Fraction(41, 2)).diameter == 20.5
    assert type(SegmentOptions(diameter=20).diameter) is int, "what is hashed has changed"


@pytest.mark.parametrize("value", [*NEVER, None, [], {}, 3, "x" * 5000])
@pytest.mark.parametrize(
    ("call", "name", "others"),
    [
        (api.segment, "model", {"image": np.zeros((16, 16))}),
        (api.segment, "progress", {"image": np.zeros((16, 16))}),
        (api.segment, "on_event", {"image": np.zeros((16, 16)), "model": 3}),
        (api.segment_files, "output", {"images": "x", "model": 3}),
        (api.segment_files, "existing", {"images": "x", "output": "y"}),
        (api.segment_to_zarr, "resume", {"image": "x", "output": "y"}),
        (api.segment_to_zarr, "blocks", {"image": "x", "output": "y", "model": 3}),
        (api.evaluate, "names", {"images": "x", "masks": "y", "model": 3}),
        (api.fine_tune, "meaning", {}),
        (api.fine_tune, "control", {}),
        (api.suggest_start, "models", {"images": "x", "annotations": 3}),
        (api.join_models, "name", {"models": ["x"]}),
        (api.train, "fold", {"recipe": "x", "data": "y"}),
        (api.load_model, "device", {"model": "nosuch"}),
        (api.load_model, "model", {}),
        (api.import_checkpoint, "path", {}),
        (api.measure, "result", {}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_plain_calls_check_what_they_are_given(
    call: Any, name: str, others: dict[str, Any], value: Any
) -> None:
    with pytest.raises(SA2NetError):
        call(**{**others, name: value})


def test_options_of_painted_images_are_checked_before_anything_is_read() -> None:
    image = np.zeros((16, 16), np.uint8)
    for options in ({"channels": 0.5}, {"axes": 3}, {"planes": float("nan")}, {"rgb": 1},
                    {"base_channels": 0}, {"base_channels": True}):  # fmt: skip
        with pytest.raises(InputError, match=f"{next(iter(options))} is"):
            api.fine_tune(image, image, "nosuch", **options)


@pytest.mark.parametrize("method", ["none", "scale", "percentile", "minmax"])
def test_values_beyond_what_the_network_can_take_stay_finite(method: Any, tiny_model: Any) -> None:
    """Of inputs from about 1e7 on it makes NaN."""
    image = np.full((32, 32), 5.0, np.float64)
    image[3:5], image[7] = 1e300, -1e300
    card = dataclasses.replace(tiny_model.card, normalization=Normalization(method))
    found = api.segment(image, dataclasses.replace(tiny_model, card=card), "cpu", backend="torch")
    assert np.isfinite(found.probabilities).all()
    x = normalize(np.full((1, 2, 2), 1e30, np.float32), Normalization(method))
    assert np.abs(x).max() <= 1e6


def test_weights_that_give_no_numbers_are_told(tiny_model: Any) -> None:
    weights = {key: value.clone() for key, value in tiny_model.network.state_dict().items()}
    with torch.no_grad():
        for value in tiny_model.network.state_dict().values():
            if value.ndim == 4:
                value.fill_(3e38)
    image = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    try:
        with pytest.raises(SA2NetError, match="no numbers"):
            api.segment(image, tiny_model, "cpu", backend="torch")
    finally:
        tiny_model.network.load_state_dict(weights)


# --- cards -----------------------------------------------------------------------------------

CARD = ModelCard(
    name="a", urls=("http://x",), channels=("grey",), in_channels=1, num_classes=3, pixel_size=0.5,
    diameter=20.0, figures=(Figure("Dice", 0.5),), extra={"steps": [1, 2]}, sha256="0" * 64,
    classes=(ClassInfo("background", "#000000"), ClassInfo("x"), ClassInfo("y", derived=True)),
)  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ModelCard)])
def test_no_field_of_a_card_takes_what_is_none(field: str) -> None:
    for value in NEVER:
        with pytest.raises(WeightsError):
            ModelCard.from_dict({**CARD.to_dict(), field: value})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_classes": 3_000_000, "classes": []}, "num_classes is 3000000.*from 1 to 1024"),
        ({"base_channels": 10**9}, "base_channels is 1000000000"),
        ({"members": [{"name": "a"}] * 2000}, "members: .* is no list of at most"),
        ({"description": "x" * 30_000}, "description is 'x"),
        ({"name": "a\nb"}, "a text on one line"),
        ({"classes": [{"name": "a", "color": "red"}] * 3}, "color is 'red'.*like '#1f77b4'"),
        ({"sha256": "12"}, "64 hexadecimal digits"),
        ({"urls": ["http://[x"]}, "is no address"),
        ({"pixel_size": -0.5}, "pixel_size is -0.5"),
        ({"diameter": float("inf")}, "diameter is inf"),
        ({"figures": [{"name": "Dice", "value": float("nan")}]}, "value is nan"),
        ({"normalization": {"method": "zscore"}}, "one of percentile, minmax, scale, none"),
        ({"normalization": {"low": 99, "high": 1}}, "the first must be the smaller"),
        ({"normalization": {"eps": -1}}, "eps is -1"),
        ({"normalization": {"divisor": 0}}, "divisor is 0"),
        ({"normalization": {"clip": [3, -1]}}, "the first must be the smaller"),
        ({"labelling": {"threshold": 7}}, "threshold is 7"),
        ({"labelling": []}, "no table of fields"),
        ({"extra": {"a": deep(5000)}}, "extra is"),
        ({"extra": {"a": "x" * 5_000_000}}, "extra is .*not too large"),
        ({"restricted": "no"}, "restricted is 'no': give True or False"),
    ],
)
def test_a_card_is_checked_when_it_is_read(change: dict[str, Any], text: str) -> None:
    with pytest.raises(WeightsError, match=text) as caught:
        ModelCard.from_dict({**CARD.to_dict(), **change})
    assert "'a" in str(caught.value), "it does not say which model"
    assert len(str(caught.value)) < 500


def test_a_thousand_cards_are_cards_or_told() -> None:
    """Each is changed in one place; seed and number give it again."""
    values = [
        *NEVER,
        None,
        True,
        0,
        -1,
        2.5,
        1e300,
        "",
        "x",
        [],
        {},
        [None],
        [{}],
        [1, 2],
        deep(99),
    ]
    rng = random.Random(0)
    for number in range(1000):
        table = json.loads(json.dumps(CARD.to_dict()))
        node, value = table, rng.choice(values)
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = rng.choice(keys)
            if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.3:
                break
            node = node[key]
        node[key] = value
        try:
            card = ModelCard.from_dict(table)
        except WeightsError:
            continue
        text = json.dumps(card.to_dict(), allow_nan=False)
        assert ModelCard.from_dict(json.loads(text)).to_dict() == card.to_dict(), number
