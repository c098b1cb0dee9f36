"""Every released model: it can be fetched as a user would, is whole, and works."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_sa2net import segment
from napari_sa2net.engine.cards import ModelCard
from napari_sa2net.engine.events import run
from napari_sa2net.engine.registry import find_model, read_registry
from napari_sa2net.engine.training.recipes import read_recipe
from napari_sa2net.engine.weights import fetch, load_model

ROOT = Path(__file__).parents[2]
CARDS = read_registry()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve ``weights/`` as the release page would, to somebody who has downloaded nothing."""
    if not (ROOT / "weights").is_dir():
        pytest.skip("needs the folder weights/ of the repository")
    handler = functools.partial(_Quiet, directory=ROOT / "weights")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "own"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_released_model_is_fetched_and_segments(card: ModelCard) -> None:
    path = run(fetch(card.name))
    assert path.stat().st_size == card.bytes
    model = load_model(card.name)
    rng = np.random.default_rng(0)
    shape = (64, 80) if card.in_channels == 1 else (64, 80, card.in_channels)
    image = rng.integers(0, 255, shape).astype(np.uint8)
    result = segment(image, model, device="cpu", rgb=card.in_channels == 3)
    assert result.labels.shape == (64, 80)
    assert result.probabilities.shape == (len(card.classes), 64, 80)
    assert find_model(card.name).status in ("bundled", "downloaded")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_released_model_has_a_recipe_figures_and_a_page(card: ModelCard) -> None:
    recipe = read_recipe(ROOT / "recipes" / f"{card.name}.toml")
    for name in ("licence", "training_data", "restricted", "classes", "labelling", "diameter"):
        assert getattr(recipe.card, name) == getattr(card, name), name
    assert card.figures
    assert all(figure.command for figure in card.figures)
    if card.restricted:
        assert find_model(card.name).status != "bundled"
    pages = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"## {card.name}" in pages
