"""Label efficiency: the same trainings at growing shares of the labels, over seeds, compared."""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path

from abbe import config
from abbe.cluster import open_cluster
from abbe.curves import label_subsets
from abbe.curves.folder import Curve
from abbe.curves.label_subsets import Level
from abbe.curves.on_workers import require_stored, train_on_workers
from abbe.curves.plan import Clock, Plan, describe_plan, make_plan, values_of
from abbe.curves.results import load_outcomes, write_results, write_table
from abbe.curves.trainings import (
    Outcome,
    Trainer,
    Training,
    load_outcome,
    path_of,
    scores_of,
    sha256_of_ids,
)
from abbe.datasets import Dataset
from abbe.errors import InputError
from abbe.files import write_json, write_text
from abbe.foreign_text import cells
from abbe.foreign_text import shown as shown_text
from abbe.recipes.recipe import recipe_named
from abbe.registry import CURVES
from abbe.remote.folders import worked_on
from abbe.runs import build
from abbe.runs import folder as run_folder
from abbe.runs.accounts import overlap
from abbe.runs.accounts.environment import write_end
from abbe.runs.lost import Lost
from abbe.runs.normalising import decided
from abbe.runs.session import Session
from abbe.summary import CURVE_PLAN, CurveSummary


def curve(
    experiment: config.Experiment,
    *,
    fractions: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    initialisations: Sequence[str] | None = None,
    pretrain_per_seed: bool = False,
    dataset: Dataset | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    cluster: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Curve:
    """Train at every share of the labels, for every seed and all that is compared; plot it.

    The teacher answers once. Each initialisation is pretrained once (or once for each seed), and
    all shares of the labels begin with it. The labels kept depend on the seed and the share alone.

    Args:
        experiment: of recipe 'rckd' (initialisations are compared) or 'cmkd' (the student and its
            baselines). Its ``seed`` is that of the one pretraining.
        fractions: shares of the training labels; `curve_plan.FRACTIONS` where None.
        seeds: each draws its own labels, new layers and batches; `curve_plan.SEEDS` where None.
        initialisations: of 'rckd': random, given (student.encoder_weights), contrastive, rckd,
            rckd+contrastive; all that the experiment allows where None.
        pretrain_per_seed: pretrain anew for each seed.
        dataset: a data set from Python, for an experiment with ``data.kind: given``.
        resume: finish a curve that was interrupted, or add shares, seeds or initialisations to
            it; no finished training is repeated.
        trust_code: a teacher of kind 'torch' may import and call the code that it names.
        progress: show progress.
        cluster: workers by which the teacher answers and networks are trained, such as "local:4";
            see `abbe.cluster.open_cluster`.
        say: told of the workers, in lines.

    Raises:
        AbbeError: whatever the user can mend, before work starts wherever that is possible.
    """
    build.require_trust(experiment.teacher, trust_code=trust_code)
    with worked_on(experiment.out) as out:
        experiment = experiment.model_copy(update={"out": out})
        plan = make_plan(
            experiment,
            fractions=fractions,
            seeds=seeds,
            initialisations=initialisations,
            pretrain_per_seed=pretrain_per_seed,
            resume=resume,
        )
        return _curve(
            experiment, plan, dataset, resume=resume, trust_code=trust_code, progress=progress,
            cluster=None if cluster is None else (cluster, say),
        )  # fmt: skip


def _curve(
    experiment: config.Experiment,
    plan: Plan,
    dataset: Dataset | None,
    *,
    resume: bool,
    trust_code: bool,
    progress: bool,
    cluster: tuple[str, Callable[[str], None]] | None,
) -> Curve:
    kind: type[Trainer] = CURVES[experiment.recipe]
    task = recipe_named(experiment.recipe).task(experiment)
    lost = Lost(experiment.allow_failed, begun=resume and run_folder.has_trained(experiment.out))
    compared = kind.compares(experiment, plan.initialisations)
    dataset = task.listed(experiment, dataset, progress)
    experiment = build.with_channels(experiment, dataset)
    tiles = kind.require(
        experiment, dataset, compared, smallest=min(plan.fractions), trust_code=trust_code
    )
    dataset = task.looked_at(dataset, lost, progress)
    tiles = kind.check(experiment, dataset, tiles, compared, lost, progress)
    overlap.require_unseen(experiment, dataset, lost)
    experiment = decided(experiment, dataset, scales_images=task.scales_images)
    with (
        run_folder.opened(experiment, resume=resume, as_curve=True) as folder,
        Session.start(
            experiment, folder, lost, resume=resume, trust_code=trust_code, progress=progress
        ) as session,
        ExitStack() as stack,
    ):
        session = replace(session, previews=False)  # hundreds of trainings, seen by nobody
        if session.is_main:
            overlap.write_trained_on(folder, dataset, tiles, lost)
        if cluster is not None:
            require_stored(experiment, session.accelerator.num_processes)
            workers = stack.enter_context(open_cluster(*cluster, on_gpus=True))
            session = replace(session, helpers=workers)
        trainer = kind(
            experiment, dataset, tiles, session, compared,
            pretrain_per_seed=plan.pretrain_per_seed,
        )  # fmt: skip
        return _carry_out(trainer, plan, session)


def _carry_out(trainer: Trainer, plan: Plan, session: Session) -> Curve:
    folder, accelerator, compared = session.folder, session.accelerator, trainer.compared
    experiment = trainer.resolve()
    levels = label_subsets.levels_of(trainer.records, plan.fractions, by_class=trainer.by_class)
    trainings = [
        Training(name, level, seed) for seed, level, name in product(plan.seeds, levels, compared)
    ]
    _require_same_labels(folder, trainer, trainings)
    if session.is_main:
        _begin(folder, plan, trainer, levels)
    accelerator.wait_for_everyone()
    if session.shown:
        waiting = _waiting(folder, trainings)
        text = describe_plan(
            experiment, plan, levels, len(trainer.records), compared, waiting=len(waiting),
            done=len(trainings) - len(waiting), pretrainings=trainer.pretrainings(waiting),
        )  # fmt: skip
        print(shown_text(text), flush=True)
    left = _waiting(folder, trainings)
    trainer.teach(left)
    if session.helpers is None:
        carried = _here(trainer, left, folder)
    else:
        carried = train_on_workers(trainer, left, experiment, session, session.helpers)
    for whole in _train(folder, experiment, trainer, trainings, carried, session.shown):
        if session.is_main:
            outcomes = load_outcomes(folder, trainings)
            if whole:
                _results(session, experiment, trainer, outcomes, levels, len(trainings))
            else:
                write_table(folder, trainer.compared_as, outcomes)
    summary = None
    if session.is_main:
        outcomes = load_outcomes(folder, trainings)
        write_end(folder)
        summary = _results(session, experiment, trainer, outcomes, levels, len(trainings))
    accelerator.wait_for_everyone()
    return Curve(folder, summary)


def _here(trainer: Trainer, left: Sequence[Training], folder: Path) -> Iterator[Training]:
    """Carry out what waits in this process; each training as it ends."""
    while left:
        trainer.train(left[0])
        yield left[0]
        left = _waiting(folder, left)


def _train(
    folder: Path,
    experiment: config.Experiment,
    trainer: Trainer,
    trainings: Sequence[Training],
    carried: Iterator[Training],
    shown: bool,
) -> Iterator[bool]:
    """After each training that is carried out, whether a seed has become whole by it."""
    left = _waiting(folder, trainings)
    clock = Clock(experiment, len(left), len(trainer.pretrainings(left)))
    for training in carried:
        left = _waiting(folder, trainings)
        assert training not in left, "a training ends with its file"
        if shown:
            print(
                f"{len(trainings) - len(left)} of {len(trainings)} trainings done · {training}: "
                f"{_score_of(folder, training, trainer.metric)} · "
                f"{clock.report(len(left), len(trainer.pretrainings(left)))}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        yield bool(left) and all(each.seed != training.seed for each in left)


def _begin(folder: Path, plan: Plan, trainer: Trainer, levels: Sequence[Level]) -> None:
    """Write what is known before anything is trained."""
    (folder / "trainings").mkdir(exist_ok=True)
    write_json(folder / CURVE_PLAN, values_of(plan))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["image", "group", "class", *(f"seed {seed}" for seed in plan.seeds)])
    smallest = [
        label_subsets.smallest_levels(trainer.records, levels, seed=seed, by_class=trainer.by_class)
        for seed in plan.seeds
    ]
    for record in trainer.records:
        shares = [found.get(record.id, "") for found in smallest]
        row = [record.id, record.unit, record.columns.get("class", ""), *shares]
        writer.writerow(cells(row))
    write_text(folder / "labels.csv", text.getvalue())


def _waiting(folder: Path, trainings: Sequence[Training]) -> list[Training]:
    return [each for each in trainings if not path_of(folder, each.name).exists()]


def _require_same_labels(folder: Path, trainer: Trainer, trainings: Sequence[Training]) -> None:
    """Refuse finished trainings that learned from other labels than they would now."""
    for training in trainings:
        path = path_of(folder, training.name)
        if not path.exists():
            continue
        kept = label_subsets.choose(
            trainer.records, training.level.fraction, seed=training.seed, by_class=trainer.by_class
        )
        if load_outcome(path).labels_sha256 != sha256_of_ids(kept):
            raise InputError(
                f"{path}: learned from other images than it would now: the data has changed since "
                "the curve was begun. Give another --out"
            )


def _score_of(folder: Path, training: Training, metric: str) -> str:
    outcome = load_outcome(path_of(folder, training.name))
    return f"{metric} {float(scores_of(outcome.arrays)[metric][0]):.3f}"


def _results(
    session: Session,
    experiment: config.Experiment,
    trainer: Trainer,
    outcomes: Mapping[Training, Outcome],
    levels: Sequence[Level],
    planned: int,
) -> CurveSummary | None:
    return write_results(
        session.folder,
        experiment,
        outcomes,
        levels,
        trainer.compared,
        planned=planned,
        facts={
            "compared_as": trainer.compared_as,
            "metric": trainer.metric,
            **trainer.describe(),
            "lost": session.lost.ids,
            "left_out": session.lost.left_out,
            "overlaps": session.lost.overlaps,
        },
        metrics=trainer.metrics,
        teacher=trainer.teacher(),
    )
