"""Where things are kept from one start to the next, and where a file that is asked for goes.

Nothing here makes a folder; whoever writes into one does.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import InputError, WeightsError
from .image_file import fitting

HOME_VARIABLE = "NAPARI_SA2NET_HOME"
CACHE_VARIABLE = "NAPARI_SA2NET_CACHE"
MODELS_VARIABLE = "NAPARI_SA2NET_MODELS"


def expanded(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder.

    Raises
    ------
    WeightsError
        If there is no such folder (pathlib's own error would be lost on its way to a window).
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise WeightsError(
            f"The home folder in {str(path)!r} is not known here: write the whole path."
        ) from error


def _chosen(variable: str) -> Path | None:
    chosen = os.environ.get(variable, "").strip()
    return expanded(chosen) if chosen else None


def cache_folder() -> Path:
    """Return the folder of downloaded models.

    ``NAPARI_SA2NET_CACHE``, or else pooch's cache folder of the operating system.
    """
    chosen = _chosen(CACHE_VARIABLE)
    if chosen is not None:
        return chosen
    import pooch

    return Path(pooch.os_cache("napari-sa2net"))


def data_folder() -> Path:
    """Return the folder of what a person made, which cannot be downloaded again.

    ``NAPARI_SA2NET_HOME``, or else the user's data folder of the operating system.
    """
    chosen = _chosen(HOME_VARIABLE)
    if chosen is not None:
        return chosen
    import platformdirs

    return platformdirs.user_data_path("napari-sa2net", appauthor=False)


def models_folder() -> Path:
    """Return the folder of the user's own models.

    ``NAPARI_SA2NET_MODELS``, or else ``models`` in :func:`data_folder`.
    """
    return _chosen(MODELS_VARIABLE) or data_folder() / "models"


def trainings_folder() -> Path:
    """Return the folder in which each training keeps its state, in a folder of its own."""
    return data_folder() / "trainings"


def paintings_folder() -> Path:
    """Return the folder in which paintings are kept as they are made."""
    return data_folder() / "paintings"


def is_file(path: Path) -> bool:
    """Tell whether there is a file, also where a path is none: too long, or a loop of links."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder, also where a path is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def file_name(name: str) -> str:
    """Return a name without what a file's name cannot have on some system, such as ``:``.

    It is not too long for one either.
    """
    return fitting(re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "-", name).strip(" .")) or "model"


def target_of(name: str, path: str | Path, suffix: str, *, overwrite: bool = False) -> Path:
    """Return the file to write: ``path`` with ``suffix``, or ``name`` in the folder ``path``.

    Raises
    ------
    InputError
        If it exists and is not to be overwritten.
    """
    target = expanded(path)
    if is_folder(target):
        target = target / f"{file_name(name)}{suffix}"
    if target.suffix.lower() != suffix:
        target = target.with_name(target.name + suffix)
    if os.path.lexists(target) and not overwrite:
        raise InputError(f"{target} exists already: choose another name, or overwrite it.")
    return target
