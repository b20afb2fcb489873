"""What prompts say by themselves: ellipses in boxes, discs around points."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from abbe import datasets
from abbe.datasets.training.eval_prompts import objects_of
from abbe.scoring import pixel_scores
from abbe.tasks.promptable.shapes import (
    RADII,
    ShapeAlone,
    best_radii,
    box_of,
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


def test_an_ellipse_fills_its_box_and_a_box_itself():
    np.testing.assert_array_equal(ellipse_in_box(ELLIPSE), ELLIPSE)
    np.testing.assert_array_equal(ellipse_in_box(box_of(ELLIPSE)), ELLIPSE)
    assert box_of(ELLIPSE).sum() == 24 * 14
    dot = np.zeros((5, 5), bool)
    dot[1, 2] = True
    np.testing.assert_array_equal(ellipse_in_box(dot), dot)


@pytest.mark.parametrize("kind", ["1_point", "3_points"])
def test_dice_of_all_radii_at_once_is_that_of_each_disc(kind):
    label = np.where(ELLIPSE, 1, np.where(box_of(DISC), 2, 0))
    label[:, 45:] = -1
    far = distances(objects_of(label), kind)
    expected = [pixel_scores(far <= r, label > 0, label >= 0)["dice"] for r in RADII]
    np.testing.assert_allclose(dice_by_radius(far, label), expected)
    assert 0 < np.argmax(expected) < len(RADII) - 1


def test_a_disc_is_found_again_from_its_middle():
    (any_record,) = datasets.simulated_tissue(1, size=64, seed=2)
    record = replace(any_record, label=Given(DISC.astype(np.int32)))
    shape = ShapeAlone(best_radii([record]))
    assert shape.radii["1_point"] == pytest.approx(9 / 60, abs=0.006)
    answers = shape.masks(record, DISC[None])
    assert list(answers) == shape.kinds == ["box", "1_point", "3_points"]
    assert pixel_scores(answers["1_point"], DISC)["dice"] > 0.97
    np.testing.assert_array_equal(answers["box"], ellipse_in_box(DISC))


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
