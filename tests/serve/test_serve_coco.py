import json

import numpy as np
import pytest

from abbe.errors import InputError
from abbe.serve.coco import (
    AnnotationFile,
    Object,
    annotation,
    check_counts,
    counts_of,
    mask_of,
)


def test_run_lengths_by_hand():
    mask = np.array([[1, 0, 0], [1, 1, 0]], bool)
    assert counts_of(mask) == [0, 2, 1, 1, 2]  # down the columns: 11 01 00


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (9, 13)])
def test_run_lengths_give_the_mask_back(rng, shape):
    for mask in (rng.random(shape) > 0.5, np.zeros(shape, bool), np.ones(shape, bool)):
        np.testing.assert_array_equal(mask_of(counts_of(mask), shape), mask)


@pytest.mark.parametrize("counts", [[5], [3, -1, 4], [7], [], [2**70, 1], [2**63, 2**63, 6]])
def test_run_lengths_that_do_not_fit_are_refused(counts):
    with pytest.raises(InputError, match="2 × 3 pixels"):
        check_counts(counts, (2, 3))


def test_an_annotation_holds_box_and_area():
    mask = np.zeros((10, 20), bool)
    mask[3:5, 7:12] = True
    made = annotation(Object(tuple(counts_of(mask)), 0.87654), (10, 20))
    assert made["bbox"] == [7, 3, 5, 2]
    assert made["area"] == 10
    assert made["segmentation"]["size"] == [10, 20]
    assert made["score"] == 0.8765


def test_objects_of_one_image_are_replaced_and_others_stay(tmp_path):
    file = AnnotationFile(tmp_path / "annotations.json")
    assert file.objects() == {}
    one, two = Object((0, 2, 4), 0.5), Object((2, 2, 2), 0.75)
    file.replace("a.png", (2, 3), [one, two])
    file.replace("b.png", (2, 3), [two])
    file.replace("a.png", (2, 3), [two])
    assert file.objects() == {"a.png": [two], "b.png": [two]}
    written = json.loads(file.path.read_text())
    assert len({each["id"] for each in written["annotations"]}) == 2
    assert [image["file_name"] for image in written["images"]] == ["a.png", "b.png"]


def test_an_empty_mask_is_not_saved(tmp_path):
    file = AnnotationFile(tmp_path / "annotations.json")
    with pytest.raises(InputError, match="empty"):
        file.replace("a.png", (2, 3), [Object((6,), 0.5)])
    assert not file.path.exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"images": [{}], "annotations": []}', '{"images": 3}']
)
def test_damaged_annotations_are_refused_and_left(tmp_path, text):
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json.*Move the file away"):
        AnnotationFile(path).objects()
    with pytest.raises(InputError, match="Move the file away"):
        AnnotationFile(path).replace("a.png", (2, 3), [])
    assert path.read_text() == text
