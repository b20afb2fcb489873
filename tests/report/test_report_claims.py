"""What a report claims: no more than its figures, doubted where there is reason."""

import json
from pathlib import Path

import pytest
from report_page import change, page_of, small_run

from abbe.caveats import group_caveats
from abbe.reporting import tables
from abbe.reporting.words import banners, headline
from abbe.summary import Data, Evidence, RunSummary, Score


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A small run folder to change: summary.json alone, with Dice as its only metric."""
    return small_run(whole, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"name": "tissue", "simulated": True}}, "Simulated"),
        ({"teacher": {"teacher": "t", "simulated": True}}, "Simulated"),
        ({"teacher": {"teacher": "tiny", "stand_in": True}}, "tiny stands in for another teacher"),
        ({"teacher": {"teacher": "t", "sees_labels": True}}, "Teacher sees the labels"),
        ({"encoder_weights": "random"}, "encoder started from random weights"),
    ],
)
def test_banner_says_what_nobody_may_overlook(run: Path, changes: dict, words: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert words not in str(banners(RunSummary.model_validate(summary)))
    assert words in str(banners(RunSummary.model_validate(summary | changes)))


def test_banner_stands_on_the_page(run: Path) -> None:
    assert "Simulated." not in page_of(run).text
    change(run, data={"name": "tissue", "simulated": True})
    assert "Simulated. The images come from a simulator" in page_of(run).text


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (
            {"mean": 0.041, "ci95": [0.02, 0.063]},
            "Distillation gained +4.1 Dice points [2.0, 6.3] over its twin, the same network on "
            "the same batches without it, mean of 3 seeds, and the student keeps 96 % of the "
            "teacher’s Dice; 2.47 M instead of 29.4 M parameters, 15.1 × faster.",
        ),
        (
            {"mean": -0.003, "ci95": [-0.012, 0.006]},
            "Distillation made no difference that this test can show: −0.3 Dice points "
            "[−1.2, 0.6] against its twin, the same network on the same batches without it, mean "
            "of 3 seeds; the interval includes 0, and",
        ),
        (
            {"mean": 0.0002, "ci95": [0.0001, 0.0003]},
            "Distillation made no difference that matters: 0.0 Dice points [0.0, 0.0] against its "
            "twin, the same network on the same batches without it, mean of 3 seeds, less than 0.5 "
            "points, and the student keeps",
        ),
        (
            {"mean": -0.021, "ci95": [-0.033, -0.009]},
            "Distillation did harm: −2.1 Dice points [−3.3, −0.9] against its twin, the same",
        ),
    ],
)
def test_headline_is_no_rosier_than_the_interval(run: Path, gain: dict, sentence: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"gain": {"dice": gain}, "retention": {"dice": 0.961}, "smallest_gain": 0.005}
    assert sentence in headline(RunSummary.model_validate(summary))


@pytest.mark.parametrize(
    ("metric", "mean", "ci95", "verdict"),
    [
        ("dice", 0.02, [0.01, 0.03], "better"),
        ("dice", -0.02, [-0.03, -0.01], "worse"),
        ("dice", 0.02, [-0.01, 0.05], "unclear"),
        ("dice", 0.0002, [0.0001, 0.0003], "negligible"),  # sure, and of no use
        ("dice", 0.004, [0.001, 0.009], "negligible"),
        ("dice", 0.001, [-0.003, 0.004], "negligible"),  # surely small
        ("dice", 0.001, [-0.02, 0.02], "unclear"),
        ("hd95", -0.001, [-0.002, -0.0005], "better"),  # in pixels: no such bound
    ],
)
def test_verdicts(metric: str, mean: float, ci95: list[float], verdict: str) -> None:
    difference = Score(mean=mean, ci95=(ci95[0], ci95[1]))
    summary = RunSummary(smallest_gain=0.005, evidence=Evidence(seeds=[0, 1]))
    assert tables.verdict_of(summary, metric, difference) == verdict
    alone = RunSummary(smallest_gain=0.005, evidence=Evidence(seeds=[0]))
    assert tables.verdict_of(alone, metric, difference) == "unproven"


def test_one_seed_claims_nothing(run: Path) -> None:
    change(run, gains={}, evidence={"seeds": [0], "baselines": ["twin"], "against": "twin"})
    text = page_of(run).text
    assert "No claim: this is one seed, by whose luck alone a score can move." in text
    assert "one seed: no claim" in text
    assert "helped" not in text
    assert "One seed (7)" in text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"test": 182, "grouped": False, "test_groups": 182}, "each was taken for independent"),
        ({"test": 40, "grouped": True, "test_groups": 4}, "of 4 groups only"),
        ({"test": 40, "grouped": True, "test_groups": 1}, "no interval is possible"),
        ({"test": 90, "grouped": True, "test_groups": 60}, None),
        ({"test": 90}, None),  # an earlier version did not say
    ],
)
def test_groups_are_doubted_where_they_should_be(data: dict, words: str | None) -> None:
    told = group_caveats(Data.model_validate(data))
    assert (words is None) == (told == [])
    assert words is None or words in told[0]


def test_the_number_of_groups_stands_beside_n(run: Path) -> None:
    change(run, data={"name": "videos", "test": 60, "grouped": True, "test_groups": 4})
    assert "test images of 4 groups (patients, slides …)" in page_of(run).text


def test_what_a_teacher_says_of_itself_is_a_fact_and_no_doubt(run: Path) -> None:
    change(run, teacher={"teacher": "t", "notes": ["computed in bf16"]})
    text = page_of(run).text
    assert text.count("computed in bf16") == 1
    doubts = text.partition("What speaks for doubt")[2].partition("Image by image")[0]
    assert "computed in bf16" not in doubts


def test_learning_from_a_simulator_is_not_being_tested_on_one(run: Path) -> None:
    teacher = {"teacher": "t", "simulated": True}
    change(run, teacher=teacher, data={"name": "real", "simulated": False})
    text = page_of(run).text
    assert "The student learned from a simulator" in text
    assert "On simulated images" not in text


def test_headline_says_simulated_and_does_without_a_twin(run: Path) -> None:
    models = {"student": {"metrics": {"dice": {"mean": 0.8, "ci95": [0.7, 0.9], "n": 9}}}}
    data = {"name": "tissue", "simulated": True}
    change(run, gain={}, retention={}, models=models, data=data)
    text = page_of(run).text
    assert "Dice on simulated images: student 0.800 [0.700, 0.900]. No gain was measured" in text


def test_less_distance_counts_as_better(run: Path) -> None:
    models = {"student": {"metrics": {"hd95": {"mean": 4.0, "ci95": [3.0, 5.0], "n": 9}}}}
    change(run, gain={"hd95": {"mean": -2.0, "ci95": [-3.0, -1.0]}}, retention={}, models=models)
    assert "Distillation gained −2.00 px of HD95 [−3.00, −1.00]" in page_of(run).text
