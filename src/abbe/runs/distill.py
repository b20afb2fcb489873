"""A whole run: data, targets, student, baselines, scores, report; of every recipe."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from abbe import config
from abbe.datasets import Dataset
from abbe.recipes.recipe import Recipe, fit_plan, recipe_named, weights_metadata
from abbe.remote.folders import worked_on
from abbe.runs import build, schedules
from abbe.runs import folder as run_folder
from abbe.runs.accounts import overlap
from abbe.runs.evidence import (
    SHOWN_EARLY,
    Gathered,
    pace_in_words,
    plan_in_words,
    rest_of,
    times_in_words,
)
from abbe.runs.folder import Run
from abbe.runs.lost import Lost
from abbe.runs.normalising import decided
from abbe.runs.results import write_results
from abbe.runs.session import Session


def distill(
    experiment: config.Experiment,
    *,
    dataset: Dataset | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    watch: Callable[[int, float], None] | None = None,
) -> Run:
    """Carry out an experiment from the images to the report.

    Args:
        experiment: see :mod:`abbe.config`.
        dataset: a data set from Python, for an experiment with ``data.kind: given``.
        resume: finish a run that was interrupted, or add evidence to one that is finished; what it
            computed is not computed again.
        trust_code: a teacher of kind 'torch' may import and call the code that it names. The
            experiment cannot say so itself, because it may be somebody else's.
        progress: show progress bars.
        watch: told of each validation; see `abbe.training.fit.fit`. What it raises ends the run.

    Raises:
        AbbeError: whatever the user can mend, before work starts wherever that is possible.
    """
    with worked_on(experiment.out) as out:
        experiment = experiment.model_copy(update={"out": out})
        return _distill(
            experiment, dataset, resume=resume, trust_code=trust_code, progress=progress,
            watch=watch,
        )  # fmt: skip


def _distill(
    experiment: config.Experiment,
    dataset: Dataset | None,
    *,
    resume: bool,
    trust_code: bool,
    progress: bool,
    watch: Callable[[int, float], None] | None,
) -> Run:
    build.require_trust(experiment.teacher, trust_code=trust_code)
    recipe = recipe_named(experiment.recipe)
    task = recipe.task(experiment)
    lost = Lost(experiment.allow_failed, begun=resume and run_folder.has_trained(experiment.out))
    dataset = task.listed(experiment, dataset, progress)
    experiment = build.with_types(build.with_channels(experiment, dataset), dataset)
    tiles = recipe.tiles(experiment, dataset)
    recipe.require(experiment, dataset, tiles, trust_code=trust_code)
    dataset = task.looked_at(dataset, lost, progress)
    if tiles is not None:
        tiles = recipe.tiles_looked_at(experiment, tiles, lost, progress)
    recipe.check(experiment, dataset, tiles)
    overlap.require_unseen(experiment, dataset, lost)
    experiment = decided(experiment, dataset, scales_images=task.scales_images)
    with (
        run_folder.opened(experiment, resume=resume) as folder,
        Session.start(
            experiment, folder, lost, resume=resume, trust_code=trust_code, progress=progress,
            watch=watch,
        ) as session,
    ):  # fmt: skip
        if session.is_main:
            overlap.write_trained_on(folder, dataset, tiles, lost)
        amounts = recipe.amounts(experiment, dataset, tiles)
        experiment = schedules.resolve(experiment, amounts, folder, recipe.rates, resume=resume)
        material = recipe.prepare(experiment, dataset, tiles, session)
        gathered, first = _train(recipe, experiment, dataset, material, session)
        if session.is_main:
            write_results(recipe, experiment, dataset, first, gathered, session, complete=True)
        session.accelerator.wait_for_everyone()
        return run_folder.open_run(folder)


def _train(
    recipe: Recipe, experiment: config.Experiment, dataset: Dataset, material: Any, session: Session
) -> tuple[Gathered, Any]:
    """Train the student and its baselines from each seed; also what the first seed's began with."""
    task = recipe.task(experiment)
    gathered, first = Gathered(), material
    if session.shown and experiment.compared_with:
        print(plan_in_words(experiment), flush=True)
    for seed in experiment.all_seeds:
        one, here = experiment.model_copy(update={"seed": seed}), session.of_seed(seed)
        began = time.monotonic()
        begun = recipe.begin(one, dataset, material, here)
        before = time.monotonic() - began
        first = begun if here is session else first
        trained = gathered.by_seed.setdefault(seed, {})
        about = weights_metadata(one, dataset, **task.metadata(one, dataset))
        longest = 0.0  # a student that is the supervised network takes no time of its own
        for name, plan in recipe.plans(one, dataset, begun, here, trained):
            if not plan.stages and here is not session:
                continue  # it comes as it is, whatever the seed
            is_first = here is session and not trained
            steps = sum(stage.schedule.steps for stage in plan.stages)
            paced = partial(pace_in_words, experiment, before, steps) if is_first else None
            metadata = {**about, **(plan.metadata or {})}
            began = time.monotonic()
            trained |= fit_plan(name, plan, task, metadata, here, paced=paced)
            longest = max(longest, time.monotonic() - began)
            if name == "student" and here is session:
                took = before + longest
                _first_student(recipe, experiment, dataset, first, gathered, session, took)
    return gathered, first


def _first_student(
    recipe: Recipe,
    experiment: config.Experiment,
    dataset: Dataset,
    material: Any,
    gathered: Gathered,
    session: Session,
    took: float,
) -> None:
    """Tell how long the evidence takes; where that is long, score the student now.

    So it can be looked at and exported while the others are trained.
    """
    rest = rest_of(experiment, took)
    if rest < SHOWN_EARLY:
        return
    if session.shown:
        print(times_in_words(experiment, took), flush=True)
    if session.is_main:
        write_results(recipe, experiment, dataset, material, gathered, session, complete=False)
        if session.shown:
            print(f"the first student and its report: {session.folder}", flush=True)
    session.accelerator.wait_for_everyone()
