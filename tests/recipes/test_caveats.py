"""What a run says against its own figures: each reason for doubt, once."""

from typing import Any

import pytest

from abbe.caveats import caveats_of
from abbe.summary import SHAPE, RunSummary
from abbe.tasks.instances import Instances


def summary_with(**changes: Any) -> RunSummary:
    """Of a run that gives no reason for doubt."""
    metrics = {"dice": {"mean": 0.5, "ci95": [0.4, 0.6], "n": 90}}
    return RunSummary.model_validate({
        "data": {"validation": 3, "test": 90, "grouped": True, "test_groups": 30},
        "teacher": {"teacher": "t", "sees_labels": False},
        "models": {name: {"metrics": metrics} for name in ("teacher", "student", "twin")},
        "gain": {"dice": {}},
        "targets": {"images": 9, "empty": 0, "missing": 0},
        **changes,
    })  # fmt: skip


def counts(**changes: Any) -> dict[str, Any]:
    return {"validation": 3, "test": 90, "grouped": True, "test_groups": 30} | changes


def chosen(on: str) -> dict[str, Any]:
    """Thresholds of a student that were chosen on validation images, beside the teacher's."""
    return {"student": {"chosen_on": "validation"}, "teacher": {"chosen_on": on}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": {"images": 9, "empty": 0, "missing": 4}}, "no answer for 4 images"),
        ({"targets": {"images": 9, "empty": 2, "missing": 0}}, "found nothing on 2 of 9 images"),
        ({"left_out": ["a", "b"]}, "2 images could not be used and were left out"),
        ({"seed": 4}, "One seed (4)"),
        ({"data": counts(test=29)}, "Only 29 test images"),
        ({"data": counts(test_groups=19)}, "of 19 groups only"),
        ({"data": counts(test_groups=1)}, "of one group"),
        ({"data": counts(grouped=False)}, "is not known"),
        ({"data": counts(class_counts={"test": {"a": 90}})}, "Only 90 test images"),
        ({"gain": {"dice": {}, "iou": {}}}, "Every metric has its own test"),
        ({"teacher_channels": ["a", "b"], "student_channels": ["a"]}, "The teacher sees b"),
        ({"warnings": ["The run says so."]}, "The run says so."),
        (
            {"teacher": {"teacher": "t", "sees_labels": True, "prompt_mode": "oracle_box"}},
            "The teacher was shown the true labels (oracle_box)",
        ),
        ({"teacher_saw_labels": True}, "The teacher was shown the true labels of"),
        ({"thresholds": chosen("objects")}, "The teacher's objects are as the program gave them"),
        ({"thresholds": chosen("default")}, "so its own stay at 0.5"),
    ],
)
def test_each_reason_for_doubt_is_told_once(changes: dict[str, Any], reason: str) -> None:
    assert sum(reason in said for said in caveats_of(summary_with(**changes))) == 1


def test_thresholds_chosen_on_fewer_images_than_the_student_s_are_doubted():
    metrics = {"dice": {"mean": 0.5, "ci95": [0.4, 0.6], "n": 90}}
    models = {
        name: {"metrics": metrics, "labels": {"thresholds": count}}
        for name, count in (("teacher", 3), ("student", 5))
    }
    (said,) = caveats_of(summary_with(models=models, thresholds=chosen("validation")))
    assert said.startswith("The teacher's thresholds were chosen on 3 of the 5 images")


@pytest.mark.parametrize(("shape", "told"), [(0.5, True), (0.4, False), (None, False)])
def test_a_shape_that_does_as_well_as_the_student_is_told(shape: float | None, told: bool) -> None:
    values = {"student": 0.5, SHAPE: shape}
    models = {name: {"metrics": {"dice": {"mean": value}}} for name, value in values.items()}
    said = caveats_of(summary_with(models=models, metric_names={"dice": "Dice, tight box"}))
    assert any("Dice, tight box: 0.500, the student 0.500" in text for text in said) is told


@pytest.mark.parametrize(
    ("asked", "teacher", "told"),
    [(1.0, 0.4, True), (1.0, 0.6, False), (0.5, 0.4, True), ("auto", 0.4, False)],
)
def test_a_teacher_that_labels_alone_do_better_than_is_told(
    asked: float | str, teacher: float, told: bool
) -> None:
    values = {"student": 0.5, "teacher": teacher, "supervised": 0.5}
    models = {name: {"metrics": {"dice": {"mean": value}}} for name, value in values.items()}
    trust = {"asked": asked, "outputs": {"foreground": 0.5}}
    said = caveats_of(summary_with(models=models, trust=trust))
    assert any("labels alone have taught (Dice 0.400 and 0.500)" in text for text in said) is told


def test_a_clean_run_warns_of_nothing():
    assert caveats_of(summary_with()) == []


@pytest.mark.parametrize(
    ("labelled", "chosen_on"),
    [(0, "nothing: all are 0.5"), (3, "3 labelled training images, for want of validation images")],
)
def test_thresholds_by_default_are_told(labelled: int, chosen_on: str) -> None:
    data = summary_with(data=counts(validation=0, train_labelled=labelled)).data
    assert Instances().thresholds_chosen_on(data) == chosen_on
    thresholds = {"thresholds": {"student": {}}, "thresholds_chosen_on": chosen_on}
    (said,) = caveats_of(summary_with(data=data, **thresholds))
    assert said.endswith(f"the last weights were taken, and thresholds come from {chosen_on}.")
    assert caveats_of(summary_with(data=data, evaluation_of="a run", **thresholds)) == []
