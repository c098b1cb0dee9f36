"""The controls of how probabilities become labels."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtWidgets import QComboBox

from ...engine.instances import LabelSettings
from ..forms import DataclassForm
from ..jobs.state import CHOICES

FIELDS = {
    "result": "Result",
    "threshold": "Thresh&old",
    "min_size": "Minimum size",
    "split": "Split touching objects",
    "seed_threshold": "Splitting",
    "fill_holes": "Fill holes",
    "link": "Link objects",
}


def for_stack(settings: LabelSettings, stacked: str) -> LabelSettings:
    """Return settings that link only through one of the axes in ``stacked``, such as "Z"."""
    return settings if settings.link.upper() in stacked else replace(settings, link="none")


class LabellingForm(DataclassForm):
    """The settings of the labels, at first a model's own.

    The minimum size is in pixels of the image, and a model's own depends on how large things are
    in it: it follows what is said of that until a person sets another.
    """

    def __init__(self) -> None:
        super().__init__(LabelSettings(), FIELDS)
        self._own = LabelSettings()
        self._stacked = ""
        policy = QComboBox.SizeAdjustPolicy.AdjustToContents  # as others are offered
        self.controls["link"].setSizeAdjustPolicy(policy)

    def begin(self, own: LabelSettings, shown: LabelSettings | None = None) -> None:
        """Show a model's own settings for the image, or others that were chosen for it."""
        self._own = own
        self.set_value(shown or own)

    def follow(self, own: LabelSettings) -> bool:
        """Take a model's own settings for another image or scale; tell whether one changed."""
        value, before = self.wanted(), self._own.min_size
        self._own = own
        if value.min_size != before or value.min_size == own.min_size:
            return False
        self.set_value(replace(value, min_size=own.min_size))
        return True

    def value(self) -> LabelSettings:
        """Return what is shown: objects are linked only through an axis that there is.

        What a person chose comes back with a stack that has that axis.
        """
        return for_stack(self.wanted(), self._stacked)

    def wanted(self) -> LabelSettings:
        """Return what a person chose, whatever the image."""
        settings: LabelSettings = super().value()
        return settings

    def show_usable(self, stacked: str) -> None:
        """Offer what does something for an image.

        Parameters
        ----------
        stacked
            The letters of ``"TZ"`` along which it has several planes, in the order of the list.
        """
        self._stacked = stacked
        settings = self.value()
        instances = settings.result == "instances"
        self.controls["split"].setEnabled(instances)
        self.controls["seed_threshold"].setEnabled(instances and settings.split)
        link = self.controls["link"]
        link.setEnabled(instances and bool(stacked))
        offered = ["none", *stacked.lower()]
        link.blockSignals(True)
        if [link.itemData(row) for row in range(link.count())] != offered:
            link.clear()
            for choice in offered:
                link.addItem(CHOICES[choice], choice)
        link.setCurrentIndex(offered.index(settings.link))
        link.blockSignals(False)
