"""A store of three maps, copied for each test."""

import shutil
from pathlib import Path

import pytest
from target_helpers import write


@pytest.fixture(scope="module")
def written_once(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("written") / "t.zarr"
    write(path, range(3))
    return path


@pytest.fixture
def store(tmp_path, written_once) -> Path:
    return Path(shutil.copytree(written_once, tmp_path / "t.zarr"))
