"""Which channels of the image the model gets: a list of them to tick."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..engine.images import default_channels
from .image_values import Key
from .look import Refitted
from .wrapping import WrappedLabel

MOST_ROWS = 6
"""Above which the list scrolls."""

LONGEST = 30
"""Characters of a name that are shown."""

TIP = (
    "Tick the channels that the model is to look at. With several, the one ticked first goes to "
    "the model's first channel, and so on: what each is used as stands beside it."
)


def channel_titles(names: Sequence[str], count: int) -> list[str]:
    """Return what to call each of ``count`` channels: its name, or its number from 0 on."""
    known = [name.strip() for name in names] if len(names) == count else [""] * count
    return [
        f"{name} (channel {i})" if name and known.count(name) > 1 else name or f"Channel {i}"
        for i, name in enumerate(known)
    ]


class ChannelChooser(QWidget):  # type: ignore[misc]
    """Chooses channels; ``changed`` is emitted when a person does.

    Nothing is chosen until a person ticks something: then the model gets what it does by itself,
    which is ticked too, if that is clear.

    Parameters
    ----------
    any_number
        Whether any number of channels will do, as for a model that is still to learn; all if
        none is ticked.
    """

    changed = Signal()

    def __init__(self, *, any_number: bool = False) -> None:
        super().__init__()
        self._any = any_number
        self._keys: list[Key] = []
        self._titles: list[str] = []
        self._colours = False
        self._card: Any = None
        self._order: list[Key] | None = None
        """The channels ticked by a person, in the model's order; None before the first tick."""
        self.boxes: list[QCheckBox] = []
        """One for each channel."""
        rows = QWidget()
        self._rows = QVBoxLayout(rows)
        self._rows.setContentsMargins(2, 2, 2, 2)
        self._rows.setSpacing(2)
        self._scroll = QScrollArea()
        self._scroll.setWidget(rows)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hint = WrappedLabel()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._scroll)
        column.addWidget(self.hint)
        Refitted(self, self._fit)

    # --- what there is ---------------------------------------------------------------------

    def set_image(
        self, keys: Sequence[Key], titles: Sequence[str], *, colours: bool = False
    ) -> None:
        """Offer the channels of an image.

        Parameters
        ----------
        keys
            By which each is known again, also among others.
        titles
            What each is called.
        colours
            Whether they are red, green and blue.
        """
        before = self._titles
        self._keys, self._titles, self._colours = list(keys), list(titles), colours
        if self._titles != before:
            self._fill()
        self._show()

    def set_card(self, card: Any) -> None:
        """Tell which model the channels are for."""
        if card != self._card:
            self._card = card
            self._show()

    # --- what is chosen --------------------------------------------------------------------

    def chosen(self) -> tuple[Key, ...] | None:
        """Return the keys of what a person ticked; None before that."""
        return None if self._order is None else tuple(self._order)

    def set_chosen(self, keys: Sequence[Key] | None) -> None:
        """Tick these, as a person did before; None: as the model wants."""
        self._order = None if keys is None else list(keys)
        self._show()

    def value(self) -> tuple[int, ...] | None:
        """Return the numbers of the channels in the model's order; None: as the model wants."""
        if len(self._keys) < 2 or self._own() is None:
            return None
        return tuple(map(self._keys.index, self._ticked()))

    def titles(self) -> list[str]:
        """Return what the channels that are ticked are called."""
        return [self._titles[self._keys.index(key)] for key in self._ticked()]

    def problem_for(self, card: Any) -> str:
        """Say what is to be ticked for a model; empty if it gets what it takes."""
        ticked, count, takes = self._ticked(), len(self._keys), self._takes(card)
        if count < 2 or takes is None or len(ticked) in (1, takes):
            return ""
        if self._is_grey(takes, ticked):
            return ""
        name = f"the model “{card.name}”"
        several = f", or {takes} in the order {_order_text(card)}" if 1 < takes <= count else ""
        if not ticked:
            return (
                f"The image has {count} channels ({', '.join(self._titles)}): under Channels tick "
                f"the one that {name} is to look at{several}."
            )
        return (
            f"{len(ticked)} channels are ticked ({', '.join(self.titles())}), and {name} takes "
            f"{takes if takes > 1 else 'one'}: under Channels tick one{several}."
        )

    def _takes(self, card: Any) -> int | None:
        return None if card is None else int(card.in_channels)

    def _is_grey(self, takes: int, ticked: list[Key]) -> bool:
        """Whether colours become one channel."""
        return takes == 1 and self._colours and ticked == self._keys[:3]

    def _own(self) -> list[Key] | None:
        """Return what a person ticked, as far as it is there; None if that was nothing of this."""
        there = [key for key in self._order or () if key in self._keys]
        gone = not there and (bool(self._order) or self._any)
        return None if self._order is None or gone else there

    def _ticked(self) -> list[Key]:
        """Return the channels that the model would get, in its order."""
        own = self._own()
        if own is not None:
            return own
        takes = self._takes(self._card)
        if self._any or takes is None:
            return list(self._keys)
        found = default_channels(len(self._keys), takes, colours=self._colours)
        return [] if found is None else [self._keys[number] for number in found]

    def _on_ticked(self, key: Key, on: bool) -> None:
        order = [other for other in self._ticked() if other != key]
        if on:
            alone = self._takes(self._card) == 1 and not self._any
            order = [key] if alone else [*order, key]
        self._order = order
        self._show()
        self.changed.emit()

    # --- showing ---------------------------------------------------------------------------

    def _fill(self) -> None:
        for box in self.boxes:
            self._rows.removeWidget(box)
            box.hide()  # it is gone only when the event loop runs again
            box.deleteLater()
        self.boxes = []
        for row, title in enumerate(self._titles):
            box = QCheckBox()
            box.setToolTip(f"<qt><b>{html.escape(title)}</b><br>{TIP}</qt>")
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.toggled.connect(lambda on, row=row: self._on_ticked(self._keys[row], on))
            self._rows.addWidget(box)
            self.boxes.append(box)
        self._fit()

    def _fit(self) -> None:
        """Show as many whole rows as there are, or as many as do not scroll."""
        rows = min(MOST_ROWS, len(self.boxes))
        height = max((box.sizeHint().height() for box in self.boxes), default=0) + 2
        self._scroll.setFixedHeight(4 + rows * height)

    def _show(self) -> None:
        """Show what is ticked and what each is used as, and what is still to be ticked."""
        ticked = self._ticked()
        for key, title, box in zip(self._keys, self._titles, self.boxes, strict=True):
            used = self._used_as(key, ticked)
            name = title if len(title) <= LONGEST else f"{title[: LONGEST - 9]}…{title[-8:]}"
            text = f"{name} → {used}" if used else name
            box.setText(text.replace("&", "&&"))  # it is no mnemonic
            box.setAccessibleName(f"Channel {title}, {used}" if used else f"Channel {title}")
            box.blockSignals(True)
            box.setChecked(key in ticked)
            box.blockSignals(False)
        problem = "" if self._any else self.problem_for(self._card)
        self.hint.setText(problem)
        self.hint.setVisible(bool(problem))

    def _used_as(self, key: Key, ticked: list[Key]) -> str:
        """Return what a channel is used as by the model; empty if there is nothing to tell."""
        takes = self._takes(self._card)
        if key not in ticked or takes is None:
            return ""
        if self._is_grey(takes, ticked):
            return "mixed to grey"
        if len(ticked) == takes > 1:
            place = ticked.index(key)
            return self._card.channels[place] if self._card.channels else f"channel {place + 1}"
        return "used alone" if len(ticked) == 1 < takes else ""


def _order_text(card: Any) -> str:
    return ", ".join(card.channels) if card.channels else "of the model's channels"
