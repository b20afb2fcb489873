"""From stored pixels to values from 0 to 1, by one of three rules."""

import numpy as np
import pytest

from abbe.errors import InputError
from abbe.imaging import (
    PERCENTILE,
    Image,
    Scaling,
    normalisation,
    normalise,
    percentile_limits,
    scaling_in_words,
)

RANGE, NONE = Scaling("range"), Scaling("none")


def scaled(scaling: Scaling, pixels: np.ndarray) -> np.ndarray:
    return normalise(pixels, scaling.limits(pixels))


def test_percentiles_are_those_of_the_image():
    pixels = np.random.default_rng(0).integers(3, 90, (2, 40, 50)).astype(np.uint8)
    assert np.array_equal(PERCENTILE.limits(pixels), percentile_limits(pixels))
    assert np.array_equal(Scaling(low=5, high=90).limits(pixels), percentile_limits(pixels, 5, 90))


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.uint16, 65535)])
def test_range_divides_by_what_the_type_holds(dtype, most):
    pixels = np.array([[[0, 51, most]], [[most // 5, 1, 2]]], dtype)
    np.testing.assert_allclose(scaled(RANGE, pixels), pixels / most, rtol=1e-6)


@pytest.mark.parametrize("scaling", [RANGE, NONE])
def test_floats_from_0_to_1_stay_as_they_are(scaling):
    pixels = np.random.default_rng(0).random((2, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(scaled(scaling, pixels), pixels)


@pytest.mark.parametrize("scaling", [RANGE, NONE])
@pytest.mark.parametrize("value", [-0.1, 1.5, 255, np.nan])
def test_floats_beyond_are_refused(scaling, value):
    pixels = np.full((1, 4, 4), 0.5, np.float32)
    pixels[0, 1, 2] = value
    with pytest.raises(InputError, match=r"scan\.tif: its values go from .*normalisation percent"):
        scaling.limits(pixels, "scan.tif")


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint32])
def test_types_whose_range_says_nothing_are_refused(dtype):
    with pytest.raises(InputError, match=r"says nothing for u?int\d\d\. Save the images as 8- or"):
        RANGE.limits(np.zeros((1, 4, 4), dtype))


def test_none_takes_whole_numbers_that_lie_in_0_to_1():
    np.testing.assert_array_equal(scaled(NONE, np.eye(3, dtype=np.uint8)[None]), np.eye(3)[None])
    with pytest.raises(InputError, match="values go from 0 to 2"):
        NONE.limits(np.diag([0, 1, 2]).astype(np.uint8)[None])


def test_range_reads_no_pixel_where_the_type_says_all(monkeypatch):
    image = Image.from_array(np.zeros((3, 9, 9), np.uint16))
    monkeypatch.setattr(Image, "read", lambda *_: pytest.fail("pixels were read"))
    np.testing.assert_array_equal(RANGE.image_limits(image), [[0, 65535]] * 3)
    np.testing.assert_array_equal(RANGE.image_limits(image, ["channel-1"]), [[0, 65535]])


def test_of_large_images_windows_stand_for_all(monkeypatch):
    monkeypatch.setattr(normalisation, "_WINDOW", 20)
    monkeypatch.setattr(normalisation, "_SAMPLED_PIXELS", 4 * 20**2)
    pixels = np.full((1, 100, 100), 0.5, np.float32)
    np.testing.assert_array_equal(NONE.image_limits(Image.from_array(pixels)), [[0, 1]])
    pixels[:, 20:30, 20:30] = 7
    with pytest.raises(InputError, match=r"values go from 0\.5 to 7"):
        NONE.image_limits(Image.from_array(pixels))


@pytest.mark.parametrize("scaling", [PERCENTILE, RANGE, NONE])
def test_words_lead_back(scaling):
    assert scaling_in_words(scaling.words, "a file") == scaling


def test_files_without_words_mean_percentiles_and_others_are_refused():
    assert PERCENTILE.words == "percentile 1-99.8 per image and channel"
    assert scaling_in_words(None, "student.safetensors") == PERCENTILE
    with pytest.raises(InputError, match=r"student\.safetensors: reads images normalised by 'z'"):
        scaling_in_words("z", "student.safetensors")
