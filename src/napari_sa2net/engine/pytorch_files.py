"""Files of ``torch.save``, read as nothing but data, and never as more than they hold.

``weights_only`` keeps code from running, but lets a file of a few hundred bytes ask for any
amount of memory: by what it calls, by tensors that repeat one number, by compression.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MOST_PICKLED = 1 << 22
"""Bytes of what describes the tensors, about 30,000 of them."""

MOST_LISTED = 1 << 22
"""Bytes of a zip's list of contents."""

_CALLS = frozenset({"collections OrderedDict", "torch._utils _rebuild_tensor_v2",
                    "torch._utils _rebuild_tensor", "torch._utils _rebuild_parameter",
                    "torch Size", "torch device"})  # fmt: skip
"""What a state dictionary is made by, as pickle writes it; besides storages and types."""

_LEGACY_PICKLES = 5
"""Of the format before PyTorch 1.6: magic number, version, system, content, names."""


class NotDataError(ValueError):
    """A file holds objects of a program beside its tensors."""


def load_data(path: Path) -> Any:
    """Return what is in a PyTorch file.

    Raises
    ------
    NotDataError
        If it holds objects of a program. Nothing of it was run then.
    ValueError
        If it is no such file, damaged, or its tensors take more memory than the file is long.
    OSError
        If it cannot be read.
    """
    import torch

    with path.open("rb") as file:
        start = file.read(4)
        if start == b"PK\x03\x04":
            _check_archive(path)
        elif start[:1] == b"\x80":
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _check_calls(file)
        else:
            raise ValueError("it is no PyTorch file")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # what damaged data raises is not limited to a few kinds
        raise ValueError(str(error)) from error
    if sum(t.numel() * t.element_size() for t in _tensors(content)) > path.stat().st_size:
        raise ValueError("its tensors take more memory than the file is long")
    return content


def check_zip(path: Path) -> None:
    """Raise a ValueError if a zip's list of contents alone would take much memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("it is no whole zip file")
    sizes = [end[at + 12 : at + 16]]
    at = end.rfind(b"PK\x06\x06", 0, at)  # the same in a larger format, which counts then
    sizes += [end[at + 40 : at + 48]] if at >= 0 else []
    if max(int.from_bytes(size, "little") for size in sizes) > MOST_LISTED:
        raise ValueError("it has too many parts")


def _check_archive(path: Path) -> None:
    check_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
            if not stored or sum(part.file_size for part in parts) > path.stat().st_size:
                raise ValueError("it is compressed, which no PyTorch file is")
            for part in parts:
                if part.filename.endswith(".pkl"):
                    with archive.open(part) as file:
                        _check_calls(file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(str(error)) from error


def _check_calls(file: IO[bytes]) -> None:
    """Read one pickle without making anything of it."""
    start = file.tell()
    for code, argument, at in pickletools.genops(file):
        if at is not None and at - start > MOST_PICKLED:
            raise ValueError("it describes too many things")
        if code.name == "STACK_GLOBAL" or (code.name == "GLOBAL" and not _is_known(str(argument))):
            raise NotDataError(f"it calls {argument}")


def _is_known(call: str) -> bool:
    import torch

    module, _, name = call.partition(" ")
    is_type = name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)
    return call in _CALLS or (module == "torch" and is_type)


def _tensors(content: Any) -> Iterator[Any]:
    """Yield the tensors in dictionaries and lists within each other."""
    import torch

    waiting, seen = [content], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, torch.Tensor):
            yield node
        elif isinstance(node, (dict, list, tuple)) and id(node) not in seen:
            seen.add(id(node))
            waiting += node.values() if isinstance(node, dict) else node
