"""Public sets by ``data.kind``: from the experiment file to records with splits."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from abbe.config import Data
from abbe.errors import ConfigError, InputError
from abbe.registry import DATASETS
from abbe.runs.build import build_dataset


@pytest.fixture
def breasts(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 255, (12, 16), np.uint8)
    for kind in ("benign", "normal"):
        (tmp_path / kind).mkdir()
        for number in range(1, 6):
            stem = f"{kind} ({number})"
            PIL.Image.fromarray(values).save(tmp_path / kind / f"{stem}.png")
            mask = np.where((values > 127) & (kind == "benign"), 255, 0).astype(np.uint8)
            PIL.Image.fromarray(mask).save(tmp_path / kind / f"{stem}_mask.png")
    return tmp_path


def test_a_set_is_read_filtered_and_split(breasts: Path):
    found = build_dataset(Data(kind="busi", path=breasts, where={"class": "benign"}))
    assert len(found) == 5
    assert {record.split for record in found} == {"train", "val", "test"}
    assert build_dataset(
        Data(kind="busi", path=breasts, channels=("red", "green", "blue"))
    ).channels == ("red", "green", "blue")


PUBLISHED = sorted(
    set(DATASETS) - {"folder", "classes", "slides", "simulated", "tissuenet", "bbbc038"}
)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_every_kind_reads_its_own_layout_and_says_when_it_is_another(tmp_path: Path, kind):
    with pytest.raises(InputError, match=str(tmp_path)):
        build_dataset(Data(kind=kind, path=tmp_path))
    with pytest.raises(ConfigError, match=f"kind '{kind}' needs a path"):
        Data(kind=kind)


def test_channels_that_a_set_does_not_have(breasts: Path):
    with pytest.raises(ConfigError, match=r"data\.channels: 'busi' has the channels red, green"):
        build_dataset(Data(kind="busi", path=breasts, channels=("grey",)))
