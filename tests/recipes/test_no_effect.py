"""Where student and baselines differ in nothing but luck, runs claim nothing more than rarely."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from scipy.stats import binom

from abbe.runs.folder import open_run

pytestmark = pytest.mark.slow

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "no_effect.py"
RUNS, CONTROLS = 16, 1
AT_MOST = int(binom.ppf(0.999, RUNS, 0.05))
"""Claims in so many runs, where 5 of 100 claim: no more in 999 of 1000 cases."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("no-effect")
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--runs", str(RUNS), "--controls", str(CONTROLS), "--keep",
         str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"of {RUNS} runs claim" in done.stdout
    return folder


def test_the_bound_tells_5_from_45_of_100() -> None:
    assert binom.cdf(AT_MOST, RUNS, 0.05) >= 0.999
    assert binom.cdf(AT_MOST, RUNS, 0.45) < 0.1


def test_no_more_claims_than_5_of_100_allow(runs: Path) -> None:
    verdicts = json.loads((runs / "verdicts.json").read_text("utf-8"))["no-effect"]
    assert len(verdicts) == RUNS
    known = {"better", "worse", "unclear"}
    for against in ("best", "fixed"):
        found = [each[against] for each in verdicts]
        assert set(found) <= known
        assert sum(each != "unclear" for each in found) <= AT_MOST


def test_an_effect_that_is_there_is_claimed(runs: Path) -> None:
    """In the right direction, over the best baseline and over the first; else no run may claim."""
    verdicts = json.loads((runs / "verdicts.json").read_text("utf-8"))
    for name, claim in (("helps", "better"), ("harms", "worse")):
        found = [one for each in verdicts[name] for one in each.values()]
        assert len(found) == 2 * CONTROLS
        assert set(found) <= {claim, "unclear"}
        assert found.count(claim) > CONTROLS, name  # in most runs


def test_networks_of_a_run_differ_in_luck(runs: Path) -> None:
    run = open_run(runs / "run-0")
    evidence = run.summary.evidence
    assert (evidence.seeds, evidence.baselines) == ([0, 1, 2], ["supervised", "twin"])
    assert evidence.chosen_on == "validation"
    assert run.summary.data.test_groups == 8
    rows = parquet.read_table(run.folder / "scores.parquet").to_pylist()
    dice = {
        (row["model"], row["seed"], row["image"]): row["value"]
        for row in rows
        if row["metric"] == "dice"
    }
    assert len(dice) == 3 * 3 * 16
    means = [
        np.mean([value for (model, one, _), value in dice.items() if (model, one) == (name, seed)])
        for name in ("student", "supervised", "twin")
        for seed in evidence.seeds
    ]
    assert len(set(means)) == 9  # no two trainings are the same
    files = [runs / "run-0", *sorted((runs / "run-0" / "seeds").iterdir())]
    assert len({path.read_bytes() for each in files for path in each.glob("*.safetensors")}) == 9


def test_gains_differ_by_seed_about_as_they_do_by_image(runs: Path) -> None:
    ratios = []
    for folder in sorted(runs.glob("run-*")):
        rows = parquet.read_table(folder / "scores.parquet").to_pylist()
        of = {
            (row["model"], row["seed"], row["image"]): row["value"]
            for row in rows
            if row["metric"] == "dice"
        }
        images = sorted({image for _, _, image in of})
        seeds = sorted({seed for _, seed, _ in of})
        gains = np.array(
            [[of["student", s, i] - of["supervised", s, i] for i in images] for s in seeds]
        )
        ratios.append(gains.mean(1).std(ddof=1) / gains.mean(0).std(ddof=1))
    assert 0.3 < np.median(ratios) < 5
