"""Names for the results of many images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..image_file import fitting, spelled_alike, stem


def output_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for the results of each image, no two alike even where case is ignored.

    It is the name without the ending; where several have the same, the ending, then the
    folders, then a number sets them apart. A name too long for its results is cut, and has a
    mark of the whole one at its end.
    """

    def candidates(path: Path) -> Iterator[str]:
        ending = path.name[len(stem(path)) :].replace(".", "_")
        parents = Path(os.path.abspath(path)).parent.parts[1:]
        for depth in range(4):
            name = "_".join([*(parents[-depth:] if depth else ()), stem(path)])
            yield fitting(name)
            yield fitting(f"{name}{ending}")

    options = [list(candidates(path)) for path in paths]
    counts = [Counter(map(_key, column)) for column in zip(*options, strict=True)]
    names: list[str] = []
    taken: set[str] = set()
    for mine in options:
        alone = (c for c, count in zip(mine, counts, strict=True) if count[_key(c)] == 1)
        name = base = next(alone, mine[-1])
        number = 2
        while _key(name) in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(_key(name))
        names.append(name)
    return names


def _key(name: str) -> str:
    """Return by what a file system may take names for the same."""
    return spelled_alike(name).casefold()
