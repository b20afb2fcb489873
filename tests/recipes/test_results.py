"""What a run tells of itself: the table, the warnings, the counts, the report written again."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import abbe

from abbe import config, datasets
from abbe.caveats import caveats_of
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.reporting.tables import main_metrics, plain_table
from abbe.runs.folder import open_run, opened
from abbe.scoring import METRICS, PROMPTED_METRICS
from abbe.summary import SHAPE, Model, RunSummary, Score, Thresholds, read_summary
from abbe.tasks.each import Here
from abbe.tasks.instances import Instances, outlined, score, thresholds_of
from abbe.tasks.maps import Maps, choose_thresholds, threshold_records
from abbe.tasks.scores import Compared, Scores, compare, ranking_of, save_examples
from abbe.tasks.task import BySeed


def scores_of(values: dict[str, list[float]]) -> Scores:
    """Dice of some models on images a, b, c …, two to a group."""
    rows = [
        {
            "image": "abcdef"[index],
            "group": f"slide {index // 2}",
            "model": model,
            "seed": None if model == "teacher" else 0,
            "metric": "dice",
            "value": value,
        }
        for model, dice in values.items()
        for index, value in enumerate(dice)
    ]
    return Scores(rows)


def compared(values: dict[str, list[float]]) -> Compared:
    scores = scores_of(values)
    return compare(scores.models, {"dice": METRICS["dice"]}, scores.measured)


def summary_of(values: dict[str, list[float]]) -> RunSummary:
    found = compared(values)
    return RunSummary(
        models={name: Model(metrics=scores) for name, scores in found.scores.items()},
        gain=found.gains.get("twin", {}),
        retention=found.retention,
        retention_ci95=found.retention_ci95,
    )


def scored(models: dict[str, "Answer"], data: Dataset) -> Scores:
    each: dict[str, BySeed] = {name: {0: model} for name, model in models.items()}
    return score(each, data, thresholds_of(each, data, {}), each=Here(False))


class Answer:
    """A model that gives the same answer for every image it knows."""

    def __init__(self, foreground: np.ndarray, known: str = "abcdef") -> None:
        self.maps, self.known = Maps(foreground.astype(np.float32)), known

    def has(self, record: Record) -> bool:
        return record.id in self.known

    def predict(self, record: Record) -> Maps:
        return self.maps


class Label:
    """Two objects, and a column of unknown pixels."""

    def read(self) -> np.ndarray:
        label = np.zeros((20, 30), np.int32)
        label[2:8, 2:8], label[10:18, 4:12], label[:, 25:] = 1, 2, -1
        return label


def tissue(splits: str = "train test test val") -> Dataset:
    images = datasets.simulated_tissue(4, size=32).records
    records = [
        Record(id, image.image, Label(), split=split)
        for id, image, split in zip("abcd", images, splits.split(), strict=True)
    ]
    return Dataset("made up", tuple(records), ("nucleus",))


# ------------------------------------------------------------------------------------------- table


def test_the_table_has_a_line_a_model_then_gain_and_retention():
    values = {
        "teacher": [1.0, 0.8, 0.9, 0.9, 0.8, 1.0],
        "student": [0.9, 0.7, 0.8, 0.8, 0.7, 0.9],
    }
    summary = summary_of({**values, "twin": [0.5] * 6})
    shown = plain_table(summary, ("dice",)).splitlines()
    assert [line[:15].strip() for line in shown] == [
        "", "teacher", "student", "twin", "gain over twin", "retention", "one seed: no cl",
    ]  # fmt: skip
    assert "0.900 [" in shown[1]
    assert "+0.300 [" in shown[4]
    assert "88.9%" in shown[5]


def test_what_is_undefined_is_a_dash_and_not_nan(tmp_path):
    summary_of({"teacher": [0.0], "student": [0.5]}).write(tmp_path)
    written = read_summary(tmp_path)
    assert isinstance(written, RunSummary)
    shown = plain_table(written, ("dice", "pq"))
    assert "nan" not in shown
    student = next(line for line in shown.splitlines() if line.startswith("student"))
    assert student.split() == ["student", "0.500", "—"]
    assert shown.splitlines()[-1].split() == ["retention", "—", "—"]


def test_no_metric_is_shown_twice_among_the_first():
    names = {key: key for key in PROMPTED_METRICS}
    scores = {key: Score(mean=0.5) for key in names}
    summary = RunSummary(models={"student": Model(metrics=scores)}, metric_names=names)
    first = main_metrics(summary)
    assert first[:4] == ("dice", "dice_1_point", "dice_3_points", "boundary_f1")
    assert len(first) == len(set(first)) == 5


# ------------------------------------------------------------------------------------- comparisons


def test_gain_is_paired_over_the_images_that_both_answered():
    both = compared(
        {"student": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "twin": [0.8, 0.7, 0.6, 0.5, 0.4, 0.3]}
    )
    gain = both.gains["twin"]["dice"]
    assert gain.mean == pytest.approx(0.1)
    assert gain.ci95 == pytest.approx((0.1, 0.1))  # the same difference on every image
    assert gain.n == 6
    fewer = compared({"student": [0.9, 0.8, 0.7, 0.6], "teacher": [0.9, 0.8]})
    assert fewer.retention["dice"] == pytest.approx(1)
    assert fewer.gains == {}


def test_test_images_are_scored_with_unknown_pixels_left_out():
    foreground = Label().read() > 0
    foreground[:, 25:] = True  # wrong only where nobody knows
    models = {"student": Answer(foreground)}
    dice = scored(models, tissue()).values("student", "dice")
    assert dice == {"b": pytest.approx(1), "c": pytest.approx(1)}
    cut = thresholds_of({"student": {0: models["student"]}}, tissue(), {})
    assert cut["student"][0].chosen_on == "validation"


def test_a_model_is_scored_where_it_has_an_answer():
    models = {
        "teacher": Answer(Label().read() > 0, known="c"),
        "student": Answer(np.ones((20, 30))),
    }
    scores = scored(models, tissue())
    assert list(scores.values("teacher", "dice")) == ["c"]
    assert list(scores.values("student", "dice")) == ["b", "c"]


def test_thresholds_of_before_are_kept():
    before = Thresholds(mask=0.9, chosen_on="validation")
    half = Answer(np.where(Label().read() > 0, 0.7, 0.1))
    given = thresholds_of({"a": {1: half}}, tissue(), {"a": {1: before}})
    assert given["a"] == {1: before}
    kept = score({"a": {1: half}}, tissue(), given, each=Here(False))
    assert kept.values("a", "dice")["b"] == 0  # nothing reaches 0.9
    assert scored({"a": half}, tissue()).values("a", "dice")["b"] == 1


def test_without_validation_labels_thresholds_come_from_training_images():
    answer = Answer(np.where(Label().read() > 0, 0.3, 0.1))
    assert choose_thresholds(answer, tissue("train test test test")).chosen_on == "training"
    assert 0.1 < choose_thresholds(answer, tissue("train test test test")).mask <= 0.3


def test_without_any_label_to_choose_on_thresholds_are_a_half():
    assert (
        choose_thresholds(Answer(np.ones((20, 30))), tissue("test test test test")) == Thresholds()
    )
    assert Thresholds() == Thresholds(mask=0.5, foreground=0.5, boundary=0.5, chosen_on="default")


def test_a_model_without_an_answer_where_thresholds_are_chosen_keeps_the_defaults():
    half = np.where(Label().read() > 0, 0.3, 0.1)
    assert choose_thresholds(Answer(half, known="abc"), tissue()) == Thresholds()  # d validates
    assert choose_thresholds(Answer(half, known="bd"), tissue()).chosen_on == "validation"


def test_bare_instances_have_nothing_to_choose():
    answer = Answer(Label().read() > 0)
    answer.maps = Maps((Label().read() > 0).astype(np.float32), None, Label().read(), bare=True)
    assert choose_thresholds(answer, tissue()) == Thresholds(chosen_on="objects")


def test_of_instances_beside_maps_the_mask_is_cut_as_any_other_model_s_is():
    half = np.where(Label().read() > 0, 0.3, 0.1).astype(np.float32)
    answer = Answer(half)
    answer.maps = Maps(half, None, np.maximum(Label().read(), 0))
    chosen, alone = (choose_thresholds(each, tissue()) for each in (answer, Answer(half)))
    assert 0.1 < chosen.mask <= 0.3
    assert (chosen.mask, chosen.chosen_on) == (alone.mask, "validation")
    assert (chosen.foreground, chosen.boundary) == (0.5, 0.5)


class Touching:
    """Two objects side by side."""

    def read(self) -> np.ndarray:
        label = np.zeros((40, 60), np.int32)
        label[8:32, 6:30], label[8:32, 30:54] = 1, 2
        return label


def test_a_line_of_which_a_student_is_never_sure_parts_touching_objects():
    label = Touching().read()
    line = np.full(label.shape, 0.02, np.float32)
    line[8:32, 28:32] = 0.16
    answer = Answer(label > 0)
    answer.maps = Maps(answer.maps.foreground, line)
    data = tissue()
    data = data.having(replace(record, label=Touching()) for record in data)
    chosen = choose_thresholds(answer, data)
    assert chosen.boundary <= 0.15
    assert answer.maps.objects(chosen, 16).max() == 2


def test_the_search_drops_the_objects_that_scoring_drops():
    foreground = np.where(Label().read() > 0, 0.9, 0.0)
    foreground[13:17, 16:21] = 0.6  # 20 px that are none
    thresholds = {
        least: thresholds_of({"a": {0: Answer(foreground)}}, tissue(), {}, least)["a"][0].foreground
        for least in (16, 20, 21)
    }
    assert thresholds == {16: 0.65, 20: 0.65, 21: 0.5}


def test_thresholds_are_chosen_on_images_of_every_group():
    images = datasets.simulated_tissue(4, size=32).records
    groups = ["many"] * 100 + [f"alone {n}" for n in range(10)]
    records = [
        Record(f"{n:03}", images[0].image, Label(), split="val", group=group)
        for n, group in enumerate(groups)
    ]
    chosen_on, chosen = threshold_records(Dataset("made up", tuple(records), ("nucleus",)))
    assert (chosen_on, len(chosen)) == ("validation", 48)
    assert len({record.group for record in chosen}) == 11


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="'made up' has no labelled test image"):
        scored({"student": Answer(np.ones((20, 30)))}, tissue("train train val val"))


def test_an_answer_of_another_size_is_refused():
    with pytest.raises(
        InputError, match=r"[abd]: the label is \(20, 30\) px but the image \(8, 8\)"
    ):
        scored({"a": Answer(np.ones((8, 8)))}, tissue("train test test train"))


def test_examples_are_the_best_the_median_and_the_worst_once_each(tmp_path):
    models = {"student": Answer(Label().read() > 0)}
    data = tissue()
    thresholds = {"student": Thresholds()}
    images = datasets.simulated_tissue(4, size=32).records
    assert images[0].image.open().shape == (32, 32)
    save_examples(
        ranking_of(scored(models, data)),
        tmp_path / "examples",
        lambda id: outlined(models, data[id], thresholds, 0),
    )
    written = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert written == ["0-best-b.npz", "1-best-c.npz"]  # two images, none shown twice


def test_the_very_best_and_the_very_worst_come_first(tmp_path):
    dice = {f"image-{number}": number / 10 for number in range(10)}
    row = {"group": "g", "model": "student", "seed": 0, "metric": "dice"}
    scores = Scores([row | {"image": image, "value": value} for image, value in dice.items()])
    save_examples(ranking_of(scores), tmp_path, lambda id: {"image": np.zeros((2, 2, 3), np.uint8)})
    written = {path.stem for path in tmp_path.iterdir()}
    assert {"0-best-image-9", "1-best-image-8"} <= written
    assert {"0-worst-image-0", "1-worst-image-1"} <= written


# ---------------------------------------------------------------------------------------- warnings


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


def test_images_are_counted_by_split_and_label():
    data = datasets.choose_labelled(tissue("train train test val"), 1)
    found = Instances().describe(data)
    parts = (found.train_labelled, found.train_unlabelled, found.validation, found.test)
    assert parts == (1, 1, 1, 1)
    assert found.simulated is False


# -------------------------------------------------------------------------------------- run folder


@pytest.mark.slow
def test_the_report_is_written_again(run, capsys):
    run.report.unlink()
    assert abbe("report", run.folder) == 0
    assert capsys.readouterr().out.strip() == str(run.report)
    page = run.report.read_text("utf-8")
    for word in ("simulated", "teacher", "student", "twin", "retention", "CC0-1.0"):
        assert word in page


def test_a_folder_without_a_summary_is_no_finished_run(tmp_path):
    with pytest.raises(InputError, match=r"there is no summary.json in this folder"):
        open_run(tmp_path)


def experiment(out, **changes) -> config.Experiment:
    student = {"encoder_weights": "random"}
    values = {"recipe": "supervised", "out": out, "student": student, **changes}
    return config.parse(values, "a test")


def begun(each: config.Experiment, *, resume: bool = False) -> Path:
    """The folder of a run that was begun and killed before anything was trained."""
    with opened(each, resume=resume) as folder:
        if os.environ.get("RANK", "0") == "0":
            (folder / "targets.zarr").mkdir(exist_ok=True)
    return folder


def test_what_failed_before_training_is_begun_again_under_the_same_name(tmp_path):
    out = tmp_path / "run"
    begun(experiment(out, seed=1))
    begun(experiment(out, seed=2))  # nothing was trained, so nothing is lost
    assert config.load(out / "config.yaml").seed == 2
    (out / "log.jsonl").touch()
    with pytest.raises(ConfigError, match="already holds a run"):
        begun(experiment(out, seed=2))
    with pytest.raises(ConfigError, match=r"these keys differ: seed\."):
        begun(experiment(out, seed=3), resume=True)
    assert config.load(out / "config.yaml").seed == 2
    assert begun(experiment(out, seed=2), resume=True) == out


def test_only_the_first_of_several_processes_makes_the_folder(tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setenv("RANK", "1")
    assert begun(experiment(out)) == out
    assert not out.exists()
    monkeypatch.setenv("RANK", "0")
    begun(experiment(out))
    (out / "log.jsonl").touch()
    monkeypatch.setenv("RANK", "1")
    assert begun(experiment(out)) == out  # the first process was here before
