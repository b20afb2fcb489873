"""The geometry of promptable packages, against the same in torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from abbe import sam
from abbe.errors import InputError
from abbe.runtime.predictors.letterbox import Letterbox, bilinear

SIZES = [(50, 70), (64, 64), (300, 7), (1, 1), (1, 900), (129, 128)]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_frame_of_torch(size):
    random = np.random.default_rng(0)
    square, frame = Letterbox.of(size, 64), sam.Letterbox.of(size, 64)
    assert (square.size, square.side, square.resized) == (frame.size, frame.side, frame.resized)
    rgb = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.allclose(square.image(rgb)[0], frame.image(rgb).numpy(), atol=1e-6)
    points = random.uniform(0, 1, (5, 2)) * size[::-1]
    assert np.array_equal(square.places(points), frame.points(points).numpy())
    low = random.normal(0, 5, (3, 16, 16)).astype(np.float32)
    theirs = frame.masks(torch.from_numpy(low)[None])[0].numpy()
    ours = square.logits(low)
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.array_equal(square.masks(low), ours > 0)


@pytest.mark.parametrize(("source", "target"), [(1, 5), (7, 7), (16, 64), (64, 9), (5, 12)])
def test_interpolation_is_torchs(source, target):
    values = np.random.default_rng(1).normal(size=source).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(values)[None, None], target, mode="linear")[0, 0]
    assert np.abs(bilinear(source, target) @ values - theirs.numpy()).max() < 1e-5


def test_large_images_are_cut_in_bands():
    low = np.random.default_rng(2).normal(size=(1, 16, 16)).astype(np.float32)
    square = Letterbox.of((3000, 2900), 64)
    assert np.array_equal(square.masks(low), square.logits(low) > 0)


@pytest.mark.parametrize(
    ("size", "said"), [((0, 5), "nothing to segment"), ((5, 20_001), "1 to 20,000 px")]
)
def test_sizes_outside_the_range_are_refused(size, said):
    with pytest.raises(InputError, match=said):
        Letterbox.of(size, 64)
