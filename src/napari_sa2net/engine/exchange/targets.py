"""Where an exported model goes, and what is needed to make it."""

from __future__ import annotations

import importlib
from pathlib import Path

from ..errors import InputError
from ..folders import expanded
from ..model_files import Model


def target_of(model: Model, path: str | Path, suffix: str, *, overwrite: bool = False) -> Path:
    """Return the file to write: ``path`` with ``suffix``, or one in the folder ``path``.

    Raises
    ------
    InputError
        If it exists and is not to be overwritten.
    """
    target = expanded(path)
    if target.is_dir():
        target = target / f"{model.card.name}{suffix}"
    if target.suffix != suffix:
        target = target.with_name(target.name + suffix)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already: choose another name, or overwrite it.")
    return target


def require(what: str, extra: str, *modules: str) -> None:
    """Raise an InputError that says what to install if one of ``modules`` is missing."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f'{what} need further packages ({error}): pip install "napari-sa2net[{extra}]"'
        ) from error
