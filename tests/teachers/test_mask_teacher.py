"""Masks of other programs: matched by id, never invented."""

from pathlib import Path

import numpy as np
import pytest
from helpers_of_teachers import SeededImage

from abbe.errors import ConfigError, InputError
from abbe.imaging import write_labels
from abbe.teachers import masks

CHANNELS = ("nucleus",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.zeros((48, 40), np.int32)
    labels[4:10, 4:10], labels[4:10, 10:16] = 1, 2
    write_labels(tmp_path / "touching_cp_masks.tif", labels)
    write_labels(tmp_path / "nothing_cp_masks.png", np.zeros((48, 40), np.int32))
    write_labels(tmp_path / "small_cp_masks.npy", np.ones((8, 8), np.int32))
    return tmp_path


def test_instances_are_the_files(folder: Path):
    teacher = masks(folder, CHANNELS, suffix="_cp_masks", name="Cellpose 4", licence="CC BY 4.0")
    found = teacher.predict(SeededImage(0).open(), "touching")
    assert not found.empty
    assert list(found.maps) == ["instances"]
    assert np.unique(found.maps["instances"]).tolist() == [0, 1, 2]
    assert teacher.provenance.teacher == "Cellpose 4"
    assert teacher.provenance.weights_sha256 is None
    assert teacher.provenance.weights_licence == "CC BY 4.0"
    assert folder.name in teacher.provenance.notes[0]


def test_masks_of_another_suffix_are_another_programs(folder: Path):
    write_labels(folder / "touching_other.tif", np.ones((48, 40), np.int32))
    cellpose, other = (masks(folder, CHANNELS, suffix=each) for each in ("_cp_masks", "_other"))
    assert cellpose.provenance.differences(other.provenance)


def test_an_all_zero_mask_is_empty(folder: Path):
    found = masks(folder, CHANNELS, suffix="_cp_masks").predict(SeededImage(0).open(), "nothing")
    assert found.empty


def test_an_image_without_a_mask_is_an_error_not_an_empty_mask(folder: Path):
    with pytest.raises(InputError, match="no mask for the image 'other'"):
        masks(folder, CHANNELS, suffix="_cp_masks").predict(SeededImage(0).open(), "other")


def test_another_size_names_both(folder: Path):
    with pytest.raises(InputError, match=r"small_cp_masks\.npy is 8 x 8 px .*image-0 48 x 40"):
        masks(folder, CHANNELS, suffix="_cp_masks").predict(SeededImage(0).open(), "small")


def test_two_masks_for_one_image(folder: Path):
    write_labels(folder / "touching_cp_masks.png", np.zeros((48, 40), np.int32))
    with pytest.raises(InputError, match=r"two masks for 'touching'.*\.png and .*\.tif"):
        masks(folder, CHANNELS, suffix="_cp_masks")


def test_ome_tiff_names_lose_both_endings(folder: Path):
    (folder / "touching_cp_masks.tif").rename(folder / "a.ome.tif")
    assert masks(folder, CHANNELS).predict(SeededImage(0).open(), "a").maps


def test_wrong_folders(tmp_path: Path):
    with pytest.raises(InputError, match="gone: there is no such folder"):
        masks(tmp_path / "gone", CHANNELS)
    with pytest.raises(InputError, match=r"no mask named …_cp"):
        masks(tmp_path, CHANNELS, suffix="_cp")
    with pytest.raises(ConfigError, match="which of the image's channels"):
        masks(tmp_path)
