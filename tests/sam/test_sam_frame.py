"""The way into the square and back, against segment-anything's."""

from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn

from abbe.errors import InputError
from abbe.sam import Frame

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
    frame = Frame.of(size, SIDE)
    assert frame.resized == tuple(theirs.shape[1:])
    torch.testing.assert_close(frame.image(image), oracle.preprocess(theirs), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_points_and_boxes_are_moved_as_sam_does(size):
    frame, theirs = Frame.of(size, SIDE), ResizeLongestSide(SIDE)
    points = np.random.default_rng(4).random((5, 2)) * size[::-1]
    boxes = np.random.default_rng(5).random((4, 4)) * max(size)
    assert np.array_equal(frame.points(points), theirs.apply_coords(points, size).astype("f4"))
    assert np.array_equal(frame.boxes(boxes), theirs.apply_boxes(boxes, size).astype("f4"))
    assert frame.points([3, 4]).shape == (2,)


@pytest.mark.parametrize("size", SIZES)
def test_masks_come_back_as_sam_brings_them(size, oracle):
    frame, logits = Frame.of(size, SIDE), torch.randn(2, 3, 32, 32)
    masks = frame.masks(logits)
    assert masks.shape == (2, 3, *size)
    assert torch.equal(masks, oracle.postprocess_masks(logits, frame.resized, size))


@pytest.mark.parametrize("size", SIZES)
def test_matrices_along_the_axes_bring_masks_back_too(size):
    frame, logits = Frame.of(size, SIDE), torch.randn(2, 3, 32, 32)
    rows, columns = frame.axes(32)
    torch.testing.assert_close(rows @ logits @ columns.T, frame.masks(logits), atol=1e-4, rtol=0)


def test_the_thinnest_image_keeps_a_pixel():
    frame = Frame.of((1, 20_000), SIDE)  # SAM's rounding gives it none, and fails
    assert frame.resized == (1, SIDE)
    assert frame.image(picture((1, 20_000))).isfinite().all()
    assert frame.masks(torch.randn(1, 1, 32, 32)).shape == (1, 1, 1, 20_000)


def test_other_images_are_refused():
    with pytest.raises(InputError, match="0 × 9 pixels has nothing to segment"):
        Frame.of((0, 9), SIDE)
    with pytest.raises(InputError, match=r"\(9, 8, 3\) uint8; this frame needs \(8, 9, 3\) uint8"):
        Frame.of((8, 9), SIDE).image(picture((9, 8)))
    with pytest.raises(InputError, match="float64; this frame"):
        Frame.of((8, 9), SIDE).image(picture((8, 9)).astype(float))
