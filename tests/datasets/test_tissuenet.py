import errno
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abbe.config import Data
from abbe.datasets import tissuenet
from abbe.datasets.public.tissuenet import CHANNELS
from abbe.errors import InputError
from abbe.files import locks
from abbe.imaging import Image
from abbe.runs import build

tissuenet_module = import_module("abbe.datasets.public.tissuenet")


def arrays(count: int = 3, side: int = 16, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y = np.zeros((count, side, side, 2), np.int32)
    y[:, 2:12, 2:12, 0] = 7
    y[:, 4:8, 4:8, 1] = 7
    return {"X": rng.random((count, side, side, 2)).astype(np.float32), "y": y}


def write(folder: Path, split: str = "train", **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"tissuenet_v1.1_{split}.npz"
    contents: dict[str, Any] = {**arrays(), **changes}
    np.savez_compressed(file, **contents)
    return file


def test_channels_labels_and_splits(tmp_path: Path):
    for split in ("train", "val", "test"):
        write(tmp_path, split)
    dataset = tissuenet(tmp_path)
    assert dataset.channels == ("nucleus", "membrane")
    assert "non-commercial" in dataset.licence
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [3, 3, 3]
    record = dataset["train-00001"]
    image = record.image.open()
    assert image.channels == ("nucleus", "membrane")
    assert image.pixel_size == 0.5
    stored = arrays()
    np.testing.assert_array_equal(image.read(), np.moveaxis(stored["X"][1], -1, 0))
    nuclei = tissuenet(tmp_path, label="nucleus")
    for source, plane in ((record.label, 0), (nuclei["train-00001"].label, 1)):
        assert source is not None
        np.testing.assert_array_equal(source.read(), stored["y"][1, ..., plane])


def test_nothing_is_unpacked_before_it_is_needed_and_then_only_once(tmp_path: Path):
    file = write(tmp_path / "given")
    dataset = tissuenet(file, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    pickle.loads(pickle.dumps(dataset))["train-00000"].image.open()
    (unpacked,) = (tmp_path / "cache").rglob("*.npy")
    before = unpacked.stat().st_mtime_ns
    dataset["train-00002"].image.open().read()
    assert unpacked.stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / "given").iterdir()] == [file.name]


def test_a_new_file_of_the_same_name_is_unpacked_anew(tmp_path: Path):
    tissuenet(write(tmp_path))["train-00000"].image.open()
    changed = arrays(seed=1, count=4)
    file = write(tmp_path, **changed)
    pixels = tissuenet(file)["train-00000"].image.open().read()
    np.testing.assert_array_equal(pixels, np.moveaxis(changed["X"][0], -1, 0))


def test_text_columns_are_kept_and_pickled_ones_left_out(tmp_path: Path):
    file = write(
        tmp_path,
        tissue_list=np.array(["skin", "gut", "skin"]),
        meta=np.array([["specimen", "site"], ["p1", "a"], ["p2", "b"], ["p1", "c"]]),
        scores=np.zeros(3),
        objects=np.array([{}, {}, {}], object),
    )
    dataset = tissuenet(file, group="specimen")
    assert dataset["train-00001"].columns == {"tissue": "gut", "specimen": "p2", "site": "b"}
    assert [record.group for record in dataset] == ["p1", "p2", "p1"]
    assert dataset.notes == (f"{file.name}: arrays left out: scores, objects (pickled)",)
    with pytest.raises(InputError, match=r"no text column 'patient'.*tissue, specimen, site"):
        tissuenet(file, group="patient")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((3, 16, 16, 3))}, r"'X' is float64 of shape \(3, 16, 16, 3\)"),
        ({"y": np.zeros((3, 16, 16), np.int32)}, r"'y' is int32 of shape \(3, 16, 16\)"),
        ({"y": np.zeros((2, 16, 16, 2), np.int32)}, "X .* and y .* differ in shape"),
        ({"X": np.empty((3, 16, 16, 2), object)}, "'X' is object"),
        ({"X": np.asfortranarray(np.zeros((3, 16, 16, 2)))}, "'X' is in Fortran order"),
    ],
)
def test_wrong_arrays(tmp_path: Path, changes: dict[str, Any], message: str):
    file = write(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        tissuenet(file)
    assert file.name in str(caught.value)


def test_a_missing_array(tmp_path: Path):
    file = tmp_path / "tissuenet_v1.1_val.npz"
    np.savez(file, X=arrays()["X"])
    with pytest.raises(InputError, match="no array 'y'; it has: X"):
        tissuenet(file)


def test_labels_that_are_no_whole_numbers(tmp_path: Path):
    file = write(tmp_path, y=np.full((3, 16, 16, 2), 0.5))
    label = tissuenet(file)["train-00000"].label
    assert label is not None
    with pytest.raises(InputError, match=r"y\[0\] holds values that are no int32 labels"):
        label.read()


def test_a_damaged_file(tmp_path: Path):
    file = write(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"train\.npz is damaged or no npz file"):
        tissuenet(file)
    file = write(tmp_path)
    content = bytearray(file.read_bytes())
    content[1000:1100] = bytes(100)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.npz is damaged"):
        tissuenet(file)["train-00000"].image.open()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [file.name]


def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = tissuenet(write(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 10}))
    with pytest.raises(InputError, match=r"unpacking X of tissuenet.* free: make room"):
        dataset["train-00000"].image.open()


def test_an_unwritable_cache(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.touch()
    dataset = tissuenet(write(tmp_path), cache=blocked)
    with pytest.raises(InputError, match=r"unpacking X .* failed.*give another cache folder"):
        dataset["train-00000"].image.open()


def test_wrong_folders(tmp_path: Path):
    with pytest.raises(InputError, match=r"expected is a file such as tissuenet_v1\.1_train\.npz"):
        tissuenet(tmp_path)
    write(tmp_path)
    (tmp_path / "tissuenet_v1.0_train.npz").write_bytes(b"")
    with pytest.raises(InputError, match="holds a split twice"):
        tissuenet(tmp_path)
    (tmp_path / "tissuenet_v1.0_train.npz").rename(tmp_path / "other.npz")
    with pytest.raises(InputError, match=r"name of other\.npz ends in none of _train, _val"):
        tissuenet(tmp_path)


def test_a_file_without_split_in_its_name(tmp_path: Path):
    file = write(tmp_path).rename(tmp_path / "mine.npz")
    dataset = tissuenet(file, pixel_size=None)
    assert dataset["mine-00000"].split is None
    assert dataset["mine-00000"].image.open().pixel_size is None


def test_a_folder_of_three_files_keeps_the_sets_own_splits(tmp_path: Path):
    """The download: train of one size, val and test of another, a table of text beside them."""
    for split, count, side in (("train", 4, 32), ("val", 3, 16), ("test", 2, 16)):
        meta = np.array([["platform", "tissue"], *([["codex", "skin"]] * count)])
        write(tmp_path, split, **arrays(count, side), meta=meta)
    dataset = build.build_dataset(Data(kind="tissuenet", path=tmp_path))
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [4, 3, 2]
    assert {record.columns["tissue"] for record in dataset} == {"skin"}
    assert dataset["train-00003"].image.open().shape == (32, 32)
    assert dataset["test-00001"].image.open().shape == (16, 16)


def test_two_threads_that_ask_for_the_same_array_get_it_whole_and_unpack_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write(tmp_path, **arrays(6, 64))
    dataset = tissuenet(file, cache=tmp_path / "cache")
    begun, opened = threading.Barrier(4), []
    member = tissuenet_module._member

    def slowly(*names: Any) -> Any:
        opened.append(names)
        time.sleep(0.2)
        return member(*names)

    def read(number: int) -> np.ndarray:
        begun.wait()
        return dataset[f"train-{number:05d}"].image.open().read()

    monkeypatch.setattr(tissuenet_module, "_member", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, range(4)))
    stored = arrays(6, 64)["X"]
    for number, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, np.moveaxis(stored[number], -1, 0))
    assert len(opened) == 1
    assert [path.name for path in (tmp_path / "cache").rglob("*.*") if path.is_file()] == ["X.npy"]


def test_without_locks_every_thread_writes_its_own_half_and_all_end_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_locks(file: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "lock", no_locks)
    file = write(tmp_path, **arrays(6, 256))
    begun = threading.Barrier(4)

    def read(number: int) -> np.ndarray:
        begun.wait()
        return tissuenet(file)[f"train-{number:05d}"].image.open().read()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, range(4)))
    stored = arrays(6, 256)["X"]
    for number, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, np.moveaxis(stored[number], -1, 0))
    assert not list(tmp_path.rglob("*.part"))


def test_several_processes_that_ask_at_once_all_get_it(tmp_path: Path):
    file = write(tmp_path, **arrays(6, 256))
    code = (
        "import sys\nfrom abbe.datasets import tissuenet\n"
        "sys.stdin.readline()\n"
        "image = tissuenet(sys.argv[1])['train-00000'].image.open()\n"
        "print(image.sha256(image.channels))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    answers = {each.communicate()[0].strip() for each in running}
    pixels = np.moveaxis(arrays(6, 256)["X"][0], -1, 0)
    assert answers == {Image.from_array(pixels, CHANNELS).sha256(CHANNELS)}
    assert [each.returncode for each in running] == [0, 0, 0]


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    dataset = tissuenet(write(tmp_path))
    dataset["train-00000"].image.open()
    (unpacked,) = (tmp_path / "abbe-cache").rglob("X.npy")
    unpacked.unlink()
    for name in (".X.npy.1-0123456789ab.part", ".X.npy.77.part", ".y.npy.77.part"):
        (unpacked.parent / name).touch()
    dataset["train-00001"].image.open()
    assert sorted(path.name for path in unpacked.parent.iterdir()) == [".y.npy.77.part", "X.npy"]
