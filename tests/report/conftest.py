"""A whole run, made without training."""

from pathlib import Path

import pytest
from made_run import make_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with everything in it; tests copy what they change."""
    return make_run(tmp_path_factory.mktemp("run") / "run", examples=1, images=20, steps=24)
