"""segment(): from any image to labels and maps, in tiles, on whatever memory there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_sa2net.engine import devices, prediction
from napari_sa2net.engine.errors import DeviceError, InputError, SA2NetError
from napari_sa2net.engine.events import Event, Message, run
from napari_sa2net.engine.images import Normalization
from napari_sa2net.engine.inference import (
    LabelSettings,
    PlaneDone,
    Segmentation,
    SegmentOptions,
    TileDone,
    relabel,
    relabel_steps,
    segment,
)
from napari_sa2net.engine.instances import label_plane
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.prediction import Plan
from napari_sa2net.engine.segmentation import map_bytes
from napari_sa2net.engine.weights import ClassInfo, Model, ModelCard, load_model

ALL = frozenset({"probabilities", "stages", "attention", "disagreement"})
SMALL = {"tile": 96, "discard": 16, "blend": 16}
ANY = LabelSettings(min_size=0)


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def lively(num_classes: int = 3, in_channels: int = 3) -> Model:
    """Return a small random model whose outputs vary as much as a trained one's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SA2Net(in_channels, num_classes, 4)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight *= 2
    classes: tuple[ClassInfo, ...] = ()
    if num_classes == 3:
        classes = (ClassInfo("background"), ClassInfo("a"), ClassInfo("rim", derived=True))
    card = ModelCard(
        name="lively",
        base_channels=4,
        in_channels=in_channels,
        num_classes=num_classes,
        classes=classes,
        diameter=20,
        pixel_size=0.5,
        labelling=ANY,
    )
    return Model(network, card)


def segmented(image: Any, model: Model, **options: Any) -> Segmentation:
    return run(segment(image, model, SegmentOptions(device="cpu", **options)))


def probabilities(result: Segmentation) -> NDArray[np.float32]:
    assert result.probabilities is not None
    return result.probabilities.astype(np.float32)


def test_a_real_image(tiny_model: Model, real_image: NDArray[np.uint8]) -> None:
    image = real_image[:150, :170]
    events: list[Event] = []
    result = run(segment(image, tiny_model, SegmentOptions(keep=ALL, **SMALL)), events.append)
    assert result.labels.shape == image.shape
    assert result.labels.dtype == np.int32
    assert result.axes == "YX"
    p = probabilities(result)
    assert p.shape == (3, *image.shape)
    np.testing.assert_allclose(p.sum(0), 1, atol=2e-3)
    assert result.stages is not None
    assert result.attention is not None
    assert result.disagreement is not None
    assert result.stages.shape == result.attention.shape == (4, *image.shape)
    assert result.stages.dtype == np.float16
    np.testing.assert_allclose(result.stages[0], 1 - p[0], atol=2e-3)
    stages = result.stages.astype(np.float32)
    np.testing.assert_allclose(result.disagreement, np.ptp(stages, axis=0), atol=2e-3)
    tiles = [event for event in events if isinstance(event, TileDone)]
    assert [tile.done for tile in tiles] == list(range(1, tiles[0].total + 1))
    assert len(tiles) > 1
    finished = [event for event in events if isinstance(event, PlaneDone)]
    assert len(finished) == 1
    np.testing.assert_array_equal(finished[0].labels, result.labels)
    first = events[0]
    assert isinstance(first, Message)
    assert result.device in first.text
    assert result.messages[0] == first.text
    assert result.card is tiny_model.card
    np.testing.assert_array_equal(
        result.features["index"], np.unique(result.labels[result.labels > 0])
    )


def test_what_is_not_asked_for_is_none(tiny_model: Model) -> None:
    result = segmented(noise(20, 20), tiny_model)
    assert result.stages is result.attention is result.disagreement is None
    assert result.probabilities is not None
    assert segmented(noise(20, 20), tiny_model, relabel=False).probabilities is None


def test_maps_equal_those_of_the_network_itself() -> None:
    model = lively()
    image = noise(3, 32, 48)
    result = segmented(image, model, keep=ALL)
    x = image.astype(np.float32)
    low, high = np.percentile(x, (1, 99.8), axis=(1, 2), keepdims=True)
    x = np.clip((x - low) / (high - low + 1e-6), -1, 3)
    with torch.inference_mode():
        found = model.network.eval().explain(torch.from_numpy(x)[None].float())
    expected = torch.softmax(found.logits[0], 1)[0].numpy()
    np.testing.assert_allclose(probabilities(result), expected, atol=1e-3)
    for i in range(4):
        stage = 1 - torch.softmax(found.logits[i], 1)[0, 0].numpy()
        assert result.stages is not None
        assert result.attention is not None
        np.testing.assert_allclose(result.stages[i], stage, atol=1e-3)
        np.testing.assert_allclose(result.attention[i], found.attention[i][0, 0], atol=1e-3)


def test_tiles_agree_with_the_whole_image() -> None:
    model = lively()
    y, x = np.mgrid[:300, :520]
    image = (100 + 80 * np.sin(y / 7) * np.sin(x / 9) + noise(300, 520) / 8).astype(np.float32)
    whole = probabilities(segmented(image, model, tile=1024))
    exact = probabilities(segmented(image, model, tile=272, discard=96, blend=16))
    careless = probabilities(segmented(image, model, tile=272, discard=0, blend=0))
    assert whole.std() > 0.1
    assert np.abs(exact - whole).max() < 1e-3
    assert np.abs(careless - whole).max() > 1e-2  # so the line above says something


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 2), (16, 16), (17, 31)])
def test_any_size(shape: tuple[int, int], tiny_model: Model) -> None:
    result = segmented(noise(*shape), tiny_model, keep=ALL)
    assert result.labels.shape == shape
    assert np.isfinite(probabilities(result)).all()


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", "u4", "i8", "f2", "f4", "f8"])
def test_any_dtype_gives_the_same(dtype: str, tiny_model: Model) -> None:
    image = noise(24, 24) // 128
    expected = probabilities(segmented(image, tiny_model))
    got = probabilities(segmented(image.astype(dtype), tiny_model))
    np.testing.assert_allclose(got, expected, atol=2e-3)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(fill: float, tiny_model: Model) -> None:
    image = noise(32, 32).astype(np.float32)
    image[3:6, 4:9] = fill
    assert np.isfinite(probabilities(segmented(image, tiny_model))).all()
    image[:] = fill
    assert np.isfinite(probabilities(segmented(image, tiny_model))).all()


def test_stacks_are_segmented_plane_by_plane() -> None:
    model = lively()
    image = noise(2, 3, 3, 24, 40)  # TZCYX
    result = segmented(da.from_array(image, chunks=(1, 1, 3, 24, 40)), model, axes="TZCYX")
    assert result.axes == "TZYX"
    assert result.labels.shape == (2, 3, 24, 40)
    seen: set[int] = set()
    for t in range(2):
        for z in range(3):
            one = segmented(image[t, z], model, axes="CYX")
            np.testing.assert_array_equal(result.labels[t, z] > 0, one.labels > 0)
            np.testing.assert_array_equal(probabilities(result)[:, t, z], probabilities(one))
            numbers = set(np.unique(result.labels[t, z])) - {0}
            assert not numbers & seen
            seen |= numbers
    assert len(seen) == len(result.features["index"]) == result.labels.max()


def test_chosen_planes_and_chosen_maps() -> None:
    model = lively()
    image = noise(4, 24, 24)
    result = segmented(image, model, axes="TYX", planes=(1, 3), map_planes=(3,), keep=ALL)
    assert result.planes == (1, 3)
    assert result.labels[[1, 3]].any(axis=(1, 2)).all()
    assert not result.labels[[0, 2]].any()
    for maps in (result.stages, result.attention):
        assert maps is not None
        assert maps[:, 3].any()
        assert not maps[:, :3].any()
    with pytest.raises(InputError, match="no plane 4"):
        segmented(image, model, axes="TYX", planes=(4,))


def test_linking_through_z() -> None:
    model = lively()
    plane = noise(40, 40)
    image = np.stack([plane] * 3)
    apart = segmented(image, model, axes="ZYX")
    linked = segmented(image, model, axes="ZYX", labelling=replace(ANY, link="z"))
    assert apart.labels.max() == 3 * linked.labels.max() > 0
    np.testing.assert_array_equal(linked.labels[0], linked.labels[2])
    assert linked.features["area"].sum() == (apart.labels > 0).sum()
    events: list[Event] = []
    options = SegmentOptions(axes="ZYX", labelling=replace(ANY, link="t"))
    run(segment(image, model, options), events.append)
    assert any(isinstance(e, Message) and e.warning and "through T" in e.text for e in events)


def test_binary_models_have_two_classes() -> None:
    model = lively(num_classes=1)
    result = segmented(noise(24, 24), model, keep=ALL)
    p = probabilities(result)
    assert p.shape == (2, 24, 24)
    np.testing.assert_allclose(p.sum(0), 1, atol=2e-3)
    np.testing.assert_array_equal(result.labels > 0, p[0] < 0.5)


def test_result_can_be_classes() -> None:
    model = lively()
    result = segmented(noise(40, 40), model, labelling=replace(ANY, result="classes"))
    assert np.unique(result.labels).tolist() == [0, 1]
    assert result.features["class"].tolist() == [1]
    assert result.features["area"].tolist() == [(result.labels == 1).sum()]


def test_labels_change_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively()
    image = noise(3, 40, 40)
    result = segmented(image, model, axes="ZYX")
    wanted = LabelSettings(threshold=0.8, min_size=5, split=False)
    expected = segmented(image, model, axes="ZYX", labelling=wanted)
    monkeypatch.setattr(prediction.Predictor, "start", None)
    before = result.labels.copy()
    np.testing.assert_array_equal(relabel(result, wanted), expected.labels)
    again = run(relabel_steps(result, wanted))
    np.testing.assert_array_equal(again.features["area"], expected.features["area"])
    assert again.labelling == wanted
    for place in (1, (1,)):
        plane = relabel(result, wanted, place)
        np.testing.assert_array_equal(plane > 0, expected.labels[1] > 0)
    np.testing.assert_array_equal(result.labels, before)
    with pytest.raises(InputError, match="no plane"):
        relabel(result, wanted, 3)
    with pytest.raises(InputError, match="relabel=True"):
        relabel(replace(result, probabilities=None), wanted)


def test_scale() -> None:
    model = lively()
    small = np.kron(noise(20, 24), np.ones((1, 1), np.uint8))
    image = np.kron(small, np.ones((3, 3), np.uint8))
    events: list[Event] = []
    options = SegmentOptions(diameter=60, keep=ALL)
    result = run(segment(image, model, options), events.append)
    assert result.zoom == (pytest.approx(1 / 3),) * 2
    assert result.labels.shape == image.shape == probabilities(result).shape[1:]
    assert any("0.333" in e.text for e in events if isinstance(e, Message))
    # By pixel size to the same scale; the diameter goes first; without either nothing is done.
    by_size = segmented(image, model, pixel_size=0.5 / 3)
    np.testing.assert_array_equal(by_size.labels, result.labels)
    both = segmented(image, model, pixel_size=0.1, diameter=60)
    np.testing.assert_array_equal(both.labels, result.labels)
    assert segmented(image, model).zoom == (1, 1)
    assert segmented(image, model, pixel_size=(0.5, 0.25)).zoom == (1, 0.5)
    assert segmented(noise(1, 1), model, diameter=40).labels.shape == (1, 1)


@pytest.mark.parametrize("options", [{"diameter": 1e-3}, {"diameter": 1e5}, {"pixel_size": 500.0}])
def test_a_senseless_scale_is_explained(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="check the diameter or the pixel size"):
        segmented(noise(20, 20), lively(), **options)


def test_normalisation_as_the_card_says() -> None:
    model = lively()
    image = noise(32, 32)
    byte_card = replace(model.card, normalization=Normalization("scale"))
    expected = probabilities(segmented(image, Model(model.network, byte_card)))
    other = probabilities(segmented(image, model))
    assert np.abs(expected - other).max() > 0.01
    fractions = image.astype(np.float32) / 255
    got = probabilities(segmented(fractions, Model(model.network, byte_card)))
    np.testing.assert_allclose(got, expected, atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"keep": {"everything"}},
        {"tile": 64, "discard": 96},
        {"batch": 0},
        {"diameter": -3.0},
        {"pixel_size": float("nan")},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        SegmentOptions(**options)


def test_missing_device(tiny_model: Model) -> None:
    with pytest.raises(DeviceError, match="cpu"):
        run(segment(noise(20, 20), tiny_model, SegmentOptions(device="abacus")))


class Frail(SA2Net):
    """A network that fails by choice; what it was asked to do is noted."""

    calls: list[tuple[int, int]]
    fails: Callable[[int, int, str], Exception | None]

    def finest(self, x: torch.Tensor) -> torch.Tensor:
        error = type(self).fails(x.shape[0], x.shape[-1], str(x.device))
        if error is not None:
            raise error
        self.calls.append((x.shape[0], x.shape[-1]))
        return super().finest(x)


def frail(fails: Callable[[int, int, str], Exception | None]) -> tuple[Model, Frail]:
    model = lively()
    # Of the class, so that copies of the network write into the same list.
    kind = type("Frail", (Frail,), {"fails": staticmethod(fails), "calls": []})
    network = kind(3, 3, 4)
    network.load_state_dict(model.network.state_dict())
    return Model(network, model.card), network


def gpu_like(limit: Callable[[int, int], bool]) -> Callable[[int, int, str], Exception | None]:
    def fails(batch: int, side: int, device: str) -> Exception | None:
        return None if limit(batch, side) else torch.OutOfMemoryError("CUDA out of memory.")

    return fails


def test_out_of_memory_halves_the_batch_then_the_tile_and_keeps_what_is_done() -> None:
    left = [3]  # batches until memory gets short

    def fails(batch: int, side: int, device: str) -> Exception | None:
        left[0] -= 1
        too_much = left[0] < 0 and batch * side > 128
        return RuntimeError("MPS backend out of memory (MPS allocated)") if too_much else None

    model, network = frail(fails)
    image = noise(512, 512)
    expected = probabilities(segmented(image, lively(), tile=256, discard=96, blend=0))
    events: list[Event] = []
    options = SegmentOptions(device="cpu", tile=256, discard=96, blend=0, batch=2)
    result = run(segment(image, model, options), events.append)
    warnings = [e.text for e in events if isinstance(e, Message) and e.warning]
    assert len(warnings) == 2
    assert all(text.endswith("Finished tiles are kept.") for text in warnings)
    assert "1 tile(s) at a time" in warnings[0]
    assert "tiles of 128 pixels" in warnings[1]
    assert result.messages[-2:] == tuple(warnings)
    assert network.calls[:3] == [(2, 256)] * 3
    assert set(network.calls[3:]) == {(1, 128)}
    # The six tiles that were done are not done again: the small ones are for the rest.
    full = len(Plan("cpu", 1, 128, 96, 0).grid((512, 512)))
    assert 0 < len(network.calls) - 3 < full
    tiles = [e for e in events if isinstance(e, TileDone)]
    assert tiles[-1].done == tiles[-1].total == len(tiles)
    done = np.s_[:, :280]
    np.testing.assert_allclose(probabilities(result)[done], expected[done], atol=1e-3)


def test_out_of_memory_goes_to_the_processor_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # "meta" plays the GPU: it holds no data, and here no memory either.
    choice = devices.DeviceChoice("meta", "meta, a card without memory.")

    def fails(batch: int, side: int, device: str) -> Exception | None:
        return torch.OutOfMemoryError("CUDA out of memory.") if device == "meta" else None

    model, _ = frail(fails)
    image = noise(200, 200)
    with monkeypatch.context() as patch:
        patch.setattr("napari_sa2net.engine.inference.choose_device", lambda wanted: choice)
        result = run(segment(image, model, SegmentOptions(tile=128, batch=4)))
    assert result.device == "cpu"
    assert any("going on with the CPU" in text for text in result.messages)
    expected = probabilities(segmented(image, lively(), tile=128))
    np.testing.assert_allclose(probabilities(result), expected, atol=1e-3)


def test_out_of_memory_for_good_is_an_error_that_says_what_to_do() -> None:
    model, _ = frail(gpu_like(lambda batch, side: False))
    with pytest.raises(DeviceError, match="crop the image"):
        segmented(noise(200, 200), model)


def test_memory_error_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = frail(lambda batch, side, device: MemoryError() if side > 64 else None)
    assert segmented(noise(128, 128), model).labels.shape == (128, 128)

    def no_room(*args: Any, **kwargs: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_sa2net.engine.inference.label_plane", no_room)
    with pytest.raises(DeviceError, match="memory ran out"):
        segmented(noise(20, 20), lively())


def test_no_runtime_error_comes_out() -> None:
    model, _ = frail(lambda batch, side, device: RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"))
    with pytest.raises(SA2NetError, match="CUDNN_STATUS") as caught:
        segmented(noise(20, 20), model)
    assert not isinstance(caught.value, RuntimeError)


def test_stopping_takes_effect_within_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(prediction, "free_memory", freed.append)
    model, network = frail(lambda batch, side, device: None)
    work = segment(noise(300, 300), model, SegmentOptions(device="cpu", **SMALL))
    for event in work:
        if isinstance(event, TileDone):
            break
    work.close()
    assert len(network.calls) == 1
    assert freed == ["cpu"]


def test_the_callers_network_is_left_as_it_was() -> None:
    model = lively()
    model.network.train()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    segmented(noise(40, 40), model)
    assert model.network.training
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.requires_grad == before[name].requires_grad


def test_large_results_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    options = SegmentOptions(keep=ALL)
    pixels = 40 * 40
    assert map_bytes((40, 40), 3, options) == pixels * (4 + 2 * (3 + 4 + 4 + 1))
    result = segmented(noise(40, 40), lively(), keep=ALL)
    arrays = (result.labels, result.probabilities, result.stages, result.attention,
              result.disagreement)  # fmt: skip
    assert sum(a.nbytes for a in arrays if a is not None) == map_bytes((40, 40), 3, options)
    monkeypatch.setattr("napari_sa2net.engine.inference.LARGE", pixels * 20)
    warned = segmented(noise(40, 40), lively(), keep=ALL).messages
    assert any("GB of memory" in text for text in warned)
    assert not any("GB of memory" in text for text in segmented(noise(40, 40), lively()).messages)
    # Probabilities that are kept anyway are no second ones.
    monkeypatch.setattr("napari_sa2net.engine.inference.LARGE", pixels * 12)
    quiet = segmented(noise(40, 40), lively(), keep={"probabilities"}).messages
    assert not any("GB of memory" in text for text in quiet)


def test_the_bundled_model_finds_the_nuclei_of_a_real_image(real_image: NDArray[np.uint8]) -> None:
    model = load_model("nuclei")
    image = real_image[:256, :256]
    result = segmented(image, model)
    bright = image > threshold_otsu(image)
    common = (bright & (result.labels > 0)).sum()
    assert 2 * common / (bright.sum() + (result.labels > 0).sum()) > 0.8
    assert len(result.features["index"]) > 3
    # Small tiles, cut and blended as by default, find the same objects.
    tiled = segmented(image, model, tile=128)
    assert np.abs(probabilities(tiled) - probabilities(result)).mean() < 0.01
    assert ((tiled.labels > 0) != (result.labels > 0)).mean() < 0.01


# --- mirror images ---------------------------------------------------------------------------


def test_averaged_over_mirror_images_a_mirrored_image_gives_the_mirrored_result() -> None:
    image, model = noise(64, 96, 3), lively()
    found = probabilities(segmented(image, model, flips=True))
    for axis in (0, 1):
        mirrored = segmented(np.flip(image, axis), model, flips=True)
        assert np.abs(np.flip(probabilities(mirrored), axis + 1) - found).max() < 2e-3
    plain = probabilities(segmented(image, model))
    parts = [np.flip(probabilities(segmented(np.flip(image, a), model)), [i + 1 for i in a])
             for a in ((), (0,), (1,), (0, 1))]  # fmt: skip
    assert np.abs(np.mean(parts, axis=0) - found).max() < 2e-3
    assert np.abs(plain - found).max() > 0.01


def test_all_maps_are_averaged_over_mirror_images() -> None:
    image, model = noise(64, 64, 3), lively()
    found = segmented(image, model, flips=True, keep=ALL)
    mirrored = segmented(image[:, ::-1], model, flips=True, keep=ALL)
    for name in ("stages", "attention", "disagreement"):
        one, other = (getattr(r, name).astype(np.float32) for r in (found, mirrored))
        assert np.abs(one - other[..., ::-1]).max() < 2e-3


# --- Masked arrays ------------------------------------------------------------------------------


def with_hole(*, hidden: int = 255, lazy: bool = False) -> tuple[Any, NDArray[np.bool_]]:
    """Return an image (Y, X) of which a part is masked, and where."""
    values = noise(90, 100)
    mask = np.zeros(values.shape, bool)
    mask[20:70, 30:60] = True
    mask[:, 95:] = True
    image = np.ma.masked_array(np.where(mask, hidden, values).astype(np.uint8), mask)
    return (da.from_array(image, chunks=50) if lazy else image), mask


@pytest.mark.parametrize("region", [None, (10, 20, 80, 100)])
@pytest.mark.parametrize("method", ["percentile", "minmax", "scale"])
def test_what_is_masked_is_not_image(region: Any, method: Any) -> None:
    model = lively()
    model = Model(model.network, replace(model.card, normalization=Normalization(method)))
    mask = with_hole()[1]
    y0, x0, y1, x1 = region or (0, 0, *mask.shape)
    window = slice(y0, y1), slice(x0, x1)
    seen = []
    for lazy in (False, True):
        for hidden in (0, 130, 255):  # whatever is beneath the mask
            image, _ = with_hole(hidden=hidden, lazy=lazy)
            result = segmented(image, model, region=region, **SMALL)
            assert not result.labels[mask[window]].any()
            assert result.labels.any()
            np.testing.assert_array_equal(np.isnan(probabilities(result)[0]), mask[window])
            seen.append(result.labels)
    assert all(np.array_equal(labels, seen[0]) for labels in seen)


def test_labels_made_again_leave_out_what_is_masked() -> None:
    image, mask = with_hole()
    result = segmented(image, lively(), **SMALL)
    for kind in ("instances", "classes"):
        settings = replace(ANY, threshold=0.05, result=kind)
        labels = run(relabel_steps(result, settings)).labels
        assert labels.any()
        assert not labels[mask].any()
        np.testing.assert_array_equal(relabel(result, settings, 0) > 0, labels > 0)


def test_a_masked_hole_in_an_object_is_not_filled() -> None:
    found = np.zeros((2, 20, 20), np.float16)
    found[1, 4:16, 4:16] = 1
    found[0] = 1 - found[1]
    found[:, 8:11, 8:11] = np.nan
    labels = label_plane(found, ANY, masked=True)
    assert labels[5, 5] == 1
    assert not labels[8:11, 8:11].any()


def test_an_image_that_is_masked_in_whole_has_no_objects() -> None:
    image = np.ma.masked_array(noise(40, 50), np.ones((40, 50), bool))
    for region in (None, (0, 0, 20, 20)):
        assert not segmented(image, lively(), region=region, **SMALL).labels.any()
