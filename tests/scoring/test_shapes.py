"""What prompts say by themselves: ellipses in boxes, discs around points."""

import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest

from abbe import datasets
from abbe.datasets.training.eval_prompts import Asked, objects_of
from abbe.scoring import pixel_scores
from abbe.tasks.promptable.shapes import (
    RADII,
    ShapeAlone,
    best_radii,
    chosen_on,
    dice_by_radius,
    distances,
    ellipse_in_box,
)


@dataclass(frozen=True)
class Given:
    """A label that lies in memory."""

    values: np.ndarray

    def read(self) -> np.ndarray:
        return self.values


Y, X = np.mgrid[:40, :60]
ELLIPSE = ((X + 0.5 - 30) / 12) ** 2 + ((Y + 0.5 - 17) / 7) ** 2 <= 1
DISC = (X + 0.5 - 20.5) ** 2 + (Y + 0.5 - 20.5) ** 2 <= 9**2
(RECORD,) = datasets.simulated_tissue(1, size=64, seed=2)


def asked(mask: np.ndarray) -> Asked:
    (found,) = objects_of(mask.astype(np.int32))
    return found


def boxed(mask: np.ndarray) -> np.ndarray:
    """The filled tight box around a mask."""
    return np.asarray(mask.any(axis=0, keepdims=True) & mask.any(axis=1, keepdims=True))


def test_an_ellipse_fills_its_box_and_a_box_itself():
    for mask in (ELLIPSE, boxed(ELLIPSE)):
        drawn = ShapeAlone({}).masks(RECORD, [asked(mask)])["box"]
        np.testing.assert_array_equal(drawn, ELLIPSE)
    assert ellipse_in_box(asked(ELLIPSE)).shape == (14, 24)
    dot = np.zeros((5, 5), bool)
    dot[1, 2] = True
    np.testing.assert_array_equal(ellipse_in_box(asked(dot)), [[True]])


def test_a_thousand_objects_take_no_thousand_images_of_memory():
    """They took N x H x W bytes: 21 GB for 2048 px with 5,000 cells, after all training."""
    label = np.kron(np.arange(1, 1025).reshape(32, 32), np.ones((8, 8), int)).astype(np.int32)
    label[::8] = 0
    tracemalloc.start()
    try:
        objects = objects_of(label)
        answers = ShapeAlone({"1_point": 0.02}).masks(RECORD, objects)
        best_radii([replace(RECORD, label=Given(label))])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(objects) == 1024
    assert answers["box"].any()
    assert most < 100 * label.size


@pytest.mark.parametrize("kind", ["1_point", "3_points"])
def test_dice_of_all_radii_at_once_is_that_of_each_disc(kind):
    label = np.where(ELLIPSE, 1, np.where(boxed(DISC), 2, 0))
    label[:, 45:] = -1
    far = distances(objects_of(label), kind)
    expected = [pixel_scores(far <= r, label > 0, label >= 0)["dice"] for r in RADII]
    np.testing.assert_allclose(dice_by_radius(far, label), expected)
    assert 0 < np.argmax(expected) < len(RADII) - 1


def test_a_disc_is_found_again_from_its_middle():
    record = replace(RECORD, label=Given(DISC.astype(np.int32)))
    shape = ShapeAlone(best_radii([record]))
    assert shape.radii["1_point"] == pytest.approx(9 / 60, abs=0.006)
    answers = shape.masks(record, [asked(DISC)])
    assert list(answers) == shape.kinds == ["box", "1_point", "3_points"]
    assert pixel_scores(answers["1_point"], DISC)["dice"] > 0.97
    np.testing.assert_array_equal(answers["box"][asked(DISC).window], ellipse_in_box(asked(DISC)))


def test_validation_images_choose_the_discs_else_training_images():
    tissue = datasets.simulated_tissue(3, size=64, seed=2)
    of = dict(zip(tissue.ids, ("train", "val", "test"), strict=True))
    radii = {
        split: best_radii(tissue.with_splits(of).split(split).records) for split in ("train", "val")
    }
    assert chosen_on(tissue.with_splits(of)).radii == radii["val"]
    assert "of the longest side (three points)" in chosen_on(tissue.with_splits(of)).in_words
    of = {id: split.replace("val", "test") for id, split in of.items()}
    assert chosen_on(tissue.with_splits(of)).radii == radii["train"]
    alone = chosen_on(tissue.with_splits(dict.fromkeys(of, "test")))
    assert alone.kinds == ["box"]
    assert alone.in_words == "no network: the ellipse that fills the box"
