import pickle
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image
import pytest
from helpers_of_datasets import dataset_of, record

from abbe.datasets import Record, folder, simulated_tissue
from abbe.errors import InputError
from abbe.imaging import Image


def test_a_dataset_is_a_sized_ordered_mapping_of_records():
    dataset = dataset_of(record("b"), record("a", labelled=False))
    assert len(dataset) == 2
    assert dataset.ids == ("b", "a")
    assert [item.id for item in dataset] == ["b", "a"]
    assert dataset["a"].label is None
    assert "a" in dataset
    assert "c" not in dataset
    assert dataset.labelled.ids == ("b",)
    assert dataset.unlabelled.ids == ("a",)
    with pytest.raises(InputError, match="no image 'c'"):
        dataset["c"]


def test_ids_must_differ_and_splits_must_be_known():
    with pytest.raises(InputError, match="two images have the id 'a'"):
        dataset_of(record("a"), record("a"))
    with pytest.raises(InputError, match="'a' has the split 'dev'"):
        dataset_of(record("a", split="dev"))
    with pytest.raises(InputError, match="no split 'dev'"):
        dataset_of(record("a")).split("dev")  # pyright: ignore[reportArgumentType]


def test_with_splits_replaces_all_splits():
    dataset = dataset_of(record("a", split="test"), record("b")).with_splits({"b": "train"})
    assert [item.split for item in dataset] == [None, "train"]
    assert dataset.split("train").ids == ("b",)
    with pytest.raises(InputError, match="no image 'z'"):
        dataset.with_splits({"z": "train"})


def test_where_keeps_matching_columns_and_their_channels(make_folder):
    root = make_folder(index="id,kind\na,fluo\nb,fluo\nc,colour\n")
    PIL.Image.fromarray(np.ones((32, 40, 3), np.uint8)).save(root / "images" / "c.png")
    dataset = folder(root)
    assert dataset.channels == ("grey",)
    assert dataset.where(kind="fluo").ids == ("a", "b")
    assert dataset.where(kind="colour").channels == ("red", "green", "blue")
    with pytest.raises(InputError, match="no column 'kid'; its columns are: id, kind"):
        dataset.where(kid="fluo")
    with pytest.raises(InputError, match=r"no image with kind = flou.*holds: colour, fluo"):
        dataset.where(kind="flou")
    assert dataset.where(kind="fluo, colour") == dataset.where(kind="fluo,colour") == dataset
    with pytest.raises(InputError, match=r"no image with kind = color; .* holds: colour, fluo"):
        dataset.where(kind="fluo,color")


def test_unit_is_the_group_or_the_image_itself():
    assert record("a").unit == "a"
    assert record("a", group="patient 1").unit == "patient 1"


def test_records_can_be_sent_to_another_process(make_folder):
    dataset = folder(make_folder())
    copy: Record = pickle.loads(pickle.dumps(dataset))["b"]
    assert copy.image.open().shape == (32, 40)
    assert copy.label is not None
    assert copy.label.read().max() == 2


def test_the_room_needs_no_torch():
    code = "import sys, abbe.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_only_channel_is_the_one_that_is_seen(make_folder):
    dataset = folder(make_folder())
    seen = dataset.seen_as(["nucleus"])
    assert (dataset.channels, seen.channels) == (("grey",), ("nucleus",))
    assert seen.notes[-1] == "the one channel of its images, grey, is taken for nucleus"
    for before, after in zip(dataset, seen, strict=True):
        opened = pickle.loads(pickle.dumps(after.image)).open()
        assert opened.channels == ("nucleus",)
        np.testing.assert_array_equal(opened.read(channels=["nucleus"]), before.image.open().read())
    again = seen.seen_as(("DAPI", "DAPI"))  # a teacher of two channels that is shown one twice
    assert again["a"].image.open().channels == ("DAPI",)
    assert seen.seen_as(("nucleus",)) is seen
    assert seen.seen_as(("nucleus", "membrane")) is seen
    simulated = simulated_tissue(3, size=64)
    assert simulated.seen_as(("nucleus",)) is simulated  # it has more channels, this among them
    seven = Fixed(np.full((1, 4, 5), 7, np.uint8))
    one = replace(simulated, channels=("x",), records=(Record("a", seven),))
    named = one.seen_as(("nucleus",)).records[0].image.open()
    assert named.channels == ("nucleus",)
    assert named.read(channels=["nucleus"]).min() == 7


@dataclass(frozen=True)
class Fixed:
    """An image that lies in no file."""

    pixels: np.ndarray

    def open(self) -> Image:
        return Image.from_array(self.pixels, ("x",))
