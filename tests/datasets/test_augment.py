"""Geometry moves every array of a sample alike; photometry changes the image only."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abbe.datasets.training.augment import Geometry, change_light, draw_geometry
from abbe.imaging import Region

SIDE = 16
TURNS_AND_MIRRORS = list(itertools.product(range(4), (False, True)))


def geometry(cut: int, turns: int = 0, mirror: bool = False) -> Geometry:
    return Geometry(Region(0, 0, cut, cut), SIDE, turns, mirror)


@pytest.mark.parametrize(("turns", "mirror"), TURNS_AND_MIRRORS)
def test_images_and_labels_are_turned_alike(
    rng: np.random.Generator, turns: int, mirror: bool
) -> None:
    label = rng.integers(0, 200, (SIDE, SIDE))
    moved = geometry(SIDE, turns, mirror)
    from_image = moved.intensities(label[None].astype(np.uint8))[0]
    from_label = moved.labels(label)
    assert torch.equal(from_image, from_label.float())
    expected = np.rot90(label, turns)
    assert np.array_equal(from_label, expected[:, ::-1] if mirror else expected)


def test_the_eight_turns_and_mirrors_differ(rng: np.random.Generator) -> None:
    label = rng.integers(0, 200, (SIDE, SIDE))
    moved = {geometry(SIDE, *how).labels(label).numpy().tobytes() for how in TURNS_AND_MIRRORS}
    assert len(moved) == 8


@pytest.mark.parametrize("cut", [8, 13, 15, 16, 17, 20, 31, 48])
@pytest.mark.parametrize(("turns", "mirror"), [(0, False), (1, True)])
def test_images_and_labels_are_resized_alike(cut: int, turns: int, mirror: bool) -> None:
    rows, columns = np.mgrid[:cut, :cut]
    ramp = 100 + 3 * rows - 2 * columns  # bilinear sampling of a plane is exact
    moved = geometry(cut, turns, mirror)
    from_image, from_label = moved.intensities(ramp[None])[0], moved.labels(ramp)
    assert from_image.shape == from_label.shape == (SIDE, SIDE)
    # The nearest pixel is at most half a pixel away in each direction: (3 + 2) / 2.
    assert (from_image - from_label).abs().max() <= 2.5 + 1e-4


def test_resized_labels_stay_labels() -> None:
    label = np.zeros((20, 20), int)
    label[5:, 5:] = 70_000
    label[:3] = -1
    assert set(geometry(20).labels(label).unique().tolist()) == {-1, 0, 70_000}


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    smallest=st.sampled_from([0.5, 0.8, 1.0]),
    largest=st.sampled_from([1.0, 1.25, 2.0]),
    centred=st.booleans(),
)
def test_a_crop_lies_in_the_image_and_holds_its_centre(
    seed: int, height: int, width: int, smallest: float, largest: float, centred: bool
) -> None:
    random = np.random.default_rng(seed)
    centre = (int(random.integers(height)), int(random.integers(width))) if centred else None
    drawn = draw_geometry(random, (height, width), SIDE, scale=(smallest, largest), centre=centre)
    top, left, bottom, right = drawn.box
    assert bottom - top == right - left
    assert round(SIDE / largest) <= bottom - top <= round(SIDE / smallest)
    for start, stop, length in ((top, bottom, height), (left, right, width)):
        assert start >= 0
        # Only an image smaller than the crop is exceeded, and then it lies at the crop's start.
        assert stop <= length or start == 0
    if centre is not None:
        assert top <= centre[0] < bottom
        assert left <= centre[1] < right


def test_every_place_turn_and_mirror_is_drawn(rng: np.random.Generator) -> None:
    drawn = [draw_geometry(rng, (18, 17), SIDE) for _ in range(300)]
    assert {(each.box.top, each.box.left) for each in drawn} == set(
        itertools.product(range(3), range(2))
    )
    assert {(each.turns, each.mirror) for each in drawn} == set(TURNS_AND_MIRRORS)


def test_without_flips_nothing_is_turned(rng: np.random.Generator) -> None:
    drawn = [draw_geometry(rng, (18, 17), SIDE, flips=False) for _ in range(30)]
    assert {(each.turns, each.mirror) for each in drawn} == {(0, False)}


def test_light_that_is_not_changed_leaves_the_image(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.random((2, SIDE, SIDE), np.float32))
    same = change_light(image, rng, gamma=(1, 1), brightness=0, noise=0, blur=0)
    assert torch.equal(same, image)


@pytest.mark.parametrize("change", [{"gamma": (0.5, 2)}, {"brightness": 0.5}])
def test_channels_change_apart(rng: np.random.Generator, change: dict) -> None:
    plain = {"gamma": (1.0, 1.0), "brightness": 0.0, "noise": 0.0, "blur": 0.0}
    image = torch.full((2, SIDE, SIDE), 0.5)
    changed = change_light(image, rng, **{**plain, **change})
    first, second = changed.flatten(1)
    assert first.unique().numel() == second.unique().numel() == 1
    assert len({0.5, float(first[0]), float(second[0])}) == 3


def test_noise_and_blur_are_seen(rng: np.random.Generator) -> None:
    step = torch.zeros(1, SIDE, SIDE)
    step[..., SIDE // 2 :] = 1
    plain = {"gamma": (1.0, 1.0), "brightness": 0.0, "noise": 0.0, "blur": 0.0}
    beside = [
        float(change_light(step, rng, **{**plain, "blur": 3.0})[0, 8, SIDE // 2 - 1])
        for _ in range(20)
    ]
    assert 0.3 < max(beside) < 0.5
    assert min(beside) < 0.2
    flat = torch.full((1, 64, 64), 0.5)
    noisy = [change_light(flat, rng, **{**plain, "noise": 0.2}) for _ in range(20)]
    deviations = [float(image.std()) for image in noisy]
    assert 0.1 < max(deviations) <= 0.21
    assert min(deviations) < 0.1
    assert float(torch.stack(noisy).mean()) == pytest.approx(0.5, abs=0.02)


def test_changed_light_stays_between_0_and_1(rng: np.random.Generator) -> None:
    image = torch.from_numpy(rng.uniform(-0.2, 1.2, (2, SIDE, SIDE)).astype(np.float32))
    before = image.clone()
    for _ in range(50):
        changed = change_light(image, rng, gamma=(0.5, 2), brightness=0.9, noise=0.5, blur=2)
        assert changed.isfinite().all()
        assert changed.min() >= 0
        assert changed.max() <= 1
    assert torch.equal(image, before)
