"""Objects and the boundaries between them, as classes to learn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .losses import IGNORE

BACKGROUND, OBJECT, BOUNDARY = 0, 1, 2
"""Classes of a model that separates touching objects."""

TOUCHING = 2
"""Chessboard distance in pixels at which another object thickens the boundary."""


def boundary_classes(instances: Tensor, *, rim: bool = True) -> Tensor:
    """Turn instance numbers into background, object and boundary classes.

    The boundary is the outermost pixel ring *inside* each object, and every object pixel
    within :data:`TOUCHING` pixels of another object. Object and boundary together are therefore
    exactly the mask, and objects that touch are apart once the boundary is taken away.

    Parameters
    ----------
    instances
        (B, H, W) whole numbers as floats, 0 background, :data:`IGNORE` unknown.
    rim
        Whether the outermost ring is boundary. Strokes do not show where objects end: of them
        only what touches another object is.

    Returns
    -------
    Tensor
        (B, H, W) int64 class numbers: :data:`BACKGROUND`, :data:`OBJECT`, :data:`BOUNDARY`;
        :data:`IGNORE` stays, and where an object meets it is no boundary.
    """
    x = instances[:, None]
    inside = x > 0
    unknown = x < 0
    ceiling = x.max().clamp(min=0) + 1
    edge = torch.zeros_like(inside)
    if rim:
        # An object pixel whose 3×3 neighbourhood holds any other value lies on the rim.
        highest = F.max_pool2d(x, 3, 1, 1)
        lowest = -F.max_pool2d(torch.where(unknown, -ceiling, -x), 3, 1, 1)
        edge = (highest != x) | (lowest != x)
    size = 2 * TOUCHING + 1
    # The lowest object number nearby, background not counted.
    nearby = torch.where(inside, ceiling - x, torch.zeros_like(x))
    lowest_object = ceiling - F.max_pool2d(nearby, size, 1, TOUCHING)
    contact = (F.max_pool2d(x, size, 1, TOUCHING) != x) | (lowest_object != x)
    classes = inside.long()
    classes[inside & (edge | contact)] = BOUNDARY
    classes[unknown] = IGNORE
    return classes[:, 0]
