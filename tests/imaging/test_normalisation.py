"""Percentile limits and rescaling, also of images that have nothing to rescale."""

import warnings
from typing import Any

import numpy as np
import pytest
from skimage.exposure import rescale_intensity

from abbe.errors import InputError
from abbe.imaging import Image, image_limits, normalisation, normalise, percentile_limits


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_withinare_percentiles_of_each_channel(rng: np.random.Generator, dtype: str) -> None:
    pixels = (rng.gamma(2, 20, (3, 50, 40))).astype(dtype)
    limits = percentile_limits(pixels)
    assert limits.dtype == np.float32
    for channel, (low, high) in zip(pixels, limits, strict=True):
        ordered = np.sort(channel.ravel()).astype(float)
        ranks = np.array([0.01, 0.998]) * (ordered.size - 1)
        np.testing.assert_allclose((low, high), np.interp(ranks, np.arange(2000), ordered), 1e-5)


def test_normalise_agrees_with_scikit_image(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 4096, (2, 50, 40), np.uint16)
    limits = percentile_limits(pixels, 2, 98)
    ours = normalise(pixels, limits)
    assert ours.dtype == np.float32
    assert ours.min() == 0
    assert ours.max() == 1
    for channel, normalised, (low, high) in zip(pixels, ours, limits.tolist(), strict=True):
        within: Any = (low, high)  # annotated as str
        unit: Any = (0, 1)
        theirs = rescale_intensity(channel.astype(float), in_range=within, out_range=unit)
        np.testing.assert_allclose(normalised, theirs, atol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_constant_channels_become_zeros_without_a_warning(value: int) -> None:
    pixels = np.full((2, 8, 8), value, np.uint16)
    pixels[1] = np.arange(64).reshape(8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalised = normalise(pixels, percentile_limits(pixels))
    assert not normalised[0].any()
    assert normalised[1].max() == 1


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("side", [40, 400])  # 400: percentiles from a histogram
def test_a_few_pixels_on_a_flat_background_are_not_lost(dtype: str, side: int) -> None:
    pixels = np.full((2, side, side), 7, dtype)
    pixels[0, 3, 4] = 180  # sparse: both percentiles are 7
    pixels[1] = 180
    pixels[1, 3, 4] = 7  # hardly anything but object: both are 180
    limits = percentile_limits(pixels)
    assert limits.tolist() == [[7, 180], [7, 180]]
    np.testing.assert_array_equal(normalise(pixels, limits), pixels == 180)


def test_limits_that_differ_stay_percentiles(rng: np.random.Generator) -> None:
    pixels = np.zeros((1, 100, 100), np.uint8)
    pixels[0, :2] = 90  # 2 % of the pixels
    pixels[0, 0, 0] = 200
    assert percentile_limits(pixels).tolist() == [[0, 90]]


def test_a_sample_that_misses_all_cells_is_looked_at_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.zeros((3, 300, 300), np.uint16)
    pixels[1, 0, 299] = 500
    pixels[2] = np.arange(300)
    monkeypatch.setattr(normalisation, "_WINDOW", 10)
    monkeypatch.setattr(normalisation, "_SAMPLED_PIXELS", 9 * 10**2)
    opened = Image.from_array(pixels, ("blank", "sparse", "ramp"))
    limits = image_limits(opened)
    assert limits[:2].tolist() == [[0, 0], [0, 500]]
    assert 0 < limits[2, 0] < limits[2, 1] < 299
    np.testing.assert_array_equal(image_limits(opened, ["ramp", "sparse"]), limits[[2, 1]])


def test_the_input_is_not_changed(rng: np.random.Generator) -> None:
    pixels = rng.random((1, 8, 8), np.float32)
    before = pixels.copy()
    normalise(pixels, percentile_limits(pixels))
    np.testing.assert_array_equal(pixels, before)


def test_what_cannot_be_normalised() -> None:
    with pytest.raises(InputError, match=r"\(C, H, W\) and not empty"):
        percentile_limits(np.zeros((8, 8)))
    with pytest.raises(InputError, match="NaN or infinite"):
        percentile_limits(np.full((1, 8, 8), np.nan))
    with pytest.raises(InputError, match=r"\(3, 2\) do not fit 2 channels"):
        normalise(np.zeros((2, 8, 8)), np.zeros((3, 2)))


def test_withinof_a_large_image_come_from_an_even_sample(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    down, across = np.mgrid[0:600, 0:900]
    pixels = np.stack([rng.integers(0, 1000, (600, 900)), down + across]).astype(np.uint16)
    opened = Image.from_array(pixels, ("noise", "ramp"))
    exact = image_limits(opened)
    np.testing.assert_array_equal(exact, percentile_limits(pixels))
    monkeypatch.setattr(normalisation, "_WINDOW", 20)
    monkeypatch.setattr(normalisation, "_SAMPLED_PIXELS", 100 * 20**2)
    sampled = image_limits(opened)
    assert not np.array_equal(sampled, exact)
    np.testing.assert_allclose(sampled[0], exact[0], atol=5)
    np.testing.assert_allclose(sampled[1], exact[1], atol=60)
    np.testing.assert_array_equal(image_limits(opened), sampled)
    np.testing.assert_array_equal(image_limits(opened, ["ramp"]), sampled[1:])


@pytest.mark.parametrize("shape", [(5, 4000), (4000, 5), (130, 130)])
def test_sampled_windows_fit_any_shape(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalisation, "_WINDOW", 20)
    monkeypatch.setattr(normalisation, "_SAMPLED_PIXELS", 9 * 20**2)
    opened = Image.from_array(np.arange(np.prod(shape)).reshape(shape))
    low, high = image_limits(opened)[0]
    assert 0 <= low < 0.2 * np.prod(shape)
    assert 0.8 * np.prod(shape) < high <= np.prod(shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("wanted", [(1.0, 99.8), (0.0, 100.0), (0.0, 99.9), (37.3, 50.0)])
@pytest.mark.parametrize("highest", [0, 3, 255])
def test_percentiles_from_a_histogram_are_those_of_numpy(dtype, wanted, highest):
    pixels = np.random.default_rng(0).integers(0, highest + 1, (2, 300, 257)).astype(dtype)
    pixels *= 1 if dtype == np.uint8 else 257
    expected = [np.percentile(channel, wanted) for channel in pixels]
    found = normalisation.percentiles(pixels, *wanted)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
