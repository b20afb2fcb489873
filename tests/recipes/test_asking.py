from typing import Any

import numpy as np
import pytest
import torch

from abbe.datasets.pictures import DecodedPicture
from abbe.recipes.masks import dice_term, prompt_validator
from abbe.recipes.prompting import MaskPrediction, disagreement, prompt, with_point
from abbe.sam import SAM, Layout, Prompts, build_sam

SIDE, MASK = 64, 32


@pytest.fixture(scope="module")
def network() -> SAM:
    layout = Layout("vit", image_size=SIDE, width=32, depth=1, heads=2, global_layers=())
    return build_sam(layout, seed=0).eval()


def half(left: bool) -> torch.Tensor:
    """(MASK, MASK) bool: true in the left or the right half."""
    mask = torch.zeros(MASK, MASK, dtype=torch.bool)
    mask[:, : MASK // 2] = True
    return mask if left else ~mask


def test_points_lie_where_the_best_mask_is_wrong():
    truth = torch.stack([half(True)] * 40)
    everywhere = torch.ones_like(truth)
    sharp = 20 * torch.stack([torch.ones(MASK, MASK), -torch.ones(MASK, MASK)])
    # The first mask takes too much and is better than none at all.
    points, meanings = disagreement(
        MaskPrediction(sharp.expand(40, 2, MASK, MASK), torch.zeros(40, 2)), truth, everywhere, SIDE
    )
    assert (points[:, 0, 0] > SIDE / 2).all()  # in the half that is not the object's
    assert (meanings == 0).all()
    assert len(points[:, 0].unique(dim=0)) > 20
    points, meanings = disagreement(
        MaskPrediction(sharp[1].expand(40, 1, MASK, MASK), torch.zeros(40, 1)),
        truth,
        everywhere,
        SIDE,
    )
    assert (points[:, 0, 0] < SIDE / 2).all()
    assert (meanings == 1).all()


def test_what_is_not_known_is_not_asked_for_and_a_perfect_mask_gets_no_point():
    truth, known = half(True)[None], half(True)[None]
    all_of_it = MaskPrediction(20 * torch.ones(1, 1, MASK, MASK), torch.zeros(1, 1))
    _, meaning = disagreement(all_of_it, truth, known, SIDE)
    assert meaning.tolist() == [[-1]]


def test_points_are_added_to_boxes_and_to_points():
    point, meaning = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[0]])
    box = with_point(Prompts(boxes=torch.tensor([[1.0, 2, 5, 6]])), point, meaning)
    assert box.boxes is not None
    assert box.points is not None
    assert torch.equal(box.points, point)
    two = with_point(Prompts(points=point + 1, point_labels=meaning + 1), point, meaning)
    assert two.points is not None
    assert two.points[0].tolist() == [[4, 5], [3, 4]]
    assert two.point_labels is not None
    assert two.point_labels.tolist() == [[1, 0]]


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_each_round_is_answered_and_counts_the_same(network, kind):
    torch.manual_seed(0)
    batch = {
        "image": torch.randn(2, 3, SIDE, SIDE),
        "mask": torch.stack([half(True), half(False)])[:, None],
        "valid": torch.ones(2, MASK, MASK, dtype=torch.bool),
    }
    if kind == "boxes":
        batch["boxes"] = torch.tensor([[[0.0, 0, 32, 64]], [[32, 0, 64, 64]]])
    else:
        batch["points"] = torch.tensor([[[[9.0, 9]]], [[[50, 9]]]])
        batch["point_labels"] = torch.ones(2, 1, 1, dtype=torch.int64)
    answers = prompt(network, batch, rounds=3)
    masks = [answer.logits.shape[1] for answer in answers]
    assert masks == ([1, 1, 1] if kind == "boxes" else [1, 3, 1, 1])
    assert not torch.equal(answers[-2].logits, answers[-1].logits)
    loss: Any = dice_term().loss
    alone = [loss([answer], batch) for answer in answers]
    torch.testing.assert_close(loss(answers, batch), torch.stack(alone).mean())
    assert torch.equal(prompt(network, batch)[0].logits, answers[0].logits)


def test_the_mask_that_a_point_is_answered_with_is_the_one_that_is_taught(network):
    """Validation, test and packages ask for the single mask, one point or not."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, SIDE, SIDE)
    points, labels = torch.tensor([[[[9.0, 9]]]]), torch.ones(1, 1, 1, dtype=torch.int64)
    batch = {
        "image": image, "points": points, "point_labels": labels,
        "mask": half(True)[None, None], "valid": torch.ones(1, MASK, MASK, dtype=torch.bool),
    }  # fmt: skip
    single, three = prompt(network, batch)
    asked = Prompts(points=points[0], point_labels=labels[0])
    for answer, multimask in ((single, False), (three, True)):
        logits, iou = network.decode(network.encode(image), asked, multimask=multimask)
        size = answer.logits.shape[-2:]
        expected = torch.nn.functional.interpolate(logits, size, mode="bilinear")
        torch.testing.assert_close(answer.logits, expected)
        torch.testing.assert_close(answer.iou, iou)


class InsideAndBeyond(SAM):
    """Stands in for a network: all of its square is the object."""

    def decode(self, embedding, prompts, *, multimask):
        logits = torch.ones(len(prompts), 1, SIDE, SIDE)
        return logits, torch.ones(len(prompts), 1)


@pytest.mark.parametrize("unknown", [False, True])
def test_validation_counts_what_is_known_of_the_picture_alone(network, unknown):
    """As training and test do: neither the padding nor unknown pixels."""
    label = np.ones((SIDE, SIDE) if unknown else (SIDE // 2, SIDE), np.int32)
    if unknown:
        label[: SIDE // 2] = -1
    picture = np.zeros((*label.shape, 3), np.uint8)
    image = DecodedPicture("a", picture, label, label.shape)
    layout = Layout("vit", image_size=SIDE, width=32, depth=1, heads=2, global_layers=())
    everywhere = InsideAndBeyond(network.image_encoder, SIDE, layout)
    assert prompt_validator([image])(everywhere) == {"dice": 1, "dice_point": 1, "dice_mean": 1}
