"""Which validation images choose weights."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers_of_datasets import dataset_of, record

from abbe.datasets import first_of_classes, first_spread, spread

UNEVEN = dataset_of(
    *(record(f"big {n}", group="big") for n in range(40)),
    *(record(f"small {n}", group="small") for n in range(5)),
    *(record(f"alone {n}") for n in range(5)),
).records


def test_every_group_gives_an_image_before_any_gives_two():
    first = first_spread(UNEVEN, 7, seed=3)
    assert Counter(item.unit for item in first).most_common(1)[0][1] == 1
    ten = Counter(item.unit for item in first_spread(UNEVEN, 13, seed=3))
    assert (ten["big"], ten["small"]) == (4, 4)  # five stand alone, and the two groups share eight


def test_the_order_depends_on_the_seed_and_not_on_the_order_given():
    mixed = list(UNEVEN)
    random.Random(0).shuffle(mixed)
    assert [r.id for r in spread(UNEVEN, 1)] == [r.id for r in spread(mixed, 1)]
    assert [r.id for r in spread(UNEVEN, 1)] != [r.id for r in spread(UNEVEN, 2)]


def test_more_images_contain_fewer_and_keep_the_order_of_the_data_set():
    few, more = (first_spread(UNEVEN, count, seed=4) for count in (6, 20))
    assert {r.id for r in few} < {r.id for r in more}
    assert more == [r for r in UNEVEN if r in more]


@pytest.mark.parametrize("count", [50, 51, 1000])
def test_all_are_taken_where_there_are_no_more(count):
    assert first_spread(UNEVEN, count) == list(UNEVEN)


def test_a_rare_class_is_among_them_and_the_others_keep_their_shares():
    named = ["often"] * 90 + ["seldom"] * 9 + ["once"]
    records = [replace(record(str(n)), columns={"class": name}) for n, name in enumerate(named)]
    found = Counter(item.columns["class"] for item in first_spread(records, 20, seed=0))
    assert found == {"often": 17, "seldom": 2, "once": 1}


def test_of_many_photographs_every_class_keeps_its_share():
    numbers = np.repeat(np.arange(4), [600, 300, 99, 1])
    chosen = first_of_classes(numbers, 100, seed=0)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(numbers[chosen]).tolist() == [59, 30, 10, 1]
    assert first_of_classes(numbers, 5000).tolist() == list(range(1000))
    assert np.bincount(numbers[first_of_classes(numbers, 3)], minlength=4).max() == 1
    assert not np.array_equal(chosen, first_of_classes(numbers, 100, seed=1))
