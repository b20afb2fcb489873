"""Types of objects against a plain count, pair by pair."""

import numpy as np
import pytest

from abbe.scoring import instance_scores, together, typed_counts, typed_scores


def boxes(places: list[tuple[int, int]], shape: tuple[int, int] = (40, 90)) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for number, (top, left) in enumerate(places, start=1):
        labels[top : top + 8, left : left + 8] = number
    return labels


def plain(prediction, given, truth, real, count):
    """By every pair of objects: matches of one type, and what is left over."""
    tp, iou = np.zeros(count), np.zeros(count)
    partner_of_unknown, confusion = set(), np.zeros((count, count), int)
    for t in range(1, truth.max() + 1):
        for p in range(1, prediction.max() + 1):
            both = np.sum((truth == t) & (prediction == p))
            overlap = both / np.sum((truth == t) | (prediction == p))
            if overlap > 0.5 and real[t] == 0:
                partner_of_unknown.add(p)
            elif overlap > 0.5:
                confusion[real[t] - 1, given[p] - 1] += 1
                if real[t] == given[p]:
                    tp[real[t] - 1] += 1
                    iou[real[t] - 1] += overlap
    fn = np.array([np.sum(real[1:] == k + 1) for k in range(count)]) - tp
    kept = [given[p] for p in range(1, prediction.max() + 1) if p not in partner_of_unknown]
    fp = np.array([kept.count(k + 1) for k in range(count)]) - tp
    return tp, fn, fp, iou, confusion


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_every_pair(seed):
    random = np.random.default_rng(seed)
    places = [(top, left) for top in (2, 14, 26) for left in range(2, 80, 12)]
    truth = boxes([each for each in places if random.random() < 0.8])
    moved = [(t + int(random.integers(3)), left) for t, left in places if random.random() < 0.8]
    prediction = boxes(moved)
    given = np.r_[0, random.integers(1, 4, prediction.max())]
    real = np.r_[0, random.integers(0, 4, truth.max())]
    counts = typed_counts(prediction, given, truth, real, 3)
    tp, fn, fp, iou, confusion = plain(prediction, given, truth, real, 3)
    np.testing.assert_array_equal(counts.matched, tp)
    np.testing.assert_array_equal(counts.missed, fn)
    np.testing.assert_array_equal(counts.extra, fp)
    np.testing.assert_allclose(counts.iou, iou)
    np.testing.assert_array_equal(counts.confusion, confusion)


def test_with_one_type_they_are_those_of_objects_without():
    truth, prediction = boxes([(2, 2), (2, 20), (20, 40)]), boxes([(3, 2), (2, 20), (20, 60)])
    ones = np.r_[0, 1, 1, 1]
    scores = typed_scores(typed_counts(prediction, ones, truth, ones, 1))
    plainly = instance_scores(prediction, truth)
    assert scores["type_pq"] == pytest.approx(plainly["pq"])
    assert scores["type_f1"] == pytest.approx(plainly["f1@0.5"])
    assert scores["type_accuracy"] == 1


def test_a_type_that_is_nowhere_does_not_count():
    truth = boxes([(2, 2)])
    counts = typed_counts(truth, np.array([0, 2]), truth, np.array([0, 2]), 5)
    assert typed_scores(counts) == {"type_pq": 1, "type_f1": 1, "type_accuracy": 1}
    assert np.isnan(counts.f1[[0, 2, 3, 4]]).all()


def test_the_wrong_type_is_missed_and_extra():
    truth = boxes([(2, 2), (2, 20)])
    counts = typed_counts(truth, np.array([0, 1, 1]), truth, np.array([0, 1, 2]), 2)
    assert counts.f1.tolist() == [pytest.approx(2 / 3), 0]
    assert counts.accuracy == 0.5


def test_without_types_nothing_is_scored():
    truth = boxes([(2, 2)])
    counts = typed_counts(truth, np.array([0, 1]), truth, np.array([0, 0]), 2)
    assert all(np.isnan(value) for value in typed_scores(counts).values())


def test_images_are_taken_together():
    truth = boxes([(2, 2)])
    right = typed_counts(truth, np.array([0, 1]), truth, np.array([0, 1]), 2)
    wrong = typed_counts(truth, np.array([0, 2]), truth, np.array([0, 1]), 2)
    total = together([right, wrong])
    assert (total.matched[0], total.missed[0], total.extra[1]) == (1, 1, 1)
    assert total.confusion.tolist() == [[1, 1], [0, 0]]


def test_unknown_pixels_do_not_count():
    truth = boxes([(2, 2), (2, 20)])
    truth[:, :15] = -1
    prediction = boxes([(2, 2), (2, 20)])
    counts = typed_counts(prediction, np.array([0, 1, 1]), truth, np.array([0, 2, 1]), 2)
    assert counts.f1[0] == 1
    assert np.isnan(counts.f1[1])
