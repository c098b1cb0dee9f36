"""Names for the results of many images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..image_file import stem


def output_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for the results of each image, no two alike even where case is ignored.

    It is the name without the ending; where several have the same, the ending, then the
    folder, then a number sets them apart.
    """

    def candidates(path: Path) -> Iterator[str]:
        ending = path.name[len(stem(path)) :].replace(".", "_")
        folder = path.resolve().parent.name
        yield stem(path)
        yield f"{stem(path)}{ending}"
        yield f"{folder}_{stem(path)}"
        yield f"{folder}_{stem(path)}{ending}"

    options = [list(candidates(path)) for path in paths]
    names: list[str] = []
    taken: set[str] = set()
    for mine in options:
        alone = (
            c
            for i, c in enumerate(mine)
            if sum(c.lower() == other[i].lower() for other in options) == 1
        )
        name = base = next(alone, mine[-1])
        number = 2
        while name.lower() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
