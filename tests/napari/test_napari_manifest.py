"""What napari is told of the plugin."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import abbe.napari

npe2 = pytest.importorskip("npe2")
MANIFEST = Path(abbe.napari.__file__).with_name("napari.yaml")


def test_the_installed_package_leads_napari_to_a_valid_manifest():
    found = [
        point.value
        for point in distribution("abbe").entry_points
        if point.group == "napari.manifest"
    ]
    assert found == ["abbe.napari:napari.yaml"]
    manifest = npe2.PluginManifest.from_distribution("abbe")
    assert manifest.name == "abbe"
    assert manifest.contributions == npe2.PluginManifest.from_file(MANIFEST).contributions
    manifest.validate_imports()


def test_every_command_is_there_and_used():
    contributions = npe2.PluginManifest.from_file(MANIFEST).contributions
    commands = {command.id: command.python_name for command in contributions.commands}
    used = {each.command for each in [*contributions.readers, *contributions.widgets]}
    assert used == set(commands)
    assert len(commands) == 3


@pytest.mark.parametrize("name", ["abbe.napari", "abbe.napari.reader", "abbe.napari.finding"])
def test_what_needs_no_form_imports_no_qt(name):
    code = (
        "import importlib, sys; importlib.import_module(sys.argv[1])\n"
        "print({'qtpy', 'PySide6', 'torch', 'napari'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
