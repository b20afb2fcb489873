import numpy as np
import pytest
import torch
from skimage.color import hed2rgb, rgb2hed

from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared
from abbe.datasets.training.stain import (
    change_colours,
    change_stains,
    draw_stain_change,
    rgb_of,
    stains_of,
)
from abbe.errors import InputError
from abbe.imaging.channels import RGB as COLOURS

ONES, ZEROS = torch.ones(3), torch.zeros(3)


@pytest.fixture
def tissue(rng) -> torch.Tensor:
    """(3, 24, 24) made of haematoxylin and eosin: scikit-image cuts off other colours."""
    amounts = np.stack([rng.uniform(0, 0.06, (24, 24)), rng.uniform(0, 0.04, (24, 24)),
                        np.zeros((24, 24))], -1)  # fmt: skip
    return torch.from_numpy(np.moveaxis(hed2rgb(amounts), -1, 0))


def test_stains_are_scikit_images_in_decadic_densities(tissue):
    theirs = np.moveaxis(rgb2hed(np.moveaxis(tissue.numpy(), 0, -1)), -1, 0)
    # It divides natural logarithms by that of its least intensity.
    np.testing.assert_allclose(stains_of(tissue).numpy(), theirs * 6, atol=1e-6)


def test_deconvolution_can_be_undone_for_any_colour(rng):
    image = torch.from_numpy(rng.uniform(0.001, 1, (2, 3, 9, 7)))
    torch.testing.assert_close(rgb_of(stains_of(image)), image)
    assert rgb_of(stains_of(torch.ones(3, 2, 2))).allclose(torch.ones(3, 2, 2))
    assert torch.isfinite(stains_of(torch.zeros(3, 2, 2))).all()


def test_no_change_changes_nothing(tissue):
    tissue = tissue.float()
    torch.testing.assert_close(change_stains(tissue, ONES, ZEROS), tissue, atol=1e-5, rtol=1e-5)
    random = np.random.default_rng(0)
    torch.testing.assert_close(change_colours(tissue, random, 0.0), tissue, atol=1e-5, rtol=1e-5)
    factors, offsets = draw_stain_change(random, 0.0)
    assert torch.equal(factors, ONES)
    assert not offsets.any()


def test_a_factor_changes_its_own_stain_alone(tissue):
    tissue = tissue.float()
    changed = stains_of(change_stains(tissue, torch.tensor([1.5, 1, 1]), ZEROS))
    before = stains_of(tissue)
    torch.testing.assert_close(changed[0], before[0] * 1.5, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(changed[1:], before[1:], atol=1e-4, rtol=1e-3)


def test_draws_stay_within_the_strength():
    random = np.random.default_rng(0)
    drawn = [draw_stain_change(random, 0.2) for _ in range(200)]
    factors, offsets = (torch.stack(part) for part in zip(*drawn, strict=True))
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2
    assert 0.018 < offsets.abs().max() <= 0.02


def prepared(rng: np.random.Generator, channels: tuple[str, ...] = COLOURS) -> Prepared:
    pixels = rng.integers(20, 250, (len(channels), 40, 40), dtype=np.uint8)
    limits = np.array([[0.0, 255.0]] * len(channels))
    return Prepared("tile", pixels, channels, limits, (40, 40), probability=pixels[:1])


def batches_of(*images: Prepared, **changes) -> Batches:
    settings = {
        "input_channels": COLOURS,
        "batch_size": 4,
        "crop": 32,
        "seed": 3,
        "teacher_channels": COLOURS,
    }
    return Batches(images, **(settings | changes))


def test_strong_and_weak_views_share_their_geometry(rng):
    """The target was made of the red channel: it must fit both views, pixel by pixel."""
    image = prepared(rng)
    plain = batches_of(image)[0]
    strong = batches_of(image, stain=0.2, colour=0.4)[0]
    assert torch.equal(strong["teacher_image"], plain["teacher_image"])
    assert torch.equal(strong["target"], plain["target"])
    torch.testing.assert_close(strong["teacher_image"][:, 0], strong["target"][:, 0])
    assert not torch.allclose(strong["image"], plain["image"], atol=0.02)
    for sample in range(4):  # colours changed, structure not
        grey = [view[sample].mean(0).flatten() for view in (strong["image"], plain["image"])]
        assert torch.corrcoef(torch.stack(grey))[0, 1] > 0.8


def test_batches_stay_what_they_were_without_stain_and_second_view(rng):
    images = [prepared(rng) for _ in range(4)]
    first, second = batches_of(*images)[7], batches_of(*images, second_view=True)[7]
    assert "second_image" not in first
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_second_view_is_another_crop_of_the_same_image(rng):
    batch = batches_of(*[prepared(rng)] * 4, second_view=True, stain=0.2)[0]
    assert batch["second_image"].shape == batch["image"].shape
    assert not torch.equal(batch["second_image"], batch["image"])
    same = [prepared(np.random.default_rng(0))] * 4
    again = batches_of(*same, second_view=True, stain=0.2)[0]
    assert torch.equal(batch["second_image"], again["second_image"])


def test_stain_needs_red_green_and_blue(rng):
    image = prepared(rng, ("nucleus", "membrane"))
    with pytest.raises(InputError, match="student sees nucleus: set both to 0"):
        batches_of(image, input_channels=("nucleus",), teacher_channels=None, stain=0.1)
