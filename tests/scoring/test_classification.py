"""Scores of classified images and of regions: against scikit-learn, and by hand."""

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from abbe.errors import InputError
from abbe.scoring import (
    class_confusion,
    class_scores,
    classification_scores,
    confusion,
    leave_out,
    region_scores,
    spread_over_groups,
)


def answers(classes, seed=0, size=60):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, size)
    logits = random.normal(size=(size, classes)).round(1) + 1.2 * np.eye(classes)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_all_four_agree_with_scikit_learn(classes):
    truth, probabilities = answers(classes)
    probabilities[::7] = 1 / classes  # ties
    scores = classification_scores(truth, probabilities)
    said = probabilities.argmax(1)
    shown = probabilities[:, 1] if classes == 2 else probabilities
    expected = {
        "accuracy": metrics.accuracy_score(truth, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, said),
        "macro_f1": metrics.f1_score(truth, said, average="macro"),
        "auroc": metrics.roc_auc_score(truth, shown, multi_class="ovr"),
    }
    assert {name: values.tolist() for name, values in scores.items()} == {
        name: [pytest.approx(value)] for name, value in expected.items()
    }


def test_a_part_is_scored_as_the_set_it_stands_for():
    truth, probabilities = answers(3, seed=1, size=20)
    counts = np.random.default_rng(2).integers(0, 3, (5, 20)).astype(float)
    scores = classification_scores(truth, probabilities, counts)
    for row, count in enumerate(counts):
        drawn = np.repeat(np.arange(20), count.astype(int))
        alone = classification_scores(truth[drawn], probabilities[drawn])
        for name, values in scores.items():
            assert values[row] == pytest.approx(alone[name][0]), name


def test_groups_are_left_out_as_a_whole():
    counts, sizes = leave_out(["a", "a", "b", "c"])
    assert counts.tolist() == [[0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    assert sizes.tolist() == [2, 1, 1]


def test_of_very_many_groups_several_are_left_out_at_once():
    counts, sizes = leave_out(range(1000))
    assert counts.shape == (400, 1000)
    assert (counts.sum(0) == 399).all()
    assert set(sizes.tolist()) == {2, 3}
    values = np.random.default_rng(0).random(1000)
    spread = spread_over_groups((counts @ values) / counts.sum(1), sizes)
    assert spread.variance == pytest.approx(values.var(ddof=1) / 1000, rel=0.15)
    assert spread.freedom == pytest.approx(383.6, abs=0.1)


def test_many_classes_take_little_memory():
    rng = np.random.default_rng(0)
    truth, chances = rng.integers(0, 200, 500), rng.random((500, 200))
    tracemalloc.start()
    found = classification_scores(truth, chances)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20
    assert found["accuracy"][0] == pytest.approx(np.mean(chances.argmax(1) == truth))


def test_a_class_that_is_absent_has_no_auroc_and_does_not_spoil_the_others():
    truth, probabilities = np.array([0, 0, 1]), np.array([[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.8, 0.1]])
    assert classification_scores(truth, probabilities)["auroc"] == [1.0]
    assert np.isnan(classification_scores(truth[:2], probabilities[:2])["auroc"][0])


def test_one_class_alone_has_no_balanced_accuracy():
    truth, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    alone = classification_scores(truth[:2], probabilities[:2])
    assert np.isnan(alone["balanced_accuracy"][0])
    assert alone["accuracy"] == [1.0]
    counts = np.array([[1.0, 2, 0], [1, 1, 1]])
    drawn = classification_scores(truth, probabilities, counts)["balanced_accuracy"]
    assert np.isnan(drawn).tolist() == [True, False]


def test_confusion_and_scores_of_each_class_agree_with_scikit_learn():
    truth, probabilities = answers(3, seed=4)
    said = probabilities.argmax(1)
    table = class_confusion(truth, probabilities)
    assert table.tolist() == metrics.confusion_matrix(truth, said).tolist()
    expected = metrics.precision_recall_fscore_support(truth, said)[:3]
    assert np.array(class_scores(table)) == pytest.approx(np.array(expected))


def test_a_class_that_is_neither_there_nor_answered_has_no_scores():
    scores = class_scores(np.array([[2, 0, 1], [0, 0, 0], [0, 0, 0]]))
    assert np.isnan([each[1] for each in scores]).all()
    assert (scores.precision[0], scores.recall[0]) == (1, pytest.approx(2 / 3))
    assert (scores.precision[2], scores.f1[2]) == (0, 0)
    assert np.isnan(scores.recall[2])


def test_regions_agree_with_scikit_learn_and_unknown_pixels_do_not_count():
    random = np.random.default_rng(3)
    truth, prediction = random.integers(-1, 3, (2, 9, 8)), random.integers(0, 3, (2, 9, 8))
    tables = np.stack([confusion(p, t, 3) for p, t in zip(prediction, truth, strict=True)])
    scores = region_scores(tables)
    known = truth >= 0
    iou = metrics.jaccard_score(truth[known], prediction[known], average="macro")
    assert scores["mean_iou"] == pytest.approx(iou)
    dice = metrics.f1_score(truth[known], prediction[known], average="macro")
    assert scores["dice"] == pytest.approx(dice)
    assert region_scores(tables, np.array([[0.0, 2.0]]))["mean_iou"] == pytest.approx(
        region_scores(tables[1:])["mean_iou"]
    )


def test_what_is_no_class_is_refused():
    with pytest.raises(InputError, match="holds the class 2"):
        classification_scores(np.array([0, 2]), np.ones((2, 2)) / 2)
    with pytest.raises(InputError, match="class number 3"):
        confusion(np.zeros((2, 2), int), np.full((2, 2), 3), 3)
