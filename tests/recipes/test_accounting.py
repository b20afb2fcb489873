"""Labelled images that models have really used, and what a teacher saw of them."""

import json

import pytest
from commands import TINY, TISSUE, abbe, doubts, tissue, told

from abbe import datasets
from abbe.datasets import choose_validated
from abbe.errors import InputError
from abbe.imaging import write_labels
from abbe.reporting.tables import plain_table
from abbe.runs.folder import open_run


@pytest.fixture
def again(run, tmp_path):
    """Distil once more from the same answers, with two of four training labels; no twin."""

    def distil(*words):
        out = tmp_path / "again"
        store = ["--teacher.kind", "store", "--teacher.path", run.folder / "targets.zarr"]
        taught = ["distill", "cmkd", *TISSUE, *TINY, *store, "--data.labelled", 2, "--no-twin"]
        assert abbe(*taught, *words, "--out", out) == 0
        return open_run(out)

    return distil


@pytest.mark.slow
def test_labels_to_learn_from_and_to_choose_stand_in_the_tables(run, capsys):
    models = told(run)["models"]
    both = {"training": 2, "choosing": 4, "weights": 4, "thresholds": 4}
    assert models["student"]["labels"] == models["twin"]["labels"] == both
    assert models["teacher"]["labels"] == {"choosing": 4, "thresholds": 4}
    head, teacher, student, *_ = plain_table(run.summary).splitlines()
    assert head.split()[-1] == "labels"
    assert student.endswith("  2 + 4 for choosing")
    assert teacher.endswith(" its own + 4 for choosing")
    page = run.report.read_text("utf-8")
    cells = "<td>its own + 4 for choosing</td><td>2 + 4 for choosing</td>"
    assert f"Labelled images used</th>{cells}" in page


@pytest.mark.slow
def test_without_validation_labels_twenty_labels_are_twenty(again):
    finished = again("--data.validation-labels", 0)
    assert finished.summary.data.validation == 0
    labels = told(finished)["models"]["student"]["labels"]
    assert labels == {"training": 2, "choosing": 0, "weights": 0, "thresholds": 2}
    assert told(finished)["thresholds"]["student"]["chosen_on"] == "training"
    assert any("the last weights were taken" in doubt for doubt in doubts(finished.folder))
    log = [json.loads(line) for line in (finished.folder / "log.jsonl").read_text().splitlines()]
    assert not any("validation" in line for line in log)
    assert plain_table(finished.summary).splitlines()[2].split()[-1] == "2"


@pytest.mark.slow
def test_some_validation_labels_are_all_that_choose(again):
    finished = again("--data.validation-labels", 1)
    labels = told(finished)["models"]["student"]["labels"]
    assert labels == {"training": 2, "choosing": 1, "weights": 1, "thresholds": 1}
    assert finished.summary.thresholds_chosen_on == "1 validation images"


@pytest.mark.slow
def test_a_cap_on_validation_images_is_told_and_thresholds_may_need_more(again):
    finished = again("--training.validation-images", 1)
    labels = told(finished)["models"]["student"]["labels"]
    assert labels == {"training": 2, "choosing": 4, "weights": 1, "thresholds": 4}
    assert 0 < told(finished)["speed"]["train_share_validating"] < 1
    assert "spent on validation" in finished.report.read_text("utf-8")


@pytest.mark.slow
def test_a_student_of_targets_alone_has_learned_from_no_label(again):
    finished = again("--loss.no-supervised", "--loss.boundary", "off")
    labels = told(finished)["models"]["student"]["labels"]
    assert labels == {"training": 0, "choosing": 4, "weights": 4, "thresholds": 4}


def test_more_validation_labels_than_there_are_is_refused(tmp_path, capsys):
    words = ["supervised", *TISSUE, *TINY, "--data.validation-labels", 5]
    assert abbe("distill", *words, "--out", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "data.validation_labels: 5 labelled validation images were asked for" in said
    assert "has 4" in said


@pytest.mark.parametrize(("amount", "kept"), [("all", 4), (0, 0), (3, 3), (0.5, 2), (0.01, 1)])
def test_a_count_or_a_share_of_them_keeps_labels(amount, kept):
    chosen = choose_validated(tissue(), amount)
    assert len(chosen.split("val").labelled) == kept
    assert len(chosen.split("val")) == 4
    assert chosen.split("test") == tissue().split("test")


def test_a_larger_count_of_validation_labels_contains_a_smaller_one():
    few, more = (set(choose_validated(tissue(), n).split("val").labelled.ids) for n in (2, 3))
    assert few < more


def test_of_images_with_a_class_the_class_is_taken_off():
    records = [
        datasets.Record(
            str(n), tissue().records[0].image, split="val", columns={"class": "ab"[n % 2]}
        )
        for n in range(6)
    ]
    data = datasets.Dataset("made up", tuple(records), ("nucleus",), classes=("a", "b"))
    chosen = choose_validated(data, 2, by_class=True)
    assert datasets.class_counts(chosen) == {"a": 1, "b": 1}
    with pytest.raises(InputError, match="7 labelled validation images"):
        choose_validated(data, 7, by_class=True)


def test_the_check_of_a_data_set_counts_the_labels_that_a_run_uses(capsys):
    limits = ["--data.labelled", 2, "--data.validation-labels", 1]
    abbe("data", "check", *TISSUE, *limits)
    said = capsys.readouterr().out
    used = "2 of 4 to train, 1 of 4 to choose weights and thresholds"
    assert f"labels that a run uses: {used}" in said
    abbe("data", "check", *TISSUE)
    assert "labels that a run uses" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_teacher_that_saw_the_labels_is_told_of_in_every_summary(tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "run"
    for record in tissue():
        label = record.label or next(r.label for r in datasets.simulated_tissue(16, size=64, seed=5)
                                     if r.id == record.id)  # fmt: skip
        assert label is not None
        write_labels(masks / f"{record.id}.tif", label.read())
    teacher = [
        "--teacher.kind",
        "masks",
        "--teacher.path",
        masks,
        "--teacher.input-channels",
        "nucleus",
    ]
    shown = ["--teacher.options", "sees_labels", "true", "--no-twin"]
    assert abbe("distill", "cmkd", *TISSUE, *TINY, *teacher, *shown, "--out", out) == 0
    other = ["--data.kind", "simulated", "--data.count", 4, "--data.size", 64, "--data.seed", 9]
    assert abbe("evaluate", out, "--name", "other", *other) == 0
    assert (
        told(open_run(out / "evaluations" / "other"))["teacher"] is None
    )  # it has no answers there
    for folder in (out, out / "evaluations" / "other"):
        assert told(open_run(folder))["teacher_saw_labels"] is True
        assert sum("shown the true labels" in doubt for doubt in doubts(folder)) == 1
        assert "Teacher sees the labels" in (folder / "report.html").read_text("utf-8")
    assert told(open_run(out))["thresholds"]["teacher"]["chosen_on"] == "objects"
    assert sum("objects are as the program gave them" in doubt for doubt in doubts(out)) == 1
    assert plain_table(open_run(out).summary).splitlines()[1].endswith("sees the labels")


@pytest.mark.slow
def test_a_sam_that_is_prompted_by_the_labels_is_told_of_in_every_summary(sam_file, tmp_path):
    out, curve = tmp_path / "run", tmp_path / "curve"
    teacher = [
        "--teacher.kind",
        "sam",
        "--teacher.path",
        sam_file,
        "--teacher.input-channels",
        "nucleus",
    ]
    shown = ["--teacher.options", "prompts", "oracle_box", "minimum_iou", "0", "--no-twin"]
    words = ["cmkd", *TISSUE, *TINY, *teacher, *shown]
    assert abbe("distill", *words, "--out", out) == 0
    other = ["--data.kind", "simulated", "--data.count", 4, "--data.size", 64, "--data.seed", 9]
    assert abbe("evaluate", out, "--name", "other", *other) == 0
    once = ["--seeds", 0, "--fractions", "1.0"]
    assert abbe("curve", *words, *once, "--out", curve) == 0
    for folder in (out, out / "evaluations" / "other", curve):
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        assert summary["teacher_saw_labels"] is True
        assert summary["teacher"]["prompt_mode"] == "oracle_box"
        page = (folder / "report.html").read_text("utf-8")
        assert "The teacher was shown the true labels (oracle_box)" in page
    for folder in (out, out / "evaluations" / "other"):
        first = plain_table(open_run(folder).summary).splitlines()[1]
        assert first.startswith("teacher")
        assert first.endswith("sees the labels")
