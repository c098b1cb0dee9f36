"""Model files: safetensors with the card inside, written at once or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cards import FORMAT_VERSION, ModelCard
from .disk import replacing
from .errors import DeviceError, InputError, WeightsError
from .fields import shown

if TYPE_CHECKING:
    from torch import Tensor

    from .ensemble import Network

SUFFIX = ".safetensors"
METADATA_KEY = "napari-sa2net"
"""The one metadata entry of a model file: JSON with ``version`` and ``card``."""

_LARGEST_HEADER = 10_000_000
"""Bytes; that of an ensemble of ten takes 0.5 MB."""

_TYPES = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"})
"""Of tensors, as safetensors names them, that PyTorch computes with everywhere."""


@dataclass(frozen=True)
class Model:
    """A network, or an ensemble of several, together with its card."""

    network: Network
    card: ModelCard


def save_model(model: Model, path: str | Path) -> Path:
    """Write a model as safetensors with its card inside.

    The file appears whole or not at all; an existing one is replaced only by a whole one. The
    same model always gives the same bytes.

    Parameters
    ----------
    path
        Where to write; ``.safetensors`` is added if the name has no such ending.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    WeightsError
        If the card does not fit the network, or the file cannot be written.
    """
    path = _with_suffix(path)
    write_atomically(path, model_bytes(model))
    return path


def check_output(path: str | Path) -> None:
    """See that :func:`save_model` would replace nothing but a model of this program.

    Raises
    ------
    InputError
        If there is something else.
    """
    path = _with_suffix(path)
    if not os.path.lexists(path):
        return
    try:
        read_card(path)
    except WeightsError as error:
        raise InputError(
            f"{path} exists and is no model of napari-sa2net, so it is not replaced: give another "
            "name, or remove it yourself."
        ) from error


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)


def model_bytes(model: Model) -> bytes:
    """Return what :func:`save_model` writes."""
    from safetensors.torch import save

    check_card(model)
    state = model.network.state_dict()
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    version = FORMAT_VERSION if model.card.members else 1
    content = {"version": version, "card": model.card.to_dict(provenance=False)}
    metadata = {METADATA_KEY: json.dumps(content, sort_keys=True)}
    data: bytes = save(tensors, metadata=metadata)
    return data


def model_from_bytes(data: bytes, card: ModelCard) -> Model:
    """Return the model of which :func:`model_bytes` gave ``data``, with its card."""
    from safetensors.torch import load

    network = build_network(
        load(data),
        card.in_channels,
        card.num_classes,
        card.base_channels,
        f"The content of the model {card.name}",
        members=len(card.members),
    )
    return Model(network, card)


_NETWORK = (
    "base_channels", "in_channels", "num_classes", "classes", "channels", "normalization",
    "pixel_size", "diameter", "result",
)  # fmt: skip
"""Fields of a card that decide what a network makes of an image."""


def model_digest(model: Model) -> str:
    """Return 64 hexadecimal digits of what decides the results of a model.

    These are its tensors and how it is fed; its name, its figures and where it came from are
    not among it, so a model that was renamed or exported keeps its digest.
    """
    card = model.card.to_dict()
    told = json.dumps({key: card.get(key) for key in _NETWORK}, sort_keys=True)
    digest = hashlib.sha256(told.encode())
    _add_tensors(digest, model.network)
    return digest.hexdigest()


def network_digest(network: Network) -> str:
    """Return 64 hexadecimal digits of a network's tensors alone."""
    digest = hashlib.sha256()
    _add_tensors(digest, network)
    return digest.hexdigest()


def _add_tensors(digest: Any, network: Network) -> None:
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())


def model_sha256(model: Model) -> str:
    """Return the hash of a model's file, or of the file it would give."""
    return model.card.sha256 or hashlib.sha256(model_bytes(model)).hexdigest()


def write_atomically(path: Path, data: bytes, variable: str = "", *, existing: bool = True) -> None:
    """Write ``data`` to a temporary file beside ``path``, then move it there.

    Parameters
    ----------
    variable
        The environment variable that chooses the folder, if there is one: an error names it.
    existing
        Replace a file that exists; otherwise it stays, and FileExistsError is raised.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, existing=existing) as partial:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(0o644)  # a lab shares its models
    except OSError as error:
        if isinstance(error, FileExistsError) and not existing and os.path.lexists(path):
            raise
        raise WeightsError(disk_problem(error, path.parent, len(data), variable)) from error


def disk_problem(error: OSError, folder: Path, size: int, variable: str = "") -> str:
    """Return what is wrong with writing ``size`` bytes into ``folder``, and what to do."""
    elsewhere = f"set {variable} to another folder" if variable else "choose another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: {folder} needs {size / 1e6:.1f} MB. Free some space, or "
            f"{elsewhere}, and try again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{folder} cannot be written to ({error.strerror}). Ask for the permission, or "
            f"{elsewhere}, and try again."
        )
    return f"{folder} cannot be written to: {error}. Check the folder, or {elsewhere}."


def read_card(path: str | Path) -> ModelCard:
    """Read the card in a model file, without its tensors and without torch.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, has no card, or one that does not fit its tensors.
    """
    path = Path(path)
    header, size = _read_header(path)
    metadata = header.get("__metadata__", {})
    if METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path} is a safetensors file, but holds no model card: it was not made by "
            "napari-sa2net and cannot be used as a model."
        )
    try:
        content = json.loads(metadata[METADATA_KEY])
        version, table = content["version"], content["card"]
        if not isinstance(version, int) or not isinstance(table, dict):
            raise TypeError("it is no table")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"The model card in {path} is damaged ({error!r}).") from error
    if version > FORMAT_VERSION:
        raise WeightsError(
            f"{path} was made by a newer version of napari-sa2net: update napari-sa2net to use it."
        )
    card = replace(ModelCard.from_dict(table), file=path.name, bytes=size)
    _check_counts(header, card, path)
    return card


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the JSON header of a safetensors file, and how many bytes the file has."""
    damaged = WeightsError(
        f"{path} is not a whole safetensors file: it is damaged, or something else. Get it again."
    )
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise damaged
            header = json.loads(file.read(length))
    except OSError as error:
        raise WeightsError(f"The model file {path} cannot be read: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise damaged
    return header, size


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, if it is one: a pipe or a device would never end, or never begin.

    Raises
    ------
    OSError
        If it is none, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file, but a folder, a pipe or a device")
    return path.open("rb")


def _check_counts(header: dict[str, Any], card: ModelCard, path: Path) -> None:
    """Compare the numbers in a card with the shapes of the tensors, before anything is built."""
    members = {key.split(".")[1] for key in header if key.startswith("members.")}
    if len(members) != len(card.members):
        raise WeightsError(
            f"{path} is damaged: its card names {len(card.members)} members, and it holds "
            f"{len(members)}. Get it again."
        )
    first = "members.0." if members else ""
    numbers = {
        f"{first}encoder.stem.conv.weight": (card.base_channels, card.in_channels),
        f"{first}heads.0.weight": (card.num_classes,),
    }
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in _TYPES or not isinstance(shape, list):
            raise WeightsError(
                f"{path} holds {shown(key)} as {shown(kind)}, which no SA2-Net is stored as: it "
                "is damaged or belongs to another network. Get it again."
            )
        wanted = numbers.get(key, ())
        if tuple(shape[: len(wanted)]) != wanted:
            raise WeightsError(
                f"{path} is damaged: its card says width {card.base_channels}, input channels "
                f"{card.in_channels} and classes {card.num_classes}, but {key} is of {shape}. "
                "Get it again."
            )


def read_model(path: str | Path, device: str = "cpu") -> Model:
    """Read a model file written by :func:`save_model`.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or its tensors do not fit its card; the message names
        the tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    card = read_card(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"The model file {path} is damaged ({error}). Get it again.") from error
    network = build_network(
        tensors,
        card.in_channels,
        card.num_classes,
        card.base_channels,
        f"The model file {path}",
        members=len(card.members),
    )
    return Model(move(network, device), card)


def move(network: Network, device: str) -> Network:
    """Return the network on ``device``.

    Raises
    ------
    DeviceError
        If there is no such device, or it has too little memory.
    """
    try:
        return network.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's own kinds for this
        raise DeviceError(
            f"The model cannot be put on the device {device!r} ({error}). Choose 'cpu', or see "
            "'sa2net doctor' for the devices there are."
        ) from error


def build_network(
    tensors: dict[str, Tensor],
    in_channels: int,
    num_classes: int,
    base_channels: int,
    where: str,
    *,
    members: int = 0,
) -> Network:
    """Return a network in evaluation mode that holds ``tensors``.

    With ``members`` it is an ensemble of that many.

    Raises
    ------
    WeightsError
        If tensors are missing, unexpected, of the wrong shape or not finite; they are named.
    """
    import torch

    from .ensemble import Ensemble
    from .network import SA2Net

    try:
        with torch.device("meta"):  # no time spent on random weights
            networks = [
                SA2Net(in_channels, num_classes, base_channels) for _ in range(max(1, members))
            ]
            network = Ensemble(networks) if members else networks[0]
    except InputError as error:
        raise WeightsError(f"{where} does not fit: {error}") from error
    wanted = network.state_dict()
    check_tensors(tensors, wanted, where)
    # A copy, because the tensors of a safetensors file may still be the file on disk.
    state = {key: value.to(wanted[key].dtype, copy=True) for key, value in tensors.items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor], where: str) -> None:
    """Raise a WeightsError naming each tensor that is missing, too many or of a wrong shape."""
    problems = []
    missing = [key for key in expected if key not in tensors]
    unexpected = [key for key in tensors if key not in expected]
    wrong = [
        f"{key} is {_shape(tensors[key])} instead of {_shape(value)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    for what, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)):
        if names:
            problems.append(f"{what}: {_listed(names)}")
    if not problems:
        odd = [f"{key} ({value.dtype})" for key, value in tensors.items() if not _is_usual(value)]
        infinite = [
            key for key, value in tensors.items() if not odd and not value.isfinite().all().item()
        ]
        problems += [f"not stored as usual numbers: {_listed(odd)}"] if odd else []
        problems += [f"not finite: {_listed(infinite)}"] if infinite else []
    if problems:
        raise WeightsError(
            f"{where} does not fit SA2-Net ({'; '.join(problems)}). It is damaged or belongs to "
            "another network: get it again, or choose another file."
        )


def _is_usual(tensor: Tensor) -> bool:
    """Tell whether a tensor is dense and of numbers that PyTorch computes with everywhere."""
    import torch

    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
             torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)  # fmt: skip
    return tensor.layout == torch.strided and tensor.dtype in kinds


def check_card(model: Model) -> None:
    """Raise a WeightsError if a model's card does not describe its network."""
    from .ensemble import Ensemble

    network, card = model.network, model.card
    held = len(network.networks) if isinstance(network, Ensemble) else 0
    if held != len(card.members):
        raise WeightsError(
            f"The card of the model {card.name!r} names {len(card.members)} members, but its "
            f"network has {held}: make an ensemble with 'join_models'."
        )
    for name in ("base_channels", "in_channels", "num_classes"):
        if getattr(network, name) != getattr(card, name):
            raise WeightsError(
                f"The card of the model {card.name!r} says {name}={getattr(card, name)}, but its "
                f"network has {getattr(network, name)}: make the card from the network."
            )


def _shape(tensor: Tensor) -> str:
    return "×".join(str(side) for side in tensor.shape) or "a single number"


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (
        ", ".join(n if n.isprintable() and len(n) <= 80 else shown(n) for n in names[:most]) + more
    )
