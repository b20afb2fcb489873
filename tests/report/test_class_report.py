"""The page of a classification: classes, confusion, and what few test images forbid to say."""

import html
import re
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from abbe.caveats import class_caveats
from abbe.imaging.pictures.legend import class_colour
from abbe.reporting import write_report
from abbe.reporting.classes import class_rows, confusion_rows, region_rows
from abbe.reporting.tables import plain_table, primary_metric
from abbe.summary import RunSummary

CONFUSION = [[8, 4], [0, 3]]
COUNTS = {
    "train": {"dense": 5, "sparse": 6},
    "val": {"dense": 0, "sparse": 0},
    "test": {"dense": 12, "sparse": 3},
}


def score(mean: float | None) -> dict:
    return {"mean": mean, "ci95": [mean, mean], "n": 15}


def summary_of(**changes: object) -> RunSummary:
    metrics = {"balanced_accuracy": score(0.833), "accuracy": score(0.733)}
    models = {"student": {"metrics": metrics, "confusion": CONFUSION}, "twin": {"metrics": metrics}}
    gain = {"accuracy": score(0.0)}
    data = {"name": "tiles", "test": 15, "class_counts": COUNTS}
    return RunSummary.model_validate({
        "task": "classification", "classes": ["dense", "sparse"], "models": models, "gain": gain,
        "data": data, "thresholds_chosen_on": "nothing: the answer is the most probable class",
    } | changes)  # fmt: skip


def page_of(folder: Path, summary: RunSummary) -> str:
    summary.write(folder)
    page = write_report(folder).read_text("utf-8")
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


def test_every_class_has_its_precision_recall_and_f1():
    dense, sparse = class_rows(summary_of())
    assert dense == ("dense", 12, "1.000", "0.667", "0.800")
    assert sparse == ("sparse", 3, "0.429", "1.000", "0.600")
    assert [
        [int(cell.text) for cell in row.cells] for row in confusion_rows(summary_of())
    ] == CONFUSION
    assert confusion_rows(summary_of())[0].cells[0].share == 8 / 12


def test_the_page_shows_them_and_the_counts_by_split(tmp_path):
    text = page_of(tmp_path, summary_of())
    assert "dense 12 1.000 0.667 0.800" in text
    assert "True class dense sparse dense 8 4 sparse 0 3" in text
    assert "Class train test dense 5 12 sparse 6 3" in text
    assert "Class counts" not in text
    assert "Chosen on nothing: the answer is the most probable class." in text
    assert "did not record its thresholds" not in text


def test_answers_right_or_wrong_are_counted_and_not_called_missing(tmp_path):
    right = {"student": (1, 1, 1, 0), "twin": (1, 0, 0, 0)}
    rows = [
        {"image": f"i{number}", "model": model, "metric": "accuracy", "value": float(value)}
        for model, values in right.items()
        for number, value in enumerate(values)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "scores.parquet")
    text = page_of(tmp_path, summary_of())
    assert "both right on 1, the student alone on 2, twin alone on 0, and neither on 1." in text
    assert "no scores by image" not in text
    assert "seed" not in text.partition("Class by class")[2].partition("Run it again")[0]
    several = {"seeds": [4, 5], "baselines": ["twin"], "against": "twin"}
    told = page_of(tmp_path, summary_of(seed=4, evidence=several))
    assert "neither on 1. (Networks of seed 4.)" in told
    assert "The student on the test images (seed 4)." in told
    assert "a column the student’s answer (seed 4)." in told
    assert "predictions.parquet" not in text  # it is not there
    (tmp_path / "predictions.parquet").touch()
    assert "is in predictions.parquet" in page_of(tmp_path, summary_of())


def test_few_test_images_of_a_class_speak_for_doubt(tmp_path):
    (caveat,) = class_caveats(summary_of().data)
    assert caveat.startswith("Fewer than 10 test images of sparse (3): a single image")
    assert caveat in page_of(tmp_path, summary_of())
    enough = {"test": {"dense": 12, "sparse": 10}}
    assert class_caveats(summary_of(data={"class_counts": enough}).data) == []
    absent = {"test": {"dense": 12, "middling": 0, "sparse": 10}}
    (caveat,) = class_caveats(summary_of(data={"class_counts": absent}).data)
    assert caveat.startswith("No test image is of middling")


def test_a_student_that_gives_one_answer_is_doubted(tmp_path):
    metrics = {"balanced_accuracy": score(0.5)}
    models = {"student": {"metrics": metrics, "confusion": [[0, 12], [0, 3]]}}
    told = "The student answered sparse for every test image: it tells no classes apart"
    assert told in page_of(tmp_path, summary_of(models=models))
    assert "for every test image" not in page_of(tmp_path, summary_of())


def test_one_class_alone_leaves_scores_undefined_and_says_so(tmp_path):
    metrics = {"balanced_accuracy": score(None), "accuracy": score(1.0), "auroc": score(None)}
    summary = summary_of(
        models={"student": {"metrics": metrics, "confusion": [[12, 0], [0, 0]]}},
        gain={"balanced_accuracy": score(None)},
        data={"class_counts": {"test": {"dense": 12, "sparse": 0}}},
    )
    assert primary_metric(summary) == "accuracy"
    text = page_of(tmp_path, summary)
    assert "Balanced accuracy ↑ not defined" in text
    assert "All test images are of the class dense: balanced accuracy and AUROC are not" in text
    assert "sparse 0 – – –" in text


def test_a_run_of_an_earlier_version_says_what_is_missing(tmp_path):
    models = {"student": {"metrics": {"accuracy": score(0.7)}}}
    summary = summary_of(models=models, data={"class_counts": COUNTS})
    assert "recorded no confusion matrix" in page_of(tmp_path, summary)


REGIONS = {
    "task": "semantic",
    "classes": ["background", "stroma", "nucleus"],
    "models": {
        "student": {
            "metrics": {"mean_iou": score(0.6)},
            "pixel_confusion": [[900, 60, 40], [0, 80, 20], [0, 0, 0]],
        }
    },
}


def test_classes_of_pixels_have_iou_and_dice_and_shares_of_pixels(tmp_path):
    summary = RunSummary.model_validate(REGIONS)
    _, stroma, nucleus = region_rows(summary)
    assert stroma == ("stroma", "100", "9.1 %", "0.500", "0.667", "0.571", "0.800")
    assert nucleus[1:] == ("0", "0.0 %", "0.000", "0.000", "0.000", "–")
    assert [cell.text for cell in confusion_rows(summary)[1].cells] == ["0.0 %", "80.0 %", "20.0 %"]
    text = page_of(tmp_path, summary)
    assert "Shares of the pixels of a class" in text
    assert class_rows(summary) == []


def test_a_picture_of_regions_has_a_colour_a_class_and_no_objects(tmp_path):
    (tmp_path / "examples").mkdir()
    label = np.zeros((8, 8), np.int32)
    label[2:4], label[6] = 1, 2
    np.savez(
        tmp_path / "examples/0-best-a.npz",
        image=np.zeros((8, 8, 3), np.uint8), truth=label, student=label,
    )  # fmt: skip
    RunSummary.model_validate(REGIONS).write(tmp_path)
    page = write_report(tmp_path).read_text("utf-8")
    for number, row in ((1, "M0 2h8v1h-8zM0 3h8v1h-8z"), (2, "M0 6h8v1h-8z")):
        colour = "#{:02x}{:02x}{:02x}".format(*class_colour(number))
        assert page.count(f'<path fill="{colour}" d="{row}"/>') == 2  # truth and student
    assert "objects by" not in page


def test_probabilities_are_drawn_with_their_calibration_error(tmp_path):
    rows = [
        {"image": f"i{n}", "group": None, "model": "student", "class": true, "predicted": "dense",
         "probability_dense": 0.95, "probability_sparse": 0.05}
        for n, true in enumerate(("dense", "sparse"))
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "predictions.parquet")
    text = page_of(tmp_path, summary_of())
    assert "Expected calibration error: student 0.450." in text
    assert "ROC of the student, each class against the rest." in text


def test_pictures_of_classified_images_say_what_each_answered(tmp_path):
    (tmp_path / "examples").mkdir()
    said = {"said:truth": np.array("dense"), "said:student": np.array("sparse 0.81")}
    np.savez(
        tmp_path / "examples/0-worst-a.npz",
        image=np.zeros((8, 8, 3), np.uint8),
        **said,
        allow_pickle=False,
    )
    text = page_of(tmp_path, summary_of())
    assert "truth: dense student: sparse 0.81" in text
    assert "Outlines of objects" not in text


def test_the_number_of_groups_stands_in_table_and_page(tmp_path):
    data = {"name": "tiles", "test": 15, "class_counts": COUNTS, "grouped": True, "test_groups": 3}
    summary = summary_of(data=data)
    text = page_of(tmp_path, summary)
    assert "Mean over 15 test images of 3 groups (patients, slides …)" in text
    assert "The student on the test images of 3 groups (patients, slides …)." in text
    assert "over 15 test images of 3 groups (patients, slides …)" in plain_table(summary)
    alone = summary_of(data=data | {"grouped": False, "test_groups": None})
    assert "over 15 test images, each taken for independent" in plain_table(alone)
    unknown = plain_table(summary_of())  # a run of an earlier version
    assert "over 15 test images" in unknown.splitlines()
