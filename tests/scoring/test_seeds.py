"""The spread over seeds, and what it adds to that over images."""

import math

import numpy as np
import pytest

from abbe.scoring import joined, measured_means, spread_over_seeds
from abbe.scoring.statistics import Spread


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
    assert joined(Spread(1.0, 4.0), Spread(1.0, 4.0)) == pytest.approx((2.0, 4.0))
    assert joined(Spread(3.0, 24.0), Spread(1.0, 2.0)) == pytest.approx((4.0, 4 / (3 / 24 + 1 / 2)))
    assert math.isnan(joined(Spread(math.nan, math.nan), few).variance)
    assert joined(Spread(0.0, 3.0), Spread(0.0, 2.0)).variance == 0


def test_what_is_in_both_parts_counts_once() -> None:
    images, seeds = Spread(3.0, 24.0), Spread(2.0, 2.0)
    assert joined(images, seeds, in_both=1.5).variance == pytest.approx(3.5)
    assert joined(images, seeds, in_both=9.0).variance == 3.0  # the larger part at least
    assert joined(images, seeds, in_both=1.5).freedom == joined(images, seeds).freedom


def test_the_variance_of_a_mean_is_that_of_two_way_analysis(rng: np.random.Generator) -> None:
    scores = rng.normal(size=12) + rng.normal(size=(3, 1)) + 0.5 * rng.normal(size=(3, 12))
    found = measured_means(scores, np.arange(12)).spread
    rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    by_images, by_seeds = scores.mean(0).var(ddof=1) / 12, scores.mean(1).var(ddof=1) / 3
    assert found.variance == pytest.approx(
        by_images + by_seeds - (rest**2).sum() / (11 * 2) / (12 * 3)
    )
    one = measured_means(scores[:1], np.arange(12)).spread
    assert one == pytest.approx((scores[0].var(ddof=1) / 12, 11))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("images", [10, 40])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_95_of_100_intervals_hold_the_truth(
    rng: np.random.Generator, seeds: int, images: int, weight: float
) -> None:
    held = 0
    for _ in range(2000):
        scores = (
            rng.normal(size=images)
            + weight * rng.normal(size=(seeds, 1)) * math.sqrt(seeds / images)
            + 0.5 * rng.normal(size=(seeds, images))
        )
        found = measured_means(scores, np.arange(images)).difference()
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        held += found.low <= 0 <= found.high
    assert 0.93 <= held / 2000 <= 0.98
