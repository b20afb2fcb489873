"""What one block of an image finds out of the whole of it, the others take over."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_he import tissue
from made_packages import slide_types

from abbe.imaging import Reading, open_image
from abbe.imaging.stain import stains_of_image
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.one_image import Batch, OneImage
from abbe.runtime.job import Job
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling import blocks as dividing
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(dividing, "MOST_TILES", 2)


def stained(path: Path) -> Path:
    pixels = np.kron(tissue(40), np.ones((1, 8, 8), np.uint8)).transpose(1, 2, 0)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    return path


def opened(predictor: Any, path: Path, reading: Reading) -> OneImage:
    """As a worker has it, which knows nothing of the others."""
    out = path.parent / "out"
    out.mkdir(exist_ok=True)
    tell = lambda name, share: None  # noqa: E731
    batch = Batch(predictor, out, Job(("labels",), reading), Leftovers(()), Timings(), tell)
    return batch.open(path, Path(path.name))


def test_an_image_in_another_stain_is_the_same_job_on_all_workers(tmp_path):
    path = stained(tmp_path / "a.tif")
    reading = Reading(stain=stains_of_image(open_image(path)))
    package = slide_types(tmp_path / "package", ("a", "b"), tile=128)
    predictor = open_predictor(package, precision="fp32", threads=1, workers=1)
    one, other = (opened(predictor, path, reading) for _ in range(2))
    assert len(one.blocks) > 2
    with one.divided():
        first, second, *_ = one.blocks
        one.compute(first, Inline())
        kept = set((tmp_path / "out" / ".a.abbe").iterdir())
        other.compute(second, Inline())
        assert kept < set((tmp_path / "out" / ".a.abbe").iterdir())
