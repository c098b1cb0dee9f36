"""Small real images for File ▸ Open Sample, one of each kind of microscopy.

Importing this needs neither napari nor Qt. The nuclei images were held out of the bundled
model's training. Origin and licences: ``samples/ATTRIBUTION.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.errors import InputError

LayerData = tuple[NDArray[np.uint8], dict[str, Any], str]


@dataclass(frozen=True)
class Sample:
    """A bundled image."""

    title: str
    """As in napari's menu."""
    file: str
    licence: str
    source: str
    """Where it comes from, in a line; the rest is in ``ATTRIBUTION.md``."""
    pixel_size: float | None = None
    """Micrometres, None if nobody knows."""


_DSB = "2018 Data Science Bowl (BBBC038v1), doi:10.1038/s41592-019-0612-7"

SAMPLES: dict[str, Sample] = {
    "fluorescence": Sample("Nuclei, fluorescence", "fluorescence.png", "CC0-1.0", _DSB),
    "histology": Sample("Nuclei, stained histology", "histology.png", "CC0-1.0", _DSB),
    "brightfield": Sample("Nuclei, brightfield", "brightfield.png", "CC0-1.0", _DSB),
    "phase_contrast": Sample(
        "Cells, phase contrast",
        "phase_contrast.png",
        "MIT",
        "Usiigaci, T98G cells, doi:10.1016/j.softx.2019.02.007",
    ),
    "electron_microscopy": Sample(
        "Tissue, electron microscopy",
        "electron_microscopy.png",
        "MIT",
        "AxonDeepSeg, rat spinal cord, doi:10.1038/s41598-018-22181-4",
        pixel_size=0.093,
    ),
}
"""By key, as the manifest names them."""


def sample_path(key: str) -> Path:
    """Return the file of a sample.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    if key not in SAMPLES:
        raise InputError(f"There is no sample {key!r}: choose from {', '.join(SAMPLES)}.")
    return Path(str(resources.files(__package__) / "samples" / SAMPLES[key].file))


def load_sample(key: str) -> NDArray[np.uint8]:
    """Return a sample's pixels: (H, W) grey or (H, W, 3) RGB, uint8.

    Raises
    ------
    InputError
        If there is no such sample, or the installation lacks its file.
    """
    from skimage.io import imread

    path = sample_path(key)
    try:
        pixels: NDArray[np.uint8] = np.ascontiguousarray(imread(path))
    except OSError as error:
        raise InputError(
            f"The sample image {path} cannot be read ({error}): install napari-sa2net again."
        ) from error
    return pixels


def fluorescence() -> list[LayerData]:
    """Return the fluorescence sample as napari layer data."""
    return _layer("fluorescence")


def histology() -> list[LayerData]:
    """Return the histology sample as napari layer data."""
    return _layer("histology")


def brightfield() -> list[LayerData]:
    """Return the brightfield sample as napari layer data."""
    return _layer("brightfield")


def phase_contrast() -> list[LayerData]:
    """Return the phase-contrast sample as napari layer data."""
    return _layer("phase_contrast")


def electron_microscopy() -> list[LayerData]:
    """Return the electron microscopy sample as napari layer data."""
    return _layer("electron_microscopy")


def _layer(key: str) -> list[LayerData]:
    """Return a sample as napari layer data, with what is known of it."""
    sample, pixels = SAMPLES[key], load_sample(key)
    kwargs: dict[str, Any] = {
        "name": sample.title,
        "axis_labels": ("y", "x"),
        "metadata": {"licence": sample.licence, "source": sample.source},
    }
    if pixels.ndim == 3:
        kwargs["rgb"] = True
    else:
        # A few bright specks would leave the nuclei of a fluorescence image black.
        low, high = np.percentile(pixels, (0.1, 99.5))
        kwargs["contrast_limits"] = (float(low), float(max(high, low + 1)))
    if sample.pixel_size is not None:
        kwargs["scale"] = (sample.pixel_size, sample.pixel_size)
        kwargs["units"] = ("micrometer", "micrometer")
    return [(pixels, kwargs, "image")]
