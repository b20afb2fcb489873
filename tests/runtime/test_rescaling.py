"""Images whole at a network's pixel size, and its maps back."""

import numpy as np
import pytest
from made_packages import blobs

from abbe.errors import InputError
from abbe.imaging import Image, Region, normalise, percentile_limits
from abbe.runtime.tiling.rescaling import reader, resampled, seen_at, to_shape


@pytest.mark.parametrize(
    ("own", "wanted", "shape"),
    [(0.5, None, (60, 81)), (0.5, 0.52, (60, 81)), (0.5, 1.0, (30, 40)), (0.5, 0.25, (120, 162))],
)
def test_sizes_of_the_network_and_back(own, wanted, shape):
    image = Image.from_array(blobs(60, 81), ["nucleus"], own)
    grid = seen_at(image, wanted)
    assert (grid.shape, len(grid.tiles)) == (shape, 1)
    limits = percentile_limits(image.read())
    seen = reader(image, ["nucleus"], limits, grid)(Region(0, 0, *shape))
    assert (seen.shape, seen.dtype) == ((1, *shape), np.float32)
    back = to_shape(seen, image.shape)
    assert back.shape == (1, 60, 81)
    expected = normalise(image.read(), limits)
    error = np.abs(back - expected).mean()
    assert error < 0.035
    for axis in (1, 2):  # nothing has moved
        assert all(np.abs(back - np.roll(expected, by, axis)).mean() > error for by in (-1, 1))
    as_stored = resampled(image, wanted)
    assert (as_stored.shape, as_stored.dtype) == (shape, image.dtype)
    assert (as_stored is image) == (shape == image.shape)
    assert np.abs(normalise(as_stored.read(), limits) - seen).mean() < 0.01
    part = Region(5, 7, 19, 28)
    np.testing.assert_array_equal(as_stored.read(part), as_stored.read()[:, 5:19, 7:28])


def test_unknown_and_unlikely_sizes_are_refused():
    with pytest.raises(InputError, match="pixel size is not known"):
        seen_at(Image.from_array(np.zeros((9, 9))), 0.5)
    with pytest.raises(InputError, match="One of the two is likely wrong"):
        seen_at(Image.from_array(np.zeros((9, 9)), None, 50.0), 0.5)
    assert seen_at(Image.from_array(np.zeros((1, 2))), None).shape == (1, 2)
