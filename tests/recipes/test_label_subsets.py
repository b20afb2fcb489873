"""Which images keep their labels: shares within shares, every class, few groups first."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abbe.curves import label_subsets
from abbe.curves.label_subsets import Level
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError


@dataclass(frozen=True)
class Nothing:
    """An image that nobody opens, and a label that nobody reads."""

    def open(self):
        raise AssertionError("no image is read to choose labels")

    def read(self):
        raise AssertionError("no label is read to choose labels")


def records_of(classes, groups):
    return [
        Record(
            f"image {number}", Nothing(), label=Nothing(), split="train", group=group,
            columns={"class": name},
        )
        for number, (name, group) in enumerate(zip(classes, groups, strict=True))
    ]  # fmt: skip


# A busy machine is no fault of what is tested.
patiently = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLASSES = st.lists(st.sampled_from("abc"), min_size=1, max_size=40)
SHARES = st.floats(0.001, 1.0)


@st.composite
def sets_of_records(draw):
    classes = draw(CLASSES)
    names = st.sampled_from([None, "slide 1", "slide 2", "slide 3"])
    groups = draw(st.lists(names, min_size=len(classes), max_size=len(classes)))
    return records_of(classes, groups)


@patiently
@given(sets_of_records(), SHARES, SHARES, st.integers(0, 99), st.booleans())
def test_a_share_contains_every_smaller_one(records, one, other, seed, by_class):
    few, many = sorted((one, other))
    chosen = [
        label_subsets.choose(records, share, seed=seed, by_class=by_class) for share in (few, many)
    ]
    assert chosen[0] <= chosen[1]
    everything = label_subsets.choose(records, 1.0, seed=seed, by_class=by_class)
    assert everything == {record.id for record in records}


@patiently
@given(sets_of_records(), SHARES, st.integers(0, 99))
def test_each_class_keeps_its_share_and_at_least_one(records, share, seed):
    kept = label_subsets.choose(records, share, seed=seed, by_class=True)
    there = Counter(record.columns["class"] for record in records)
    left = Counter(record.columns["class"] for record in records if record.id in kept)
    for name, count in there.items():
        assert 1 <= left[name] <= count
        assert left[name] == pytest.approx(share * count, abs=1)
        assert left[name] >= math.floor(share * count)


@patiently
@given(sets_of_records(), SHARES, st.integers(0, 99), st.randoms())
def test_the_order_of_the_records_does_not_matter(records, share, seed, random):
    shuffled = list(records)
    random.shuffle(shuffled)
    first, second = (
        label_subsets.choose(each, share, seed=seed, by_class=True) for each in (records, shuffled)
    )
    assert first == second


@patiently
@given(sets_of_records(), SHARES, st.integers(0, 99))
def test_a_group_is_used_up_before_the_next_is_begun(records, share, seed):
    kept = label_subsets.choose(records, share, seed=seed, by_class=True)
    for name in {record.columns["class"] for record in records}:
        own = [record for record in records if record.columns["class"] == name]
        begun = {
            unit
            for unit in {record.unit for record in own}
            if sum(r.unit == unit for r in own if r.id in kept) > 0
            and any(r.unit == unit for r in own if r.id not in kept)
        }
        assert len(begun) <= 1


def test_other_seeds_keep_other_images():
    records = records_of("a" * 30, [None] * 30)
    chosen = {label_subsets.choose(records, 0.2, seed=s, by_class=True) for s in range(5)}
    assert len(chosen) == 5
    assert all(len(each) == 6 for each in chosen)


def test_shares_are_exact_where_floats_are_not():
    assert label_subsets.share_of(0.07, 100) == 7  # 0.07 * 100 is a little more than 7
    assert label_subsets.share_of(0.0701, 100) == 8
    assert label_subsets.share_of(1e-6, 3) == 1


@patiently
@given(sets_of_records(), st.lists(SHARES, min_size=1, max_size=6, unique=True))
def test_levels_differ_and_lose_no_share(records, fractions):
    levels = label_subsets.levels_of(records, fractions, by_class=True)
    counts = [level.labelled for level in levels]
    assert counts == sorted(set(counts))
    named = [share for level in levels for share in (*level.merged, level.fraction)]
    assert named == sorted(fractions)


def test_shares_that_keep_the_same_images_are_merged_into_the_largest():
    records = records_of("ab" * 5, [None] * 10)
    found = label_subsets.levels_of(records, (1.0, 0.01, 0.1, 0.2), by_class=True)
    assert found == (Level(0.2, 2, (0.01, 0.1)), Level(1.0, 10))


@pytest.mark.parametrize(
    ("fractions", "reason"),
    [
        ((), "name at least one"),
        ((0.1, 0.0), "0 is no share"),
        ((5.0,), "5 is no share of the labels; .* \\(5 % is 0.05\\)"),
        ((-0.1, 1.0), "-0.1 is no share"),
        ((0.1, 0.5, 0.1), "0.1 is named twice"),
    ],
)
def test_wrong_shares_are_refused(fractions, reason):
    with pytest.raises(ConfigError, match=reason):
        label_subsets.require_shares(fractions)


def test_the_others_lose_every_label_and_stay_as_images():
    train = records_of("aabb", [None] * 4)
    tests = [Record("test", Nothing(), label=Nothing(), split="test", columns={"class": "a"})]
    dataset = Dataset("drawn", (*train, *tests), ("red",), classes=("a", "b"))
    kept = label_subsets.keep(dataset, [record.id for record in train], {"image 0", "image 2"})
    assert kept.ids == dataset.ids
    assert {record.id for record in kept.labelled} == {"image 0", "image 2", "test"}
    assert "class" not in kept["image 1"].columns
    assert kept["test"] == dataset["test"]


@patiently
@given(sets_of_records(), st.integers(0, 9))
def test_the_smallest_share_of_an_image_is_the_first_that_has_it(records, seed):
    levels = label_subsets.levels_of(records, (0.1, 0.3, 0.7), by_class=True)
    smallest = label_subsets.smallest_levels(records, levels, seed=seed, by_class=True)
    for level in levels:
        kept = label_subsets.choose(records, level.fraction, seed=seed, by_class=True)
        assert kept == {id for id, share in smallest.items() if share <= level.fraction}
        assert len(kept) == level.labelled
    assert np.isfinite(list(smallest.values())).all()
