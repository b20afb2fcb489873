"""The automatic grid against segment-anything's generator, with the same random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from abbe.sam import Letterbox, Prompts
from abbe.sam.grid import Found, _stable, automatic_masks, grid_points

SIZE = (150, 220)


@pytest.fixture(scope="module")
def networks(small, lively, oracle_of):
    """Both networks, with heads scaled so that masks are sharp and ratings differ."""
    sam = lively(small, 4)
    with torch.no_grad():
        for head in sam.mask_decoder.output_hypernetworks_mlps:
            head.get_submodule("layers.2").weight *= 40
        ratings = sam.mask_decoder.iou_prediction_head.get_submodule("layers.2")
        ratings.weight *= 10
        ratings.bias += 3  # the generator applies positive thresholds only
    return sam, oracle_of(sam)


@pytest.fixture(scope="module")
def picture():
    random = np.random.default_rng(3)
    coarse = random.integers(0, 255, (10, 12, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((15, 19, 1), np.uint8))[: SIZE[0], : SIZE[1]]


@pytest.fixture(scope="module")
def seen(networks, picture):
    """The embedding, its letterbox, and a rating that about half of the masks reach."""
    sam, _ = networks
    letterbox = Letterbox.of(SIZE, sam.side)
    with torch.inference_mode():
        embedding = sam.encode(letterbox.image(picture)[None])
        points = letterbox.points(grid_points(6, SIZE))[:, None]
        asked = Prompts(points=points, point_labels=torch.ones(36, 1, dtype=torch.int64))
        ratings = sam.attend(sam.prepare(embedding), asked).iou[:, 1:]
    middle = ratings.flatten().sort().values[20:50]
    widest = int(middle.diff().argmax())  # between two ratings, not on one
    return embedding, letterbox, float(middle[widest : widest + 2].mean())


@pytest.mark.parametrize("box_nms", [0.7, 1.0])
def test_masks_and_their_order_are_those_of_the_generator(networks, seen, picture, box_nms):
    sam, oracle = networks
    embedding, letterbox, rating = seen
    settings: dict[str, Any] = {"points_per_side": 6}
    ours = automatic_masks(
        sam,
        embedding,
        letterbox,
        minimum_iou=rating,
        minimum_stability=0.5,
        box_nms=box_nms,
        **settings,
    )
    generator = SamAutomaticMaskGenerator(
        oracle,
        pred_iou_thresh=rating,
        stability_score_thresh=0.5,
        box_nms_thresh=box_nms,
        **settings,
    )
    theirs = generator.generate(picture)
    assert len(ours) == len(theirs) > (0 if box_nms < 0.9 else 3)
    for found, other in zip(ours, theirs, strict=True):
        left, top, width, height = other["bbox"]
        assert (found.left, found.top) == (left, top)
        assert found.mask.shape == (height + 1, width + 1)  # their boxes end at the last pixel
        whole = np.zeros(SIZE, bool)
        whole[found.top :, found.left :][: found.mask.shape[0], : found.mask.shape[1]] = found.mask
        unsure = np.zeros(SIZE, bool)
        unsure[found.top :, found.left :][: found.mask.shape[0], : found.mask.shape[1]] = (
            np.abs(found.logits) < 1e-3
        )
        assert not ((whole != other["segmentation"]) & ~unsure).any()
        assert found.area == pytest.approx(other["area"], abs=3)
        assert found.iou == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert found.stability == pytest.approx(other["stability_score"], abs=1e-2)
        assert found.point == pytest.approx(tuple(other["point_coords"][0]), abs=1e-3)


def test_the_number_decoded_together_changes_nothing(networks, seen):
    embedding, letterbox, rating = seen
    options: dict[str, Any] = {
        "points_per_side": 4,
        "minimum_iou": rating,
        "minimum_stability": 0.5,
    }
    whole = automatic_masks(networks[0], embedding, letterbox, **options)
    parts = automatic_masks(networks[0], embedding, letterbox, prompts_at_once=3, **options)
    assert len(whole) == len(parts) > 0
    for one, other in zip(whole, parts, strict=True):
        assert np.allclose(one.logits, other.logits, atol=1e-3)


def test_a_rating_that_nothing_reaches_finds_nothing(networks, seen):
    embedding, letterbox, _ = seen
    assert (
        automatic_masks(networks[0], embedding, letterbox, points_per_side=2, minimum_iou=99) == []
    )


def test_a_mask_without_a_pixel_is_none_however_low_the_stability_asked_for():
    """Logits between −1 and 0 are outside, and not far enough to have no stability."""
    letterbox, point = Letterbox.of((64, 64), 64), np.zeros((1, 2))
    logits = torch.full((1, 16, 16), -0.5)
    assert list(_stable(logits, torch.ones(1), letterbox, point, 0.0)) == []
    logits[0, 4:8, 4:8] = 5.0
    assert len(list(_stable(logits, torch.ones(1), letterbox, point, 0.0))) == 1


def test_the_grid_lies_in_the_middles_of_equal_cells():
    points = grid_points(2, (100, 200))
    assert points.tolist() == [[50, 25], [150, 25], [50, 75], [150, 75]]


def test_sure_logits_are_sure_probabilities_without_a_warning():
    logits = np.array([[-1000.0, -2.0, 0.0, 1000.0]], np.float32)
    with np.errstate(all="raise"):
        found = Found(logits, 0, 0, 1.0, 1.0, (0.0, 0.0)).probability
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 1 / (1 + np.exp(2)), 0.5, 1]], rtol=1e-6)
