import numpy as np
import pytest

from abbe.imaging.pictures.scale_bar import draw_scale_bar


@pytest.mark.parametrize(("pixel_size", "pixels"), [(0.5, 200), (0.25, 200), (2.0, 100), (60, 167)])
def test_the_bar_is_as_long_as_it_says(pixel_size: float, pixels: int) -> None:
    picture = draw_scale_bar(np.full((600, 800, 3), 90, np.uint8), pixel_size)
    white = (picture == 255).all(2)
    row = np.flatnonzero(white.any(1))[-1]  # the lowest white row is the bar's
    assert abs(int(white[row].sum()) - 1 - pixels) <= 1
    assert white[row, -800 // 60 - 1]
    assert not (picture[:300] != 90).any()


def test_a_tiny_picture_stays_as_it_is() -> None:
    tiny = np.zeros((40, 60, 3), np.uint8)
    assert draw_scale_bar(tiny, 0.5) is tiny
