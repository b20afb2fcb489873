"""What a run tells of itself: the table, the warnings, the counts, the report written again."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from commands import abbe

from abbe import config, datasets
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.files import write_json
from abbe.runs import results
from abbe.runs.folder import open_run, opened
from abbe.tasks import scores as evaluate
from abbe.tasks.models import Maps, Thresholds, choose_thresholds
from abbe.tasks.scores import Scores


def scores_of(values: dict[str, list[float]], chosen_on: str = "validation") -> Scores:
    """Dice of some models on images a, b, c …, two to a group."""
    rows = [
        {
            "image": "abcdef"[index],
            "group": f"slide {index // 2}",
            "model": model,
            "metric": "dice",
            "value": value,
        }
        for model, dice in values.items()
        for index, value in enumerate(dice)
    ]
    return Scores(rows, {model: Thresholds(chosen_on=chosen_on) for model in values})


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
    values = {"teacher": [1.0, 0.8, 0.9, 0.9], "student": [0.9, 0.7, 0.8, 0.8]}
    summary = evaluate.summarise(scores_of({**values, "twin": [0.5] * 4}), 200)
    shown = results.table(summary, ("dice",)).splitlines()
    assert [line.split()[0] for line in shown] == [
        "dice", "teacher", "student", "twin", "gain", "retention",
    ]  # fmt: skip
    assert "0.900 [" in shown[1]
    assert "+0.300 [" in shown[4]
    assert "88.9%" in shown[5]


def test_what_is_undefined_is_a_dash_and_not_nan(tmp_path):
    summary = evaluate.summarise(scores_of({"teacher": [0.0], "student": [0.5]}), 200)
    write_json(tmp_path / "summary.json", summary)
    written = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    shown = results.table(written, ("dice", "pq"))
    assert "nan" not in shown
    student = next(line for line in shown.splitlines() if line.startswith("student"))
    assert student.split() == ["student", "0.500", "—"]
    assert shown.splitlines()[-1].split() == ["retention", "—", "—"]


# ------------------------------------------------------------------------------------- comparisons


def test_gain_is_paired_over_the_images_that_both_answered():
    scores = scores_of({"student": [0.9, 0.8, 0.7, 0.6], "twin": [0.8, 0.7, 0.6, 0.5]})
    gain = evaluate.summarise(scores, 200)["gain"]["dice"]
    assert gain["mean"] == pytest.approx(0.1)
    assert gain["ci95"] == pytest.approx([0.1, 0.1])  # the same difference on every image
    assert gain["n"] == 4
    fewer = scores_of({"student": [0.9, 0.8, 0.7, 0.6], "teacher": [0.9, 0.8]})
    assert evaluate.summarise(fewer, 200)["retention"]["dice"] == pytest.approx(1)
    assert evaluate.summarise(fewer, 200)["gain"] == {}


def test_test_images_are_scored_with_unknown_pixels_left_out():
    foreground = Label().read() > 0
    foreground[:, 25:] = True  # wrong only where nobody knows
    scores = evaluate.score({"student": Answer(foreground)}, tissue(), progress=False)
    dice = scores.values("student", "dice")
    assert dice == {"b": pytest.approx(1), "c": pytest.approx(1)}
    assert scores.thresholds["student"].chosen_on == "validation"


def test_a_model_is_scored_where_it_has_an_answer():
    models = {
        "teacher": Answer(Label().read() > 0, known="c"),
        "student": Answer(np.ones((20, 30))),
    }
    scores = evaluate.score(models, tissue(), progress=False)
    assert list(scores.values("teacher", "dice")) == ["c"]
    assert list(scores.values("student", "dice")) == ["b", "c"]


def test_thresholds_of_before_are_kept():
    before = Thresholds(mask=0.9, chosen_on="validation")
    half = Answer(np.where(Label().read() > 0, 0.7, 0.1))
    given = evaluate.score({"a": half}, tissue(), thresholds={"a": before}, progress=False)
    assert given.thresholds["a"] == before
    assert given.values("a", "dice")["b"] == 0  # nothing reaches 0.9
    assert evaluate.score({"a": half}, tissue(), progress=False).values("a", "dice")["b"] == 1


def test_without_validation_labels_thresholds_come_from_training_images():
    answer = Answer(np.where(Label().read() > 0, 0.3, 0.1))
    assert choose_thresholds(answer, tissue("train test test test")).chosen_on == "training"
    assert 0.1 < choose_thresholds(answer, tissue("train test test test")).mask <= 0.3


def test_without_any_label_to_choose_on_thresholds_are_a_half():
    assert (
        choose_thresholds(Answer(np.ones((20, 30))), tissue("test test test test")) == Thresholds()
    )
    assert Thresholds() == Thresholds(0.5, 0.5, 0.5, "default")


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="'made up' has no labelled test image"):
        evaluate.score({"student": Answer(np.ones((20, 30)))}, tissue("train train val val"))


def test_an_answer_of_another_size_is_refused():
    with pytest.raises(
        InputError, match=r"[abd]: the label is \(20, 30\) px but the image \(8, 8\)"
    ):
        evaluate.score({"a": Answer(np.ones((8, 8)))}, tissue("train test test train"))


def test_examples_are_the_best_the_median_and_the_worst_once_each(tmp_path):
    models = {"student": Answer(Label().read() > 0)}
    scores = evaluate.score(models, tissue(), progress=False)
    data = tissue()
    images = datasets.simulated_tissue(4, size=32).records
    assert images[0].image.open().shape == (32, 32)
    evaluate.save_examples(
        scores, tmp_path / "examples", lambda id: evaluate.outlined(models, data[id], scores, 0)
    )
    written = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert written == ["0-best-b.npz", "1-best-c.npz"]  # two images, none shown twice


# ---------------------------------------------------------------------------------------- warnings


def summary_with(**changes) -> dict:
    return {
        "data": {"simulated": False, "validation": 3},
        "teacher": {"sees_labels": False},
        "encoder_weights": "imagenet",
        "models": {"teacher": {}, "student": {}, "twin": {}},
        "gain": {"dice": {}},
        "targets": {"images": 9, "empty": 0, "missing": 0},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"models": {"student": {}, "twin": {}}}, "not in the table"),
        ({"targets": {"images": 9, "empty": 0, "missing": 4}}, "no answer for 4 images"),
    ],
)
def test_each_reason_for_doubt_is_told_and_only_that(changes, reason):
    (said,) = results.warnings(summary_with(**changes))
    assert reason in said


def test_a_clean_run_warns_of_nothing():
    assert results.warnings(summary_with()) == []


def test_thresholds_by_default_are_told():
    data = {"simulated": False, "validation": 0, "train_labelled": 0}
    (said,) = results.warnings(summary_with(data=data))
    assert "thresholds come from nothing: all are 0.5" in said
    (said,) = results.warnings(summary_with(data=data | {"train_labelled": 3}))
    assert "thresholds come from 3 labelled training images" in said


def test_images_are_counted_by_split_and_label():
    data = datasets.choose_labelled(tissue("train train test val"), 1)
    told = results.describe_data(data)
    parts = ("train_labelled", "train_unlabelled", "validation", "test")
    assert [told[part] for part in parts] == [1, 1, 1, 1]
    assert told["simulated"] is False


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
    with pytest.raises(InputError, match=r"holds no finished run \(summary\.json is missing\)"):
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
