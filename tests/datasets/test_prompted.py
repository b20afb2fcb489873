"""Batches for promptable networks."""

import pickle

import numpy as np
import pytest
import torch

from abbe import datasets
from abbe.datasets.pictures import DecodedPicture, picture_records
from abbe.datasets.training.prompted import DEVIATION, MEAN, PromptedBatches, box_around, framed
from abbe.errors import InputError

SIDE = 64


@pytest.fixture(scope="module")
def tissue():
    return datasets.simulated_tissue(4, size=80, seed=1)


@pytest.fixture(scope="module")
def images(tissue):
    return picture_records(tissue, ("nucleus", "membrane"), longest=SIDE)


def batches(images, **options):
    return PromptedBatches(images, side=SIDE, batch_size=3, seed=5, objects=2, **options)


def test_a_batch_is_a_function_of_the_seed_and_the_step(images):
    first, second = (
        batches(images, brightness=0.2, noise=0.1),
        batches(images, brightness=0.2, noise=0.1),
    )
    second[3]
    for key, value in first[7].items():
        assert torch.equal(value, second[7][key]), key


def test_pictures_that_are_not_kept_give_the_same_batches(tissue, images):
    stored = picture_records(tissue, ("nucleus", "membrane"), longest=SIDE, memory_limit=0)
    there = batches(pickle.loads(pickle.dumps(stored)))[5]
    for key, value in batches(images)[5].items():
        assert torch.equal(value, there[key]), key


def test_processes_share_one_batch(images):
    whole = batches(images)[2]
    parts = [
        PromptedBatches(images, side=SIDE, batch_size=4, seed=5, objects=2, rank=r, processes=2)[2]
        for r in (0, 1)
    ]
    alone = PromptedBatches(images, side=SIDE, batch_size=4, seed=5, objects=2)[2]
    for key, value in alone.items():
        assert torch.equal(value[0::2], parts[0][key])
        assert torch.equal(value[1::2], parts[1][key])
    assert whole["image"].shape == (3, 3, SIDE, SIDE)


def test_every_mask_is_an_object_that_its_prompt_points_at(images):
    drawn = batches(images, prompts="mixed", jitter=0.0)
    kinds = set()
    for step in range(8):
        batch = drawn[step]
        assert batch["mask"].shape == (3, 2, SIDE, SIDE)
        assert batch["mask"].flatten(2).any(-1).all()
        assert not (batch["mask"] & ~batch["valid"][:, None]).any()
        for image, masks in enumerate(batch["mask"].numpy()):
            for number, mask in enumerate(masks):
                if "boxes" in batch:
                    kinds.add("box")
                    assert batch["boxes"][image, number].tolist() == box_around(mask).tolist()
                else:
                    points = batch["points"][image, number].numpy()
                    kinds.add(len(points))
                    assert all(mask[int(y), int(x)] for x, y in points)
    assert kinds == {"box", 1, 3}


def test_boxes_move_by_no_more_than_the_jitter_and_stay_in_the_picture(images):
    batch = batches(images, prompts="box", jitter=0.05)[0]
    exact = np.array([[box_around(m) for m in masks] for masks in batch["mask"].numpy()])
    moved = batch["boxes"].numpy()
    assert 0 < np.abs(moved - exact).max() <= 0.05 * SIDE
    assert moved.min() >= 0
    assert moved.max() <= SIDE
    assert (moved[..., 2:] > moved[..., :2]).all()


def test_the_frame_is_sam_s():
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    frame = framed(picture, 8)
    assert np.allclose(frame[1, :6] * DEVIATION[1] + MEAN[1], picture[..., 1], atol=1e-3)
    assert not frame[:, 6:].any()


def test_unknown_pixels_are_not_valid():
    label = np.zeros((SIDE, SIDE), np.int32)
    label[10:30, 10:30], label[:, 40:] = 1, -1
    image = DecodedPicture("a", np.zeros((SIDE, SIDE, 3), np.uint8), label, label.shape)
    batch = PromptedBatches([image], side=SIDE, batch_size=1, seed=0, zoom=(1, 1), flips=False)[0]
    assert not batch["valid"][0, :, 40:].any()
    assert batch["valid"][0, :, :40].all()


def test_masks_of_fewer_pixels_lie_where_the_network_s_do():
    """A pixel of theirs is a square of the frame's, and has its middle."""
    label = np.zeros((SIDE, SIDE), np.int32)
    label[8:24, 12:40], label[:, 60:] = 1, -1
    image = DecodedPicture("a", np.zeros((SIDE, SIDE, 3), np.uint8), label, label.shape)
    whole = {"side": SIDE, "batch_size": 1, "seed": 0, "zoom": (1, 1), "flips": False}
    batch = PromptedBatches([image], mask_step=4, objects=1, **whole)[0]
    expected = np.zeros((16, 16), bool)
    expected[2:6, 3:10] = True
    assert np.array_equal(batch["mask"][0, 0].numpy(), expected)
    assert batch["valid"][0, :, :15].all()
    assert not batch["valid"][0, :, 15:].any()
    rows, columns = np.ogrid[:SIDE, :SIDE]
    disc = ((rows - 30.3) ** 2 + (columns - 33.1) ** 2 < 15**2).astype(np.int32)
    image = DecodedPicture("a", np.zeros((SIDE, SIDE, 3), np.uint8), disc, disc.shape)
    fine, coarse = (
        PromptedBatches([image], mask_step=step, objects=1, **whole)[0]["mask"][0, 0].numpy()
        for step in (1, 4)
    )
    middles = [(np.argwhere(mask).mean(0) + 0.5) * SIDE / len(mask) for mask in (fine, coarse)]
    assert np.abs(middles[0] - middles[1]).max() < 0.25


def test_objects_that_are_thinner_than_a_pixel_are_shown_where_nothing_shrinks():
    label = np.zeros((100, 100), np.int32)
    label[47, 31] = 1
    image = DecodedPicture("a", np.zeros((100, 100, 3), np.uint8), label, label.shape)
    drawn = PromptedBatches([image], side=SIDE, batch_size=1, seed=0, objects=1)
    for step in range(40):
        assert drawn[step]["mask"].any()


def test_images_without_objects_are_left_out_and_none_at_all_is_said(images):
    empty = DecodedPicture("e", images[0].picture, np.zeros_like(images[0].label), (80, 80))
    assert len(PromptedBatches([*images, empty], side=SIDE, batch_size=1, seed=0).images) == 4
    with pytest.raises(InputError, match="no training image has a labelled object"):
        PromptedBatches([empty], side=SIDE, batch_size=1, seed=0)
    with pytest.raises(InputError, match="cannot be shared by 2 processes"):
        PromptedBatches(images, side=SIDE, batch_size=3, seed=0, processes=2)
