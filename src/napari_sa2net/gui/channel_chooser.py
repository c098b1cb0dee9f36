"""Which channels of the image the model gets: a list of them to tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from ..engine.images import default_channels
from .image_values import Key
from .wrapping import WrappedLabel

MOST_ROWS = 6
"""Above which the list scrolls."""

TIP = (
    "<qt>Tick the channels that the model is to look at. With several, the one ticked first goes "
    "to the model's first channel, and so on: what each is used as stands beside it.</qt>"
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
        self.list = QListWidget()
        self.list.setToolTip(TIP)
        self.list.setAccessibleName("Channels for the model")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.hint = WrappedLabel()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addWidget(self.hint)
        self.setFocusProxy(self.list)
        self.list.itemChanged.connect(self._on_ticked)

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
        self._keys, self._titles, self._colours = list(keys), list(titles), colours
        self._fill()

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
        self._fill()

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
        wants = "one"
        if 1 < takes <= count:
            wants = f"one, or {takes} in the order {self._order_text(card)}"
        name = f"the model “{card.name}”"
        if not ticked:
            listed = ", ".join(self._titles)
            return (
                f"The image has {count} channels ({listed}): tick under Channels what {name} is "
                f"to look at, {wants}."
            )
        return (
            f"{len(ticked)} channels are ticked ({', '.join(self.titles())}), and {name} takes "
            f"{takes if takes > 1 else 'one'}: tick {wants} under Channels."
        )

    def _takes(self, card: Any) -> int | None:
        return None if card is None else int(card.in_channels)

    def _is_grey(self, takes: int, ticked: list[Key]) -> bool:
        """Whether colours become one channel."""
        return takes == 1 and self._colours and ticked == self._keys[:3]

    def _order_text(self, card: Any) -> str:
        return ", ".join(card.channels) if card.channels else "of the model's channels"

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

    def _on_ticked(self, item: QListWidgetItem) -> None:
        key = self._keys[self.list.row(item)]
        order = [other for other in self._ticked() if other != key]
        if item.checkState() == Qt.CheckState.Checked:
            alone = self._takes(self._card) == 1 and not self._any
            order = [key] if alone else [*order, key]
        self._order = order
        self._show()
        self.changed.emit()

    # --- showing ---------------------------------------------------------------------------

    def _fill(self) -> None:
        row = self.list.currentRow()
        self.list.blockSignals(True)
        self.list.clear()
        for title in self._titles:
            item = QListWidgetItem(title)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)
        self.list.setCurrentRow(max(0, min(row, self.list.count() - 1)))
        self.list.blockSignals(False)
        rows = min(MOST_ROWS, self.list.count())
        self.list.setFixedHeight(8 + rows * max(18, self.list.sizeHintForRow(0)))
        self._show()

    def _show(self) -> None:
        """Show what is ticked and what each is used as, and what is still to be ticked."""
        ticked = self._ticked()
        self.list.blockSignals(True)
        for row, (key, title) in enumerate(zip(self._keys, self._titles, strict=True)):
            item, used = self.list.item(row), self._used_as(key, ticked)
            state = Qt.CheckState.Checked if key in ticked else Qt.CheckState.Unchecked
            item.setCheckState(state)
            item.setText(f"{title} → {used}" if used else title)
            item.setToolTip(title)
        self.list.blockSignals(False)
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
