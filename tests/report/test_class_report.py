"""The page of a classification: classes, confusion, and what few test images forbid to say."""

import html
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet

from abbe.caveats import class_caveats
from abbe.reporting import write_report
from abbe.reporting.classes import class_rows, confusion_rows
from abbe.reporting.tables import primary_metric
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
        [cell.images for cell in row.cells] for row in confusion_rows(summary_of())
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
