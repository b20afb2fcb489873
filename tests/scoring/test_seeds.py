"""The spread over seeds, and what it adds to that over images."""

import math

import numpy as np
import pytest

from abbe.scoring import joined, spread_over_groups, spread_over_seeds
from abbe.scoring.statistics import Spread, interval_of


def test_the_spread_over_seeds_is_that_of_the_textbook(rng: np.random.Generator) -> None:
    scores = rng.normal(size=5)
    assert spread_over_seeds(scores) == pytest.approx((scores.var(ddof=1) / 5, 4))


def test_a_single_seed_adds_nothing() -> None:
    images = Spread(0.25, 9.0)
    assert joined(images, spread_over_seeds([0.7])) == images


def test_the_larger_part_decides_the_degrees_of_freedom() -> None:
    many, few = Spread(1.0, 99.0), Spread(1e-9, 2.0)
    assert joined(many, few) == pytest.approx((1.0, 99.0))
    assert joined(Spread(1e-9, 99.0), Spread(1.0, 2.0)) == pytest.approx((1.0, 2.0))
    assert joined(Spread(1.0, 4.0), Spread(1.0, 4.0)) == pytest.approx((2.0, 8.0))
    assert math.isnan(joined(Spread(math.nan, math.nan), few).variance)
    assert joined(Spread(0.0, 3.0), Spread(0.0, 2.0)).variance == 0


@pytest.mark.parametrize(("seeds", "images"), [(3, 5), (3, 40), (5, 12)])
def test_95_of_100_intervals_hold_the_truth(
    rng: np.random.Generator, seeds: int, images: int
) -> None:
    held = 0
    for _ in range(2000):
        scores = (
            rng.normal(size=images)
            + rng.normal(size=(seeds, 1)) * math.sqrt(seeds / images)
            + 0.5 * rng.normal(size=(seeds, images))
        )
        by_image = scores.mean(0)
        left_out = (by_image.sum() - by_image) / (images - 1)
        spread = joined(
            spread_over_groups(left_out, np.ones(images)), spread_over_seeds(scores.mean(1))
        )
        found = interval_of(float(scores.mean()), spread, images, "plain")
        held += found.low <= 0 <= found.high
    assert 0.93 <= held / 2000 <= 0.97
