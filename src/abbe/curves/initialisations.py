"""Trainings of a curve of recipe 'rckd': initialisations of the same network, tuned alike."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe import config, students
from abbe.curves import label_subsets
from abbe.curves.trainings import (
    Outcome,
    Trainer,
    Training,
    path_of,
    save_outcome,
    seconds_of,
    sha256_of_ids,
)
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared
from abbe.errors import ConfigError
from abbe.files import parse_json, write_json
from abbe.near import meant
from abbe.recipes.encoder_probes import FeaturesOf, is_probed
from abbe.recipes.pretraining import (
    Pretrained,
    TaskModel,
    encoder_metadata,
    pretrain_encoder,
    take_over,
)
from abbe.recipes.rckd import Rckd, initial_model, plan_of, task_of, teach_tiles
from abbe.recipes.recipe import fit_plan, weights_metadata
from abbe.runs import schedules
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.runs.results import describe_teacher
from abbe.runs.session import Session
from abbe.runs.teaching import STORE
from abbe.targets import TargetStore
from abbe.tasks.classes import Answers, Predictions
from abbe.training.fit import Fitted

INITIALISATIONS = ("random", "given", "contrastive", "rckd", "rckd+contrastive")
"""What a network can begin with, in the order of tables."""
PRETRAINED = ("contrastive", "rckd", "rckd+contrastive")


def choose_initialisations(
    wanted: Sequence[str] | None, experiment: config.Experiment
) -> tuple[str, ...]:
    """The initialisations in the order of tables; all that the experiment allows where None.

    Where weights are named, ``given`` is always among them: they are what a reader tries first.

    Raises:
        ConfigError: one is unknown, named twice, or lacks its teacher or its weights.
    """
    weights_given = experiment.student.encoder_weights != "random"
    if wanted is None:
        taught = experiment.teacher.kind != "none"
        return tuple(
            name
            for name in INITIALISATIONS
            if (weights_given or name != "given") and (taught or "rckd" not in name)
        )
    if not wanted:
        raise ConfigError(f"initialisations: name at least one of {', '.join(INITIALISATIONS)}")
    for name in wanted:
        if name not in INITIALISATIONS:
            raise ConfigError(
                f"initialisations: there is no '{name}'; choose from "
                f"{', '.join(INITIALISATIONS)}.{meant(name, INITIALISATIONS)}"
            )
    label_subsets.require_distinct(wanted, "initialisations")
    if "given" in wanted and not weights_given:
        raise ConfigError(
            "initialisations: 'given' begins with the weights of student.encoder_weights, which "
            "are random here: name imagenet or a file there, or leave 'given' out"
        )
    wanted = [*wanted, *(["given"] if weights_given else [])]
    chosen = tuple(name for name in INITIALISATIONS if name in wanted)
    for name in chosen:
        with_initialisation(experiment, name, experiment.seed)
    return chosen


def with_initialisation(
    experiment: config.Experiment, initialisation: str, seed: int
) -> config.Experiment:
    """The experiment that begins so.

    Raises:
        ConfigError: it needs a teacher, and there is none.
    """
    method = initialisation if initialisation in PRETRAINED else "none"
    changes: dict[str, Any] = {
        "seed": seed,
        "pretraining": experiment.pretraining.model_copy(update={"method": method}),
    }
    if initialisation == "random":
        changes["student"] = experiment.student.begun_at_random
    values = experiment.model_copy(update=changes).model_dump()
    return config.parse(values, f"initialisation '{initialisation}'")


def _strictest(compared: Sequence[str]) -> str:
    """A contrastive term demands something of the tiles beside all that the others do."""
    contrasting = [name for name in compared if "contrastive" in name]
    pretrained = [name for name in compared if name in PRETRAINED]
    return (contrasting or pretrained or list(compared))[-1]


class InitialisationTrainer(Trainer):
    """Pretrains each initialisation once, and tunes it for the task at each share of the labels."""

    compared_as = "initialisation"

    @classmethod
    def compares(
        cls, experiment: config.Experiment, wanted: Sequence[str] | None
    ) -> tuple[str, ...]:
        """The initialisations."""
        return choose_initialisations(wanted, experiment)

    @classmethod
    def require(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        compared: Sequence[str],
        *,
        smallest: float,
        trust_code: bool,
    ) -> Dataset | None:
        """As of the runs that ask most, of tiles and weights, and of the teacher."""
        tiles, recipe = None, Rckd()
        taught = [name for name in compared if "rckd" in name]
        for name in dict.fromkeys([_strictest(compared), *taught[-1:]]):
            asked = with_initialisation(experiment, name, experiment.seed)
            tiles = recipe.tiles(asked, dataset) if tiles is None else tiles
            recipe.require(asked, dataset, tiles, trust_code=trust_code)
        return tiles

    @classmethod
    def check(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        compared: Sequence[str],
        lost: Lost,
        progress: bool,
    ) -> Dataset | None:
        """Check the run that asks most of data and tiles."""
        asked = with_initialisation(experiment, _strictest(compared), experiment.seed)
        if tiles is not None:
            tiles = Rckd().tiles_looked_at(asked, tiles, lost, progress)
        Rckd().check(asked, dataset, tiles)
        return tiles

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
        """See `Trainer`."""
        super().__init__(
            experiment, dataset, tiles, session, compared, pretrain_per_seed=pretrain_per_seed
        )
        self._task = task_of(experiment)
        self.metric, self.metrics = self._task.watch, self._task.metrics
        self.records: Sequence[Record] = self._task.labelled(dataset.split("train"))
        self.by_class = self._task.by_class
        self._experiment, self._dataset, self._session = experiment, dataset, session
        self._pretrained: dict[str, Pretrained] = {}
        self._features: dict[str, FeaturesOf] = {}

    def resolve(self) -> config.Experiment:
        """Fix the schedule of pretraining, and that of the task, which all trainings share."""
        session = self._session
        amounts = Rckd().amounts(self._experiment, self._dataset, self.tiles)
        self._experiment = schedules.resolve(
            self._experiment, amounts, session.folder, Rckd.rates,
            resume=session.resume, shown=session.progress,
        )  # fmt: skip
        return self._experiment

    def teach(self, trainings: Sequence[Training]) -> None:
        """Have the teacher answer now, where a pretraining waits for it."""
        if any("rckd" in name for name in self.pretrainings(trainings)):
            self._taught  # noqa: B018 - computed once, when it is first asked for

    def train(self, training: Training) -> None:
        """Tune one network, fit a linear probe to what it begins with, score both, write them."""
        experiment = with_initialisation(self._experiment, training.compared, training.seed)
        kept = label_subsets.choose(
            self.records, training.level.fraction, seed=training.seed, by_class=self.by_class
        )
        among = [record.id for record in self.records]
        dataset = label_subsets.keep(self._dataset, among, kept)
        model = self._initial(experiment, training)
        session = self._session.within("trainings", seed=training.seed)
        session = replace(session, log=f"{training.name}.jsonl")
        metadata = weights_metadata(experiment, dataset, **self._task.metadata(experiment, dataset))
        plan = plan_of(experiment, dataset, model, session)
        (fitted,) = fit_plan(training.name, plan, self._task, metadata, session)[
            training.name
        ].fitted
        if session.is_main:
            input_channels, classes = experiment.student.input_channels, self._task.classes(dataset)
            size = metadata["pixel_size"]
            found = self._task.predictions(model, self._tests, input_channels, len(classes), size)
            tests, probed = self._tests, is_probed(experiment)
            answers: Answers = {"network": {None: found}}
            if probed:
                probe = Predictions(self._probe(experiment, training, kept))
                answers = {**answers, "probe": {None: probe}}
            answers, tests, _ = self._task.joined(answers, tests, dataset)
            arrays = self._task.arrays(answers["network"][None], tests)
            if probed:
                arrays["probe"] = answers["probe"][None].table
            save_outcome(
                path_of(self._session.folder, training.name),
                Outcome(
                    steps=fitted.steps,
                    best_step=None if fitted.best is None else fitted.best[1],
                    seconds=seconds_of(fitted, experiment.training.batch_size),
                    labels_sha256=sha256_of_ids(kept),
                    images=[image.id for image in tests],
                    groups=[self._dataset[image.id].unit for image in tests],
                    arrays=arrays,
                ),
            )
            checkpoint = session.folder / "checkpoints" / f"{training.name}-task.pt"
            checkpoint.unlink(missing_ok=True)
        session.accelerator.wait_for_everyone()

    def work_of(self, training: Training) -> str:
        """Its own."""
        return training.name

    def pretrainings(self, trainings: Sequence[Training]) -> Sequence[str]:
        """Names of the pretrainings that these trainings still wait for."""
        names = dict.fromkeys(
            self._pretraining_of(each) for each in trainings if each.compared in PRETRAINED
        )
        return [name for name in names if not self._done(name).exists()]

    def pretrain(self, training: Training) -> Pretrained:
        """See `Trainer`; it is done now, was before, or is read from its files."""
        name = self._pretraining_of(training)
        if name not in self._pretrained:
            done = self._done(name).exists()
            self._pretrained[name] = self._load(name) if done else self._pretrain_now(training)
        return self._pretrained[name]

    def describe(self) -> dict[str, Any]:
        """What the summary says of task, data, teacher and pretraining."""
        folder, task = self._session.folder, self._task
        found = sorted((folder / "pretraining").glob("*/done.json"))
        done = {path.parent.name: parse_json(path.read_text(encoding="utf-8")) for path in found}
        return {
            "task": task.name,
            "task_title": task.title(self._experiment),
            "classes": list(task.classes(self._dataset)),
            "metric_names": {metric: each.name for metric, each in task.metrics.items()},
            "data": task.describe(self._dataset),
            **describe_teacher(self._stored_targets(), self.tiles or ()),
            "pretraining": done,
            "pretrain_per_seed": self.pretrain_per_seed,
        }

    def teacher(self) -> Outcome | None:
        """None: the teacher's task is another."""
        return None

    def _initial(self, experiment: config.Experiment, training: Training) -> TaskModel:
        """The network as its fine-tuning begins."""
        model = initial_model(experiment, self._dataset)
        if training.compared in PRETRAINED:
            take_over(model, self.pretrain(training))
        return model

    def _probe(
        self, experiment: config.Experiment, training: Training, kept: Collection[str]
    ) -> NDArray[np.float64]:
        """What a linear probe says of the test images; each encoder looks at the images once."""
        own_seed = training.compared == "random" or self.pretrain_per_seed
        encoder = f"{training.compared}-{training.seed if own_seed else 'all'}"
        if encoder not in self._features:
            model = self._initial(experiment, training)
            self._features[encoder] = FeaturesOf.images(
                model, experiment, self._dataset, self._session.accelerator.device
            )
        seen = self._features[encoder]
        return seen.probe(experiment, self._dataset, kept).table

    @cached_property
    def _tests(self) -> list[Prepared]:
        student, tests = self._experiment.student, self._dataset.split("test")
        return self._task.images(self._dataset, tests, student.input_channels, scaling_of(student))

    @cached_property
    def _taught(self) -> tuple[TargetStore | None, dict[str, float]]:
        asking = next(name for name in self.compared if "rckd" in name)
        experiment = with_initialisation(self._experiment, asking, self._experiment.seed)
        assert self.tiles is not None  # something is pretrained
        return teach_tiles(experiment, self.tiles, self._session)

    def _stored_targets(self) -> TargetStore | None:
        settings, taught = self._experiment.teacher, self._session.folder / STORE
        if settings.kind == "store" and settings.path is not None:
            return TargetStore(settings.path)
        return TargetStore(taught) if taught.exists() else None

    def _pretraining_of(self, training: Training) -> str:
        return (
            f"{training.compared}-seed-{training.seed}"
            if self.pretrain_per_seed
            else training.compared
        )

    def _done(self, name: str) -> Path:
        return self._session.folder / "pretraining" / name / "done.json"

    def _pretrain_now(self, training: Training) -> Pretrained:
        name = self._pretraining_of(training)
        seed = training.seed if self.pretrain_per_seed else self._experiment.seed
        experiment = with_initialisation(self._experiment, training.compared, seed)
        session = self._session.within("pretraining", name, seed=seed)
        store, speed = self._taught if "rckd" in name else (None, {})
        tiles = self.tiles
        assert tiles is not None  # something is pretrained
        known = None if store is None else set(store.ids)
        lacking = [id for id in tiles.ids if known is not None and id not in known]
        model = initial_model(experiment, self._dataset)
        pretrained = pretrain_encoder(experiment, tiles, store, model, session, name)
        if session.is_main:
            metadata = encoder_metadata(experiment, tiles, store, len(tiles))
            students.save(session.folder / "network.safetensors", pretrained.unet, metadata)
            fitted = pretrained.fitted
            write_json(
                self._done(name),
                {
                    "steps": fitted.steps,
                    "seconds": seconds_of(fitted, experiment.pretraining.batch_size),
                    "images_per_second": fitted.images_per_second,
                    "share_waiting": fitted.share_waiting,
                    "responds": pretrained.responds,
                    "tiles": len(tiles),
                    "without_answer": len(lacking),
                    "began_with": str(experiment.student.encoder_weights),
                    "seed": seed,
                    **speed,
                },
            )
            session.forget_checkpoints()
        session.accelerator.wait_for_everyone()
        return pretrained

    def _load(self, name: str) -> Pretrained:
        """A finished pretraining, without doing anything of it again."""
        folder = self._done(name).parent
        facts = parse_json(self._done(name).read_text(encoding="utf-8"))
        unet, _ = students.load(folder / "network.safetensors")
        fitted = Fitted(facts["steps"], None, facts["images_per_second"], facts["share_waiting"])
        return Pretrained(folder / "encoder.safetensors", unet, fitted, facts["responds"])
