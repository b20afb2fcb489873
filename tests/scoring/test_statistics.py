import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from abbe.errors import InputError
from abbe.scoring import mean_interval, paired_difference, ratio_interval, spread_over_groups
from abbe.scoring.statistics import Spread, difference_of, interval_of


def test_a_mean_of_images_has_the_interval_of_the_textbook(rng: np.random.Generator) -> None:
    values = rng.normal(3, 2, 12)
    ours = mean_interval(values, scale="plain")
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert ours == pytest.approx((values.mean(), low, high, 12))


def test_a_difference_has_the_interval_and_p_of_the_paired_t_test(rng: np.random.Generator) -> None:
    first = rng.beta(8, 2, 20)
    second = first - rng.normal(0.02, 0.05, 20)
    theirs = stats.ttest_rel(first, second)
    limits = theirs.confidence_interval(0.95)
    ours = paired_difference(first, second)
    assert ours == pytest.approx(
        ((first - second).mean(), limits.low, limits.high, theirs.pvalue, 20)
    )
    mirrored = paired_difference(second, first)
    assert (mirrored.mean, mirrored.p) == pytest.approx((-ours.mean, ours.p))


def test_equal_groups_are_worth_as_much_as_their_means(rng: np.random.Generator) -> None:
    patient = np.repeat(np.arange(6), 5)
    values = rng.normal(0, 1, 6)[patient] + rng.normal(0, 0.3, 30)
    by_group = mean_interval(values, patient.tolist(), scale="plain")
    means = values.reshape(6, 5).mean(1)
    assert by_group[:3] == pytest.approx(mean_interval(means, scale="plain")[:3])
    assert by_group.n == 30


def test_groups_widen_the_interval_where_images_of_a_group_are_alike(
    rng: np.random.Generator,
) -> None:
    patient = np.repeat(np.arange(10), 20)
    values = rng.normal(0, 1, 10)[patient] + rng.normal(0, 0.1, 200)
    by_image = mean_interval(values, scale="plain")
    by_group = mean_interval(values, patient.tolist(), scale="plain")
    assert by_group.mean == by_image.mean
    assert by_group.high - by_group.low > 3 * (by_image.high - by_image.low)


def test_groups_of_one_image_are_images(rng: np.random.Generator) -> None:
    values = rng.random(25)
    assert mean_interval(values, [f"patient {i}" for i in range(25)]) == mean_interval(values)


def test_groups_of_unequal_size_count_as_fewer(rng: np.random.Generator) -> None:
    left_out = rng.random(5)
    assert spread_over_groups(left_out, [4, 4, 4, 4, 4]).freedom == pytest.approx(4)
    assert math.isnan(spread_over_groups(left_out, [40, 1, 1, 1, 1]).variance)
    assert spread_over_groups(left_out, [6, 4, 4, 4, 2]).freedom == pytest.approx(400 / 88 - 1)


def test_limits_of_shares_stay_between_0_and_1_and_lean_to_the_middle() -> None:
    one = mean_interval([0.99, 0.98, 1.0, 0.7])
    assert 0 < one.low < one.mean < one.high < 1
    assert one.mean - one.low > one.high - one.mean
    assert mean_interval([1.0, 1.0, 1.0])[:3] == (1.0, 1.0, 1.0)
    distance = mean_interval([0.1, 0.2, 9.0], scale="positive")
    assert 0 < distance.low < distance.mean < distance.high
    assert distance.low * distance.high == pytest.approx(distance.mean**2)


@pytest.mark.parametrize("groups", [4, 8, 30])
def test_95_of_100_intervals_hold_the_truth(rng: np.random.Generator, groups: int) -> None:
    """Skewed scores such as Dice, images of a group alike; 1,500 tries leave some luck."""
    units = np.repeat(np.arange(groups), 4)
    truth = 6 / (6 + 1.2)
    held = 0
    for _ in range(1500):
        shared, own = rng.normal(size=groups)[units], rng.normal(size=4 * groups)
        scores = stats.beta.ppf(stats.norm.cdf((shared + own) / math.sqrt(2)), 6, 1.2)
        found = mean_interval(scores, units.tolist())
        held += found.low <= truth <= found.high
    assert 0.925 <= held / 1500 <= 0.975


def test_p_is_uniform_where_nothing_differs_and_small_where_much_does(
    rng: np.random.Generator,
) -> None:
    p = [paired_difference(rng.normal(0, 1, 9), np.zeros(9)).p for _ in range(600)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    base = rng.random(40)
    assert paired_difference(base + 0.1 + rng.normal(0, 0.01, 40), base).p < 1e-9


def test_arms_that_differ_by_the_same_everywhere() -> None:
    assert paired_difference([0.5, 0.7, 0.1], [0.5, 0.7, 0.1]) == (0.0, 0.0, 0.0, 1.0, 3)
    always = paired_difference([0.6, 0.8, 0.2], [0.5, 0.7, 0.1])
    assert always == pytest.approx((0.1, 0.1, 0.1, 0.0, 3))


def test_a_ratio_is_as_sure_as_the_delta_method_says(rng: np.random.Generator) -> None:
    teacher = rng.beta(8, 2, 400)
    student = teacher * rng.uniform(0.8, 1.0, 400)
    ours = ratio_interval(student, teacher)
    ratio = student.mean() / teacher.mean()
    error = stats.sem(student - ratio * teacher) / teacher.mean()
    assert ours.mean == pytest.approx(ratio)
    assert ours.high / ours.mean == pytest.approx(math.exp(1.966 * error / ratio), rel=1e-4)
    assert ours.low * ours.high == pytest.approx(ratio**2)


def test_undefined_scores_leave_both_arms() -> None:
    nan = math.nan
    result = paired_difference([1.0, nan, 3.0, 4.0], [0.0, 1.0, nan, 2.0])
    assert (result.mean, result.n) == (1.5, 2)
    assert mean_interval([1.0, nan, 3.0]).n == 2
    assert ratio_interval([1.0, nan, 3.0], [2.0, 1.0, 2.0]).mean == 1.0
    values = [0.1, nan, 0.3, 0.7, 0.2]
    grouped = mean_interval(values, list("abcde"))
    assert grouped == mean_interval([0.1, 0.3, 0.7, 0.2])


def test_too_few_groups_have_a_mean_but_no_interval() -> None:
    for few in (
        mean_interval([0.7]),
        mean_interval([0.7, 0.8]),
        mean_interval([0.1, 0.9, 0.5, 0.4], ["a", "a", "b", "b"]),
        paired_difference([0.7, 0.9], [0.5, 0.6]),
        ratio_interval([0.7, 0.9], [0.5, 0.6]),
    ):
        assert math.isfinite(few.mean)
        assert math.isnan(few.low)
        assert math.isnan(few.high)
    assert math.isnan(paired_difference([0.7, 0.9], [0.5, 0.6]).p)


def test_a_group_without_which_nothing_is_defined_tells_nothing() -> None:
    known = spread_over_groups([0.1, 0.3, math.nan, 0.2], [1, 1, 1, 1])
    assert known == spread_over_groups([0.1, 0.3, 0.2], [1, 1, 1])


def test_no_image_has_no_mean() -> None:
    empty = mean_interval([math.nan])
    assert math.isnan(empty.mean)
    assert empty.n == 0
    assert paired_difference([], []).n == 0
    assert math.isnan(ratio_interval([], []).mean)


def test_ratio_with_a_denominator_of_zero() -> None:
    assert math.isnan(ratio_interval([0.5, 0.5, 0.5], [0.0, 0.0, 0.0]).mean)
    shaky = ratio_interval([0.5, 0.5, 0.5], [0.0, 0.0, 1.0])
    assert shaky.mean == pytest.approx(1.5)
    assert math.isnan(shaky.high)


def test_nothing_known_of_the_spread_is_said_as_nan() -> None:
    unknown = Spread(math.nan, math.nan)
    assert math.isnan(interval_of(0.5, unknown, 3, "share").low)
    assert math.isnan(difference_of(0.5, unknown, 3).p)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_interval([[1.0, 2.0]]), "flat lists"),
        (lambda: mean_interval([1.0, math.inf]), "infinite"),
        (lambda: mean_interval([1.0, 2.0], ["a"]), "2 scores but 1 group;"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), r"got shapes \(2,\) and \(1,\)"),
    ],
)
def test_wrong_scores_are_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
