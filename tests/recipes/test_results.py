"""What a run tells of itself: the table, the comparisons, the counts, the report written again."""

import os
from pathlib import Path

import numpy as np
import pytest
from commands import abbe
from made_answers import Answer, Label, scored, tissue

from abbe import config, datasets
from abbe.errors import ConfigError, InputError
from abbe.reporting.tables import main_metrics, plain_table
from abbe.runs.folder import open_run, opened
from abbe.scoring import METRICS, PROMPTED_METRICS
from abbe.summary import Model, RunSummary, Score, Thresholds, read_summary
from abbe.tasks.instances import Instances, outlined, thresholds_of
from abbe.tasks.scores import Compared, Scores, compare, ranking_of, save_examples


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
