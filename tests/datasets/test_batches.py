"""Batches: pure functions of seed and step, the same geometry for all, honest about the unknown."""

import pickle
from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from abbe.datasets.training.batches import Batch, Batches
from abbe.datasets.training.orders import order
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.imaging import Image
from abbe.losses import probability_mse
from abbe.losses import supervised as supervised_loss

LIGHT: dict[str, Any] = {"gamma": (0.6, 1.6), "brightness": 0.3, "noise": 0.1, "blur": 1.0}
IDENTITY = np.array([[0, 255]], np.float32)
"""Limits with which 8-bit pixels become value / 255."""


def picture(
    number: int, shape: tuple[int, int] = (40, 48), *, labelled: bool = True, target: bool = True
) -> Prepared:
    """An image, a label and a target with the same random values everywhere."""
    values = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return Prepared(
        id=str(number),
        pixels=np.stack([values, 255 - values]),
        channels=("nucleus", "membrane"),
        limits=np.repeat(IDENTITY, 2, axis=0),
        shape=shape,
        label=values.astype(np.int32) if labelled else None,
        probability=values[None] if target else None,
    )


def batches_of(*images: Prepared, **changes: Any) -> Batches:
    options: dict[str, Any] = {
        "input_channels": ("nucleus",),
        "batch_size": 4,
        "crop": 32,
        "seed": 0,
    }
    return Batches(images, **{**options, **changes})


def equal(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def numbers_drawn(batches: Batches, steps: int) -> list[list[int]]:
    """Which image each sample comes from, where every image is of one value: its number."""
    return [
        [round(float(sample.max()) * 255) for sample in batches[step]["image"]]
        for step in range(steps)
    ]


def plain(number: int, *, labelled: bool) -> Prepared:
    """An image that is ``number`` everywhere."""
    return Prepared(
        id=str(number),
        pixels=np.full((1, 32, 32), number, np.uint8),
        channels=("nucleus",),
        limits=IDENTITY,
        shape=(32, 32),
        label=np.ones((32, 32), np.int32) if labelled else None,
        probability=np.full((1, 32, 32), 99, np.uint8),
    )


# -- geometry and light


def test_image_label_and_target_move_together() -> None:
    batches = batches_of(*(picture(number) for number in range(3)))
    for step in range(10):
        batch = batches[step]
        torch.testing.assert_close(batch["image"], batch["target"], rtol=0, atol=1e-6)
        assert torch.equal((batch["image"][:, 0] * 255).round().long(), batch["label"])
        assert batch["valid"].all()


def test_image_label_and_target_are_resized_together() -> None:
    rows, columns = np.mgrid[:40, :48]
    smooth = (50 + 2 * rows + columns).astype(np.uint8)
    image = replace(
        picture(0),
        pixels=np.stack([smooth, smooth]),
        label=smooth.astype(np.int32),
        probability=smooth[None],
    )
    batches = batches_of(image, crop=24, scale=(0.7, 1.4))
    for step in range(10):
        batch = batches[step]
        torch.testing.assert_close(batch["image"], batch["target"])
        # Nearest against bilinear: half a pixel each way, so (2 + 1) / 2.
        assert (batch["image"][:, 0] * 255 - batch["label"]).abs().max() <= 1.5 + 1e-3


def test_light_touches_the_image_alone() -> None:
    images = [picture(number) for number in range(3)]
    dark, lit = batches_of(*images), batches_of(*images, **LIGHT)
    for step in range(5):
        before, after = dark[step], lit[step]
        assert not torch.equal(before["image"], after["image"])
        assert equal({**before, "image": after["image"]}, after)


def test_instance_targets_move_with_the_label() -> None:
    images = [
        replace(image, probability=None, instances=image.label)
        for image in (picture(number) for number in range(3))
    ]
    batch = batches_of(*images, scale=(0.7, 1.4))[0]
    assert torch.equal(batch["target_instances"], batch["label"])
    assert "target" not in batch


def test_a_live_teacher_sees_geometry_but_no_change_of_light() -> None:
    images = [picture(number, target=False) for number in range(3)]
    batch = batches_of(*images, teacher_channels=("membrane", "nucleus"), **LIGHT)[0]
    assert batch["teacher_image"].shape == (4, 2, 32, 32)
    values = (batch["teacher_image"] * 255).round().long()
    assert torch.equal(values[:, 1], batch["label"])
    assert torch.equal(values[:, 0], 255 - batch["label"])
    assert batch["has_target"].all()
    assert "target" not in batch  # it is the teacher's to give


def test_the_students_image_does_not_depend_on_other_channels() -> None:
    image = picture(0)
    assert isinstance(image.pixels, np.ndarray)
    other = replace(image, pixels=np.stack([image.pixels[0], image.pixels[1] // 3]))
    for step in range(5):
        first, second = (batches_of(each, **LIGHT)[step] for each in (image, other))
        assert equal(first, second)
    seen = [
        batches_of(each, input_channels=("membrane",), **LIGHT)[0]["image"]
        for each in (image, other)
    ]
    assert not torch.equal(*seen)


def test_channels_come_in_the_order_asked_for() -> None:
    both = batches_of(picture(0), input_channels=("membrane", "nucleus"))[0]["image"]
    assert torch.equal((both[:, 1] * 255).round(), 255 - (both[:, 0] * 255).round())
    assert torch.equal(both[:, 1:], batches_of(picture(0))[0]["image"])


# -- determinism


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    images = [picture(number) for number in range(3)]
    batches = batches_of(*images, scale=(0.8, 1.25), **LIGHT)
    third = batches[3]
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global state is what must not matter
    for step in (7, 0, 3):
        batches[step]
    assert equal(batches[3], third)
    assert equal(batches_of(*images, scale=(0.8, 1.25), **LIGHT)[3], third)
    assert equal(pickle.loads(pickle.dumps(batches))[3], third)
    assert not torch.equal(batches[4]["image"], third["image"])
    other = batches_of(*images, scale=(0.8, 1.25), seed=1, **LIGHT)[3]
    assert not torch.equal(other["image"], third["image"])


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_the_parts_of_all_processes_are_the_whole_batch(processes: int) -> None:
    images = [picture(number, labelled=number < 3) for number in range(5)]
    whole = batches_of(*images, batch_size=6, **LIGHT)
    parts = [
        batches_of(*images, batch_size=6, rank=rank, processes=processes, **LIGHT)
        for rank in range(processes)
    ]
    for step in range(3):
        together = [part[step] for part in parts]
        for key, expected in whole[step].items():
            for rank, part in enumerate(together):
                assert torch.equal(part[key], expected[rank::processes])


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.batch_size 4 .* 3 processes.* multiple of 3"):
        batches_of(picture(0), processes=3)


# -- which images are drawn


def test_every_image_comes_once_before_any_comes_again() -> None:
    images = [plain(number, labelled=number < 100) for number in (1, 2, 3, 101, 102, 103, 104, 105)]
    drawn = numbers_drawn(batches_of(*images, batch_size=4), 30)
    assert all(max(batch[:2]) < 100 < min(batch[2:]) for batch in drawn)
    for pool, part in (((1, 2, 3), slice(0, 2)), ((101, 102, 103, 104, 105), slice(2, 4))):
        sequence = [number for batch in drawn for number in batch[part]]
        rounds = [
            tuple(sequence[start : start + len(pool)])
            for start in range(0, len(sequence), len(pool))
        ]
        assert len(sequence) == 60
        assert all(sorted(each) == list(pool) for each in rounds)
        assert len(set(rounds)) > 1  # in another order each time


def test_with_a_second_view_no_image_is_in_a_batch_twice() -> None:
    """At the seam of two passes one stood against itself."""
    images = [plain(number, labelled=False) for number in range(1, 8)]
    drawn = numbers_drawn(batches_of(*images, batch_size=3, second_view=True), 30)
    assert all(len(set(batch)) == 3 for batch in drawn)
    assert set(chain(*drawn)) == set(range(1, 8))
    assert all(len({*drawn[step], *drawn[step + 1]}) == 6 for step in range(0, 30, 2))
    with pytest.raises(InputError, match="there are 2 tiles only"):
        batches_of(*images[:2], batch_size=3, second_view=True)


def test_a_sample_looks_at_no_other_image_and_draws_no_order_anew() -> None:
    class Looked(list[Prepared]):
        times = 0

        def __iter__(self) -> Any:
            Looked.times += 1
            return super().__iter__()

    images = Looked(replace(plain(n, labelled=False), probability=None) for n in range(1, 9))
    batches = Batches(images, input_channels=("nucleus",), batch_size=4, crop=32, seed=0)
    Looked.times = 0
    order.cache_clear()
    assert "target_instances" not in batches[0]
    assert batches[1]["image"].shape == (4, 1, 32, 32)
    assert Looked.times == 0
    assert order.cache_info().misses == 1


@pytest.mark.parametrize("labelled", [True, False])
def test_one_kind_of_images_fills_the_batch(labelled: bool) -> None:
    images = [plain(number, labelled=labelled) for number in (1, 2, 3)]
    counts = Counter(chain(*numbers_drawn(batches_of(*images), 3)))
    assert counts == {1: 4, 2: 4, 3: 4}


@pytest.mark.parametrize(("share", "labelled"), [(0.0, 0), (0.25, 1), (0.75, 3), (1.0, 4)])
def test_the_labelled_share_is_kept(share: float, labelled: int) -> None:
    images = [plain(1, labelled=True), plain(101, labelled=False)]
    drawn = numbers_drawn(batches_of(*images, labelled_share=share), 5)
    assert drawn == [[1] * labelled + [101] * (4 - labelled)] * 5


@pytest.mark.parametrize(
    ("share", "size", "missing"), [(0.1, 4, "labelled"), (0.95, 4, "unlabelled"), (0.5, 1, "")]
)
def test_a_share_that_leaves_one_kind_out_is_refused(share: float, size: int, missing: str) -> None:
    images = [plain(1, labelled=True), plain(101, labelled=False)]
    message = rf"training\.labelled_share {share} of training\.batch_size {size} .* {missing}"
    with pytest.raises(InputError, match=message):
        batches_of(*images, labelled_share=share, batch_size=size)


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"no training images.*'abbe data check'"):
        batches_of()


# -- the unknown


@pytest.mark.parametrize("shape", [(20, 48), (40, 9), (12, 13), (1, 1)])
def test_images_smaller_than_the_crop_are_padded(shape: tuple[int, int]) -> None:
    image = picture(0, shape)
    image = replace(image, pixels=np.full((2, *shape), 200, np.uint8))
    batch = batches_of(image, flips=False)[0]
    height, width = min(shape[0], 32), min(shape[1], 32)
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[:height, :width] = True
    for index in range(4):
        assert torch.equal(batch["valid"][index], expected)
        assert (batch["image"][index, 0][~expected] == 0).all()
        assert (batch["image"][index, 0][expected] > 0).all()
        assert (batch["label"][index][~expected] == -1).all()
        assert (batch["target"][index, 0][~expected] == 0).all()


def test_padding_is_turned_and_resized_with_the_image() -> None:
    image = replace(picture(0, (20, 25)), pixels=np.full((2, 20, 25), 255, np.uint8))
    seen = set()
    for step in range(10):
        batch = batches_of(image, scale=(0.7, 1.3))[step]
        filled = batch["image"][:, 0] > 0.5  # bilinear values half way from image to padding
        disagree = filled ^ batch["valid"]
        assert disagree.float().mean() < 0.03  # single pixels along the edge
        assert ((batch["label"] >= 0) == batch["valid"]).all()
        seen |= {tuple(corner) for corner in batch["valid"][:, ::31, ::31].flatten(1).tolist()}
    assert len(seen) > 2  # the padding was in more than one corner


def test_losses_ignore_what_lies_beyond_the_edge() -> None:
    batch = batches_of(picture(0, (20, 25)))[0]
    valid = batch["valid"]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 32, 32, generator=generator)
    changed = torch.where(valid, logits, 100.0)
    for loss, truth in (
        (probability_mse, batch["target"][:, 0]),
        (supervised_loss, (batch["label"] > 100).float()),
    ):
        assert loss(logits, truth, valid) == loss(changed, truth, valid)
        assert loss(logits, truth, valid) != loss(logits + 1, truth, valid)


def test_a_partly_labelled_image_is_drawn_around_its_known_pixels_and_as_unlabelled() -> None:
    image = picture(0, (200, 200))
    partial = np.full((200, 200), -1, np.int32)
    partial[150:153, 20:22] = 5
    batches = batches_of(replace(image, label=partial))
    known = torch.stack([(batches[step]["label"] >= 0).any(2).any(1) for step in range(30)])
    assert known[:, :2].all()  # the labelled half of each batch
    assert (~known[:, 2:]).sum() > 0  # the other half lies anywhere
    assert all(batches[step]["has_label"].all() for step in range(3))


def test_partly_labelled_images_share_their_place_with_both_kinds() -> None:
    partial = replace(plain(50, labelled=True), label=np.full((32, 32), -1, np.int32))
    assert partial.label is not None
    partial.label[3, 4] = 0
    images = [plain(1, labelled=True), partial, plain(101, labelled=False)]
    drawn = numbers_drawn(batches_of(*images), 10)
    assert {number for batch in drawn for number in batch[:2]} == {1, 50}
    assert {number for batch in drawn for number in batch[2:]} == {50, 101}


def test_a_label_that_is_unknown_everywhere_counts_as_none() -> None:
    unknown = replace(plain(50, labelled=True), label=np.full((32, 32), -1, np.int32))
    drawn = numbers_drawn(batches_of(plain(1, labelled=True), unknown), 10)
    assert drawn == [[1, 1, 50, 50]] * 10


def test_what_an_image_lacks_is_flagged() -> None:
    images = [
        picture(1, labelled=True, target=False),
        picture(2, labelled=False, target=True),
    ]
    batch = batches_of(*images)[0]
    assert batch["has_label"].tolist() == [True, True, False, False]
    assert batch["has_target"].tolist() == [False, False, True, True]
    assert (batch["label"][2:] == -1).all()
    assert (batch["target"][:2] == 0).all()
    assert batch["target"].shape == (4, 1, 32, 32)


def test_missing_instance_targets_are_unknown() -> None:
    given = replace(picture(1), probability=None, instances=picture(1).label)
    batch = batches_of(given, picture(2, labelled=False, target=False))[0]
    assert batch["has_target"].tolist() == [True, True, False, False]
    assert (batch["target_instances"][2:] == -1).all()


def test_types_are_as_documented() -> None:
    batch = batches_of(picture(0), teacher_channels=("membrane",))[0]
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "image": (torch.float32, (4, 1, 32, 32)),
        "teacher_image": (torch.float32, (4, 1, 32, 32)),
        "label": (torch.int64, (4, 32, 32)),
        "has_label": (torch.bool, (4,)),
        "target": (torch.float32, (4, 1, 32, 32)),
        "has_target": (torch.bool, (4,)),
        "valid": (torch.bool, (4, 32, 32)),
    }


def test_an_image_on_disk_gives_the_same_crops() -> None:
    image = picture(0)
    assert isinstance(image.pixels, np.ndarray)
    lazy = replace(image, pixels=Image.from_array(image.pixels, image.channels))
    for step in range(5):
        assert equal(batches_of(image, **LIGHT)[step], batches_of(lazy, **LIGHT)[step])
