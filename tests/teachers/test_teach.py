"""The driver: everything once, failures listed, continued after any kind of end."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_of_teachers import BrightTeacher, SeededImage, dataset_of

from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError, StoreError
from abbe.imaging import Image, Region, write_labels
from abbe.targets import TargetStore
from abbe.teachers import Prediction, masks, teach


def test_every_image_is_stored_with_what_must_be_known(tmp_path: Path):
    dataset = replace(dataset_of(7), simulated=True)
    teacher = BrightTeacher()
    report = teach(teacher, dataset, tmp_path / "t", progress=False)
    assert (report.done, report.skipped, report.empty, report.failed) == (7, 0, 0, {})
    assert report.images_per_second > 0
    store = TargetStore(tmp_path / "t")
    assert store.ids == dataset.ids
    assert store.provenance == replace(teacher.provenance, simulated=True)
    for record in dataset:
        image = record.image.open()
        entry = store.entry(record.id)
        assert entry.image_sha256 == image.sha256(["nucleus"])
        assert (entry.shape, entry.pixel_size) == (image.shape, 0.5)
        expected = image.read(channels=["nucleus"]) / 255
        np.testing.assert_allclose(store.read(record.id, "probability"), expected, atol=0.5 / 255)


def test_a_second_call_asks_for_nothing_and_a_larger_set_for_the_rest(tmp_path: Path):
    teach(BrightTeacher(), dataset_of(3), tmp_path / "t", progress=False)
    teacher = BrightTeacher()
    report = teach(teacher, dataset_of(5), tmp_path / "t", progress=False)
    assert (report.done, report.skipped) == (2, 3)
    assert teacher.asked == ["image-3", "image-4"]


def test_memory_is_kept_while_a_network_of_torch_teaches(tmp_path, monkeypatch):
    kept, asked = [], []

    @contextmanager
    def noted(wanted: bool) -> Iterator[None]:
        kept.append(wanted)
        yield
        asked.extend(teacher.asked)

    monkeypatch.setattr(sys.modules["abbe.teachers.teach"], "freed_memory_kept", noted)
    pytest.importorskip("torch")
    teacher = BrightTeacher()
    teach(teacher, dataset_of(2), tmp_path / "t", progress=False)
    assert kept == [True]
    assert asked == ["image-0", "image-1"]  # within it


def test_fewer_threads_last_until_all_are_taught(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from abbe.machine.pace import Pace

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(Pace, "after_step", lambda pace, seconds: torch.set_num_threads(1))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        teach(BrightTeacher(), dataset_of(2), tmp_path / "t", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class PickyTeacher(BrightTeacher):
    def predict(self, image: Image, id: str) -> Prediction:
        if id == "image-2":
            raise RuntimeError("out of patience")
        if id == "image-3":
            return Prediction({"probability": np.full((1, *image.shape), np.nan, np.float32)})
        if id == "image-4":
            return Prediction({"probability": np.zeros((1, *image.shape), np.float32)}, empty=True)
        return super().predict(image, id)


def test_failing_images_are_listed_and_the_rest_go_on(tmp_path: Path):
    report = teach(PickyTeacher(), dataset_of(6, broken=(1,)), tmp_path / "t", progress=False)
    assert (report.done, report.empty) == (3, 1)
    assert report.failed["image-1"] == "OSError: the disk coughed"
    assert report.failed["image-2"] == "RuntimeError: out of patience"
    assert "nan" in report.failed["image-3"]
    store = TargetStore(tmp_path / "t")
    assert store.ids == ("image-0", "image-4", "image-5")
    assert store.empty_ids == ("image-4",)
    assert "image-2: RuntimeError" in report.summary()
    again = teach(BrightTeacher(), dataset_of(6), tmp_path / "t", progress=False)
    assert (again.done, again.skipped, again.failed) == (3, 3, {})


class ImpossibleTeacher(BrightTeacher):
    def predict(self, image: Image, id: str) -> Prediction:
        if id == "image-2":
            raise ConfigError("precision int8: masks agree to 0.5")
        return super().predict(image, id)


def test_what_a_teacher_cannot_do_ends_it_and_keeps_everything_before(tmp_path: Path):
    with pytest.raises(ConfigError, match="precision int8"):
        teach(ImpossibleTeacher(), dataset_of(6), tmp_path / "t", progress=False)
    assert TargetStore(tmp_path / "t").ids == ("image-0", "image-1")


def test_another_teacher_is_refused_before_anything_is_asked(tmp_path: Path):
    teach(BrightTeacher(), dataset_of(2), tmp_path / "t", progress=False)
    other = BrightTeacher(name="brighter")
    with pytest.raises(StoreError, match=r"teacher: 'bright' here, 'brighter' now"):
        teach(other, dataset_of(3), tmp_path / "t", progress=False)
    assert other.asked == []
    assert len(TargetStore(tmp_path / "t").ids) == 2


def test_a_changed_image_is_listed_and_not_overwritten(tmp_path: Path):
    teach(BrightTeacher(), dataset_of(2), tmp_path / "t", progress=False)
    changed = Record(id="image-1", image=SeededImage(9))
    dataset = Dataset(name="changed", records=(changed,), channels=("nucleus", "membrane"))
    report = teach(BrightTeacher(), dataset, tmp_path / "t", progress=False)
    assert "has changed since it was taught" in report.failed["image-1"]


def test_a_missing_channel_is_said_at_once(tmp_path: Path):
    teacher = BrightTeacher(channels=("actin",))
    with pytest.raises(InputError, match=r"'squares' has no channel 'actin'.*nucleus, membrane"):
        teach(teacher, dataset_of(2), tmp_path / "t", progress=False)
    assert not (tmp_path / "t").exists()


def test_a_channel_missing_in_one_image_fails_that_image(tmp_path: Path):
    dataset = dataset_of(2)
    odd = Record(id="odd", image=SeededImage(5, channels=("membrane", "actin")))
    dataset = replace(dataset, records=(*dataset.records, odd))
    report = teach(BrightTeacher(), dataset, tmp_path / "t", progress=False)
    assert report.done == 2
    assert "nucleus" in report.failed["odd"]


def test_no_images(tmp_path: Path):
    with pytest.raises(InputError, match="'squares' has no images"):
        teach(BrightTeacher(), dataset_of(0), tmp_path / "t", progress=False)


def test_an_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    teacher = BrightTeacher()
    with pytest.raises(StoreError, match=r"locked.*the folder may not be written"):
        teach(teacher, dataset_of(2), tmp_path / "locked", progress=False)
    assert teacher.asked == []


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "t").write_text("not a store")
    with pytest.raises(StoreError, match=str(tmp_path / "t")):
        teach(BrightTeacher(), dataset_of(2), tmp_path / "t", progress=False)


def test_a_full_disk_stops_at_once_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import abbe.targets.arrays as arrays

    teach(BrightTeacher(), dataset_of(3), tmp_path / "t", progress=False)
    whole = arrays.GrowingArray.append

    def full(self: object, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(arrays.GrowingArray, "append", full)
    teacher = BrightTeacher()
    with pytest.raises(StoreError, match="the disk is full"):
        teach(teacher, dataset_of(60), tmp_path / "t", progress=False)
    assert len(teacher.asked) < 57
    monkeypatch.setattr(arrays.GrowingArray, "append", whole)
    report = teach(BrightTeacher(), dataset_of(60), tmp_path / "t", progress=False)
    assert (report.done, report.skipped) == (57, 3)


class InterruptedTeacher(BrightTeacher):
    def predict(self, image: Image, id: str) -> Prediction:
        if id == "image-5":
            raise KeyboardInterrupt
        return super().predict(image, id)


def test_an_interrupt_keeps_everything_before_it(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        teach(InterruptedTeacher(), dataset_of(9), tmp_path / "t", progress=False)
    assert len(TargetStore(tmp_path / "t").ids) == 5
    assert not [t for t in threading.enumerate() if t.name.startswith(("read", "targets"))]


class SlowImage(SeededImage):
    def open(self) -> Image:
        time.sleep(0.03)
        return super().open()


class SlowTeacher(BrightTeacher):
    def predict(self, image: Image, id: str) -> Prediction:
        time.sleep(0.03)
        return super().predict(image, id)


def test_reading_and_thinking_overlap_and_reading_is_bounded(tmp_path: Path):
    records = tuple(Record(id=f"image-{seed}", image=SlowImage(seed)) for seed in range(20))
    dataset = Dataset(name="slow", records=records, channels=("nucleus", "membrane"))
    start = time.perf_counter()
    teach(SlowTeacher(), dataset, tmp_path / "t", progress=False)
    overlapped = time.perf_counter() - start
    assert overlapped < 0.85 * 20 * 0.06


def test_reading_thinking_and_writing_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each takes 0.6 s by itself; together they take little more than one of them."""
    from abbe.targets import writer

    whole = writer.TargetWriter._write

    def slow_write(self: writer.TargetWriter, batch: list) -> None:
        time.sleep(0.03 * len(batch))
        whole(self, batch)

    monkeypatch.setattr(writer.TargetWriter, "_write", slow_write)
    records = tuple(Record(id=f"image-{seed}", image=SlowImage(seed)) for seed in range(20))
    dataset = Dataset(name="slow", records=records, channels=("nucleus", "membrane"))
    start = time.perf_counter()
    teach(SlowTeacher(), dataset, tmp_path / "t", progress=False)
    seconds = time.perf_counter() - start
    assert seconds < 0.65 * (0.6 + 0.6 + 0.6)  # one after the other, or two of them, is more


class RegionTeacher(BrightTeacher):
    """Reads its image in bands, as a teacher with tiles does."""

    def predict(self, image: Image, id: str) -> Prediction:
        bands = [
            image.read(Region(top, 0, top + 8, image.shape[1]), ["nucleus"])
            for top in range(0, image.shape[0], 8)
        ]
        return Prediction({"probability": (np.concatenate(bands, 1) / 255).astype(np.float32)})


def test_a_large_image_is_not_held_but_hashed_and_taught_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from abbe.teachers.teach import load

    held, held_hash = load(dataset_of(1).records[0], ["nucleus"])
    monkeypatch.setattr(sys.modules["abbe.teachers.teach"], "LARGEST_HELD", 100)
    lazy, lazy_hash = load(dataset_of(1).records[0], ["nucleus"])
    assert lazy_hash == held_hash
    assert (held.channels, lazy.channels) == (("nucleus",), ("nucleus", "membrane"))
    report = teach(RegionTeacher(), dataset_of(3), tmp_path / "t", progress=False)
    assert report.done == 3
    expected = lazy.read(channels=["nucleus"]) / 255
    found = TargetStore(tmp_path / "t").read("image-0", "probability")
    np.testing.assert_allclose(found, expected, atol=0.5 / 255)


def test_masks_are_taught_like_any_other(tmp_path: Path):
    folder = tmp_path / "masks"
    folder.mkdir()
    labels = np.zeros((48, 40), np.int32)
    labels[3:9, 3:9] = 5
    labels[20:30, 20:30] = 7
    write_labels(folder / "image-0.png", labels)
    write_labels(folder / "image-1.png", 0 * labels)
    report = teach(masks(folder, ["nucleus"]), dataset_of(3), tmp_path / "t", progress=False)
    assert (report.done, report.empty) == (2, 1)
    assert "no mask for the image 'image-2'" in report.failed["image-2"]
    np.testing.assert_array_equal(TargetStore(tmp_path / "t").read("image-0", "instances"), labels)


def test_the_bar_shows_rate_time_left_and_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    teach(BrightTeacher(), dataset_of(3, broken=(1,)), tmp_path / "t")
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in ("3/3", "images/s", "1 failed", "0:00:00"):
        assert words in shown.err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_after_kill_9_nothing_is_lost_twice_or_half(tmp_path: Path):
    """The child says on its standard output what it was asked for; it is killed in mid-run."""
    code = (
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from helpers_of_teachers import BrightTeacher, dataset_of\n"
        "from abbe.teachers import teach\n"
        "class Slow(BrightTeacher):\n"
        "    def predict(self, image, id):\n"
        "        print(id, flush=True)\n"
        "        time.sleep(0.01)\n"
        "        return super().predict(image, id)\n"
        "teach(Slow(), dataset_of(60), sys.argv[2], progress=False)\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "t")]
    stored_before: set[str] = set()
    for asks in (9, 14):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        asked = [child.stdout.readline().strip() for _ in range(asks)]
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=30)
        child.stdout.close()
        assert not stored_before & set(asked), "what was stored was computed again"
        store = TargetStore(tmp_path / "t")
        assert stored_before <= set(store.ids)
        assert len(store.ids) >= len(stored_before) + asks - 6, "more than the queue was lost"
        stored_before = set(store.ids)
    teacher, dataset = BrightTeacher(), dataset_of(60)
    report = teach(teacher, dataset, tmp_path / "t", progress=False)
    assert report.skipped == len(stored_before)
    assert not stored_before & set(teacher.asked)
    store = TargetStore(tmp_path / "t")
    assert set(store.ids) == set(dataset.ids)
    for record in dataset:
        expected = record.image.open().read(channels=["nucleus"]) / 255
        np.testing.assert_allclose(store.read(record.id, "probability"), expected, atol=0.5 / 255)
