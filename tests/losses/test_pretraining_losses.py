"""Response, contrastive and HoVer losses against their formulas written as loops."""

import math

import naive_losses as naive
import numpy as np
import pytest
import torch

from abbe import losses
from abbe.losses.response import logits_of


@pytest.fixture
def maps(rng):
    """Two images of three classes: one wholly valid, one in part; the third says nothing."""
    logits = torch.from_numpy(rng.normal(0, 2, (3, 3, 4, 5)))
    teacher = torch.from_numpy(rng.normal(0, 2, (3, 3, 4, 5)))
    valid = torch.ones(3, 4, 5, dtype=torch.bool)
    valid[1, :, 3:] = False
    valid[2] = False
    return logits, teacher, valid


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum()


def naive_kl(z: np.ndarray, teacher: np.ndarray, valid: np.ndarray, t: float) -> float | None:
    values = []
    for row, column in np.argwhere(valid):
        q, p = softmax(teacher[:, row, column] / t), softmax(z[:, row, column] / t)
        values.append(t**2 * sum(q[c] * math.log(q[c] / p[c]) for c in range(len(q))))
    return naive.mean(values)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_temperature_kl_is_its_formula(temperature, maps):
    z, q, valid = (tensor.numpy() for tensor in maps)
    theirs = naive.per_image(lambda z, q, v: naive_kl(z, q, v, temperature), z, q, valid)
    ours = losses.temperature_kl(*maps, temperature=temperature).item()
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_response_bce_is_its_formula(maps):
    logits, teacher, valid = maps
    q = teacher.sigmoid()
    values = [
        np.mean(
            [
                naive.bce(naive.sigmoid(logits[b, k, i, j].item()), q[b, k, i, j].item())
                for k in range(3)
                for i, j in np.argwhere(valid[b].numpy())
            ]
        )
        for b in range(2)
    ]
    assert losses.response_bce(logits, q, valid).item() == pytest.approx(np.mean(values), rel=1e-9)


def test_stored_probabilities_serve_as_teacher_logits(maps):
    logits, teacher, valid = maps
    teacher = teacher / 4  # within what 8 bits can tell
    expected = losses.temperature_kl(logits, teacher, valid)
    found = losses.temperature_kl(logits, logits_of(teacher.softmax(1)), valid)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert torch.isfinite(logits_of(torch.tensor([0.0, 1.0]))).all()


def test_t_squared_keeps_the_size_of_the_gradient(maps):
    logits, teacher, valid = (tensor[:1] for tensor in maps)
    sizes = []
    for temperature in (20.0, 40.0):
        z = logits.clone().requires_grad_()
        losses.temperature_kl(z, teacher, valid, temperature).backward()
        assert z.grad is not None
        sizes.append(z.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("loss", [losses.response_bce, losses.temperature_kl])
def test_response_is_least_for_the_teachers_answer_and_has_the_right_gradient(loss, maps):
    logits, teacher, valid = maps
    target = teacher.sigmoid() if loss is losses.response_bce else teacher
    assert loss(teacher, target, valid) < loss(teacher + 0.1 * logits, target, valid)
    assert losses.temperature_kl(teacher, teacher, valid).item() == pytest.approx(0, abs=1e-12)
    z = logits[:, :, :2, 2:4].clone().requires_grad_()
    target, part = target[:, :, :2, 2:4], valid[:, :2, 2:4]
    assert torch.autograd.gradcheck(lambda x: loss(x, target, part), z)


@pytest.mark.parametrize("loss", [losses.response_bce, losses.temperature_kl])
def test_response_ignores_what_is_not_valid(loss, maps):
    logits, teacher, valid = maps
    target = teacher.sigmoid()
    spoiled = torch.where(valid[:, None], target, torch.nan)
    assert loss(logits, spoiled, valid).item() == loss(logits, target, valid).item()
    z = logits.clone().requires_grad_()
    nothing = loss(z, spoiled, torch.zeros_like(valid))
    nothing.backward()
    assert nothing.item() == 0
    assert z.grad is not None
    assert not z.grad.any()
    half = loss(logits.half(), target.half(), valid)
    assert half.dtype == torch.float32


def test_wrong_shapes_are_refused(maps):
    logits, teacher, valid = maps
    with pytest.raises(ValueError, match="B, C, H, W"):
        losses.response_bce(logits, teacher[:, :2], valid)
    with pytest.raises(ValueError, match="bool"):
        losses.temperature_kl(logits, teacher, valid.float())
    with pytest.raises(ValueError, match="response_bce"):
        losses.temperature_kl(logits[:, :1], teacher[:, :1], valid)
    with pytest.raises(ValueError, match="temperature"):
        losses.temperature_kl(logits, teacher, valid, 0)


def naive_nt_xent(first: np.ndarray, second: np.ndarray, t: float) -> float:
    u = np.concatenate([first, second])
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    count = len(first)
    values = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        below = sum(math.exp(u[i] @ u[k] / t) for k in range(2 * count) if k != i)
        values.append(-math.log(math.exp(u[i] @ u[j] / t) / below))
    return sum(values) / len(values)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_its_formula(temperature, rng):
    first, second = rng.normal(size=(2, 5, 7))
    ours = losses.nt_xent(torch.from_numpy(first), torch.from_numpy(second), temperature)
    assert ours.item() == pytest.approx(naive_nt_xent(first, second, temperature), rel=1e-9)


def test_nt_xent_of_identical_views_is_less_than_of_shuffled_ones(rng):
    views = torch.from_numpy(rng.normal(size=(6, 16)))
    assert losses.nt_xent(views, views) < losses.nt_xent(views, views.roll(1, 0))
    # The length of a vector does not matter.
    assert losses.nt_xent(views, 3 * views).item() == pytest.approx(
        losses.nt_xent(views, views).item()
    )


def test_nt_xent_has_the_right_gradient(rng):
    first, second = (torch.from_numpy(rng.normal(size=(3, 4))).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: losses.nt_xent(a, b, 0.5), (first, second))
    assert losses.nt_xent(first.half(), second.half()).dtype == torch.float32


def test_nt_xent_needs_two_tiles_of_one_shape():
    with pytest.raises(ValueError, match="two tiles"):
        losses.nt_xent(torch.ones(1, 4), torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        losses.nt_xent(torch.ones(2, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match="temperature"):
        losses.nt_xent(torch.ones(2, 4), torch.ones(2, 4), 0)


def naive_hv(labels: np.ndarray) -> np.ndarray:
    maps = np.zeros((2, *labels.shape))
    for number in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == number)
        for axis, places in enumerate((columns, rows)):
            distance = places - places.mean()
            for at, value in zip(zip(rows, columns, strict=True), distance, strict=True):
                if value > 0:
                    maps[(axis, *at)] = value / distance.max()
                elif value < 0:
                    maps[(axis, *at)] = value / -distance.min()
    return maps


@pytest.fixture
def cells(rng):
    """Two images with instances of odd forms, a single pixel, unknown pixels, large numbers."""
    labels = np.zeros((2, 12, 17), np.int64)
    labels[0, 1:6, 2:9] = 7
    labels[0, 4:9, 7:12] = 2_000_000_000
    labels[0, 11, 16] = 3
    labels[1, 2:10, 3:9][rng.random((8, 6)) < 0.7] = 7
    labels[1, :2] = -1
    return labels


def test_hv_maps_are_the_distances_from_the_centre(cells):
    ours = losses.hv_maps(torch.from_numpy(cells)).numpy()
    np.testing.assert_allclose(ours, [naive_hv(image) for image in cells], atol=1e-6)
    assert not ours[:, :, :1].any()
    assert ours.min() == -1
    assert ours.max() == 1


def test_hv_maps_of_nothing_are_nothing():
    assert not losses.hv_maps(torch.full((2, 4, 5), -1)).any()


def turned_hv(maps, turns, mirror):
    """Horizontal and vertical maps turned with their image: their directions turn, too."""
    horizontal, vertical = torch.rot90(maps, turns, (-2, -1)).unbind(-3)
    for _ in range(turns):  # what pointed right points up, what pointed down points right
        horizontal, vertical = vertical, -horizontal
    if mirror:
        horizontal, vertical = -horizontal.flip(-1), vertical.flip(-1)
    return torch.stack([horizontal, vertical], -3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_turned_maps_are_the_maps_of_turned_labels(turns, mirror, cells):
    turned = np.rot90(cells, turns, (-2, -1))
    turned = turned[..., ::-1] if mirror else turned
    expected = losses.hv_maps(torch.from_numpy(turned.copy()))
    ours = turned_hv(losses.hv_maps(torch.from_numpy(cells)), turns, mirror)
    torch.testing.assert_close(ours, expected)


@pytest.fixture
def hover(rng):
    maps = torch.from_numpy(rng.normal(size=(3, 2, 4, 5)))
    teacher = torch.from_numpy(rng.uniform(-1, 1, (3, 2, 4, 5)))
    q = torch.from_numpy(rng.random((3, 4, 5)))
    valid = torch.ones(3, 4, 5, dtype=torch.bool)
    valid[1, :, 2:] = False
    q[2] = 0.5
    return maps, teacher, q, valid


def test_hv_mse_is_its_formula(hover):
    maps, teacher, q, valid = (tensor.numpy() for tensor in hover)
    values = []
    for image in range(2):
        chosen = valid[image] & (q[image] > 0.5)
        values.append(((maps[image] - teacher[image]) ** 2)[:, chosen].mean())
    assert losses.hv_mse(*hover).item() == pytest.approx(np.mean(values), rel=1e-9)


def test_hv_mse_sees_nuclei_only_and_has_the_right_gradient(hover):
    maps, teacher, q, valid = hover
    nuclei = (valid & (q > 0.5))[:, None]
    spoiled = torch.where(nuclei, teacher, torch.nan)
    changed = torch.where(nuclei, maps, maps + 5)
    expected = losses.hv_mse(maps, teacher, q, valid)
    assert losses.hv_mse(changed, spoiled, q, valid).item() == expected.item()
    z = maps.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.hv_mse(x, spoiled, q, valid), z)
    assert losses.hv_mse(maps, maps, q, valid).item() == 0


def test_hv_mse_refuses_other_shapes(hover):
    maps, teacher, q, valid = hover
    with pytest.raises(ValueError, match="B, 2, H, W"):
        losses.hv_mse(maps[:, :1], teacher[:, :1], q, valid)
    with pytest.raises(ValueError, match="q and valid"):
        losses.hv_mse(maps, teacher, q[:1], valid)
