"""The benchmark of speed runs, and its table says what was compared."""

from __future__ import annotations

from typing import Any

import pytest


def rows(text: str) -> list[list[str]]:
    """Return the cells of the last table in a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture
def speed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = bench("speed")
    monkeypatch.setattr(module, "SIDE", 64)
    return module


def test_tiles_of_all_backends_are_compared(speed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    speed.tile([4], 1)
    found = rows(capsys.readouterr().out)
    assert [row[1] for row in found] == ["literal", "torch", "onnxruntime"]
    assert all(float(row[6]) < 1e-4 for row in found)
    assert found[0][5] == "1.0"


def test_an_image_is_compared_with_as_many_tiles(
    speed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    speed.plane(256, 1)
    out = capsys.readouterr().out
    assert "1 tiles, s" in out
    found = rows(out)
    assert [row[0] for row in found] == ["torch", "onnxruntime"]
    assert len({row[4] for row in found}) == 1
    assert int(found[0][4]) > 10


def test_a_training_step_is_compared(
    speed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "trained", lambda width: speed.SA2Net(3, 1, 2))
    speed.step(1)
    assert [row[0] for row in rows(capsys.readouterr().out)] == ["literal", "ours"]


def test_a_card_is_compared_with_its_own_product(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the processor stands in for the card, in single precision and nothing ahead."""
    card = bench("card")
    for name, value in (("SIDE", 64), ("TILE", 32), ("BATCH", 2), ("CROP", 32)):
        monkeypatch.setattr(card, name, value)
    card.tiles("cpu", [4], 2)
    found = rows(capsys.readouterr().out)
    assert [row[1] for row in found] == ["single", "half"]
    assert all(float(row[3]) > 0 and float(row[5]) == 0 for row in found)
    card.steps("cpu", [4], 1)
    found = rows(capsys.readouterr().out)
    assert len(found) == 4
    assert all(float(row[2]) > 0 for row in found)
    card.plane("cpu", 64, 1)
    found = rows(capsys.readouterr().out)
    assert [row[0] for row in found] == ["single", "half", "auto"]
    assert len({row[2] for row in found}) == 1


def test_half_precision_is_compared_with_single(
    bench: Any, tiny_model: Any, real_image: Any
) -> None:
    half = bench("half_precision")
    x = real_image[None, None, :64, :96].astype("float32").repeat(tiny_model.card.in_channels, 1)
    found = half.compare(tiny_model, x / 255, "cpu")
    assert 0 < found.largest < 0.01
    assert found.objects_half == found.objects
