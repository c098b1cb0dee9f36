"""The user's own models: adding, renaming, deleting; and writing any model to a file."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from .disk import move_to_new, patiently
from .errors import InputError, WeightsError
from .fields import checked
from .folders import MODELS_VARIABLE, models_folder, target_of
from .model_files import (
    METADATA_KEY,
    SUFFIX,
    Model,
    disk_problem,
    model_bytes,
    read_card,
    write_atomically,
)
from .registry import ModelEntry, available_models, find_model, free_name, own_files, own_status

_TRIES = 100
"""How often a name is looked for that no other program takes first."""


@checked
def add_model(model: Model, name: str | None = None) -> ModelEntry:
    """Put a model into the user's models, so that it is in the list from now on.

    Parameters
    ----------
    name
        Name in the list. By default the card's, with a number if that is taken.

    Returns
    -------
    ModelEntry
        The model's entry; its name can differ from the one wanted, see :func:`new_name`.

    Raises
    ------
    WeightsError
        If ``name`` is taken, the card does not fit the network, or the file cannot be written.
        Nothing is left behind then.
    """
    for _ in range(_TRIES):
        free = free_name(model.card.name, taken_names()) if name is None else new_name(name)
        target = models_folder() / f"{free}{SUFFIX}"
        card = replace(model.card, name=free)
        try:
            data = model_bytes(Model(model.network, card))
            write_atomically(target, data, MODELS_VARIABLE, existing=False)
        except FileExistsError:  # another program was quicker: look at the names once more
            continue
        return _entry(target, free)
    raise _taken(free)


@checked
def rename_model(name: str, new: str) -> ModelEntry:
    """Give one of the user's own models another name.

    Only the file's name changes: its bytes, and with them the hash by which other models know
    it as their parent, stay as they are.

    Raises
    ------
    WeightsError
        If there is no such model, it is not the user's own, ``new`` is taken or no name, or
        the file cannot be renamed.
    """
    path = _own(name, "renamed")
    free = new_name(new, but=name)
    target = path.with_name(f"{free}{SUFFIX}")
    try:
        if free.lower() == name.lower():  # on some disks it is the same file's name
            patiently(os.rename, path, target)
        else:
            move_to_new(path, target)
    except FileExistsError as error:
        raise _taken(free) from error
    except FileNotFoundError as error:
        raise WeightsError(
            f"There is no model {name!r} any more: another program renamed or deleted it."
        ) from error
    except OSError as error:
        raise WeightsError(disk_problem(error, path.parent, 0, MODELS_VARIABLE)) from error
    return _entry(target, free)


@checked
def delete_model(name: str) -> None:
    """Delete one of the user's own models for good.

    Raises
    ------
    WeightsError
        If there is no such model, it is not the user's own, or the file cannot be deleted.
    """
    path = _own(name, "deleted")
    try:
        patiently(path.unlink)
    except OSError as error:
        raise WeightsError(disk_problem(error, path.parent, 0, MODELS_VARIABLE)) from error


@checked
def export_model(name: str, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model to a file that can be imported elsewhere.

    Parameters
    ----------
    path
        The file, to which ``.safetensors`` is added if it has no such ending, or a folder that
        exists, in which the file gets the model's name.
    overwrite
        Replace a file that exists.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    WeightsError
        If there is no such model, it is not here yet, or the file cannot be written.
    InputError
        If the file exists and is not to be replaced.
    """
    entry = find_model(name)
    if entry.path is None:
        raise WeightsError(f"The model {name!r} is not here yet: download it first.")
    target = target_of(entry.name, path, SUFFIX, overwrite=overwrite)
    try:
        write_atomically(target, _with_name(entry.path, entry.name), existing=overwrite)
    except FileExistsError as error:
        raise InputError(
            f"{target} exists already: choose another name, or overwrite it."
        ) from error
    return target


def new_name(wanted: str, but: str = "") -> str:
    """Return ``wanted`` as a name that a file can have too: ``my cells`` is ``my-cells``.

    Parameters
    ----------
    but
        A name that may be taken: that of the model itself.

    Raises
    ------
    WeightsError
        If a model of that name exists, or nothing of ``wanted`` can be a file's name.
    """
    plain = free_name(wanted, set())
    if not any(letter.isalnum() for letter in wanted):
        raise WeightsError(f"{wanted!r} is no name for a model: choose another name.")
    if plain.lower() in taken_names() - {but.lower()}:
        raise _taken(plain)
    return plain


def _taken(name: str) -> WeightsError:
    return WeightsError(f"There is a model called {name!r} already: choose another name.")


def taken_names() -> set[str]:
    """Return the names that a new model cannot have, in small letters."""
    taken = {entry.name.lower() for entry in available_models()}
    # A file that is no usable model has no entry, but must not be overwritten either.
    return taken | {file.stem.lower() for file in own_files()}


def _entry(path: Path, name: str) -> ModelEntry:
    card = replace(read_card(path), name=name)
    return ModelEntry(card, own_status(card), path)


def _own(name: str, what: str) -> Path:
    entry = find_model(name)
    if not entry.own or entry.path is None:
        raise WeightsError(
            f"The model {name!r} is a released one: only models that you trained or imported can "
            f"be {what}."
        )
    return entry.path


def _with_name(path: Path, name: str) -> bytes:
    """Return a model file whose card has the model's name, also if the file was renamed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"The model file {path} cannot be read: {error}.") from error
    if read_card(path).name == name:
        return data
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    content = json.loads(header["__metadata__"][METADATA_KEY])
    content["card"]["name"] = name
    header["__metadata__"][METADATA_KEY] = json.dumps(content, sort_keys=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
