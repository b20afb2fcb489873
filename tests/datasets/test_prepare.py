"""What is read once before training, and what is refused then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from helpers_of_datasets import ArrayImage, ArrayLabel

from abbe.datasets import Record, folder
from abbe.datasets.collection import FileImage
from abbe.datasets.training.prepare import StoredTarget, prepare
from abbe.errors import InputError, StoreError
from abbe.imaging import Image, Region, normalise, percentile_limits
from abbe.targets import Provenance, TargetStore, TargetWriter

CHANNELS = ("nucleus", "membrane")


def provenance(channels: tuple[str, ...] = CHANNELS) -> Provenance:
    return Provenance("tutor", None, "not stated", "not stated", channels, "none")


def record(id: str, shape: tuple[int, int] = (20, 30), **changes: Any) -> Record:
    pixels = np.random.default_rng(len(id)).integers(0, 900, (2, *shape)).astype(np.uint16)
    return Record(id, ArrayImage(pixels, CHANNELS), **changes)


@pytest.fixture
def teach(tmp_path: Path) -> Callable[..., TargetStore]:
    """A function that stores maps of records by id, and opens the store."""

    def write(records: list[Record], maps: dict[str, dict[str, np.ndarray]], **more: Any):
        with TargetWriter.open(tmp_path / "targets.zarr", provenance()) as writer:
            for each in records:
                if each.id in maps:
                    sha = each.image.open().sha256(CHANNELS)
                    writer.append(each.id, maps[each.id], image_sha256=sha, **more)
        return TargetStore(tmp_path / "targets.zarr")

    return write


def test_pixels_limits_and_label_are_kept() -> None:
    label = np.arange(600, dtype=np.int32).reshape(20, 30)
    given = record("a", label=ArrayLabel(label))
    (image,) = prepare([given], ("membrane",))
    pixels = given.image.open().read(channels=["membrane"])
    assert image.id == "a"
    assert (image.channels, image.shape) == (("membrane",), (20, 30))
    assert np.array_equal(np.asarray(image.pixels), pixels)
    assert np.array_equal(image.limits, percentile_limits(pixels))
    assert image.label is not None
    assert np.array_equal(image.label, label)
    assert not image.has_target
    expected = normalise(pixels, image.limits)
    assert np.array_equal(image.whole(), expected)
    crop = Region(3, 5, 11, 9)
    # The limits are those of the whole image, not of the crop.
    assert np.array_equal(image.crop(crop), expected[:, 3:11, 5:9])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_beyond_the_memory_limit_are_read_crop_by_crop(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    records = []
    for name in "abc":
        pixels = rng.integers(0, 255, (40, 50)).astype(np.uint8)
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "png":
            PIL.Image.fromarray(pixels).save(path)
        else:
            tifffile.imwrite(path, pixels)
        records.append(Record(name, FileImage(path, ("grey",))))
    held = prepare(records, ("grey",))
    limited = prepare(records, ("grey",), memory_limit=2 * 40 * 50)
    assert [isinstance(image.pixels, Image) for image in held] == [False, False, False]
    assert [isinstance(image.pixels, Image) for image in limited] == [False, False, True]
    lazy = limited[2]
    for region in (Region(0, 0, 40, 50), Region(7, 3, 9, 50)):
        assert np.array_equal(lazy.crop(region), held[2].crop(region))
    assert isinstance(lazy.pixels, Image)
    assert lazy.pixels._pixels is None  # nothing that was decoded stays in memory


def test_a_label_of_another_size_is_refused() -> None:
    given = record("cell 7", label=ArrayLabel(np.zeros((20, 31), np.int32)))
    with pytest.raises(InputError, match=r"cell 7: the label is 20 x 31 px .* image 20 x 30"):
        prepare([given], ("nucleus",))


def test_a_missing_channel_is_named() -> None:
    with pytest.raises(InputError, match=r"no channel 'dapi'.*nucleus, membrane"):
        prepare([record("a")], ("dapi",))


def test_targets_are_those_of_the_store(teach: Callable[..., TargetStore]) -> None:
    """What is stored and what the teacher said differ by less than 1/255."""
    records = [record("a"), record("bb")]
    answer = np.random.default_rng(0).random((1, 20, 30), np.float32)
    first, second = prepare(
        records, CHANNELS, targets=teach(records, {"a": {"probability": answer}})
    )
    assert isinstance(first.probability, np.ndarray)
    assert first.probability.dtype == np.uint8
    assert np.abs(first.probability / np.float32(255) - answer).max() <= 0.5 / 255 + 1e-6
    assert [image.has_target for image in (first, second)] == [True, False]


def test_instances_are_targets_too(teach: Callable[..., TargetStore]) -> None:
    records = [record("a")]
    instances = np.arange(600, dtype=np.uint32).reshape(20, 30)
    (image,) = prepare(records, CHANNELS, targets=teach(records, {"a": {"instances": instances}}))
    assert isinstance(image.instances, np.ndarray)
    assert image.has_target
    assert np.array_equal(image.instances, instances)


@pytest.mark.parametrize("kind", ["probability", "instances"])
def test_targets_beyond_the_memory_limit_are_read_when_wanted(
    teach: Callable[..., TargetStore], kind: str
) -> None:
    records = [record(id) for id in ("one", "three")]
    random = np.random.default_rng(3)
    maps = {
        "probability": random.random((1, 20, 30), np.float32),
        "instances": random.integers(0, 9, (20, 30)).astype(np.int32),
    }
    store = teach(records, {each.id: {kind: maps[kind]} for each in records})
    kept = prepare(records, CHANNELS, targets=store)
    for limit, read in ((0, 2), (1 << 20, 0)):
        lazy = prepare(records, CHANNELS, targets=store, memory_limit=limit)
        targets = [getattr(image, kind) for image in lazy]
        assert sum(isinstance(target, StoredTarget) for target in targets) == read
        for image, target in zip(kept, targets, strict=True):
            whole = getattr(image, kind)
            assert target.shape == whole.shape
            assert len(target) == len(whole)
            np.testing.assert_array_equal(target[..., 3:9, 5:20], whole[..., 3:9, 5:20])
            assert target[..., 3:9, 5:20].dtype == whole.dtype


def test_targets_of_two_kinds_are_refused(teach: Callable[..., TargetStore]) -> None:
    records = [record("a"), record("bb")]
    maps = {
        "a": {"probability": np.zeros((1, 20, 30), np.float32)},
        "bb": {"instances": np.ones((20, 30), np.uint32)},
    }
    with pytest.raises(StoreError, match=r"probability .* 'a' .* instances .* 'bb'"):
        prepare(records, CHANNELS, targets=teach(records, maps))


def test_images_on_which_the_teacher_found_nothing_have_no_target(
    teach: Callable[..., TargetStore],
) -> None:
    records = [record("a")]
    store = teach(records, {"a": {"probability": np.zeros((1, 20, 30), np.float32)}}, empty=True)
    (image,) = prepare(records, CHANNELS, targets=store)
    assert not image.has_target


def test_targets_of_other_pixels_are_refused(teach: Callable[..., TargetStore]) -> None:
    taught, other = record("a"), record("longer name")
    store = teach([taught], {"a": {"probability": np.zeros((1, 20, 30), np.float32)}})
    changed = Record("a", other.image)
    with pytest.raises(StoreError, match=r"the target of 'a' was made from other pixels.*again"):
        prepare([changed], CHANNELS, targets=store)


def test_targets_of_another_size_are_refused(teach: Callable[..., TargetStore]) -> None:
    given = record("a")
    store = teach([given], {"a": {"probability": np.zeros((1, 10, 15), np.float32)}})
    with pytest.raises(StoreError, match="the target of 'a' is 10 x 15 px but the image 20 x 30"):
        prepare([given], CHANNELS, targets=store)


def test_the_student_need_not_see_what_the_teacher_saw(teach: Callable[..., TargetStore]) -> None:
    given = record("a")
    store = teach([given], {"a": {"probability": np.zeros((1, 20, 30), np.float32)}})
    (image,) = prepare([given], ("nucleus",), targets=store)
    assert image.has_target
    assert image.channels == ("nucleus",)


def test_a_folder_is_prepared(make_folder: Callable[..., Path]) -> None:
    images = prepare(folder(make_folder(labelled=["a"])), ("grey",))
    assert [image.label is not None for image in images] == [True, False, False]
