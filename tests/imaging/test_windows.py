"""Continuing an image to the sides that a network takes; `spans` is tested with grids and tiles."""

import numpy as np
import pytest

from abbe.errors import ConfigError
from abbe.imaging.windows import mirrored, pad_to, spans


def test_an_image_is_mirrored_with_its_border_px_repeated():
    image = np.arange(6).reshape(1, 2, 3)
    np.testing.assert_array_equal(
        pad_to(image, 4)[0], [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [0, 1, 2, 2]]
    )


def test_an_image_smaller_than_its_continuation_goes_back_and_forth():
    np.testing.assert_array_equal(mirrored(np.array([[[1, 2]]]), 0, 5)[0], [[1, 2, 2, 1, 1, 2, 2]])


def test_what_fits_stays_the_array_that_it_is():
    image = np.zeros((2, 32, 64))
    assert pad_to(image, 32) is image


def test_a_margin_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"halo of 16 px .* tile of 32 px"):
        spans(100, 32, 16)
    assert len(spans(32, 32, 16)) == 1  # nothing is cut
