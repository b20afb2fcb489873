"""A run's folder as it is while the run trains, made by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from begun_runs import lock

from abbe import config
from abbe.imaging import write_png


@pytest.fixture
def begun(tmp_path) -> Path:
    """A run of two seeds, each of a student and a twin, that was just begun by this process."""
    folder = tmp_path / "a <run>"
    folder.mkdir()
    given: dict[str, Any] = {
        "recipe": "cmkd",
        "out": folder,
        "seeds": 2,
        "baselines": ("twin",),
        "teacher": config.Teacher(kind="store", path=tmp_path / "targets.zarr"),
        "student": config.Student(encoder_weights="random"),
    }
    config.save(config.Experiment(**given), folder / "config.yaml")
    lock(folder)
    return folder


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, np.full((40, 60, 3), 120, np.uint8))
        return path

    return write
