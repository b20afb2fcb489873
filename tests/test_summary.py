"""summary.json: what is written is read, files of earlier versions too; and its page in docs."""

import json
from pathlib import Path
from typing import Any

import pytest
from summary_page import PAGE, page

from abbe.caveats import caveats_of
from abbe.errors import InputError
from abbe.reporting import write_report
from abbe.summary import (
    FORMAT,
    SHAPE,
    CurveSummary,
    Evidence,
    Gain,
    Model,
    RunSummary,
    Score,
    Thresholds,
    read_summary,
)

SCORE = {"mean": 0.8, "ci95": [0.7, 0.9], "n": 9}


def of_format_1(**changes: Any) -> dict[str, Any]:
    """As a run of CMKD wrote it before the file said its format."""
    model = {
        "metrics": {"dice": SCORE, "hd95": {"mean": None, "ci95": [None, None], "n": 0}},
        "thresholds": {"mask": 0.5, "foreground": 0.5, "boundary": 0.5, "chosen_on": "default"},
        "parameters": 10, "macs": 20, "encoder_parameters": 5, "encoder_macs": 6,
        "macs_image_size": 256, "ms_per_image": 1.5,
    }  # fmt: skip
    return {
        "abbe": "0.1.0", "recipe": "cmkd", "title": "cmkd on tissue",
        "task": "instance segmentation",
        "data": {
            "name": "tissue", "licence": "CC0-1.0", "simulated": True, "channels": ["nucleus"],
            "train_labelled": 2, "train_unlabelled": 2, "validation": 0, "test": 9,
            "image_notes": {}, "grouped": True, "test_groups": 2,
        },
        "student_channels": ["nucleus"], "encoder_weights": "random", "normalisation": "range",
        "teacher": None, "teacher_channels": [], "targets": None, "stand_in": [],
        "lost": [], "left_out": [], "models": {"student": model, "twin": model},
        "gain": {"dice": {**SCORE, "p": 0.5}}, "retention": {}, "retention_ci95": {},
        "metric_names": {"dice": "Dice"}, "speed": {"train_images_per_s": 3.0},
        "schedule": {}, "smallest_gain": 0.005, "seed": 1,
        "timing": {
            "image_size": [64, 64], "repeats": 9, "threads": 2, "cores": 2, "load": 0.5,
            "busy": False,
        },
        "thresholds": {"student": model["thresholds"]},
        "thresholds_chosen_on": "nothing: all are 0.5",
        "warnings": [
            "No validation image is labelled: the last weights were taken, and thresholds come "
            "from nothing: all are 0.5.",
            "The perceptual loss saw through a network with random weights.",
        ],
        **changes,
    }  # fmt: skip


def write(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "summary.json").write_text(json.dumps(values))
    return folder


def read(folder: Path) -> RunSummary:
    found = read_summary(folder)
    assert isinstance(found, RunSummary)
    return found


def test_what_is_written_is_read_again_and_what_is_undefined_is_null(tmp_path):
    summary = RunSummary(
        recipe="cmkd",
        task="instances",
        models={"student": Model(metrics={"hd95": Score(mean=float("nan"), ci95=(None, None))})},
        gain={"dice": Gain(mean=0.1, ci95=(0.0, float("inf")), p=0.04, n=3)},
        thresholds={"student": Thresholds(mask=0.25)},
    )
    summary.write(tmp_path)
    values = json.loads((tmp_path / "summary.json").read_text())
    assert values["format"] == FORMAT
    assert values["models"]["student"]["metrics"]["hd95"]["mean"] is None
    assert values["gain"]["dice"] == {"mean": 0.1, "ci95": [0.0, None], "p": 0.04, "n": 3}
    assert "timing" not in values  # what nobody said is not there
    again = read(tmp_path)
    assert again.models == summary.models
    assert again.thresholds["student"].mask == 0.25
    assert again.task_title == "instance segmentation"


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("instance segmentation", "instances"),
        ("foreground segmentation", "instances"),
        ("segmentation", "semantic"),
        ("classification", "classification"),
        ("promptable segmentation", "promptable"),
        ("classification of photographs, 7 classes", "photographs"),
    ],
)
def test_the_words_of_earlier_versions_are_todays_tasks(tmp_path, words, task):
    summary = read(write(tmp_path, of_format_1(task=words)))
    assert (summary.task, summary.task_title) == (task, words)


def test_a_file_of_an_earlier_version_is_read_and_its_report_written(tmp_path):
    summary = read(write(tmp_path, of_format_1()))
    assert summary.teacher is None
    assert summary.models["student"].metrics["dice"].ci95 == (0.7, 0.9)
    assert summary.models["student"].metrics["hd95"].mean is None
    assert summary.gain["dice"].p == 0.5
    assert summary.thresholds["student"].chosen_on == "default"
    assert summary.timing is not None
    assert summary.timing.runs == {}
    caveats = caveats_of(summary)
    assert sum("No validation image is labelled" in text for text in caveats) == 1
    assert summary.warnings == ["The perceptual loss saw through a network with random weights."]
    page = write_report(tmp_path).read_text("utf-8")
    assert page.count("No validation image is labelled") == 1
    assert "Random initial weights" in page


def curve_values() -> dict[str, Any]:
    cell = {"labelled": 5, "metrics": {"dice": {**SCORE, "by_seed": [0.8]}}}
    return of_format_1(
        kind="curve", compared=["student"], compared_as="model", metric="dice",
        reference="student", levels=[{"fraction": 1.0, "labelled": 5, "merged": []}], seeds=[0],
        planned=1, finished=1, architecture="unet", steps=4, grouped=False,
        test_groups=9, scores={"student": [cell]}, differences={}, seconds={"student": 2.0},
        pretraining={},
    )  # fmt: skip


def test_a_shape_that_is_held_against_says_nothing_of_seeds_and_baselines(tmp_path):
    """A promptable run's early report, or one without baselines, has no gain but that."""
    begun = RunSummary(
        seed=0,
        models={"student": Model(metrics={"dice": Score(mean=0.8, ci95=(0.7, 0.9), n=3)})},
        gains={SHAPE: {"dice": Gain(mean=0.1, ci95=(0, 0.2), p=0.04, n=3)}},
        evidence=Evidence(level="standard", seeds=[0, 1, 2], complete=False),
    )
    begun.write(tmp_path)
    again = read_summary(tmp_path)
    assert isinstance(again, RunSummary)
    assert again.evidence == begun.evidence
    assert (begun.evidence.seeds, begun.evidence.complete) == ([0, 1, 2], False)


def test_a_curve_is_told_from_a_run(tmp_path):
    curve = read_summary(write(tmp_path, curve_values()))
    assert isinstance(curve, CurveSummary)
    assert curve.scores["student"][0].metrics["dice"].by_seed == [0.8]


def test_a_report_of_a_curve_names_damaged_parts(tmp_path):
    write(tmp_path, curve_values())
    (tmp_path / "environment.json").write_text("[" * 100_000)
    (tmp_path / "config.yaml").write_text("[1,2")
    page = write_report(tmp_path).read_text("utf-8")
    assert "environment.json could not be read and is left out here: it is nested too" in page
    assert "config.yaml could not be read and is left out here: it is no YAML" in page


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "it tells of no model"),
        (curve_values() | {"compared": []}, "it compares nothing"),
        (
            of_format_1(format=FORMAT + 1),
            f"has format {FORMAT + 1}, and this version",
        ),
        (of_format_1(models={"student": {"parameters": "many"}}), "models.student.parameters: "),
        ([1, 2], "expected a JSON object, found list"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, values, words):
    with pytest.raises(InputError) as caught:
        read_summary(write(tmp_path, values))
    assert words in str(caught.value)
    assert str(tmp_path / "summary.json") in str(caught.value)


def test_a_folder_without_one_is_no_finished_run(tmp_path):
    with pytest.raises(InputError, match=r"no summary\.json in this folder"):
        read_summary(tmp_path)


def test_the_page_in_docs_is_that_of_this_version():
    assert PAGE.read_text("utf-8") == page(), "write it again: python tests/summary_page.py"


EARLIER = Path(__file__).parent / "report" / "earlier"
TASKS = {
    "cmkd": "instances", "kdsam": "promptable", "rckd": "classification", "semantic": "semantic",
    "supervised": "instances", "imagenet": "photographs",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(EARLIER.glob("*.json")), ids=lambda path: path.stem)
def test_files_that_earlier_versions_wrote_are_read(path: Path, tmp_path: Path) -> None:
    """Summaries of tiny runs on simulated images, as they were written before format 2."""
    values = json.loads(path.read_text())
    found = read_summary(write(tmp_path, values))
    if isinstance(found, CurveSummary):
        assert path.stem.startswith("curve-")
        assert found.compared == list(values["scores"])
        first = found.scores[found.compared[0]][0].metrics[found.metric]
        assert first.mean == values["scores"][found.compared[0]][0]["metrics"][found.metric]["mean"]
    else:
        assert found.task == TASKS[path.stem.partition("-")[0]]
        assert (found.evaluation_of is not None) == path.stem.endswith("-other")
        for name, model in values.get("models", {}).items():
            for metric, score in model["metrics"].items():
                assert found.models[name].metrics[metric].mean == score["mean"]
        if values.get("gain"):
            assert (found.evidence.baselines, found.evidence.against) == (["twin"], "twin")
            assert not found.is_claim  # they had one seed
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert found.title in html
    found.write(tmp_path)
    assert read_summary(tmp_path) == found
