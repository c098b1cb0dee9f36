"""Which image a result is of: by its content, as a path and a time do not tell."""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..image_file import TIFF_ENDINGS, ending_of

WHOLE = 2**28
"""An image of at most this many bytes is hashed in whole, of others pieces all over it."""
PIECE, PIECES = 2**18, 256

_DESCRIPTIONS = (".json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
"""How the files end that tell what the others of a zarr folder mean."""

_PART = re.compile(r'FileName="([^"]+)"')
"""A file of a set, as OME-XML names it."""


@dataclass(frozen=True)
class Origin:
    """The image of a result, as its files were when they were read."""

    path: str
    size: int
    """Bytes of all files."""
    modified: int
    """When the image's own file was last written to, in ns."""
    changed: int
    """When the system last noted a change of it, in ns: nobody can set that back."""
    digest: str
    """Of names, sizes and contents; of more than :data:`WHOLE` bytes, samples of them."""

    @classmethod
    def of(cls, path: Path, earlier: Origin | None = None) -> Origin:
        """Look at an image; what is surely as it was ``earlier`` is not read again.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        files = _files(path)
        size, state = sum(size for _, _, size in files), path.stat()
        found = cls(os.path.abspath(path), size, state.st_mtime_ns, state.st_ctime_ns, "")
        alone = len(files) == 1 and not path.is_dir()  # else its own times tell little
        if alone and earlier is not None and found == replace(earlier, digest=""):
            return earlier
        return replace(found, digest=_digest(files, size))

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Origin | None:
        """Return what ``asdict`` gave; None where an earlier version noted nothing."""
        if content is None:
            return None
        size, modified, changed = (int(content[n]) for n in ("size", "modified", "changed"))
        return cls(str(content["path"]), size, modified, changed, str(content["digest"]))

    def is_at(self, path: str | Path) -> bool:
        """Tell whether it was the file or folder at a path, whatever that holds now."""
        return os.path.realpath(self.path) == os.path.realpath(path)


def _files(path: Path) -> list[tuple[str, Path, int]]:
    """Return the files of an image: a name, the path, and the size of each."""
    if path.is_dir():
        found = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
        inside = sorted((file.relative_to(path).as_posix(), file) for file in found)
        return [(name, file, file.stat().st_size) for name, file in inside if file.is_file()]
    parts = [(part.name, part) for part in _set_of(path) if not part.samefile(path)]
    return [(name, file, file.stat().st_size) for name, file in [("", path), *sorted(parts)]]


def _set_of(path: Path) -> list[Path]:
    """Return the files there are of an OME-TIFF set; none of another image."""
    if ending_of(path).lower() not in TIFF_ENDINGS:
        return []
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.pages.first.description if tiff.is_ome else ""
    except Exception:  # it is no TIFF file: reading it says so
        return []
    names = {html.unescape(name) for name in _PART.findall(text)}
    return [path.parent / name for name in names if os.path.isfile(path.parent / name)]


def _digest(files: list[tuple[str, Path, int]], total: int) -> str:
    digest = hashlib.sha256()
    every = max(1, total // PIECES) if total > WHOLE else 0
    begin = 0
    """Of the file among the bytes of all."""
    for name, path, size in files:
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        if not every or name.endswith(_DESCRIPTIONS):
            starts, length = range(0, size, 2**22), 2**22
        else:
            starts, length = range(-begin % every, size, every), PIECE
        if starts:
            with path.open("rb") as file:
                for start in starts:
                    file.seek(start)
                    digest.update(file.read(length))
        begin += size
    return digest.hexdigest()
