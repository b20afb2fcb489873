"""A condensation keeps to its hours: what is measured, planned, watched, and begun anew."""

import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from commands import abbe

from abbe import config
from abbe.condensing import budget, carry, trial
from abbe.condensing.budget import Pace, pace_of
from abbe.condensing.keeping import Counted, OtherPaceError, Watch, counted_in
from abbe.condensing.page import change_plan
from abbe.condensing.trial import Trial
from abbe.errors import ConfigError
from abbe.exporting.request import ExportRequest
from abbe.runs.export import export_run
from abbe.runs.folder import open_run
from abbe.runtime.bench.speed import bench
from abbe.summary import RunSummary


def test_a_pace_counts_validation_scoring_export_and_bench():
    pace = pace_of(0.4, 1e-6, 1e-6, validated=5_000_000, scored=10_000_000, compared=1_000_000)
    assert pace.validation == pytest.approx(5.0)
    assert pace.scoring == pytest.approx(20.0)
    assert pace.after == pytest.approx(30 + 80 * 1024**2 * 1e-6 + 6)
    # 100 steps take 40 s; a tenth of that is less than one validation, so there are three
    assert pace.validate_every(100) == 33
    assert pace.training(100) == pytest.approx(1.05 * 40 + 3 * 5)
    # 2000 steps take 800 s: a tenth is sixteen validations, and one every 100 steps is more
    assert pace.validate_every(2000) == 125
    # teacher and first student are scored beside each network
    assert pace.run(2, 100) == pytest.approx(2 * 57 + 4 * 20)


@pytest.mark.parametrize("validation", [0.0, 1.0, 30.0])
def test_the_most_steps_that_fit_are_found(validation):
    pace = Pace(0.3, validation=validation, scoring=2.0)
    steps = pace.steps_within(600, trainings=2)
    assert pace.run(2, steps) <= 600 < pace.run(2, steps + 40)


class Hours:
    """A clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


MEASURED = Pace(0.4, validation=0.5, scoring=3.0, after=80.0)
COUNTED = Counted(steps=400, trainings=2, pace=MEASURED, most=2000)
PLANNED = 10 + COUNTED.pace.run(2, 400) + 80  # ten seconds of it went by before the training


@pytest.mark.parametrize("slower", [0.8, 1.0])
def test_what_takes_what_it_was_measured_to_take_is_left_alone(slower):
    clock = Hours()
    watch = Watch(COUNTED, PLANNED, started=90.0, clock=clock)
    for step in range(40, 401, 40):
        seconds = slower * COUNTED.pace.training(400) * step / 400
        clock.now = 100 + seconds
        watch(step, seconds + 0.5)  # to begin took half a second


@pytest.mark.parametrize("slower", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("look", [2, 3])
def test_fewer_steps_keep_within_a_fifth_of_the_hours(slower, look):
    total = 600.0
    steps = COUNTED.pace.steps_within(0.9 * total - 10 - 80, 2)
    counted = Counted(steps, 2, COUNTED.pace, 2000)
    clock = Hours()
    watch = Watch(counted, total, started=90.0, clock=clock)
    each = steps // 10
    one = counted.pace.training(steps) * each / steps
    lost = 3 * one  # the first steps are slow, which says nothing of the others
    clock.now = 100 + lost
    watch(each, lost)
    watch._looks = look - 1
    step, lost = each * look, lost + slower * one * (look - 1)
    clock.now = 100 + lost
    with pytest.raises(OtherPaceError, match="as it was measured") as caught:
        watch(step, lost)
    assert caught.value.pace.step == pytest.approx(0.4 * slower)
    takes = 10 + lost + caught.value.pace.run(2, caught.value.steps) + slower * 80
    assert takes <= total * 1.0001
    assert caught.value.steps < steps


@pytest.mark.parametrize(("most", "steps"), [(2000, 806), (600, 600), (400, None)])
def test_more_steps_where_the_machine_was_busy_while_it_was_measured(most, steps):
    clock = Hours()
    watch = Watch(replace(COUNTED, most=most), PLANNED, started=90.0, clock=clock)
    one = 0.5 * COUNTED.pace.training(400) / 10
    watch(40, 2 * one)
    lost = 3 * one
    clock.now = 100 + lost
    if steps is None:  # more would hardly help
        watch(80, lost)
        return
    with pytest.raises(OtherPaceError, match=r"a step takes 0\.2 s here, and not 0\.4") as caught:
        watch(80, lost)
    assert caught.value.steps == steps
    assert 10 + lost + caught.value.pace.run(2, steps) + 40 <= PLANNED


def test_only_the_first_network_is_looked_at():
    clock = Hours()
    watch = Watch(COUNTED, PLANNED, started=90.0, clock=clock)
    watch(40, COUNTED.pace.training(400) / 10)
    clock.now = 10_000.0
    watch(40, 5000.0)  # the second network's first validation
    watch(80, 9000.0)


def test_a_plan_is_changed_where_it_says_so_and_nowhere_else(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("# mine\ntraining:\n  steps: 400   # why\n  crop: 96\n", encoding="utf-8")
    change_plan(tmp_path, {"steps": 60}, "a step takes 2 s")
    lines = plan.read_text("utf-8").splitlines()
    assert re.fullmatch(r"  steps: 60 +# a step takes 2 s", lines[2])
    assert lines[:2] + lines[3:] == ["# mine", "training:", "  crop: 96"]
    with pytest.raises(ConfigError, match=r"training\.passes does not stand"):
        change_plan(tmp_path, {"passes": 60}, "")


@pytest.mark.slow
def test_where_steps_prove_slower_it_takes_fewer_and_says_so(tissue, monkeypatch, capsys):
    def measure(experiment: config.Experiment, dataset: object, *, fixed: bool) -> Trial:
        return Trial(experiment.training.batch_size, 2, 0.001, "cpu", 1 << 28)

    monkeypatch.setattr(trial, "measure", measure)
    monkeypatch.setattr(trial, "milliseconds", lambda *given: dict.fromkeys(given[0], 1.0))
    monkeypatch.setattr(budget, "AFTER", (4.0, 0.0))
    request = ExportRequest(int8="none", tile=(64,), context=0, images=2, budget_pq=1.0)
    monkeypatch.setattr(carry, "export_run", partial(export_run, request=request))
    monkeypatch.setattr(carry, "bench", partial(bench, side=64, repeats=3))
    words = shlex.split(
        "condense tissue --teacher masks --out a --hours 0.006 --training.batch-size 2 "
        "--training.crop 32 --training.workers 0 --training.precision fp32 --training.ema 0 "
        "--training.validate-every 10 --student.depth 3 --evidence quick --baselines supervised"
    )
    assert abbe(*words, "--plan-only") == 0
    counted = counted_in(Path("a"))
    assert counted is not None
    planned = counted.steps
    assert config.load(Path("a/plan.yaml")).training.steps == planned
    assert abbe(*words) == 0
    shown = capsys.readouterr().out
    told = re.search(r"a step takes (\S+) s here, and not 0.001 as it was measured: (\d+) ", shown)
    assert told is not None
    steps = int(told[2])
    assert steps < planned
    plan = Path("a/plan.yaml").read_text("utf-8")
    assert re.search(rf"  steps: {steps} +# a step takes {re.escape(told[1])} s here", plan)
    summary = open_run("a").summary
    assert isinstance(summary, RunSummary)
    assert summary.schedule["training"].steps == steps  # of both networks
    assert {*summary.models} >= {"student", "supervised"}
    log = Path("a/log.jsonl").read_text("utf-8")
    assert f'"steps": {planned}' not in log  # what was begun before is gone
    assert abbe(*words) == 0  # and the same command finds all of it done
