"""The way into the square and back, against segment-anything's."""

from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn

from abbe.errors import InputError
from abbe.sam import Letterbox

SIDE = 128
SIZES = [(37, 90), (90, 37), (128, 128), (200, 300), (300, 299), (1, 1), (3, 300), (128, 5)]


@pytest.fixture(scope="module")
def oracle():
    parts: Any = [nn.Identity() for _ in range(3)]  # only its pixels' way is asked
    parts[0].img_size = SIDE
    return Sam(*parts)


def picture(size):
    return np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_images_are_resized_normalised_and_padded_as_sam_does(size, oracle):
    image = picture(size)
    theirs = torch.as_tensor(ResizeLongestSide(SIDE).apply_image(image)).permute(2, 0, 1)
    letterbox = Letterbox.of(size, SIDE)
    assert letterbox.resized == tuple(theirs.shape[1:])
    torch.testing.assert_close(letterbox.image(image), oracle.preprocess(theirs), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_points_and_boxes_are_moved_as_sam_does(size):
    letterbox, theirs = Letterbox.of(size, SIDE), ResizeLongestSide(SIDE)
    points = np.random.default_rng(4).random((5, 2)) * size[::-1]
    boxes = np.random.default_rng(5).random((4, 4)) * max(size)
    assert np.array_equal(letterbox.points(points), theirs.apply_coords(points, size).astype("f4"))
    assert np.array_equal(letterbox.boxes(boxes), theirs.apply_boxes(boxes, size).astype("f4"))
    assert letterbox.points([3, 4]).shape == (2,)


@pytest.mark.parametrize("size", SIZES)
def test_masks_come_back_as_sam_brings_them(size, oracle):
    letterbox, logits = Letterbox.of(size, SIDE), torch.randn(2, 3, 32, 32)
    masks = letterbox.masks(logits)
    assert masks.shape == (2, 3, *size)
    assert torch.equal(masks, oracle.postprocess_masks(logits, letterbox.resized, size))


@pytest.mark.parametrize("size", SIZES)
def test_matrices_along_the_axes_bring_masks_back_too(size):
    letterbox, logits = Letterbox.of(size, SIDE), torch.randn(2, 3, 32, 32)
    rows, columns = letterbox.axes(32)
    torch.testing.assert_close(
        rows @ logits @ columns.T, letterbox.masks(logits), atol=1e-4, rtol=0
    )


def test_the_thinnest_image_keeps_a_pixel():
    letterbox = Letterbox.of((1, 20_000), SIDE)  # SAM's rounding gives it none, and fails
    assert letterbox.resized == (1, SIDE)
    assert letterbox.image(picture((1, 20_000))).isfinite().all()
    assert letterbox.masks(torch.randn(1, 1, 32, 32)).shape == (1, 1, 1, 20_000)


def test_other_images_are_refused():
    with pytest.raises(InputError, match="0 × 9 px has nothing to segment"):
        Letterbox.of((0, 9), SIDE)
    with pytest.raises(InputError, match=r"\(9, 8, 3\) uint8; \(8, 9, 3\) uint8 is needed"):
        Letterbox.of((8, 9), SIDE).image(picture((9, 8)))
    with pytest.raises(InputError, match="float64; "):
        Letterbox.of((8, 9), SIDE).image(picture((8, 9)).astype(float))
