"""Label efficiency: the same trainings at growing shares of the labels, over seeds, compared."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from abbe import config
from abbe.curves import label_subsets
from abbe.curves.label_subsets import Level
from abbe.curves.plan import PLAN, Clock, Plan, describe_plan, make_plan, values_of
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
from abbe.recipes.distill_rckd import Session
from abbe.runs import build
from abbe.runs import folder as run_folder
from abbe.runs.lost import Lost, readable
from abbe.runs.normalising import decided
from abbe.tasks import labelled as task_data
from abbe.training.log import make_accelerator


@dataclass(frozen=True)
class Curve:
    """A label-efficiency curve; ``summary`` is what ``summary.json`` holds."""

    folder: Path
    summary: dict[str, Any]

    @property
    def table(self) -> Path:
        """One row a training, with its scores."""
        return self.folder / "curve.csv"

    @property
    def picture(self) -> Path:
        """The curve; ``curve.svg`` is the same."""
        return self.folder / "curve.png"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


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
) -> Curve:
    """Train at every share of the labels, for every seed and all that is compared; plot it.

    The teacher answers once. Each initialisation is pretrained once (or once for each seed), and
    all shares of the labels begin with it. The labels kept depend on the seed and the share alone.

    Args:
        experiment: of recipe 'rckd' (initialisations are compared) or 'cmkd' (student and twin).
            Its ``seed`` is that of the one pretraining.
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

    Raises:
        AbbeError: whatever the user can mend, before work starts wherever that is possible.
    """
    build.require_trust(experiment.teacher, trust_code=trust_code)
    plan = make_plan(
        experiment,
        fractions=fractions,
        seeds=seeds,
        initialisations=initialisations,
        pretrain_per_seed=pretrain_per_seed,
        resume=resume,
    )
    lost = Lost(experiment.allow_failed, begun=resume and run_folder.has_trained(experiment.out))
    dataset, compared = _checked(experiment, dataset, plan, lost, progress)
    experiment = decided(experiment, dataset)
    with run_folder.opened(experiment, resume=resume) as folder:
        settings = experiment.training
        accelerator = make_accelerator(
            folder,
            precision=settings.precision,
            trackers=settings.trackers,
            sync_batch_norm=settings.sync_batch_norm,
        )
        session = Session(
            folder, accelerator, lost, resume=resume, trust_code=trust_code, progress=progress
        )
        return _carry_out(experiment, dataset, plan, compared, session)


def _carry_out(
    experiment: config.Experiment,
    dataset: Dataset,
    plan: Plan,
    compared: tuple[str, ...],
    session: Session,
) -> Curve:
    folder, accelerator = session.folder, session.accelerator
    trainer = _trainer(experiment, dataset, plan, compared, session)
    experiment = trainer.resolve()
    levels = label_subsets.levels_of(trainer.records, plan.fractions, by_class=trainer.by_class)
    trainings = [
        Training(name, level, seed) for seed, level, name in product(plan.seeds, levels, compared)
    ]
    _require_same_labels(folder, trainer, trainings)
    if accelerator.is_main_process:
        _begin(folder, experiment, plan, trainer, levels, accelerator)
    accelerator.wait_for_everyone()
    shown = session.progress and accelerator.is_main_process
    if shown:
        waiting = _waiting(folder, trainings)
        text = describe_plan(
            experiment, plan, levels, len(trainer.records), compared, waiting=len(waiting),
            done=len(trainings) - len(waiting), pretrainings=trainer.pretrainings(waiting),
        )  # fmt: skip
        print(shown_text(text), flush=True)
    trainer.teach(_waiting(folder, trainings))
    for whole in _train(folder, experiment, trainer, trainings, shown):
        if accelerator.is_main_process:
            outcomes = load_outcomes(folder, trainings)
            if whole:
                _results(session, experiment, trainer, outcomes, levels, len(trainings))
            else:
                write_table(folder, trainer.compared_as, outcomes)
    summary: dict[str, Any] = {}
    if accelerator.is_main_process:
        outcomes = load_outcomes(folder, trainings)
        summary = _results(session, experiment, trainer, outcomes, levels, len(trainings))
    accelerator.wait_for_everyone()
    return Curve(folder, summary)


def _train(
    folder: Path,
    experiment: config.Experiment,
    trainer: Trainer,
    trainings: Sequence[Training],
    shown: bool,
) -> Iterator[bool]:
    """Carry out what waits; after each training, whether a seed has become whole by it."""
    left = _waiting(folder, trainings)
    clock = Clock(experiment, len(left), len(trainer.pretrainings(left)))
    while left:
        training = left[0]
        trainer.train(training)
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


def _checked(
    experiment: config.Experiment,
    dataset: Dataset | None,
    plan: Plan,
    lost: Lost,
    progress: bool,
) -> tuple[Dataset, tuple[str, ...]]:
    """The data set with all its labels, and what is compared, once all of it fits."""
    if experiment.recipe == "cmkd":
        from abbe.curves import twins as curve_cmkd

        if dataset is None:
            dataset = build.build_dataset(experiment.data)
        dataset = build.seen_by(dataset, experiment.student.sees, "the student")
        dataset = readable(dataset, lost, progress=progress)
        return dataset, curve_cmkd.check(experiment, dataset)
    from abbe.curves import initialisations as curve_rckd

    compared = curve_rckd.choose_initialisations(plan.initialisations, experiment)
    if dataset is None:
        dataset = task_data.task_dataset(experiment.data, experiment.fine_tuning.task)
    dataset = build.seen_by(dataset, experiment.student.sees, "the student")
    dataset = readable(dataset, lost, progress=progress)
    curve_rckd.check(experiment, dataset, compared)
    return dataset, compared


def _trainer(
    experiment: config.Experiment,
    dataset: Dataset,
    plan: Plan,
    compared: tuple[str, ...],
    session: Session,
) -> Trainer:
    if experiment.recipe == "cmkd":
        from abbe.curves.twins import CmkdTrainer

        return CmkdTrainer(experiment, dataset, session, compared=compared)
    from abbe.curves.initialisations import RckdTrainer

    return RckdTrainer(
        experiment,
        dataset,
        session,
        initialisations=compared,
        pretrain_per_seed=plan.pretrain_per_seed,
    )


def _begin(
    folder: Path,
    experiment: config.Experiment,
    plan: Plan,
    trainer: Trainer,
    levels: Sequence[Level],
    accelerator: Accelerator,
) -> None:
    """Write what is known before anything is trained."""
    precision = accelerator.mixed_precision
    run_folder.write_environment(
        folder,
        device=str(accelerator.device),
        precision="fp32" if precision == "no" else precision,
        seed=experiment.seed,
    )
    (folder / "trainings").mkdir(exist_ok=True)
    write_json(folder / PLAN, values_of(plan))
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
) -> dict[str, Any]:
    return write_results(
        session.folder,
        experiment,
        outcomes,
        levels,
        trainer.compared,
        planned,
        {
            "compared_as": trainer.compared_as,
            "metric": trainer.metric,
            **trainer.describe(),
            "lost": session.lost.ids,
            "left_out": session.lost.left_out,
        },
        trainer.teacher(),
    )
