from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.training import augment
from napari_sa2net.engine.training.augment import Augmentation, vary_intensity

STILL = Augmentation(zoom=1.0, rotate=False)


def crop(image: np.ndarray, labels: np.ndarray, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    out, out_labels = augment.crop(image, [labels], *args, **kwargs)
    return out, out_labels[0]


def disc(side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side]
    mask = ((y - side / 2) ** 2 + (x - side / 3) ** 2 < (side / 5) ** 2).astype(np.int32)
    return mask[None].astype(np.float32), mask


def test_without_variation_a_crop_is_a_cut_out() -> None:
    image = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    labels = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
    out, out_labels = crop(image, labels, 64, STILL, np.random.default_rng(1))
    assert np.allclose(out.numpy(), image, atol=1e-5)
    assert np.array_equal(out_labels.numpy().astype(int), labels)


def test_image_and_labels_move_together() -> None:
    image, mask = disc()
    rng = np.random.default_rng(2)
    for _ in range(10):
        out, out_labels = crop(image, mask, 64, Augmentation(), rng)
        agree = ((out[0] > 0.5) == (out_labels > 0)).float().mean()
        assert agree > 0.98


def test_zoom_enlarges_objects() -> None:
    image, mask = disc()
    _, plain = crop(image, mask, 96, STILL, np.random.default_rng(0))
    _, half = crop(image, mask, 96, STILL, np.random.default_rng(0), centre_zoom=0.5)
    assert half.float().mean() < plain.float().mean() or (half > 0).sum() < 2 * (plain > 0).sum()


def test_crops_near_objects_hold_objects() -> None:
    image, mask = np.zeros((1, 400, 400), np.float32), np.zeros((400, 400), np.int32)
    mask[200:220, 200:220] = 1
    near = Augmentation(objects=1.0)
    rng = np.random.default_rng(3)
    hits = sum(bool((crop(image, mask, 64, near, rng)[1] > 0).any()) for _ in range(200))
    rng = np.random.default_rng(3)
    anywhere = Augmentation(objects=0.0)
    chance = sum(bool((crop(image, mask, 64, anywhere, rng)[1] > 0).any()) for _ in range(200))
    assert hits > chance


def test_an_image_smaller_than_the_crop_is_mirrored() -> None:
    out, out_labels = crop(
        np.ones((1, 20, 30), np.float32),
        np.ones((20, 30), np.int32),
        64,
        Augmentation(),
        np.random.default_rng(0),
    )
    assert out.shape == (1, 64, 64)
    assert (out_labels == 1).all()
    assert torch.allclose(out, torch.ones(()), atol=1e-5)


def test_intensities_stay_finite_and_one_channel_may_remain() -> None:
    x = torch.rand(1, 32, 32).expand(3, -1, -1) * 4 - 1
    rng = np.random.default_rng(0)
    only = Augmentation(one_channel=1.0, noise=0.0, blur=0.3, gain=0.0, gamma=1.0)
    for _ in range(20):
        assert torch.isfinite(vary_intensity(x, Augmentation(), rng)).all()
        spread = vary_intensity(x, only, rng).flatten(1).std(dim=1)
        assert (spread > 1e-4).sum() == 1


def test_a_seed_gives_the_same_crop() -> None:
    image, mask = disc()
    first, second = (
        crop(image, mask, 32, Augmentation(), np.random.default_rng(7))[0] for _ in range(2)
    )
    assert torch.equal(first, second)


def test_right_angles_change_no_value() -> None:
    image = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    labels = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(40):
        out, out_labels = crop(image, labels, 64, Augmentation.named("light"), rng)
        at = out_labels.long()
        assert torch.equal(out, torch.from_numpy(image).flatten(1)[:, at])
        seen.add(tuple(at[[0, 0, -1], [0, -1, 0]].tolist()))
    assert len(seen) == 8


def test_a_crop_holds_the_place_it_is_drawn_around() -> None:
    labels = np.full((90, 200), -1, np.int32)
    for place in ((0, 0), (89, 199), (40, 100)):
        labels[:] = -1
        labels[place] = 1
        for name in ("none", "light", "full"):
            at = (place[0] + 0.5, place[1] + 0.5)
            image, rng = np.zeros((1, 90, 200), np.float32), np.random.default_rng(0)
            held = [
                bool(
                    (crop(image, labels, 64, Augmentation.named(name), rng, place=at)[1] == 1).any()
                )
                for _ in range(30)
            ]
            # Made smaller, a single pixel can fall between those of the crop.
            assert np.mean(held) > (0.6 if name == "full" else 0.99)


def test_presets() -> None:
    x = torch.rand(3, 16, 16)
    same = vary_intensity(x, Augmentation.named("none"), np.random.default_rng(0))
    assert torch.allclose(same, x, atol=1e-6)
    with pytest.raises(InputError, match="none, light, full"):
        Augmentation.named("wild")


def test_turns_as_those_of_the_authors() -> None:
    image, labels = disc(64)
    labels = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
    authors = Augmentation(zoom=1.0, rotate=False, authors=True)
    rng = np.random.default_rng(0)
    flipped = {np.rot90(labels, k)[:, ::-1].tobytes() for k in range(4)}
    seen = {"as it is": 0, "turned": 0, "tilted": 0}
    for _ in range(400):
        found = crop(image, labels, 64, authors, rng)[1].numpy().astype(np.int32)
        if np.array_equal(found, labels):
            seen["as it is"] += 1
        elif found.tobytes() in flipped:
            seen["turned"] += 1
        else:
            seen["tilted"] += 1
            rows, columns = np.divmod(found[32, 24:40], 64)  # along the middle of the image
            assert abs(rows[-1] - rows[0]) <= 15 * np.tan(np.radians(20)) + 1
            assert columns[-1] > columns[0]
    assert 160 < seen["turned"] < 240
    assert 70 < seen["as it is"] < 130
    assert 70 < seen["tilted"] < 130
