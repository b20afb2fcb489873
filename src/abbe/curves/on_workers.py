"""Trainings of a curve on the workers of a cluster: pretrainings first, then what begins with them.

The teacher has answered before, so workers read its store and none writes to it. Each training has
its own log, checkpoints and files, which lie where client and workers see them.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from abbe import config
from abbe.cluster import Died, Done, Workers, carry_out
from abbe.cluster.deadline import go_on
from abbe.cluster.own_threads import threads_wanted, use_threads
from abbe.cluster.shared import Shared, share
from abbe.cluster.tries import Tries
from abbe.curves.trainings import Trainer, Training, path_of
from abbe.datasets import Dataset
from abbe.errors import ClusterError, ConfigError
from abbe.runs.lost import Lost
from abbe.runs.session import Session
from abbe.runs.teaching import STORE
from abbe.training.log import make_accelerator

TRIES = ".training"
"""Folder, in a curve's, of what workers have begun."""
SEEN_WITHIN = 60.0
"""Seconds within which a file that a worker has written is seen here: network file systems keep
what they know of a folder for a while."""


@dataclass(frozen=True)
class Common:
    """What all trainings of a curve share.

    Attributes:
        kind: carries them out.
        experiment: with its schedule, its number format, and the store in its teacher's place.
        dataset: with splits and all its labels.
        tiles: to pretrain on, if any.
        compared: what is compared.
        pretrain_per_seed: pretrain anew for each seed.
        folder: of the curve.
        threads: of each training; None where a worker finds out what it was given.
    """

    kind: type[Trainer]
    experiment: config.Experiment
    dataset: Dataset
    tiles: Dataset | None
    compared: tuple[str, ...]
    pretrain_per_seed: bool
    folder: Path
    threads: int | None


@dataclass(frozen=True)
class Item:
    """A training, with others that belong to it; or the pretraining that it waits for."""

    common: Shared[Common]
    training: Training
    pretraining: str | None = None


def require_stored(experiment: config.Experiment, processes: int) -> None:
    """Refuse what workers cannot do, before anything is computed.

    Raises:
        ConfigError: the teacher is to run live, or several processes train together.
    """
    if experiment.teacher.live:
        raise ConfigError(
            "teacher.live: trainings on workers learn from answers that are stored. Leave live "
            "out, or --cluster"
        )
    if processes > 1:
        raise ConfigError(
            f"--cluster: {processes} processes train together (accelerate launch). Give one of both"
        )


def _common(
    trainer: Trainer, experiment: config.Experiment, session: Session, workers: Workers
) -> Common:
    folder, precision = session.folder.absolute(), session.accelerator.mixed_precision
    training = experiment.training.model_copy(
        update={"precision": "fp32" if precision == "no" else precision}
    )
    teacher = experiment.teacher
    if teacher.kind not in ("none", "store") or teacher.also:
        teacher = config.Teacher(kind="store", path=folder / STORE, trust=teacher.trust)
    return Common(
        type(trainer),
        experiment.model_copy(update={"training": training, "teacher": teacher}),
        trainer.dataset,
        trainer.tiles,
        trainer.compared,
        trainer.pretrain_per_seed,
        folder,
        threads_wanted(workers),
    )


def train_on_workers(
    trainer: Trainer,
    trainings: Sequence[Training],
    experiment: config.Experiment,
    session: Session,
    workers: Workers,
) -> Iterator[Training]:
    """Have workers carry out trainings; each as it ends, once all of its files are seen here.

    Args:
        trainer: the client's.
        trainings: that wait.
        experiment: with its schedule.
        session: the client's.
        workers: who train.

    Raises:
        ClusterError: the scheduler has gone, files are not seen, or workers died of trainings
            again and again: these are named once all others are done.
    """
    common = _common(trainer, experiment, session, workers)
    tries = Tries(common.folder / TRIES)
    tries.begin_anew()
    with share(tries.folder, common) as shared:
        giving = _Giving(trainer, trainings, shared)
        for item, answer in carry_out(
            workers, tries, train_item, giving.items(), long=lambda item: True
        ):
            if giving.take(item, answer):
                for each in giving.with_it(item.training):
                    _await(path_of(common.folder, each.name))
                yield item.training
    if giving.died:
        lines = "\n".join(f"  {what}: {why}" for what, why in giving.died.items())
        raise ClusterError(
            f"{len(giving.died)} of the trainings were given up:\n{lines}\nThe others are "
            "finished; the same command with --resume goes on"
        )


@dataclass
class _Giving:
    """What is given out, and what became of it."""

    trainer: Trainer
    trainings: Sequence[Training]
    common: Shared[Common]
    died: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first: dict[str, Training] = {}
        for training in self.trainings:
            first.setdefault(self.trainer.work_of(training), training)
        self._waiting = list(first.values())
        self._begins_with = {
            each: name
            for each in self._waiting
            for name in self.trainer.pretrainings([each])  # none, or one
        }

    def with_it(self, training: Training) -> list[Training]:
        """The training and others that are carried out with it."""
        work = self.trainer.work_of(training)
        return [each for each in self.trainings if self.trainer.work_of(each) == work]

    def items(self) -> Iterator[tuple[str, Item] | None]:
        """Pretrainings first; None while all that is left waits for one that is in hand."""
        for name, training in {n: each for each, n in self._begins_with.items()}.items():
            yield f"pretraining {name}", Item(self.common, training, name)
        while self._waiting:
            ready = next((each for each in self._waiting if each not in self._begins_with), None)
            if ready is None:
                yield None
            else:
                self._waiting.remove(ready)
                yield self.trainer.work_of(ready), Item(self.common, ready)

    def take(self, item: Item, answer: Done | Died) -> bool:
        """Note what became of an item; whether it is a training that is done."""
        name = item.pretraining
        begin = [each for each, with_ in self._begins_with.items() if with_ == name]
        if isinstance(answer, Died):
            self.died[str(item.training) if name is None else f"pretraining {name}"] = answer.words(
                "this training"
            )
            for each in begin:
                self._waiting.remove(each)
                self.died[str(each)] = "its pretraining was given up"
        for each in begin:
            del self._begins_with[each]
        return name is None and isinstance(answer, Done)


def train_item(item: Item, number: int) -> Done:
    """Carry out a training or a pretraining, from its last checkpoint on; called on a worker."""
    common = item.common.get()
    with _ALONE:  # random numbers and the number format are the process's
        use_threads(common.threads)
        trainer = _OPEN.get(common)
        if item.pretraining is not None:
            trainer.pretrain(item.training)
        elif not path_of(common.folder, item.training.name).exists():  # by a killed client's worker
            trainer.train(item.training)
    return Done()


_ALONE = threading.Lock()


class _Open:
    """The trainer that this worker has: of the last curve."""

    def __init__(self) -> None:
        self._common: Common | None = None
        self._trainer: Trainer | None = None

    def get(self, common: Common) -> Trainer:
        """The trainer, made when it is first asked for."""
        if self._trainer is None or self._common is not common:
            self._trainer, self._common = _trainer_of(common), common
        return self._trainer


_OPEN = _Open()


def _trainer_of(common: Common) -> Trainer:
    training = common.experiment.training
    accelerator = make_accelerator(
        common.folder, precision=training.precision, trackers=(), sync_batch_norm=False
    )
    session = Session(
        common.folder,
        accelerator,
        Lost(),
        common.experiment.seed,
        workers=0,  # processes of dask may start no others
        resume=True,
        trust_code=False,
        progress=False,
        previews=False,
        watch=go_on,
    )
    return common.kind(
        common.experiment, common.dataset, common.tiles, session, common.compared,
        pretrain_per_seed=common.pretrain_per_seed,
    )  # fmt: skip


def _await(path: Path) -> None:
    until = time.monotonic() + SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > until:
            raise ClusterError(
                f"{path}: a worker has written it, and it is not seen here. Files must lie where "
                "client and workers see them under the same paths"
            )
        time.sleep(0.5)
