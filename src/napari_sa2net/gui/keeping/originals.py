"""The bytes of what a correction was before it was corrected."""

from __future__ import annotations

import json
import logging

from ..annotating.originals import Key, Original

log = logging.getLogger(__name__)


def pack(original: Original) -> bytes | None:
    """Return ``original`` as bytes: a line of JSON that lists the blocks, then the blocks.

    None as long as it is being compressed.
    """
    blocks = original.packed()
    if blocks is None:
        return None
    table = [
        [list(index), y, x, checksum, len(pixels)]
        for (index, y, x), (checksum, pixels) in blocks.items()
    ]
    head = {
        "shape": list(original.shape),
        "dtype": original.dtype,
        "sides": list(original.sides),
        "blocks": table,
    }
    parts = [pixels for _, pixels in blocks.values()]
    return b"".join([json.dumps(head).encode(), b"\n", *parts])


def unpack(content: bytes) -> Original | None:
    """Return what :func:`pack` made bytes of, None if that is damaged or empty."""
    try:
        line, _, rest = content.partition(b"\n")
        head = json.loads(line)
        blocks: dict[Key, tuple[int, bytes]] = {}
        start = 0
        for index, y, x, checksum, length in head["blocks"]:
            pixels = rest[start : start + length]
            if len(pixels) != length:
                raise ValueError("it ends too early")
            blocks[tuple(index), y, x] = (checksum, pixels)
            start += length
        y, x = head["sides"]
        return Original.from_packed(tuple(head["shape"]), str(head["dtype"]), (y, x), blocks)
    except (ValueError, KeyError, TypeError) as error:
        if content:
            log.warning("What a correction was before cannot be read: %s", error)
        return None
