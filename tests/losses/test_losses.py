"""Every pixel loss against its formula written as a loop, and what all of them promise."""

import naive_losses as naive
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from abbe import losses
from abbe.losses.reduction import cross_entropy

NAMES = (
    "supervised",
    "probability_mse",
    "soft_bce",
    "logit_mse",
    "cwd",
    "dist",
    "boundary_dice",
    "boundary_weighted_bce",
    "sobel_mse",
)
LOSSES = [pytest.param(getattr(losses, name), id=name) for name in NAMES]
"""Each takes (logits, target, valid)."""


@pytest.fixture
def batch(rng):
    """Four images: wholly valid, half valid, a scatter of unknown pixels, nothing known."""
    logits = torch.from_numpy(rng.normal(0, 2, (4, 7, 9)))
    truth = torch.from_numpy((rng.random((4, 7, 9)) < 0.4).astype(float))
    valid = torch.ones(4, 7, 9, dtype=torch.bool)
    valid[1, :, 5:] = False
    valid[2, 3, ::4] = False
    valid[3] = False
    return logits, truth, valid


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_is_its_formula(name, soft, batch, rng):
    logits, truth, valid = batch
    if soft:
        truth = torch.from_numpy(rng.random(truth.shape))
    ours = getattr(losses, name)(logits, truth, valid)
    arrays = [tensor.numpy() for tensor in batch]
    theirs = naive.per_image(getattr(naive, name), arrays[0], truth.numpy(), arrays[2])
    if name in ("cwd", "dist"):  # they leave the level to the cross-entropy
        theirs += naive.per_image(naive.soft_bce, arrays[0], truth.numpy(), arrays[2])
    assert ours.item() == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_that_of_finite_differences(loss, batch):
    logits, truth, valid = (tensor[:, :5, 3:7].clone() for tensor in batch)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, truth, valid), logits)


@pytest.mark.parametrize("loss", LOSSES)
def test_good_prediction_costs_less_than_bad(loss, batch):
    _, truth, valid = batch
    good, middling = (truth * 2 - 1) * 5, (truth * 2 - 1) * 0.1
    bad = middling.roll(3, dims=2)
    costs = [loss(logits, truth, valid).item() for logits in (good, middling, bad)]
    assert costs == sorted(costs)
    assert len(set(costs)) == 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("junk", [-1.0, 1e6, float("nan"), float("inf")])
def test_what_is_not_valid_does_not_matter(loss, junk, batch):
    logits, truth, valid = batch
    expected = loss(logits, truth, valid)
    spoiled = torch.where(valid, truth, junk)
    assert loss(logits, spoiled, valid).item() == expected.item()


@pytest.mark.parametrize("loss", LOSSES)
def test_an_image_without_valid_pixels_does_not_dilute_the_mean(loss, batch):
    logits, truth, valid = batch
    all_four = loss(logits, truth, valid)
    assert loss(logits[:3], truth[:3], valid[:3]).item() == pytest.approx(all_four.item())


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_valid_gives_zero_with_zero_gradient(loss, batch):
    logits, truth, valid = batch
    logits.requires_grad_()
    value = loss(logits, truth, torch.zeros_like(valid))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_full(loss, dtype, batch):
    logits, truth, valid = batch
    half = logits.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, truth.float(), valid)
    assert value.dtype == torch.float32
    assert value.item() == loss(half.float(), truth.float(), valid).item()


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_logits_stay_finite(loss, batch):
    _, truth, valid = batch
    logits = ((truth * 2 - 1) * -1e4).float().requires_grad_()
    value = loss(logits, truth, valid)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_that_would_broadcast_are_refused(loss, batch):
    logits, truth, valid = batch
    with pytest.raises(ValueError, match=r"\(4, 7, 9\), \(1, 7, 9\) and \(4, 7, 9\)"):
        loss(logits, truth[:1], valid)
    with pytest.raises(ValueError, match=r"must all be \(B, H, W\)"):
        loss(logits[:, None], truth[:, None], valid[:, None])
    with pytest.raises(ValueError, match="valid must be bool or floating point"):
        loss(logits, truth, valid.long())


@pytest.mark.parametrize("loss", LOSSES)
def test_pixels_that_count_1_and_0_are_those_that_are_known_and_unknown(loss, batch):
    logits, truth, valid = batch
    assert loss(logits, truth, valid.double()).item() == loss(logits, truth, valid).item()


@pytest.mark.parametrize(
    "loss", [losses.probability_mse, losses.soft_bce, losses.logit_mse, losses.cwd, losses.dist]
)
def test_a_pixel_that_counts_twice_another_is_as_two_of_it(loss, rng):
    """The last column counts half; the same image with every other column twice says the same."""
    logits = torch.from_numpy(rng.normal(0, 2, (1, 5, 4)))
    q = torch.from_numpy(rng.random((1, 5, 4)))
    weights = torch.ones(1, 5, 4, dtype=torch.double)
    weights[..., 3] = 0.5
    columns = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    repeated = logits[..., columns], q[..., columns], torch.ones(1, 5, 7, dtype=torch.bool)
    assert loss(logits, q, weights).item() == pytest.approx(loss(*repeated).item(), rel=1e-9)


@pytest.mark.parametrize("loss", [losses.cwd, losses.dist])
def test_terms_of_weighted_pixels_are_least_at_the_teachers_probability(loss, batch, rng):
    logits, _, _ = batch
    weights = torch.from_numpy(rng.random(logits.shape))
    z = logits.clone().requires_grad_()
    loss(z, logits.sigmoid(), weights).backward()
    assert z.grad is not None
    assert z.grad.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [losses.probability_mse, losses.logit_mse])
def test_matching_is_zero_only_at_the_teachers_probability(loss, batch):
    logits, _, valid = batch
    assert loss(logits, logits.sigmoid(), valid).item() == pytest.approx(0, abs=1e-12)
    assert loss(logits + 0.01, logits.sigmoid(), valid).item() > 1e-9


@pytest.mark.parametrize("loss", [losses.soft_bce, losses.cwd, losses.dist])
def test_minimum_at_the_teachers_probability(loss, batch):
    logits, _, valid = batch
    q = logits.sigmoid()
    logits.requires_grad_()
    loss(logits, q, valid).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_mse_loses_its_gradient_where_the_student_saturates_and_the_others_do_not():
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    gradients = {}
    for name in ("probability_mse", "soft_bce", "logit_mse"):
        logits = torch.full((1, 4, 4), -10.0, requires_grad=True)
        getattr(losses, name)(logits, torch.ones(1, 4, 4), valid).backward()
        assert logits.grad is not None
        gradients[name] = logits.grad.abs().sum().item()
    assert gradients["probability_mse"] < 1e-3
    assert gradients["soft_bce"] > 0.9
    assert gradients["logit_mse"] > 0.9


def test_an_even_target_says_nothing_of_where_there_is_more_of_it():
    """Neither infinite nor a pull: without its cross-entropy the student is left as it is."""
    logits = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    even, valid = torch.zeros(1, 6, 6), torch.ones(1, 6, 6, dtype=torch.bool)
    (losses.dist(logits, even, valid) - losses.soft_bce(logits, even, valid)).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


def test_dice_part_is_0_for_a_perfect_mask_and_finite_for_an_empty_one():
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    for truth in (torch.zeros(1, 8, 8), torch.ones(1, 8, 8)):
        assert losses.supervised((truth * 2 - 1) * 40, truth, valid).item() < 1e-6
        assert losses.boundary_dice((truth * 2 - 1) * 40, truth, valid).item() < 1e-6


def test_edges_of_a_square_are_two_pixels_wide():
    mask = torch.zeros(1, 10, 10)
    mask[0, 3:7, 3:7] = 1
    band = losses.edges(mask)
    assert band[0, 5].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    np.testing.assert_array_equal(band[0].numpy(), naive.edges(mask[0].numpy()))


def test_edges_are_the_same_whether_or_not_they_are_learned_through():
    random = torch.Generator().manual_seed(0)
    values = torch.rand(3, 9, 7, generator=random).round(decimals=1)  # with ties
    learned = losses.edges(values.clone().requires_grad_())
    assert torch.equal(losses.edges(values), learned.detach())
    for image, band in zip(values, learned.detach(), strict=True):
        np.testing.assert_allclose(band.numpy(), naive.edges(image.numpy()), atol=1e-6)


def test_of_several_largest_the_first_takes_the_gradient_of_an_edge():
    random = torch.Generator().manual_seed(0)
    values = torch.rand(9, 11, 7, generator=random).round(decimals=1)  # with ties
    upstream = torch.randn(values.shape, generator=random)
    ours, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    losses.edges(ours).backward(upstream)
    pooled = [F.max_pool2d(sign * plain[:, None], 3, 1, 1)[:, 0] for sign in (1, -1)]
    (pooled[0] + pooled[1]).backward(upstream)
    torch.testing.assert_close(ours.grad, plain.grad)


def test_cross_entropy_is_torchs_in_value_and_gradient():
    logits = torch.tensor([-90.0, -20.0, -1.5, -1e-3, 0.0, 1e-3, 0.7, 20.0, 90.0])
    for target in (0.0, 0.3, 1.0):
        one, two = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        truth = torch.full_like(logits, target)
        ours = cross_entropy(one, truth)
        torchs = F.binary_cross_entropy_with_logits(two, truth, reduction="none")
        torch.testing.assert_close(ours, torchs, rtol=1e-6, atol=1e-6)
        ours.sum().backward()
        torchs.sum().backward()
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-6, atol=1e-6)


def test_an_object_cut_by_the_border_has_no_edge_there():
    assert losses.edges(torch.ones(1, 5, 5)).max() == 0


def test_the_rim_of_an_unknown_area_is_no_edge():
    truth = torch.ones(1, 8, 8)
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    valid[0, 2:5, 2:5] = False
    logits = torch.full((1, 8, 8), 40.0)
    assert losses.boundary_dice(logits, truth, valid).item() < 1e-6
    assert losses.sobel_mse(logits, truth, valid).item() < 1e-6


def test_tables_name_every_alternative():
    assert set(losses.PROBABILITY_LOSSES) == {"mse", "soft_bce", "logit_mse", "cwd", "dist"}
    assert set(losses.BOUNDARY_LOSSES) == {"dice", "weighted_bce", "sobel_mse"}
