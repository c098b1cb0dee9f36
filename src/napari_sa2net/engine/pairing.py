"""Which image file belongs to which mask or annotation, by their names."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import one_of_each_set
from .image_file import list_images, spelled_alike, stem

_ENDINGS = re.compile(r"(?<=.)[ _.-]+(annotations?|labels?|masks?|strokes|painting)\Z", re.I)
"""What programs add to an image's name when they save what was painted over it."""


def of_paths(given: Any) -> bool:
    """Tell whether ``given`` is a path or a list of paths, in place of arrays."""
    if isinstance(given, (list, tuple)):
        return bool(given) and isinstance(given[0], (str, Path))
    return isinstance(given, (str, Path))


def by_name(given: Any) -> dict[str, Path]:
    """Return the files that paths, folders and patterns stand for, by name without ending.

    Names are :func:`~napari_sa2net.engine.image_file.spelled_alike`.

    Raises
    ------
    InputError
        If two have the same name.
    """
    named: dict[str, Path] = {}
    paths, _ = one_of_each_set(list_images(given if isinstance(given, list | tuple) else [given]))
    for path in paths:
        name = spelled_alike(stem(path))
        if name in named:
            raise InputError(
                f"{named[name]} and {path} have the same name: use them in separate runs."
            )
        named[name] = path
    return named


def match_annotations(images: Any, annotations: Any) -> tuple[list[tuple[str, Path, Path]], int]:
    """Find the image of each annotation file.

    Parameters
    ----------
    images, annotations
        Paths: files, folders or patterns. Files belong together if their names without the
        ending are equal, where the annotation's may have more behind it, as ``a_labels`` or
        ``a annotation``; one file each always does. Images without an annotation are left out.

    Returns
    -------
    list of tuple
        Name, image and annotation, in the order of the images.
    int
        How many images have no annotation.

    Raises
    ------
    InputError
        If an annotation has no image, or an image is its own annotation.
    """
    pictures, painted = by_name(images), by_name(annotations)
    if len(pictures) == len(painted) == 1:
        found = {next(iter(pictures)): next(iter(painted.values()))}
    else:
        found = {}
        for name, path in painted.items():
            key = name if name in pictures else _ENDINGS.sub("", name)
            if key not in pictures:
                quoted = " (a pattern such as 'images/*.tif' needs quotes)"
                raise InputError(
                    f"There is no image for the annotation {path}: the two need the same name "
                    f"without the ending{quoted if len(painted) == 1 else ''}."
                )
            if key in found:
                raise InputError(f"The image {key} has two annotations: {found[key]} and {path}.")
            found[key] = path
    for name, path in found.items():
        if _same_file(path, pictures[name]):
            raise InputError(
                f"{path} is both image and annotation: give the images first, then the annotations."
            )
    pairs = [(name, path, found[name]) for name, path in pictures.items() if name in found]
    return pairs, len(pictures) - len(pairs)


def _same_file(one: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):  # reading them says what is wrong
        return one.samefile(other)
    return False
