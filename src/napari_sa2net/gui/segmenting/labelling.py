"""The controls of how probabilities become labels."""

from __future__ import annotations

from dataclasses import replace

from ...engine.instances import LabelSettings
from ..forms import DataclassForm

FIELDS = {
    "result": "Result",
    "threshold": "Thresh&old",
    "min_size": "Minimum size",
    "split": "Split touching objects",
    "seed_threshold": "Splitting",
    "fill_holes": "Fill holes",
    "link": "Link objects",
}


class LabellingForm(DataclassForm):
    """The settings of the labels, at first a model's own.

    The minimum size is in pixels of the image, and a model's own depends on how large things are
    in it: it follows what is said of that until a person sets another.
    """

    def __init__(self) -> None:
        super().__init__(LabelSettings(), FIELDS)
        self._own = LabelSettings()

    def begin(self, own: LabelSettings, shown: LabelSettings | None = None) -> None:
        """Show a model's own settings for the image, or others that were chosen for it."""
        self._own = own
        self.set_value(shown or own)

    def follow(self, own: LabelSettings) -> bool:
        """Take a model's own settings for another image or scale; tell whether one changed."""
        value, before = self.value(), self._own.min_size
        self._own = own
        if value.min_size != before or value.min_size == own.min_size:
            return False
        self.set_value(replace(value, min_size=own.min_size))
        return True

    def show_usable(self, axes: str, *, stack: bool) -> None:
        """Enable what does something for an image with ``axes``."""
        settings = self.value()
        instances = settings.result == "instances"
        self.controls["split"].setEnabled(instances)
        self.controls["seed_threshold"].setEnabled(instances and settings.split)
        link = self.controls["link"]
        link.setEnabled(instances and stack)
        for row in range(link.count()):
            choice = link.itemData(row)
            usable = choice == "none" or choice.upper() in axes
            link.model().item(row).setEnabled(usable)
