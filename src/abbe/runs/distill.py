"""A whole run: data, targets, student, twin, scores, report; of every recipe."""

from abbe import config
from abbe.datasets import Dataset
from abbe.recipes.recipe import Trained, fit_plan, recipe_named, weights_metadata
from abbe.runs import build, schedules
from abbe.runs import folder as run_folder
from abbe.runs.accounts import overlap
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
) -> Run:
    """Carry out an experiment from the images to the report.

    Args:
        experiment: see :mod:`abbe.config`.
        dataset: a data set from Python, for an experiment with ``data.kind: given``.
        resume: finish a run that was interrupted; what it computed is not computed again.
        trust_code: a teacher of kind 'torch' may import and call the code that it names. The
            experiment cannot say so itself, because it may be somebody else's.
        progress: show progress bars.

    Raises:
        AbbeError: whatever the user can mend, before work starts wherever that is possible.
    """
    build.require_trust(experiment.teacher, trust_code=trust_code)
    recipe = recipe_named(experiment.recipe)
    task = recipe.task(experiment)
    lost = Lost(experiment.allow_failed, begun=resume and run_folder.has_trained(experiment.out))
    dataset = task.open(experiment, dataset, lost, progress)
    tiles = recipe.tiles(experiment, dataset, lost, progress)
    recipe.check(experiment, dataset, tiles)
    overlap.require_unseen(experiment, dataset, lost)
    experiment = decided(experiment, dataset, scales_images=task.scales_images)
    with run_folder.opened(experiment, resume=resume) as folder:
        session = Session.start(
            experiment, folder, lost, resume=resume, trust_code=trust_code, progress=progress
        )
        if session.is_main:
            overlap.write_trained_on(folder, dataset, tiles, lost)
        amounts = recipe.amounts(experiment, dataset, tiles)
        experiment = schedules.resolve(experiment, amounts, folder, recipe.rates, resume=resume)
        material = recipe.prepare(experiment, dataset, tiles, session)
        about = weights_metadata(experiment, dataset, **task.metadata(experiment, dataset))
        trained: dict[str, Trained] = {}
        for name, plan in recipe.plans(experiment, dataset, material, session).items():
            trained |= fit_plan(name, plan, task, {**about, **(plan.metadata or {})}, session)
        if session.is_main:
            write_results(recipe, experiment, dataset, material, trained, session)
        session.accelerator.wait_for_everyone()
        return run_folder.open_run(folder)
