"""Reading a BioImage Model Zoo package that this project exported; needs no further packages."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from ..errors import WeightsError

MODEL_FILE = "model.safetensors"
"""Name of the model file in a package."""


def is_package(path: Path) -> bool:
    """Return whether a file is a BioImage Model Zoo package."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return bool(names & {"rdf.yaml", "bioimageio.yaml"})


def extract_model(path: Path, folder: Path) -> Path:
    """Extract the model file of a package that this project exported into ``folder``.

    Raises
    ------
    WeightsError
        If there is none: the package holds another network.
    """
    with zipfile.ZipFile(path) as archive:
        try:
            data = archive.read(MODEL_FILE)
        except (zipfile.BadZipFile, zlib.error, OSError) as error:
            raise WeightsError(f"The package {path} is damaged ({error}): get it again.") from error
        except KeyError:
            raise WeightsError(
                f"{path} is a BioImage Model Zoo package of another program: only those that "
                "'sa2net export' wrote can be imported."
            ) from None
    target = folder / MODEL_FILE
    target.write_bytes(data)
    return target
