"""The table of what classifiers said of each test image, by hand."""

from dataclasses import replace
from typing import cast

import numpy as np
import pyarrow.parquet

from abbe.datasets import Dataset, ImageSource, Record
from abbe.datasets.training.prepare import Prepared
from abbe.runs.results import save_predictions
from abbe.tasks.classes import Predictions
from abbe.tasks.classification import Classification, predictions

IMAGE = Prepared("a", np.zeros((1, 2, 2)), ("red",), np.zeros((1, 2)), (2, 2))
IMAGES = [replace(IMAGE, id=id, category=number) for id, number in (("a", 0), ("b", 1), ("c", 1))]
ANSWERS = {
    "student": Predictions(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])),
    "twin": Predictions(np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8]])),
}


def dataset_of(*groups: str | None) -> Dataset:
    records = (
        Record(id, cast(ImageSource, None), split="test", group=group)
        for id, group in zip("abc", groups, strict=True)
    )
    return Dataset("set", tuple(records), ("red",), classes=("dense", "sparse"))


def test_a_row_an_image_and_model_says_what_was_answered_and_how_surely(tmp_path):
    path = tmp_path / "predictions.parquet"
    save_predictions(path, predictions(dataset_of(None, None, None), ANSWERS, IMAGES))
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [(row["model"], row["image"]) for row in rows] == [
        (model, image) for model in ("student", "twin") for image in "abc"
    ]
    assert rows[1] == {
        "image": "b", "group": None, "model": "student", "class": "sparse", "predicted": "dense",
        "probability_dense": 0.6, "probability_sparse": 0.4,
    }  # fmt: skip
    save_predictions(path, predictions(dataset_of("p1", "p1", None), ANSWERS, IMAGES))
    groups = pyarrow.parquet.read_table(path)["group"].to_pylist()
    assert groups == ["p1", "p1", None] * 2


def test_confusions_count_answers_by_true_class():
    details = Classification().details(ANSWERS, IMAGES, dataset_of(None, None, None))
    found = {name: model["confusion"] for name, model in details["models"].items()}
    assert found == {"student": [[1, 0], [1, 1]], "twin": [[0, 1], [0, 2]]}


def test_examples_are_ranked_by_how_probable_the_student_found_the_true_class():
    details = Classification().details(ANSWERS, IMAGES, dataset_of(None, None, None))
    assert details["ranking"] == {"a": 0.9, "b": 0.4, "c": 0.8}
