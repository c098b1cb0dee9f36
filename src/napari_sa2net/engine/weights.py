"""Models: their cards, the list of them, their files. The one module to import all this from.

Making an ensemble of them is in :mod:`.joining`.

Importing it does not import torch, so that models can be listed quickly.
"""

from __future__ import annotations

from pathlib import Path

from .cards import ClassInfo, Figure, Member, ModelCard, check_trainable
from .download import fetch
from .errors import WeightsError
from .events import run
from .fields import checked
from .folders import cache_folder, expanded, is_file, models_folder
from .importing import import_model, read_any
from .model_files import Model, check_output, move, read_card, save_model
from .own_models import add_model, delete_model, export_model, rename_model
from .registry import (
    ModelEntry,
    available_models,
    find_model,
    toml_entry,
)

__all__ = [
    "ClassInfo",
    "Figure",
    "Member",
    "Model",
    "ModelCard",
    "ModelEntry",
    "add_model",
    "available_models",
    "cache_folder",
    "check_output",
    "check_trainable",
    "delete_model",
    "export_model",
    "fetch",
    "find_model",
    "import_model",
    "load_model",
    "models_folder",
    "read_card",
    "rename_model",
    "save_model",
    "toml_entry",
]


@checked
def load_model(model: str | Path | Model, device: str = "cpu") -> Model:
    """Return a model in evaluation mode on ``device``.

    Parameters
    ----------
    model
        A name from :func:`available_models`, the path of a model file or of an authors'
        checkpoint, or a :class:`Model`, whose network is moved to ``device``. A name counts
        before a file of the same name. A model that is not here yet is downloaded, without
        events: run :func:`fetch` before where a person waits.
    device
        A device as PyTorch names it.

    Raises
    ------
    WeightsError
        If there is no such model, or its file cannot be had or is damaged.
    DeviceError
        If there is no such device, or it has too little memory.
    """
    if isinstance(model, Model):
        move(model.network, device).eval()
        return model
    if isinstance(model, Path):
        return read_any(expanded(model), device)
    try:
        entry = find_model(model)
    except WeightsError:
        path = expanded(model)
        if is_file(path):
            return read_any(path, device)
        raise
    loaded = read_any(run(fetch(entry.name)), device)
    # Once more, because the file decides over what was known while it was remote.
    return Model(loaded.network, find_model(entry.name).card)
