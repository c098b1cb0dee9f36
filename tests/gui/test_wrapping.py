"""Long names, as files of a microscope have them, in a narrow window."""

from __future__ import annotations

import html
from typing import Any

import pytest
from qtpy.QtWidgets import QLabel

from napari_sa2net.gui.wrapping import BREAK, LONGEST, WrappedLabel, breakable

NAME = "2026-01-12_plateA_well03_site2_DAPI_confocal_maxproj_denoised.ome.tif"
NOWHERE = "20260112plateAwell03site2DAPIconfocalmaxprojdenoised"


@pytest.mark.parametrize("name", [NAME, NOWHERE, f"/home/someone/{NAME}", "a" * 100])
def test_a_long_name_can_be_broken_and_stays_the_same(name: str) -> None:
    text = f"The file {name} cannot be read."
    found = breakable(text)
    assert found.replace(BREAK, "") == text
    assert max(map(len, found.replace(BREAK, " ").split())) <= LONGEST
    assert found.endswith(" cannot be read.")


def test_usual_words_and_numbers_stay_whole() -> None:
    text = "Found 1,234 objects of 0.123 µm in a fine-tuned, user-chosen part."
    assert breakable(text) == text


def test_what_belongs_to_a_letter_stays_with_it() -> None:
    name = "e\u0301" * 40  # é, as macOS writes it in file names
    assert f"{BREAK}\u0301" not in breakable(name)


def test_tags_and_entities_of_rich_text_are_not_broken() -> None:
    name = html.escape("<plate_A>&" * 5)
    text = f'<p style="margin:0_0_0_0_0_0_0_0">{name}</p>'
    found = breakable(text, rich=True)
    assert found.replace(BREAK, "") == text
    assert found.startswith('<p style="margin:0_0_0_0_0_0_0_0">')
    assert html.unescape(found).replace(BREAK, "") == html.unescape(text)
    assert BREAK in found


@pytest.mark.parametrize("rich", [False, True])
def test_a_label_is_as_narrow_as_with_short_names(qapp: Any, rich: bool) -> None:
    label, usual = WrappedLabel(f"on {NAME}", rich=rich), QLabel(NAME)
    assert label.text() == f"on {NAME}"
    assert label.minimumSizeHint().width() < usual.minimumSizeHint().width() / 2
    narrow = label.heightForWidth(150)
    assert narrow >= 4 * label.fontMetrics().height()  # all of it can be read


def test_a_plain_label_shows_signs_as_they_are(qapp: Any) -> None:
    label = WrappedLabel("<b>a & b</b>")
    assert label.minimumSizeHint().width() >= label.fontMetrics().horizontalAdvance("<b>a")
    assert label.text() == "<b>a & b</b>"
