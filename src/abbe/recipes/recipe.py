"""How a student is taught: the form of a recipe, which the driver of runs goes by."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from abbe import config
from abbe.config.recipes import RECIPES
from abbe.datasets import Dataset, Record
from abbe.datasets.training.demands import require_even_shares
from abbe.registry import loaded
from abbe.runs import build
from abbe.runs.lost import Lost, readable
from abbe.runs.schedules import Amount
from abbe.runs.session import Session
from abbe.summary import RunSummary
from abbe.targets import Provenance, TargetStore
from abbe.tasks.task import Scored, Task
from abbe.teachers import Teacher
from abbe.training.fit import Fitted
from abbe.training.stage import Stage, twin_of
from abbe.training.trying import require_varied


@dataclass(frozen=True)
class Material:
    """What a student is taught with, once it is there.

    Attributes:
        store: the teacher's answers.
        asked: the images that it should hold an answer for.
        provenance: where targets come from, where no store says it.
        teacher: the teacher as the task scores it, where it answers for the test images.
        answering: what gave the store its answers, where it runs here, to be timed.
        speed: fields of `abbe.summary.Speed`.
        warnings: what a reader should doubt of it.
        about: what networks are that a name does not explain, by name.
        facts: further fields of the run's summary.
    """

    store: TargetStore | None = None
    asked: Sequence[Record] = ()
    provenance: Provenance | None = None
    teacher: Any = None
    answering: Teacher | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A network and how it is trained.

    Attributes:
        network: with the weights that it begins with.
        stages: in turn; none for a network that is scored as it is.
        metadata: what its file should say beside what the task says; None where it has no file.
        also_after: by stage, the name under which the network is scored as that stage leaves it,
            where another follows.
        same_as: what was trained so under another name already; it is not trained again.
    """

    network: nn.Module
    stages: Sequence[Stage]
    metadata: Mapping[str, Any] | None = field(default_factory=dict)
    also_after: Mapping[str, str] = field(default_factory=dict)
    same_as: "Trained | None" = None

    def twin(self, network: nn.Module) -> "Plan":
        """The same for a network of equal weights, without what the teacher teaches."""
        stages = (twin_of(stage, network) for stage in self.stages)
        return replace(self, network=network, stages=[each for each in stages if each is not None])

    def previewed(self, draw: Callable[[nn.Module], np.ndarray] | None) -> "Plan":
        """The same with pictures in every stage that is validated."""
        stages = [
            stage if stage.validate is None else replace(stage, preview=draw)
            for stage in self.stages
        ]
        return replace(self, stages=stages)

    def lengthened(self, steps: int) -> "Plan":
        """The same with so many steps more in the last stage."""
        *others, last = self.stages
        schedule = replace(last.schedule, steps=last.schedule.steps + steps)
        return replace(self, stages=[*others, replace(last, schedule=schedule)])


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: with its weights.
        fitted: what its stages came to.
        metadata: of its file.
        saved: whether it has one.
        by_labels: whether labels of training images taught it.
        validated: whether validation images chose its weights.
    """

    network: nn.Module
    fitted: Sequence[Fitted]
    metadata: Mapping[str, Any]
    saved: bool = False
    by_labels: bool = False
    validated: bool = False


class Recipe(ABC):
    """How a student is taught: what is prepared, and which stages its networks go through."""

    name: ClassVar[str]
    evaluates_teacher: ClassVar[bool] = False
    """Whether its runs are evaluated elsewhere with their teacher, which has the same task."""
    differs: ClassVar[Mapping[str, str]] = {}
    """By baseline that it trains, in what that differs from the student."""
    rates: ClassVar[Mapping[str, str]] = {}
    """By stage, which of `abbe.runs.schedules.Rates` is meant by auto; of maps where none is."""

    @abstractmethod
    def task(self, experiment: config.Experiment) -> Task:
        """What the student is for."""

    def tiles(self, experiment: config.Experiment, dataset: Dataset) -> Dataset | None:
        """Images without labels to pretrain on, where a recipe does that; none is read yet.

        Raises:
            InputError: none is left.
        """
        return None

    def require(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """Refuse, before any image is read, what settings, networks and teacher tell alone.

        What is missing here is told, too: weights that must be fetched, a teacher, a package.

        Args:
            experiment: with the student's channels.
            dataset: as it is listed.
            tiles: likewise.
            trust_code: a teacher of kind 'torch' may run the code that it names.

        Raises:
            ConfigError: a setting can never work, or weights cannot be fetched.
            InputError: a file is missing, damaged, or another network's.
            MissingExtraError: a package is not installed.
        """
        require_even_shares(experiment.training.batch_size, build.processes())

    def tiles_looked_at(
        self, experiment: config.Experiment, tiles: Dataset, lost: Lost, progress: bool
    ) -> Dataset:
        """Those of the `tiles` that can be read.

        Raises:
            InputError: more images are lost than allowed.
        """
        return readable(tiles, lost, progress=progress)

    def check(self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None) -> None:
        """Refuse what cannot end well before any work starts.

        Raises:
            InputError: the data do not suffice.
            ConfigError: the experiment does not go with them.
        """
        self.task(experiment).check(experiment, dataset)

    @abstractmethod
    def amounts(
        self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """By stage (training, pretraining, decoder), how much there is to learn from."""

    def prepare(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
    ) -> Material:
        """Have the teacher answer, and whatever else comes before the student's stages."""
        return Material()

    def begin(
        self, experiment: config.Experiment, dataset: Dataset, material: Any, session: Session
    ) -> Any:
        """What comes before the student's stages and is done for each seed, such as pretraining.

        Args:
            experiment: its seed is the one that is meant.
            dataset: of the run.
            material: from `prepare`, which all seeds share.
            session: of this seed.
        """
        return material

    @abstractmethod
    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Any,
        session: Session,
        trained: Mapping[str, "Trained"],
    ) -> Iterator[tuple[str, Plan]]:
        """The student first, then its baselines and whatever else is scored beside them, by name.

        Each is asked for once those before it are trained.

        Args:
            experiment: its seed is the one that is meant.
            dataset: of the run.
            material: from `begin`.
            session: of this seed.
            trained: what the plans before came to.
        """

    def complete(  # noqa: B027 - most recipes have nothing to add
        self,
        summary: RunSummary,
        scored: Scored,
        trained: Mapping[str, Trained],
        experiment: config.Experiment,
        dataset: Dataset,
        material: Any,
        session: Session,
    ) -> None:
        """Add to what scoring came to, before it is written."""


def recipe_named(name: str) -> Recipe:
    """The recipe of a name in `abbe.config.recipes`."""
    return loaded(RECIPES[name].place)()


def require_trainable(network: nn.Module, experiment: config.Experiment) -> None:
    """Refuse crops and batches that a network cannot be trained on.

    Raises:
        ConfigError: its batch norm would see one value a channel.
    """
    training = experiment.training
    require_varied(
        network,
        len(experiment.student.input_channels),
        training.crop,
        training.batch_size,
        processes=build.processes(),
        synchronised=training.sync_batch_norm,
    )


def weights_metadata(
    experiment: config.Experiment, trained_on: Dataset, **more: Any
) -> dict[str, Any]:
    """What every file of weights says of itself.

    Args:
        experiment: of the run.
        trained_on: the images.
        more: what else this one says.
    """
    return {
        "channels": list(experiment.student.input_channels),
        "recipe": experiment.recipe,
        "trained_on": trained_on.name,
        "simulated": trained_on.simulated,
        "weights_licence": f"trained by its user; see the licence of {trained_on.name}",
        "data_licence": trained_on.licence,
        # The file may be given away: what the weights are called, not where they lie here.
        "encoder_weights": Path(experiment.student.encoder_weights).name,
        **more,
    }


def fit_plan(
    name: str,
    plan: Plan,
    task: Task,
    metadata: Mapping[str, Any],
    session: Session,
    *,
    paced: Callable[[float], str] | None = None,
) -> dict[str, Trained]:
    """Train a network and write its file; also as it was after a stage, where the plan says so.

    Args:
        name: of the network.
        plan: how it is trained.
        task: writes its file.
        metadata: of its file.
        session: where and how.
        paced: told the pace of the first stage; see `abbe.training.fit.fit`.
    """
    if plan.same_as is not None:
        same = replace(plan.same_as, metadata=metadata, saved=True)
        if session.is_main:
            task.save(session.folder / f"{name}.safetensors", same.network, metadata)
        return {name: same}
    found: dict[str, Trained] = {}
    fitted: list[Fitted] = []
    by_labels = validated = False
    for number, stage in enumerate(plan.stages):
        fitted.append(session.fit(stage, name, paced if number == 0 else None))
        by_labels |= any(not term.distils for term in stage.terms)
        validated |= fitted[-1].best is not None
        after = plan.also_after.get(stage.name)
        if after is not None and number + 1 < len(plan.stages):
            network = copy.deepcopy(plan.network).to("cpu").eval()
            found[after] = Trained(network, [], metadata, False, by_labels, validated)
    network, saved = plan.network.to("cpu").eval(), plan.metadata is not None
    if session.is_main and saved:
        task.save(session.folder / f"{name}.safetensors", network, metadata)
    return found | {name: Trained(network, fitted, metadata, saved, by_labels, validated)}
