"""Channels shown as a colour picture."""

import numpy as np
import pytest

from abbe.errors import ConfigError
from abbe.imaging import choose_rule, three_channels
from abbe.imaging.three_channels import described

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("channels", "rule"), [(1, "grey"), (2, "fill_last"), (3, "colour")])
def test_the_rule_follows_the_number_of_channels(channels, rule):
    assert choose_rule("auto", channels) == rule


def test_two_channels_fill_the_last_two():
    pixels = RANDOM.integers(0, 4000, (2, 8, 9)).astype(np.uint16)
    picture = three_channels(pixels, "fill_last")
    assert picture.shape == (8, 9, 3)
    assert picture.dtype == np.uint8
    assert not picture[..., 0].any()
    for channel in (0, 1):
        order = np.argsort(pixels[channel].ravel(), kind="stable")
        assert (np.diff(picture[..., channel + 1].ravel()[order].astype(int)) >= 0).all()


def test_one_channel_is_repeated():
    picture = three_channels(RANDOM.random((1, 5, 5)), "grey")
    assert np.array_equal(picture[..., 0], picture[..., 1])
    assert np.array_equal(picture[..., 0], picture[..., 2])


def test_membrane_nucleus_mean():
    pixels = RANDOM.random((2, 20, 20)).astype(np.float32)
    membrane, nucleus, mean = three_channels(pixels, "membrane_nucleus_mean").transpose(2, 0, 1)
    alone = three_channels(pixels[:1], "grey")[..., 0]
    assert np.array_equal(nucleus, alone)
    assert np.abs(mean - (membrane.astype(float) + nucleus) / 2).max() <= 1


def test_eight_bit_colour_is_left_as_it_is_and_other_colour_is_stretched():
    pixels = RANDOM.integers(50, 90, (3, 6, 7)).astype(np.uint8)
    assert np.array_equal(three_channels(pixels, "colour"), pixels.transpose(1, 2, 0))
    assert three_channels(pixels.astype(np.uint16), "colour").max() == 255


def test_rules_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="at most three channels"):
        choose_rule("auto", 4)
    with pytest.raises(ConfigError, match="'grey' does not go with 2 channels"):
        choose_rule("grey", 2)
    with pytest.raises(ConfigError, match=r"'red' is no rule\. There are: fill_last"):
        choose_rule("red", 2)  # pyright: ignore[reportArgumentType]
    assert "fill the last" in described("fill_last")
