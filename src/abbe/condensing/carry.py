"""Carry a plan out: train, keep the better network, export, bench."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from abbe import config
from abbe.condensing.asked import Asked
from abbe.condensing.keeping import MEASURED, Counted, OtherPaceError, Watch, counted_in
from abbe.condensing.page import ASKED, FILE, change_plan, table, write_plan
from abbe.condensing.plan import make_plan
from abbe.errors import ConfigError
from abbe.files import write_json
from abbe.registry import TASKS
from abbe.runs import folder as run_folder
from abbe.runs.distill import distill
from abbe.runs.export import export_run
from abbe.runs.export_inputs.common import kept
from abbe.runs.folder import Run
from abbe.runtime.bench.speed import bench
from abbe.runtime.package import Package, read_package
from abbe.summary import RunSummary

PACKAGE = "package"
POOR = 0.5
"""A network that scores less on validation is handed over with a warning."""
BENCH = "bench.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Condensed:
    """What came of it.

    Attributes:
        plan: the file.
        run: with its report; None where only a plan was wanted.
        package: of the better network; None likewise.
        holds: which that is, and why, in a sentence.
    """

    plan: Path
    run: Run | None = None
    package: Package | None = None
    holds: str = ""


def condense(
    asked: Asked,
    *,
    plan_only: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    say: Say = print,
    started: float | None = None,
) -> Condensed:
    """Plan, train, keep the better network, export and bench; what is done is not done again.

    Args:
        asked: what is condensed, within which limits.
        plan_only: stop once the plan is written.
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show progress bars.
        say: told of each step.
        started: when the hours began, by `time.monotonic`; now where None.

    Raises:
        ConfigError: the folder holds the plan of another request.
        AbbeError: whatever else the user can mend.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "condense measures and exports in one process. For several: --plan-only, then "
            f"accelerate launch … -m abbe distill {asked.out / FILE}"
        )
    started = time.monotonic() if started is None else started
    path = asked.out / FILE
    if path.exists():
        _require_same(asked)
        say(f"going on with {path}, which is there already")
    else:
        plan = make_plan(asked, trust_code=trust_code, progress=progress, say=say, started=started)
        write_plan(plan, asked)
        if not fixed(asked):
            budget = plan.budget
            Counted(budget.steps, budget.trainings, budget.pace, budget.most).write(asked.out)
        say(f"{table(plan)}\n\nplan: {path}")
    if plan_only:
        return Condensed(path)
    run = _in_time(asked, started, trust_code=trust_code, progress=progress, say=say)
    name, holds = better(run.summary)
    say(f"\n{holds}")
    if (told := doubt(run.summary, name)) is not None:
        say(told)
    package = _packed(replace(run, network=name), say)
    _timed(package, run.folder, say)
    return Condensed(path, run, package, holds)


def _require_same(asked: Asked) -> None:
    """Refuse another request in the same folder: its plan would be passed over."""
    file = asked.out / ASKED
    if not file.exists():
        raise ConfigError(
            f"{asked.out}: holds {FILE}, but not what it was made for ({ASKED}). Carry it out with "
            f"abbe distill {asked.out / FILE}, or give another --out"
        )
    before, now = json.loads(file.read_text("utf-8")), asked.as_json()
    before.pop(MEASURED, None)
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        raise ConfigError(
            f"{asked.out / FILE}: was made for another request ({', '.join(differing)} differ). "
            "Edit it and repeat the earlier command, or remove it, or give another --out"
        )


def fixed(asked: Asked) -> bool:
    """Whether the user said how long each training is."""
    return not {"training.steps", "training.passes"}.isdisjoint(asked.said)


def _in_time(asked: Asked, started: float, *, trust_code: bool, progress: bool, say: Say) -> Run:
    """The run, with other steps than planned where they prove slower or quicker than measured."""
    path = asked.out / FILE
    while True:
        values = config.without_rivals(config.read_values(path), asked.grown)
        experiment = config.parse({**values, **asked.grown}, str(path))
        counted = None if run_folder.has_trained(asked.out) else counted_in(asked.out)
        watch = None
        if counted is not None and counted.steps == experiment.training.steps:  # not edited
            watch = Watch(counted, 3600 * asked.hours, started)
        try:
            return _finished(experiment, watch, trust_code=trust_code, progress=progress)
        except OtherPaceError as other:
            assert counted is not None
            say(f"\n{other.why}. It begins anew, to be done within the {asked.hours:g} h")
            changed = {"steps": other.steps}
            if "training.validate_every" not in asked.said:
                changed["validate_every"] = other.pace.validate_every(other.steps)
            change_plan(asked.out, changed, other.why)
            replace(counted, steps=other.steps, pace=other.pace).write(asked.out)
            run_folder.begin_again(experiment.out)


def _finished(
    experiment: config.Experiment, watch: Watch | None, *, trust_code: bool, progress: bool
) -> Run:
    """The run, carried out as far as it is not."""
    before = run_folder.begun(experiment.out)
    if before is not None and (experiment.out / "summary.json").exists():
        run = run_folder.open_run(experiment.out)
        if run.summary.evidence.complete and not _asks_more(experiment, before):
            _require_unchanged(experiment, before)
            return run
    return distill(experiment, resume=True, trust_code=trust_code, progress=progress, watch=watch)


def _require_unchanged(now: config.Experiment, before: config.Experiment) -> None:
    """Refuse a plan that was edited once its run was finished: nothing would come of it."""
    student = now.student
    left_open = {  # which the run has settled by its images
        key: getattr(before.student, key)
        for key in ("input_channels", "types", "normalisation")
        if getattr(student, key) in ("auto", ("auto",), ())
    }
    now = now.model_copy(update={"student": student.model_copy(update=left_open)})
    if differing := run_folder.differences(before, now):
        raise ConfigError(
            f"{now.out / FILE}: the run is finished, and was made with other values "
            f"({', '.join(differing)} differ). Put them back, or carry the plan out elsewhere: "
            f"abbe distill {now.out / FILE} --out ANOTHER"
        )


def _asks_more(now: config.Experiment, before: config.Experiment) -> bool:
    """Whether evidence is wanted that a finished run lacks; it may have more than was planned."""
    seeds, baselines = set(now.all_seeds), set(now.compared_with)
    return not (seeds <= set(before.all_seeds) and baselines <= set(before.compared_with))


def better(summary: RunSummary) -> tuple[str, str]:
    """The name of the network to hand over, and why: never by test images.

    >>> from abbe.summary import Evidence
    >>> summary = RunSummary.model_construct(task="instances", evidence=Evidence(
    ...     against="supervised", validation={"student": [0.8], "supervised": [0.9]}))
    >>> better(summary)[0]
    'supervised'
    """
    evidence = summary.evidence
    scores = {
        name: fmean(value for value in values if value is not None)
        for name, values in evidence.validation.items()
        if None not in values
    }
    against = evidence.against
    if not against:
        return "student", "the package holds the student; there was nothing to hold it against"
    if "student" not in scores or against not in scores:
        return "student", f"the package holds the student; no validation against '{against}'"
    own, other = scores["student"], scores[against]
    over = ", means over seeds" if len(evidence.seeds) > 1 else ""
    watched = TASKS[summary.task].watch
    name = summary.metric_names.get(watched, watched)
    figures = f"{name} {max(own, other):.4f} against {min(own, other):.4f}{over}"
    if other > own:
        return against, (
            f"the {against} network was better on validation ({figures}); the package holds it, "
            "and not the student"
        )
    same = "as good as" if other == own else "better than"
    return "student", (
        f"the student was {same} the {against} network on validation ({figures}); the package "
        "holds it"
    )


def doubt(summary: RunSummary, name: str) -> str | None:
    """A warning where the network that is handed over has learned too little to be of use.

    >>> from abbe.summary import Evidence
    >>> summary = RunSummary.model_construct(
    ...     task="instances", evidence=Evidence(validation={"student": [0.1, 0.3]}))
    >>> doubt(summary, "student")[:54]
    'warning: the student has dice 0.2000 on validation ima'
    """
    values = summary.evidence.validation.get(name, [])
    known = [value for value in values if value is not None]
    if not known or fmean(known) >= POOR:
        return None
    watched = TASKS[summary.task].watch
    return (
        f"warning: the {name} has {summary.metric_names.get(watched, watched)} "
        f"{fmean(known):.4f} on validation images: it has learned too little to be of use. Give it "
        "more --hours, more labels or encoder weights (--student.encoder-weights imagenet)"
    )


def _packed(run: Run, say: Say) -> Package:
    """The package of a run; one that is there stays, and it is told where it is of another time."""
    place = run.folder / PACKAGE
    if not place.exists():
        (run.folder / BENCH).unlink(missing_ok=True)  # of a package that was removed
        return export_run(run, place, say=say)
    package = read_package(place)
    told = package.description.training
    held = told.get("network", "student")
    if held != run.network or told["models"] != kept(run.summary)["models"]:
        say(
            f"note: {place} holds the {held} network as it was before there was more evidence. "
            "Remove it and repeat the command for a new one"
        )
    return package


def _timed(package: Package, folder: Path, say: Say) -> None:
    file = folder / BENCH
    if not file.exists():
        figures = bench(package, cold=False)
        write_json(file, figures.to_json())
        say(f"\n{figures.table()}")
