"""Pictures in memory and beyond it."""

from dataclasses import replace

import numpy as np
import pytest

from abbe import datasets
from abbe.datasets.pictures import (
    DecodedPicture,
    StoredPicture,
    fitted,
    nearest,
    picture_records,
)
from abbe.errors import InputError

CHANNELS = ("nucleus", "membrane")


def test_the_size_is_rounded_as_sam_rounds():
    torch_sam = pytest.importorskip("segment_anything.utils.transforms")
    for shape in [(300, 401), (1, 1000), (1024, 1024), (77, 33), (2967, 2220)]:
        assert fitted(shape, 1024) == torch_sam.ResizeLongestSide.get_preprocess_shape(*shape, 1024)


def test_labels_keep_their_numbers_when_resized():
    label = np.arange(36).reshape(6, 6)
    assert np.array_equal(nearest(label, (6, 6)), label)
    assert set(np.unique(nearest(label, (3, 2)))) <= set(label.ravel())


@pytest.mark.parametrize("longest", [64, 200])
def test_what_does_not_fit_the_memory_is_the_same_when_it_is_wanted(longest):
    tissue = datasets.simulated_tissue(4, size=80, seed=1)
    kept = picture_records(tissue, CHANNELS, longest=longest)
    one = kept[0].picture.nbytes + np.asarray(kept[0].label).nbytes
    part = picture_records(tissue, CHANNELS, longest=longest, memory_limit=2 * one)
    assert [type(each) for each in kept] == [DecodedPicture] * 4
    assert [type(each) for each in part] == [DecodedPicture] * 2 + [StoredPicture] * 2
    for first, second in zip(kept, part, strict=True):
        assert (first.id, first.shape, first.has_objects) == (
            second.id,
            second.shape,
            second.has_objects,
        )
        np.testing.assert_array_equal(first.picture, second.picture)
        np.testing.assert_array_equal(np.asarray(first.label), np.asarray(second.label))


def test_pictures_without_a_label_have_no_objects():
    tissue = datasets.simulated_tissue(3, size=80, seed=1)
    bare = [replace(record, label=None) for record in tissue]
    for limit in (0, 1 << 30):
        pictures = picture_records(bare, CHANNELS, longest=64, memory_limit=limit)
        assert not any(each.has_objects or each.label is not None for each in pictures)


def test_a_label_of_another_size_is_refused():
    tissue = datasets.simulated_tissue(3, size=80, seed=1)
    other = datasets.simulated_tissue(3, size=96, seed=1)
    wrong = replace(tissue.records[0], label=other.records[0].label)
    with pytest.raises(InputError, match="the label is 96 x 96 px but the image 80 x 80"):
        picture_records([wrong], CHANNELS, longest=64)
