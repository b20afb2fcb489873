"""The familiar calls, against segment-anything's predictor."""

from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from abbe.errors import InputError
from abbe.sam import PromptablePredictor

CLICKS = {"point_coords": np.array([[30.5, 40], [100, 90]]), "point_labels": np.array([1, 0])}
BOX = {"box": np.array([10, 20, 120, 88.5])}
MASK = {"mask_input": np.random.default_rng(8).normal(0, 5, (1, 64, 64)).astype(np.float32)}
PROMPTS = {
    "clicks": CLICKS,
    "box": BOX,
    "both": CLICKS | BOX,
    "mask": MASK,
    "all": CLICKS | BOX | MASK,
}


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(6).integers(0, 256, (97, 130, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair(small, lively, oracle_of, picture):
    sam = lively(small, 4)
    ours, theirs = PromptablePredictor(sam), SamPredictor(oracle_of(sam))
    ours.set_image(picture)
    theirs.set_image(picture)
    return ours, theirs


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
def test_answers_are_those_of_segment_anything(kind, multimask, pair):
    prompt = {**PROMPTS[kind], "multimask_output": multimask}
    (masks, scores, low), (theirs, their_scores, their_low) = (
        each.predict(**prompt) for each in pair
    )
    logits, *_ = pair[1].predict(**prompt, return_logits=True)
    assert masks.shape == (3 if multimask else 1, 97, 130)
    assert masks.dtype == bool
    assert 0 < theirs.mean() < 1
    assert (np.abs(logits[masks != theirs]) <= 1e-3).all()
    for ours, expected in ((scores, their_scores), (low, their_low)):
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()
    ours_logits, *_ = pair[0].predict(**prompt, return_logits=True)
    assert np.array_equal(ours_logits > 0, masks)
    assert np.abs(ours_logits - logits).max() <= 1e-4 * np.abs(logits).max()


def test_an_answer_is_a_prompt_for_the_next(pair):
    ours, theirs = pair
    (_, scores, low), (_, _, their_low) = (each.predict(**CLICKS) for each in pair)
    best = int(scores.argmax())
    after, *_ = ours.predict(**CLICKS, mask_input=low[best][None], return_logits=True)
    expected, *_ = theirs.predict(**CLICKS, mask_input=their_low[best][None], return_logits=True)
    assert np.abs(after - expected).max() <= 1e-4 * np.abs(expected).max()


def test_grey_and_rgba_mean_what_they_say(pair, picture):
    ours = PromptablePredictor(pair[0].sam)
    opaque = np.dstack([picture, np.full(picture.shape[:2], 7, np.uint8)])
    ours.set_image(opaque)
    assert torch.equal(ours.get_image_embedding(), pair[0].get_image_embedding())
    grey = picture[:, :, 0]
    ours.set_image(grey)
    embedding = ours.get_image_embedding()
    ours.set_image(np.dstack([grey] * 3))
    assert torch.equal(ours.get_image_embedding(), embedding)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (700, 2)])
def test_any_size_gets_masks_of_its_size(size, pair):
    ours = PromptablePredictor(pair[0].sam)
    ours.set_image(np.full((*size, 3), 90, np.uint8))
    masks, *_ = ours.predict(box=[0, 0, size[1], size[0]])
    assert masks.shape == (3, *size)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({}, "no prompt was given"),
        ({"point_coords": np.zeros((0, 2)), "point_labels": []}, r"P ≥ 1 is needed"),
        ({"point_coords": [[1, 2]]}, "point_coords and point_labels must be given together"),
        ({"point_coords": [[1, 2]], "point_labels": [1, 0]}, "for each of"),
        ({"point_coords": [[1, 2]], "point_labels": [4]}, r"point_labels is \[4\]"),
        ({"point_coords": [[130, 5]], "point_labels": [1]}, "1 of 1 points lie outside the image"),
        ({"point_coords": [[-1, 5], [2, 2]], "point_labels": [1, 1]}, r"\(x, y\) = \(-1, 5\)"),
        ({"point_coords": [[np.nan, 5]], "point_labels": [1]}, "outside the image of 130 × 97"),
        ({"point_coords": [1, 2], "point_labels": [1]}, r"has the shape \(2,\)"),
        ({"box": [5, 5, 5, 9]}, r"box \(5, 5, 5, 9\) has no area"),
        ({"box": [5, 9, 8, 5]}, "has no area"),
        ({"box": [5, 5, 131, 9]}, "reaches outside the image of 130 × 97 pixels"),
        ({"box": [5, 5, 9]}, "left, top, right, bottom are needed"),
        ({"mask_input": np.zeros((1, 256, 256))}, r"need \(a multiple, 1, 64, 64\)"),
    ],
)
def test_prompts_that_mean_nothing_are_refused(prompt, says, pair):
    with pytest.raises(InputError, match=says):
        pair[0].predict(**prompt)


def test_images_that_are_none_are_refused(pair):
    ours = PromptablePredictor(pair[0].sam)
    with pytest.raises(InputError, match="no image has been set"):
        ours.predict(box=[0, 0, 5, 5])
    images: list[tuple[Any, str]] = [
        (np.zeros((8, 8, 3)), "8-bit"),
        (np.zeros((8, 8, 2), np.uint8), "has 2 channels"),
        (np.zeros((0, 8, 3), np.uint8), "nothing to segment"),
        (np.zeros((1, 2, 8, 8), np.uint8), "8-bit"),
    ]
    for image, says in images:
        with pytest.raises(InputError, match=says):
            ours.set_image(image)
    ours.set_image(np.zeros((8, 8), np.uint8))
    ours.reset_image()
    with pytest.raises(InputError, match="no image has been set"):
        ours.get_image_embedding()


def test_opencvs_order_of_colours_is_known(pair, picture):
    ours, theirs = pair
    for image, order in ((picture[..., ::-1], "BGR"), (picture, "RGB")):
        for each in pair:
            each.set_image(image, image_format=order)
        embedding = theirs.get_image_embedding()
        torch.testing.assert_close(ours.get_image_embedding(), embedding, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="image_format is 'HSV'; RGB or BGR is needed"):
        ours.set_image(picture, image_format="HSV")


def test_an_image_that_was_refused_does_not_leave_the_last_one_behind(pair, picture):
    ours, _ = pair
    ours.set_image(picture)
    with pytest.raises(InputError):
        ours.set_image(picture.astype(float))
    with pytest.raises(InputError, match="no image has been set"):
        ours.predict(**BOX)
    ours.set_image(picture)
