"""What napari finds of the plugin."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

import napari_sa2net

MANIFEST = Path(napari_sa2net.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest() -> Any:
    """Return the manifest, validated."""
    return PluginManifest.from_file(MANIFEST)


def load(python_name: str) -> Any:
    """Import what a command names."""
    module, _, name = python_name.partition(":")
    return getattr(importlib.import_module(module), name)


def test_every_command_exists(manifest: Any) -> None:
    assert manifest.name == "napari-sa2net"
    for command in manifest.contributions.commands:
        assert command.id.startswith("napari-sa2net.")
        assert callable(load(command.python_name)), command.id


def test_widget_is_in_both_menus(manifest: Any) -> None:
    widgets = manifest.contributions.widgets
    assert [widget.display_name for widget in widgets] == ["SA2-Net"]
    entries = manifest.contributions.menus["napari/layers/segment"]
    assert [entry.command for entry in entries] == [widgets[0].command]


def test_samples_are_images(manifest: Any) -> None:
    """Each sample opens, and there is more than one modality."""
    commands = {command.id: command for command in manifest.contributions.commands}
    samples = manifest.contributions.sample_data
    assert len(samples) >= 4
    for sample in samples:
        layers = load(commands[sample.command].python_name)()
        assert layers, sample.key
        assert layers[0][0].ndim >= 2


def test_opening_needs_no_torch() -> None:
    """The dock must open at once; torch is loaded by the first run, in its thread."""
    code = (
        "import sys, napari_sa2net.gui.main_widget as m, napari_sa2net.gui.segmenting.backend as b;"
        "b.Backend().models();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
