"""What must be installed for a format."""

from __future__ import annotations

import importlib

from ..errors import InputError


def require(what: str, extra: str, *modules: str) -> None:
    """Raise an InputError that says what to install if one of ``modules`` is missing."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f'{what} need further packages ({error}): pip install "napari-sa2net[{extra}]"'
        ) from error
