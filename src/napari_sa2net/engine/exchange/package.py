"""Reading a BioImage Model Zoo package that this project exported; needs no further packages."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..errors import WeightsError
from ..pytorch_files import check_zip

MODEL_FILE = "model.safetensors"
"""Name of the model file in a package."""

_MOST_TIMES = 4
"""Weights hardly get smaller when they are packed: by more they are something else."""

_SMALL = 1 << 24
"""Bytes up to which a model file may be packed to anything."""

_CHUNK = 1 << 20


def is_package(path: Path) -> bool:
    """Return whether a file is a BioImage Model Zoo package."""
    try:
        check_zip(path)
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except Exception:  # what damaged data raises is not limited to a few kinds
        return False
    return bool(names & {"rdf.yaml", "bioimageio.yaml"})


def extract_model(path: Path, folder: Path) -> Path:
    """Extract the model file of a package that this project exported into ``folder``.

    Raises
    ------
    WeightsError
        If there is none: the package holds another network. If it is damaged, or would be much
        larger than the package.
    """
    target = folder / MODEL_FILE
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(MODEL_FILE).file_size
            if size > max(_SMALL, _MOST_TIMES * path.stat().st_size):
                raise ValueError(f"{MODEL_FILE} would be {size / 1e6:.0f} MB, unpacked")
            with archive.open(MODEL_FILE) as packed, target.open("wb") as file:
                while chunk := packed.read(_CHUNK):
                    file.write(chunk)
    except KeyError:
        raise WeightsError(
            f"{path} is a BioImage Model Zoo package of another program: only those that "
            "'sa2net export' wrote can be imported."
        ) from None
    except Exception as error:  # encrypted, packed in a way not known here, cut off, …
        raise WeightsError(f"The package {path} is damaged ({error}): get it again.") from error
    return target
