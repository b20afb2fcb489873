"""The trainings of a label-efficiency curve, and the one file that each leaves when it is done."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from abbe import config, scoring
from abbe.curves.label_subsets import Level
from abbe.datasets import Dataset, Record
from abbe.errors import InputError
from abbe.files import atomic_path, parse_json
from abbe.files.arrays import read_arrays
from abbe.in_words import counted
from abbe.runs.lost import Lost
from abbe.runs.session import Session
from abbe.scoring import Metric
from abbe.training.fit import Fitted

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Training:
    """One point of one seed: what is compared (an initialisation, or student and twin), on what."""

    compared: str
    level: Level
    seed: int

    @property
    def name(self) -> str:
        """The beginning of its files' names."""
        return f"{self.compared}-{self.level.labelled}-seed-{self.seed}"

    def __str__(self) -> str:
        return (
            f"{self.compared}, {counted(self.level.labelled, 'labelled image')}, seed {self.seed}"
        )


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        steps: taken, fewer than planned after early stopping.
        best_step: whose weights were kept; None without validation images.
        seconds: of training, without validation.
        labels_sha256: of the ids of the images that kept their labels.
        images: (N,) ids of the test images.
        groups: (N,) their groups.
        arrays: the answers: ``table`` (N, K) probabilities with ``truth`` (N,); ``table``
            (N, K, K) confusions of pixels; or ``values`` (N, M) of ``metrics`` (M,). Beside a
            table of images ``probe`` (N, K), what a linear probe answers.
    """

    steps: int
    best_step: int | None
    seconds: float
    labels_sha256: str
    images: Sequence[str]
    groups: Sequence[str]
    arrays: Arrays


class Trainer(ABC):
    """A recipe's way of carrying out the trainings of a curve."""

    compared_as: ClassVar[str]
    """What is compared: initialisations or models."""
    metric: str
    """The score that counts most."""
    metrics: Mapping[str, Metric]
    """Of the task."""
    records: Sequence[Record]
    """The labelled training images."""
    by_class: bool
    """Whether they have classes, to be shared out alike."""

    @classmethod
    @abstractmethod
    def compares(
        cls, experiment: config.Experiment, wanted: Sequence[str] | None
    ) -> tuple[str, ...]:
        """What is compared, in the order of tables.

        Args:
            experiment: of the curve.
            wanted: what the user named; all that the experiment allows where None.

        Raises:
            ConfigError: something is unknown, or lacks what it needs.
        """

    @classmethod
    @abstractmethod
    def require(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        compared: Sequence[str],
        *,
        smallest: float,
        trust_code: bool,
    ) -> Dataset | None:
        """As `abbe.recipes.recipe.Recipe.require`; the tiles to pretrain on, if any.

        ``smallest`` is the least share of the labels that is trained on.
        """

    @classmethod
    @abstractmethod
    def check(
        cls,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        compared: Sequence[str],
        lost: Lost,
        progress: bool,
    ) -> Dataset | None:
        """Refuse what cannot end well before any work starts; the tiles that can be read.

        Raises:
            InputError: the data do not suffice.
            ConfigError: the experiment does not go with them.
        """

    @abstractmethod
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
        """Prepare to train; nothing is computed yet.

        Args:
            experiment: of the curve; its seed is that of the one pretraining.
            dataset: with splits and all its labels.
            tiles: from `check`.
            session: its folder is that of the curve.
            compared: from `compares`.
            pretrain_per_seed: pretrain anew for each seed, not once for all.
        """
        self.dataset, self.tiles, self.compared = dataset, tiles, compared
        self.pretrain_per_seed = pretrain_per_seed

    @abstractmethod
    def resolve(self) -> config.Experiment:
        """Fix the schedule, which all trainings share; the experiment with it."""

    @abstractmethod
    def teach(self, trainings: Sequence[Training]) -> None:
        """Have the teacher answer now, where these trainings wait for it.

        Raises:
            InputError: more images are lost than allowed.
        """

    @abstractmethod
    def train(self, training: Training) -> None:
        """Carry out a training, and perhaps others that belong to it, up to their files."""

    @abstractmethod
    def work_of(self, training: Training) -> str:
        """The name of the work that it is carried out by, the same for all that belong to it."""

    @abstractmethod
    def pretrain(self, training: Training) -> object:
        """Carry out the pretraining that a training begins with, unless it is there."""

    @abstractmethod
    def pretrainings(self, trainings: Sequence[Training]) -> Sequence[str]:
        """Names of the pretrainings that these trainings still wait for."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the summary says of task, data, teacher and pretraining."""

    @abstractmethod
    def teacher(self) -> Outcome | None:
        """The teacher's own answers for the test images, if it does the same task."""


def path_of(folder: Path, name: str) -> Path:
    """The file of a finished training in the folder of a curve."""
    return folder / "trainings" / f"{name}.npz"


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome, atomically: a file that is there belongs to a training that is done."""
    facts = {
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "seconds": outcome.seconds,
        "labels_sha256": outcome.labels_sha256,
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            facts=np.array(json.dumps(facts)),
            images=np.array(list(outcome.images)),
            groups=np.array(list(outcome.groups)),
            **outcome.arrays,
        )


def load_outcome(path: Path) -> Outcome:
    """Read what `save_outcome` wrote.

    Raises:
        InputError: the file is damaged.
    """
    try:
        arrays = read_arrays(path, largest=2**34)
        facts = parse_json(str(arrays.pop("facts")))
        images, groups = arrays.pop("images").tolist(), arrays.pop("groups").tolist()
        return Outcome(**facts, images=images, groups=groups, arrays=arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}). Delete it to train this again") from error


def seconds_of(fitted: Fitted, batch_size: int) -> float:
    """Time that a stage trained, over all its interruptions; validation left out."""
    return fitted.steps * batch_size / fitted.images_per_second


def sha256_of_ids(ids: Iterable[str]) -> str:
    """SHA-256 of a set of ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def scores_of(arrays: Arrays, counts: Floats | None = None) -> dict[str, Floats]:
    """The scores of the whole test set, by metric.

    Args:
        arrays: of an outcome.
        counts: (R, N) how often each image counts; each once if None.

    Returns:
        (R,), or (1,) without counts; NaN where undefined.
    """
    if "truth" in arrays:
        return scoring.classification_scores(arrays["truth"], arrays["table"], counts)
    if "table" in arrays:
        return scoring.region_scores(arrays["table"], counts)
    values = arrays["values"]
    if counts is None:
        counts = np.ones((1, len(values)))
    defined = ~np.isnan(values)
    above, below = counts @ np.where(defined, values, 0.0), counts @ defined
    means = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return dict(zip(arrays["metrics"].tolist(), means.T, strict=True))


def probe_of(outcome: Outcome) -> Outcome | None:
    """The answers of the linear probe in place of the network's; None where there is none."""
    if "probe" not in outcome.arrays:
        return None
    arrays = {"truth": outcome.arrays["truth"], "table": outcome.arrays["probe"]}
    return replace(outcome, arrays=arrays)


def image_scores_of(arrays: Arrays) -> dict[str, Floats]:
    """The scores of each image, (N,) by metric; of a classified image, whether it is right."""
    if "truth" in arrays:
        return {"accuracy": (arrays["table"].argmax(1) == arrays["truth"]).astype(np.float64)}
    if "table" in arrays:
        each = [scoring.region_scores(confusion[None]) for confusion in arrays["table"]]
        return {metric: np.array([scores[metric][0] for scores in each]) for metric in each[0]}
    return dict(zip(arrays["metrics"].tolist(), arrays["values"].T, strict=True))
