"""Trainings of a curve of recipe 'cmkd': student and twin over the labels that they have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from abbe import config, scoring
from abbe.curves import label_subsets
from abbe.curves.trainings import (
    Outcome,
    Training,
    load_outcome,
    path_of,
    save_outcome,
    seconds_of,
    sha256_of_ids,
)
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.recipes.distill_rckd import Session
from abbe.runs import distill, results, schedules
from abbe.runs.normalising import scaling_of
from abbe.runs.pixel_sizes import student_pixel_size
from abbe.targets import TargetStore
from abbe.tasks.models import Model, NetworkModel, StoredModel
from abbe.tasks.scores import Scores, score
from abbe.teachers import Teacher
from abbe.training.fit import Fitted

TEACHER = "teacher"


def check(experiment: config.Experiment, dataset: Dataset) -> tuple[str, ...]:
    """Refuse what cannot end well before any work starts; what is compared.

    Raises:
        InputError: see `abbe.runs.distill.check`; or no training image is labelled.
        ConfigError: the twin would have nothing to learn from.
    """
    distill.check(experiment, dataset)
    if not len(dataset.split("train").labelled):
        raise InputError(
            f"data set '{dataset.name}' has no labelled training image, so there is no share of "
            "labels to train with: check the names in the label folder"
        )
    loss = experiment.loss
    if experiment.twin and not loss.supervised and loss.boundary == "off":
        raise ConfigError(
            "loss: without 'supervised' and 'boundary' the twin learns nothing from labels. Switch "
            "one of them on, or set twin to false"
        )
    return ("student", "twin") if experiment.twin else ("student",)


class CmkdTrainer:
    """Has the teacher answer once, and trains student and twin at each share of the labels."""

    metric = "dice"
    compared_as = "model"
    by_class = False

    def __init__(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        session: Session,
        *,
        compared: tuple[str, ...],
    ) -> None:
        """Prepare to train; nothing is computed yet.

        Args:
            experiment: of recipe 'cmkd'.
            dataset: with splits and all its labels.
            session: its folder is that of the curve.
            compared: student, and twin.
        """
        self.compared = compared
        self.records: Sequence[Record] = dataset.split("train").labelled.records
        self._experiment, self._dataset, self._session = experiment, dataset, session

    def resolve(self) -> config.Experiment:
        """Fix the schedule, which all trainings share: unlabelled images stay, as unlabelled."""
        session = self._session
        amounts = schedules.amounts_of(self._experiment, self._dataset)
        self._experiment = schedules.resolve(
            self._experiment, amounts, session.folder, resume=session.resume, shown=session.progress
        )
        return self._experiment

    def teach(self, trainings: Sequence[Training]) -> None:
        """Have the teacher answer now, where a training waits for it."""
        if trainings:
            self._taught  # noqa: B018 - computed once, when it is first asked for

    def train(self, training: Training) -> None:
        """Train student and twin, score both on the test images, and write their files."""
        experiment = self._experiment.model_copy(update={"seed": training.seed})
        kept = label_subsets.choose(
            self.records, training.level.fraction, seed=training.seed, by_class=False
        )
        dataset = label_subsets.keep(self._dataset, [each.id for each in self.records], kept)
        name = f"{training.level.labelled}-seed-{training.seed}"
        session = replace(self._session, folder=self._session.folder / "trainings" / name)
        session.folder.mkdir(parents=True, exist_ok=True)
        teacher, store = self._taught
        trained = distill.train(
            experiment, dataset, session.folder, session.accelerator, teacher, store,
            resume=session.resume, progress=session.progress,
        )  # fmt: skip
        if session.accelerator.is_main_process:
            student = experiment.student
            scaling, size = scaling_of(student), student_pixel_size(dataset)
            models: dict[str, Model] = {
                name: NetworkModel(network, student.outputs, student.sees, scaling, size)
                for name, (network, _) in trained.items()
            }
            scores = self._score(models, dataset)
            for name, (_, (fitted,)) in trained.items():
                one = Training(name, training.level, training.seed)
                outcome = self._outcome(scores, name, fitted, sha256_of_ids(kept))
                save_outcome(path_of(self._session.folder, one.name), outcome)
            for checkpoint in (session.folder / "checkpoints").glob("*.pt"):
                checkpoint.unlink()
        session.accelerator.wait_for_everyone()

    def pretrainings(self, trainings: Sequence[Training]) -> Sequence[str]:
        """None: there is nothing before the training itself."""
        return ()

    def describe(self) -> dict[str, Any]:
        """What the summary says of task, data and teacher."""
        outputs = self._experiment.student.outputs
        names = scoring.METRICS
        tested = load_outcome(next((self._session.folder / "trainings").glob("student-*.npz")))
        return {
            "task": "instance segmentation" if "boundary" in outputs else "foreground segmentation",
            "metric_names": {name: names[name].name for name in tested.arrays["metrics"].tolist()},
            "data": results.describe_data(self._dataset),
            **results.describe_teacher(self._store, self._asked),
            "pretraining": {},
        }

    def teacher(self) -> Outcome | None:
        """The teacher's answers for the test images; None where it did not answer for them all."""
        path = path_of(self._session.folder, TEACHER)
        if path.exists():
            return load_outcome(path)
        tests = self._dataset.split("test").labelled
        store = self._store
        if store is None or not set(tests.ids) <= set(store.ids):
            return None
        scores = self._score({TEACHER: StoredModel(store)}, self._dataset)
        save_outcome(path, self._outcome(scores, TEACHER, None, ""))
        return load_outcome(path)

    @cached_property
    def _taught(self) -> tuple[Teacher | None, TargetStore | None]:
        session = self._session
        teacher, store, _ = distill.teach_run(
            self._experiment,
            self._dataset,
            session.folder,
            session.accelerator,
            session.lost,
            trust_code=session.trust_code,
            progress=session.progress,
        )
        return teacher, store

    @property
    def _store(self) -> TargetStore | None:
        """The teacher's answers, whether it gave them now or before an interruption."""
        settings, written = self._experiment.teacher, self._session.folder / "targets.zarr"
        path = settings.path if settings.kind == "store" else written
        return TargetStore(path) if path is not None and path.exists() else None

    @property
    def _asked(self) -> list[Record]:
        """The images that the store should have an answer for; a live teacher's training is not."""
        live = self._experiment.teacher.live
        return [record for record in self._dataset if not live or record.split != "train"]

    def _score(self, models: Mapping[str, Model], dataset: Dataset) -> Scores:
        settings = self._experiment.evaluation
        return score(
            models,
            dataset,
            tolerance=settings.tolerance,
            minimum_area=settings.minimum_area,
            progress=self._session.progress,
        )

    def _outcome(
        self, scores: Scores, model: str, fitted: Fitted | None, labels_sha256: str
    ) -> Outcome:
        tests = self._dataset.split("test").labelled
        columns = [scores.values(model, metric) for metric in scores.metrics]
        values = [[column[id] for column in columns] for id in tests.ids]
        batch_size = self._experiment.training.batch_size
        return Outcome(
            steps=0 if fitted is None else fitted.steps,
            best_step=None if fitted is None or fitted.best is None else fitted.best[1],
            seconds=0.0 if fitted is None else seconds_of(fitted, batch_size),
            labels_sha256=labels_sha256,
            images=tests.ids,
            groups=[record.unit for record in tests],
            arrays={"values": np.array(values, float), "metrics": np.array(scores.metrics)},
        )
