"""Images that other processes open for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_image
from ..image_file import ImageFile

LARGEST = 2**24
"""Most bytes of an image that is sent along with the work."""


class FileArray:
    """The pixels of an image file. Sent elsewhere, it is its path, and opens the file there.

    Parameters
    ----------
    image
        As it was read here.
    """

    def __init__(self, image: ImageFile) -> None:
        self.path = image.path.absolute()
        self.asked = dict(image.asked)
        self.shape = tuple(int(side) for side in image.array.shape)
        self.dtype = np.dtype(image.array.dtype)
        self.array = image.array

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getstate__(self) -> dict[str, Any]:
        names = ("path", "asked", "shape", "dtype")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def array(self) -> Any:
        """Its pixels.

        Raises
        ------
        InputError
            If the file cannot be read, or is another one here.
        """
        found = read_image(self.path, **self.asked).array
        if tuple(found.shape) != self.shape or np.dtype(found.dtype) != self.dtype:
            raise InputError(
                f"{self.path} is another image there: {tuple(found.shape)} of {found.dtype} "
                f"instead of {self.shape} of {self.dtype}."
            )
        return found

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]


def check_sendable(arrays: Sequence[Any]) -> None:
    """See that an image's arrays can be sent to other processes without their pixels.

    Raises
    ------
    InputError
        If they cannot.
    """
    import cloudpickle

    size = 0
    for array in arrays:
        if isinstance(array, np.ndarray):  # a memory map would be sent as what it shows
            size += array.nbytes
            continue
        try:
            size += len(cloudpickle.dumps(array))
        except Exception as error:  # whatever an array of some other package raises
            raise InputError(
                f"The image cannot be sent to the workers ({type(error).__name__}: {error}): give "
                "the path of its file, on a disk that all of them see."
            ) from error
    if size > LARGEST:
        raise InputError(
            f"The image is in this program's memory, and {size / 1e6:.0f} MB are not sent to the "
            "workers: save it, best as OME-Zarr, on a disk that all of them see, and give its path."
        )
