from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_sa2net
from napari_sa2net import api
from napari_sa2net.driving import drive
from napari_sa2net.engine import events
from napari_sa2net.engine.errors import InputError, WeightsError
from napari_sa2net.engine.events import Event, Message, Progress
from napari_sa2net.engine.files import write_image
from napari_sa2net.engine.folders import trainings_folder
from napari_sa2net.engine.inference import TileDone
from napari_sa2net.engine.options import resolve_options
from napari_sa2net.engine.weights import save_model
from napari_sa2net.progress import ProgressBar

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)


@pytest.fixture
def model_file(tiny_model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model, path)
    return path


def test_importing_the_package_loads_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import napari_sa2net; "
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) - {"napari_sa2net"} <= set(sys.stdlib_module_names)


def test_names_are_there_and_others_are_not() -> None:
    assert set(napari_sa2net.__all__) <= set(dir(napari_sa2net))
    assert napari_sa2net.segment is api.segment
    assert napari_sa2net.SA2Net(3, 1, 4)(__import__("torch").zeros(1, 3, 32, 32))
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = napari_sa2net.nothing_such


def test_a_model_is_taken_as_path_text_or_itself(tiny_model: Any, model_file: Path) -> None:
    results = [
        api.segment(IMAGE, model, "cpu") for model in (tiny_model, model_file, str(model_file))
    ]
    for result in results:
        assert result.labels.shape == IMAGE.shape
        assert np.array_equal(result.labels, results[0].labels)
        assert result.stages is None
    with pytest.raises(WeightsError, match="no model 'typo'"):
        api.segment(IMAGE, "typo")


def test_a_model_of_the_caller_stays_as_it_is(tiny_model: Any) -> None:
    tiny_model.network.train()
    try:
        api.segment(IMAGE, tiny_model, "cpu")
        api.evaluate(IMAGE, np.zeros(IMAGE.shape, int), tiny_model, "cpu")
        assert tiny_model.network.training
    finally:
        tiny_model.network.eval()


def test_a_known_name_counts_before_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nuclei").write_text("notes on nuclei")
    assert api.load_model("nuclei").card.name == "nuclei"


def test_load_model_takes_the_fastest_device(model_file: Path) -> None:
    from napari_sa2net.engine.devices import choose_device

    model = api.load_model(model_file, "auto")
    found = next(model.network.parameters()).device
    assert choose_device("auto").device.startswith(found.type)


def test_load_model_gives_network_and_card(model_file: Path) -> None:
    model = api.load_model(model_file)
    assert isinstance(model.network, napari_sa2net.SA2Net)
    assert model.card.num_classes == 3


def test_models_are_joined_into_a_file(twin_model: Any, model_file: Path, tmp_path: Path) -> None:
    joined = napari_sa2net.join_models(
        [model_file, twin_model], "both", tmp_path / "both.safetensors"
    )
    assert [member.name for member in joined.card.members] == ["tiny", "twin"]
    result = api.segment(IMAGE, tmp_path / "both.safetensors", "cpu")
    alone = api.segment(IMAGE, model_file, "cpu")
    np.testing.assert_allclose(result.probabilities, alone.probabilities, atol=1e-3)
    assert result.card.members == joined.card.members


def test_maps_are_kept_on_request(tiny_model: Any) -> None:
    result = api.segment(IMAGE, tiny_model, "cpu", keep=["stages", "attention", "disagreement"])
    assert result.probabilities.shape == (3, 40, 50)
    assert result.stages.shape == result.attention.shape == (4, 40, 50)
    assert result.disagreement.shape == (40, 50)


def test_settings_can_be_given_flat(tiny_model: Any) -> None:
    result = api.segment(IMAGE, tiny_model, "cpu", threshold=0.3, min_size=7, result="classes")
    used = result.labelling
    assert (used.threshold, used.min_size, used.result) == (0.3, 7, "classes")
    assert result.labels.max() <= 2
    # What is not given is as the card says.
    assert used.fill_holes == tiny_model.card.labelling.fill_holes


def test_wrong_options_are_named(tiny_model: Any) -> None:
    with pytest.raises(InputError, match=r"diametre.*diameter"):
        api.segment(IMAGE, tiny_model, diametre=3)
    with pytest.raises(InputError, match="threshold"):
        api.segment(IMAGE, tiny_model, threshold=3)
    with pytest.raises(InputError, match="not both"):
        api.segment(IMAGE, tiny_model, threshold=0.4, labelling=tiny_model.card.labelling)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": "half"},
        {"min_size": "some"},
        {"seed_size": 0},
        {"diameter": "x"},
        {"diameter": (3, 4)},
        {"pixel_size": [1, 2, 3]},
        {"planes": "all"},
        {"channels": 1.5},
    ],
    ids=str,
)
def test_values_of_a_wrong_kind_are_named(tiny_model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(options))} is .*give"):
        api.segment(IMAGE, tiny_model, **options)


def test_single_values_and_lists_are_welcome(tiny_model: Any) -> None:
    options = resolve_options(
        tiny_model.card, planes=2, channels=np.int64(0), keep="stages", pixel_size=[0.5, 0.25]
    )
    assert (options.planes, options.channels, options.keep) == ((2,), (0,), {"stages"})
    assert options.pixel_size == (0.5, 0.25)


def test_an_image_file_brings_its_axes(tiny_model: Any, tmp_path: Path) -> None:
    stack = np.stack([IMAGE, IMAGE[::-1]])
    path = write_image(tmp_path / "a.ome.tif", stack, "TYX", {"Y": 0.5, "X": 0.25})
    result = api.segment(path, tiny_model, "cpu")
    assert result.axes == "TYX"
    assert result.options.pixel_size == (0.5, 0.25)
    assert api.segment(path, tiny_model, "cpu", axes="ZYX").axes == "ZYX"


def test_events_reach_the_caller_who_can_stop(tiny_model: Any) -> None:
    class Enough(Exception):
        pass

    seen: list[Event] = []

    def handle(event: Event) -> None:
        seen.append(event)
        if isinstance(event, TileDone):
            raise Enough

    with pytest.raises(Enough):
        api.segment(np.tile(IMAGE, (3, 3)), tiny_model, "cpu", tile=64, discard=0, blend=16,
                    on_event=handle)  # fmt: skip
    assert sum(isinstance(event, TileDone) for event in seen) == 1
    assert any(isinstance(event, Message) for event in seen)


def _noisy() -> Generator[Event, None, int]:
    yield Message("just so you know")
    yield Message("the GPU is full", warning=True)
    yield Progress(1, 2)
    return 5


def test_warnings_are_python_warnings_of_the_caller() -> None:
    with pytest.warns(UserWarning, match="the GPU is full") as caught:
        assert drive(_noisy(), "", False, None) == 5
    assert [w.filename for w in caught] == [__file__]


def test_who_listens_gets_no_python_warning() -> None:
    seen: list[Event] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drive(_noisy(), "", False, seen.append)
    assert len(seen) == 3


def test_a_bar_is_drawn_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> Generator[Event, None, None]:
        yield Progress(1, 2, "tile")
        yield Progress(5, 10, "byte")

    drive(work(), "Working", False, None)
    assert capsys.readouterr().err == ""
    drive(work(), "Working", True, None)
    told = capsys.readouterr()
    assert "Working" in told.err
    assert "/2 " in told.err
    assert "B/s" in told.err
    assert told.out == ""


def test_the_bar_tells_loss_dice_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("Training", force=True) as bar:
        bar(events.StepDone(1, 3, 0.5, 0.1, 1.0, 95.0))
        assert bar._bar._bar.postfix == "loss 0.500, 1:35 left"
        bar(events.Evaluated(1, {"training Dice": 0.9, "validation Dice": 0.625}))
        bar(events.StepDone(2, 3, 0.4, 0.1, 1.0, 65.2))
        assert bar._bar._bar.postfix == "loss 0.400, validation Dice 0.625, 1:05 left"
        bar(events.StepDone(3, 3, 0.4, 0.1, 1.0))
        assert bar._bar._bar.postfix == "loss 0.400, validation Dice 0.625"
    assert "Training:" in capsys.readouterr().err


def test_train_saves_what_the_recipe_makes(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def fake(*arguments: Any) -> Generator[Event, None, Any]:
        given.extend(arguments)
        yield events.StepDone(1, 1, 0.5, 0.1, 0.0)
        return tiny_model

    monkeypatch.setattr(api.recipes, "train", fake, raising=False)
    out = tmp_path / "new.safetensors"
    model = api.train("r.toml", tmp_path, out, "cpu", checkpoint=tmp_path / "state.pt")
    assert given == ["r.toml", tmp_path, "cpu", tmp_path / "state.pt", None]
    assert model is tiny_model
    assert api.load_model(out).card.num_classes == 3


def painted() -> np.ndarray:
    strokes = np.zeros(IMAGE.shape, np.uint8)
    strokes[2:5, 2:40], strokes[20:23, 2:40] = 1, 2
    return strokes


def test_fine_tune_gives_a_model_that_segments(tiny_model: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 2, "batch": 1, "patch": 32, "seed": 4, "validation": 0.0}
    before = [p.clone() for p in tiny_model.network.parameters()]
    seen: list[Event] = []
    tuned = napari_sa2net.fine_tune(
        IMAGE, painted(), tiny_model, "cpu", name="mine", output=tmp_path / "m.safetensors",
        on_event=seen.append, **options,
    )  # fmt: skip
    assert tuned.card.name == "mine"
    assert tuned.comparison.verdict == "not compared"
    assert sum(isinstance(event, events.StepDone) for event in seen) == 2
    assert all((a == b).all() for a, b in zip(before, tiny_model.network.parameters(), strict=True))
    result = api.segment(IMAGE, tuned, "cpu")
    assert result.labels.shape == IMAGE.shape
    again = api.segment(IMAGE, tmp_path / "m.safetensors", "cpu")
    assert np.array_equal(again.labels, result.labels)
    assert not list(trainings_folder().glob("*"))  # it is over


def test_fine_tune_goes_on_from_its_folder(tiny_model: Any, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, events.StepDone):
            raise Enough

    options: dict[str, Any] = {"steps": 3, "batch": 1, "patch": 32, "validation": 0.0}
    folder = tmp_path / "state"
    with pytest.raises(Enough):
        api.fine_tune(
            [IMAGE], [painted()], tiny_model, "cpu", state=folder, on_event=stop, **options
        )
    seen: list[Event] = []
    tuned = api.fine_tune(device="cpu", state=folder, on_event=seen.append)
    assert [event.step for event in seen if isinstance(event, events.StepDone)] == [2, 3]
    straight = api.fine_tune(IMAGE, painted(), tiny_model, "cpu", **options)
    for a, b in zip(tuned.network.parameters(), straight.network.parameters(), strict=True):
        assert (a == b).all()


def test_a_model_that_cannot_be_saved_is_not_lost(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    options: dict[str, Any] = {"steps": 1, "batch": 1, "patch": 32, "validation": 0.0}
    with pytest.raises(WeightsError, match=r"Nothing is lost.*fine_tune\(state=") as caught:
        api.fine_tune(
            IMAGE, painted(), tiny_model, "cpu", output=tmp_path / "file" / "m", **options
        )
    (folder,) = trainings_folder().glob("*")
    assert str(folder) in str(caught.value)
    api.fine_tune(device="cpu", state=folder, output=tmp_path / "m.safetensors")
    assert api.load_model(tmp_path / "m.safetensors").card.num_classes == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"minuets": 3}, "minuets.*minutes"),
        ({"minutes": 3, "steps": 4}, "minutes, steps, not several"),
        ({"steps": 0}, "steps is 0"),
        ({"base_channels": "wide"}, "base_channels is 'wide'"),
    ],
)
def test_wrong_options_of_fine_tuning_are_named(
    tiny_model: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        api.fine_tune(IMAGE, painted(), tiny_model, "cpu", **options)


def test_fine_tune_needs_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give images and annotations"):
        api.fine_tune(output="m.safetensors")
    with pytest.raises(InputError, match="painted"):
        api.fine_tune(IMAGE, painted() * 0, None, "cpu", output=tmp_path / "m.safetensors")
    assert not list(tmp_path.glob("*"))
    assert not list(trainings_folder().glob("*"))


def test_import_checkpoint_reads_the_authors_files() -> None:
    folder = Path(__file__).parent / "fixtures" / "official_checkpoints"
    files = sorted(folder.rglob("*.pth")) + sorted(folder.rglob("*.pt"))
    assert files
    model = napari_sa2net.import_checkpoint(files[0])
    assert isinstance(model.network, napari_sa2net.SA2Net)


def test_evaluate_own_result_is_perfect(tiny_model: Any) -> None:
    truth = api.segment(IMAGE, tiny_model, "cpu").labels
    evaluation = api.evaluate(IMAGE, truth, tiny_model, "cpu")
    assert truth.any()
    assert evaluation.means == {"dice": 1.0, "iou": 1.0, "average_precision": 1.0}


def test_a_start_is_suggested_from_arrays_and_files(tiny_model: Any, tmp_path: Path) -> None:
    path = save_model(tiny_model, tmp_path / "tiny.safetensors")
    seen: list[Event] = []
    found = napari_sa2net.suggest_start(
        IMAGE, painted(), [path, "nuclei"], "cpu", on_event=seen.append
    )
    assert {entry.name for entry in found.ranking} == {"tiny", "nuclei"}
    assert any(isinstance(event, Progress) and event.unit == "region" for event in seen)
    for folder in ("images", "painted"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "images" / "a.tif", IMAGE, "YX")
    write_image(tmp_path / "painted" / "a.tif", painted(), "YX")
    again = api.suggest_start(tmp_path / "images", tmp_path / "painted", [path], "cpu", diameter=22)
    assert [entry.name for entry in again.ranking] == ["tiny"]
    with pytest.raises(InputError, match=r"Unknown option minutes. Known are axes"):
        api.suggest_start(IMAGE, painted(), minutes=2)


def test_a_file_is_measured_in_its_units(tiny_model: Any, tmp_path: Path) -> None:
    stack = np.stack([IMAGE, IMAGE // 2])
    sizes = {"Y": 0.5, "X": 0.5}
    path = write_image(tmp_path / "a.ome.tif", stack, "CYX", sizes, channel_names=("DAPI", "GFP"))
    result = api.segment(path, tiny_model, "cpu", channels=(0,))
    of_file = api.measure(result, path)
    inside = result.labels == of_file["index"][0]
    assert of_file["area_um2"][0] == pytest.approx(inside.sum() / 4)
    assert of_file["intensity_mean_GFP"][0] == pytest.approx(stack[1][inside].mean())
    of_array = api.measure(result, stack)
    assert of_array["intensity_mean_1"].tolist() == of_file["intensity_mean_GFP"].tolist()
    assert not [name for name in api.measure(result) if name.startswith("intensity")]


def test_a_file_is_measured_with_the_axes_it_was_segmented_with(
    tiny_model: Any, tmp_path: Path
) -> None:
    """Its own may be wrong: that is what they are given for."""
    stack = np.stack([IMAGE, IMAGE // 2])
    path = write_image(tmp_path / "a.ome.tif", stack, "CYX")
    result = api.segment(path, tiny_model, "cpu", axes="ZYX")
    found, expected = api.measure(result, path), api.measure(result, stack)
    assert set(found["z"]) == {0, 1}
    assert found["intensity_mean_0"].tolist() == expected["intensity_mean_0"].tolist()


@pytest.mark.parametrize("save", ["table", ("table",), None])
def test_what_is_saved_of_many_files_is_named_in_any_way(
    tiny_model: Any, tmp_path: Path, save: Any
) -> None:
    path = write_image(tmp_path / "a.tif", IMAGE, "YX")
    api.segment_files([path], tmp_path / "out", tiny_model, "cpu", save=save)
    made = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert made == ["a_labels.ome.tif"] + ["a_table.csv"] * bool(save)


def test_many_files_are_segmented_once(tiny_model: Any, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.ome.tif", IMAGE, "YX")
    out = tmp_path / "out"
    assert api.segment_files(path, out, tiny_model, "cpu").done == (path,)
    assert sorted(file.name for file in out.iterdir()) == ["a_labels.ome.tif", "a_table.csv"]
    assert api.segment_files([path], out, tiny_model, "cpu").skipped == (path,)
    again = api.segment_files(path, out, tiny_model, "cpu", min_size=99)
    assert [file for file, reason in again.failed if "min_size 15" in reason] == [path]


@pytest.mark.parametrize("call", ["fine_tune", "train", "join_models"])
@pytest.mark.parametrize("name", ["mine.safetensors", "mine"])
def test_no_file_of_another_kind_is_replaced(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    """Told before the work is done."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"another program's")
    calls = {
        "fine_tune": lambda: api.fine_tune(
            IMAGE, painted(), tiny_model, "cpu", output=path.with_name(name)
        ),
        "train": lambda: api.train("no.toml", tmp_path, path.with_name(name), "cpu"),
        "join_models": lambda: api.join_models([tiny_model, "no"], "both", path.with_name(name)),
    }
    with pytest.raises(InputError, match="is no model of napari-sa2net, so it is not replaced"):
        calls[call]()
    assert path.read_bytes() == b"another program's"


def test_labels_that_were_edited_are_measured_as_what_they_are(tiny_model: Any) -> None:
    result = api.segment(np.zeros((64, 64), np.uint8), tiny_model)
    result.labels[...] = 0
    result.labels[5:9, 5:9] = 70
    result.labels[20:30, 20:30] = 71
    result.labels[25, 20:30] = 0
    table = api.measure(result)
    assert table["index"].tolist() == [70, 71, 71]
    assert table["piece"].tolist() == [1, 1, 2]
    assert list(table["class_name"]) == ["nucleus"] * 3
