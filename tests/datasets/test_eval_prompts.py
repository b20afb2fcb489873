"""Prompts to evaluate with, against brute force."""

import numpy as np
import pytest

from abbe.datasets.training.eval_prompts import Asked, inner_points, objects_of
from abbe.errors import InputError


def scene(seed: int, size: tuple[int, int] = (23, 31)) -> np.ndarray:
    """A union of three discs, perhaps cut by the border."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    mask = np.zeros(size, bool)
    for _ in range(3):
        row, column = random.uniform(0, size[0]), random.uniform(0, size[1])
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < random.uniform(2, 8) ** 2
    return mask


def depths(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one outside, beyond the image included."""
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded) - 1
    depth = np.zeros(mask.shape)
    for row, column in np.argwhere(mask):
        depth[row, column] = np.sqrt(((outside - (row, column)) ** 2).sum(1).min())
    return depth


def index_of(point: np.ndarray) -> tuple[int, int]:
    assert (point % 1 == 0.5).all()
    return int(point[1]), int(point[0])


def only(mask: np.ndarray) -> Asked:
    (asked,) = objects_of(mask.astype(np.int32))
    return asked


@pytest.mark.parametrize("seed", range(8))
def test_points_are_the_deepest_and_then_the_farthest(seed):
    mask = scene(seed)
    depth = depths(mask)
    points = [index_of(point) for point in inner_points(mask, 3)]
    assert all(mask[point] for point in points)
    assert depth[points[0]] == pytest.approx(depth.max())
    fair = np.argwhere(depth >= depth.max() / 3 - 1e-6)
    for number in (1, 2):
        nearest = np.min([((fair - point) ** 2).sum(1) for point in points[:number]], axis=0)
        ours = min(((np.array(points[number]) - p) ** 2).sum() for p in points[:number])
        assert ours == nearest.max()
        assert depth[points[number]] >= depth.max() / 3 - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_they_are_the_same_at_every_call_and_begin_alike(seed):
    mask = scene(seed)
    three = inner_points(mask, 3)
    assert np.array_equal(three, inner_points(mask.copy(), 3))
    assert np.array_equal(three, inner_points(np.asfortranarray(mask), 3))
    assert np.array_equal(three[:1], inner_points(mask, 1))


def test_the_point_of_a_ring_lies_on_it():
    rows, columns = np.indices((41, 41))
    distance = np.hypot(rows - 20, columns - 20)
    ring = (distance > 10) & (distance < 16)
    assert not ring[20, 20]  # where its centre of mass is
    points = inner_points(ring, 3)
    assert all(ring[index_of(point)] for point in points)
    assert min(np.linalg.norm(points[a] - points[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 15


@pytest.mark.parametrize("seed", range(4))
def test_the_box_holds_all_and_touches_on_every_side(seed):
    mask = scene(seed)
    left, top, right, bottom = only(mask).box.astype(int)
    inside = mask[top:bottom, left:right]
    assert inside.sum() == mask.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@pytest.mark.parametrize("seed", range(4))
def test_objects_of_a_label_are_asked_for_as_their_masks_would_be(seed):
    """With unknown pixels, parts that lie apart, crumbs, and numbers that cannot be listed."""
    label = np.full((23, 31), -1, np.int32)
    for place, number in enumerate((7, 2**31 - 1, 3)):
        label[scene(3 * seed + place)] = number
    label[0, 0], label[22, 30] = 5, 0
    objects = objects_of(label)
    numbers = [n for n in (3, 7, 2**31 - 1) if (label == n).sum() >= 8]
    assert [each.number for each in objects] == numbers
    for each in objects:
        mask = label == each.number
        assert np.array_equal(each.whole, mask)
        assert np.array_equal(each.box, only(mask).box)
        assert np.array_equal(each.points(3), inner_points(mask, 3))


def test_one_pixel_and_a_whole_image():
    mask = np.zeros((5, 7), bool)
    mask[4, 6] = True
    assert only(mask).box.tolist() == [6, 4, 7, 5]
    assert inner_points(mask, 3).tolist() == [[6.5, 4.5]] * 3
    whole = np.ones((5, 7), bool)
    assert only(whole).box.tolist() == [0, 0, 7, 5]
    assert index_of(inner_points(whole, 1)[0])[0] == 2  # the middle row


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((4, 4), bool), "the mask is empty"),
        (np.zeros((0, 4), bool), "the mask is empty"),
        (np.ones((4, 4), np.uint8), "not .4, 4. uint8"),
        (np.ones((1, 4, 4), bool), "not .1, 4, 4. bool"),
    ],
)
def test_what_cannot_be_pointed_at(mask, words):
    with pytest.raises(InputError, match=words):
        inner_points(mask, 1)


def test_no_points_cannot_be_asked_for():
    with pytest.raises(InputError, match="0 points"):
        inner_points(np.ones((4, 4), bool), 0)
