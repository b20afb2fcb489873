"""A package made by hand, and napari without a window.

Tests of layers and readers need napari; those of the form need Qt as well, which on a machine
without a screen draws to memory.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from abbe.runtime.package import describe_file, read_package, write_description
from abbe.runtime.predictors.predict import predict

pytest.importorskip("napari.layers", reason="napari is not installed: pip install 'abbe[napari]'")

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
made_packages = import_module("made_packages")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "napari.yaml"))


@pytest.fixture
def make_package() -> Callable[..., Path]:
    """``tests/runtime/made_packages.py``: a network that finds what is bright."""
    return made_packages.make_package


@pytest.fixture
def blobs() -> Callable[..., np.ndarray]:
    """(H, W) uint16 with bright discs."""
    return made_packages.blobs


@pytest.fixture
def package(tmp_path, make_package) -> Path:
    return make_package(tmp_path / "package")


@pytest.fixture
def with_test_image() -> Callable[[Path, np.ndarray], Path]:
    """Adds a test image (C, H, W) and its expected objects to a package."""

    def add(folder: Path, pixels: np.ndarray, expected: np.ndarray | None = None) -> Path:
        description = read_package(folder).description
        metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(description.channels)}}
        if size := description.pixel_size:
            metadata |= {"PhysicalSizeX": size, "PhysicalSizeY": size}
        image = folder / "test_image.tif"
        tifffile.imwrite(image, pixels, ome=True, metadata=metadata, photometric="minisblack")
        if expected is None:
            expected = predict(folder, pixels, pixel_size=size)
        maps = np.zeros((len(description.outputs), *expected.shape), np.float32)
        np.savez_compressed(folder / "expected.npz", probabilities=maps, instances=expected)
        files = description.files | {
            "test_image": describe_file(folder, "test_image.tif"),
            "expected": describe_file(folder, "expected.npz"),
        }
        write_description(folder, description.model_copy(update={"files": files}))
        return folder

    return add


@pytest.fixture
def viewer() -> Any:
    """napari's viewer without a window, with the plugins that are installed."""
    from napari.components import ViewerModel
    from npe2 import PluginManager

    PluginManager.instance().discover()
    return ViewerModel()


@pytest.fixture
def application(monkeypatch) -> Any:
    """Qt without a screen; the test is skipped where Qt lacks a library of the system."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setenv("QT_API", "pyside6")
    try:
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        pytest.skip(f"Qt does not start here, so the form was not tried: {error}")
    return QApplication.instance() or QApplication([])
