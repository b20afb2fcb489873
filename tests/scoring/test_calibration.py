"""A temperature that was put in is found again, and the error of what was overstated falls."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from abbe import datasets
from abbe.scoring.calibration import fit_temperature, reliability, tempered
from abbe.tasks.instances import Instances
from abbe.tasks.maps import Maps


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_of_a_network_that_is_too_sure_is_found(true: float, classes: int):
    """Truth is drawn as softmax(z / T) says, and z is told."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (40_000, classes))
    chances = tempered(logits, true).cumsum(1)
    truth = (random.random((len(logits), 1)) > chances).sum(1)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(true, rel=0.03)
    assert reliability(truth, tempered(logits, found)).error < 0.01
    if true != 1:
        assert reliability(truth, tempered(logits, 1.0)).error > 0.04


def test_the_highest_class_stays_the_highest():
    logits = np.random.default_rng(1).normal(0, 3, (500, 5))
    for temperature in (0.2, 7.0):
        assert (tempered(logits, temperature).argmax(1) == logits.argmax(1)).all()


@pytest.mark.parametrize("images", [2, 18])
def test_a_network_that_is_right_on_few_images_is_not_taken_for_one_that_never_errs(images: int):
    logits = np.array([[0.0, 2.0], [2.0, 0.0]] * (images // 2))
    found = fit_temperature(logits, np.array([1, 0] * (images // 2)))
    assert tempered(logits, found)[0, 1] == pytest.approx(1 - 1 / (images + 2), abs=1e-3)


@dataclass(frozen=True)
class Given:
    """A label that lies in memory."""

    values: np.ndarray

    def read(self) -> np.ndarray:
        return self.values


class Undecided:
    """Says one half everywhere."""

    def has(self, record: datasets.Record) -> bool:
        return True

    def predict(self, record: datasets.Record) -> Maps:
        half = np.full((40, 40), 0.5, np.float32)
        return Maps(half, half)


def test_the_rim_of_what_nobody_knows_is_no_boundary():
    label = np.ones((40, 40), np.int32)
    label[:, :10], label[:, 30:] = 0, -1
    (record,) = datasets.simulated_tissue(1, size=40, seed=2)
    record = replace(record, label=Given(label), split="val")
    dataset = datasets.Dataset("one", (record,), ("nucleus", "membrane"))
    found = Instances().sample(Undecided(), dataset, "val")
    assert found["foreground"].truth.sum() == 20 * 40
    assert found["boundary"].truth.sum() == 40  # the background's side alone
    assert len(found["boundary"].truth) == 30 * 40
