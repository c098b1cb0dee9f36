"""A simulated annotator: strokes like a person's, drawn from the true masks.

A stroke is a curved line of a round brush, three to five pixels wide where there is room and
narrower in thin parts, as a person would choose it. It keeps inside one object, or inside one
class, and half of the first ones follow a border at a little distance. Where it touches another
class, nothing is painted: a person takes care of that. A painting holds 0 where nothing was
painted and the class number + 1 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fields import Field

SHARE = 0.0095
"""Of a field's pixels that are painted at most, all rounds together."""

FIRST = 0.4
"""Of these pixels that the first round takes, if there are others."""

LENGTHS = (20.0, 55.0)
"""Shortest and longest stroke in pixels."""

BRUSH = (3.0, 5.0)
"""Thinnest and widest brush in pixels."""

APART = 8
"""Pixels between the beginning of a stroke and what is painted."""

_TURNS = (0.0, 0.3, -0.3, 0.6, -0.6, 1.0, -1.0)

Painting = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass
class Annotator:
    """Someone who paints on one field and remembers what is painted.

    Parameters
    ----------
    truth
        The field and its true classes.
    rng
        What chance decides.
    rounds
        How many rounds of strokes there will be: they share the pixels that may be painted.
    """

    truth: Field
    rng: np.random.Generator
    rounds: int = 1
    painting: Painting = field(init=False)
    strokes: int = 0

    def __post_init__(self) -> None:
        self.painting = np.zeros(self.truth.classes.shape, np.uint8)

    @property
    def painted(self) -> int:
        """Pixels painted so far."""
        return int(np.count_nonzero(self.painting))

    def first(self, per_class: int) -> None:
        """Draw a few strokes of every class, half of them along borders."""
        numbers = [int(n) for n in np.unique(self.truth.classes)]
        wanted = [number for number in numbers for _ in range(per_class)]
        for place, number in enumerate(wanted):
            region = self._unpainted(self.truth.classes == number)
            if number > 0 and self.truth.objects is not None and region.any():
                inside = np.unique(self.truth.objects[region])
                region &= self.truth.objects == self.rng.choice(inside)
            self._draw(region, number, place % 2 == 1, self._allowance(1, len(wanted) - place))

    def correct(
        self, predicted: NDArray[np.integer], strokes: int, turn: int, view: Mask | None = None
    ) -> None:
        """Draw strokes where a model is wrong: at the largest error of each class in turn.

        A person paints over what was missed and over what is none. The largest errors of all
        are often of one class only, and strokes on nothing else would drive the model there.

        Parameters
        ----------
        predicted
            (H, W) class numbers.
        turn
            The number of this round, from 2 on.
        view
            True where the person looks; everywhere if None.
        """
        wrong = self._unpainted(predicted != self.truth.classes)
        if view is not None:
            wrong &= view
        left: set[int] = set()
        for place in range(strokes):
            missed = {int(n) for n in np.unique(self.truth.classes[wrong])}
            if not missed:
                return
            left = left & missed or missed  # whose turn it still is
            number, blob = self._largest(wrong & np.isin(self.truth.classes, list(left)))
            left = left - {number}
            before = self.painting > 0
            self._draw(
                self._around(blob, number), number, False, self._allowance(turn, strokes - place)
            )
            new = (self.painting > 0) & ~before
            wrong &= ~_grown(new, APART) if new.any() else ~blob

    def look(self, predicted: NDArray[np.integer], view: Mask, turn: int, left: int) -> None:
        """Draw one stroke where the camera was moved: at the largest error seen, if any.

        Where nothing is wrong the commonest class in view gets it, as by a person who was sent
        here and confirms what is seen. ``left`` strokes of this round are still to come.
        """
        before = self.painted
        wrong = self._unpainted(predicted != self.truth.classes) & view
        number, blob = self._largest(wrong)
        allowance = self._allowance(turn, left)
        if blob.any():
            self._draw(self._around(blob, number), number, False, allowance)
        if self.painted == before:
            number = int(np.bincount(self.truth.classes[view]).argmax())
            region = self._unpainted((self.truth.classes == number) & view)
            self._draw(region, number, False, allowance)

    def _allowance(self, turn: int, left: int) -> int:
        """Return how many pixels the next of ``left`` strokes of this round may have."""
        share = 1.0
        if self.rounds > 1:
            share = min(1.0, FIRST + (1 - FIRST) * (turn - 1) / (self.rounds - 1))
        most = int(SHARE * share * self.painting.size) - self.painted
        # Some are shorter, so a longer one may take more than its part.
        return min(most, int(1.5 * most / max(1, left)))

    def _unpainted(self, region: Mask) -> Mask:
        if not self.painting.any():
            return region.copy()
        return region & ~_grown(self.painting > 0, APART)

    def _largest(self, wrong: Mask) -> tuple[int, Mask]:
        """Return the class and the pixels of the largest error, rims of a pixel or two last."""
        best: tuple[int, int, Mask] = (0, 0, np.zeros_like(wrong))
        for opened in (True, False):
            for number in np.unique(self.truth.classes):
                these = wrong & (self.truth.classes == number)
                if opened:
                    these = ndimage.binary_opening(these, np.ones((3, 3), bool))
                blobs, count = ndimage.label(these)
                if not count:
                    continue
                sizes = np.bincount(blobs.ravel())[1:]
                if sizes.max() > best[0]:
                    best = int(sizes.max()), int(number), blobs == sizes.argmax() + 1
            if best[0]:
                break
        return best[1], best[2]

    def _around(self, blob: Mask, number: int) -> Mask:
        """Let a stroke run a little over the error, within its class and object."""
        region = _grown(blob, 3) & (self.truth.classes == number)
        if number > 0 and self.truth.objects is not None:
            numbers = self.truth.objects[blob]
            region &= self.truth.objects == np.bincount(numbers).argmax()
        return region & (self.painting == 0)

    def _draw(self, region: Mask, number: int, along: bool, most: int) -> None:
        """Draw one stroke inside ``region``, of at most ``most`` pixels."""
        if most < 1 or not region.any():
            return
        # The ends of the image are no border: a brush may go over them.
        room = ndimage.distance_transform_edt(region)
        radius = min(self.rng.uniform(*BRUSH) / 2, max(0.5, float(room.max()) - 0.5))
        start = self._start(room, radius, along)
        length = int(self.rng.uniform(*LENGTHS))
        left = most
        for y, x in self._line(room, start, radius, length, along):
            new = _disk(region.shape, y, x, radius)
            fresh = region[new] & (self.painting[new] == 0)
            if int(fresh.sum()) > left:
                break
            left -= int(fresh.sum())
            self.painting[new[0][fresh], new[1][fresh]] = number + 1
        self.strokes += left < most

    def _start(self, room: NDArray[np.float64], radius: float, along: bool) -> tuple[float, float]:
        """Choose where a stroke begins: near the border, or with more room the likelier."""
        fits = room >= min(radius + 0.5, room.max())
        if along and (near := fits & (room <= radius + 3)).any():
            weights = near.astype(np.float64)
        else:
            weights = np.where(fits, np.minimum(room, 6.0), 0.0)
        flat = np.cumsum(weights.ravel())
        place = int(np.searchsorted(flat, self.rng.uniform(0, flat[-1]), side="right"))
        y, x = np.unravel_index(min(place, room.size - 1), room.shape)
        return float(y), float(x)

    def _line(
        self,
        room: NDArray[np.float64],
        start: tuple[float, float],
        radius: float,
        length: int,
        along: bool,
    ) -> list[tuple[float, float]]:
        """Return the points of a line through ``start``: one way, then back and the other."""
        heading = self.rng.uniform(0, 2 * np.pi)
        if along:  # across the way to the border
            patch = tuple(_window(v, 3, n) for v, n in zip(start, room.shape, strict=True))
            slope = np.gradient(room[patch])
            heading = float(np.arctan2(slope[0].mean(), slope[1].mean())) + np.pi / 2
        line = self._walk(room, start, heading, radius, length, along)
        if len(line) < length:
            line += self._walk(room, start, heading + np.pi, radius, length - len(line), along)
        return line

    def _walk(
        self,
        room: NDArray[np.float64],
        start: tuple[float, float],
        heading: float,
        radius: float,
        length: int,
        along: bool,
    ) -> list[tuple[float, float]]:
        """Return the points of a smooth line that stays clear of the border, or along it."""
        y, x = start
        distance = room[int(y), int(x)]
        turn, line = 0.0, [(y, x)]
        for _ in range(length):
            turn = 0.8 * turn + self.rng.normal(0, 0.06)
            best: tuple[float, float] | None = None
            for bend in _TURNS:
                angle = heading + turn + bend
                here = room[_inside(y + np.sin(angle), x + np.cos(angle), room.shape)]
                cost = abs(bend) + (abs(here - distance) if along else 0.0)
                if here >= radius and (best is None or cost < best[0]):
                    best = cost, angle
            if best is None:
                break
            heading = best[1]
            y, x = y + float(np.sin(heading)), x + float(np.cos(heading))
            if not (0 <= y <= room.shape[0] - 1 and 0 <= x <= room.shape[1] - 1):
                break
            line.append((y, x))
        return line


def _inside(y: float, x: float, shape: tuple[int, ...]) -> tuple[int, int]:
    return (
        int(np.clip(round(y), 0, shape[0] - 1)),
        int(np.clip(round(x), 0, shape[1] - 1)),
    )


def _window(middle: float, margin: int, size: int) -> slice:
    """Return the indices around ``middle``, two at least."""
    low = min(max(0, int(middle) - margin), size - 2)
    return slice(low, min(size, int(middle) + margin + 1))


def _disk(
    shape: tuple[int, ...], y: float, x: float, radius: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of a brush's pixels; always at least one."""
    reach = int(np.ceil(radius))
    middle = _inside(y, x, shape)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    rows, columns = rows.ravel() + middle[0], columns.ravel() + middle[1]
    near = np.hypot(rows - y, columns - x) <= radius
    near |= (rows == middle[0]) & (columns == middle[1])
    near &= (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[near], columns[near]


def _grown(region: Mask, pixels: int) -> Mask:
    return np.asarray(ndimage.distance_transform_edt(~region) <= pixels)
