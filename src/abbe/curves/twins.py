"""Trainings of a curve of recipe 'cmkd': student and baselines over the labels they have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from abbe import config
from abbe.curves import label_subsets
from abbe.curves.trainings import (
    Outcome,
    Trainer,
    Training,
    load_outcome,
    path_of,
    save_outcome,
    seconds_of,
    sha256_of_ids,
)
from abbe.datasets import Dataset, Record
from abbe.datasets.training.demands import require_places
from abbe.errors import ConfigError, InputError
from abbe.recipes.cmkd import Cmkd, Taught
from abbe.recipes.recipe import Trained, fit_plan, weights_metadata
from abbe.runs import schedules
from abbe.runs.lost import Lost
from abbe.runs.results import describe_teacher
from abbe.runs.session import Session
from abbe.runs.teaching import STORE, asked
from abbe.targets import TargetStore
from abbe.tasks.each import Here
from abbe.tasks.instances import score, thresholds_of
from abbe.tasks.maps import StoredModel
from abbe.tasks.scores import Scores
from abbe.tasks.task import BySeed
from abbe.training.fit import Fitted

TEACHER = "teacher"


class TwinTrainer(Trainer):
    """Has the teacher answer once, and trains student and baselines at each share of the labels."""

    metric = "dice"
    compared_as = "model"
    by_class = False

    @classmethod
    def compares(
        cls, experiment: config.Experiment, wanted: Sequence[str] | None
    ) -> tuple[str, ...]:
        """The student, and its baselines."""
        return ("student", *experiment.compared_with)

    @classmethod
    def require(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        compared: Sequence[str],
        *,
        smallest: float,
        trust_code: bool,
    ) -> None:
        """As of recipe 'cmkd'; a share of the labels leaves images without any."""
        training = experiment.training
        if smallest < 1 and len(dataset.split("train").labelled) > 1:
            require_places(training.batch_size, training.labelled_share)
        Cmkd().require(experiment, dataset, None, trust_code=trust_code)

    @classmethod
    def check(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        compared: Sequence[str],
        lost: Lost,
        progress: bool,
    ) -> None:
        """Labelled training images are needed, and terms by which the twin learns from them."""
        Cmkd().check(experiment, dataset, None)
        if not len(dataset.split("train").labelled):
            raise InputError(
                f"data set '{dataset.name}' has no labelled training image, so there is no share "
                "of labels to train with: check the names in the label folder"
            )
        loss = experiment.loss
        if "twin" in experiment.compared_with and not loss.supervised and loss.boundary == "off":
            raise ConfigError(
                "loss: without 'supervised' and 'boundary' the twin learns nothing from labels. "
                "Switch one of them on, or name other baselines"
            )

    def __init__(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
        compared: tuple[str, ...],
        *,
        pretrain_per_seed: bool,
    ) -> None:
        """See `Trainer`; nothing is pretrained."""
        super().__init__(
            experiment, dataset, tiles, session, compared, pretrain_per_seed=pretrain_per_seed
        )
        self.records: Sequence[Record] = dataset.split("train").labelled.records
        self._recipe = Cmkd()
        self._task = self._recipe.task(experiment)
        self.metrics = self._task.metrics
        self._experiment, self._dataset, self._session = experiment, dataset, session

    def resolve(self) -> config.Experiment:
        """Fix the schedule, which all trainings share: unlabelled images stay, as unlabelled."""
        session, recipe = self._session, self._recipe
        amounts = recipe.amounts(self._experiment, self._dataset, None)
        self._experiment = schedules.resolve(
            self._experiment, amounts, session.folder, recipe.rates,
            resume=session.resume, shown=session.progress,
        )  # fmt: skip
        return self._experiment

    def teach(self, trainings: Sequence[Training]) -> None:
        """Have the teacher answer now, where a training waits for it."""
        if trainings:
            self._taught  # noqa: B018 - computed once, when it is first asked for

    def train(self, training: Training) -> None:
        """Train student and baselines, score both on the test images, and write their files."""
        experiment = self._experiment.model_copy(update={"seed": training.seed})
        kept = label_subsets.choose(
            self.records, training.level.fraction, seed=training.seed, by_class=False
        )
        dataset = label_subsets.keep(self._dataset, [each.id for each in self.records], kept)
        session = self._session.within("trainings", self.work_of(training), seed=training.seed)
        metadata = weights_metadata(experiment, dataset, **self._task.metadata(experiment, dataset))
        trained: dict[str, Trained] = {}
        taught = replace(self._taught, folder=session.folder)
        for name, plan in self._recipe.plans(experiment, dataset, taught, session, trained):
            trained |= fit_plan(name, plan, self._task, metadata, session)
        if session.is_main:
            if "supervised" in trained:  # where all images have labels, the others are the same
                trained = {name: trained.get(name, trained["supervised"]) for name in self.compared}
            input_channels = experiment.student.input_channels
            models: dict[str, BySeed] = {
                name: {training.seed: self._task.model(each.network, each.metadata, input_channels)}
                for name, each in trained.items()
            }
            scores = self._score(models, dataset)
            for name, each in trained.items():
                one = Training(name, training.level, training.seed)
                outcome = self._outcome(scores, name, each.fitted[0], sha256_of_ids(kept))
                save_outcome(path_of(self._session.folder, one.name), outcome)
            session.forget_checkpoints()
        session.accelerator.wait_for_everyone()

    def work_of(self, training: Training) -> str:
        """A share of a seed: all networks are trained at once."""
        return f"{training.level.labelled}-seed-{training.seed}"

    def pretrain(self, training: Training) -> None:
        """There is nothing before the training itself."""

    def pretrainings(self, trainings: Sequence[Training]) -> Sequence[str]:
        """None: there is nothing before the training itself."""
        return ()

    def describe(self) -> dict[str, Any]:
        """What the summary says of task, data and teacher."""
        tested = load_outcome(next((self._session.folder / "trainings").glob("student-*.npz")))
        metrics = self._task.metrics
        return {
            "task": self._task.name,
            "task_title": self._task.title(self._experiment),
            "metric_names": {key: metrics[key].name for key in tested.arrays["metrics"].tolist()},
            "data": self._task.describe(self._dataset),
            **describe_teacher(self._store, asked(self._experiment, self._dataset)),
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
        scores = self._score({TEACHER: {None: StoredModel(store)}}, self._dataset)
        save_outcome(path, self._outcome(scores, TEACHER, None, ""))
        return load_outcome(path)

    @cached_property
    def _taught(self) -> Taught:
        return self._recipe.prepare(self._experiment, self._dataset, None, self._session)

    @property
    def _store(self) -> TargetStore | None:
        """The teacher's answers, whether it gave them now or before an interruption."""
        settings, written = self._experiment.teacher, self._session.folder / STORE
        path = settings.path if settings.kind == "store" else written
        return TargetStore(path) if path is not None and path.exists() else None

    def _score(self, models: Mapping[str, BySeed], dataset: Dataset) -> Scores:
        settings = self._experiment.evaluation
        return score(
            models,
            dataset,
            thresholds_of(models, dataset, {}, settings.minimum_area),
            tolerance=settings.tolerance,
            minimum_area=settings.minimum_area,
            each=Here(self._session.progress),
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
