"""Models: their cards, the list of them, their files. The one module to import all this from."""

from __future__ import annotations

from pathlib import Path

from .cards import ClassInfo, Figure, ModelCard
from .model_files import Model, read_card, read_model, save_model
from .registry import (
    ModelEntry,
    available_models,
    cache_folder,
    find_model,
    models_folder,
    toml_entry,
)

__all__ = [
    "ClassInfo",
    "Figure",
    "Model",
    "ModelCard",
    "ModelEntry",
    "available_models",
    "cache_folder",
    "find_model",
    "load_model",
    "models_folder",
    "read_card",
    "save_model",
    "toml_entry",
]


def load_model(model: str | Path | Model, device: str = "cpu") -> Model:
    """Return a model by name, by path, or as it is, on ``device`` and in evaluation mode."""
    if isinstance(model, Model):
        model.network.to(device).eval()
        return model
    if isinstance(model, Path):
        return read_model(model, device)
    entry = find_model(model)
    assert entry.path is not None
    loaded = read_model(entry.path, device)
    return Model(loaded.network, entry.card)
