"""What a run will take: from a timed sample, without touching the store."""

import json
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_of_teachers import BrightTeacher, SeededImage, dataset_of

from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError, StoreError
from abbe.imaging import Image
from abbe.targets import TargetStore
from abbe.teachers import Prediction, introduction, plan, teach
from abbe.teachers.plan import existing


class TimedTeacher(BrightTeacher):
    """10 ms an image and 10 ms for each 1000 pixels."""

    def predict(self, image: Image, id: str) -> Prediction:
        time.sleep(0.01 + image.shape[0] * image.shape[1] * 1e-5)
        return super().predict(image, id)


def mixed(count: int) -> Dataset:
    """Noise that does not compress to nothing, on sides from 20 px on."""
    records = tuple(
        Record(id=f"image-{seed}", image=SeededImage(seed, shape=(20 + 4 * seed, 40)))
        for seed in range(count)
    )
    return Dataset(name="mixed", records=records, channels=("nucleus", "membrane"))


def test_time_and_disk_are_near_what_teaching_then_takes(tmp_path: Path):
    dataset = mixed(16)
    found = plan(TimedTeacher(), dataset, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert list(tmp_path.iterdir()) == []  # the temporary store is gone
    assert (found.images, found.skipped, found.failed) == (16, 0, {})
    start = time.perf_counter()
    teach(TimedTeacher(), dataset, tmp_path / "t", progress=False)
    seconds = time.perf_counter() - start
    assert 0.5 * seconds < found.seconds < 2 * seconds
    size = sum(file.stat().st_size for file in (tmp_path / "t").rglob("*") if file.is_file())
    assert 0.5 * size < found.bytes < 2 * size
    assert found.fits
    assert [one.id for one in found.sample] == ["image-0", "image-5", "image-10", "image-15"]


def test_the_sample_is_asked_once_and_the_first_once_more(tmp_path: Path):
    teacher = BrightTeacher()
    plan(teacher, dataset_of(9), tmp_path / "t", images=2)
    assert teacher.asked == ["image-0", "image-0", "image-8"]


def test_what_the_store_has_is_not_counted(tmp_path: Path):
    teach(BrightTeacher(), dataset_of(6), tmp_path / "t", progress=False)
    some = plan(BrightTeacher(), dataset_of(8), tmp_path / "t")
    assert (some.skipped, len(some.sample)) == (6, 2)
    assert "2 to teach, 6 in the store already" in some.summary()
    nothing = plan(teacher := BrightTeacher(), dataset_of(6), tmp_path / "t")
    assert (nothing.skipped, nothing.seconds, nothing.bytes, teacher.asked) == (6, 0, 0, [])
    assert len(TargetStore(tmp_path / "t")) == 6


def test_too_little_disk_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 0, 10))
    found = plan(BrightTeacher(), dataset_of(3), tmp_path / "t")
    assert not found.fits
    assert "10 bytes free" in found.summary()
    assert "WARNING: this does not fit on the disk" in found.summary()


def test_the_summary_names_licences_and_marks(tmp_path: Path):
    teacher = BrightTeacher()
    teacher.provenance = replace(teacher.provenance, stand_in=True, sees_labels=True)
    dataset = replace(dataset_of(2), simulated=True)
    said = plan(teacher, dataset, tmp_path / "t").summary()
    for words in (
        "licence of its weights: MIT",
        "licence of its training data: CC0",
        "STAND-IN",
        "SEES LABELS",
        "SIMULATED",
    ):
        assert words in said
    assert "STAND-IN" not in introduction(BrightTeacher().provenance)


def test_as_json(tmp_path: Path):
    found = json.loads(json.dumps(plan(BrightTeacher(), dataset_of(2), tmp_path / "t").to_json()))
    assert found["images"] == 2
    assert found["fits"] is True
    assert found["provenance"]["weights_licence"] == "MIT"
    assert {"read", "network", "write", "bytes"} <= set(found["sample"][0])


class FailsOn(BrightTeacher):
    def __init__(self, ids: set[str]) -> None:
        super().__init__()
        self._ids = ids

    def predict(self, image: Image, id: str) -> Prediction:
        if id in self._ids:
            raise RuntimeError("out of patience")
        return super().predict(image, id)


def test_failing_images_are_listed_and_not_counted(tmp_path: Path):
    found = plan(FailsOn({"image-0"}), dataset_of(6, broken=(2,)), tmp_path / "t")
    assert found.failed["image-0"] == "RuntimeError: out of patience"
    assert found.failed["image-2"] == "OSError: the disk coughed"
    assert "4 to teach" in found.summary()
    with pytest.raises(InputError, match=r"failed on every image.*'image-0'.*patience"):
        plan(FailsOn({f"image-{n}" for n in range(3)}), dataset_of(3), tmp_path / "t")


def test_what_can_be_wrong(tmp_path: Path):
    with pytest.raises(ConfigError, match="at least one image to time, not 0"):
        plan(BrightTeacher(), dataset_of(2), tmp_path / "t", images=0)
    with pytest.raises(InputError, match="no images"):
        plan(BrightTeacher(), dataset_of(0), tmp_path / "t")
    with pytest.raises(InputError, match="no channel 'actin'"):
        plan(BrightTeacher(channels=("actin",)), dataset_of(2), tmp_path / "t")
    teach(BrightTeacher(), dataset_of(2), tmp_path / "t", progress=False)
    with pytest.raises(StoreError, match=r"teacher: 'bright' here, 'other' now"):
        plan(BrightTeacher(name="other"), dataset_of(2), tmp_path / "t")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="no target store"):
        plan(BrightTeacher(), dataset_of(2), tmp_path / "full")


def test_the_nearest_folder_that_exists(tmp_path: Path):
    assert existing(tmp_path / "a" / "b" / "c") == tmp_path
