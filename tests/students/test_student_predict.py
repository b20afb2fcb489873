from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from abbe.errors import InputError
from abbe.students import UNet, build, predict, predict_together, together


class Local(nn.Module):
    """A stand-in for a student that sees exactly 31 px around a pixel, in steps of 32 px.

    It knows where it is modulo 32, as a U-Net does, so tiles that start elsewhere are noticed.
    """

    divisor = 32
    in_channels = 2
    outputs = ("foreground", "boundary")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blur = nn.Conv2d(2, 2, 3, padding=31, dilation=31)
        self.dropout = nn.Dropout(0.5)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.sizes.append(tuple(image.shape[-2:]))
        assert not any(side % 32 for side in image.shape[-2:])
        rows = torch.arange(image.shape[-2])[:, None] % 32
        columns = torch.arange(image.shape[-1]) % 32
        return self.dropout(self.blur(image)) * 5 + (rows - columns) / 10


def local() -> tuple[UNet, Local]:
    model = Local()
    return cast(UNet, model), model


@pytest.mark.parametrize("size", [(300, 420), (97, 400), (256, 128), (128, 129), (192, 193)])
def test_tiles_agree_with_the_whole(rng, size):
    model, inside = local()
    pixels = rng.random((2, *size), dtype=np.float32)
    whole = predict(model, pixels)
    inside.sizes.clear()
    tiled = predict(model, pixels, tile=128, halo=32)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    assert max(map(max, inside.sizes)) <= 128


def test_a_halo_too_small_shows(rng):
    model, _ = local()
    pixels = rng.random((2, 256, 256), dtype=np.float32)
    difference = np.abs(predict(model, pixels, tile=128, halo=0) - predict(model, pixels))
    assert difference.max() > 1e-2


@pytest.mark.slow
def test_unet_in_tiles_agrees_where_its_field_of_view_is_covered(rng):
    torch.manual_seed(0)
    model = build("unet-resnet18", in_channels=1, encoder_weights="random")
    pixels = rng.random((1, 320, 544), dtype=np.float32)
    whole = predict(model, pixels)
    tiled = predict(model, pixels, tile=448, halo=192)
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (31, 33), (64, 64)])
def test_any_size(rng, size):
    model = build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    result = predict(model, rng.random((1, *size), dtype=np.float32))
    assert result.shape == (2, *size)
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1


def test_is_the_sigmoid_of_the_logits(rng):
    model = build("unet-mobilenetv3", in_channels=1, encoder_weights="random").eval()
    pixels = rng.random((1, 64, 96), dtype=np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels)[None])[0].sigmoid().numpy()
    np.testing.assert_allclose(predict(model, pixels), expected, atol=1e-6)


def test_padding_mirrors(rng):
    model = build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    pixels = rng.random((1, 20, 32), dtype=np.float32)
    mirrored = np.concatenate([pixels, pixels[:, :7:-1]], axis=1)
    np.testing.assert_array_equal(predict(model, pixels), predict(model, mirrored)[:, :20])


def test_each_module_keeps_its_mode(rng):
    model = build("unet-mobilenetv3", in_channels=1, encoder_weights="random").train()
    model.encoder.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    predict(model, rng.random((1, 32, 32), dtype=np.float32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bfloat16_is_near(rng):
    model = build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    pixels = rng.random((1, 64, 64), dtype=np.float32)
    near = predict(model, pixels, precision=torch.bfloat16)
    assert near.dtype == np.float32
    np.testing.assert_allclose(near, predict(model, pixels), atol=0.05)


def test_float64_and_views_are_taken(rng):
    model, _ = local()
    pixels = rng.random((2, 64, 32))
    np.testing.assert_allclose(
        predict(model, pixels[:, ::-1]), predict(model, pixels[:, ::-1].astype(np.float32))
    )


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((64, 64)), r"\(C, H, W\)"),
        (np.zeros((2, 0, 64)), r"\(2, 0, 64\)"),
        (np.zeros((3, 64, 64)), "has 3 channels, the student sees 2"),
        (np.full((2, 64, 64), np.nan), "NaN"),
        (np.full((2, 64, 64), np.inf), "infinite"),
    ],
)
def test_bad_images_are_refused(pixels, words):
    with pytest.raises(InputError, match=words):
        predict(local()[0], pixels)


@pytest.mark.parametrize(("tile", "halo"), [(100, 32), (128, 20), (128, 64), (64, -32)])
def test_tilings_that_do_not_fit_are_refused(tile, halo):
    with pytest.raises(ValueError, match=f"tile {tile} px and halo {halo} px"):
        predict(local()[0], np.zeros((2, 64, 64)), tile=tile, halo=halo)


SIZES = [(64, 64), (90, 64), (64, 60), (96, 64), (64, 64), (33, 95), (64, 33)]


@pytest.mark.parametrize("architecture", ["unet-mobilenetv3", "unet-resnet18"])
def test_images_answered_together_are_answered_as_each_alone(rng, architecture):
    torch.manual_seed(0)
    model = build(architecture, in_channels=2, encoder_weights="random").eval()
    images = [rng.random((2, *size), dtype=np.float32) for size in SIZES]
    lists = together(SIZES, model.divisor, torch.device("cpu"))
    assert lists == [[0, 2, 4, 6], [1, 3], [5]]
    for numbers in lists:
        for number, maps in zip(
            numbers, predict_together(model, [images[n] for n in numbers]), strict=True
        ):
            alone = predict(model, images[number])
            assert maps.shape == alone.shape == (2, *SIZES[number])
            np.testing.assert_allclose(maps, alone, atol=2e-6)


def test_large_images_together_are_tiled_as_each_alone(rng):
    model, inside = local()
    images = [rng.random((2, 300, 420), dtype=np.float32) for _ in range(3)]
    found = predict_together(model, images, tile=128, halo=32)
    assert max(map(max, inside.sizes)) <= 128
    for pixels, maps in zip(images, found, strict=True):
        np.testing.assert_allclose(maps, predict(model, pixels), atol=1e-5)


@pytest.mark.parametrize(("device", "most"), [("cpu", 1 << 16), ("cuda", 1 << 21)])
def test_no_more_pixels_go_together_than_memory_holds(device, most):
    shapes = [(256, 256)] * 70 + [(4000, 4000)] * 2
    lists = together(shapes, 32, torch.device(device))
    assert sorted(number for numbers in lists for number in numbers) == list(range(72))
    assert max(len(numbers) for numbers in lists) == most // 256**2
    assert [70] in lists
    assert [71] in lists


def test_images_of_other_sizes_are_not_answered_together(rng):
    model, _ = local()
    with pytest.raises(ValueError, match="same shape"):
        predict_together(model, [rng.random((2, 64, side), dtype=np.float32) for side in (64, 96)])
