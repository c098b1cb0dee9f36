"""Taking a model file into the user's models."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .cards import ModelCard
from .errors import WeightsError
from .exchange.package import extract_model, is_package
from .fields import checked
from .folders import CACHE_VARIABLE, cache_folder, expanded
from .model_files import SUFFIX, Model, open_regular, read_model, write_atomically
from .official import import_checkpoint
from .own_models import add_model
from .registry import ORIGIN, ModelEntry, available_models, file_sha256, find_model, read_registry


@checked
def import_model(path: str | Path, name: str | None = None) -> ModelEntry:
    """Take a model file in, so that it is in the list from now on.

    Parameters
    ----------
    path
        A released file that was downloaded by hand, a file that :func:`save_model` wrote, a
        BioImage Model Zoo package that this project exported, or a checkpoint of the authors'
        program.
    name
        Name in the list. By default the file's own, with a number if that is taken; a file
        that was taken in before is then not taken in again.

    Returns
    -------
    ModelEntry
        The model's entry.

    Raises
    ------
    WeightsError
        If the file is not a model or cannot be copied, or if ``name`` is taken. Nothing is
        left behind then.
    """
    path = expanded(path)
    try:
        digest = file_sha256(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"The file {path} cannot be read: {error}.") from error
    if name is None:
        known = _released(path, digest) or _imported_before(available_models(), digest)
        if known is not None:
            return known
    model = read_any(path)
    card = replace(model.card, extra={**model.card.extra, ORIGIN: digest})
    return add_model(Model(model.network, card), name)


def read_any(path: Path, device: str = "cpu") -> Model:
    """Read a model file, a package that this project exported, or an authors' checkpoint."""
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except (OSError, ValueError) as error:
        raise WeightsError(f"The model file {path} cannot be read: {error}.") from error
    # A safetensors file begins with a length of eight bytes and JSON.
    if path.suffix == SUFFIX or start[8:] == b"{":
        return read_model(path, device)
    if is_package(path):
        # On Windows a file that was just read may not be removable yet.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return read_model(extract_model(path, Path(folder)), device)
    return import_checkpoint(path)


def _released(path: Path, digest: str) -> ModelEntry | None:
    """Put a released file where a download would have put it."""
    card = next((c for c in read_registry() if c.sha256.lower() == digest), None)
    if card is None:
        return None
    entry = find_model(card.name)
    if entry.path is None:
        _copy(path, card)
        entry = find_model(card.name)
    return entry


def _copy(path: Path, card: ModelCard) -> None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"The file {path} cannot be read: {error}.") from error
    write_atomically(cache_folder() / card.file, data, CACHE_VARIABLE)


def _imported_before(entries: list[ModelEntry], digest: str) -> ModelEntry | None:
    for entry in entries:
        if entry.own and entry.path is not None:
            origin = entry.card.extra.get(ORIGIN)
            with suppress(OSError):  # renamed or deleted a moment ago
                if digest in (origin, file_sha256(entry.path)):
                    return entry
    return None
