"""Whole images brought to one size, as the authors' program does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F


def squeeze(
    planes: NDArray[Any], mask: NDArray[Any], side: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Resize an image and its mask to a square, whatever their proportions.

    Both are interpolated linearly without smoothing, and every pixel of the mask above 0 counts.
    So the mask's pixel is an object's if one of the four around its middle is: thin gaps close.
    Published figures at 224² are of such masks.

    Parameters
    ----------
    planes
        (C, H, W)
    mask
        (H, W), objects above 0.
    side
        Height and width of what is returned.

    Returns
    -------
    tuple of arrays
        Image (C, side, side) and mask (side, side) of 0 and 1.
    """
    image = _resized(np.asarray(planes, np.float32), side)
    return image, (_resized((mask > 0).astype(np.float32)[None], side)[0] > 0).astype(np.int32)


def _resized(planes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    x = torch.from_numpy(np.ascontiguousarray(planes))[None]
    x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    out: NDArray[np.float32] = x[0].numpy()
    return out
