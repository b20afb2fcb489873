"""A folder of images as a user has it."""

from pathlib import Path

import pytest
import tifffile

from abbe import datasets
from abbe.imaging import write_labels


@pytest.fixture
def tissue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of six labelled images in one channel, masks/ beside it, and its parent as cwd."""
    monkeypatch.chdir(tmp_path)
    for number, record in enumerate(datasets.simulated_tissue(6, size=64, channels=("nucleus",))):
        assert record.label is not None
        file = tmp_path / "tissue" / "images" / f"{number}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, record.image.open().read()[0])
        for folder in ("tissue/labels", "masks"):
            write_labels(tmp_path / folder / f"{number}.png", record.label.read())
    return tmp_path / "tissue"
