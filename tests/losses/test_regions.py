"""Regions: cross-entropy plus Dice, by hand and at the edges."""

import pytest
import torch
import torch.nn.functional as F

from abbe.losses import region_loss


def test_it_is_cross_entropy_plus_one_minus_the_mean_dice():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(40).reshape(2, 4, 5) % 3
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    probability = logits.softmax(1)
    dice = [
        2 * probability[:, k][truth == k].sum() / (probability[:, k].sum() + (truth == k).sum())
        for k in range(3)
    ]
    expected = F.cross_entropy(logits, truth) + 1 - torch.stack(dice).mean()
    assert torch.allclose(region_loss(logits, truth, valid), expected)


def test_the_truth_told_with_certainty_costs_nothing_and_unknown_pixels_do_not_count():
    truth = torch.tensor([[[0, 1], [2, 2]]])
    logits = 50.0 * F.one_hot(truth, 3).movedim(-1, 1).float()
    valid = torch.tensor([[[True, True], [True, False]]])
    assert region_loss(logits, truth, valid) < 1e-5
    wrong = truth.clone()
    wrong[0, 1, 1] = -1
    assert region_loss(logits, wrong, valid) < 1e-5


def test_nothing_known_costs_nothing_and_has_a_gradient():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    nothing = torch.zeros(1, 3, 3, dtype=torch.bool)
    loss = region_loss(logits, torch.full((1, 3, 3), -1), nothing)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_one_class_is_no_choice():
    with pytest.raises(ValueError, match="two classes"):
        region_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long(), torch.ones(1, 2, 2) > 0)
