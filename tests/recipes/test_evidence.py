"""What a student is held against, over which seeds; more of it later; a run that is killed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import TINY, TISSUE, abbe, figures, tissue, weights_below
from pyarrow import parquet

from abbe import config
from abbe.errors import ConfigError
from abbe.reporting.tables import plain_table
from abbe.runs.evidence import Gathered, evidence_of, pace_in_words, times_in_words
from abbe.runs.folder import Run, open_run
from abbe.training.fit import Fitted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def words(teacher_run: Path) -> list[str]:
    """A run of CMKD that keeps one of four training labels."""
    teacher = ["--teacher.kind", "run", "--teacher.path", str(teacher_run)]
    return ["distill", "cmkd", *TISSUE, *TINY, *teacher, "--data.labelled", "1"]


@pytest.fixture(scope="module")
def at_once(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two seeds of everything."""
    out = tmp_path_factory.mktemp("evidence") / "run"
    assert abbe(*words, "--evidence", "full", "--seeds", 2, "--out", out) == 0
    return open_run(out)


NAMES = ("student", "supervised", "twin", "self-training")


def test_each_baseline_is_trained_from_each_seed(at_once: Run) -> None:
    evidence, models = at_once.summary.evidence, at_once.summary.models
    assert evidence.seeds == [0, 1]
    assert evidence.baselines == ["supervised", "twin", "self-training"]
    assert evidence.complete
    for place in (at_once.folder, at_once.folder / "seeds" / "1"):
        assert {path.stem for path in place.glob("*.safetensors")} == set(NAMES)
    rows = parquet.read_table(at_once.folder / "scores.parquet").to_pylist()
    for name in NAMES:
        dice = models[name].metrics["dice"]
        means = [
            np.mean(
                [
                    row["value"]
                    for row in rows
                    if (row["model"], row["seed"], row["metric"]) == (name, seed, "dice")
                ]
            )
            for seed in (0, 1)
        ]
        assert dice.by_seed == pytest.approx(means)
        assert dice.mean == pytest.approx(np.mean(means))
    assert models["teacher"].metrics["dice"].by_seed == []
    for name in evidence.baselines:
        gain = at_once.summary.gains[name]["dice"]
        student, other = models["student"].metrics["dice"], models[name].metrics["dice"]
        assert gain.mean == pytest.approx(student.mean - other.mean)  # pyright: ignore


def test_the_headline_is_over_the_best_on_validation(at_once: Run) -> None:
    evidence = at_once.summary.evidence
    means = {name: np.mean(evidence.validation[name]) for name in evidence.baselines}  # pyright: ignore
    assert evidence.against == max(means, key=lambda name: means[name])
    assert evidence.chosen_on == "validation"
    assert at_once.gain == at_once.summary.gains[evidence.against]
    page = at_once.report.read_text("utf-8")
    assert "Against each baseline: Dice" in page
    assert "every crop of its batches is from a labelled image" in page
    assert "mean of 2 seeds" in page or "an amount without an interval" in page
    equal = "architecture, initial weights, labels, crops and augmentation, learning rate"
    assert f"Equal for student and baselines: {equal}, validation images." in page


def test_whose_student_is_handed_over_and_why_and_how_many_groups_are_said(at_once: Run) -> None:
    student = (at_once.folder / "student.safetensors").read_bytes()
    assert student != (at_once.folder / "seeds" / "1" / "student.safetensors").read_bytes()
    told = plain_table(at_once.summary).splitlines()
    first = "the run hands over seed 0's student, the first: named before any was scored"
    assert f"means over seeds 0 and 1; {first}" in told
    assert "over 8 test images of 2 groups (patients, slides …)" in told
    page = at_once.report.read_text("utf-8")
    assert "The student that the run hands over is that of seed 0, the first: choosing" in page
    assert "test images of 2 groups (patients, slides …)" in page


def test_the_baselines_differ_in_what_they_should_alone(at_once: Run) -> None:
    logs = [json.loads(line) for line in (at_once.folder / "log.jsonl").read_text().splitlines()]
    terms = {
        name: set(next(e["terms"] for e in logs if e["model"] == name and "terms" in e))
        for name in NAMES
    }
    assert terms["supervised"] == terms["twin"] == {"supervised", "boundary"}
    # What the supervised network answers after so few steps may have no edges to learn from.
    assert terms["student"] - {"target_boundary"} <= terms["self-training"] <= terms["student"]
    assert terms["student"] > terms["twin"]
    steps = {name: max(entry["step"] for entry in logs if entry["model"] == name) for name in NAMES}
    assert set(steps.values()) == {4}


def test_evidence_added_later_is_that_made_at_once(
    words: list[str], at_once: Run, steps_taken: Counter[str], tmp_path: Path
) -> None:
    """And only what is missing is trained."""
    out = tmp_path / "run"
    assert abbe(*words, "--evidence", "quick", "--out", out) == 0
    first = open_run(out)
    assert first.gain == {}
    assert set(first.summary.models) == {"teacher", "student"}
    assert "No gain was measured (evidence: quick)" in first.report.read_text("utf-8")
    student = (out / "student.safetensors").read_bytes()
    assert steps_taken == Counter({"student · distil": 4})
    steps_taken.clear()
    assert abbe("distill", out, "--baselines", "supervised", "twin", "--resume") == 0
    assert steps_taken == Counter({"supervised · distil": 4, "twin · distil": 4})
    steps_taken.clear()
    assert abbe("distill", out, "--evidence", "full", "--seeds", 2, "--resume") == 0
    missing = ["self-training", *(f"{name}, seed 1" for name in NAMES)]
    assert steps_taken == Counter({f"{name} · distil": 4 for name in missing})
    assert (out / "student.safetensors").read_bytes() == student
    assert weights_below(out) == weights_below(at_once.folder)
    assert figures(out) == figures(at_once.folder)
    assert abbe("distill", out, "--evidence", "quick", "--resume") == 1  # it does not shrink


def test_a_killed_run_goes_on_seed_by_seed(
    words: list[str], at_once: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abbe.runs import session
    from abbe.targets import TargetWriter

    out, fitted, whole = tmp_path / "run", [], session.fit
    asked, append = Counter[str](), TargetWriter.append

    def counting(self: TargetWriter, id: str, *args: Any, **more: Any) -> None:
        asked[id] += 1
        append(self, id, *args, **more)

    monkeypatch.setattr(TargetWriter, "append", counting)

    def killing(stage: Any, accelerator: Any, log: Any, *args: Any, **more: Any) -> Fitted:
        fitted.append(log.model)
        if len(fitted) == 6:
            raise KeyboardInterrupt
        return whole(stage, accelerator, log, *args, **more)

    monkeypatch.setattr(session, "fit", killing)
    full = ["--evidence", "full", "--seeds", 2, "--out", out]
    assert abbe(*words, *full) == 130
    assert fitted[-1] == "supervised, seed 1"
    monkeypatch.setattr(session, "fit", whole)
    done = (out / "seeds" / "1" / "checkpoints" / "student-distil.pt").stat().st_mtime_ns
    assert abbe("distill", out, "--resume") == 0
    assert (out / "seeds" / "1" / "checkpoints" / "student-distil.pt").stat().st_mtime_ns == done
    assert asked == Counter(tissue().ids)  # the teacher, of each image once for all seeds
    assert weights_below(out) == weights_below(at_once.folder)
    assert figures(out) == figures(at_once.folder)


def test_the_first_student_is_there_before_the_evidence_is(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from abbe.runs import distill, evidence, session

    out, trained, whole = tmp_path / "run", [], session.fit
    for each in (distill, evidence):
        monkeypatch.setattr(each, "SHOWN_EARLY", 0.0)

    def killing(stage: Any, accelerator: Any, log: Any, *args: Any, **more: Any) -> Fitted:
        trained.append(log.model)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return whole(stage, accelerator, log, *args, **more)

    monkeypatch.setattr(session, "fit", killing)
    assert abbe(*words, "--out", out) == 130
    told, beside_the_bars = capsys.readouterr()
    assert "at this pace the student takes" in " ".join((told + beside_the_bars).split())
    assert "evidence standard: student, supervised and twin, each from seeds 0, 1 and 2" in told
    assert "standard" in told
    assert "(9 trainings)" in told
    early = open_run(out)
    assert not early.summary.evidence.complete
    assert set(early.summary.models) == {"teacher", "student"}
    assert "what it is to be held against is not yet" in early.report.read_text("utf-8")
    quick = "--int8", "none", "--images", 2, "--threads", 1, "--tile", 160
    assert abbe("export", out, "--out", tmp_path / "package", *quick) == 0


def test_a_moved_run_is_evaluated_over_its_seeds(at_once: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(at_once.folder, moved)
    assert abbe("evaluate", moved, *TISSUE, "--name", "again", "--allow-overlap") == 0
    again = open_run(moved / "evaluations" / "again").summary
    assert again.evidence.seeds == [0, 1]
    assert again.evidence.against == at_once.summary.evidence.against
    before, after = (
        {
            (row["image"], row["model"], row["seed"]): row["value"]
            for row in parquet.read_table(folder / "scores.parquet").to_pylist()
            if row["metric"] == "dice" and row["model"] in NAMES
        }
        for folder in (moved, moved / "evaluations" / "again")
    )
    assert len(before) == 8 * 4 * 2
    assert before == {key: pytest.approx(after[key]) for key in before}


def test_where_all_is_labelled_the_twin_is_the_supervised_network(
    words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    labelled = ["--data.labelled", "all", "--evidence", "full", "--seeds", "1"]
    assert abbe(*words, *labelled, "--out", out) == 0
    summary = open_run(out).summary
    assert summary.evidence.baselines == ["supervised"]
    assert summary.models["supervised"].about.startswith("twin and supervised network in one")
    assert not (out / "self-training.safetensors").exists()


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., config.Experiment]:
    def made(**keys: Any) -> config.Experiment:
        values = {
            "recipe": "cmkd",
            "out": tmp_path,
            "student": {"encoder_weights": "random"},
            "teacher": {"kind": "store", "path": tmp_path},
        }
        return config.parse({**values, **keys}, "a test")

    return made


def test_levels_of_evidence(experiment: Callable[..., config.Experiment]) -> None:
    quick, standard, full = (experiment(evidence=level) for level in ("quick", "standard", "full"))
    assert (quick.compared_with, quick.all_seeds) == ((), (0,))
    assert standard.compared_with == ("supervised", "twin")
    assert standard.all_seeds == (0, 1, 2)
    assert full.compared_with == ("supervised", "twin", "self-training")
    assert experiment(evidence="full", seed=7).all_seeds == (7, 8, 9, 10, 11)
    assert experiment(seeds=2).all_seeds == (0, 1)
    assert "standard 1.5 h (9 trainings)" in times_in_words(standard, 600)
    said = pace_in_words(standard, 300, 600, 0.5)
    assert said == f"at this pace {times_in_words(standard, 600)}"
    assert pace_in_words(standard, 0, 10, 0.5) == ""  # 45 s: not worth a line
    with pytest.raises(ConfigError, match="name both"):
        experiment(baselines=["twin", "self-training"])


def trained(best: float | None) -> Any:
    from torch import nn

    from abbe.recipes.recipe import Trained

    found = None if best is None else (best, 100)
    return Trained(nn.Identity(), [Fitted(100, found, 1.0, 0.0)], {})


def test_without_validation_the_supervised_network_is_the_baseline(
    experiment: Callable[..., config.Experiment],
) -> None:
    names = ("student", "twin", "supervised")
    blind = Gathered({0: {name: trained(None) for name in names}})
    found = evidence_of(experiment(), blind, {}, complete=True)
    assert (found.against, found.chosen_on) == ("supervised", "")
    seeing = Gathered(
        {
            0: {"student": trained(0.9), "supervised": trained(0.8), "twin": trained(0.7)},
            1: {"student": trained(0.9), "supervised": trained(0.4), "twin": trained(0.6)},
        }
    )
    found = evidence_of(experiment(), seeing, {}, complete=True)
    assert (found.against, found.chosen_on) == ("twin", "validation")
    assert found.validation["twin"] == [0.7, 0.6]
