"""Images that show nothing: cross-entropy teaches so, and Dice and edges leave them alone."""

import pytest
import torch
import torch.nn.functional as F

from abbe import losses
from abbe.losses.promptable import best_of, mask_dice
from abbe.recipes.masks import dice_term
from abbe.recipes.prompting import MaskPrediction
from abbe.recipes.terms import boundary_term, target_boundary_term

SIDE = 32


def scene(empty: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, truth and validity of one image with a square, and so many that are empty."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(1 + empty, SIDE, SIDE, generator=random, dtype=torch.float64) - 3
    truth = torch.zeros(1 + empty, SIDE, SIDE)
    truth[0, 10:20, 12:24] = 1
    return logits.requires_grad_(), truth, torch.ones(truth.shape, dtype=torch.bool)


def gradient(loss, logits: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, logits)
    return found


@pytest.mark.parametrize("empty", [1, 4, 9])
def test_the_dice_of_a_batch_is_that_of_the_images_that_show_something(empty: int):
    logits, truth, valid = scene(empty)
    entropy = F.binary_cross_entropy_with_logits(logits, truth.double())
    dice = losses.supervised(logits, truth, valid) - entropy
    p, y = logits[0].sigmoid(), truth[0]
    alone = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    assert dice.item() == pytest.approx(alone.item(), rel=1e-9)


def test_an_empty_image_learns_by_cross_entropy_alone():
    logits, truth, valid = scene(4)
    whole = gradient(losses.supervised(logits, truth, valid), logits)
    entropy = gradient(F.binary_cross_entropy_with_logits(logits, truth.double()), logits)
    torch.testing.assert_close(whole[1:], entropy[1:])
    assert (whole[1:] > 0).all()  # every pixel is taught to be background
    assert (whole[0] - entropy[0]).abs().max() > 1e-4


def test_edges_are_learned_from_images_that_have_some():
    logits, truth, valid = scene(4)
    loss = losses.boundary_dice(logits, truth, valid)
    assert loss.item() == losses.boundary_dice(logits[:1], truth[:1], valid[:1]).item()
    assert gradient(loss, logits)[1:].abs().max() == 0
    assert losses.images_with_edges(truth, valid).tolist() == [True, False, False, False, False]


def test_an_image_wholly_inside_an_object_has_no_edge_and_an_unknown_edge_is_none():
    truth, valid = torch.ones(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    truth[1, :, 4:] = 0
    valid[1, :, 3:5] = False  # on both sides of the edge
    assert losses.images_with_edges(truth, valid).tolist() == [False, False]
    valid[1, 2:6, 3:5] = True
    assert losses.images_with_edges(truth, valid).tolist() == [False, True]


@pytest.mark.parametrize("edge_loss", losses.BOUNDARY_LOSSES.values())
def test_boundary_terms_say_nothing_of_a_batch_without_edges(edge_loss):
    """Neither a loss nor a learned variance comes from it: the term is left out."""
    outputs = ("foreground",)
    terms = boundary_term(outputs, edge_loss), target_boundary_term(outputs, outputs, edge_loss)
    logits, truth, valid = scene(4)
    for images, says in ((slice(0, 5), True), (slice(1, 5), False)):
        batch = {
            "label": truth[images].long(),
            "target": truth[images, None],
            "has_target": valid[images, 0, 0],
            "valid": valid[images],
        }
        for term in terms:
            value = term.loss(logits[images, None], batch)
            assert (value is not None) == says
            if value is not None:
                alone = edge_loss(logits[:1], truth[:1], valid[:1])
                assert value.item() == pytest.approx(alone.item())


def test_a_prompt_whose_object_fell_between_the_compared_pixels_counts_no_dice():
    logits, truth, valid = scene(3)
    masks = logits[:, None]
    loss = best_of(mask_dice(masks, truth > 0, valid), truth.any((-2, -1)))
    assert loss.item() == mask_dice(masks, truth > 0, valid)[0, 0].item()
    batch = {"mask": truth[None] > 0, "valid": valid[:1]}
    answers = [MaskPrediction(masks, torch.zeros(4, 1))]
    term = dice_term().loss(answers, batch)
    assert term is not None
    assert term.item() == pytest.approx(loss.item())
    assert gradient(term, logits)[1:].abs().max() == 0
    nothing = {"mask": torch.zeros(1, 4, SIDE, SIDE, dtype=torch.bool), "valid": valid[:1]}
    assert dice_term().loss(answers, nothing) == 0
