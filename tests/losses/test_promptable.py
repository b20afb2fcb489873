"""Losses of promptable networks against plain loops, and their gradients."""

import numpy as np
import pytest
import torch

from abbe.losses.promptable import at_size, best_of, iou_error, mask_bce, mask_dice, mask_iou

torch.manual_seed(0)
LOGITS = torch.randn(3, 2, 5, 6, dtype=torch.float64)
TRUTH = torch.rand(3, 5, 6) > 0.5
VALID = torch.rand(3, 5, 6) > 0.2


def loop(function):
    return np.array(
        [
            [
                function(LOGITS[n, m][VALID[n]].sigmoid().numpy(), TRUTH[n][VALID[n]].numpy())
                for m in range(2)
            ]
            for n in range(3)
        ]
    )


def test_dice_is_that_of_known_pixels():
    expected = loop(lambda p, g: 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1))
    assert np.allclose(mask_dice(LOGITS, TRUTH, VALID), expected, atol=1e-6)


def test_bce_is_that_of_known_pixels():
    expected = loop(lambda p, g: -np.log(np.where(g, p, 1 - p)).mean())
    assert np.allclose(mask_bce(LOGITS, TRUTH, VALID), expected, atol=1e-5)


def test_iou_is_that_of_known_pixels():
    expected = loop(lambda p, g: ((p > 0.5) & g).sum() / ((p > 0.5) | g).sum())
    assert np.allclose(mask_iou(LOGITS, TRUTH, VALID), expected)


def test_a_perfect_mask_costs_nothing_and_an_empty_one_is_finite():
    perfect = torch.where(TRUTH, 40.0, -40.0)[:, None]
    assert mask_dice(perfect, TRUTH, VALID).max() < 1e-6
    assert torch.equal(mask_iou(perfect, TRUTH, VALID), torch.ones(3, 1))
    nothing = torch.zeros_like(TRUTH)
    logits = torch.full((3, 1, 5, 6), -40.0, requires_grad=True)
    loss = mask_dice(logits, nothing, VALID)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert torch.equal(mask_iou(logits, nothing, VALID), torch.ones(3, 1))


def test_only_the_best_mask_of_a_prompt_is_taught():
    logits = LOGITS.clone().requires_grad_()
    values = mask_dice(logits, TRUTH, VALID)
    loss = best_of(values, torch.ones(3, dtype=torch.bool))
    loss.backward()
    assert loss == values.detach().min(1).values.mean()
    assert logits.grad is not None
    taught = logits.grad.abs().sum((-2, -1)) > 0
    assert torch.equal(taught.sum(1), torch.ones(3, dtype=torch.int64))
    assert torch.equal(taught.int().argmax(1), values.argmin(1))


@pytest.mark.parametrize("loss", [mask_dice, mask_bce])
def test_gradients_agree_with_finite_differences(loss):
    torch.manual_seed(1)
    logits = torch.randn(2, 2, 3, 4, requires_grad=True)
    truth, valid = torch.rand(2, 3, 4) > 0.5, torch.rand(2, 3, 4) > 0.2
    loss(logits, truth, valid).sum().backward()
    assert logits.grad is not None
    step = 1e-2
    for place in [(0, 0, 0, 0), (1, 1, 2, 3), (0, 1, 1, 2)]:
        up, down = logits.detach().clone(), logits.detach().clone()
        up[place] += step
        down[place] -= step
        slope = (loss(up, truth, valid).sum() - loss(down, truth, valid).sum()) / (2 * step)
        assert torch.isclose(logits.grad[place], slope, atol=1e-3)


def test_the_predicted_iou_is_taught_without_touching_the_masks():
    logits = LOGITS.float().clone().requires_grad_()
    predicted = torch.zeros(3, 2, requires_grad=True)
    loss = iou_error(predicted, logits, TRUTH, VALID)
    loss.backward()
    assert torch.isclose(loss, (mask_iou(LOGITS, TRUTH, VALID) ** 2).mean().float())
    assert logits.grad is None
    assert predicted.grad is not None


def test_masks_are_resized_bilinearly():
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert torch.allclose(
        at_size(ramp, (8, 8))[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    )
