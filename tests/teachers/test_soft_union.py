"""Soft masks of single objects, joined."""

import numpy as np

from abbe.teachers.sam.soft_union import SoftUnion


def test_the_foreground_is_the_highest_of_the_masks_and_each_pixel_goes_to_the_highest():
    random = np.random.default_rng(0)
    masks = random.random((5, 9, 11)).astype(np.float32)
    union = SoftUnion((9, 11), minimum_area=1)
    for mask in masks:
        union.add(mask, 0, 0)
    assert np.array_equal(union.foreground, masks.max(0))
    labels = union.instances()
    expected = np.where(masks.max(0) >= 0.5, masks.argmax(0) + 1, 0)
    assert np.array_equal(labels > 0, expected > 0)
    for number in range(1, 6):  # the same partition, whatever the numbers
        assert len(np.unique(labels[expected == number])) <= 1
    assert set(np.unique(labels)) == set(range(len(np.unique(labels))))


def test_a_cut_mask_lies_where_it_was_cut():
    union = SoftUnion((6, 8), minimum_area=1)
    union.add(np.full((2, 3), 0.9, np.float32), top=4, left=5)
    assert np.argwhere(union.instances()).min(0).tolist() == [4, 5]
    assert union.foreground.sum() == np.float32(0.9) * 6


def test_small_remains_are_left_out_and_nothing_is_nothing():
    union = SoftUnion((6, 8), minimum_area=3)
    assert not union.instances().any()
    union.add(np.ones((1, 2), np.float32), 0, 0)
    union.add(np.ones((2, 2), np.float32), 3, 3)
    assert union.instances().max() == 1
    assert union.instances()[0, 0] == 0
