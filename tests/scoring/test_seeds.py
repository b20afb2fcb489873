"""Drawing seeds again: means stay, and the spread is that of a mean of so many trainings."""

import numpy as np
import pytest

from abbe import scoring


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_spread_is_not_understated(count):
    scores = np.random.default_rng(count).normal(size=count)
    weights = scoring.draw_seeds(count, resamples=40_000)
    assert weights.shape == (40_000, count)
    np.testing.assert_allclose(weights.sum(1), 1)
    means = scoring.mean_over_seeds(np.repeat(scores[:, None], len(weights), axis=1), weights)
    assert means.mean() == pytest.approx(scores.mean(), abs=0.02)
    # The textbook's variance of a mean: s² / S, with S − 1 in the denominator of s².
    assert means.var() == pytest.approx(scores.var(ddof=1) / count, rel=0.03)


def test_a_single_seed_always_counts():
    weights = scoring.draw_seeds(1, resamples=7)
    np.testing.assert_array_equal(weights, np.ones((7, 1)))
    scores = np.arange(7.0)[None]
    np.testing.assert_array_equal(scoring.mean_over_seeds(scores, weights), scores[0])


def test_the_draws_repeat_and_do_not_follow_those_of_images():
    first = scoring.draw_seeds(4, resamples=50, seed=3)
    np.testing.assert_array_equal(first, scoring.draw_seeds(4, resamples=50, seed=3))
    assert (first != scoring.draw_seeds(4, resamples=50, seed=4)).any()
    images = scoring.draw_counts("abcd", resamples=50, seed=3)
    assert (first * 3 != images).any()


def test_an_undefined_score_counts_only_where_its_seed_is_drawn():
    scores = np.array([[0.5, 0.5], [np.nan, np.nan]])
    means = scoring.mean_over_seeds(scores, np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert means[0] == 0.5
    assert np.isnan(means[1])


def test_no_resamples_give_nothing():
    weights = scoring.draw_seeds(3, resamples=0)
    assert scoring.mean_over_seeds(np.empty((3, 0)), weights).shape == (0,)
